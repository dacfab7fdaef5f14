package approval

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/token"
)

// maxAmounts bounds the amounts of a scope.
const maxAmounts = 32

// limit is how many uses the scope has, -1 if there is no bound.
func (s *Scope) limit() int64 {
	if s.Uses == 0 {
		return 1
	}
	return max(s.Uses, -1)
}

// beyond reports whether the scope goes beyond one use of the very act.
func (s *Scope) beyond() bool {
	return s.limit() != 1 || s.Class || s.Arguments || len(s.Amounts) > 0
}

// fewer returns the smaller number of uses.
func fewer(a, b int64) int64 {
	if a < 0 {
		return b
	}
	if b < 0 {
		return a
	}
	return min(a, b)
}

// narrow returns what both scopes permit.
func narrow(a, b Scope) Scope {
	n := Scope{Uses: fewer(a.limit(), b.limit()), Class: a.Class && b.Class, Arguments: a.Arguments && b.Arguments, Until: a.Until}
	if a.Until.IsZero() || !b.Until.IsZero() && b.Until.Before(a.Until) {
		n.Until = b.Until
	}
	if n.Uses == 1 {
		n.Uses = 0
	}
	if n.Arguments {
		return n
	}
	amounts := map[string]string{}
	for _, s := range []*Scope{&a, &b} {
		other := &b
		if s == other {
			other = &a
		}
		for name, most := range s.Amounts {
			have, ok := other.Amounts[name]
			if other.Arguments {
				have, ok = most, true
			}
			if ok && catalog.AtMost([]byte(have), most) {
				most = have
			}
			if ok {
				amounts[name] = most
			}
		}
	}
	if len(amounts) > 0 {
		n.Amounts = amounts
	}
	return n
}

// most returns the widest scope that all routes permit, without the time until which it holds.
func most(routes []*catalog.Route) Scope {
	var all Scope
	for i, r := range routes {
		s := Scope{Uses: max(r.Uses, 1), Class: r.Class, Arguments: r.Arguments && r.Class, Amounts: r.Amounts}
		if r.Uses < 0 {
			s.Uses = -1
		}
		if i == 0 {
			all = s
		} else {
			all = narrow(all, s)
		}
	}
	if all.Uses == 1 {
		all.Uses = 0
	}
	return all
}

// lasts is how long an approval of a scope holds at most by the routes.
func lasts(routes []*catalog.Route, s Scope) time.Duration {
	longest := time.Duration(-1)
	for _, r := range routes {
		long := r.Lasts
		if s.beyond() && r.ClassFor > 0 {
			long = r.ClassFor
		}
		if longest < 0 || long < longest {
			longest = long
		}
	}
	return max(longest, 0)
}

// permit returns authz.ErrInvalid if the scope is not within what the routes permit, or does not fit the acts.
// Its end is no reason: an end that is too late is brought forward.
func (s *Scope) permit(routes []*catalog.Route, items []*Item, at time.Time) error {
	if s.Uses < -1 || len(s.Amounts) > maxAmounts {
		return authz.Errorf(authz.ErrInvalid, "a scope has -1 or more uses, and at most %d amounts", maxAmounts)
	}
	m := most(routes)
	switch u := s.limit(); {
	case fewer(u, m.limit()) != u:
		return authz.Errorf(authz.ErrInvalid, "an approval of this may be used %d times at most", m.limit())
	case s.Class && !m.Class:
		return authz.Errorf(authz.ErrInvalid, "an approval of this cannot be for a class of resources")
	case s.Arguments && (!m.Arguments || !s.Class):
		return authz.Errorf(authz.ErrInvalid, "an approval of this cannot be for any arguments")
	case !s.Until.IsZero() && !s.Until.After(at):
		return authz.Errorf(authz.ErrInvalid, "the approval would be over at once")
	}
	for name, limit := range s.Amounts {
		most, ok := m.Amounts[name]
		if !m.Arguments && (!ok || !catalog.AtMost([]byte(limit), most)) || !catalog.AtMost([]byte(limit), limit) {
			return authz.Errorf(authz.ErrInvalid, "an approval of this cannot be for %.64q up to %.64q", name, limit)
		}
		for _, it := range items {
			if v, ok := members(it.Action.Properties)[name]; !ok || !catalog.AtMost(v, limit) {
				return authz.Errorf(authz.ErrInvalid, "the act that was asked for has no %.64q up to %.64q", name, limit)
			}
		}
	}
	return nil
}

// members returns the members of an object by name, none if it is no object.
func members(object authz.Claimed) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if len(object) == 0 || json.Unmarshal(object, &m) != nil {
		return nil
	}
	return m
}

// covers reports whether an approval of the item'th act in a scope is for the act of a request, whose
// resource has that data class and those labels. A request is for another act if anything that counts is
// different and the scope does not say that it may be.
func (r *record) covers(item int, s *Scope, req *authz.Request, data authz.DataClass, labels []string) bool {
	it, b := &r.ask.Items[item], &r.ask.Bound
	if !slices.Equal(req.OnBehalf, b.OnBehalf) || !token.Covered(req.Context, b.Members, r.volatile) {
		return false
	}
	action, resource := req.Action, req.Resource
	if s.Class && resource.Type == it.Resource.Type && data.Rank() <= it.Data.Rank() &&
		!slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(it.Labels, l) }) {
		resource = it.Resource
	}
	switch {
	case s.Arguments && s.Class:
		action.Properties = it.Action.Properties
	case len(s.Amounts) > 0:
		var ok bool
		if action.Properties, ok = level(action.Properties, it.Action.Properties, s.Amounts); !ok {
			return false
		}
	}
	act, err := token.BindingHash(req.Subject, action, resource, req.Context, b.Members)
	return err == nil && act == r.acts[item]
}

// level returns the arguments args with the amounts of asked in place of their own, if none of their own is
// over its limit and each is of the same kind, number or text.
func level(args, asked authz.Claimed, limits map[string]string) (authz.Claimed, bool) {
	have, want := members(args), members(asked)
	for name, limit := range limits {
		v, ok := have[name]
		w, there := want[name]
		if !ok || !there || !catalog.AtMost(v, limit) || (bytes.HasPrefix(v, []byte(`"`)) != bytes.HasPrefix(w, []byte(`"`))) {
			return nil, false
		}
		have[name] = w
	}
	out, err := json.Marshal(have)
	return out, err == nil
}
