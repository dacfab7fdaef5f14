package deviation

import (
	"encoding/binary"
	"math"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// append appends the state in the form that read reads: a byte if there was no act.
func (u *surges) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(u.minute))
	if u.minute == 0 {
		return b
	}
	for _, v := range [...]uint32{u.began, u.acts, u.refused} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	b = u.share.append(u.rate.append(b))
	b = u.worst.append(u.most.append(b))
	return u.alarm.append(b)
}

func (u *surges) read(r *conduct.Reader) error {
	if u.minute = long(r); u.minute == 0 {
		return r.Err()
	}
	u.began, u.acts, u.refused = long(r), long(r), long(r)
	for _, w := range [...]*watch{&u.rate, &u.share} {
		if err := w.read(r); err != nil {
			return err
		}
	}
	u.most.read(r)
	u.worst.read(r)
	u.alarm.read(r)
	if r.Err() == nil && (u.began == 0 || u.rate.hits > span || u.share.hits > span) {
		return errDamaged()
	}
	return r.Err()
}

func long(r *conduct.Reader) uint32 { return uint32(r.Count(math.MaxUint32)) }

func appendFloat32(b []byte, x float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
}

// readFloat32 reads a number that is not negative; what is none is 0.
func readFloat32(r *conduct.Reader) float32 {
	if x := math.Float32frombits(r.Uint32()); x > 0 && !math.IsInf(float64(x), 0) {
		return x
	}
	return 0
}

func (w *watch) append(b []byte) []byte {
	b = w.usual.Append(w.detector.Append(b))
	b = append(appendFloat32(b, w.peak), w.hits)
	return binary.AppendUvarint(b, uint64(w.at))
}

func (w *watch) read(r *conduct.Reader) error {
	if err := w.detector.Read(r); err != nil {
		return err
	}
	if err := w.usual.Read(r); err != nil {
		return err
	}
	w.peak, w.hits, w.at = readFloat32(r), r.Byte(), long(r)
	return r.Err()
}

func (c *contenders) append(b []byte) []byte {
	for i := range c {
		b = c[i].append(b)
	}
	return b
}

func (c *contenders) read(r *conduct.Reader) {
	for i := range c {
		c[i].read(r)
	}
}

func (c *contender) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(c.n))
	if c.n == 0 {
		return b
	}
	b = binary.LittleEndian.AppendUint64(b, c.agent)
	for _, n := range c.classes {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, seq := range c.newest {
		b = binary.AppendUvarint(b, uint64(seq))
	}
	return b
}

func (c *contender) read(r *conduct.Reader) {
	if c.n = short(r); c.n == 0 {
		return
	}
	c.agent = uint64(r.Uint32()) | uint64(r.Uint32())<<32
	for i := range c.classes {
		c.classes[i] = short(r)
	}
	for i := range c.newest {
		c.newest[i] = int64(r.Uvarint())
	}
}

func (a *alarm) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(a.minute))
	if a.minute == 0 {
		return b
	}
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(a.acts)), uint64(a.refused))
	b = appendFloat32(appendFloat32(b, a.usual), a.usually)
	what := byte(0)
	if a.rate {
		what |= 1
	}
	if a.share {
		what |= 2
	}
	return a.who.append(append(b, what))
}

func (a *alarm) read(r *conduct.Reader) {
	if a.minute = long(r); a.minute == 0 {
		return
	}
	a.acts, a.refused = long(r), long(r)
	a.usual, a.usually = readFloat32(r), readFloat32(r)
	what := r.Byte()
	a.rate, a.share = what&1 != 0, what&2 != 0
	a.who.read(r)
}
