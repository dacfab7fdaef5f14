package performance

// Standing is what is known of an agent's work.
type Standing struct {
	Judged    int64   `json:"judged"`     // outcomes that were right or wrong, weighted and rounded down
	Accuracy  float64 `json:"accuracy"`   // lower credible bound of being right, 0..1
	ErrorRate float64 `json:"error_rate"` // share of acts that failed technically, 0..1
	Brier     float64 `json:"brier"`      // of reported confidence; lower is better
	Bins      []Bin   `json:"bins"`       // reliability: what each level of confidence was worth
}

// A Bin is one bin of a reliability diagram.
type Bin struct {
	From  float64 `json:"from"` // of the reported confidence, inclusive
	To    float64 `json:"to"`
	Said  float64 `json:"said"`  // mean reported confidence
	Right float64 `json:"right"` // share that was right
	Count int64   `json:"count"` // outcomes, weighted and rounded down
}

// Standing returns what is known of the agent's work. Shares of nothing are 0, and bins without evidence
// are left out.
func (s *State) Standing() Standing {
	out := Standing{Bins: []Bin{}}
	w := s.work
	if w == nil {
		return out
	}
	out.Judged, out.Accuracy = int64(w.judged.n()), w.judged.lower()
	if w.tried.n() > 0 {
		out.ErrorRate = 1 - w.tried.share()
	}
	if n := w.brier.n(); n > 0 {
		out.Brier = float64(w.brier.bad) / n
	}
	if w.said == nil {
		return out
	}
	for i, n := range w.said.n {
		if n > 0 {
			out.Bins = append(out.Bins, Bin{
				From: float64(i) / binned, To: float64(i+1) / binned, Said: w.said.mean(i),
				Right: min(1, float64(w.said.right[i])/float64(n)), Count: int64(n),
			})
		}
	}
	return out
}

// Murphy returns the three parts of the Brier score, which is reliability - resolution + uncertainty but
// for the spread of confidence within bins (G. W. Brier, "Verification of Forecasts Expressed in Terms of
// Probability", Monthly Weather Review 78, 1950; A. H. Murphy, "A New Vector Partition of the Probability
// Score", Journal of Applied Meteorology 12, 1973): how far confidence is from what it was worth, how far
// it tells right from wrong, and how uncertain the acts were to begin with. Weights are the bins' counts.
func (s Standing) Murphy() (reliability, resolution, uncertainty float64) {
	var n, right float64
	for _, b := range s.Bins {
		n += float64(b.Count)
		right += float64(float64(b.Count) * b.Right)
	}
	if n <= 0 {
		return 0, 0, 0
	}
	base := right / n
	for _, b := range s.Bins {
		off, away := b.Said-b.Right, b.Right-base
		reliability += float64(float64(b.Count) / n * float64(off*off))
		resolution += float64(float64(b.Count) / n * float64(away*away))
	}
	return reliability, resolution, float64(base * (1 - base))
}
