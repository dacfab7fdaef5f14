package edge

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
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
	later   []entry  // outcomes that go with the next write
	riding  int      // how many outcomes in buf nobody waits for
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

const (
	segmentSize = 8 << 20
	smallest    = 64 << 10 // a file of less is not ended only because all of it was acknowledged
	maxLine     = 4 << 20
	maxWaiters  = 4096 // that wait while somebody writes
	syncEvery   = 100 * time.Millisecond
	magic       = "safeconduct-journal 1 "
	suffix      = ".journal"
)

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

// state returns how many records are pending, how many bytes of them are written, when the oldest was written, and why nothing can be written.
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
	return j.written - j.acked + int64(len(j.later)), j.pending, oldest, err
}

// close ends the journal. Nothing is written afterwards, and nothing is left that was acknowledged.
func (j *journal) close() error {
	j.mu.Lock()
	if j.done {
		j.mu.Unlock()
		return nil
	}
	j.done = true // nothing is added from here on
	// Who writes at this moment still does; the file is closed behind it.
	for j.writing {
		j.idle.Wait()
	}
	var lerr error
	switch n := len(j.later); {
	case n > 0 && j.err == nil && j.stuck == nil:
		j.lineLater()
		j.writing = true
		lerr = j.flush()
	case n > 0 && j.warn != nil:
		j.warn("outcomes of acts are not recorded, nor reported", "outcomes", n, "err", cmp.Or(j.stuck, j.err))
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
	return errors.Join(lerr, err, j.cur.Close(), j.lock.Close())
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
