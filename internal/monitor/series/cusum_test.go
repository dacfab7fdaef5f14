package series_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

func TestCUSUM(t *testing.T) {
	var c series.CUSUM
	for i, step := range []struct{ z, want float64 }{
		{0, 0}, {-5, 0}, {1, 0.5}, {2, 2}, {math.NaN(), 2}, {0.25, 1.75}, {-1, 0.25}, {-1, 0},
		{math.Inf(1), 1e6}, {0, 999_999.5}, {math.Inf(-1), 0}, {1.5, 1},
	} {
		if got := c.Add(step.z, 0.5); got != step.want || c.Sum() != step.want {
			t.Errorf("step %d: Add(%v) = %v, Sum %v, want %v", i, step.z, got, c.Sum(), step.want)
		}
	}
	if c.Reset(); c.Sum() != 0 {
		t.Errorf("after Reset, Sum = %v", c.Sum())
	}
	if got := unsafe.Sizeof(c); got != 4 {
		t.Errorf("a CUSUM takes %d bytes, want 4", got)
	}
}

// Siegmund's approximation of the average run length is within some per cent of what is simulated, in
// control and after a shift.
func TestCUSUMRunLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 85))
	for _, c := range []struct{ shift, slack, h float64 }{
		{0, 0.5, 3}, {0, 0.5, 4}, {0, 0.25, 6}, {1, 0.5, 4}, {1, 0.5, 8}, {2, 0.5, 8},
	} {
		delta, b := c.shift-c.slack, c.h+1.166
		want := (math.Exp(-2*delta*b) + 2*delta*b - 1) / (2 * delta * delta)
		const runs = 4000
		steps := 0
		var s series.CUSUM
		for range runs {
			for s.Reset(); ; {
				steps++
				if s.Add(rng.NormFloat64()+c.shift, c.slack) > c.h {
					break
				}
			}
		}
		if got := float64(steps) / runs; math.Abs(got-want) > 0.08*want {
			t.Errorf("shift %v, slack %v, threshold %v: average run length %.1f, want about %.1f", c.shift, c.slack, c.h, got, want)
		}
	}
}
