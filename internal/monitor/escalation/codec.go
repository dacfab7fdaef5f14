package escalation

import (
	"encoding/binary"
	"math"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

var errDamaged = authz.Errorf(authz.ErrInvalid, "the kept state of escalation is damaged")

// damaged returns the error of r, if it has one, else that what was read makes no sense.
func damaged(r *conduct.Reader) error {
	if r.Err() != nil {
		return r.Err()
	}
	return errDamaged
}

func appendCount(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

func append32(b []byte, x uint32) []byte { return binary.LittleEndian.AppendUint32(b, x) }

func append16(b []byte, x uint16) []byte { return binary.LittleEndian.AppendUint16(b, x) }

func read16(r *conduct.Reader) uint16 { return uint16(r.Byte()) | uint16(r.Byte())<<8 }

func (n number) append(b []byte) []byte {
	return append16(append32(b, uint32(n[0])|uint32(n[1])<<16), n[2])
}

func readNumber(r *conduct.Reader) number {
	h := halves(r.Uint32())
	return number{h[0], h[1], read16(r)}
}

// Append appends the state in the form that Read reads.
func (s *State) Append(b []byte) []byte {
	b = appendCount(b, len(s.refused))
	for i := range s.refused {
		q := &s.refused[i]
		b = append32(append32(q.seq.append(b), whole(q.at)), whole(q.thing))
		b = append16(append16(b, q.session), q.meta)
	}
	if s.tries == nil {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		for i := range s.tries {
			b = s.tries[i].append(b)
		}
	}
	for _, x := range s.away.things {
		b = append32(b, x)
	}
	b = append(append32(b, s.away.at), s.away.points)
	b = append(append32(s.self.first.append(b), whole(s.self.at)), s.self.points)
	b = append16(append16(b, s.day), s.lentOn)
	return append(b, s.own, s.lent)
}

// Read reads what Append wrote.
func (s *State) Read(r *conduct.Reader) error {
	*s = State{}
	if n := r.Count(maxRefused); n > 0 {
		s.refused = make([]refusal, n)
	}
	for i := range s.refused {
		s.refused[i] = refusal{
			seq: readNumber(r), at: halves(r.Uint32()), thing: halves(r.Uint32()), session: read16(r), meta: read16(r),
		}
	}
	switch r.Byte() {
	case 0:
	case 1:
		s.tries = new(tries)
		for i := range s.tries {
			s.tries[i].read(r)
		}
	default:
		return damaged(r)
	}
	for i := range s.away.things {
		s.away.things[i] = r.Uint32()
	}
	s.away.at, s.away.points = r.Uint32(), r.Byte()
	s.self = self{first: readNumber(r), at: halves(r.Uint32()), points: r.Byte()}
	s.day, s.lentOn, s.own, s.lent = read16(r), read16(r), r.Byte(), r.Byte()
	return r.Err()
}

func (t *try) append(b []byte) []byte {
	if *t == (try{}) {
		return append32(b, 0)
	}
	b = append32(append32(append32(b, t.action), t.thing), t.at)
	b = t.last.append(t.first.append(b))
	b = append16(append16(b, t.args[0]), t.args[1])
	for _, x := range [...]float32{t.values[0], t.values[1], t.top} {
		b = append32(b, math.Float32bits(x))
	}
	return append(b, t.refused, t.allowed, t.climbs, t.total, t.flags)
}

func (t *try) read(r *conduct.Reader) {
	if t.action = r.Uint32(); t.action == 0 {
		return
	}
	t.thing, t.at = r.Uint32(), r.Uint32()
	t.first, t.last = readNumber(r), readNumber(r)
	t.args = [2]uint16{read16(r), read16(r)}
	t.values = [2]float32{math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32())}
	t.top = math.Float32frombits(r.Uint32())
	t.refused, t.allowed, t.climbs, t.total, t.flags = r.Byte(), r.Byte(), r.Byte(), r.Byte(), r.Byte()
}

func (d denial) append(b []byte) []byte {
	if b = append32(b, d.resource); d.resource == 0 {
		return b
	}
	for _, x := range [...]uint32{d.action, d.agent, d.owner, d.session, d.behalf, d.at} {
		b = append32(b, x)
	}
	return append(d.seq.append(b), byte(d.class))
}

func (denial) read(r *conduct.Reader) (d denial) {
	if d.resource = r.Uint32(); d.resource == 0 {
		return d
	}
	for _, x := range [...]*uint32{&d.action, &d.agent, &d.owner, &d.session, &d.behalf, &d.at} {
		*x = r.Uint32()
	}
	d.seq, d.class = readNumber(r), conduct.Class(r.Byte())
	return d
}

func (g grasp) append(b []byte) []byte {
	if b = append32(b, g.key); g.key == 0 {
		return b
	}
	return append(append16(b, g.day), g.had)
}

func (grasp) read(r *conduct.Reader) (g grasp) {
	if g.key = r.Uint32(); g.key != 0 {
		g.day, g.had = read16(r), r.Byte()
	}
	return g
}

// Append appends the fleet's state in the form that Read reads.
func (f *Fleet) Append(b []byte) []byte { return f.reach.append(f.denied.append(b)) }

// Read reads what Append wrote.
func (f *Fleet) Read(r *conduct.Reader) error {
	if err := f.denied.read(r); err != nil {
		return err
	}
	return f.reach.read(r)
}
