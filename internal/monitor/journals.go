package monitor

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Journals know how far the journals of decision points elsewhere have come, as far as it takes to tell a record that
// stands in the log twice: when two replicas were sent the same, the second counts for nothing.
type journals map[uint64]journalMark // by a hash of the caller and the journal

type journalMark struct{ number, seq, at int64 } // of the newest record that counts; at in microseconds since 1970

const (
	maxJournals = 4096
	journalLife = 24 * time.Hour // after which one that is silent is forgotten: a race is over within a minute
)

var errRepeated = authz.Errorf(authz.ErrConflict, "the record of this number is in the log already")

// repeats reports whether a record was taken in before, and takes it in otherwise.
func (js journals) repeats(actor, journal string, number int64, e *audit.Entry) bool {
	k := conduct.Hash(actor, journal)
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

// sweep forgets, once a day, what is silent.
func (js journals) sweep(at time.Time) {
	maps.DeleteFunc(js, func(_ uint64, m journalMark) bool { return at.UnixMicro()-m.at > journalLife.Microseconds() })
}

func (js journals) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(js)))
	for _, k := range slices.Sorted(maps.Keys(js)) {
		m := js[k]
		b = binary.LittleEndian.AppendUint64(b, k)
		b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, m.number), m.seq), m.at)
	}
	return b
}

// read reads what append wrote into empty journals. What is wrong r says.
func (js journals) read(r *conduct.Reader) {
	for range r.Count(maxJournals) {
		k := uint64(r.Uint32()) | uint64(r.Uint32())<<32
		js[k] = journalMark{r.Varint(), r.Varint(), r.Varint()}
	}
}
