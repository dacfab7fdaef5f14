package policy

import (
	"iter"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/safeconduct/safeconduct/authz"
)

// Evaluate judges req by the facts. It never asks anybody and touches memory only.
// Effect, Code, Reasons, Obligations, Remedies, Fired, Detail, At and the versions of the Decision
// are set; Changes are not.
//
// In this order:
//
//  1. A request whose action or types the schema does not know, or whose properties have not the
//     declared types, is denied (CodeTypeUnknown, CodeInvalid). So is one for which a required
//     signal is missing, in f.Missing or among the attributes that the schema requires
//     (CodeSignalMissing).
//  2. A forbid that cannot be evaluated denies (CodePolicyError).
//  3. A forbid that fires and carries no @remedy denies (CodeForbidden).
//  4. If no permit is satisfied, the request is denied (CodeNoPermit). A permit that cannot be
//     evaluated permits nothing.
//  5. If an obligation of a satisfied permit is one that the enforcement point says it cannot meet,
//     the request is denied (CodeObligation).
//  6. Of the forbids that fire and carry a @remedy, f.Approval lifts those all of whose routes it has
//     gone, and f.Assured those whose level is among them. If others are left, the answer is
//     RequireApproval or StepUp, the stricter if both are needed, with the Routes that lead to the
//     approval, none if one of the forbids has none; and an obligation to step up for each level. By
//     then it is certain that with all remedies the request would be allowed. If the catalog's budget
//     of asking is used up, RequireApproval is Deny (CodeAskBudget).
//  7. Else it is allowed, with the union of the obligations of all satisfied permits. It is Lifted if it
//     would not be allowed without f.Approval.
//
// A denial of 3 or 6 carries the obligations of the forbids that cause it.
//
// What is not denied is denied nevertheless if the agent presented a passport that carries none of its
// capabilities for the act, or carries them less far (CodePassport); or if a capability shall be put
// into a passport that the agent was not granted or may not use now (CodeNoPermit).
func (s *Set) Evaluate(req *authz.Request, f *authz.Facts) authz.Decision {
	return s.evaluateFor(req, nil, f)
}

// Answer is EvaluateAll, with the Changes that Explain finds if the answer is a refusal. It costs less than the two, as what
// was worked out for the answer serves for the changes.
func (s *Set) Answer(req *authz.Request, f *authz.Facts) authz.Decision {
	h := hearings.Get().(*hearing)
	defer h.free()
	d := s.hear(h, req, req.OnBehalf, f)
	if d.Effect != authz.Allow {
		d.Changes = s.explain(h, req, f, &d)
	}
	return d
}

// evaluate is Evaluate for the subject, without what all parties together lead to, when some remedies
// have been applied besides those of the facts: a forbid that a remedy lifts no longer counts, although
// it is recorded. It notes in n what the forbids need that are left.
func (s *Set) evaluate(req *authz.Request, f *authz.Facts, applied remedy, n *needs) authz.Decision {
	h := hearings.Get().(*hearing)
	defer h.free()
	return s.evaluateIn(h.next(), req, f, applied, n)
}

// evaluateIn is evaluate in a q that is empty, and that afterwards holds what became of the request.
func (s *Set) evaluateIn(q *query, req *authz.Request, f *authz.Facts, applied remedy, n *needs) authz.Decision {
	d := authz.Decision{At: f.At, PolicySet: s.version, Catalog: s.version}
	if q.fault = s.fill(q, req, f, nil); q.fault != nil {
		s.refuse(&d, q.fault)
		return d
	}
	s.judge(&d, q, req, f, applied, n)
	if code := q.bar(req); code != "" && d.Effect != authz.Deny {
		d.Refuse(code, barred(code))
	}
	return d
}

// judge decides a query, which has no fault, into d and n.
func (s *Set) judge(d *authz.Decision, q *query, req *authz.Request, f *authz.Facts, applied remedy, n *needs) {
	w := &q.walk
	if !w.begun {
		w.begin(s, q, f)
	}
	w.run(s, q, w.inOrder(), d)

	forbidding, permitting := w.sides()
	bars := only(forbidding, noRemedy)
	if len(forbidding) > 0 && (w.failed != nil || bars != nil) { // whatever would permit has no part in that
		d.Fired = slices.DeleteFunc(d.Fired, func(f authz.Fired) bool { return f.Effect == "permit" && !f.Shadow && f.Error == "" })
	}
	if w.failed != nil {
		d.Effect, d.Code = authz.Deny, authz.CodePolicyError
		d.Detail = "policy " + w.failed.id + ": " + w.failure
		d.Reasons = s.reasons(d.Code, w.failed)
		return
	}
	if bars != nil {
		d.Effect, d.Code = authz.Deny, authz.CodeForbidden
		d.Reasons, d.Obligations = s.reasons(d.Code, bars...), union(bars)
		return
	}
	var left []*rule // forbids that fire and that a remedy could lift, and has not
	for _, r := range forbidding {
		if r.remedy&applied == 0 && !r.liftedBy(f) {
			left = append(left, r)
		}
	}
	if len(permitting) == 0 {
		d.Effect, d.Code = authz.Deny, authz.CodeNoPermit
		d.Reasons = s.reasons(d.Code)
		return
	}
	obligations := union(permitting)
	if lacks := unmet(obligations, req.Observed.Obligations); len(lacks) > 0 {
		d.Effect, d.Code = authz.Deny, authz.CodeObligation
		d.Detail = "the enforcement point cannot meet " + strings.Join(lacks, ", ")
		d.Reasons = s.reasons(d.Code)
		return
	}
	if len(left) == 0 {
		d.Effect, d.Code, d.Obligations = authz.Allow, authz.CodeAllowed, obligations
		return
	}
	needed := n.add(left)
	if needed&approval != 0 {
		d.Effect, d.Code = authz.RequireApproval, authz.CodeApprovalRequired
	} else {
		d.Effect, d.Code = authz.StepUp, authz.CodeStepUpRequired
	}
	d.Remedies = needed.names()
	d.Reasons, d.Obligations = s.reasons(d.Code, left...), union(left)
}

// only returns the rules of that remedy.
func only(rules []*rule, is remedy) []*rule {
	var out []*rule
	for _, r := range rules {
		if r.remedy == is {
			out = append(out, r)
		}
	}
	return out
}

// union returns the obligations of the rules, each once, in the order of the rules.
func union(rules []*rule) []authz.Obligation {
	var out []authz.Obligation
	for _, r := range rules {
		for _, o := range r.obligations {
			if !slices.ContainsFunc(out, func(have authz.Obligation) bool { return have.ID == o.ID }) {
				out = append(out, o)
			}
		}
	}
	return out
}

// unmet returns the ids of the obligations that the enforcement point does not say it can meet, by
// their ids, by their types in the catalog, or by those of the AuthZEN obligations profile. If it said
// nothing, it is trusted to meet all.
func unmet(list []authz.Obligation, can []string) []string {
	if can == nil {
		return nil
	}
	var out []string
	for _, o := range list {
		if !slices.Contains(can, o.ID) && !slices.Contains(can, o.Type) && !slices.Contains(can, o.ProfileType()) {
			out = append(out, o.ID)
		}
	}
	return out
}

// A walk is the way of one query past the rules.
type walk struct {
	begun               bool // whether the rest is known
	principal, resource []mark

	list  []int32            // the rules whose scopes match, and whose dates hold
	ends  [disabledRules]int // where each class ends in list
	idle  []int32            // those whose dates do not hold
	order []int32            // list as it is evaluated and recorded: rules in shadow first
	given candidates         // to Cedar

	satisfied []*rule // that are not in shadow: forbids first
	erred     []*rule // likewise
	failed    *rule   // the first forbid of erred
	failure   string
}

// reset empties w, and keeps its room.
func (w *walk) reset() {
	clear(w.satisfied)
	clear(w.erred)
	*w = walk{
		principal: w.principal[:0], resource: w.resource[:0], list: w.list[:0], idle: w.idle[:0], order: w.order[:0],
		satisfied: w.satisfied[:0], erred: w.erred[:0],
	}
}

// begin finds the rules that could apply to a query of which the entities are known.
func (w *walk) begin(s *Set, q *query, f *authz.Facts) {
	w.begun = true
	w.principal = append(w.principal[:0], q.marks...)
	if q.marks == nil {
		w.principal = s.marks(w.principal, &q.entities.principal)
	}
	w.resource = s.marks(w.resource[:0], &q.entities.resource)
	w.list = s.index.candidates(w.list[:0], w.principal, q.action.marks, w.resource)
	w.split(s, f)
}

// exact reports whether one of the candidates reads the exact time.
func (w *walk) exact(s *Set) bool {
	reads := func(n int32) bool { return s.rules[n].exact }
	return slices.ContainsFunc(w.list, reads) || slices.ContainsFunc(w.idle, reads)
}

// split cuts the candidates into classes, and sets those aside whose dates do not hold.
func (w *walk) split(s *Set, f *authz.Facts) {
	w.list = slices.DeleteFunc(w.list, func(n int32) bool {
		r := s.rules[n]
		if !r.dated || r.inForce(f.At) {
			return false
		}
		w.idle = append(w.idle, n)
		return true
	})
	end := 0
	for c := range w.ends {
		for end < len(w.list) && int(w.list[end]) < s.starts[c+1] {
			end++
		}
		w.ends[c] = end
	}
}

// of returns the candidates of one class.
func (w *walk) of(c class) []int32 {
	if c == 0 {
		return w.list[:w.ends[0]]
	}
	return w.list[w.ends[c-1]:w.ends[c]]
}

// inOrder returns all candidates as they are evaluated.
func (w *walk) inOrder() []int32 {
	decide := w.ends[permits]
	w.order = append(append(w.order[:0], w.list[decide:]...), w.list[:decide]...)
	return w.order
}

// all returns the numbers of all rules whose scopes match, whether their dates hold or not.
func (w *walk) all() []int32 {
	if len(w.idle) == 0 {
		return w.list
	}
	all := slices.Concat(w.list, w.idle)
	slices.Sort(all)
	return all
}

// sides returns the forbids and the permits that are satisfied.
func (w *walk) sides() (forbidding, permitting []*rule) {
	n := 0
	for n < len(w.satisfied) && w.satisfied[n].forbid {
		n++
	}
	return w.satisfied[:n], w.satisfied[n:]
}

// run evaluates the rules of the given numbers at once, notes what became of those that are not in shadow, and records all
// that took part in d.
func (w *walk) run(s *Set, q *query, numbers []int32, d *authz.Decision) {
	if len(numbers) == 0 {
		return
	}
	w.given = candidates{s.rules, numbers}
	_, diag := cedar.Authorize(&w.given, &q.entities, q.request)
	reasons, errs := diag.Reasons, diag.Errors
	for _, n := range numbers {
		switch r := s.rules[n]; {
		case len(reasons) > 0 && reasons[0].PolicyID == r.key:
			reasons = reasons[1:]
			d.Fired = append(d.Fired, r.fired(""))
			if r.mode == enforce {
				w.satisfied = append(w.satisfied, r)
			}
		case len(errs) > 0 && errs[0].PolicyID == r.key:
			d.Fired = append(d.Fired, r.fired(errs[0].Message))
			if r.mode == enforce {
				w.erred = append(w.erred, r)
			}
			if r.mode == enforce && r.forbid && w.failed == nil {
				w.failed, w.failure = r, errs[0].Message
			}
			errs = errs[1:]
		}
	}
	if len(reasons)+len(errs) > 0 && w.failed == nil { // cannot be: Cedar tells of its rules in our order, each once
		w.failed, w.failure = s.rules[numbers[0]], "what became of the policies is not clear"
	}
}

// candidates are the rules that one call of Cedar looks at. All of them permit there (see scopeless): of permits Cedar tells
// each that is satisfied, also beside forbids that are.
type candidates struct {
	rules   []*rule
	numbers []int32
}

// All implements cedar.PolicyIterator.
func (c *candidates) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, n := range c.numbers {
			if r := c.rules[n]; !yield(r.key, r.body) {
				return
			}
		}
	}
}
