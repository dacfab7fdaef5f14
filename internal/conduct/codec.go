package conduct

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// State of monitors is kept between starts in a compact form of its own. Append functions write it, a
// Reader reads it. The same state is always written with the same bytes.

// AppendFloat appends the bits of x.
func AppendFloat(b []byte, x float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
}

// AppendText appends s and its length.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendTime appends t in microseconds; the zero time is 0.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixMicro())
}

// A Reader reads what the Append functions wrote. After the first error it reads zeros.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a Reader of b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Err returns authz.ErrInvalid if what was read was not written so.
func (r *Reader) Err() error { return r.err }

// Rest returns what has not been read.
func (r *Reader) Rest() []byte { return r.b }

func (r *Reader) fail() {
	r.b = nil
	if r.err == nil {
		r.err = authz.Errorf(authz.ErrInvalid, "the kept state of a monitor is damaged")
	}
}

// Uvarint reads what binary.AppendUvarint wrote.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Varint reads what binary.AppendVarint wrote.
func (r *Reader) Varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Count reads a length, which is damaged if it is above most.
func (r *Reader) Count(most int) int {
	n := r.Uvarint()
	if n > uint64(most) {
		r.fail()
		return 0
	}
	return int(n)
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// Uint32 reads four bytes, little-endian.
func (r *Reader) Uint32() uint32 {
	if len(r.b) < 4 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// Float reads what AppendFloat wrote.
func (r *Reader) Float() float64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v
}

// Text reads what AppendText wrote.
func (r *Reader) Text() string {
	n := r.Uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// Time reads what AppendTime wrote.
func (r *Reader) Time() time.Time {
	if v := r.Varint(); v != 0 {
		return time.UnixMicro(v).UTC()
	}
	return time.Time{}
}

// Hash returns the 64-bit FNV-1a hash of some texts, told apart from their joining.
func Hash(texts ...string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range texts {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return h
}
