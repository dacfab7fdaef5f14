package performance_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
)

// Known miscalibration is recovered: what a reported confidence was worth is found to within a few
// hundredths where there is evidence, and the Brier score is what its definition says.
func TestCalibrationRecovers(t *testing.T) {
	for _, c := range []struct {
		name    string
		draw    func(*rand.Rand) float64 // the reported confidence
		worth   func(said float64) float64
		finding bool
	}{
		{"calibrated", func(r *rand.Rand) float64 { return r.Float64() }, func(p float64) float64 { return p }, false},
		{"overconfident", func(r *rand.Rand) float64 { return 0.8 + 0.2*r.Float64() }, func(p float64) float64 { return p - 0.4 }, true},
		{"underconfident", func(r *rand.Rand) float64 { return 0.1 + 0.3*r.Float64() }, func(p float64) float64 { return 0.85 + p/4 }, true},
		{"too extreme", func(r *rand.Rand) float64 { return r.Float64() }, func(p float64) float64 { return 0.3 + 0.4*p }, false},
		{"without sense", func(r *rand.Rand) float64 { return r.Float64() }, func(float64) float64 { return 0.7 }, true},
	} {
		rng := rand.New(rand.NewPCG(1950, 1973))
		d := newDesk()
		d.rules.HalfLife = 0
		var brier, n float64
		for range 4000 {
			p := c.draw(rng)
			right := rng.Float64() < c.worth(p)
			d.judge(right, p)
			miss := p
			if right {
				miss = 1 - p
			}
			brier, n = brier+miss*miss, n+1
		}
		s := d.Standing()
		if got, want := s.Brier, brier/n; math.Abs(got-want) > 1e-4 {
			t.Errorf("%s: Brier score %v, want %v", c.name, got, want)
		}
		reliability, resolution, uncertainty := s.Murphy()
		if got := reliability - resolution + uncertainty; math.Abs(got-s.Brier) > 0.01 {
			t.Errorf("%s: the parts %v - %v + %v make %v, want the Brier score %v", c.name, reliability, resolution, uncertainty, got, s.Brier)
		}
		for _, b := range s.Bins {
			if b.Count < 200 {
				continue
			}
			want := c.worth(b.Said)
			if got, ok := d.Confidence(&d.rules, b.Said); !ok || math.Abs(got-want) > 0.06 {
				t.Errorf("%s: a confidence of %.2f is worth %.3f, %v, want about %.3f", c.name, b.Said, got, ok, want)
			}
		}
		if got := slices.Contains(d.kinds(), performance.KindCalibration); got != c.finding {
			t.Errorf("%s: a finding is %v, want %v, with a Brier score of %v", c.name, got, c.finding, s.Brier)
		}
	}
}

// The two directions of miscalibration are told apart.
func TestCalibrationFindings(t *testing.T) {
	for _, c := range []struct {
		said  float64
		right bool
		want  conduct.Severity
	}{{0.95, false, conduct.Medium}, {0.05, true, conduct.Low}} {
		d := newDesk()
		d.rules.Accuracy = 0
		for range 12 {
			d.judge(c.right, c.said)
		}
		d.want(t, performance.KindCalibration)
		if got := d.drafts[0]; got.Severity != c.want || got.Class != conduct.Every {
			t.Errorf("said %v and %v: %+v, want severity %v", c.said, c.right, got, c.want)
		}
	}
	d := newDesk()
	for i := range 400 { // as sure as it is right
		d.judge(i%10 != 0, 0.9)
	}
	d.want(t)
}

// Without enough evidence nothing is said, and what was never tried is worth no more than what was.
func TestConfidenceWithoutEvidence(t *testing.T) {
	d := newDesk()
	for range 9 {
		d.judge(true, 0.9)
	}
	if got, ok := d.Confidence(&d.rules, 0.9); ok || got != 0 {
		t.Errorf("after nine: %v, %v, want none", got, ok)
	}
	for i := range 100 {
		d.judge(i%2 == 0, 0.95)
	}
	for _, c := range []struct{ said, least, most float64 }{
		{0.95, 0.4, 0.65}, {0.65, 0.4, 0.65}, {0.15, 0, 0.16}, {0, 0, 0.06}, {1, 0.4, 0.65},
	} {
		if got, ok := d.Confidence(&d.rules, c.said); !ok || got < c.least || got > c.most {
			t.Errorf("a confidence of %v is worth %v, %v, want %v to %v", c.said, got, ok, c.least, c.most)
		}
	}
	for _, p := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if got, ok := d.Confidence(&d.rules, p); ok || got != 0 {
			t.Errorf("a confidence of %v is worth %v, %v, want none", p, got, ok)
		}
	}
	d.rules.Off = true
	if _, ok := d.Confidence(&d.rules, 0.95); ok {
		t.Error("worth something though nobody looks")
	}
}

// Whatever was reported, the calibrated confidence lies in 0..1 and never falls as the reported one grows.
func TestConfidenceMonotone(t *testing.T) {
	var some bool
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk()
		d.rules.Least = rapid.IntRange(1, 10).Draw(t, "least")
		for range rapid.IntRange(0, 60).Draw(t, "outcomes") {
			d.judge(rapid.Bool().Draw(t, "right"), rapid.Float64Range(0, 1).Draw(t, "said"))
			d.at = d.at.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "hours")) * time.Hour)
		}
		a, b := rapid.Float64Range(0, 1).Draw(t, "a"), rapid.Float64Range(0, 1).Draw(t, "b")
		if a > b {
			a, b = b, a
		}
		x, ok := d.Confidence(&d.rules, a)
		y, also := d.Confidence(&d.rules, b)
		if ok != also || !(0 <= x && x <= y && y <= 1) {
			t.Fatalf("%v is worth %v, %v and %v is worth %v, %v", a, x, ok, b, y, also)
		}
		some = some || ok
	})
	if !some && !testing.Short() {
		t.Error("there was never evidence")
	}
}

// A reporter who lies as much as it likes moves, in a day, what eight times its daily allowance moves;
// and the outcomes of one session no more than eight times that of a session.
func TestPoisoningIsBounded(t *testing.T) {
	honest := func() *desk {
		d := newDesk()
		d.rules.HalfLife = 0
		for i := range 300 { // half right, however sure
			d.judge(i%2 == 0, 0.95)
		}
		return d
	}
	before, _ := honest().Confidence(&newDesk().rules, 0.95)
	if math.Abs(before-0.5) > 0.02 {
		t.Fatalf("before: %v, want about 0.5", before)
	}
	said := 0.95
	for _, c := range []struct {
		name     string
		reporter conduct.Reporter
		by       func(i int) string
		session  func(i int) string
		most     float64 // weight that can be moved
	}{
		{"a person", conduct.ReporterPerson, func(int) string { return "admin:mallory" }, func(i int) string { return fmt.Sprint(i) }, 5 * 7.91},
		{"an enforcement point", conduct.ReporterPEP, func(int) string { return "pep:mallory" }, func(i int) string { return fmt.Sprint(i) }, 0.5 * 5 * 7.91},
		{"the operator", conduct.ReporterOperator, func(int) string { return "admin:owner" }, func(i int) string { return fmt.Sprint(i) }, 0.25 * 5 * 7.91},
		{"the agent", conduct.ReporterAgent, func(int) string { return "agent:bot" }, func(i int) string { return fmt.Sprint(i) }, 0},
		{"one session", conduct.ReporterPerson, func(i int) string { return fmt.Sprint("admin:", i) }, func(int) string { return "s" }, 3 * 7.91},
		{"many reporters", conduct.ReporterPerson, func(i int) string { return fmt.Sprint("admin:", i) }, func(i int) string { return fmt.Sprint(i) }, 4 * 5 * 7.91},
	} {
		d := honest()
		day := d.at.Truncate(24 * time.Hour).Add(48 * time.Hour)
		judged := d.Standing().Judged
		for i := range 70_000 {
			d.at = day
			d.tell(func(o *conduct.Outcome) {
				o.Result, o.Said, o.Reporter, o.By, o.Session = conduct.ResultRight, &said, c.reporter, c.by(i), c.session(i)
			})
		}
		if got := d.Standing().Judged - judged; float64(got) > c.most+1 {
			t.Errorf("%s moves %d, want at most %.1f", c.name, got, c.most)
		}
		after, _ := d.Confidence(&d.rules, said)
		if most := (before*300 + c.most) / (300 + c.most); after > most+0.01 {
			t.Errorf("%s lifts a confidence of 0.95 from %v to %v, want at most %v", c.name, before, after, most)
		}
	}
}
