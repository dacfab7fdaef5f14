package main

import (
	"cmp"
	"math"
	"slices"
)

// A Profile is what detections are worth: NAB's cost matrix.
type Profile struct {
	Name       string
	TP, FP, FN float64
}

// Profiles are the three for which NAB publishes scores.
var Profiles = [...]Profile{
	{"standard", 1, 0.11, 1},
	{"reward low FP", 1, 0.22, 1},
	{"reward low FN", 1, 0.11, 2},
}

// A Series is one metric with the windows in which it is anomalous.
type Series struct {
	Name    string
	Family  string
	Times   []int64 // seconds since 1970
	Values  []float64
	Windows [][2]int // first and last index of each, in order, apart from each other
}

// Probation returns how many points at the start are not scored, so that a detector can learn: 15 %, and
// 750 at most.
func Probation(n int) int { return min(int(math.Floor(0.15*float64(n))), 750) }

// reward is what a detection is worth, -1..1, before the profile weighs it: at the start of a window (-1)
// almost 1, at its end (0) nothing, and ever less after it.
func reward(position float64) float64 {
	if position > 3 {
		return -1
	}
	return 2/(1+math.Exp(5*position)) - 1
}

// A point is a scored point of a corpus.
type point struct {
	score  float64 // of the detector
	worth  float64 // of a detection there, before the profile weighs it
	window int     // index of the window in the corpus, or -1
}

// points lists the scored points of a series. Windows are numbered from first.
func points(s *Series, scores []float64, first int) []point {
	out := make([]point, 0, len(scores))
	next, last := 0, -1 // the window that comes or is on, and the one that is over
	for i := range scores {
		if next < len(s.Windows) && i > s.Windows[next][1] {
			last = next
			next++
		}
		p := point{score: scores[i], worth: -1, window: -1}
		switch {
		case next < len(s.Windows) && i >= s.Windows[next][0]:
			from, to := s.Windows[next][0], s.Windows[next][1]
			p.window = first + next
			p.worth = reward(-float64(to-i+1)/float64(to-from+1)) / reward(-1)
		case last >= 0:
			from, to := s.Windows[last][0], s.Windows[last][1]
			p.worth = reward(float64(i-to) / float64(to-from))
		}
		if i >= Probation(len(scores)) {
			out = append(out, p)
		}
	}
	return out
}

// A Corpus is what a detector said of some series.
type Corpus struct {
	points  []point // highest score first
	windows int     // that there are
	scored  []bool  // whether a window has a scored point
}

// NewCorpus takes what a detector said of each point of each series.
func NewCorpus(series []*Series, scores [][]float64) *Corpus {
	c := &Corpus{}
	for i, s := range series {
		c.points = append(c.points, points(s, scores[i], c.windows)...)
		c.windows += len(s.Windows)
	}
	c.scored = make([]bool, c.windows)
	for _, p := range c.points {
		if p.window >= 0 {
			c.scored[p.window] = true
		}
	}
	slices.SortStableFunc(c.points, func(a, b point) int { return cmp.Compare(b.score, a.score) })
	return c
}

// Null and Perfect are the raw scores of a detector that says nothing and of one that says all and nothing
// else.
func (c *Corpus) Null(p Profile) float64 {
	n := 0
	for _, is := range c.scored {
		if is {
			n++
		}
	}
	return -p.FN * float64(n)
}

// Perfect: see Null.
func (c *Corpus) Perfect(p Profile) float64 { return p.TP * float64(c.windows) }

// Raw returns the raw score if what is at least threshold is a detection: of each window the best, or the
// cost of having missed it, and of each detection outside its cost.
func (c *Corpus) Raw(p Profile, threshold float64) float64 {
	raw := c.Null(p)
	c.sweep(p, func(t, score float64) bool {
		if t < threshold {
			return false
		}
		raw = score
		return true
	})
	return raw
}

// Best returns the threshold with the largest raw score, and that score. Of equal ones it is the highest
// threshold, and infinity if it is best to say nothing.
func (c *Corpus) Best(p Profile) (threshold, raw float64) {
	threshold, raw = math.Inf(1), c.Null(p)
	c.sweep(p, func(t, score float64) bool {
		if score > raw {
			threshold, raw = t, score
		}
		return true
	})
	return threshold, raw
}

// Count returns how many windows are found if what is at least threshold is a detection, and how many
// detections lie outside of all.
func (c *Corpus) Count(threshold float64) (found, vain int) {
	seen := make([]bool, c.windows)
	for _, p := range c.points {
		switch {
		case p.score < threshold:
			return found, vain
		case p.window < 0:
			vain++
		case !seen[p.window]:
			seen[p.window] = true
			found++
		}
	}
	return found, vain
}

// sweep calls f with each score that was given as the threshold, highest first, and the raw score then.
func (c *Corpus) sweep(p Profile, f func(threshold, raw float64) bool) {
	best := make([]float64, c.windows)
	for i := range best {
		best[i] = -p.FN
	}
	raw := c.Null(p)
	for i, q := range c.points {
		if q.window < 0 {
			raw += p.FP * q.worth
		} else if w := p.TP * q.worth; w > best[q.window] {
			raw += w - best[q.window]
			best[q.window] = w
		}
		if i+1 == len(c.points) || c.points[i+1].score != q.score {
			if !f(q.score, raw) {
				return
			}
		}
	}
}

// Normal returns a raw score so that to say nothing is 0 and to say all and nothing else is 100; 0 if
// there is nothing to find.
func (c *Corpus) Normal(p Profile, raw float64) float64 {
	if c.windows == 0 {
		return 0
	}
	return 100 * (raw - c.Null(p)) / (c.Perfect(p) - c.Null(p))
}
