package performance

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// What a kept state has.
const (
	hasCalls = 1 << iota
	hasWork
	hasBins
	hasMeasures
	hasAll = 1<<iota - 1
)

// Append appends the state in the form that Read reads.
func (s *State) Append(b []byte) []byte {
	var has byte
	if s.calls != (calls{}) {
		has |= hasCalls
	}
	w := s.work
	if w != nil {
		has |= hasWork
		if w.said != nil {
			has |= hasBins
		}
		if w.measure != nil {
			has |= hasMeasures
		}
	}
	b = append(b, has)
	if has&hasCalls != 0 {
		for _, h := range s.calls.ring {
			b = binary.LittleEndian.AppendUint32(b, h)
		}
		b = append(b, s.calls.next)
		b = binary.AppendUvarint(b, uint64(s.calls.run))
	}
	if w != nil {
		b = w.append(b)
	}
	return b
}

func (w *work) append(b []byte) []byte {
	for _, t := range []tally{w.judged, w.tried, w.brier} {
		b = appendSingle(appendSingle(b, t.good), t.bad)
	}
	b = binary.AppendVarint(b, w.since)
	b = w.faults.sum.Append(w.faults.usual.Append(b))
	b = binary.AppendVarint(b, int64(w.today.day))
	for i, h := range w.today.reporters {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(h)), uint64(w.today.said[i]))
	}
	for _, n := range w.today.sessions {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = append(b, w.schema)
	for _, seq := range []int64{w.wrong[0], w.wrong[1], w.failed[0], w.failed[1]} {
		b = binary.AppendVarint(b, seq)
	}
	if w.said != nil {
		for i, n := range w.said.n {
			b = appendSingle(appendSingle(b, n), w.said.right[i])
			b = binary.AppendUvarint(b, uint64(w.said.said[i]))
		}
	}
	if m := w.measure; m != nil {
		for i := range kinds {
			b = m.size[i].Append(m.latency[i].Append(b))
		}
		b = m.large.Append(m.slow.Append(b))
	}
	return b
}

// Read reads what Append wrote. It returns authz.ErrInvalid, and the state remembers nothing, if Append
// did not write it.
func (s *State) Read(r *conduct.Reader) error {
	*s = State{}
	var got State
	has := r.Byte()
	ok := has <= hasAll && (has&hasWork != 0 || has&(hasBins|hasMeasures) == 0)
	if has&hasCalls != 0 {
		for i := range got.calls.ring {
			got.calls.ring[i] = r.Uint32()
		}
		got.calls.next = r.Byte()
		got.calls.run = uint16(r.Count(math.MaxUint16))
		ok = ok && got.calls.next < within && got.calls != (calls{})
	}
	if ok && has&hasWork != 0 {
		got.work = new(work)
		ok = got.work.read(r, has)
	}
	if err := r.Err(); err != nil {
		return err
	}
	if !ok {
		return authz.Errorf(authz.ErrInvalid, "the kept state of an agent's performance is damaged")
	}
	*s = got
	return nil
}

// read reports whether what it reads makes sense.
func (w *work) read(r *conduct.Reader, has byte) bool {
	ok := true
	for _, t := range []*tally{&w.judged, &w.tried, &w.brier} {
		ok = readSingle(r, &t.good) && readSingle(r, &t.bad) && ok
	}
	w.since = r.Varint()
	ok = w.faults.usual.Read(r) == nil && ok
	ok = w.faults.sum.Read(r) == nil && ok
	day := r.Varint()
	w.today.day = int32(day)
	ok = ok && int64(w.today.day) == day
	for i := range w.today.reporters {
		w.today.reporters[i] = uint32(r.Count(math.MaxUint32))
		w.today.said[i] = uint16(r.Count(math.MaxUint16))
	}
	for i := range w.today.sessions {
		w.today.sessions[i] = uint16(r.Count(math.MaxUint16))
	}
	w.schema = r.Byte()
	for _, seq := range []*int64{&w.wrong[0], &w.wrong[1], &w.failed[0], &w.failed[1]} {
		*seq = r.Varint()
	}
	if has&hasBins != 0 {
		w.said = new(bins)
		for i := range binned {
			ok = readSingle(r, &w.said.n[i]) && readSingle(r, &w.said.right[i]) && ok
			w.said.said[i] = uint16(r.Count(math.MaxUint16))
		}
	}
	if has&hasMeasures != 0 {
		m := new(measures)
		w.measure = m
		for i := range kinds {
			ok = m.latency[i].Read(r) == nil && m.size[i].Read(r) == nil && ok
		}
		ok = m.slow.Read(r) == nil && m.large.Read(r) == nil && ok
	}
	return ok
}

func appendSingle(b []byte, x float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
}

// readSingle reports whether what it reads is a weight.
func readSingle(r *conduct.Reader, x *float32) bool {
	*x = math.Float32frombits(r.Uint32())
	return *x >= 0 && *x <= most && !math.Signbit(float64(*x))
}

// Size returns how many bytes of memory the state takes, without what the allocator rounds up.
func (s *State) Size() int {
	n := int(unsafe.Sizeof(*s))
	if w := s.work; w != nil {
		n += int(unsafe.Sizeof(*w))
		if w.said != nil {
			n += int(unsafe.Sizeof(*w.said))
		}
		if w.measure != nil {
			n += int(unsafe.Sizeof(*w.measure))
		}
	}
	return n
}

// Append appends the fleet's state in the form that Read reads: nothing.
func (f *Fleet) Append(b []byte) []byte { return b }

// Read reads what Append wrote.
func (f *Fleet) Read(r *conduct.Reader) error { return r.Err() }
