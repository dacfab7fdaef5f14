package policy

import (
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
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
// the network stand in the way, of which nothing is ever proposed, because nobody can give the approval
// that it takes, or because the search is bounded.
// The order of the changes is stable.
func (s *Set) Explain(req *authz.Request, f *authz.Facts, d *authz.Decision) []authz.Change {
	h := hearings.Get().(*hearing)
	defer h.free()
	s.joined(h, req, req.OnBehalf, f)
	return s.explain(h, req, f, d)
}

// explain is Explain after the hearing from which d came.
func (s *Set) explain(h *hearing, req *authz.Request, f *authz.Facts, d *authz.Decision) []authz.Change {
	switch d.Effect {
	case authz.Allow:
		return nil
	case authz.RequireApproval, authz.StepUp:
		// Nobody is denied, or the answer were Deny; and who is not denied was judged with all
		// remedies assumed (see Evaluate), so the remedies suffice.
		return remedyChanges(d)
	}
	switch d.Code {
	case authz.CodeNoPermit, authz.CodeForbidden, authz.CodePolicyError:
	default:
		return nil
	}
	x := &explainer{set: s, req: req, f: f, zone: f.Zone}
	if x.zone == nil {
		x.zone = time.UTC
	}
	for _, q := range h.queries[:h.heard] {
		if !x.learn(q) {
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
	keys   []string   // by their bits
	needs  []keys     // of each, one must move: forbids that fire
	wants  [][][]keys // by party: permits that are near, and of each all their failing parts
	trials int
}

// keys is a set of keys of moves.
type keys uint64

// learn notes what stands in a party's way, of whom was judged already, and what could move it. It reports false if something
// stands there that nobody could move.
func (x *explainer) learn(q *query) bool {
	if q.fault != nil {
		return false
	}
	permitted := false
	var nearby [][]keys
	for _, n := range q.walk.all() {
		r := x.set.rules[n]
		if r.mode != enforce {
			continue
		}
		inForce := r.inForce(x.f.At)
		satisfied, erred := slices.Contains(q.walk.satisfied, r), slices.Contains(q.walk.erred, r)
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
	switch q.bar(x.req) {
	case authz.CodePassport:
		return false
	case authz.CodeNoPermit:
		need := x.proposeCarrying(x.req.Resource.ID)
		if need == 0 {
			return false
		}
		x.needs = append(x.needs, need)
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
	parts := planOf(r).movable
	for i := range parts {
		need |= x.propose(q, &parts[i])
		if parts[i].unmet != nil {
			need |= x.wait(parts[i].unmet, x.f.At)
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
	from := x.f.At
	if !inForce {
		if r.notBefore.IsZero() || !from.Before(r.notBefore) {
			return nil, false // it is over
		}
		from = r.notBefore
	}
	p := planOf(r)
	if slices.Contains(q.holding(p.fixed), false) {
		return nil, false
	}
	holding := q.holding(p.movable)
	// All that depends on the clock must come true at one moment.
	var clock []wish
	late := !inForce
	for i := range p.movable {
		if part := &p.movable[i]; part.met != nil {
			clock = append(clock, part.met...)
			late = late || !holding[i]
		}
	}
	var failing []keys
	if late {
		k := x.wait(clock, from)
		if k == 0 {
			return nil, false
		}
		failing = append(failing, k)
	}
	for i := range p.movable {
		part := &p.movable[i]
		if part.met != nil || holding[i] {
			continue
		}
		k := x.propose(q, part)
		if k == 0 {
			return nil, false
		}
		failing = append(failing, k)
	}
	return failing, true
}

// key returns the bit of a key, 0 if there is no room for another one.
func (x *explainer) key(name string) keys {
	bit := slices.Index(x.keys, name)
	if bit < 0 {
		if bit = len(x.keys); bit >= 64 {
			return 0
		}
		x.keys = append(x.keys, name)
	}
	return 1 << bit
}

// add notes a move and returns its key.
func (x *explainer) add(m move) keys {
	k := x.key(m.key)
	same := func(o move) bool { return o.key == m.key && string(o.change.To) == string(m.change.To) }
	if k != 0 && !slices.ContainsFunc(x.moves, same) {
		x.moves = append(x.moves, m)
	}
	return k
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
func (x *explainer) propose(q *query, p *part) keys {
	var all keys
	for _, a := range p.atoms {
		switch a.on.kind {
		case claimedQuantity, argsQuantity, resourceQuantity, subjectQuantity:
			if !x.statable(q, a.on) {
				continue
			}
			if a.is == present { // whatever else speaks of it proposes a value
				all |= x.key(a.on.target())
				continue
			}
			now, with := q.lookup(a.on), a.other(q)
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
