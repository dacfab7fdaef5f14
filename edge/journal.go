package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/lockfile"
)

// A journal is what was decided and has not reached the control plane: files of lines, each of which is written
// before the answer that it records is given.
//
//	safeconduct-journal 1 NAME FIRST [BASE]     the first line of a file; see journal.base
//	CRC d NUMBER 0 {"request":...}              a decision
//	CRC o NUMBER OF {"result":...}              an outcome of decision number OF
//
// CRC is CRC-32C, in hex, over the file's first line and the rest of the line. Records count from 1 without gaps,
// from file to file. A file that was begun anew supersedes those of before: its name says so. What is written survives the end of the process, however it ends; the disk is told to keep it
// every syncEvery, so that a loss of power loses no more than that.
//
// Writers that come while another one writes share the next write: numbers are given under mu, and so is the
// place in it.
type journal struct {
	dir  string
	max  int64 // bytes that may be pending
	open func(path string) (file, error)
	lock *os.File
	name string
	more chan struct{} // says that there is something to send
	warn func(msg string, args ...any)

	mu      sync.Mutex
	cur     file   // the last of files
	size    int64  // of cur: what it is known to hold
	seed    uint32 // of the CRCs of cur
	files   []segment
	old     []past   // to be synced, then closed
	trash   []string // files that could not be removed yet
	begun   string   // a file that could neither be begun nor removed; "" if there is none
	stuck   error    // why nothing can be written before the journal is begun anew; nil if it can
	next    int64    // number of the next record
	written int64    // of the last record that is written
	buf     []byte   // lines that wait for the next write
	spare   []byte   // to swap with buf
	waiting *share   // who waits for it; nil if nobody
	waiters int      // how many wait while somebody writes
	writing bool     // whether somebody writes
	dirty   bool     // whether something is not synced
	err     error    // why nothing can be written; nil if something can
	acked   int64    // number of the last record that was acknowledged
	pending int64    // bytes that were not
	done    bool     // closed
	used    bool     // whether it was there when it was opened
	idle    *sync.Cond
	oldest  moments // when records were written

	gen  int64 // how often it was begun anew in its directory
	base int64 // see id
}

// A past is a file that is not written any more.
type past struct {
	file
	gone bool // nothing in it is needed
}

// now is the time of the journal's own notes, which nothing depends on.
func now() time.Time { return time.Now() }

// A file is what a journal needs of *os.File.
type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// A segment is one file of a journal.
type segment struct {
	path  string
	first int64  // number of its first record
	size  int64  // of all but the last segment, whose size is journal.size
	head  int64  // bytes of its first line
	sent  int64  // bytes that were acknowledged, the first line included
	upTo  int64  // number of the last record in them
	seed  uint32 // of the CRCs in it
}

// A share is one write that several wait for.
type share struct {
	lead chan struct{} // closed when its first waiter is to write it
	done chan struct{} // closed when it is written, or not
	err  error
}

const (
	segmentSize = 8 << 20
	smallest    = 64 << 10 // a file of less is not ended only because all of it was acknowledged
	maxLine     = 4 << 20
	maxWaiters  = 4096 // that wait while somebody writes
	syncEvery   = 100 * time.Millisecond
	magic       = "safeconduct-journal 1 "
	suffix      = ".journal"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An entry is a record before it has a number.
type entry struct {
	kind byte   // d or o
	of   int64  // of an outcome: the id of its decision, until it has a number itself
	body []byte // JSON on one line
}

// openFile opens a file of a journal, or makes it.
func openFile(path string) (file, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
}

// openJournal takes a directory for this process, and repairs what a crash has left there. authz.ErrConflict: another
// process has it. authz.ErrInvalid: something in it was damaged that no crash damages.
func openJournal(dir string, most int64, open func(string) (file, error), warn func(string, ...any)) (*journal, error) {
	if open == nil {
		open = openFile
	}
	j := &journal{dir: dir, max: most, open: open, warn: warn, more: make(chan struct{}, 1), next: 1}
	j.idle = sync.NewCond(&j.mu)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the journal's directory: %w", err)
	}
	var err error
	if j.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("opening the journal's lock: %w", err)
	}
	if err = lockfile.Take(j.lock); errors.Is(err, lockfile.ErrTaken) {
		err = authz.Errorf(authz.ErrConflict, "the journal %s is in use by another process: give each its own directory", dir)
	}
	if err == nil {
		err = j.load()
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(err, j.lock.Close())
	}
	return j, nil
}

// load reads what is there, and opens the last file for more.
func (j *journal) load() error {
	names, before, gen, err := journalFiles(j.dir)
	if err != nil {
		return fmt.Errorf("looking into the journal: %w", err)
	}
	for _, path := range before {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("beginning the journal anew: %w", err)
		}
	}
	j.gen = gen
	torn := false // whether the files so far lack an end
	j.used = len(names) > 0
	for _, path := range names {
		seg, count, err := j.read(path)
		if err != nil {
			return err
		}
		if seg == nil { // it had not even its first line
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("removing an empty file of the journal: %w", err)
			}
			torn = true
			continue
		}
		if n := len(j.files); n > 0 && seg.first != j.next {
			// A file is ended when it is full. One that is not has lost its end to a loss of power.
			if !torn && j.files[n-1].size >= segmentSize || seg.first < j.next {
				return damaged(path, "record %d should come first, not %d: a file is missing", j.next, seg.first)
			}
			if err := j.fill(seg.first); err != nil {
				return err
			}
		}
		torn = false
		j.files = append(j.files, *seg)
		j.next = seg.first + count
		j.pending += seg.size - seg.head
	}
	j.written = j.next - 1
	if len(j.files) == 0 {
		if j.name == "" {
			j.name = rand.Text()
		}
		return j.begin()
	}
	j.acked = j.files[0].first - 1
	if j.pending > 0 {
		j.oldest.add(j.written, now()) // no earlier time is known
		j.wake()
	}
	seg := &j.files[len(j.files)-1]
	if j.cur, err = j.open(seg.path); err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	j.size, j.seed = seg.size, seg.seed
	return nil
}

// fill takes the numbers of records that were lost, up to that of the next one that was not. In the log they are refused.
func (j *journal) fill(next int64) error {
	s := &j.files[len(j.files)-1]
	if next-j.next > segmentSize/16 {
		return damaged(s.path, "%d records are missing after it", next-j.next)
	}
	var text []byte
	for n := j.next; n < next; n++ {
		text = appendLine(text, s.seed, n, &lost)
	}
	f, err := j.open(s.path)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("repairing the journal: %w", err)
	}
	if j.warn != nil {
		j.warn("journal has lost records, whose numbers are taken by others that say nothing", "file", s.path, "first", j.next, "last", next-1)
	}
	s.size += int64(len(text))
	j.pending += int64(len(text))
	j.next = next
	return nil
}

// lost takes the number of a record that is lost: an outcome of nothing, which the control plane refuses, and its log says so.
var lost = entry{kind: 'o', body: []byte("{}")}

// journalFiles returns the files of a journal, by their first records: their names have a fixed width. Before are those of the
// journals that it followed, gen how many these were.
func journalFiles(dir string) (names, before []string, gen int64, err error) {
	all, err := os.ReadDir(dir)
	for _, e := range all { // sorted
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		of := int64(0)
		if rest, renewed := strings.CutPrefix(name, "r"); renewed {
			number, _, _ := strings.Cut(rest, "-")
			if of, ok = count([]byte(strings.TrimLeft(number, "0"))); !ok {
				continue
			}
		}
		if of > gen {
			names, before, gen = nil, append(before, names...), of
		}
		names = append(names, filepath.Join(dir, e.Name()))
	}
	return names, before, gen, err
}

func damaged(path, format string, args ...any) error {
	return authz.Errorf(authz.ErrInvalid, "the journal's file %s is damaged: %s; keep its directory, and give the decision point a new one", path, fmt.Sprintf(format, args...))
}

// read checks one file and returns it, nil if it has not even its first line, and how many records it holds. A torn end is cut off.
func (j *journal) read(path string) (*segment, int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the journal: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	head, err := r.ReadString('\n')
	if err != nil {
		if !errors.Is(err, io.EOF) {
			return nil, 0, fmt.Errorf("reading the journal: %w", err)
		}
		return nil, 0, nil
	}
	name, first, base, ok := parseHead(head)
	if !ok || filepath.Base(path) != fileName(j.gen, first) || j.name != "" && (name != j.name || base != j.base) {
		return nil, 0, damaged(path, "its first line is not what it should be")
	}
	j.name, j.base = name, base
	seed := seedOf([]byte(head))
	seg := &segment{path: path, first: first, head: int64(len(head)), size: int64(len(head)), sent: int64(len(head)), upTo: first - 1, seed: seed}
	for n := first; ; n++ {
		line, err := readLine(r)
		if len(line) == 0 && errors.Is(err, io.EOF) {
			return seg, n - first, nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLong) {
			return nil, 0, fmt.Errorf("reading the journal: %w", err)
		}
		rec, ok := parseLine(line, seed)
		if ok && rec.number == n {
			seg.size += int64(len(line))
			continue
		}
		if ok || anyLine(r, seed) {
			return nil, 0, damaged(path, "record %d, at byte %d, is not what was written", n, seg.size)
		}
		if j.warn != nil {
			j.warn("journal had a torn end, which is cut off", "file", path, "record", n, "at", seg.size)
		}
		if err := f.Truncate(seg.size); err != nil {
			return nil, 0, fmt.Errorf("cutting off the journal's torn end: %w", err)
		}
		return seg, n - first, f.Sync()
	}
}

var errLong = errors.New("line too long")

// readLine returns the next line, its end included. What has no end has an error.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
		if len(line) > maxLine {
			return line, errLong
		}
	}
}

// anyLine reports whether a whole record follows.
func anyLine(r *bufio.Reader, seed uint32) bool {
	for {
		line, err := readLine(r)
		if _, ok := parseLine(line, seed); ok {
			return true
		}
		if err != nil && !errors.Is(err, errLong) {
			return false
		}
	}
}

func fileName(gen, first int64) string {
	if gen > 0 {
		return fmt.Sprintf("r%09d-%020d%s", gen, first, suffix)
	}
	return fmt.Sprintf("%020d%s", first, suffix)
}

func headLine(name string, first, base int64) []byte {
	b := strconv.AppendInt(append([]byte(magic+name), ' '), first, 10)
	if base > 0 {
		b = strconv.AppendInt(append(b, ' '), base, 10)
	}
	return append(b, '\n')
}

func seedOf(head []byte) uint32 { return crc32.Checksum(head, castagnoli) }

// parseHead reads the first line of a file.
func parseHead(line string) (name string, first, base int64, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), magic)
	if !ok {
		return "", 0, 0, false
	}
	name, rest, _ = strings.Cut(rest, " ")
	number, more, has := strings.Cut(rest, " ")
	first, ok = count([]byte(number))
	if has && ok {
		base, ok = count([]byte(more))
	}
	if !ok || first < 1 || name == "" || len(name) > 64 || string(headLine(name, first, base)) != line {
		return "", 0, 0, false
	}
	return name, first, base, true
}

// A record is one line of a journal.
type record struct {
	kind       byte
	number, of int64
	body       []byte
}

// appendLine appends a line.
func appendLine(b []byte, seed uint32, number int64, e *entry) []byte {
	start := len(b)
	b = append(b, "00000000 "...)
	b = append(b, e.kind, ' ')
	b = strconv.AppendInt(b, number, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.of, 10)
	b = append(b, ' ')
	b = append(b, e.body...)
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Update(seed, castagnoli, b[start+9:]))
	hex.Encode(b[start:], sum[:])
	return append(b, '\n')
}

// parseLine reads a line, and reports whether it is what was written.
func parseLine(line []byte, seed uint32) (rec record, ok bool) {
	text, ok := bytes.CutSuffix(line, []byte{'\n'})
	if !ok || len(text) < 16 || text[8] != ' ' || text[10] != ' ' {
		return rec, false
	}
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Update(seed, castagnoli, text[9:]))
	if string(text[:8]) != hex.EncodeToString(sum[:]) {
		return rec, false
	}
	number, rest, _ := bytes.Cut(text[11:], []byte{' '})
	of, body, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return rec, false
	}
	rec = record{kind: text[9], body: body}
	var okNumber, okOf bool
	rec.number, okNumber = count(number)
	rec.of, okOf = count(of)
	return rec, okNumber && okOf && (rec.kind == 'd' || rec.kind == 'o')
}

// count reads a number as it is written: without a sign, and without zeros before it.
func count(b []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == string(b)
}

// begin begins a file with the next record. The caller holds j.mu, or is alone; nobody writes.
func (j *journal) begin() error {
	path := filepath.Join(j.dir, fileName(j.gen, j.next))
	if _, err := os.Lstat(path); path != j.begun && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("beginning a file of the journal: there is a file %s already", path), err)
	}
	f, err := j.open(path)
	if err != nil {
		return fmt.Errorf("beginning a file of the journal: %w", err)
	}
	head := headLine(j.name, j.next, j.base)
	if err := writeHead(f, head); err != nil {
		rerr := errors.Join(f.Close(), os.Remove(path))
		if rerr != nil {
			j.begun = path
		}
		return errors.Join(fmt.Errorf("beginning a file of the journal: %w", err), rerr)
	}
	if j.cur != nil {
		j.old = append(j.old, past{file: j.cur})
		j.files[len(j.files)-1].size = j.size
	}
	j.begun = ""
	j.cur, j.size, j.seed = f, int64(len(head)), seedOf(head)
	j.files = append(j.files, segment{path: path, first: j.next, head: j.size, sent: j.size, upTo: j.next - 1, seed: j.seed})
	j.dirty = true
	return nil
}

// writeHead writes the first line of a file, whatever has been left in that by an earlier try.
func writeHead(f file, head []byte) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	n, err := f.Write(head)
	if err == nil && n != len(head) {
		err = io.ErrShortWrite
	}
	return err
}

// append writes entries together, and returns the id of the first once they are written. authz.ErrUnavailable: they are
// not, or ctx ended before that was known.
func (j *journal) append(ctx context.Context, entries ...entry) (int64, error) {
	j.mu.Lock()
	if j.writing { // a disk that hangs must not collect all who ask
		if j.waiters >= maxWaiters {
			j.mu.Unlock()
			return 0, authz.Errorf(authz.ErrUnavailable, "the journal %s is too slow: %d answers wait to be written", j.dir, maxWaiters)
		}
		j.waiters++
		defer func() {
			j.mu.Lock()
			j.waiters--
			j.mu.Unlock()
		}()
	}
	for j.writing && j.size+int64(len(j.buf)) >= segmentSize {
		j.idle.Wait() // for the next file: lines are made for one
	}
	if err := j.accepts(); err != nil {
		j.mu.Unlock()
		return 0, err
	}
	first := j.id(j.next)
	for i := range entries {
		if e := &entries[i]; e.kind == 'o' {
			switch id := e.of; {
			case id >= first:
				j.mu.Unlock()
				return 0, authz.Errorf(authz.ErrNotFound, "no decision has the id e%d", id)
			case id <= j.base:
				j.mu.Unlock()
				return 0, authz.Errorf(authz.ErrNotFound, "the decision e%d is too old: the control plane has forgotten the journal that it was in", id)
			}
			e.of -= j.base
		}
	}
	for i := range entries {
		j.buf = appendLine(j.buf, j.seed, j.next, &entries[i])
		j.next++
	}
	if j.writing {
		s := j.waiting
		if s == nil {
			s = &share{lead: make(chan struct{}), done: make(chan struct{})}
			j.waiting = s
			j.mu.Unlock()
			select {
			case <-s.done: // the write before failed
				return first, s.err
			case <-s.lead:
				return first, j.write()
			case <-ctx.Done():
				go func() { // for those that wait for it
					select {
					case <-s.done:
					case <-s.lead:
						_ = j.write() // those have it
					}
				}()
				return 0, gaveUp(ctx)
			}
		}
		j.mu.Unlock()
		select {
		case <-s.done:
			return first, s.err
		case <-ctx.Done():
			return 0, gaveUp(ctx)
		}
	}
	j.writing = true
	err := j.flush()
	j.mu.Unlock()
	return first, err
}

// write writes what waits, in one's turn.
func (j *journal) write() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writing = true
	return j.flush()
}

// gaveUp is the error of who waits no longer. What was to be written may be, as a decision that nobody heard of.
func gaveUp(ctx context.Context) error {
	return authz.Errorf(authz.ErrUnavailable, "waiting for the journal: %w", ctx.Err())
}

// accepts returns why nothing can be written, if nothing can. The caller holds j.mu.
func (j *journal) accepts() error {
	switch {
	case j.stuck != nil:
		return authz.Errorf(authz.ErrUnavailable, "the journal %s could not be begun anew: %w", j.dir, j.stuck)
	case j.done:
		return authz.Errorf(authz.ErrUnavailable, "the journal is closed: the decision point has ended")
	case j.pending+int64(len(j.buf)) > j.max:
		return authz.Errorf(authz.ErrUnavailable, "the journal %s holds %d bytes that the control plane has not acknowledged, and may hold %d: see why it does not", j.dir, j.pending, j.max)
	case j.err != nil && !j.writing:
		if err := j.repair(); err != nil {
			return authz.Errorf(authz.ErrUnavailable, "the journal %s cannot be written: %w", j.dir, err)
		}
	case j.err != nil:
		return authz.Errorf(authz.ErrUnavailable, "the journal %s cannot be written: %w", j.dir, j.err)
	}
	return nil
}

// repair cuts off what a write has left that failed, and begins another file, or the same one anew if there is nothing in it. The
// caller holds j.mu; nobody writes.
func (j *journal) repair() error {
	if s := &j.files[len(j.files)-1]; s.first == j.next {
		if err := writeHead(j.cur, headLine(j.name, s.first, j.base)); err != nil {
			return err
		}
		j.size, j.dirty, j.err = s.head, true, nil
		return nil
	}
	if err := j.cur.Truncate(j.size); err != nil {
		return err
	}
	if err := j.begin(); err != nil {
		return err
	}
	j.err = nil
	return nil
}

// flush writes what waits, and lets the next one write. The caller holds j.mu, which is free meanwhile, and has set j.writing.
func (j *journal) flush() error {
	mine, buf, last := j.waiting, j.buf, j.next-1
	j.waiting, j.buf, j.spare = nil, j.spare[:0], nil
	f := j.cur
	j.mu.Unlock()
	n, err := f.Write(buf)
	if err == nil && n != len(buf) {
		err = io.ErrShortWrite
	}
	j.mu.Lock()
	if cap(buf) <= 1<<20 {
		j.spare = buf[:0]
	}
	if err != nil {
		err = authz.Errorf(authz.ErrUnavailable, "the journal %s cannot be written: %w", j.dir, err)
		// Those that wait for the next write have numbers that follow: they go with it.
		had := j.err
		j.err, j.buf, j.next = err, j.buf[:0], j.written+1
		if w := j.waiting; w != nil {
			j.waiting, w.err = nil, err
			close(w.done)
		}
		if terr := f.Truncate(j.size); terr == nil {
			j.err = had // as if nothing had been
		}
	} else {
		if j.acked == j.written {
			j.oldest.reset()
		}
		j.size += int64(len(buf))
		j.pending += int64(len(buf))
		j.written, j.dirty = last, true
		j.oldest.add(last, now())
		if j.size >= segmentSize && len(j.buf) == 0 {
			if berr := j.begin(); berr != nil && j.warn != nil { // the old one does as well
				j.warn("no new file of the journal could be begun", "err", berr)
			}
		}
		j.wake()
	}
	if mine != nil {
		mine.err = err
		close(mine.done)
	}
	if w := j.waiting; w != nil {
		close(w.lead)
	} else {
		j.writing = false
		j.idle.Broadcast()
	}
	return err
}

// wake says that there is something to send.
func (j *journal) wake() {
	select {
	case j.more <- struct{}{}:
	default:
	}
}

// sync tells the disk to keep what was written. If it cannot, nothing more is written before it can again.
func (j *journal) sync() error {
	j.mu.Lock()
	if !j.dirty && len(j.old) == 0 && len(j.trash) == 0 {
		j.mu.Unlock()
		return nil
	}
	cur, old, trash := j.cur, j.old, j.trash
	j.old, j.trash, j.dirty = nil, nil, false
	j.mu.Unlock()
	var err error
	for _, f := range old { // before the one that follows them
		if !f.gone {
			err = errors.Join(err, f.Sync())
		}
		err = errors.Join(err, f.Close())
	}
	j.discard(trash)
	err = errors.Join(err, cur.Sync())
	if len(old) > 0 && err == nil {
		err = syncDir(j.dir)
	}
	if err == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dirty = true
	if j.err == nil && cur == j.cur {
		// What a failed sync has not kept will not be kept by the next one, so that goes on with another file.
		j.err = fmt.Errorf("syncing it: %w", err)
	}
	return err
}

// A batch is some records that wait to be sent.
type batch struct {
	first   int64
	records []record
	end     int64 // where the last of them ends in its file
	file    int64 // first record of that file
}

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
	r := bufio.NewReaderSize(io.NewSectionReader(f, from, end-from), 1<<20)
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

// discard removes files of which nothing is needed. One that cannot be removed, as where it is still open, is tried again
// at every sync; left behind it would only be sent once more.
func (j *journal) discard(paths []string) {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			j.mu.Lock()
			j.trash = append(j.trash, path)
			j.mu.Unlock()
		}
	}
}

// state returns how many records and bytes are pending, when the oldest was written, and why nothing can be written.
func (j *journal) state() (records, size int64, oldest time.Time, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.done, j.stuck != nil:
		err = j.accepts()
	case j.err != nil:
		err = authz.Errorf(authz.ErrUnavailable, "the journal %s cannot be written: %w", j.dir, j.err)
	case j.pending > j.max:
		err = j.accepts()
	}
	if j.written > j.acked {
		oldest = j.oldest.first()
	}
	return j.written - j.acked, j.pending, oldest, err
}

// close ends the journal. Nothing is written afterwards, and nothing is left that was acknowledged.
func (j *journal) close() error {
	j.mu.Lock()
	if j.done {
		j.mu.Unlock()
		return nil
	}
	j.done = true
	// Who writes at this moment still does; the file is closed behind it.
	for j.writing {
		j.idle.Wait()
	}
	var gone []string
	if j.acked == j.written && j.err == nil && j.written >= j.files[len(j.files)-1].first && j.begin() == nil {
		for _, s := range j.files[:len(j.files)-1] {
			gone = append(gone, s.path)
		}
	}
	j.mu.Unlock()
	err := j.sync()
	for _, path := range append(gone, j.trash...) {
		if rerr := os.Remove(path); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return errors.Join(err, j.cur.Close(), j.lock.Close())
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

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // where directories cannot be synced
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
