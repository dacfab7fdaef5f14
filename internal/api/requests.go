package api

import (
	"context"
	"time"

	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Requests is what the AuthZEN Access Request and Approval Profile (ARAP) needs. We are both the decision
// point and, in the same process, the access request service.
type Requests struct {
	Desk AskTaker

	// Catalog returns the catalog of a published version, and Active the one that counts now, nil if there
	// is none.
	Catalog func(ctx context.Context, version int64) (*catalog.Catalog, error)
	Active  func() *catalog.Catalog

	// Signer signs what enforcement points carry back to us. If it is nil nothing is signed: a refusal is
	// then known by its evaluation_id alone, and an approval by its id.
	Signer BindingSigner
	// KeySet is the address of the keys by which others verify what Signer signed. Needed with a Signer.
	KeySet string

	// Callbacks says where enforcement points may be called back. If it is nil, nowhere.
	Callbacks CallbackRules

	// Window is how long after a refusal one may ask about it; 10 minutes by default.
	Window time.Duration
}

// An AskTaker takes access requests. *approval.Desk is one.
type AskTaker interface {
	// Ask records an ask, or joins it to one for the very same; see approval.Desk.
	Ask(ctx context.Context, a approval.Ask) (*approval.Ask, bool, error)
	// Keyed returns the retained ask that was submitted by that key, or authz.ErrNotFound.
	Keyed(key string) (*approval.Ask, error)
	// Get returns the ask of that id, also an ended one, or authz.ErrNotFound.
	Get(ctx context.Context, id string) (*approval.Ask, error)
	// Cancel ends a pending ask. authz.ErrConflict: it has ended.
	Cancel(ctx context.Context, actor, id, reason, comment string) (*approval.Ask, error)
}

// A BindingSigner signs by our own keys, and verifies what they signed: the signature and the type of the
// token, nothing else. authz.ErrInvalid or ErrUnauthenticated: it is none of ours. authz.ErrUnavailable:
// nobody can say at present.
type BindingSigner interface {
	// SignBinding returns a binding_token, or authz.ErrInvalid if it would be too long.
	SignBinding(ctx context.Context, b *token.Binding) (string, error)
	VerifyBinding(ctx context.Context, text string) (*token.Binding, error)
	// SignState returns an approval.state, or authz.ErrInvalid if it would be too long.
	SignState(ctx context.Context, a *token.ApprovalState) (string, error)
	VerifyState(ctx context.Context, text string) (*token.ApprovalState, error)
}

// CallbackRules say where enforcement points may be called back.
type CallbackRules interface {
	// Allowed returns nil if the enforcement point of that name may be called at the address, else
	// authz.ErrForbidden: it is not on the list, or leads into a network that is not.
	Allowed(ctx context.Context, pep, endpoint string) error
}
