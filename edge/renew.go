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

// renewed is what a journal that is begun anew is called before the files of the old one are gone.
const renewed = "renewed"

// sentUpTo returns the number of the last record that was acknowledged.
func (j *journal) sentUpTo() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.acked
}

// nameNow returns the journal's name.
func (j *journal) nameNow() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.name
}

// id returns by what a record is known outside: e and its number, counted on from the journals that this one followed
// since it was opened. The caller holds j.mu.
func (j *journal) id(number int64) int64 { return j.base + number }

// renew begins another journal with what was not acknowledged. Outcomes of decisions that were are dropped: in the
// new journal they are of nothing. Nobody writes meanwhile.
//
// The new file is whole before any of the old ones goes, and its name says so to whoever opens the journal after a crash.
func (j *journal) renew() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.writing {
		j.idle.Wait()
	}
	if j.done {
		return authz.Errorf(authz.ErrUnavailable, "the journal is closed")
	}
	name, shift := rand.Text(), j.acked
	text, seed := headLine(name, 1), seedOf(name, 1)
	head, count := int64(len(text)), int64(0)
	for i := range j.files {
		s := &j.files[i]
		old, err := os.ReadFile(s.path)
		if err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		size := s.size
		if i == len(j.files)-1 {
			size = j.size
		}
		if int64(len(old)) < size {
			return damaged(s.path, "it has %d bytes of %d", len(old), size)
		}
		for line := range bytes.Lines(old[s.head:size]) {
			rec, ok := parseLine(line, seedOf(j.name, s.first))
			if !ok {
				return damaged(s.path, "a record is not what was written")
			}
			if rec.number <= shift {
				continue
			}
			e := entry{kind: rec.kind, of: rec.of, body: rec.body}
			if e.kind == 'o' {
				if e.of -= shift; e.of <= 0 {
					e = entry{kind: 'o', body: []byte("{}")} // its number is taken, and it is refused there
				}
			}
			count++
			text = appendLine(text, seed, count, &e)
		}
	}
	if err := writeWhole(j.dir, renewed, text); err != nil {
		return err
	}
	for i := range j.files {
		if err := os.Remove(j.files[i].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	path := filepath.Join(j.dir, fileName(1))
	if err := os.Rename(filepath.Join(j.dir, renewed), path); err != nil {
		return err
	}
	f, err := j.open(path)
	if err != nil {
		return err
	}
	j.old = append(j.old, j.cur)
	j.base += shift
	j.name, j.seed, j.cur, j.size, j.dirty = name, seed, f, int64(len(text)), true
	j.files = []segment{{path: path, first: 1, head: head, sent: head}}
	j.acked, j.written, j.next, j.pending = 0, count, count+1, j.size-head
	j.oldest.reset()
	if count > 0 {
		j.oldest.add(count, now())
	}
	return nil
}

// finishRenewal finishes what a crash has interrupted.
func finishRenewal(dir string) error {
	whole := filepath.Join(dir, renewed)
	if _, err := os.Stat(whole); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	names, err := journalFiles(dir)
	if err != nil {
		return err
	}
	for _, path := range names {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return os.Rename(whole, filepath.Join(dir, fileName(1)))
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
