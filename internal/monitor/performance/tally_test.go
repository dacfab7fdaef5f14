package performance_test

import (
	"math"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// The bound of accuracy is near the 5 % quantile of the Beta posterior over Jeffreys' prior, which is
// integrated here by small steps.
func TestAccuracyIsCredible(t *testing.T) {
	for _, c := range []struct{ right, wrong int }{{10, 0}, {9, 1}, {5, 5}, {1, 9}, {45, 5}, {90, 10}, {30, 70}, {0, 10}} {
		d := newDesk()
		d.rules.HalfLife = 0
		for range c.right {
			d.judge(true, -1)
		}
		for range c.wrong {
			d.judge(false, -1)
		}
		got := d.Standing()
		if got.Judged != int64(c.right+c.wrong) {
			t.Errorf("of %d and %d, %d are judged", c.right, c.wrong, got.Judged)
		}
		a, b := float64(c.right)+0.5, float64(c.wrong)+0.5
		density := func(x float64) float64 { return math.Exp((a-1)*math.Log(x) + (b-1)*math.Log(1-x)) }
		const steps = 200_000
		var total, below float64
		for i := range steps {
			total += density((float64(i) + 0.5) / steps)
		}
		want := 0.0
		for i := range steps {
			if below += density((float64(i) + 0.5) / steps); below >= 0.05*total {
				want = float64(i) / steps
				break
			}
		}
		if math.Abs(got.Accuracy-want) > 0.05 || c.right+c.wrong >= 50 && math.Abs(got.Accuracy-want) > 0.01 {
			t.Errorf("of %d right and %d wrong the bound is %.3f, the quantile %.3f", c.right, c.wrong, got.Accuracy, want)
		}
	}
}

// What was told counts half after a half-life, and shares stay as they are.
func TestFading(t *testing.T) {
	d := newDesk()
	for i := range 200 {
		d.judge(i%4 > 0, 0.75)
	}
	before := d.Standing()
	worth, _ := d.Confidence(&d.rules, 0.75)
	d.at = d.at.Add(d.rules.HalfLife)
	d.tell(func(o *conduct.Outcome) { o.Fault = conduct.FaultTool })
	after := d.Standing()
	if diff := after.Judged - before.Judged/2; diff < -1 || diff > 1 {
		t.Errorf("after a half-life %d of %d count", after.Judged, before.Judged)
	}
	if math.Abs(after.Brier-before.Brier) > 1e-3 || math.Abs(after.Bins[0].Right-before.Bins[0].Right) > 1e-3 || after.Accuracy >= before.Accuracy {
		t.Errorf("after a half-life %+v, before %+v", after, before)
	}
	if now, ok := d.Confidence(&d.rules, 0.75); !ok || math.Abs(now-worth) > 0.02 {
		t.Errorf("after a half-life a confidence is worth %v, before %v", now, worth)
	}
	d.at = d.at.Add(100 * d.rules.HalfLife)
	d.tell(func(o *conduct.Outcome) { o.Fault = conduct.FaultTool })
	if got := d.Standing(); got.Judged != 0 || got.Accuracy > 0.01 {
		t.Errorf("after a hundred half-lives %+v", got)
	}
	if _, ok := d.Confidence(&d.rules, 0.75); ok {
		t.Error("after a hundred half-lives there is evidence of confidence")
	}
	d.at = d.at.Add(-1000 * time.Hour) // a clock that went back
	d.judge(true, 0.5)
	if got := d.Standing().Judged; got != 1 {
		t.Errorf("after the clock went back %d are judged, want 1", got)
	}
}
