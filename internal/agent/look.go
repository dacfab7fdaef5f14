package agent

import (
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Holding says what an agent authenticates with at a time.
type Holding struct {
	Keys      int       // active keys
	Documents int       // active documents
	Since     time.Time // when the newest active key was registered; zero if there is none
	ExpiresAt time.Time // when the last of the active keys expires; zero if there is none, or one does not expire
}

// None reports whether there is nothing to authenticate with.
func (h *Holding) None() bool { return h.Keys == 0 && h.Documents == 0 }

// Each calls f with every agent that flt selects and whose id follows the given one, in the order of ids, and with
// what it authenticates with at a time, until f returns false. It holds up changes of the registry while f runs, a
// thousand agents at a time: f must be quick and must not call the registry. The agents are shared: do not
// modify them.
func (r *Registry) Each(flt Filter, after authz.AgentID, at time.Time, f func(*authz.Agent, Holding) bool) {
	text := strings.ToLower(flt.Text)
	for {
		n := 0
		r.mu.RLock()
		i, ok := r.find(after)
		if ok {
			i++
		}
		for ; i+n < len(r.sorted) && n < chunk; n++ {
			a := r.sorted[i+n]
			after = a.ID
			if flt.selects(a, text) && !f(a, r.holding(a.ID, at)) {
				r.mu.RUnlock()
				return
			}
		}
		r.mu.RUnlock()
		if n == 0 {
			return
		}
	}
}

// holding returns what an agent authenticates with. The caller holds r.mu.
func (r *Registry) holding(id authz.AgentID, at time.Time) (h Holding) {
	a := r.accounts[id]
	if a == nil {
		return h
	}
	ends := false
	for _, c := range a.live {
		switch {
		case !c.Active(at):
		case c.Kind == KindDocument:
			h.Documents++
		default:
			h.Keys++
			h.Since = c.CreatedAt
			if ends = (h.Keys == 1 || ends) && !c.ExpiresAt.IsZero(); !ends {
				h.ExpiresAt = time.Time{}
			} else if c.ExpiresAt.After(h.ExpiresAt) {
				h.ExpiresAt = c.ExpiresAt
			}
		}
	}
	return h
}
