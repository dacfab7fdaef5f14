package trust

import (
	"math"
	"time"

	"gonum.org/v1/gonum/mathext"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// grain is the unit that weights of causes and what a day gains are counted in: 1/64 of a clean session.
const grain = 1.0 / 64

// grains returns a weight in grains, rounded up.
func grains(w float64) uint16 { return uint16(min(max(math.Ceil(w/grain), 0), math.MaxUint16)) }

// score returns the lower credible bound in a class at a minute, rounded down to four digits. The newest
// one is kept.
func (s *State) score(r *catalog.TrustRules, c conduct.Class, m uint32) float64 {
	k := &s.class[c]
	if k.scoredAt != m || m == 0 {
		a, b := s.posterior(r, c, m)
		k.scoredAt, k.scored = m, uint16(math.Round(lower(a, b, r.Quantile)*10_000))
	}
	return float64(k.scored) / 10_000
}

// posterior returns alpha and beta in a class at a minute: the prior, and evidence that fades.
func (s *State) posterior(r *catalog.TrustRules, c conduct.Class, m uint32) (a, b float64) {
	k := &s.class[c]
	return r.PriorAlpha + float64(float64(k.good)*fade(k.at, m, r.GoodHalfLife)), r.PriorBeta + s.against(r, c, m)
}

// against returns the evidence against the agent in a class at a minute: what is listed as causes, each
// faded since its own minute, and what no longer is. So a cause that is taken away leaves nothing behind.
func (s *State) against(r *catalog.TrustRules, c conduct.Class, m uint32) float64 {
	k := &s.class[c]
	sum := float64(float64(k.bad) * fade(k.at, m, r.BadHalfLife))
	for i := range s.listed {
		if q := &s.causes[i]; q.in(c) {
			sum += q.now(r, m)
		}
	}
	return sum
}

// lower returns the p-quantile of Beta(a, b), rounded down to four digits so that its last bits do not
// matter. What speaks for the agent is rounded down, and what speaks against it up, to a grain.
func lower(a, b, p float64) float64 {
	a, b = math.Floor(a/grain)*grain, math.Ceil(b/grain)*grain
	if !(a > 0) || !(b > 0) || !(p > 0 && p < 1) {
		return 0
	}
	// The inverse of the regularised incomplete beta function; gonum's is Cephes' incbi (Moshier 1989).
	x := math.Floor(mathext.InvRegIncBeta(a, b, p)*10_000) / 10_000
	if !(x > 0) {
		return 0
	}
	return min(x, 1)
}

// fade returns what is left at a minute of what was 1 at an earlier one, with a half-life.
func fade(then, now uint32, halfLife time.Duration) float64 {
	h := minutes(halfLife)
	if now <= then || h == 0 {
		return 1
	}
	d := now - then
	// 2^-x for the part of a half-life, as the series of exp(-x ln 2), which is below 3e-16 off after 15
	// terms. Written out, it is the same on every processor, which math.Exp2 does not promise.
	y, f := float64(float64(d%h)/float64(h)*math.Ln2), 1.0
	for k := 15.0; k > 0; k-- {
		f = 1 - float64(float64(y/k)*f)
	}
	return math.Ldexp(f, -int(d/h))
}

// enough is as much evidence as is counted.
const enough = 1 << 20

// down and up round to a float32: what speaks for an agent down, what speaks against it up.
func down(x float64) float32 {
	x = min(x, enough)
	f := float32(x)
	if float64(f) > x {
		f = math.Nextafter32(f, 0)
	}
	return f
}

func up(x float64) float32 {
	x = min(x, enough)
	f := float32(x)
	if float64(f) < x {
		f = math.Nextafter32(f, math.MaxFloat32)
	}
	return f
}

// most returns how much can speak for an agent.
func most(r *catalog.TrustRules) float64 { return max(r.Most, 0) }

// settle brings the evidence of a class to a minute, before more is added, and the level to where it has
// faded.
func (s *State) settle(r *catalog.TrustRules, c conduct.Class, m uint32) {
	k := &s.class[c]
	if l := s.ladder[c]; l.level() == High && s.at(r, c, m) < High {
		s.ladder[c] = step(Medium, Medium, 0)
		k.since = m
		s.again(c)
		s.until = 0
	}
	if m > k.at {
		k.good = down(float64(float64(k.good) * fade(k.at, m, r.GoodHalfLife)))
		k.bad = up(float64(float64(k.bad) * fade(k.at, m, r.BadHalfLife)))
		k.at = m
	}
	k.scoredAt = 0
}

// by forgets what was worked out by other rules.
func (s *State) by(r *catalog.TrustRules) {
	h := uint64(14695981039346656037)
	for _, x := range [...]uint64{
		math.Float64bits(r.PriorAlpha), math.Float64bits(r.PriorBeta), math.Float64bits(r.Quantile), math.Float64bits(r.Leave[2]),
		uint64(r.GoodHalfLife), uint64(r.BadHalfLife),
	} {
		h = (h ^ x) * 1099511628211
		h ^= h >> 29
	}
	if p := uint32(h >> 32); p != s.rules {
		s.rules, s.until = p, 0
		for c := range s.class {
			s.class[c].scoredAt = 0
		}
	}
}
