package compliance

import (
	"encoding/binary"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Append appends the state in the form that Read reads.
func (s *State) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.pending)))
	for i := range s.pending {
		g := &s.pending[i]
		b = binary.AppendUvarint(b, uint64(g.first.seq()))
		b = binary.AppendUvarint(b, uint64(g.last.seq()))
		b = binary.LittleEndian.AppendUint32(b, whole(g.from))
		b = binary.LittleEndian.AppendUint32(b, whole(g.due))
		b = binary.AppendUvarint(b, uint64(g.open))
		b = append(b, byte(g.class))
	}
	return b
}

// Read reads what Append wrote.
func (s *State) Read(r *conduct.Reader) error {
	*s = State{}
	if n := r.Count(maxGroups); n > 0 {
		s.pending = make([]group, n)
	}
	for i := range s.pending {
		first, last := r.Uvarint(), r.Uvarint()
		g := group{
			first: pack(int64(first)), last: pack(int64(last)), from: halves(r.Uint32()), due: halves(r.Uint32()),
			open: uint16(r.Count(maxOpen)), class: uint16(r.Byte()),
		}
		if r.Err() == nil && (first > last || last >= 1<<48 || g.open == 0 || g.class > uint16(conduct.Admin)) {
			s.pending = nil
			return authz.Errorf(authz.ErrInvalid, "the kept state of compliance is damaged")
		}
		s.pending[i] = g
	}
	if r.Err() != nil {
		s.pending = nil
	}
	return r.Err()
}

// Append appends the fleet's state in the form that Read reads.
func (f *Fleet) Append(b []byte) []byte { return b }

// Read reads what Append wrote.
func (f *Fleet) Read(r *conduct.Reader) error { return r.Err() }
