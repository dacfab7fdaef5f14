package series

import (
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A CUSUM adds up by how much numbers exceed what is expected, and never falls below 0: the one-sided
// cumulative sum of E. S. Page, "Continuous Inspection Schemes", Biometrika 41, 1954. Numbers are standard
// deviations from the average. With a slack k and a threshold h, independent normal numbers raise a false
// alarm about every (exp(2kb) - 2kb - 1) / 2k² numbers, b = h + 1.166 (D. Siegmund, "Sequential Analysis",
// 1985): 338 for k = 0.5 and h = 4, 20,000 for k = 0.5 and h = 8. It takes 4 bytes. The zero CUSUM is 0.
type CUSUM struct{ sum float32 }

// cusumMost bounds the sum, so that a series that went astray for long can be seen to come back.
const cusumMost = 1e6

// Add takes in z and returns the sum, 0..1e6. The slack is subtracted from every number: half of the shift
// that is to be found soonest. A NaN is ignored.
func (c *CUSUM) Add(z, slack float64) float64 {
	if d := z - slack; d == d {
		c.sum = float32(max(0, min(cusumMost, float64(c.sum)+d)))
	}
	return float64(c.sum)
}

// Sum returns the sum as it stands.
func (c *CUSUM) Sum() float64 { return float64(c.sum) }

// Reset sets the sum to 0, as after an alarm.
func (c *CUSUM) Reset() { c.sum = 0 }

// Append appends the state in the form that Read reads.
func (c *CUSUM) Append(b []byte) []byte { return appendFloat32(b, c.sum) }

// Read reads what Append wrote. It returns authz.ErrInvalid, and the sum is 0, if Append did not write it.
func (c *CUSUM) Read(r *conduct.Reader) error {
	*c = CUSUM{}
	sum := readFloat32(r, 0, cusumMost)
	if err := r.Err(); err != nil {
		return err
	}
	if sum != sum {
		return errDamaged()
	}
	c.sum = sum
	return nil
}
