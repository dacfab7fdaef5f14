package oauth

import (
	"context"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Desk is where persons are asked to authorize what agents want (OpenID Connect Client-Initiated
// Backchannel Authentication, CIBA). The adapter of *approval.Desk stands in internal/server.
type Desk interface {
	// Ask asks the person. It returns the id of the ask, which nobody can guess, and when it expires.
	// authz.ErrForbidden: too much is asked; authz.ErrInvalid: it cannot be asked so.
	Ask(ctx context.Context, c *Consent) (id string, expires time.Time, err error)
	// Consent returns the ask of that id as it stands, or authz.ErrNotFound.
	Consent(ctx context.Context, id string) (*Consent, error)
	// Asks returns how much an agent has asked of late.
	Asks(agent authz.AgentID, session string, at time.Time) authz.Asks
}

// People are the persons who can be asked. The adapter of *people.Registry stands in internal/server.
type People interface {
	// Hinted returns the id of who is meant by a login hint: a person's id, or an e-mail address that
	// one person only has. authz.ErrNotFound: nobody who may sign in.
	Hinted(hint string) (id string, err error)
	// Epoch returns the number of the newest entry that changed a person, and whether the person may
	// sign in. Nobody may who is not known.
	Epoch(id string) (asOf int64, active bool)
}

// A Consent is what a person is asked to authorize, and what became of it.
type Consent struct {
	Agent   authz.AgentID
	Person  string         // id of who is asked: the only one who can answer
	Message string         // binding_message: plain text of at most 128 characters; "" if there is none
	Details []authz.Detail // what the agent wants to carry, complete with limits, by identifier. Of an answered one: what the person said yes to
	Terms   Terms
	Expires time.Time // of the ask; when asking: at the latest
	Passkey bool      // whether a yes needs a fresh passkey assertion

	// The answer.
	Status     ConsentStatus
	AnsweredAt time.Time // when the ask ended by it, which does not change; zero until then
	AMR        []string  // how the person authenticated for it (RFC 8176): PasskeyAMR, or nothing if only a session is known
	Until      time.Time // by when it must be turned into a token; zero: five minutes after the answer, which it is at the latest
}

// Terms are what else a person is told of what is asked for. The desk keeps them as one JSON object.
type Terms struct {
	ClientID string   `json:"client_id"`
	Audience []string `json:"audience"`
	ACR      []string `json:"acr_values,omitempty"` // one of which the token must reach
	MayAct   string   `json:"may_act,omitempty"`    // the agent that the token may be passed on to
	OpenID   bool     `json:"openid,omitempty"`     // whether the agent gets an ID token as well
}

// A ConsentStatus says how far a Consent has come.
type ConsentStatus uint8

// States of a consent. The zero one is none that gives a token.
const (
	ConsentRefused  ConsentStatus = iota // by the person, taken back, or cancelled
	ConsentPending                       // nobody has answered
	ConsentExpired                       // nobody has answered in time
	ConsentApproved                      // the person said yes, to Details at least
)

// PasskeyAMR is how a person authenticates who answers by a passkey with user verification: it proves
// possession of a key, the person was there, and a second factor opened the key.
var PasskeyAMR = []string{"mfa", "pop", "user"}
