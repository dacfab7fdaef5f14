package series

import (
	"encoding/binary"
	"math"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// An EWMA is an exponentially weighted moving average and variance (S. W. Roberts, "Control Chart Tests
// Based on Geometric Moving Averages", Technometrics 1, 1959; the variance in the incremental form of
// D. H. D. West, Communications of the ACM 22, 1979). It takes 12 bytes. The zero EWMA has seen nothing.
type EWMA struct {
	mean, variance float32
	n              uint32
}

// EWMALeast is how many numbers an EWMA must have seen before Z says anything.
const EWMALeast = 8

// zMost bounds Z on both sides.
const zMost = 1e6

// Add takes in x, which gets the share alpha of the weight: 0 < alpha <= 1. The first numbers get 1/n
// instead, as long as that is more, so that the average starts as the plain one. A NaN is ignored, and so
// is an alpha that is none; what is beyond 1e18 counts as 1e18.
func (e *EWMA) Add(x, alpha float64) {
	if x != x || !(alpha > 0) || alpha > 1 {
		return
	}
	x = clamp(x)
	if e.n < math.MaxInt32 {
		e.n++
	}
	a := max(alpha, 1/float64(e.n))
	d := x - float64(e.mean)
	step := float64(a * d)
	e.mean = float32(float64(e.mean) + step)
	e.variance = float32(float64((1 - a) * (float64(e.variance) + float64(d*step))))
}

// Z returns by how many standard deviations x lies above the average, -1e6..1e6; 0 until enough was seen,
// and for a NaN. A series that never moved counts as one with a standard deviation of
// a ten-thousandth of its average, which is more than the average is off by for having 24 bits.
func (e *EWMA) Z(x float64) float64 {
	if e.n < EWMALeast || x != x {
		return 0
	}
	d := clamp(x) - float64(e.mean)
	if d == 0 {
		return 0
	}
	return max(-zMost, min(zMost, d/max(e.Deviation(), math.Abs(float64(e.mean))*1e-4)))
}

// Mean returns the average; 0 if nothing was seen.
func (e *EWMA) Mean() float64 { return float64(e.mean) }

// Deviation returns the standard deviation; 0 if fewer than two numbers were seen.
func (e *EWMA) Deviation() float64 { return math.Sqrt(float64(e.variance)) }

// N returns how many numbers were seen.
func (e *EWMA) N() int { return int(e.n) }

// Append appends the state in the form that Read reads.
func (e *EWMA) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(e.n))
	if e.n == 0 {
		return b
	}
	return appendFloat32(appendFloat32(b, e.mean), e.variance)
}

// Read reads what Append wrote. It returns authz.ErrInvalid, and the EWMA has seen nothing, if Append
// did not write it.
func (e *EWMA) Read(r *conduct.Reader) error {
	*e = EWMA{}
	got := EWMA{n: uint32(r.Count(math.MaxInt32))}
	if got.n > 0 {
		got.mean = readFloat32(r, -huge, huge)
		got.variance = readFloat32(r, 0, math.MaxFloat32)
	}
	if err := r.Err(); err != nil {
		return err
	}
	if got.mean != got.mean || got.variance != got.variance {
		return errDamaged()
	}
	*e = got
	return nil
}
