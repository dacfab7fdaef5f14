package series_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

func TestRecordP(t *testing.T) {
	var r series.Record
	p := func(s, want float64) {
		t.Helper()
		if got := r.P(s); got != want {
			t.Errorf("P(%v) of %d scores = %v, want %v", s, r.N(), got, want)
		}
	}
	p(0, 1)
	p(math.Inf(1), 1)
	r.Add(math.NaN())
	p(0, 1)
	for _, s := range []float64{1, 2, 3, math.Inf(-1)} {
		r.Add(s)
	}
	p(math.Inf(-1), 1)
	p(0.5, 4.0/5)
	p(2, 3.0/5)
	p(2.0001, 3.0/5) // the same in two bytes
	p(2.5, 2.0/5)
	p(9, 1.0/5)
	p(math.NaN(), 1.0/5)
	for range series.RecordLength { // the old are gone
		r.Add(-7)
	}
	p(-6, 1.0/65)
	p(-8, 1)
	if got := unsafe.Sizeof(r); got != 130 {
		t.Errorf("a Record takes %d bytes, want 130", got)
	}
}

// A p-value of alpha or less comes at most as often as alpha says, however scores are distributed.
func TestRecordSuperUniform(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) float64{
		"normal":    (*rand.Rand).NormFloat64,
		"heavy":     func(r *rand.Rand) float64 { return 1 / r.Float64() },
		"few":       func(r *rand.Rand) float64 { return float64(r.IntN(3)) },
		"constant":  func(*rand.Rand) float64 { return 1 },
		"negative":  func(r *rand.Rand) float64 { return -r.ExpFloat64() },
		"very near": func(r *rand.Rand) float64 { return 1000 + r.Float64() },
	} {
		rng := rand.New(rand.NewPCG(4, 64))
		const n = 100_000
		var r series.Record
		var at [66]int // by p times 65
		for i := range n + series.RecordLength {
			s := draw(rng)
			if i >= series.RecordLength {
				at[int(math.Round(r.P(s)*65))]++
			}
			r.Add(s)
		}
		below := 0
		for i, c := range at {
			below += c
			alpha := float64(i) / 65
			// Neighbours share 63 scores, so that the spread is some times that of independent draws.
			if got := float64(below) / n; got > alpha+0.01 {
				t.Errorf("%s: P(p <= %.3f) = %.4f, want no more", name, alpha, got)
			}
		}
	}
}

func TestRecordProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r series.Record
		for _, s := range rapid.SliceOfN(rapid.Float64(), 0, 100).Draw(t, "scores") {
			r.Add(s)
		}
		a, b := rapid.Float64().Draw(t, "a"), rapid.Float64().Draw(t, "b")
		if a > b {
			a, b = b, a
		}
		if pa, pb := r.P(a), r.P(b); !(pb > 0 && pb <= pa && pa <= 1) {
			t.Fatalf("P(%v) = %v, P(%v) = %v, want 0 < the second <= the first <= 1", a, pa, b, pb)
		}
	})
}
