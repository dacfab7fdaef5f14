package conduct

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
)

// Journals know how far the journals of decision points elsewhere have come, as far as it takes to tell a record that
// stands in the log twice: when two replicas were sent the same, the second counts for nothing.
type Journals map[uint64]journalMark // by a hash of the caller and the journal

type journalMark struct{ number, seq, at int64 } // of the newest record that counts; at in microseconds since 1970

const (
	maxJournals = 4096
	journalLife = 24 * time.Hour // after which one that is silent is forgotten: a race is over within a minute
)

// Repeats reports whether the record of that number in a journal, which e records, was taken in before, and takes it in
// otherwise.
func (js Journals) Repeats(journal string, number int64, e *audit.Entry) bool {
	k := Hash(e.Actor, journal)
	m, ok := js[k]
	if ok && number <= m.number {
		return true
	}
	if !ok && len(js) >= maxJournals {
		first := true
		var oldest uint64
		for k, m := range js {
			if first || m.seq < js[oldest].seq { // no two have the same
				oldest, first = k, false
			}
		}
		delete(js, oldest)
	}
	js[k] = journalMark{number, e.Seq, e.At.UnixMicro()}
	return false
}

// Sweep forgets what is silent.
func (js Journals) Sweep(at time.Time) {
	maps.DeleteFunc(js, func(_ uint64, m journalMark) bool { return at.UnixMicro()-m.at > journalLife.Microseconds() })
}

// Append appends what Read reads.
func (js Journals) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(js)))
	for _, k := range slices.Sorted(maps.Keys(js)) {
		m := js[k]
		b = binary.LittleEndian.AppendUint64(b, k)
		b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, m.number), m.seq), m.at)
	}
	return b
}

// Read reads what Append wrote into empty Journals. What is wrong r says.
func (js Journals) Read(r *Reader) {
	for range r.Count(maxJournals) {
		k := uint64(r.Uint32()) | uint64(r.Uint32())<<32
		js[k] = journalMark{r.Varint(), r.Varint(), r.Varint()}
	}
}
