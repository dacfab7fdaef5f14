package trust_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// The quantile of Beta(n, 1) is q^(1/n), and that of Beta(1, n) is 1-(1-q)^(1/n).
func TestQuantilesOfWhichTheFormIsKnown(t *testing.T) {
	for n := 1.0; n <= 2000; n = math.Ceil(n * 1.3) {
		for _, q := range []float64{0.001, 0.01, 0.05, 0.1, 0.25, 0.5} {
			for _, c := range []struct{ a, b, want float64 }{{n, 1, math.Pow(q, 1/n)}, {1, n, -math.Expm1(math.Log1p(-q) / n)}} {
				got := trust.Lower(c.a, c.b, q)
				if got > c.want+1e-12 || got < c.want-1.0001e-4 {
					t.Errorf("Lower(%v, %v, %v) = %v, want %v rounded down to four digits", c.a, c.b, q, got, c.want)
				}
			}
		}
	}
}

// Percentage points of the beta distribution as published: the lower 5% and 2.5% points of F with 2a and 2b
// degrees of freedom give x = aF/(b+aF). The confidence limits of Clopper and Pearson (Biometrika 26, 1934) are
// such points: k of n at confidence 0.95 has the lower limit Beta(k, n-k+1) at 0.025.
func TestPublishedQuantiles(t *testing.T) {
	for _, c := range []struct{ a, b, q, want float64 }{
		{5, 6, 0.025, 0.1871},   // 5 of 10: 0.1871 to 0.8129
		{8, 3, 0.025, 0.4439},   // 8 of 10: 0.4439 to 0.9748
		{9, 2, 0.025, 0.5550},   // 9 of 10: 0.5550 to 0.9975
		{10, 11, 0.025, 0.2720}, // 10 of 20: 0.2720 to 0.7280
		{15, 6, 0.025, 0.5090},  // 15 of 20: 0.5090 to 0.9134
		{1, 10, 0.025, 0.0025},  // 1 of 10: 0.0025 to 0.4450
		{50, 51, 0.025, 0.3983}, // 50 of 100: 0.3983 to 0.6017
		{95, 6, 0.025, 0.8872},  // 95 of 100: 0.8872 to 0.9836
		{5, 5, 0.5, 0.5},        // symmetric
		{2, 2, 0.05, 0.1354},    // 3x^2 - 2x^3 = 0.05
	} {
		if got := trust.Lower(c.a, c.b, c.q); math.Abs(got-c.want) > 1.01e-4 {
			t.Errorf("Lower(%v, %v, %v) = %v, want %v", c.a, c.b, c.q, got, c.want)
		}
	}
}

// More for an agent never lowers its score, more against it never raises it, and nothing is not a number.
func TestTheScoreFollowsTheEvidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float64Range(0.1, 2000).Draw(t, "a"), rapid.Float64Range(0.1, 2000).Draw(t, "b")
		more := rapid.Float64Range(0, 50).Draw(t, "more")
		q := rapid.SampledFrom([]float64{0.001, 0.05, 0.5}).Draw(t, "q")
		x := trust.Lower(a, b, q)
		if !(x >= 0 && x <= 1) {
			t.Fatalf("Lower(%v, %v, %v) = %v, want a share", a, b, q, x)
		}
		if y := trust.Lower(a+more, b, q); y < x {
			t.Errorf("Lower(%v, %v, %v) = %v, and %v with %v more for the agent", a, b, q, x, y, more)
		}
		if y := trust.Lower(a, b+more, q); y > x {
			t.Errorf("Lower(%v, %v, %v) = %v, and %v with %v more against the agent", a, b, q, x, y, more)
		}
	})
}

func TestFading(t *testing.T) {
	for _, h := range []time.Duration{time.Hour, 14 * 24 * time.Hour, 30 * 24 * time.Hour} {
		for d := uint32(0); d < 300_000; d = d*2 + 1 {
			got, want := trust.Fade(1000, 1000+d, h), math.Exp2(-float64(d)/h.Minutes())
			if math.Abs(got-want) > 1e-15+1e-13*want {
				t.Errorf("Fade after %d minutes of half-life %v = %v, want %v", d, h, got, want)
			}
		}
	}
	if got := trust.Fade(2000, 1000, time.Hour); got != 1 {
		t.Errorf("Fade into the past = %v, want 1", got)
	}
}

func BenchmarkLower(b *testing.B) {
	i := 0
	for b.Loop() {
		i++
		trust.Lower(5+float64(i%40), 1+float64(i%23), 0.05)
	}
}

func BenchmarkFade(b *testing.B) {
	var i uint32
	for b.Loop() {
		i++
		trust.Fade(0, i%100_000, 14*24*time.Hour)
	}
}
