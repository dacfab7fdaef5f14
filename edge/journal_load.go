package edge

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

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
