package performance

import (
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// binned is how many bins there are of reported confidence, each a tenth wide.
const binned = 10

// bins are a reliability diagram: what each level of reported confidence was worth.
type bins struct {
	n, right [binned]float32 // weights of outcomes, and of those that were right
	said     [binned]uint16  // mean reported confidence, as a share of the bin's width
}

// bin returns where a confidence, 0..1, belongs.
func bin(p float64) int { return min(binned-1, int(p*binned)) }

func (b *bins) add(p float64, right bool, weight float64) {
	if weight <= 0 {
		return
	}
	i := bin(p)
	n := single(float64(b.n[i]) + weight)
	const whole = 1<<16 - 1
	at := float64(max(0, min(1, float64(p*binned)-float64(i))) * whole)
	mean := float64(b.said[i])
	b.said[i] = uint16(mean + float64((at-mean)*(weight/float64(n))) + 0.5)
	b.n[i] = n
	if right {
		b.right[i] = single(float64(b.right[i]) + weight)
	}
}

func (b *bins) scale(f float64) {
	for i := range b.n {
		b.n[i], b.right[i] = float32(float64(b.n[i])*f), float32(float64(b.right[i])*f)
	}
}

// mean returns the mean confidence of a bin.
func (b *bins) mean(i int) float64 { return (float64(i) + float64(b.said[i])/(1<<16-1)) / binned }

// total returns how much evidence there is, and how much of it was right.
func (b *bins) total() (n, right float64) {
	for i := range b.n {
		n += float64(b.n[i])
		right += float64(b.right[i])
	}
	return n, right
}

// means returns the mean reported confidence and the share that was right.
func (b *bins) means() (said, right float64) {
	n, good := b.total()
	if n <= 0 {
		return 0, 0
	}
	for i := range b.n {
		said += float64(float64(b.n[i]) * b.mean(i))
	}
	return said / n, good / n
}

// doubt is how many outcomes a bin's prior counts for.
const doubt = 2

// calibrate returns what each bin is worth: never more for less confidence. A bin's share of right
// outcomes is drawn towards what is assumed without evidence, the middle of the bin or the share over all
// bins, whichever is less: what was never tried is believed as far as it is said, and no further than the
// agent has been right. Then neighbours that are out of order are taken together, as in isotonic regression
// (pool adjacent violators: Ayer et al., "An Empirical Distribution Function for Sampling with Incomplete
// Information", Annals of Mathematical Statistics 26, 1955; for calibration Zadrozny and Elkan,
// "Transforming Classifier Scores into Accurate Multiclass Probability Estimates", KDD 2002; bins as in Guo
// et al., "On Calibration of Modern Neural Networks", ICML 2017).
func (b *bins) calibrate() (worth [binned]float64) {
	type block struct {
		right, n float64
		bins     int
	}
	n, right := b.total()
	overall := 0.0
	if n > 0 {
		overall = right / n
	}
	var blocks [binned]block
	k := 0
	for i := range binned {
		prior := min((float64(i)+0.5)/binned, overall)
		blocks[k] = block{float64(b.right[i]) + doubt*prior, float64(b.n[i]) + doubt, 1}
		for k++; k > 1 && blocks[k-2].right/blocks[k-2].n >= blocks[k-1].right/blocks[k-1].n; k-- {
			blocks[k-2].right += blocks[k-1].right
			blocks[k-2].n += blocks[k-1].n
			blocks[k-2].bins += blocks[k-1].bins
		}
	}
	i := 0
	for _, bl := range blocks[:k] {
		for range bl.bins {
			worth[i] = max(0, min(1, bl.right/bl.n))
			i++
		}
	}
	return worth
}

// Confidence returns what a reported confidence has been worth, 0..1, and whether there is evidence: at
// least r.Least outcomes of acts for which a confidence was reported. It never falls as the reported one
// grows.
func (s *State) Confidence(r *catalog.PerformanceRules, reported float64) (float64, bool) {
	if r.Off || !(reported >= 0 && reported <= 1) || s.work == nil || s.work.said == nil {
		return 0, false
	}
	if n, _ := s.work.said.total(); n < float64(r.Least) || n <= 0 {
		return 0, false
	}
	return s.work.said.calibrate()[bin(reported)], true
}
