package deviation

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"unsafe"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
)

const stateSize = int(unsafe.Sizeof(State{}))

// Append appends the state in the form that Read reads.
func (s *State) Append(b []byte) []byte {
	b = s.seen.Append(s.own.Append(b))
	for i := range s.sessions {
		b = s.sessions[i].append(b)
	}
	b = s.drift.Append(s.record.Append(b))
	for _, seq := range s.odd {
		b = binary.AppendUvarint(b, uint64(seq))
	}
	b = appendShares(b, &s.fresh)
	b = append(append(b, s.hours[0][:]...), s.hours[1][:]...)
	b = s.sizes.Append(s.size.Append(s.rate.Append(b)))
	for _, v := range [...]uint64{uint64(s.minute), uint64(s.learned), uint64(s.acts), uint64(s.refused), uint64(s.began), uint64(s.day), uint64(s.period), uint64(s.news)} {
		b = binary.AppendUvarint(b, v)
	}
	return append(b, s.today, s.doubts)
}

// Read reads what Append wrote. It returns authz.ErrInvalid, and nothing is remembered, if Append did not write it.
func (s *State) Read(r *conduct.Reader) error {
	*s = State{}
	var got State
	if err := got.read(r); err != nil {
		return err
	}
	*s = got
	return nil
}

func (s *State) read(r *conduct.Reader) error {
	if err := s.own.Read(r, sequence.OwnMost); err != nil {
		return err
	}
	if err := s.seen.Read(r, kinds, ownSeen); err != nil {
		return err
	}
	for i := range s.sessions {
		if err := s.sessions[i].read(r); err != nil {
			return err
		}
	}
	if err := s.record.Read(r); err != nil {
		return err
	}
	if err := s.drift.Read(r); err != nil {
		return err
	}
	for i := range s.odd {
		s.odd[i] = int64(r.Uvarint())
	}
	readShares(r, &s.fresh)
	for i := range s.hours {
		for h := range s.hours[i] {
			s.hours[i][h] = r.Byte()
		}
	}
	if err := s.rate.Read(r); err != nil {
		return err
	}
	if err := s.size.Read(r); err != nil {
		return err
	}
	if err := s.sizes.Read(r); err != nil {
		return err
	}
	for _, v := range [...]*uint32{&s.minute, &s.learned} {
		*v = uint32(r.Count(math.MaxUint32))
	}
	for _, v := range [...]*uint16{&s.acts, &s.refused, &s.began, &s.day, &s.period, &s.news} {
		*v = short(r)
	}
	s.today, s.doubts = r.Byte(), r.Byte()
	return r.Err()
}

func short(r *conduct.Reader) uint16 { return uint16(r.Count(math.MaxUint16)) }

func (n *session) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, n.id)
	if n.id == 0 {
		return b
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(n.prev))
	b = binary.LittleEndian.AppendUint32(b, uint32(n.alt))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(n.drift))
	b = binary.AppendUvarint(b, uint64(n.prevSeq))
	for i := range n.used {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(n.used[i])), uint64(n.learned[i]))
	}
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(n.n)), uint64(n.day))
	return append(b, byte(n.flags), n.trail)
}

func (n *session) read(r *conduct.Reader) error {
	if n.id = r.Uint32(); n.id == 0 {
		return r.Err()
	}
	n.prev, n.alt = sequence.Symbol(r.Uint32()), sequence.Symbol(r.Uint32())
	n.drift = math.Float32frombits(r.Uint32())
	n.prevSeq = int64(r.Uvarint())
	for i := range n.used {
		n.used[i], n.learned[i] = uint32(r.Count(math.MaxUint32)), uint32(r.Count(math.MaxUint32))
	}
	n.n, n.day, n.flags, n.trail = short(r), short(r), flags(r.Byte()), r.Byte()
	if !(n.drift >= 0 && n.drift <= driftSession) || n.flags > allFlags || n.trail > trailUnit*trailMost {
		return errDamaged()
	}
	return r.Err()
}

func appendShares(b []byte, all *[things]share) []byte {
	for _, s := range all {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(s.new)), uint64(s.all))
	}
	return b
}

func readShares(r *conduct.Reader, all *[things]share) {
	for i := range all {
		all[i] = share{new: short(r), all: short(r)}
	}
}

// Append appends the fleet's state in the form that Read reads.
func (f *Fleet) Append(b []byte) []byte {
	b = binary.AppendUvarint(f.surges.append(f.all.Append(b)), uint64(f.surged))
	b = binary.AppendUvarint(b, uint64(len(f.purposes)))
	for _, name := range slices.Sorted(maps.Keys(f.purposes)) {
		b = f.purposes[name].append(conduct.AppendText(b, name))
	}
	return b
}

// Read reads what Append wrote. It returns authz.ErrInvalid, and nothing is remembered, if Append did not write it.
func (f *Fleet) Read(r *conduct.Reader) error {
	*f = Fleet{}
	var got Fleet
	if err := got.all.Read(r, sequence.SharedMost); err != nil {
		return err
	}
	if err := got.surges.read(r); err != nil {
		return err
	}
	got.surged = long(r)
	n := r.Count(purposesMost + 1)
	last := ""
	for i := range n {
		name := r.Text()
		p := new(purpose)
		if err := p.read(r); err != nil {
			return err
		}
		if i > 0 && name <= last {
			return errDamaged()
		}
		if got.purposes == nil {
			got.purposes = map[string]*purpose{}
		}
		got.purposes[name], last = p, name
	}
	if err := r.Err(); err != nil {
		return err
	}
	*f = got
	return nil
}

func (p *purpose) append(b []byte) []byte {
	b = p.surges.append(appendShares(p.seen.Append(p.counts.Append(b)), &p.fresh))
	for _, c := range p.tail.bins {
		b = binary.AppendUvarint(b, uint64(c))
	}
	b = binary.AppendUvarint(b, uint64(len(p.names)))
	for _, w := range slices.Sorted(maps.Keys(p.names)) {
		b = conduct.AppendText(binary.LittleEndian.AppendUint32(b, uint32(w)), p.names[w])
	}
	return b
}

func (p *purpose) read(r *conduct.Reader) error {
	if err := p.counts.Read(r, sequence.SharedMost); err != nil {
		return err
	}
	if err := p.seen.Read(r, kinds, sharedSeen); err != nil {
		return err
	}
	readShares(r, &p.fresh)
	if err := p.surges.read(r); err != nil {
		return err
	}
	for i := range p.tail.bins {
		p.tail.bins[i] = short(r)
		p.tail.n += uint32(p.tail.bins[i])
	}
	if p.tail.n > tailFull {
		return errDamaged()
	}
	for range r.Count(namesMost) {
		w := sequence.Symbol(r.Uint32())
		name := r.Text()
		if printable(name) != name {
			return errDamaged()
		}
		if p.names == nil {
			p.names = map[sequence.Symbol]string{}
		}
		p.names[w] = name
	}
	return r.Err()
}

// errDamaged is what Read returns for what Append does not write.
func errDamaged() error {
	return authz.Errorf(authz.ErrInvalid, "the kept baseline of conduct is damaged")
}
