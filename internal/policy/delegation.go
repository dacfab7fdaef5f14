package policy

import (
	"slices"

	"github.com/safeconduct/safeconduct/authz"
)

// EvaluateAll judges req for its subject and for everybody the subject acts for, and joins the
// answers: all must be permitted, so that delegation only narrows. The strictest answer counts, what
// fired names the party for whom it fired, and the reasons say who was refused. An approval and levels of
// assurance lift the forbids of all parties.
func (s *Set) EvaluateAll(req *authz.Request, f *authz.Facts) authz.Decision {
	return s.evaluateFor(req, req.OnBehalf, f)
}

// evaluateFor is EvaluateAll for the subject and the given others.
func (s *Set) evaluateFor(req *authz.Request, others []authz.Ref, f *authz.Facts) authz.Decision {
	h := hearings.Get().(*hearing)
	defer h.free()
	return s.hear(h, req, others, f)
}

// hear is evaluateFor in a hearing that has not begun.
func (s *Set) hear(h *hearing, req *authz.Request, others []authz.Ref, f *authz.Facts) authz.Decision {
	d := s.joined(h, req, others, f)
	if f.Approval != nil && d.Effect == authz.Allow {
		without := *f
		without.Approval = nil
		other := hearings.Get().(*hearing)
		defer other.free()
		bare := s.joined(other, req, others, &without)
		d.Lifted = bare.Effect != authz.Allow
	}
	return d
}

// joined is hear but for Lifted.
func (s *Set) joined(h *hearing, req *authz.Request, others []authz.Ref, f *authz.Facts) authz.Decision {
	var n needs
	d := s.evaluateIn(h.next(), req, f, noRemedy, &n)
	for _, person := range others {
		q := forPerson(req, person)
		pd := s.evaluateIn(h.next(), &q, f, noRemedy, &n)
		join(&d, &pd)
	}
	s.settle(&d, f, &n)
	return d
}

// forPerson returns the request as it is judged for somebody the subject acts for.
func forPerson(req *authz.Request, person authz.Ref) authz.Request {
	q := *req
	q.Subject, q.OnBehalf = authz.Entity{Ref: person}, nil
	return q
}

// parties returns the request as it is judged for each party: the subject, then everybody it acts for.
func parties(req authz.Request) []authz.Request {
	out := []authz.Request{req}
	for _, person := range req.OnBehalf {
		out = append(out, forPerson(&req, person))
	}
	return out
}

// join makes d stricter by other, the answer for one more person.
func join(d, other *authz.Decision) {
	setParty(d, "agent")
	setParty(other, "person")
	d.Fired = append(d.Fired, other.Fired...)
	d.Remedies = append(slices.Clone(d.Remedies), other.Remedies...)
	slices.Sort(d.Remedies)
	d.Remedies = slices.Compact(d.Remedies)

	// A refusal carries the obligations of those who are refused.
	if d.Effect == authz.Allow && other.Effect != authz.Allow {
		d.Obligations = nil
	}
	for _, o := range other.Obligations {
		if other.Effect == authz.Allow && d.Effect != authz.Allow {
			break
		}
		if !slices.ContainsFunc(d.Obligations, func(have authz.Obligation) bool { return have.ID == o.ID }) {
			d.Obligations = append(slices.Clone(d.Obligations), o)
		}
	}
	switch {
	case other.Effect == authz.Allow: // adds no refusal
	case d.Effect == authz.Allow:
		d.Reasons = other.Reasons
	default:
		d.Reasons = append(slices.Clone(d.Reasons), other.Reasons...)
	}
	if other.Detail != "" {
		also(d, other.Detail)
	}
	if other.Effect < d.Effect {
		d.Effect, d.Code = other.Effect, other.Code
	}
	if d.Effect == authz.Deny || d.Effect == authz.Allow {
		d.Remedies = nil
	}
}

// setParty says whose evaluation d was, where that is not yet said.
func setParty(d *authz.Decision, party string) {
	for i := range d.Fired {
		if d.Fired[i].Party == "" {
			d.Fired[i].Party = party
		}
	}
	d.Reasons = slices.Clone(d.Reasons) // they may be the catalog's own
	for i := range d.Reasons {
		if d.Reasons[i].Party == "" {
			d.Reasons[i].Party = party
		}
	}
}
