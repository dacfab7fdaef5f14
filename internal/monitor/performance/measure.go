package performance

import (
	"fmt"
	"math"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

const (
	// habit is the share that a new number gets of an average: it remembers some hundred.
	habit = 1.0 / 64
	// slack and clip are of the CUSUMs, in standard deviations: no one act is a drift.
	slack, clip = 0.5, 4.0
	// kinds is over how many averages actions are spread.
	kinds = 3
)

// faults watches for a rise of the share of acts that fail.
type faults struct {
	usual series.EWMA // 1 for an act that failed, 0 for one that worked
	sum   series.CUSUM
}

// add takes in an act, and reports whether the share has risen.
func (f *faults) add(bad bool, r *catalog.PerformanceRules, learn bool) bool {
	x := 0.0
	if bad {
		x = 1
	}
	risen := false
	if f.usual.N() >= 3*r.Least {
		p := f.usual.Mean()
		z := (x - p) / max(math.Sqrt(max(0, float64(p*(1-p)))), 0.35)
		risen = over(&f.sum, z, r.Drift)
	}
	if learn {
		f.usual.Add(x, habit)
	}
	return risen
}

// measures watch latency and size of results, each against what the agent's own acts of like kind had.
type measures struct {
	latency, size [kinds]series.EWMA // of logarithms
	slow, large   series.CUSUM
}

func (m *measures) add(r *catalog.PerformanceRules, o *conduct.Outcome, class conduct.Class, learn bool, emit func(conduct.Draft)) {
	i := conduct.Hash(o.Action) % kinds
	if o.Latency > 0 && rises(&m.latency[i], &m.slow, o.Latency, r, learn) {
		emit(conduct.Draft{Kind: KindLatency, Severity: conduct.Low, Class: class, Evidence: []int64{o.Seq},
			Sentence: fmt.Sprintf("The agent's acts take longer than they did: now %s took %d ms.", conduct.Quote(o.Action), o.Latency)})
	}
	if o.Size > 0 && rises(&m.size[i], &m.large, o.Size, r, learn) {
		emit(conduct.Draft{Kind: KindSize, Severity: conduct.Low, Class: class, Evidence: []int64{o.Seq},
			Sentence: fmt.Sprintf("The agent's results are larger than they were: now %s gave %d bytes.", conduct.Quote(o.Action), o.Size)})
	}
}

// rises takes in a number and reports whether such numbers have risen. A quarter of an octave is the least
// that counts as a standard deviation. What is learned is clipped as well, so that one monstrous number does
// not hide others.
func rises(usual *series.EWMA, sum *series.CUSUM, x int64, r *catalog.PerformanceRules, learn bool) bool {
	l := octaves(x)
	risen := false
	if usual.N() >= 3*r.Least {
		mean, deviation := usual.Mean(), max(usual.Deviation(), 0.25)
		risen = over(sum, (l-mean)/deviation, r.Drift)
		most := float64(clip * deviation)
		l = max(mean-most, min(mean+most, l))
	}
	if learn {
		usual.Add(l, habit)
	}
	return risen
}

// over adds z to the sum, and reports whether that passes the threshold, whereupon it begins anew.
func over(sum *series.CUSUM, z, threshold float64) bool {
	if sum.Add(max(-clip, min(clip, z)), slack) <= threshold || threshold <= 0 {
		return false
	}
	sum.Reset()
	return true
}

// octaves returns about the binary logarithm of x > 0, straight between the powers of two, which is the
// same on every machine.
func octaves(x int64) float64 {
	f, e := math.Frexp(float64(x))
	return float64(e-1) + (2*f - 1)
}
