package series_test

import (
	"bytes"
	"math"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

// A state is what all types here can do.
type state interface {
	Append([]byte) []byte
	Read(*conduct.Reader) error
}

// kinds makes one of each, with a function that takes in a number.
var kinds = map[string]func() (state, func(float64)){
	"EWMA":   func() (state, func(float64)) { e := &series.EWMA{}; return e, func(x float64) { e.Add(x, 0.05) } },
	"Sketch": func() (state, func(float64)) { s := &series.Sketch{}; return s, s.Add },
	"Record": func() (state, func(float64)) { r := &series.Record{}; return r, r.Add },
	"CUSUM":  func() (state, func(float64)) { c := &series.CUSUM{}; return c, func(x float64) { c.Add(x, 0.5) } },
	"Detector": func() (state, func(float64)) {
		d := &series.Detector{}
		return d, func(x float64) { d.Add(time.Unix(int64(math.Float64bits(x)>>10), 0), x) }
	},
}

// What is read goes on as what was written.
func TestKept(t *testing.T) {
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				one, add := make()
				for _, x := range rapid.SliceOfN(rapid.Float64(), 0, 150).Draw(t, "before") {
					add(x)
				}
				kept := one.Append([]byte("x"))[1:]
				other, addOther := make()
				addOther(7) // is forgotten
				r := conduct.NewReader(append(bytes.Clone(kept), "rest"...))
				if err := other.Read(r); err != nil {
					t.Fatalf("Read(%x): %v", kept, err)
				}
				if got := string(r.Rest()); got != "rest" {
					t.Errorf("Read left %q, want rest", got)
				}
				for _, x := range rapid.SliceOfN(rapid.Float64(), 0, 150).Draw(t, "after") {
					add(x)
					addOther(x)
				}
				if got, want := other.Append(nil), one.Append(nil); !bytes.Equal(got, want) {
					t.Errorf("the state that was read went on to %x, want %x", got, want)
				}
				for n := range kept {
					if err := other.Read(conduct.NewReader(kept[:n])); err == nil {
						t.Errorf("Read of the first %d of %d bytes is accepted", n, len(kept))
					}
				}
			})
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{3, 0, 0, 0, 64, 0, 0, 128, 63})
	f.Add([]byte{2, 1, 2, 3, 4})
	for _, make := range kinds {
		s, add := make()
		for x := range 70 {
			add(float64(x))
		}
		f.Add(s.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, make := range kinds {
			s, add := make()
			r := conduct.NewReader(b)
			if s.Read(r) != nil {
				continue
			}
			kept := s.Append(nil)
			other, addOther := make()
			if err := other.Read(conduct.NewReader(kept)); err != nil {
				t.Fatalf("%s: what was read as %x is written as %x: %v", name, b, kept, err)
			}
			for _, x := range []float64{1, math.Inf(1), -1, 0} {
				add(x)
				addOther(x)
			}
			if got, want := other.Append(nil), s.Append(nil); !bytes.Equal(got, want) {
				t.Fatalf("%s: read as %x, goes on to %x and %x", name, b, want, got)
			}
		}
	})
}

func TestEWMAClosedForms(t *testing.T) {
	var e series.EWMA
	plain := []float64{3, 1, 4, 1, 5, 9, 2, 6}
	var sum, squares float64
	for i, x := range plain {
		if got := e.Z(100); got != 0 {
			t.Errorf("Z after %d = %v, want 0", i, got)
		}
		e.Add(x, 0.01) // less than 1/n: the plain average
		sum += x
		squares += x * x
	}
	mean := sum / 8
	sd := math.Sqrt(squares/8 - mean*mean)
	near(t, "mean", e.Mean(), mean)
	near(t, "deviation", e.Deviation(), sd)
	near(t, "Z(10)", e.Z(10), (10-mean)/sd)

	// A step from 0 to 1: the average comes to 1-(1-a)^k, the variance to (1-a)^k (1-(1-a)^k).
	e = series.EWMA{}
	for range 1000 {
		e.Add(0, 0.1)
	}
	for k := 1; k <= 30; k++ {
		e.Add(1, 0.1)
		left := math.Pow(0.9, float64(k))
		near(t, "mean of a step", e.Mean(), 1-left)
		near(t, "deviation of a step", e.Deviation(), math.Sqrt(left*(1-left)))
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-5*max(1, math.Abs(want)) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// Nothing that comes makes an EWMA unusable.
func TestEWMARobust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e series.EWMA
		for _, x := range rapid.SliceOf(rapid.Float64()).Draw(t, "numbers") {
			e.Add(x, rapid.SampledFrom([]float64{0.001, 0.1, 1, 0, -1, 2, math.NaN()}).Draw(t, "alpha"))
		}
		x := rapid.Float64().Draw(t, "x")
		if z := e.Z(x); !(z >= -1e6 && z <= 1e6) || math.IsInf(e.Mean(), 0) || !(e.Deviation() >= 0) || math.IsInf(e.Deviation(), 0) {
			t.Fatalf("Z(%v) = %v with mean %v, deviation %v", x, z, e.Mean(), e.Deviation())
		}
		before := e
		e.Add(math.NaN(), 0.1)
		if e != before || e.Z(math.NaN()) != 0 {
			t.Fatal("a NaN is not ignored")
		}
		for range 20_000 {
			e.Add(5, 0.01)
		}
		if got := e.Z(5); math.Abs(got) > 0.1 {
			t.Fatalf("after twenty thousand fives, Z(5) = %v, want about 0", got)
		}
	})
	var constant series.EWMA
	for range 10 {
		constant.Add(4, 0.1)
	}
	if got := constant.Z(5); math.Abs(got-2500) > 0.01 {
		t.Errorf("Z(5) after ten fours = %v, want 2500", got)
	}
	if got := unsafe.Sizeof(constant); got != 12 {
		t.Errorf("an EWMA takes %d bytes, want 12", got)
	}
}
