package policy

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/safeconduct/safeconduct/authz"
)

// A move is one thing that could be otherwise: a quantity that the caller states, a later moment, or
// a capability that an operator grants.
type move struct {
	key    string // moves of the same key exclude each other
	on     quantity
	value  types.Value // of a stated quantity
	now    types.Value // what it is, nil if it is absent
	at     time.Time   // of a wait
	grant  string      // id of a capability
	change authz.Change
}

// rank puts what the agent can do first, then what time does, then what an operator must do.
func (m *move) rank() int {
	switch {
	case m.grant != "":
		return 2
	case !m.at.IsZero():
		return 1
	}
	return 0
}

// distance says how far a number is moved, so that the least change is tried first.
func (m *move) distance() float64 {
	a, ok := countOf(m.now)
	b, also := countOf(m.value)
	if ok && also {
		return math.Abs(float64(b) - float64(a))
	}
	return 0
}

// countOf returns what a Long or decimal counts.
func countOf(v types.Value) (int64, bool) {
	switch v := v.(type) {
	case types.Long:
		return int64(v), true
	case types.Decimal:
		n, ok := parseDecimal(v.String())
		return n, ok
	}
	return 0, false
}

// step returns the value that is n units greater than a number, a unit being the least difference.
func step(v types.Value, n int64) (types.Value, bool) {
	at, ok := countOf(v)
	if !ok || n > 0 && at > math.MaxInt64-n || n < 0 && at < math.MinInt64-n {
		return nil, false
	}
	if _, is := v.(types.Long); is {
		return types.Long(at + n), true
	}
	d, err := types.NewDecimal(at+n, -4)
	return d, err == nil
}

// values returns the values of the quantity for which the atom would say the opposite, or, if the
// quantity is absent, would say anything.
func (a atom) values(now, with types.Value) []types.Value {
	var out []types.Value
	add := func(v types.Value, ok bool) {
		if ok {
			out = append(out, v)
		}
	}
	a.numbers(now, with, add)
	switch a.is {
	case equal, unequal:
		same := now != nil && now.Equal(with)
		if b, ok := with.(types.Boolean); ok && same {
			add(!b, true)
		} else if !same {
			add(with, sayable(with))
		}
	case truth:
		if b, ok := now.(types.Boolean); ok {
			add(!b, true)
		} else if now == nil {
			add(types.True, true)
		}
	case empty:
		if s, ok := now.(types.Set); ok && s.Len() > 0 {
			add(types.Set{}, true)
		}
	case contains:
		add(toggled(now, with, sayable(with)))
	case containsAll, containsAny:
		add(toggledAll(now, with, a.is == containsAny))
	case oneOf:
		if s, ok := with.(types.Set); ok && (now == nil || !s.Contains(now)) {
			for _, v := range firstFew(s) {
				add(v, sayable(v))
			}
		}
	}
	return out
}

// numbers adds the least changes of a number that turn a comparison.
func (a atom) numbers(now, with types.Value, add func(types.Value, bool)) {
	if _, ok := countOf(with); !ok || a.is > greaterOrEqual {
		return
	}
	at, known := countOf(now)
	bound, _ := countOf(with)
	holds := known && holdsOrder(a.is, compareInt(at, bound))
	whenTrue := map[relation]int64{less: -1, lessOrEqual: 0, greater: 1, greaterOrEqual: 0}[a.is]
	whenFalse := map[relation]int64{less: 0, lessOrEqual: 1, greater: 0, greaterOrEqual: -1}[a.is]
	if !holds {
		add(step(with, whenTrue))
	}
	if holds || !known {
		add(step(with, whenFalse))
	}
}

func compareInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// toggled returns a set with v, if it lacks it, or without.
func toggled(now, v types.Value, ok bool) (types.Value, bool) {
	s, is := now.(types.Set)
	if !ok || now != nil && !is {
		return nil, false
	}
	list := slices.Clone(s.Slice())
	if s.Contains(v) {
		list = slices.DeleteFunc(list, v.Equal)
	} else {
		list = append(list, v)
	}
	return types.NewSet(list...), true
}

// toggledAll is toggled for every element of a set, or, if one will do, for the first.
func toggledAll(now, with types.Value, one bool) (types.Value, bool) {
	s, is := now.(types.Set)
	want, also := with.(types.Set)
	if !also || now != nil && !is || want.Len() == 0 {
		return nil, false
	}
	list := slices.Clone(s.Slice())
	had := 0
	for v := range want.All() {
		if s.Contains(v) {
			had++
		}
	}
	switch elements := firstFew(want); {
	case len(elements) < want.Len():
		return nil, false
	case one && had > 0: // remove all that are there
		list = slices.DeleteFunc(list, want.Contains)
	case one:
		list = append(list, elements[0])
	case had == want.Len():
		list = slices.DeleteFunc(list, elements[0].Equal)
	default:
		for _, v := range elements {
			if !s.Contains(v) {
				list = append(list, v)
			}
		}
	}
	return types.NewSet(list...), !slices.ContainsFunc(list, func(v types.Value) bool { return !sayable(v) })
}

// firstFew returns up to four elements of a set, in the order of their text.
func firstFew(s types.Set) []types.Value {
	list := slices.Clone(s.Slice())
	slices.SortFunc(list, func(a, b types.Value) int { return strings.Compare(a.String(), b.String()) })
	return list[:min(len(list), 4)]
}

// sayable reports whether a request can state the value.
func sayable(v types.Value) bool {
	switch v.(type) {
	case types.Long, types.Decimal, types.String, types.Boolean:
		return true
	}
	return false
}

// said returns the JSON of a value as a request states it.
func said(v types.Value) json.RawMessage {
	switch v := v.(type) {
	case types.Long, types.Boolean:
		return json.RawMessage(v.String())
	case types.Decimal:
		text := v.String()
		if strings.Contains(text, ".") {
			text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
		}
		return json.RawMessage(text)
	case types.String:
		text, _ := json.Marshal(string(v)) // a string always can be
		return text
	case types.Set:
		parts := []string{}
		for e := range v.All() {
			parts = append(parts, string(said(e)))
		}
		slices.Sort(parts)
		return json.RawMessage("[" + strings.Join(parts, ",") + "]")
	}
	return nil
}

// target returns how changes name a quantity that requests state.
func (q quantity) target() string {
	root := [...]string{claimedQuantity: "claimed", argsQuantity: "action", resourceQuantity: "resource", subjectQuantity: "subject"}[q.kind]
	return root + "." + strings.Join(q.path, ".")
}

// stateMove returns the move that states a quantity.
func stateMove(q quantity, now, value types.Value) move {
	m := move{key: q.target(), on: q, now: now, value: value}
	name := q.path[len(q.path)-1]
	m.change = authz.Change{Who: "agent", Kind: "set", Target: m.key, To: said(value)}
	a, known := countOf(now)
	b, is := countOf(value)
	switch {
	case known && is && a < b:
		m.change.Kind, m.change.Hint = "raise", fmt.Sprintf("With %s of at least %s this would be allowed.", name, m.change.To)
	case known && is:
		m.change.Kind, m.change.Hint = "lower", fmt.Sprintf("With %s of at most %s this would be allowed.", name, m.change.To)
	default:
		m.change.Hint = fmt.Sprintf("With %s set to %s this would be allowed.", name, m.change.To)
	}
	return m
}

// waitMove returns the move that lets time pass.
func waitMove(at time.Time, zone *time.Location) move {
	text := at.In(zone).Format(time.RFC3339)
	to, _ := json.Marshal(text)
	return move{key: "time", at: at, change: authz.Change{
		Who: "time", Kind: "wait", To: to, Hint: "Try again at " + text + ".",
	}}
}

// grantMove returns the move by which an operator grants a capability.
func grantMove(id string) move {
	to, _ := json.Marshal(id)
	return move{key: "grant " + id, grant: id, change: authz.Change{
		Who: "operator", Kind: "grant", Target: "agent.capabilities", To: to,
		Hint: fmt.Sprintf("An operator can grant the agent the capability %q.", id),
	}}
}

// remedyChanges returns what must be asked for where remedies suffice; nil if nothing leads to one of them.
func remedyChanges(d *authz.Decision) []authz.Change {
	var out []authz.Change
	for _, n := range d.Remedies {
		switch {
		case n == approval.String() && len(d.Routes) > 0:
			out = append(out, authz.Change{Who: "person", Kind: "approve", Hint: "A person can approve this act."})
		case n == stepUp.String() && slices.ContainsFunc(d.Obligations, func(o authz.Obligation) bool { return o.Type == stepUpType }):
			out = append(out, authz.Change{Who: "person", Kind: "step_up", Hint: "Stronger authentication makes this possible."})
		default:
			return nil
		}
	}
	return out
}

// lookup returns what a quantity that requests state is in q, nil if it is absent.
func (q *query) lookup(on quantity) types.Value {
	var v types.Value
	switch on.kind {
	case claimedQuantity:
		v, _ = q.request.Context.Get("claimed")
	case argsQuantity:
		v, _ = q.request.Context.Get("args")
	case resourceQuantity:
		v = q.entities.resource.Attributes
	case subjectQuantity:
		v = q.entities.principal.Attributes
	}
	for _, name := range on.path {
		r, ok := v.(types.Record)
		if !ok {
			return nil
		}
		if v, ok = r.Get(types.String(name)); !ok {
			return nil
		}
	}
	return v
}

// other returns the other side of an atom, nil if it cannot be told.
func (a atom) other(q *query) types.Value {
	if a.lit != nil || a.with == nil {
		return a.lit
	}
	v, err := eval.Eval(a.with, q.env())
	if err != nil {
		return nil
	}
	return v
}

// state returns the caller's words with the value of a path replaced. An object on the way that is not there, or null, is made.
func state(text authz.Claimed, path []string, value json.RawMessage) (authz.Claimed, bool) {
	m := make(map[string]json.RawMessage)
	if len(text) > 0 && string(text) != "null" && json.Unmarshal(text, &m) != nil {
		return nil, false
	}
	if len(path) > 1 {
		inner, ok := state(authz.Claimed(m[path[0]]), path[1:], value)
		if !ok {
			return nil, false
		}
		value = json.RawMessage(inner)
	}
	m[path[0]] = value
	out, err := json.Marshal(m)
	return out, err == nil
}
