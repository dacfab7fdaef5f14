package people

import (
	"slices"
	"strings"
)

// Accounts returns what the registry holds, sorted by id.
func (r *Registry) Accounts() []Account {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]Account, 0, len(r.byID))
	for _, a := range r.byID {
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b Account) int { return strings.Compare(a.Person.ID, b.Person.ID) })
	return all
}

// Indexed returns how many links and sessions can be found.
func (r *Registry) Indexed() (links, sessions int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.pending), len(r.sessions)
}
