package policy

// Uses are the policies by the id of what they name of the catalog in their annotations, in the order in
// which they are judged.
type Uses struct {
	Reasons, Obligations, Routes, Assurances map[string][]string
}

// Uses returns which policies name what.
func (s *Set) Uses() Uses {
	u := Uses{map[string][]string{}, map[string][]string{}, map[string][]string{}, map[string][]string{}}
	for _, r := range s.rules {
		if r.reason != "" {
			u.Reasons[r.reason] = append(u.Reasons[r.reason], r.id)
		}
		for _, o := range r.obligations {
			u.Obligations[o.ID] = append(u.Obligations[o.ID], r.id)
		}
		for _, route := range r.routes {
			u.Routes[route] = append(u.Routes[route], r.id)
		}
		if r.level != "" {
			u.Assurances[r.level] = append(u.Assurances[r.level], r.id)
		}
	}
	return u
}
