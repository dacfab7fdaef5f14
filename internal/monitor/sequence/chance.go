package sequence

// P returns the probability that an act in c is w, given that it is lower if nothing is known of c:
// (count(w) + types lower) / (n + types). This is the interpolation that Witten and Bell call method C ("The
// Zero-Frequency Problem", IEEE Transactions on Information Theory 37, 1991).
func (t *Table[S]) P(c Context, w Symbol, lower float64) float64 {
	n, kinds := t.Context(c)
	if n == 0 {
		return lower
	}
	return interpolate(t.Count(c, w), n, float64(kinds), lower)
}

// lean is which part of what method C gives to the lower probability PAfter gives to it: what comes after an act varies less
// than acts as such.
const lean = 0.25

// PAfter returns, likewise, the probability that w comes after prev: (count(w) + lean types lower) / (n + lean types).
// What is missing to 1, over all symbols, is the probability that nothing comes.
func (t *Table[S]) PAfter(c Context, prev, w Symbol, lower float64) float64 {
	s := t.find(t.nodeTag(c, prev))
	if s == nil {
		return lower
	}
	l := t.layout()
	kinds := max(1, int(*s>>l.count&(1<<l.follow-1)))
	return interpolate(t.CountAfter(c, prev, w), int(*s&t.mask()), float64(lean*float64(kinds)), lower)
}

func interpolate(count, n int, weight, lower float64) float64 {
	count = min(count, n) // more only if hashes are shared
	return (float64(count) + float64(weight*lower)) / (float64(n) + weight)
}
