package pdp

import (
	"slices"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// Again judges what was recorded once more: the recorded request, by the recorded facts and a set of
// policies. With the version that decided, the answer is the recorded one; if it is not, this
// program judges otherwise than the one that recorded it. Nothing of today is looked at, neither the
// registry nor risk nor the clock, and nothing is recorded.
func (rec *Record) Again(set *policy.Set) authz.Decision {
	rec.restore(set)
	again := Record{Request: rec.Request, Facts: rec.Facts}
	again.decide(set)
	return again.Decision
}

// Outcome is Again without what would change a refusal, which takes far longer to find.
func (rec *Record) Outcome(set *policy.Set) authz.Decision {
	rec.restore(set)
	return rec.judge(set)
}

// If is Outcome by other facts in place of the recorded ones.
func (rec *Record) If(set *policy.Set, f authz.Facts) authz.Decision {
	again := Record{Request: rec.Request, Facts: f}
	return again.Outcome(set)
}

// Trace tells what became of every policy of the set that could have applied. See policy.Set.Trace.
func (rec *Record) Trace(set *policy.Set) []policy.Traced {
	rec.restore(set)
	return set.Trace(&rec.Request, &rec.Facts)
}

// restore sets what is not recorded because the catalog's version says it.
func (rec *Record) restore(set *policy.Set) { rec.Facts.Zone = set.Catalog().Zone() }

// Agrees reports whether two decisions say the same to the enforcement point, for the same reasons:
// effect, code, remedies and the routes to them, obligations, and the policies that took part.
func Agrees(a, b *authz.Decision) bool {
	return a.Effect == b.Effect && a.Code == b.Code && slices.Equal(a.Remedies, b.Remedies) &&
		slices.Equal(a.Routes, b.Routes) && a.Lifted == b.Lifted &&
		slices.EqualFunc(a.Obligations, b.Obligations, func(a, b authz.Obligation) bool { return a.ID == b.ID && a.Type == b.Type }) &&
		slices.EqualFunc(a.Fired, b.Fired, func(a, b authz.Fired) bool {
			return a.Policy == b.Policy && a.Effect == b.Effect && a.Shadow == b.Shadow && a.Party == b.Party && (a.Error == "") == (b.Error == "")
		})
}
