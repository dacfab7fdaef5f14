package edge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A batch is some records that wait to be sent.
type batch struct {
	first   int64
	records []record
	end     int64 // where the last of them ends in its file
	file    int64 // first record of that file
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 64<<10) }}

// unsent returns up to most records that follow a number, of one file and up to that many bytes, but one at least; none if there
// are none.
func (j *journal) unsent(after int64, most int, bytes int) (batch, error) {
	j.mu.Lock()
	var seg segment
	var end int64
	for i, s := range j.files {
		last := j.written
		if i+1 < len(j.files) {
			last = j.files[i+1].first - 1
		}
		if after < last {
			if seg, end = s, s.size; i+1 == len(j.files) {
				end = j.size
			}
			break
		}
	}
	j.mu.Unlock()
	b := batch{first: after + 1, file: seg.first}
	if seg.path == "" {
		return b, nil
	}
	if after+1 < seg.first {
		return b, fmt.Errorf("record %d is not in the journal any more", after+1)
	}
	f, err := os.Open(seg.path)
	if err != nil {
		return b, fmt.Errorf("reading the journal: %w", err)
	}
	defer f.Close()
	from, number := seg.head, seg.first
	if seg.upTo <= after { // where it was left off
		from, number = seg.sent, seg.upTo+1
	}
	r := readers.Get().(*bufio.Reader)
	r.Reset(io.NewSectionReader(f, from, end-from))
	defer func() {
		r.Reset(nil)
		readers.Put(r)
	}()
	seed, total := seg.seed, 0
	for ; len(b.records) < most; number++ {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		rec, ok := parseLine(line, seed)
		if err != nil || !ok || rec.number != number {
			return b, damaged(seg.path, "record %d, at byte %d, is not what was written", number, from)
		}
		if total += len(rec.body); len(b.records) > 0 && total > bytes {
			break
		}
		from += int64(len(line))
		if number > after {
			b.records, b.end = append(b.records, rec), from
		}
	}
	return b, nil
}

// acknowledge says that everything up to a number is in the log; what is is forgotten.
func (j *journal) acknowledge(last int64, b *batch) {
	j.mu.Lock()
	last = min(last, j.written)
	if last <= j.acked {
		j.mu.Unlock()
		return
	}
	j.acked = last
	j.oldest.drop(last)
	if last == j.written && j.size >= smallest && !j.writing && j.err == nil {
		if err := j.begin(); err != nil && j.warn != nil {
			j.warn("no new file of the journal could be begun", "err", err)
		}
	}
	var gone []string
	for len(j.files) > 1 && j.files[1].first <= last+1 {
		gone = append(gone, j.files[0].path)
		j.files = j.files[1:]
	}
	j.pending = 0
	for i := range j.files {
		s := &j.files[i]
		if s.first == b.file && last == b.first+int64(len(b.records))-1 {
			s.sent, s.upTo = b.end, last
		}
		size := s.size
		if i == len(j.files)-1 {
			size = j.size
		}
		j.pending += size - s.sent
	}
	j.mu.Unlock()
	j.discard(gone)
}

// moments are the times of the last records of a minute, roughly: one each second at most.
type moments struct {
	all []moment
}

type moment struct {
	last int64
	at   time.Time
}

const maxMoments = 4096

// add notes that records up to a number were written at a time.
func (m *moments) add(last int64, at time.Time) {
	if n := len(m.all); n > 0 && (at.Sub(m.all[n-1].at) < time.Second || n == maxMoments) {
		m.all[n-1].last = last
		return
	}
	m.all = append(m.all, moment{last, at})
}

// drop forgets records up to a number.
func (m *moments) drop(last int64) {
	n := 0
	for n < len(m.all) && m.all[n].last <= last {
		n++
	}
	m.all = m.all[:copy(m.all, m.all[n:])]
}

func (m *moments) reset() { m.all = m.all[:0] }

func (m *moments) first() time.Time {
	if len(m.all) == 0 {
		return time.Time{}
	}
	return m.all[0].at
}
