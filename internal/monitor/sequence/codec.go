package sequence

import (
	"encoding/binary"
	"unsafe"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Append appends the table in the form that Read reads.
func (t *Table[S]) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.slots)))
	b = binary.AppendUvarint(b, uint64(t.forgot))
	empty := uint64(0)
	for _, s := range t.slots {
		if s == 0 {
			empty++
			continue
		}
		b = binary.AppendUvarint(b, empty)
		if empty = 0; unsafe.Sizeof(s) == 4 {
			b = binary.LittleEndian.AppendUint32(b, uint32(s))
		} else {
			b = binary.LittleEndian.AppendUint64(b, uint64(s))
		}
	}
	return binary.AppendUvarint(b, empty+1) // one beyond the end
}

// Read reads a table of at most most slots that Append wrote. It returns authz.ErrInvalid, and the table
// is empty, if Append did not write it.
func (t *Table[S]) Read(r *conduct.Reader, most int) error {
	*t = Table[S]{}
	n := r.Count(most)
	forgot := r.Count(1<<16 - 1)
	if r.Err() != nil {
		return r.Err()
	}
	var slots []S
	if n > 0 {
		slots = make([]S, n)
	}
	for i := 0; ; i++ {
		i += r.Count(n + 1)
		if r.Err() != nil || i == n || i > n+1 {
			return errDamaged()
		}
		if i == n+1 {
			break
		}
		if low := r.Uint32(); unsafe.Sizeof(S(0)) == 4 {
			slots[i] = S(low)
		} else {
			slots[i] = S(uint64(low) | uint64(r.Uint32())<<32)
		}
		if slots[i]&t.mask() == 0 && slots[i]&t.full(slots[i]) == 0 {
			return errDamaged()
		}
	}
	if r.Err() != nil {
		return r.Err()
	}
	t.slots, t.forgot = slots, uint16(forgot)
	return nil
}

// errDamaged is what Read returns for what Append does not write.
func errDamaged() error {
	return authz.Errorf(authz.ErrInvalid, "the kept state of a table is damaged")
}
