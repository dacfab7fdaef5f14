package policy

import (
	"slices"

	"github.com/safeconduct/safeconduct/authz"
)

// EvaluateAll judges req for its subject and for everybody the subject acts for, and joins the
// answers: all must be permitted, so that delegation only narrows. The strictest answer counts, what
// fired names the party for whom it fired, and the reasons say who was refused.
func (s *Set) EvaluateAll(req *authz.Request, f *authz.Facts) authz.Decision {
	d := s.Evaluate(req, f)
	for _, person := range req.OnBehalf {
		q := forPerson(req, person)
		pd := s.Evaluate(&q, f)
		join(&d, &pd)
	}
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

	for _, o := range other.Obligations {
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
	if d.Detail != "" && other.Detail != "" {
		d.Detail += "; "
	}
	d.Detail += other.Detail
	if other.Effect < d.Effect {
		d.Effect, d.Code = other.Effect, other.Code
	}

	if d.Effect != authz.Allow {
		d.Obligations = nil
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
