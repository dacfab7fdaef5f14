package policy

import (
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/safeconduct/safeconduct/authz"
)

// EvaluateApplied is Evaluate when the named remedies have been applied.
func (s *Set) EvaluateApplied(req *authz.Request, f *authz.Facts, remedies ...string) authz.Decision {
	applied := noRemedy
	for _, r := range [...]remedy{approval, stepUp} {
		if slices.Contains(remedies, r.String()) {
			applied |= r
		}
	}
	var n needs
	d := s.evaluate(req, f, applied, &n)
	s.settle(&d, f, &n)
	return d
}

// Scan is Cedar itself: all policies that decide, with their scopes, over the whole context. It
// returns which forbids and permits are satisfied and which policies err; ok is false if the request
// has a fault.
func (s *Set) Scan(req *authz.Request, f *authz.Facts) (satisfied, erring []string, ok bool) {
	q, flt := s.query(req, f, everything)
	if flt != nil {
		return nil, nil, false
	}
	for _, forbid := range []bool{true, false} {
		all := make(cedar.PolicyMap)
		for _, r := range s.rules {
			if r.mode == enforce && r.inForce(f.At) && r.forbid == forbid {
				all[cedar.PolicyID(r.id)] = r.policy
			}
		}
		_, diag := cedar.Authorize(all, &q.entities, q.request)
		for _, r := range diag.Reasons {
			satisfied = append(satisfied, string(r.PolicyID))
		}
		for _, e := range diag.Errors {
			erring = append(erring, string(e.PolicyID))
		}
	}
	slices.Sort(satisfied)
	slices.Sort(erring)
	return satisfied, erring, true
}

// Conforms builds what Cedar is given for a request, the whole of it, and has Cedar's own validator
// check it. It returns nil also if the request has a fault, and what that is.
func (s *Set) Conforms(req *authz.Request, f *authz.Facts) (code string, err error) {
	q, flt := s.query(req, f, everything)
	if flt != nil {
		return flt.code, nil
	}
	v := validate.New(s.schema.resolved)
	if err := v.Request(q.request); err != nil {
		return "", err
	}
	if err := v.Entity(q.entities.principal); err != nil {
		return "", err
	}
	if err := v.Entity(q.entities.resource); err != nil {
		return "", err
	}
	if q.entities.agent != nil {
		return "", v.Entity(*q.entities.agent)
	}
	return "", nil
}

// StoredConform has Cedar's validator check all stored entities.
func (s *Set) StoredConform() error {
	v := validate.New(s.schema.resolved)
	for _, uid := range slices.SortedFunc(maps.Keys(s.stored.entities), compareUID) {
		e := s.stored.entities[uid]
		if len(e.missing) > 0 {
			continue
		}
		if err := v.Entity(e.entity); err != nil {
			return err
		}
	}
	return nil
}
