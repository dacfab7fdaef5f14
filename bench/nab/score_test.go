package main

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestReward(t *testing.T) {
	for _, c := range []struct{ position, want float64 }{
		{-1, 0.98661}, {-0.5, 0.84828}, {0, 0}, {0.5, -0.84828}, {1, -0.98661}, {3, -1}, {3.01, -1}, {100, -1},
	} {
		if got := reward(c.position); math.Abs(got-c.want) > 5e-6 {
			t.Errorf("reward(%v) = %.6f, want %.5f", c.position, got, c.want)
		}
	}
}

func TestProbation(t *testing.T) {
	for _, c := range []struct{ n, want int }{{0, 0}, {6, 0}, {7, 1}, {100, 15}, {4032, 604}, {5000, 750}, {15902, 750}} {
		if got := Probation(c.n); got != c.want {
			t.Errorf("Probation(%d) = %d, want %d", c.n, got, c.want)
		}
	}
}

// small is a series of twenty points, the first three on probation, with a window of five.
var small = &Series{Name: "f/small.csv", Family: "f", Values: make([]float64, 20), Windows: [][2]int{{8, 12}}}

// said returns scores of small that are 1 where it is said, and 0 elsewhere.
func said(at ...int) []float64 {
	out := make([]float64, 20)
	for _, i := range at {
		out[i] = 1
	}
	return out
}

// The raw scores of few detections, by hand: 2/(1+exp(5y))-1, with y from -1 at the first of five points
// in steps of a fifth, and after the window in steps of a quarter.
func TestRaw(t *testing.T) {
	standard := Profiles[0]
	for _, c := range []struct {
		name string
		at   []int
		p    Profile
		want float64
	}{
		{"nothing", nil, standard, -1},
		{"nothing, if misses count double", nil, Profiles[2], -2},
		{"the first of the window", []int{8}, standard, 1},
		{"the second of the window", []int{9}, standard, 0.964028 / 0.986614},
		{"the last of the window", []int{12}, standard, 0.462117 / 0.986614},
		{"all of the window", []int{8, 9, 10, 11, 12}, standard, 1},
		{"one on probation", []int{1}, standard, -1},
		{"one before the window", []int{5}, standard, -1 - 0.11},
		{"one before, if false ones count double", []int{5}, Profiles[1], -1 - 0.22},
		{"just after the window", []int{13}, standard, -1 - 0.11*0.554600},
		{"one window's length after it", []int{16}, standard, -1 - 0.11*0.986614},
		{"the first, and two after it", []int{8, 14, 19}, standard, 1 - 0.11*(0.848284+0.999682)},
	} {
		got := NewCorpus([]*Series{small}, [][]float64{said(c.at...)}).Raw(c.p, 1)
		if math.Abs(got-c.want) > 2e-6 {
			t.Errorf("%s: %s = %.6f, want %.6f", c.name, c.p.Name, got, c.want)
		}
	}
	// Three lengths after the window a false alarm counts in full.
	long := &Series{Values: make([]float64, 40), Windows: [][2]int{{8, 12}}}
	scores := make([]float64, 40)
	scores[25] = 1
	if got := NewCorpus([]*Series{long}, [][]float64{scores}).Raw(standard, 1); math.Abs(got+1.11) > 1e-12 {
		t.Errorf("far after the window: %v, want -1.11", got)
	}
}

// The threshold is one for all series, and the best.
func TestBest(t *testing.T) {
	a, b := said(), said()
	a[9], a[5] = 0.7, 0.9
	b[8], b[3], b[4] = 0.4, 0.3, 0.3
	c := NewCorpus([]*Series{small, small}, [][]float64{a, b})
	p := Profiles[0]
	for _, at := range []struct{ threshold, want float64 }{
		{1, -2}, {0.9, -2.11}, {0.8, -2.11}, {0.7, -0.11 + 0.964028/0.986614 - 1}, {0.4, -0.11 + 0.964028/0.986614 + 1},
		{0.3, -0.33 + 0.964028/0.986614 + 1},
	} {
		if got := c.Raw(p, at.threshold); math.Abs(got-at.want) > 2e-6 {
			t.Errorf("Raw at %v = %.6f, want %.6f", at.threshold, got, at.want)
		}
	}
	if threshold, raw := c.Best(p); threshold != 0.4 || math.Abs(raw-c.Raw(p, 0.4)) > 1e-12 {
		t.Errorf("Best = %v, %v, want 0.4, %v", threshold, raw, c.Raw(p, 0.4))
	}
	for _, at := range []struct {
		threshold   float64
		found, vain int
	}{{1, 0, 0}, {0.9, 0, 1}, {0.7, 1, 1}, {0.4, 2, 1}, {0.3, 2, 3}, {0, 2, 24}} {
		if found, vain := c.Count(at.threshold); found != at.found || vain != at.vain {
			t.Errorf("Count at %v = %d, %d, want %d, %d", at.threshold, found, vain, at.found, at.vain)
		}
	}
	quiet := &Series{Values: make([]float64, 20)}
	if threshold, raw := NewCorpus([]*Series{quiet}, [][]float64{said(4)}).Best(p); threshold != math.Inf(1) || raw != 0 {
		t.Errorf("Best where there is nothing to find = %v, %v, want infinity, 0", threshold, raw)
	}
}

// Whatever there is to find, to say nothing is 0, to say the start of each window is 100, and nothing is
// more.
func TestNormal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*Series
		var nothing, perfect, other [][]float64
		for range rapid.IntRange(1, 4).Draw(t, "series") {
			n := rapid.IntRange(20, 120).Draw(t, "points")
			s := &Series{Values: make([]float64, n)}
			start := make([]float64, n)
			for at := Probation(n); ; {
				at += rapid.IntRange(0, 30).Draw(t, "gap")
				end := at + rapid.IntRange(1, 20).Draw(t, "length")
				if end >= n {
					break
				}
				s.Windows = append(s.Windows, [2]int{at, end})
				start[at] = 1
				at = end + 1
			}
			all = append(all, s)
			nothing = append(nothing, make([]float64, n))
			perfect = append(perfect, start)
			other = append(other, rapid.SliceOfN(rapid.Float64Range(0, 1), n, n).Draw(t, "scores"))
		}
		for _, p := range Profiles {
			c := NewCorpus(all, nothing)
			if got := c.Normal(p, c.Raw(p, 0.5)); got != 0 {
				t.Errorf("%s: nothing = %v, want 0", p.Name, got)
			}
			if c.windows == 0 {
				continue
			}
			c = NewCorpus(all, perfect)
			if _, raw := c.Best(p); math.Abs(c.Normal(p, raw)-100) > 1e-9 {
				t.Errorf("%s: perfect = %v, want 100", p.Name, c.Normal(p, raw))
			}
			c = NewCorpus(all, other)
			threshold, raw := c.Best(p)
			if got := c.Normal(p, raw); got < 0 || got > 100+1e-9 {
				t.Errorf("%s: something = %v, want 0 to 100", p.Name, got)
			}
			if again := c.Raw(p, threshold); math.Abs(again-raw) > 1e-9 {
				t.Errorf("%s: Raw at the best threshold = %v, want %v", p.Name, again, raw)
			}
		}
	})
}

// A window that lies on probation wholly cannot be missed and cannot be found.
func TestProbationWindow(t *testing.T) {
	s := &Series{Values: make([]float64, 100), Windows: [][2]int{{2, 10}, {50, 60}}}
	scores := make([]float64, 100)
	scores[2], scores[50] = 1, 1
	c := NewCorpus([]*Series{s}, [][]float64{scores})
	p := Profiles[0]
	if null, perfect, raw := c.Null(p), c.Perfect(p), c.Raw(p, 1); null != -1 || perfect != 2 || math.Abs(raw-1) > 1e-12 {
		t.Errorf("null %v, perfect %v, raw %v, want -1, 2, 1", null, perfect, raw)
	}
}
