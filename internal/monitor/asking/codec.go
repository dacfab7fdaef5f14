package asking

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

func (r *ring) append(b []byte) []byte {
	b = append(b, r.n)
	for _, seq := range r.seqs[:r.n] {
		b = binary.AppendVarint(b, seq)
	}
	return b
}

func (r *ring) read(in *conduct.Reader) {
	*r = ring{n: uint8(in.Count(len(r.seqs)))}
	for i := range r.n {
		r.seqs[i] = in.Varint()
	}
}

func (w *window) append(b []byte) []byte {
	b = binary.AppendVarint(b, w.newest)
	for _, c := range w.counts {
		b = binary.AppendUvarint(b, uint64(c))
	}
	return binary.AppendUvarint(b, uint64(w.told))
}

func (w *window) read(in *conduct.Reader) {
	w.newest = max(0, in.Varint())
	for i := range w.counts {
		w.counts[i] = uint16(in.Count(1<<16 - 1))
	}
	w.told = uint16(in.Count(1<<16 - 1))
}

// Append appends the state in the form that Read reads.
func (s *State) Append(b []byte) []byte {
	if s.p == nil {
		return append(b, 0)
	}
	p := s.p
	b = p.beyond.append(p.asks.append(append(b, 1)))
	b = p.over.append(p.recent.append(b))
	b = binary.AppendUvarint(binary.AppendVarint(b, p.hour), uint64(p.inHour))
	b = conduct.AppendFloat(append(b, p.hours), p.usual)
	b = binary.AppendUvarint(append(b, p.answers), uint64(p.refused))
	b = p.refusals.append(b)
	for _, by := range p.by {
		b = binary.LittleEndian.AppendUint16(b, by)
	}
	return b
}

// Read reads what Append wrote.
func (s *State) Read(in *conduct.Reader) error {
	*s = State{}
	if in.Count(1) == 0 {
		return in.Err()
	}
	p := new(asker)
	p.asks.read(in)
	p.beyond.read(in)
	p.recent.read(in)
	p.over.read(in)
	p.hour, p.inHour = in.Varint(), uint16(in.Count(1<<16-1))
	p.hours, p.usual = uint8(in.Count(usualHours)), in.Float()
	p.answers, p.refused = uint8(in.Count(told)), uint16(in.Count(1<<16-1))
	p.refusals.read(in)
	for i := range p.by {
		p.by[i] = uint16(in.Byte()) | uint16(in.Byte())<<8
	}
	if in.Err() == nil && !(p.usual >= 0 && p.usual <= 1<<16) {
		return damaged()
	}
	if in.Err() == nil {
		s.p = p
	}
	return in.Err()
}

func damaged() error {
	return authz.Errorf(authz.ErrInvalid, "what is kept of asking is damaged")
}

// Append appends the fleet's state in the form that Read reads.
func (f *Fleet) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(f.asks)))
	for _, a := range f.order {
		if f.asks[a.ID] == a {
			b = a.append(b)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(f.reviews)))
	for i := range f.reviews {
		v := &f.reviews[i]
		b = binary.AppendVarint(binary.AppendVarint(b, v.due), v.seq)
		for _, s := range []string{v.ask, v.person, string(v.agent)} {
			b = conduct.AppendText(b, s)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(f.persons)))
	for _, id := range slices.Sorted(maps.Keys(f.persons)) {
		p := f.persons[id]
		b = append(conduct.AppendText(b, id), p.answers)
		b = p.recent.append(binary.AppendUvarint(b, uint64(p.fast)))
		b = binary.AppendVarint(binary.LittleEndian.AppendUint64(b, p.same), p.at)
	}
	return b
}

// Read reads what Append wrote.
func (f *Fleet) Read(in *conduct.Reader) error {
	*f = Fleet{asks: map[string]*Ask{}, persons: map[string]*person{}}
	last := int64(0)
	for range in.Count(maxAsks) {
		a := readAsk(in)
		if in.Err() == nil && (f.asks[a.ID] != nil || a.Seq <= last) {
			return damaged()
		}
		f.asks[a.ID], last = a, a.Seq
		f.order = append(f.order, a)
	}
	for i := range in.Count(maxReviews) {
		v := review{due: in.Varint(), seq: in.Varint(), ask: in.Text(), person: in.Text(), agent: authz.AgentID(in.Text())}
		if in.Err() == nil && i > 0 && f.reviews[i-1].due > v.due {
			return damaged()
		}
		f.reviews = append(f.reviews, v)
	}
	for range in.Count(maxPersons) {
		id := in.Text()
		p := &person{answers: uint8(in.Count(told)), fast: uint16(in.Count(1<<16 - 1))}
		p.recent.read(in)
		p.same = uint64(in.Uint32()) | uint64(in.Uint32())<<32
		p.at = in.Varint()
		if in.Err() == nil && f.persons[id] != nil {
			return damaged()
		}
		f.persons[id] = p
	}
	if in.Err() != nil {
		*f = Fleet{}
	}
	return in.Err()
}

func (a *Ask) append(b []byte) []byte {
	b = conduct.AppendText(b, a.ID)
	b = conduct.AppendTime(binary.AppendVarint(b, a.Seq), a.At)
	b = conduct.AppendText(conduct.AppendText(b, string(a.Agent)), a.Session)
	b = conduct.AppendText(append(b, byte(a.Class)), a.What)
	b = binary.AppendVarint(binary.AppendVarint(b, int64(a.reading)), int64(a.within))
	b = binary.LittleEndian.AppendUint64(b, a.same)
	b = append(b, byte(len(a.seen)))
	for _, v := range a.seen {
		b = binary.AppendVarint(binary.LittleEndian.AppendUint64(b, v.person), v.at)
	}
	b = append(b, byte(len(a.said)))
	for _, by := range a.said {
		b = binary.LittleEndian.AppendUint32(b, by)
	}
	return b
}

func readAsk(in *conduct.Reader) *Ask {
	a := &Ask{ID: in.Text(), Seq: in.Varint(), At: in.Time(), Agent: authz.AgentID(in.Text()), Session: in.Text()}
	a.Class, a.What = min(conduct.Class(in.Byte()), conduct.Admin), in.Text()
	a.reading, a.within = time.Duration(in.Varint()), time.Duration(in.Varint())
	a.same = uint64(in.Uint32()) | uint64(in.Uint32())<<32
	for range in.Count(maxViewers) {
		a.seen = append(a.seen, viewer{person: uint64(in.Uint32()) | uint64(in.Uint32())<<32, at: in.Varint()})
	}
	for range in.Count(maxViewers) {
		a.said = append(a.said, in.Uint32())
	}
	return a
}
