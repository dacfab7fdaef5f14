package series

import (
	"encoding/binary"
	"math"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Append appends the state in the form that Read reads: 1 byte if nothing was seen, and 330 at most.
func (d *Detector) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(d.n))
	if d.n == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(d.seasons))
	for _, x := range [...]float32{d.level, d.spread, d.told} {
		b = appendFloat32(b, x)
	}
	for _, x := range d.smooth {
		b = appendFloat32(b, x)
	}
	for _, e := range d.extent {
		b = appendFloat32(appendFloat32(b, e.low), e.high)
	}
	b = append(b, d.hourly[:]...)
	for h, n := range d.hourly {
		if n > 0 {
			b = appendFloat32(appendFloat32(b, d.hour[h]), d.hourSpread[h])
		}
	}
	return b
}

// Read reads what Append wrote. It returns authz.ErrInvalid, and the Detector has seen nothing, if Append
// did not write it.
func (d *Detector) Read(r *conduct.Reader) error {
	*d = Detector{}
	got := Detector{n: uint32(r.Count(math.MaxInt32))}
	if got.n > 0 {
		got.read(r)
	}
	if err := r.Err(); err != nil {
		return err
	}
	if !got.sound() {
		return errDamaged()
	}
	*d = got
	return nil
}

// read reads what follows the count.
func (d *Detector) read(r *conduct.Reader) {
	const most = 4 * huge // distances are twice what numbers are, and rounded
	d.seasons = uint32(r.Count(int(d.n)))
	d.level = readFloat32(r, -most, most)
	d.spread = readFloat32(r, 0, most)
	d.told = readFloat32(r, 0, extents)
	for i := range d.smooth {
		d.smooth[i] = readFloat32(r, -most, most)
	}
	for i := range d.extent {
		d.extent[i].low = readFloat32(r, -most, most)
		d.extent[i].high = readFloat32(r, d.extent[i].low, most)
	}
	for h := range d.hourly {
		d.hourly[h] = r.Byte()
	}
	for h, n := range d.hourly {
		if n > 0 {
			d.hour[h] = readFloat32(r, -most, most)
			d.hourSpread[h] = readFloat32(r, 0, most)
		}
	}
}

// sound reports whether no number that was read lay outside its bounds.
func (d *Detector) sound() bool {
	bad := d.level != d.level || d.spread != d.spread || d.told != d.told
	for _, x := range d.smooth {
		bad = bad || x != x
	}
	for _, e := range d.extent {
		bad = bad || e.low != e.low || e.high != e.high
	}
	for h := range d.hour {
		bad = bad || d.hour[h] != d.hour[h] || d.hourSpread[h] != d.hourSpread[h]
	}
	return !bad
}
