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

// Prompt reports whether what comes of an act is recorded in this process, so that client.Permit.Done does not wait for anybody.
func (g *Gateway) Prompt(p *client.Permit) bool {
	if g.point == nil {
		return false
	}
	for _, id := range p.Decisions() {
		if !g.point.Own(id) {
			return false
		}
	}
	return true
}
