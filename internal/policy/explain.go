package policy

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Bounds of an explanation.
const (
	maxMoves     = 12 // single things that are tried
	maxTrials    = 40 // evaluations
	maxChanges   = 3  // things changed together, remedies not counted
	maxNearby    = 8  // permits that are looked at
	maxProposals = 3  // capabilities that an operator is asked for
)

// Explain returns the smallest set of changes, by the agent, a person, an operator or the passage of
// time, with which the request would be allowed, and which was verified by judging the changed
// request again. If a remedy is needed besides, it is among the changes. Req is the request that was
// judged, with everybody the agent acts for, and d the answer to it.
//
// It is nil if the request is allowed, or if nothing was found: because only risk, conduct, trust or
// the network stand in the way, of which nothing is ever proposed, or because the search is bounded.
// The order of the changes is stable.
func (s *Set) Explain(req *authz.Request, f *authz.Facts, d *authz.Decision) []authz.Change {
	switch d.Effect {
	case authz.Allow:
		return nil
	case authz.RequireApproval, authz.StepUp:
		var applied remedy
		for _, r := range [...]remedy{approval, stepUp} {
			if slices.Contains(d.Remedies, r.String()) {
				applied |= r
			}
		}
		for _, p := range parties(*req) {
			if v := s.evaluate(&p, f, applied); !v.Allowed() {
				return nil
			}
		}
		return remedyChanges(d.Remedies)
	}
	switch d.Code {
	case authz.CodeNoPermit, authz.CodeForbidden, authz.CodePolicyError:
	default:
		return nil
	}
	x := &explainer{set: s, req: req, f: f, zone: f.Zone, keys: make(map[string]int)}
	if x.zone == nil {
		x.zone = time.UTC
	}
	for _, p := range parties(*req) {
		if !x.learn(&p) {
			return nil
		}
	}
	return x.search()
}

// An explainer looks for what would change a refusal.
type explainer struct {
	set  *Set
	req  *authz.Request
	f    *authz.Facts
	zone *time.Location

	moves  []move
	keys   map[string]int // bit of each key
	needs  []keys         // of each, one must move: forbids that fire
	wants  [][][]keys     // by party: permits that are near, and of each all their failing parts
	trials int
}

// keys is a set of keys of moves.
type keys uint64

// learn notes what stands in a party's way and what could move it. It reports false if something
// stands there that nobody could move.
func (x *explainer) learn(req *authz.Request) bool {
	q, flt := x.set.query(req, x.f, everything)
	if flt != nil {
		return false
	}
	permitted := false
	var nearby [][]keys
	for _, r := range x.set.candidatesOf(q) {
		if r.mode != enforce {
			continue
		}
		inForce := r.inForce(x.f.At)
		satisfied, erred := q.satisfies(r.policy)
		switch {
		case r.forbid && inForce && r.remedy == noRemedy && (satisfied || erred), r.forbid && inForce && erred:
			need := x.breaking(q, r)
			if need == 0 {
				return false
			}
			x.needs = append(x.needs, need)
		case r.forbid || permitted:
		case inForce && satisfied:
			permitted = true
		case len(nearby) < maxNearby:
			if parts, ok := x.meeting(q, r, inForce); ok {
				nearby = append(nearby, parts)
			}
		}
	}
	if !permitted {
		if len(nearby) == 0 {
			return false
		}
		x.wants = append(x.wants, nearby)
	}
	return true
}

// breaking returns the keys of the moves that could keep a forbid from firing.
func (x *explainer) breaking(q *query, r *rule) keys {
	var need keys
	for _, p := range planOf(r).parts {
		need |= x.propose(q, p)
		if list, ok := wishes(p.body, !p.want); ok {
			need |= x.wait(list, x.f.At)
		}
	}
	if !r.expires.IsZero() {
		need |= x.add(waitMove(r.expires, x.zone))
	}
	return need
}

// meeting returns, for each part of a permit that fails, the keys of the moves that could make it
// hold. It reports false if there is a part that nothing moves.
func (x *explainer) meeting(q *query, r *rule, inForce bool) ([]keys, bool) {
	p := planOf(r)
	if in, _ := q.satisfies(p.scope); !in {
		return nil, false
	}
	from := x.f.At
	var failing []keys
	if !inForce {
		if r.notBefore.IsZero() || !from.Before(r.notBefore) {
			return nil, false // it is over
		}
		from = r.notBefore
	}
	// All that depends on the clock must come true at one moment.
	var clock []wish
	late := !inForce
	var rest []part
	for _, part := range p.parts {
		holds, _ := q.satisfies(part.test)
		if list, ok := wishes(part.body, part.want); ok {
			clock = append(clock, list...)
			late = late || !holds
			if !holds {
				continue
			}
		}
		if !holds {
			rest = append(rest, part)
		}
	}
	if late {
		k := x.wait(clock, from)
		if k == 0 {
			return nil, false
		}
		failing = append(failing, k)
	}
	for _, part := range rest {
		k := x.propose(q, part)
		if k == 0 {
			return nil, false
		}
		failing = append(failing, k)
	}
	return failing, true
}

// satisfies reports whether a policy is satisfied, or errs.
func (q *query) satisfies(p *cedar.Policy) (satisfied, erred bool) {
	_, diag := cedar.Authorize(single{p}, &q.entities, q.request)
	return len(diag.Reasons) > 0, len(diag.Errors) > 0
}

// single is a policy by itself.
type single struct{ policy *cedar.Policy }

// All implements cedar.PolicyIterator.
func (s single) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) { yield("", s.policy) }
}

// add notes a move and returns its key.
func (x *explainer) add(m move) keys {
	bit, ok := x.keys[m.key]
	if !ok {
		bit = len(x.keys)
		if bit >= 64 {
			return 0
		}
		x.keys[m.key] = bit
	}
	same := func(o move) bool { return o.key == m.key && string(o.change.To) == string(m.change.To) }
	if !slices.ContainsFunc(x.moves, same) {
		x.moves = append(x.moves, m)
	}
	return 1 << bit
}

// wait adds the move that lets time pass until all wishes hold.
func (x *explainer) wait(list []wish, from time.Time) keys {
	if x.set.cat == nil {
		return 0
	}
	at, ok := x.soonest(list, from)
	if !ok || !at.After(x.f.At) {
		return 0
	}
	return x.add(waitMove(at, x.zone))
}

// propose adds the moves that could turn a part over.
func (x *explainer) propose(q *query, p part) keys {
	var all keys
	for _, a := range p.atoms {
		switch a.on.kind {
		case claimedQuantity, argsQuantity, resourceQuantity, subjectQuantity:
			if !x.statable(q, a.on) {
				continue
			}
			if a.is == present { // whatever else speaks of it proposes a value
				all |= x.keyOf(a.on)
				continue
			}
			now, with := q.lookup(a.on), a.other(q.env())
			if a.with != nil && with == nil {
				continue
			}
			for _, v := range a.values(now, with) {
				all |= x.add(stateMove(a.on, now, v))
			}
		case capabilitiesQuantity, withinQuantity, exceededQuantity:
			all |= x.proposeGrant(a)
		}
	}
	return all
}

// keyOf returns the key of a quantity, for which there may be no move yet.
func (x *explainer) keyOf(q quantity) keys {
	bit, ok := x.keys[q.target()]
	if !ok {
		if bit = len(x.keys); bit >= 64 {
			return 0
		}
		x.keys[q.target()] = bit
	}
	return 1 << bit
}

// statable reports whether a request may state the quantity.
func (x *explainer) statable(q *query, on quantity) bool {
	switch on.kind {
	case resourceQuantity:
		return x.set.stored.fromAsker[q.resource.typ][on.path[0]]
	case subjectQuantity:
		return q.principal.typ != agentEntity && x.set.stored.fromAsker[q.principal.typ][on.path[0]]
	}
	return true
}

// proposeGrant adds the moves that change how the agent's capabilities cover the act: to lower an
// argument to the limit of a capability, to wait for its schedule, to be granted one.
func (x *explainer) proposeGrant(a atom) keys {
	cat, agent := x.set.cat, x.f.Agent
	if cat == nil || agent == nil || !x.derived() {
		return 0
	}
	name, named := a.lit.(types.String)
	var all keys
	if a.on.kind != capabilitiesQuantity {
		for _, id := range agent.Capabilities {
			if k, ok := cat.Capability(id); ok && (!named || string(name) == id) && slices.Contains(x.exceeded(), id) {
				all |= x.within(k)
			}
		}
	}
	var ask []string
	if named && a.is == contains {
		ask = []string{string(name)}
	} else if a.on.kind == withinQuantity {
		groups := x.set.ActionGroups(x.req.Action.Name)
		for _, k := range cat.Capabilities() {
			if len(ask) < maxProposals && slices.ContainsFunc(k.Actions, func(n string) bool { return slices.Contains(groups, n) }) {
				ask = append(ask, k.ID)
			}
		}
	}
	for _, id := range ask {
		if _, ok := cat.Capability(id); ok && !slices.Contains(agent.Capabilities, id) {
			all |= x.add(grantMove(id))
		}
	}
	return all
}

// exceeded returns the capabilities of which a limit stands in the way.
func (x *explainer) exceeded() []string {
	var out []string
	for _, e := range x.f.Grant.Exceeded {
		if i := slices.Index([]byte(e), '/'); i > 0 {
			out = append(out, e[:i])
		}
	}
	return out
}

// within adds the moves that bring the act within a capability's limits.
func (x *explainer) within(k *catalog.Capability) keys {
	var all keys
	p := parties(*x.req)[0]
	q, flt := x.set.query(&p, x.f, everything)
	if flt != nil {
		return 0
	}
	for _, e := range x.f.Grant.Exceeded {
		for arg, most := range k.Limits.Amount {
			if e != k.ID+"/amount."+arg {
				continue
			}
			on := quantity{argsQuantity, []string{arg}}
			now := q.lookup(on)
			limit, err := types.ParseDecimal(decimalText(most))
			if err != nil {
				continue
			}
			var v types.Value = limit
			if _, long := now.(types.Long); long {
				n, _ := countOf(limit)
				v = types.Long(n / 10000)
			}
			all |= x.add(stateMove(on, now, v))
		}
		if e == k.ID+"/schedule" {
			soonest := time.Time{}
			for _, name := range k.Limits.Schedules {
				if at, ok := x.set.cat.NextOpen(name, x.f.At); ok && (soonest.IsZero() || at.Before(soonest)) {
					soonest = at
				}
			}
			if soonest.After(x.f.At) {
				all |= x.add(waitMove(soonest, x.zone))
			}
		}
	}
	return all
}

// decimalText writes a number as Cedar's decimals are written.
func decimalText(s string) string {
	for i := range len(s) {
		if s[i] == '.' {
			return s
		}
	}
	return s + ".0"
}

// search tries sets of moves, the smallest first, and returns the changes of the first that suffices.
func (x *explainer) search() []authz.Change {
	slices.SortStableFunc(x.moves, func(a, b move) int {
		if c := cmp.Compare(a.rank(), b.rank()); c != 0 || a.key != b.key {
			return c
		}
		return cmp.Compare(a.distance(), b.distance())
	})
	x.moves = x.moves[:min(len(x.moves), maxMoves)]
	var chosen []*move
	for n := 1; n <= maxChanges; n++ {
		best := x.choose(n, 0, 0, &chosen)
		if best != nil {
			return best
		}
	}
	return nil
}

// choose tries all sets of n more moves from the given one on, in order. A set that allows is
// returned at once; failing that, the first that needs nothing but a remedy.
func (x *explainer) choose(n, from int, moved keys, chosen *[]*move) []authz.Change {
	if n == 0 {
		if !x.covers(moved) || x.trials >= maxTrials {
			return nil
		}
		return x.try(*chosen)
	}
	var fallback []authz.Change
	for i := from; i <= len(x.moves)-n; i++ {
		m := &x.moves[i]
		bit := keys(1) << x.keys[m.key]
		if moved&bit != 0 {
			continue
		}
		*chosen = append(*chosen, m)
		found := x.choose(n-1, i+1, moved|bit, chosen)
		*chosen = (*chosen)[:len(*chosen)-1]
		if found == nil {
			continue
		}
		if last := found[len(found)-1].Kind; last != "approve" && last != "step_up" {
			return found
		}
		if fallback == nil {
			fallback = found
		}
	}
	return fallback
}

// covers reports whether everything that stands in the way has a move among the moved.
func (x *explainer) covers(moved keys) bool {
	for _, n := range x.needs {
		if n&moved == 0 {
			return false
		}
	}
	for _, permits := range x.wants {
		if !slices.ContainsFunc(permits, func(parts []keys) bool {
			return !slices.ContainsFunc(parts, func(k keys) bool { return k&moved == 0 })
		}) {
			return false
		}
	}
	return bits.OnesCount64(uint64(moved)) > 0
}

// try judges the request with the moves made, and returns their changes if that allows it, with the
// remedies that it takes.
func (x *explainer) try(moves []*move) []authz.Change {
	x.trials++
	req, f, ok := x.moved(moves)
	if !ok {
		return nil
	}
	if f.Agent != nil && f.Agent != x.f.Agent {
		defer x.set.agents.forget(f.Agent)
	}
	d := x.set.EvaluateAll(req, f)
	var out []authz.Change
	for _, m := range moves {
		out = append(out, m.change)
	}
	switch d.Effect {
	case authz.Allow:
		return out
	case authz.RequireApproval, authz.StepUp:
		return append(out, remedyChanges(d.Remedies)...)
	}
	return nil
}

// moved returns the request and the facts as they would be.
func (x *explainer) moved(moves []*move) (*authz.Request, *authz.Facts, bool) {
	req, f := *x.req, *x.f
	for _, m := range moves {
		ok := true
		switch {
		case m.grant != "":
			agent := *f.Agent
			agent.Capabilities = append(slices.Clone(agent.Capabilities), m.grant)
			slices.Sort(agent.Capabilities)
			f.Agent = &agent
		case !m.at.IsZero():
			f.At = m.at
			if x.set.cat != nil {
				f.Schedules = x.set.cat.Open(m.at)
			}
		case m.on.kind == claimedQuantity:
			req.Context, ok = state(req.Context, m.on.path, m.change.To)
		case m.on.kind == argsQuantity:
			req.Action.Properties, ok = state(req.Action.Properties, m.on.path, m.change.To)
		case m.on.kind == resourceQuantity:
			req.Resource.Properties, ok = state(req.Resource.Properties, m.on.path, m.change.To)
		case m.on.kind == subjectQuantity:
			req.Subject.Properties, ok = state(req.Subject.Properties, m.on.path, m.change.To)
		}
		if !ok {
			return nil, nil, false
		}
	}
	if x.set.cat != nil && !slices.Equal(req.Resource.Properties, x.req.Resource.Properties) {
		class, labels, region := x.set.cat.Classify(&x.req.Resource)
		if class == f.Class && region == f.Region && slices.Equal(labels, f.Labels) {
			f.Class, f.Labels, f.Region = x.set.cat.Classify(&req.Resource)
		}
	}
	if f.Agent != nil && x.derived() {
		f.Grant = x.set.grant(&req, &f)
	}
	return &req, &f, true
}

// derived reports whether the grant among the facts is what the catalog says, so that it can be
// derived again.
func (x *explainer) derived() bool {
	if x.set.cat == nil || x.f.Agent == nil {
		return false
	}
	g := x.set.grant(x.req, x.f)
	return slices.Equal(g.Within, x.f.Grant.Within) && slices.Equal(g.Exceeded, x.f.Grant.Exceeded)
}

// grant returns how the acting agent's capabilities cover the request.
func (s *Set) grant(req *authz.Request, f *authz.Facts) authz.Grant {
	return s.cat.Grant(f.Agent, catalog.Act{
		Action:       req.Action.Name,
		Groups:       s.ActionGroups(req.Action.Name),
		Arguments:    req.Action.Properties,
		Class:        f.Class,
		Jurisdiction: f.Region,
		Schedules:    f.Schedules,
	})
}

// forget drops an agent that was only supposed.
func (c *agents) forget(a *authz.Agent) {
	c.mu.Lock()
	delete(c.ent, a)
	c.mu.Unlock()
}
