// Package series watches numbers that come one by one: how much an agent does, how large its answers
// are, how long they take. Each type keeps a fixed small state, looks at every number once and never
// ahead, and has the same parameters for every series.
//
// Invariants: the same numbers in the same order give the same state, bit for bit, on every machine
// (only correctly rounded operations, no fused ones, no logarithm of the library); no number, not even a
// NaN, an infinity or the largest there is, makes a state unusable; and what Read accepts is a state that
// Append could have written.
//
// The package does not decide what is too unusual: it says how unusual a number is. None of its types is
// safe for concurrent use.
package series

import (
	"encoding/binary"
	"math"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// huge bounds what is kept: its square still fits a float32.
const huge = 1e18

// clamp brings x into -huge..huge. The caller has seen that x is a number.
func clamp(x float64) float64 { return max(-huge, min(huge, x)) }

// errDamaged is what Read returns for what Append does not write.
func errDamaged() error {
	return authz.Errorf(authz.ErrInvalid, "the kept state of a series is damaged")
}

func appendFloat32(b []byte, x float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
}

// readFloat32 reads what appendFloat32 wrote; NaN, which is never kept, if it lies outside least..most.
func readFloat32(r *conduct.Reader, least, most float32) float32 {
	x := math.Float32frombits(r.Uint32())
	if x >= least && x <= most {
		return x
	}
	return float32(math.NaN())
}
