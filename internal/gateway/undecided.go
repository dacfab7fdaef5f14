package gateway

import (
	"errors"
	"net/http"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Undecided reports whether err, of client.Enforcer.Permit, is that nobody has decided, because whoever decides could not
// be reached, did not answer in time, failed (5xx) or said nothing that can be read. It is what a route that says
// on_unavailable: allow may let pass.
//
// It is false of every answer: a refusal, one that says that it is unavailable too; a permission with an obligation that
// is not met, whatever the reason; what was refused and could not be asked about again; and of a service that refuses to
// answer us (403, 404, 409, 429). It is false of what client.Permit.Begin returns.
func Undecided(err error) bool {
	refused, ok := errors.AsType[*client.RefusedError](err)
	if !ok || refused.Answer == nil || refused.Cause == nil || refused.Task != nil || answered(refused.Answer) {
		return false
	}
	for _, a := range refused.Answers {
		if a == nil || answered(a) {
			return false
		}
	}
	for _, kind := range []error{authz.ErrInvalid, authz.ErrUnauthenticated, authz.ErrForbidden, authz.ErrNotFound, authz.ErrConflict} {
		if errors.Is(refused.Cause, kind) {
			return false
		}
	}
	if e, ok := errors.AsType[*client.Error](refused.Cause); ok && e.Status < http.StatusInternalServerError {
		return false
	}
	return errors.Is(refused.Cause, authz.ErrUnavailable)
}

// answered reports whether a is somebody's answer, and not made up because there was none.
func answered(a *client.Answer) bool {
	return a.Allowed() || a.Code != authz.CodeUnavailable || a.DecisionID() != "" || len(a.Obligations) > 0 || a.Offer != nil || a.NextAction != "" || a.Reason != ""
}
