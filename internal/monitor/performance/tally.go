package performance

import (
	"math"
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A tally is the evidence of a share: the Beta posterior over Haldane's prior.
type tally struct{ good, bad float32 }

// most bounds a weight that is kept.
const most = 1e9

// single returns x as it is kept.
func single(x float64) float32 { return float32(max(0, min(most, x))) }

func (t *tally) add(good bool, weight float64) {
	if good {
		t.good = single(float64(t.good) + weight)
	} else {
		t.bad = single(float64(t.bad) + weight)
	}
}

// n returns how much evidence there is.
func (t tally) n() float64 { return float64(t.good) + float64(t.bad) }

// share returns the share of good, 0..1; 0 if there is no evidence.
func (t tally) share() float64 {
	if n := t.n(); n > 0 {
		return float64(t.good) / n
	}
	return 0
}

// normal95 is the 95 % quantile of the normal distribution.
const normal95 = 1.6448536269514722

// bounds returns the credible bounds of the share, each of which it passes with a probability of about 5 %,
// 0 and 1 if there is no evidence. They are Wilson's (E. B. Wilson, "Probable Inference", JASA 22, 1927),
// which come near to those of the Beta posterior over Jeffreys' prior (Brown, Cai and DasGupta, "Interval
// Estimation for a Binomial Proportion", Statistical Science 16, 2001) by a square root alone, and so are
// the same on every machine.
func (t tally) bounds() (lower, upper float64) {
	n := t.n()
	if n <= 0 {
		return 0, 1
	}
	const z2 = normal95 * normal95
	p := t.share()
	middle := p + z2/(2*n)
	spread := float64(normal95 * math.Sqrt(float64(p*(1-p))/n+z2/(4*n*n)))
	scale := 1 + z2/n
	return max(0, (middle-spread)/scale), min(1, (middle+spread)/scale)
}

func (t tally) lower() float64 { l, _ := t.bounds(); return l }
func (t tally) upper() float64 { _, u := t.bounds(); return u }

// fadings are the powers of a half by sixteenths, correctly rounded, so that no library's exponential is
// asked.
var fadings = [16]float64{
	1, 0.9576032806985737, 0.9170040432046712, 0.8781260801866497, 0.8408964152537145, 0.8052451659746271,
	0.7711054127039704, 0.7384130729697497, 0.7071067811865476, 0.6771277734684463, 0.6484197773255048,
	0.620928906036742, 0.5946035575013605, 0.5693943173783458, 0.5452538663326288, 0.5221368912137069,
}

// fade lets what is known count less, by the time since it was faded last, in steps of a sixteenth of the
// half-life. Time that runs backwards changes nothing; a half-life of 0 lets nothing fade.
func (w *work) fade(at time.Time, halfLife time.Duration) {
	now := at.UnixMicro()
	step := halfLife.Microseconds() / int64(len(fadings))
	if w.since == 0 || step <= 0 {
		w.since = now
		return
	}
	n := (now - w.since) / step
	if n <= 0 {
		return
	}
	w.since += n * step
	const long = 16 * 64 // after so many steps nothing is left
	if n > long {
		n = long
	}
	f := math.Ldexp(fadings[n%16], -int(n/16))
	for _, t := range []*tally{&w.judged, &w.tried, &w.brier} {
		t.good, t.bad = float32(float64(t.good)*f), float32(float64(t.bad)*f)
	}
	if w.said != nil {
		w.said.scale(f)
	}
}

// today counts what reporters said, and what was said of sessions, on one day (UTC). Reporters beyond the
// third share the last count, and sessions share eight: nobody gains a count by making names.
type today struct {
	day       int32
	reporters [4]uint32 // hashes; 0 if the place is free
	said      [4]uint16
	sessions  [8]uint16
}

// weigh returns how much an outcome counts, and counts it.
func (t *today) weigh(r *catalog.PerformanceRules, o *conduct.Outcome) float64 {
	if day := int32(o.At.Unix() / (24 * 3600)); day > t.day {
		*t = today{day: day}
	}
	by := uint32(conduct.Hash(o.By)) | 1
	i := 0
	for i < len(t.reporters)-1 && t.reporters[i] != by && t.reporters[i] != 0 {
		i++
	}
	if t.reporters[i] == 0 {
		t.reporters[i] = by
	}
	session := conduct.Hash(o.Session)
	if o.Session == "" { // each act for itself
		session = uint64(o.Decision)
	}
	part := min(part(&t.said[i], r.Reporter), part(&t.sessions[session%uint64(len(t.sessions))], r.Session))
	switch o.Reporter {
	case conduct.ReporterPerson:
		return part * r.Person
	case conduct.ReporterPEP:
		return part * r.PEP
	}
	return part * r.Operator
}

// part counts one more, and returns what part of it counts: all of the first full, full/n of the n-th, and
// none of what is over a thousand times as many. Together that is full·(1+ln 1000) at most.
func part(count *uint16, full float64) float64 {
	if *count == math.MaxUint16 {
		return 0
	}
	*count++
	n := float64(*count)
	switch {
	case n <= full:
		return 1
	case n > full*1000:
		return 0
	}
	return full / n
}
