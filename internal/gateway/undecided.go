package gateway

import (
	"errors"

	"github.com/safeconduct/safeconduct/client"
)

// Undecided reports whether err, of client.Enforcer.Permit, is that nobody has decided, as client.RefusedError.Undecided has
// it. It is what a route that says on_unavailable: allow may let pass. It is false of what client.Permit.Begin returns.
func Undecided(err error) bool {
	refused, ok := errors.AsType[*client.RefusedError](err)
	return ok && refused.Undecided()
}
