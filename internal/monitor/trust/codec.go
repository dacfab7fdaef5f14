package trust

import (
	"encoding/binary"
	"unique"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Append appends the state to b. What was worked out and can be worked out again is not kept, so that the
// same state is always the same bytes, whatever was read of it.
func (s *State) Append(b []byte) []byte {
	var flags byte
	if s.taken {
		flags |= 1
	}
	if s.further != nil {
		flags |= 2
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(s.owner))
	b = binary.AppendUvarint(b, uint64(s.day))
	for i := range buckets {
		b = append(b, s.days[i])
		b = binary.LittleEndian.AppendUint16(b, s.tags[i])
	}
	for c := range s.class {
		k := &s.class[c]
		b = append(b, byte(s.ladder[c]))
		b = appendFloat32(b, k.good)
		b = appendFloat32(b, k.bad)
		for _, v := range [...]uint32{k.at, k.since, uint32(k.today), uint32(k.canary), uint32(k.seen), k.acts} {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	b = append(b, s.listed)
	for i := range s.listed {
		q := &s.causes[i]
		b = binary.AppendUvarint(b, q.key)
		b = conduct.AppendText(b, q.what.Value())
		b = binary.AppendUvarint(b, uint64(q.minute))
		b = binary.AppendUvarint(b, uint64(q.weight))
		b = append(b, q.session, q.where)
	}
	if f := s.further; f != nil {
		b = f.append(b)
	}
	return b
}

func (f *further) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(f.day))
	for _, u := range f.reporters {
		b = binary.LittleEndian.AppendUint32(b, u.by)
		b = append(b, u.fore, u.con)
	}
	b = binary.AppendUvarint(b, uint64(len(f.overrides)))
	for i := range f.overrides {
		o := &f.overrides[i]
		b = append(b, byte(o.class), byte(o.level))
		b = binary.AppendVarint(b, o.expires)
		b = conduct.AppendText(b, o.author)
		b = conduct.AppendText(b, o.why)
	}
	return b
}

// Read reads what Append appended. It returns authz.ErrInvalid for anything else that it can tell.
func (s *State) Read(r *conduct.Reader) error {
	*s = State{}
	flags := r.Byte()
	s.taken = flags&1 != 0
	s.owner, s.day = readUint16(r), readUint16(r)
	for i := range buckets {
		s.days[i] = r.Byte()
		s.tags[i] = uint16(r.Byte()) | uint16(r.Byte())<<8
	}
	for c := range s.class {
		k := &s.class[c]
		s.ladder[c] = ladder(r.Byte())
		k.good, k.bad = readFloat32(r), readFloat32(r)
		k.at, k.since = readUint32(r), readUint32(r)
		k.today, k.canary, k.seen = readUint16(r), readUint16(r), readUint16(r)
		k.acts = readUint32(r)
	}
	s.listed = uint8(r.Count(maxCauses))
	if s.listed > 0 {
		s.causes = new([maxCauses]cause)
	}
	for i := range s.listed {
		s.causes[i] = cause{
			key: r.Uvarint(), what: unique.Make(r.Text()), minute: readUint32(r), weight: readUint16(r), session: r.Byte(), where: r.Byte(),
		}
	}
	if flags&2 != 0 {
		s.further = new(further)
		s.further.read(r)
	}
	if err := r.Err(); err != nil {
		*s = State{}
		return err
	}
	return nil
}

func (f *further) read(r *conduct.Reader) {
	f.day = readUint16(r)
	for i := range f.reporters {
		f.reporters[i] = reporter{by: r.Uint32(), fore: r.Byte(), con: r.Byte()}
	}
	for range r.Count(conduct.Classes + 1) {
		f.overrides = append(f.overrides, override{
			class: min(conduct.Class(r.Byte()), conduct.Every), level: min(Level(r.Byte()), High),
			expires: r.Varint(), author: r.Text(), why: r.Text(),
		})
	}
}
