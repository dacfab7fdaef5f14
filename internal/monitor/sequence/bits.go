package sequence

import "math"

// Bits returns -log2(p) for 0 < p, the surprise at what has the probability p. It is within 1e-12 of the true
// value and, unlike math.Log2, the same bit for bit on every machine: it uses nothing but arithmetic that
// IEEE 754 rounds in one way.
func Bits(p float64) float64 {
	f, e := math.Frexp(p) // f in [0.5, 1)
	if f < math.Sqrt2/2 {
		f, e = 2*f, e-1
	}
	z := (f - 1) / (f + 1) // |z| < 0.172: log(f) = 2 atanh(z)
	q := float64(z * z)
	sum := 0.0
	for k := 17; k >= 1; k -= 2 {
		sum = float64(sum*q) + 1/float64(k)
	}
	log2 := float64(float64(z*sum) * (2 * math.Log2E))
	return -(float64(e) + log2)
}
