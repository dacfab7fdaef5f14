package series_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

// monday is a midnight.
var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// scores runs a new Detector over n numbers, one every ten minutes.
func scores(n int, f func(i int) float64) []float64 {
	var d series.Detector
	out := make([]float64, n)
	for i := range out {
		out[i] = d.Add(monday.Add(time.Duration(i)*10*time.Minute), f(i))
	}
	return out
}

// alarms counts the scores from least on in from..to, to excluded.
func alarms(scores []float64, least float64, from, to int) int {
	n := 0
	for _, s := range scores[from:to] {
		if s >= least {
			n++
		}
	}
	return n
}

// What is to be found is found soon, and what is not raises next to nothing.
func TestDetectorFinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 750))
	noise := func(sd float64) float64 { return sd * rng.NormFloat64() }
	day := func(i int) float64 { // busy from eight to six
		if h := i / 6 % 24; h >= 8 && h < 18 {
			return 80
		}
		return 20
	}
	const at = 2000
	for _, c := range []struct {
		name   string
		f      func(i int) float64
		within int
	}{
		{"a spike", func(i int) float64 {
			if i == at {
				return 25
			}
			return 10 + noise(1)
		}, 1},
		{"a shift", func(i int) float64 {
			if i >= at {
				return 15 + noise(1)
			}
			return 10 + noise(1)
		}, 20},
		{"a fall to nothing", func(i int) float64 {
			if i >= at {
				return 0
			}
			return 50 + noise(5)
		}, 3},
		{"ten times as much of what is seldom the same", func(i int) float64 {
			if i == at {
				return math.Exp(8)
			}
			return math.Exp(noise(1))
		}, 1},
		{"a change of what never changed", func(i int) float64 {
			if i == at {
				return 8
			}
			return 7
		}, 1},
		{"a day without its busy hours", func(i int) float64 {
			if i/144 == at/144 {
				return 20 + noise(2)
			}
			return day(i) + noise(2)
		}, 144},
		{"a busy night", func(i int) float64 {
			if i/144 == at/144 {
				return 80 + noise(2)
			}
			return day(i) + noise(2)
		}, 144},
	} {
		got := scores(at+300, c.f)
		from := at
		if c.within == 144 {
			from = at / 144 * 144
		}
		if n := alarms(got, 0.7, from, from+c.within); n == 0 {
			t.Errorf("%s is not found within %d", c.name, c.within)
		}
		if n := alarms(got, 0.7, 1000, from); n > 3 { // new extremes; see the next test
			t.Errorf("%s: %d false alarms before it in %d, want 3 at most", c.name, n, from-1000)
		}
	}
}

// However numbers are distributed, those that belong together raise few alarms: records are rare.
func TestDetectorCalibratesItself(t *testing.T) {
	if testing.Short() {
		t.Skip("computes long series, by one goroutine")
	}
	for name, draw := range map[string]func(*rand.Rand) float64{
		"normal":      (*rand.Rand).NormFloat64,
		"exponential": (*rand.Rand).ExpFloat64,
		"large":       func(r *rand.Rand) float64 { return 1e9 + r.NormFloat64() },
		"counts":      func(r *rand.Rand) float64 { return float64(r.IntN(4)) },
		"shares":      (*rand.Rand).Float64,
		"two":         func(r *rand.Rand) float64 { return float64(r.IntN(2)) * 1000 },
		"heavy":       func(r *rand.Rand) float64 { return math.Exp(2 * r.NormFloat64()) },
		"constant":    func(*rand.Rand) float64 { return 3 },
		"zero":        func(*rand.Rand) float64 { return 0 },
	} {
		for _, c := range []struct{ least, want float64 }{{0.5, 5}, {0.7, 3}, {0.9, 2}} {
			const series, n = 50, 4000
			rng := rand.New(rand.NewPCG(1, 60))
			total := 0
			for range series {
				total += alarms(scores(n, func(int) float64 { return draw(rng) }), c.least, 600, n)
			}
			if got := float64(total) / series; got > c.want {
				t.Errorf("%s: %.2f scores from %v on in %d numbers, want %v at most", name, got, c.least, n-600, c.want)
			}
		}
	}
}

func TestDetectorProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d series.Detector
		at := monday
		add := func(x float64) {
			if s := d.Add(at, x); !(s >= 0 && s < 1) {
				t.Fatalf("Add(%v, %v) = %v, want 0 or more and less than 1", at, x, s)
			}
		}
		for i := range 60 {
			add(float64(i % 5))
		}
		for _, x := range rapid.SliceOf(rapid.Float64()).Draw(t, "numbers") {
			at = at.Add(time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "later")))
			add(x)
		}
		before := d
		if s := d.Add(at, math.NaN()); s != 0 || d != before {
			t.Fatalf("a NaN scores %v and is not ignored", s)
		}
	})
}

// The further out, the more unusual. A copy asks without learning.
func TestDetectorMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d series.Detector
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		at, most := monday, 0.0
		for range rapid.IntRange(60, 600).Draw(t, "numbers") {
			at = at.Add(10 * time.Minute)
			x := 10 + rng.NormFloat64()
			most = max(most, x)
			d.Add(at, x)
		}
		a := most + rapid.Float64Range(0, 1e6).Draw(t, "a")
		b := a + rapid.Float64Range(0, 1e6).Draw(t, "b")
		near, far := d, d
		if p, q := near.Add(at, a), far.Add(at, b); p > q {
			t.Fatalf("%v scores %v, and %v, which is further out, %v", a, p, b, q)
		}
		again := d
		if x, y := again.Add(at, a), d.Add(at, a); x != y {
			t.Fatalf("the same state scores %v and %v", x, y)
		}
	})
}

// One number, however large, widens what is usual by no more than Grow widths: it does not make the
// Detector blind.
func TestDetectorIsNotBlinded(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	got := scores(3000, func(i int) float64 {
		switch i {
		case 1000:
			return 1e15
		case 2500:
			return 400
		}
		return 10 + rng.NormFloat64()
	})
	if got[1000] < 0.5 || got[2500] < 0.5 {
		t.Errorf("the scores of 1e15 and, later, of 400 beside 10 are %v and %v, want 0.5 at least", got[1000], got[2500])
	}
}

// What goes on is told once, and again when it has grown or when some time has passed.
func TestDetectorTellsOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	got := scores(3000, func(i int) float64 {
		if i >= 2000 {
			return 40 + rng.NormFloat64()
		}
		return 10 + rng.NormFloat64()
	})
	if n := alarms(got, 0.7, 2000, 3000); n < 1 || n > 3 {
		t.Errorf("a shift is told %d times, want once to three times", n)
	}
}

func TestDetectorSays(t *testing.T) {
	var d series.Detector
	for i := range 59 {
		if s := d.Add(monday, float64(1000*i*i)); s != 0 {
			t.Errorf("number %d scores %v, want nothing yet", i+1, s)
		}
	}
	if got := unsafe.Sizeof(d); got != 328 {
		t.Errorf("a Detector takes %d bytes, want 328", got)
	}
	if n := len(d.Append(nil)); n > 330 {
		t.Errorf("it is kept in %d bytes, want 330 at most", n)
	}
}
