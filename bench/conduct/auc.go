package main

import (
	"math/rand/v2"
	"slices"
)

// A Sample is the score of one call.
type Sample struct {
	Score float64
	Bad   bool
	Task  int // index of its task
	call  int
}

// AUC returns the probability that a bad call scores higher than a good one, ties counting half: the area under the
// ROC curve (Mann and Whitney). Weights, by task, count a call so many times; nil counts all once. It is -1 without
// calls of both kinds. The samples must be sorted by score.
func AUC(sorted []Sample, weights []int) float64 {
	var bad, good, wins float64
	for i := 0; i < len(sorted); {
		var b, g float64
		j := i
		for ; j < len(sorted) && sorted[j].Score == sorted[i].Score; j++ {
			w := 1.0
			if weights != nil {
				w = float64(weights[sorted[j].Task])
			}
			if sorted[j].Bad {
				b += w
			} else {
				g += w
			}
		}
		wins += b * (good + g/2)
		bad, good, i = bad+b, good+g, j
	}
	if bad == 0 || good == 0 {
		return -1
	}
	return wins / (bad * good)
}

// Interval is the AUC of samples and the bounds between which it lies in 95 of 100 draws of as many tasks with
// replacement.
func Interval(samples []Sample, tasks int, draws int, seed uint64) (auc, low, high float64) {
	slices.SortFunc(samples, func(a, b Sample) int {
		switch {
		case a.Score < b.Score:
			return -1
		case a.Score > b.Score:
			return 1
		}
		return 0
	})
	auc = AUC(samples, nil)
	rng := rand.New(rand.NewPCG(seed, 0))
	var all []float64
	weights := make([]int, tasks)
	for range draws {
		clear(weights)
		for range tasks {
			weights[rng.IntN(tasks)]++
		}
		if a := AUC(samples, weights); a >= 0 {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return auc, auc, auc
	}
	slices.Sort(all)
	return auc, all[len(all)*25/1000], all[min(len(all)-1, len(all)*975/1000)]
}
