package edge

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"time"

	"github.com/safeconduct/safeconduct/internal/feed"
)

// A File is what a journal needs of a file.
type File = file

// SetOpen sets how the journal's files are opened.
func SetOpen(p *Point, open func(path string) (File, error)) { p.open = open }

// OpenFile opens a file of a journal.
func OpenFile(path string) (File, error) { return openFile(path) }

// CheckJournal reads what a directory holds, repairs it, and returns the numbers of its records.
func CheckJournal(dir string) (records int64, err error) {
	j, err := openJournal(dir, 1<<30, nil, nil)
	if err != nil {
		return 0, err
	}
	n := j.written
	return n, j.close()
}

// A Journal is a journal, for tests.
type Journal struct{ j *journal }

// OpenJournal opens one.
func OpenJournal(dir string, most int64, open func(string) (File, error)) (*Journal, error) {
	j, err := openJournal(dir, most, open, nil)
	return &Journal{j}, err
}

// Append writes decisions.
func (j *Journal) Append(bodies ...string) (int64, error) {
	var all []entry
	for _, b := range bodies {
		all = append(all, entry{kind: 'd', body: []byte(b)})
	}
	return j.j.append(context.Background(), all...)
}

// MaxWaiters is how many may wait while somebody writes.
const MaxWaiters = maxWaiters

// Waiters returns how many do.
func (j *Journal) Waiters() int {
	j.j.mu.Lock()
	defer j.j.mu.Unlock()
	return j.j.waiters
}

// Writing reports whether somebody writes.
func (j *Journal) Writing() bool {
	j.j.mu.Lock()
	defer j.j.mu.Unlock()
	return j.j.writing
}

// AppendUntil writes a decision, or waits until ctx ends.
func (j *Journal) AppendUntil(ctx context.Context, body string) (int64, error) {
	return j.j.append(ctx, entry{kind: 'd', body: []byte(body)})
}

// AppendOutcome writes an outcome.
func (j *Journal) AppendOutcome(of int64, body string) (int64, error) {
	return j.j.append(context.Background(), entry{kind: 'o', of: of, body: []byte(body)})
}

// Note has an outcome go with the next write, and WriteLater writes it if there has been none.
func (j *Journal) Note(of int64, body string) error {
	return j.j.note(context.Background(), of, []byte(body))
}

// WriteLater writes what Note was given.
func (j *Journal) WriteLater() error { return j.j.writeLater(context.Background()) }

// Unsent returns the bodies of up to most records that were not acknowledged, and the number of the first.
func (j *Journal) Unsent(most int) (first int64, bodies []string, err error) {
	b, err := j.j.unsent(j.j.sentUpTo(), most, 1<<20)
	for _, r := range b.records {
		bodies = append(bodies, string(r.body))
	}
	return b.first, bodies, err
}

// Acknowledge acknowledges records up to a number, of a batch of up to most.
func (j *Journal) Acknowledge(last int64, most int) error {
	b, err := j.j.unsent(j.j.sentUpTo(), most, 1<<20)
	j.j.acknowledge(last, &b)
	return err
}

// Name returns the journal's name.
func (j *Journal) Name() string { return j.j.nameNow() }

// Renew begins another journal.
func (j *Journal) Renew() error { return j.j.renew() }

// Sync syncs it.
func (j *Journal) Sync() error { return j.j.sync() }

// Pending returns how many records and bytes wait.
func (j *Journal) Pending() (int64, int64) { n, b, _, _ := j.j.state(); return n, b }

// Close closes it.
func (j *Journal) Close() error { return j.j.close() }

// Abandon lets go of it as a process does that is killed.
func (j *Journal) Abandon() { j.j.lock.Close() }

// Events reads events until the end, and returns how many there were.
func Events(r io.Reader) (n int, err error) {
	e := newEvents(r)
	for {
		if _, err := e.next(); err != nil {
			return n, err
		}
		n++
	}
}

// ParseLine reads a line of a journal, and writes it again.
func ParseLine(line []byte) ([]byte, bool) {
	rec, ok := parseLine(line, 7)
	if !ok {
		return nil, false
	}
	return appendLine(nil, 7, rec.number, &entry{rec.kind, rec.of, rec.body}), true
}

// AppendLine writes a line of a journal.
func AppendLine(number int64, body string) []byte {
	return appendLine(nil, 7, number, &entry{kind: 'd', body: []byte(body)})
}

// A Picture is what one feed has told, for tests.
type Picture struct{ p *picture }

// NewPicture returns an empty one.
func NewPicture() *Picture { return &Picture{newPicture(time.Now)} }

// Tell takes in the data of an event agent.
func (p *Picture) Tell(data []byte) error {
	var a feed.Agent
	if err := json.Unmarshal(data, &a); err != nil {
		return err
	}
	return p.p.tell(&a)
}

// FillProofs has as many proofs be remembered as may be.
func FillProofs(p *Point) {
	s := &p.passports.proofs
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range uint32(maxProofs) {
		var id [16]byte
		binary.BigEndian.PutUint32(id[:], i)
		s.half[0].ids[id] = struct{}{}
	}
}
