package series

import (
	"encoding/binary"
	"math"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// RecordLength is how many scores a Record keeps.
const RecordLength = 64

// A Record keeps the newest 64 nonconformity scores and says how unusual another is among them: the
// conformal p-value (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005). If the
// scores are exchangeable, a p-value of alpha or less has a chance of alpha at most, whatever their
// distribution. Scores are kept in 2 bytes, the upper half of a float32; those that come out the same
// count as equal, which makes p-values larger, never smaller. It takes 130 bytes. The zero Record is
// empty.
type Record struct {
	ring [RecordLength]uint16
	n    uint8 // how many are kept
	next uint8 // where the next one goes
}

// rung returns the upper half of s as a float32, in an order of unsigned numbers: it never falls as s
// grows. A NaN is beyond all.
func rung(s float64) uint16 {
	if s != s {
		return math.MaxUint16
	}
	b := math.Float32bits(float32(s))
	if b>>31 == 1 {
		b = ^b
	} else {
		b |= 1 << 31
	}
	return uint16(b >> 16)
}

// Add keeps s, in place of the oldest score if there are 64. A NaN is ignored.
func (r *Record) Add(s float64) {
	if s != s {
		return
	}
	r.ring[r.next] = rung(s)
	r.next = (r.next + 1) % RecordLength
	r.n = min(r.n+1, RecordLength)
}

// P returns the p-value of s, (1 + how many kept scores are at least s) / (1 + how many are kept):
// 1 if nothing is kept, 1/65 at least, and as small as possible for a NaN. It does not keep s.
func (r *Record) P(s float64) float64 {
	k, at := rung(s), 1
	for _, c := range r.ring[:r.n] {
		if c >= k {
			at++
		}
	}
	return float64(at) / float64(int(r.n)+1)
}

// N returns how many scores are kept, 64 at most.
func (r *Record) N() int { return int(r.n) }

// Append appends the state in the form that Read reads: the scores, oldest first.
func (r *Record) Append(b []byte) []byte {
	b = append(b, r.n)
	for i := range int(r.n) {
		b = binary.LittleEndian.AppendUint16(b, r.ring[(int(r.next)-int(r.n)+i+RecordLength)%RecordLength])
	}
	return b
}

// Read reads what Append wrote. It returns authz.ErrInvalid, and the Record is empty, if Append did not
// write it.
func (r *Record) Read(from *conduct.Reader) error {
	*r = Record{}
	var got Record
	n := from.Byte()
	if n > RecordLength {
		return errDamaged()
	}
	for range n {
		low, high := from.Byte(), from.Byte()
		got.ring[got.next] = uint16(high)<<8 | uint16(low)
		got.next = (got.next + 1) % RecordLength
	}
	if err := from.Err(); err != nil {
		return err
	}
	got.n = n
	*r = got
	return nil
}
