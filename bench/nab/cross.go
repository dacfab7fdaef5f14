package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

// levels is how many thresholds cross-validation tries, evenly between 0 and 1.
const levels = 200

// A trial is one drawing of parameters, with the raw scores of each profile, series and threshold: so the
// score of any selection of series is a sum.
type trial struct {
	raw [len(Profiles)][][]float32 // by series, by threshold: (1+index) of levels
}

// crossValidate chooses parameters on some series, and scores on others.
func crossValidate(w io.Writer, all []*Series, seed uint64, n int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	trials := make([]*trial, n)
	for i := range trials {
		trials[i] = try(all, draw(rng))
	}
	every := make([]int, len(all))
	for i := range every {
		every[i] = i
	}

	var alone []float64
	for _, t := range trials {
		alone = append(alone, t.score(all, every, Profiles[0]))
	}
	slices.Sort(alone)
	fmt.Fprintf(w, "Of %d drawings of parameters, seed %d, standard profile, all series: least %.1f, tenth %.1f, median %.1f, ninetieth %.1f, most %.1f.\n\n",
		n, seed, alone[0], alone[n/10], alone[n/2], alone[n*9/10], alone[n-1])

	fmt.Fprintf(w, "| cross-validation, mean of %d partitions (least to most) ", partitions)
	for _, p := range Profiles {
		fmt.Fprintf(w, "| %s ", p.Name)
	}
	fmt.Fprintf(w, "|\n|%s\n", " --- | --- | --- | --- |")
	show := func(what string, f func(perm []int, p Profile) float64) {
		fmt.Fprintf(w, "| %s ", what)
		for _, p := range Profiles {
			rng := rand.New(rand.NewPCG(seed, 2))
			var sum float64
			least, most := math.Inf(1), math.Inf(-1)
			for range partitions {
				x := f(rng.Perm(len(all)), p)
				sum, least, most = sum+x, min(least, x), max(most, x)
			}
			fmt.Fprintf(w, "| %.1f (%.1f to %.1f) ", sum/partitions, least, most)
		}
		fmt.Fprintln(w, "|")
	}
	show("five folds: parameters and threshold from the other four", func(perm []int, p Profile) float64 {
		return folds(all, trials, perm, 5, p)
	})
	show("two halves: parameters from the other, threshold from its own, as the benchmark does", func(perm []int, p Profile) float64 {
		a, b := perm[:len(perm)/2], perm[len(perm)/2:]
		return (best(trials, a, p).score(all, b, p) + best(trials, b, p).score(all, a, p)) / 2
	})
}

// partitions is how often series are divided anew.
const partitions = 10

// draw draws parameters around what is plausible.
func draw(r *rand.Rand) series.Tuning {
	one := func(of ...float64) float64 { return of[r.IntN(len(of))] }
	return series.Tuning{
		Fast:   one(0.1, 0.2, 0.25, 0.3, 0.4),
		Slow:   one(0.01, 0.02, 0.03, 0.05),
		Level:  one(0.003, 0.005, 0.01, 0.02, 0.05),
		Season: one(0.005, 0.01, 0.02, 0.05),
		Spread: one(0.05, 0.1, 0.2, 0.3, 1),
		Leak:   one(0, 1e-5, 2e-5, 5e-5, 1e-4),
		Grow:   one(0.5, 1, 2, 4),
		Fade:   one(0.966, 0.977, 0.9828, 0.9862, 0.99),
		Warm:   uint32(one(40, 60, 100)),
	}
}

// try runs a Detector with some parameters and keeps what each threshold would give.
func try(all []*Series, t series.Tuning) *trial {
	out := &trial{}
	scores := detect(all, &t)
	for k := range Profiles {
		out.raw[k] = make([][]float32, len(all))
	}
	for i, s := range all {
		c := NewCorpus([]*Series{s}, scores[i:i+1])
		for k, p := range Profiles {
			raw := make([]float32, levels)
			at, now := levels-1, c.Null(p) // the thresholds above what the sweep has come to
			c.sweep(p, func(threshold, score float64) bool {
				for ; at >= 0 && float64(at+1)/levels > threshold; at-- {
					raw[at] = float32(now)
				}
				now = score
				return at >= 0
			})
			for ; at >= 0; at-- {
				raw[at] = float32(now)
			}
			out.raw[k][i] = raw
		}
	}
	return out
}

// at returns the best threshold for some series, and the raw score there.
func (t *trial) at(use []int, p Profile) (level int, raw float64) {
	raw = math.Inf(-1)
	sums := make([]float64, levels)
	for _, i := range use {
		for l, x := range t.raw[profile(p)][i] {
			sums[l] += float64(x)
		}
	}
	for l, x := range slices.Backward(sums) {
		if x > raw {
			level, raw = l, x
		}
	}
	return level, raw
}

// score returns the normal score of some series with the threshold that is best for them.
func (t *trial) score(all []*Series, use []int, p Profile) float64 {
	_, raw := t.at(use, p)
	return normal(all, use, p, raw)
}

// folds chooses, for each of n parts of the series, parameters and threshold by the other parts, and
// returns the normal score of all parts together.
func folds(all []*Series, trials []*trial, perm []int, n int, p Profile) float64 {
	var sum float64
	for f := range n {
		var learn, judge []int
		for j, i := range perm {
			if j%n == f {
				judge = append(judge, i)
			} else {
				learn = append(learn, i)
			}
		}
		t := best(trials, learn, p)
		level, _ := t.at(learn, p)
		for _, i := range judge {
			sum += float64(t.raw[profile(p)][i][level])
		}
	}
	return normal(all, perm, p, sum)
}

// foldsOfThreshold does what folds does for given scores: only the threshold is chosen. It tries every
// threshold.
func foldsOfThreshold(all []*Series, scores [][]float64, perm []int, n int, p Profile) float64 {
	var sum float64
	for f := range n {
		var learn, judge []*Series
		var learnScores, judgeScores [][]float64
		for j, i := range perm {
			if j%n == f {
				judge, judgeScores = append(judge, all[i]), append(judgeScores, scores[i])
			} else {
				learn, learnScores = append(learn, all[i]), append(learnScores, scores[i])
			}
		}
		threshold, _ := NewCorpus(learn, learnScores).Best(p)
		sum += NewCorpus(judge, judgeScores).Raw(p, threshold)
	}
	return normal(all, perm, p, sum)
}

// best returns the trial with the best score of some series.
func best(trials []*trial, use []int, p Profile) *trial {
	var found *trial
	most := math.Inf(-1)
	for _, t := range trials {
		if _, raw := t.at(use, p); raw > most {
			found, most = t, raw
		}
	}
	return found
}

// normal is Corpus.Normal of some series, all of whose windows are scored.
func normal(all []*Series, use []int, p Profile, raw float64) float64 {
	n := 0
	for _, i := range use {
		n += len(all[i].Windows)
	}
	if n == 0 {
		return 0
	}
	return 100 * (raw + p.FN*float64(n)) / ((p.TP + p.FN) * float64(n))
}

func profile(p Profile) int { return slices.Index(Profiles[:], p) }
