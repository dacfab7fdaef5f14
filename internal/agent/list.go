package agent

import (
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// A Filter selects agents. What is empty selects all.
type Filter struct {
	State      authz.AgentState
	Owner      string
	Purpose    string
	Capability string // that is granted
	Text       string // in the id, the owner, the purpose or the version, in upper or lower case
}

// MaxPage is how many agents Agents returns at most.
const MaxPage = 1000

// chunk is how many agents are looked at before others may change the registry.
const chunk = 1024

// Agents returns up to limit agents that f selects and whose ids follow the given one, in the order
// of ids. An agent that is registered meanwhile may or may not be among them. The values are shared:
// do not modify them.
func (r *Registry) Agents(f Filter, after authz.AgentID, limit int) []*authz.Agent {
	limit = min(limit, MaxPage)
	text := strings.ToLower(f.Text)
	found := []*authz.Agent{}
	for len(found) < limit {
		n := 0
		r.mu.RLock()
		i, ok := r.find(after)
		if ok {
			i++
		}
		for ; i+n < len(r.sorted) && n < chunk && len(found) < limit; n++ {
			a := r.sorted[i+n]
			if f.selects(a, text) {
				found = append(found, a)
			}
			after = a.ID
		}
		r.mu.RUnlock()
		if n == 0 {
			break
		}
	}
	return found
}

// After returns up to limit agents whose ids follow the given one, in the order of ids.
func (r *Registry) After(id authz.AgentID, limit int) []*authz.Agent {
	return r.Agents(Filter{}, id, limit)
}

// Len returns how many agents are registered, the retired ones among them.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.sorted)
}

func (f *Filter) selects(a *authz.Agent, text string) bool {
	switch {
	case f.State != "" && a.State != f.State,
		f.Owner != "" && a.Owner != f.Owner,
		f.Purpose != "" && a.Purpose != f.Purpose:
		return false
	}
	if f.Capability != "" {
		if _, ok := slices.BinarySearch(a.Capabilities, f.Capability); !ok {
			return false
		}
	}
	return text == "" || strings.Contains(string(a.ID), text) ||
		strings.Contains(strings.ToLower(a.Owner), text) || strings.Contains(strings.ToLower(a.Purpose), text) ||
		strings.Contains(strings.ToLower(a.Version), text)
}

// States returns how many agents there are in each state.
func (r *Registry) States() map[authz.AgentState]int {
	n := map[authz.AgentState]int{}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, a := range r.sorted {
		n[a.State]++
	}
	return n
}
