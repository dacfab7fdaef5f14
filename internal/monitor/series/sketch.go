package series

import (
	"encoding/binary"
	"math"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

const (
	buckets = 64
	// lowest is the power of two below which everything is in bucket 0; the buckets above it are half
	// octaves, so that the last one begins at 2^24.
	lowest = -7
	full   = math.MaxUint8
)

// A Sketch remembers how numbers are spread, in 64 buckets of fixed bounds, as DDSketch does (Masson, Rim
// and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", VLDB
// 2019): two to the octave, divided at 1.5 times the power of two, so that no logarithm is needed. A
// quantile is never below the true one, and less than half above it. Numbers below 1/128, zero and
// negative ones among them, are in the first bucket, those from 16,777,216 on in the last: choose the
// unit accordingly, say milliseconds or bytes.
//
// A bucket that is full halves all, so that what is old fades: a value that stays the same is remembered
// for some 255 numbers, others for longer. It takes 66 bytes. The zero Sketch has seen nothing.
type Sketch struct {
	n     uint16 // the sum of count
	count [buckets]uint8
}

// bucket returns where x belongs. It never falls as x grows. The caller has seen that x is a number.
func bucket(x float64) int {
	if x < 1.0/128 {
		return 0
	}
	// The exponent and the first bit of the fraction count half octaves.
	b := int(math.Float64bits(x)>>51) - 2*(1023+lowest) + 1
	return min(b, buckets-1)
}

// Add takes in x. A NaN is ignored.
func (s *Sketch) Add(x float64) {
	if x != x {
		return
	}
	b := bucket(x)
	if s.count[b] == full {
		s.n = 0
		for i := range s.count {
			s.count[i] /= 2
			s.n += uint16(s.count[i])
		}
	}
	s.count[b]++
	s.n++
}

// Rank returns the share of what was seen that lies below x or beside it in its bucket, 0..1; it never
// falls as x grows. It is 0 if nothing was seen, and 1 for a NaN: nothing is known to lie above that.
func (s *Sketch) Rank(x float64) float64 {
	if s.n == 0 {
		return 0
	}
	if x != x {
		return 1
	}
	below := 0
	for _, c := range s.count[:bucket(x)+1] {
		below += int(c)
	}
	return float64(below) / float64(s.n)
}

// Quantile returns the upper bound of the bucket in which the share q, 0..1, of what was seen is reached;
// 0 if nothing was seen, and infinity in the last bucket.
func (s *Sketch) Quantile(q float64) float64 {
	if s.n == 0 {
		return 0
	}
	below := 0
	for i, c := range s.count {
		below += int(c)
		if c > 0 && float64(below) >= float64(q*float64(s.n)) {
			if i == buckets-1 {
				break
			}
			return math.Float64frombits(uint64(i+2*(1023+lowest)) << 51)
		}
	}
	return math.Inf(1)
}

// N returns how many numbers are remembered, 16,320 at most: what has faded is not counted.
func (s *Sketch) N() int { return int(s.n) }

// Append appends the state in the form that Read reads: a bit for each bucket, and the counts of those
// that are not empty.
func (s *Sketch) Append(b []byte) []byte {
	var used uint64
	for i, c := range s.count {
		if c > 0 {
			used |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, used)
	for _, c := range s.count {
		if c > 0 {
			b = append(b, c)
		}
	}
	return b
}

// Read reads what Append wrote. It returns authz.ErrInvalid, and the Sketch has seen nothing, if Append
// did not write it.
func (s *Sketch) Read(r *conduct.Reader) error {
	*s = Sketch{}
	var got Sketch
	used := r.Uvarint()
	for i := range got.count {
		if used&(1<<i) == 0 {
			continue
		}
		if got.count[i] = r.Byte(); got.count[i] == 0 && r.Err() == nil {
			return errDamaged()
		}
		got.n += uint16(got.count[i])
	}
	if err := r.Err(); err != nil {
		return err
	}
	*s = got
	return nil
}
