package series_test

import (
	"math"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

func TestSketchRank(t *testing.T) {
	var s series.Sketch
	rank := func(x, want float64) {
		t.Helper()
		if got := s.Rank(x); got != want {
			t.Errorf("Rank(%v) of %d = %v, want %v", x, s.N(), got, want)
		}
	}
	rank(1, 0)
	rank(math.NaN(), 0)
	s.Add(math.NaN())
	for _, x := range []float64{-3, 0, 1, 1.6, 2, 100, 1 << 40, math.Inf(1)} {
		s.Add(x)
	}
	rank(math.Inf(-1), 2.0/8)
	rank(0.0078, 2.0/8)
	rank(0.99, 2.0/8)
	rank(1, 3.0/8)
	rank(1.49, 3.0/8)
	rank(1.5, 4.0/8)
	rank(2, 5.0/8)
	rank(1<<24-1, 6.0/8)
	rank(1<<24, 1)
	rank(math.NaN(), 1)
	for _, c := range []struct{ q, want float64 }{
		{0, 1.0 / 128}, {0.25, 1.0 / 128}, {0.26, 1.5}, {0.5, 2}, {0.6, 3}, {0.75, 128}, {0.76, math.Inf(1)}, {1, math.Inf(1)},
	} {
		if got := s.Quantile(c.q); got != c.want {
			t.Errorf("Quantile(%v) = %v, want %v", c.q, got, c.want)
		}
	}
	if got := unsafe.Sizeof(s); got != 66 {
		t.Errorf("a Sketch takes %d bytes, want 66", got)
	}
}

// What is old fades, and counts never overflow.
func TestSketchFades(t *testing.T) {
	var s series.Sketch
	for range 50 {
		s.Add(1)
	}
	for i := range 100_000 {
		s.Add(1000)
		if s.N() > 16_320 {
			t.Fatalf("N = %d after %d", s.N(), i)
		}
	}
	if got := s.Rank(1); got != 0 {
		t.Errorf("Rank(1) after a hundred thousand thousands = %v, want 0", got)
	}
	for i := range 1_000_000 {
		s.Add(math.Ldexp(1, i%40-10))
		if s.N() > 16_320 {
			t.Fatalf("N = %d", s.N())
		}
	}
}

func TestSketchProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s series.Sketch
		xs := rapid.SliceOfN(rapid.Float64Range(1.0/128, 1<<24-1), 1, 200).Draw(t, "numbers")
		for _, x := range xs {
			s.Add(x)
		}
		slices.Sort(xs)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		at := max(0, int(math.Ceil(q*float64(len(xs))))-1)
		if got, want := s.Quantile(q), xs[at]; !(got > want && got <= 1.5*want) {
			t.Errorf("Quantile(%v) = %v, true is %v", q, got, want)
		}
		a, b := rapid.Float64().Draw(t, "a"), rapid.Float64().Draw(t, "b")
		if a > b {
			a, b = b, a
		}
		if ra, rb := s.Rank(a), s.Rank(b); !(0 <= ra && ra <= rb && rb <= 1) {
			t.Errorf("Rank(%v) = %v, Rank(%v) = %v, want the first no more than the second", a, ra, b, rb)
		}
		if got := s.Rank(xs[len(xs)-1]); got != 1 {
			t.Errorf("the rank of the largest is %v, want 1", got)
		}
	})
}
