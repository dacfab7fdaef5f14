package escalation

import (
	"slices"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A ledger is a table of bounded size: rows for keys, in buckets of ways rows each. It takes memory as it is
// written to, at most buckets * ways rows.
type ledger[T row[T]] struct {
	buckets []*[ways]T // by the first bits of the key; nil, or as many as there can be
}

// A row knows its key; a row of key 0 is empty.
type row[T any] interface {
	comparable
	id() uint32
	append(b []byte) []byte
	read(r *conduct.Reader) T
}

const (
	bucketBits = 12
	ways       = 16
)

// bucket returns the rows among which those of a key are; nil if there are none.
func (l *ledger[T]) bucket(key uint32) *[ways]T {
	if l.buckets == nil {
		return nil
	}
	return l.buckets[key>>(32-bucketBits)]
}

// open returns the rows among which those of a key are, and makes room for them.
func (l *ledger[T]) open(key uint32) *[ways]T {
	if l.buckets == nil {
		l.buckets = make([]*[ways]T, 1<<bucketBits)
	}
	b := &l.buckets[key>>(32-bucketBits)]
	if *b == nil {
		*b = new([ways]T)
	}
	return *b
}

// append writes the rows in the order in which they stand.
func (l *ledger[T]) append(b []byte) []byte {
	var none T
	n := 0
	for _, rows := range l.buckets {
		if rows != nil {
			n++
		}
	}
	b = appendCount(b, n)
	for i, rows := range l.buckets {
		if rows == nil {
			continue
		}
		b = appendCount(b, i)
		used := ways
		for used > 0 && rows[used-1] == none {
			used--
		}
		b = appendCount(b, used)
		for _, q := range rows[:used] {
			b = q.append(b)
		}
	}
	return b
}

// read reads what append wrote. Rows that do not belong where they stand are damage.
func (l *ledger[T]) read(r *conduct.Reader) error {
	*l = ledger[T]{}
	last := -1
	for n := r.Count(1 << bucketBits); n > 0 && r.Err() == nil; n-- {
		i := r.Count(1<<bucketBits - 1)
		if i <= last {
			return damaged(r)
		}
		last = i
		used := r.Count(ways)
		if r.Err() != nil {
			break
		}
		rows := l.open(uint32(i) << (32 - bucketBits))
		for j := range rows[:used] {
			rows[j] = rows[j].read(r)
			if id := rows[j].id(); r.Err() == nil && (id == 0 || id>>(32-bucketBits) != uint32(i)) {
				return damaged(r)
			}
		}
	}
	return r.Err()
}

// place returns the index of the row to use for something new: an empty one, else one that is stale, else
// the oldest of whom has most rows there, so that whoever writes much pushes out his own. Who and when tell
// of a row whose it is and how old.
func place[T row[T]](rows *[ways]T, since uint32, who, when func(*T) uint32) int {
	for i := range rows {
		if rows[i].id() == 0 || when(&rows[i]) < since {
			return i
		}
	}
	var counts [ways]int
	for i := range rows {
		for j := range rows {
			if who(&rows[j]) == who(&rows[i]) {
				counts[i]++
			}
		}
	}
	most := slices.Max(counts[:])
	at := -1
	for i := range rows {
		if counts[i] == most && (at < 0 || when(&rows[i]) < when(&rows[at])) {
			at = i
		}
	}
	return at
}
