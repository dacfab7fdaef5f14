package edge

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/safeconduct/safeconduct/authz"
)

// sentUpTo returns the number of the last record that was acknowledged.
func (j *journal) sentUpTo() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.acked
}

// writtenUpTo returns the number of the last record that is written.
func (j *journal) writtenUpTo() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.written
}

// nameNow returns the journal's name.
func (j *journal) nameNow() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.name
}

// id returns by what a record is known outside: e and its number, counted on from the journals that this one followed
// in its directory. The caller holds j.mu.
func (j *journal) id(number int64) int64 { return j.base + number }

// renew begins another journal with what was not acknowledged. Outcomes of decisions that were are dropped: in the
// new journal they are of nothing. Nobody writes meanwhile.
//
// The new file is whole once it is there, and supersedes the old ones by its name, also for whoever opens the journal after a
// crash. So from then on nothing may be written into those: if the new one cannot be used and not be taken back either, nothing
// is, until the next try.
func (j *journal) renew() error {
	gone, err := j.anew()
	j.discard(gone)
	return err
}

// anew is renew, and returns the files of which nothing is needed any more.
func (j *journal) anew() (gone []string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.writing {
		j.idle.Wait()
	}
	if j.done {
		return nil, authz.Errorf(authz.ErrUnavailable, "the journal is closed")
	}
	name, shift := rand.Text(), j.acked
	text := headLine(name, 1, j.base+shift)
	seed, head, n := seedOf(text), int64(len(text)), int64(0)
	for i := range j.files {
		s := &j.files[i]
		old, err := os.ReadFile(s.path)
		if err != nil {
			return nil, fmt.Errorf("reading the journal: %w", err)
		}
		size := s.size
		if i == len(j.files)-1 {
			size = j.size
		}
		if int64(len(old)) < size {
			return nil, damaged(s.path, "it has %d bytes of %d", len(old), size)
		}
		for line := range bytes.Lines(old[s.head:size]) {
			rec, ok := parseLine(line, s.seed)
			if !ok {
				return nil, damaged(s.path, "a record is not what was written")
			}
			if rec.number <= shift {
				continue
			}
			e := entry{kind: rec.kind, of: rec.of, body: rec.body}
			if e.kind == 'o' {
				if e.of -= shift; e.of <= 0 {
					e = lost
				}
			}
			n++
			text = appendLine(text, seed, n, &e)
		}
	}
	path := filepath.Join(j.dir, fileName(j.gen+1, 1))
	err = writeWhole(j.dir, filepath.Base(path), text)
	var f file
	if err == nil {
		f, err = j.open(path)
	}
	if err != nil {
		j.stuck = nil
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) || syncDir(j.dir) != nil {
			j.stuck = err
		}
		return nil, err
	}
	for _, s := range j.files {
		gone = append(gone, s.path)
	}
	j.old = append(j.old, past{file: j.cur})
	for i := range j.old {
		j.old[i].gone = true
	}
	j.gen, j.base = j.gen+1, j.base+shift
	j.name, j.seed, j.cur, j.size, j.dirty, j.err, j.stuck = name, seed, f, int64(len(text)), true, nil, nil
	j.files = []segment{{path: path, first: 1, head: head, sent: head, seed: seed}}
	j.acked, j.written, j.next, j.pending = 0, n, n+1, j.size-head
	j.oldest.reset()
	if n > 0 {
		j.oldest.add(n, now())
	}
	return gone, nil
}

// writeWhole writes a file that is whole, on the disk, or not there.
func writeWhole(dir, name string, text []byte) error {
	tmp, err := os.CreateTemp(dir, ".whole-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // unless it has its name by then
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}
