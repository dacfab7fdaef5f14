package edge_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/edge"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A disk is one that fails on cue.
type disk struct {
	mu    sync.Mutex
	room  int64 // bytes that fit; less than 0: as many as there are
	sync  error
	stuck bool // nothing can be cut off

	hang atomic.Pointer[func()] // called before each write
}

var errFull = errors.New("no space left on device")

func (d *disk) open(path string) (edge.File, error) {
	f, err := edge.OpenFile(path)
	return &failing{f, d}, err
}

func (d *disk) set(room int64, sync error, stuck bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room, d.sync, d.stuck = room, sync, stuck
}

type failing struct {
	edge.File
	d *disk
}

func (f *failing) Write(b []byte) (int, error) {
	if hang := f.d.hang.Load(); hang != nil {
		(*hang)()
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.room < 0 {
		return f.File.Write(b)
	}
	if int64(len(b)) <= f.d.room {
		f.d.room -= int64(len(b))
		return f.File.Write(b)
	}
	n, err := f.File.Write(b[:f.d.room])
	f.d.room = 0
	return n, errors.Join(err, errFull)
}

func (f *failing) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.sync != nil {
		return f.d.sync
	}
	return f.File.Sync()
}

func (f *failing) Truncate(n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.stuck {
		return errors.New("input/output error")
	}
	return f.File.Truncate(n)
}

func open(t *testing.T, dir string, opens ...func(string) (edge.File, error)) *edge.Journal {
	t.Helper()
	opens = append(opens, nil)
	j, err := edge.OpenJournal(dir, 64<<20, opens[0])
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (d *disk) files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// unsent returns all that waits.
func unsent(t *testing.T, j *edge.Journal) []string {
	t.Helper()
	_, all, err := j.Unsent(10000)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// An outcome is written with what is written next, or when nothing was for a while, and with what is decided after it has been
// begun anew it is of nothing if its decision was acknowledged.
func TestJournalNotes(t *testing.T) {
	dir := t.TempDir()
	d := &disk{room: -1}
	j := open(t, dir, d.open)
	write := func(body string) {
		t.Helper()
		if _, err := j.Append(body); err != nil {
			t.Fatal(err)
		}
	}
	note := func(of int64, body string, want error) {
		t.Helper()
		if err := j.Note(of, body); !errors.Is(err, want) {
			t.Errorf("Note(%d) = %v, want %v", of, err, want)
		}
	}
	has := func(when string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, unsent(t, j)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	note(1, `{}`, authz.ErrNotFound) // there is none yet
	write(`{"n":1}`)
	note(1, `{"of":1}`, nil)
	note(2, `{}`, authz.ErrNotFound)
	has("noted", `{"n":1}`)
	if n, _ := j.Pending(); n != 2 {
		t.Errorf("%d records are pending, want 2: what is noted is not sent yet", n)
	}
	write(`{"n":2}`)
	has("with the next write", `{"n":1}`, `{"n":2}`, `{"of":1}`)
	note(2, `{"of":2}`, nil)
	if err := j.WriteLater(); err != nil {
		t.Fatal(err)
	}
	has("without one", `{"n":1}`, `{"n":2}`, `{"of":1}`, `{"of":2}`)

	d.set(0, nil, false)
	note(2, `{"of":"full"}`, nil)
	if err := j.WriteLater(); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("on a disk that is full: %v, want %v", err, authz.ErrUnavailable)
	}
	d.set(-1, nil, false)
	write(`{"n":5}`)
	has("after a disk that was full", `{"n":1}`, `{"n":2}`, `{"of":1}`, `{"of":2}`, `{"n":5}`)

	note(5, `{"of":5}`, nil)
	note(2, `{"of":"gone"}`, nil)
	if err := j.Acknowledge(4, 4); err != nil {
		t.Fatal(err)
	}
	if err := j.Renew(); err != nil {
		t.Fatal(err)
	}
	for range 300 { // more than wait
		note(5, `{"of":5}`, nil)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	all := unsent(t, j)
	count := map[string]int{}
	for _, body := range all {
		count[body]++
	}
	if len(all) != 303 || all[0] != `{"n":5}` || count[`{"of":5}`] != 301 || count[`{}`] != 1 {
		t.Errorf("after the end there are %v of %d, want a decision, 301 outcomes of it, and one of nothing", count, len(all))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestJournalKeepsOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "of [one]*")
	j := open(t, dir)
	for i := 1; i <= 5; i++ {
		if n, err := j.Append(fmt.Sprintf(`{"n":%d}`, i)); n != int64(i) || err != nil {
			t.Fatalf("Append = %d, %v, want %d", n, err, i)
		}
	}
	if n, err := j.AppendOutcome(3, `{"result":"right"}`); n != 6 || err != nil {
		t.Fatalf("AppendOutcome = %d, %v, want 6", n, err)
	}
	if err := j.Acknowledge(2, 2); err != nil {
		t.Fatal(err)
	}
	name := j.Name()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	// What was acknowledged in the middle of a file is sent once more: the control plane knows it by its number.
	want := []string{`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`, `{"n":5}`, `{"result":"right"}`}
	if diff := cmp.Diff(want, unsent(t, j)); diff != "" {
		t.Errorf("after another start (-want +got):\n%s", diff)
	}
	if j.Name() != name {
		t.Errorf("the journal is called %q, want %q", j.Name(), name)
	}
	if err := j.Acknowledge(4, 3); err != nil { // more than was sent
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[4:], unsent(t, j)); diff != "" {
		t.Errorf("after 4 (-want +got):\n%s", diff)
	}
	if err := j.Acknowledge(100, 10); err != nil {
		t.Fatal(err)
	}
	if n, b := j.Pending(); n != 0 || b != 0 {
		t.Errorf("%d records of %d bytes wait, want none", n, b)
	}
	// What was acknowledged is not left on the disk, and numbers go on.
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	defer j.Close()
	if all := unsent(t, j); len(all) != 0 || j.Name() != name {
		t.Errorf("after the end of %q: %q holds %q, want nothing", name, j.Name(), all)
	}
	if n, err := j.Append(`{}`); n != 7 || err != nil {
		t.Errorf("Append = %d, %v, want 7", n, err)
	}
}

// Files end, and those that were acknowledged go.
func TestJournalFiles(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	big := `{"x":"` + strings.Repeat("y", 1<<20) + `"}`
	for range 20 {
		if _, err := j.Append(big); err != nil {
			t.Fatal(err)
		}
	}
	files := func() int { return len((*disk)(nil).files(t, dir)) }
	if n := files(); n < 3 {
		t.Errorf("%d files for 20 MiB, want 3", n)
	}
	sent := 0
	for {
		first, all, err := j.Unsent(1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			break
		}
		if first != int64(sent+1) {
			t.Fatalf("record %d is next, want %d", first, sent+1)
		}
		sent += len(all)
		if err := j.Acknowledge(int64(sent), 1000); err != nil {
			t.Fatal(err)
		}
	}
	if sent != 20 || files() != 1 {
		t.Errorf("%d records were sent and %d files are left, want 20 and 1", sent, files())
	}
	if n, err := j.Append(`{}`); n != 21 || err != nil {
		t.Errorf("Append = %d, %v, want 21", n, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := edge.CheckJournal(dir); n != 21 || err != nil {
		t.Errorf("%d records, %v, want 21", n, err)
	}
}

// Many that write at once share writes, and files end all the same.
func TestJournalShared(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	body := `{"x":"` + strings.Repeat("y", 50<<10) + `"}`
	const workers, each = 8, 60
	var all sync.WaitGroup
	var mu sync.Mutex
	ids := map[int64]bool{}
	for range workers {
		all.Go(func() {
			for range each {
				n, err := j.Append(body, body)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ids[n], ids[n+1] = true, true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(ids) != 2*workers*each || !ids[1] || !ids[2*workers*each] {
		t.Errorf("%d numbers were given, want each of %d", len(ids), 2*workers*each)
	}
	for _, file := range (*disk)(nil).files(t, dir) {
		if info, err := os.Stat(file); err != nil || info.Size() > 10<<20 {
			t.Errorf("%s has %d bytes, %v, want 8 MiB and a little", file, info.Size(), err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := edge.CheckJournal(dir); n != 2*workers*each || err != nil {
		t.Errorf("%d records, %v, want %d", n, err, 2*workers*each)
	}
}

func TestJournalTorn(t *testing.T) {
	whole := func(t *testing.T) (dir, file string, size int64) {
		dir = t.TempDir()
		j := open(t, dir)
		for i := range 3 {
			if _, err := j.Append(fmt.Sprintf(`{"n":%d}`, i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		file = (*disk)(nil).files(t, dir)[0]
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return dir, file, info.Size()
	}
	dir, file, size := whole(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head := int64(strings.IndexByte(string(text), '\n') + 1)
	for cut := size; cut >= 0; cut-- {
		if err := os.WriteFile(file, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		want := int64(strings.Count(string(text[:cut]), "\n") - 1)
		if n, err := edge.CheckJournal(dir); n != max(want, 0) || err != nil {
			t.Fatalf("cut at %d: %d records, %v, want %d", cut, n, err, want)
		}
		if cut < head { // it begins anew
			break
		}
	}
	for _, c := range []struct {
		name string
		text func([]byte) []byte
		want int64 // records; -1: damaged
	}{
		{"zeros at the end", func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, 3},
		{"a bit in the last record", func(b []byte) []byte { b[len(b)-3] ^= 1; return b }, 2},
		{"a bit in the first record", func(b []byte) []byte { b[head+20] ^= 1; return b }, -1},
		{"a record is missing", func(b []byte) []byte {
			lines := strings.SplitAfter(string(b), "\n")
			return []byte(lines[0] + lines[1] + lines[3])
		}, -1},
		{"another first line", func(b []byte) []byte { return append([]byte("x"), b...) }, -1},
		{"a line that never ends", func(b []byte) []byte { return append(b, make([]byte, 5<<20)...) }, 3},
	} {
		dir, file, _ := whole(t)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, c.text(b), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := edge.CheckJournal(dir)
		if c.want >= 0 && (n != c.want || err != nil) {
			t.Errorf("%s: %d records, %v, want %d", c.name, n, err, c.want)
		}
		if c.want < 0 && (!errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s: %v, want %v with the file's name", c.name, err, authz.ErrInvalid)
		}
	}
}

func TestJournalIsOneProcess(t *testing.T) {
	p := newPlane(t)
	cfg := p.config()
	run(t, cfg)
	second, err := edge.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, authz.ErrConflict) || !strings.Contains(err.Error(), cfg.Journal) {
		t.Errorf("Run on a journal in use: %v, want %v", err, authz.ErrConflict)
	}
}

// A disk that is full refuses; what was not written whole is not there, and nothing is lost or given twice.
func TestDiskFull(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		p := newPlane(t)
		p.full = true
		cfg := p.config()
		d := &disk{room: -1}
		r := run(t, cfg, d.open)
		req := handbook(t)
		answered := 0
		ask := func() error {
			req.Observed.RequestID = fmt.Sprint(answered)
			_, err := r.ask(req)
			if err == nil {
				answered++
			}
			return err
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		d.set(5000, nil, stuck)
		refused := 0
		for refused < 20 {
			if err := ask(); err != nil {
				refused++
				if !errors.Is(err, authz.ErrUnavailable) || refused == 1 && !strings.Contains(err.Error(), "no space") {
					t.Fatalf("Answer: %v, want %v and why", err, authz.ErrUnavailable)
				}
			}
		}
		if stuck {
			if err := r.Status().Err; !errors.Is(err, authz.ErrUnavailable) || !strings.Contains(err.Error(), cfg.Journal) {
				t.Errorf("Status says %v", err)
			}
		}
		d.set(-1, nil, false)
		for range 3 {
			if err := ask(); err != nil {
				t.Fatalf("with room again: %v", err)
			}
		}
		p.with(func() { p.full = false })
		for i, rec := range p.taken(answered) {
			dec, err := pdp.ParseRecord(rec.Decision)
			if err != nil {
				t.Fatal(err)
			}
			if got := dec.Request.Observed.RequestID; got != fmt.Sprint(i) {
				t.Errorf("record %d is of request %s", i+1, got)
			}
		}
	}
}

func TestSyncFails(t *testing.T) {
	dir := t.TempDir()
	d := &disk{room: -1}
	j := open(t, dir, d.open)
	if _, err := j.Append(`{"n":1}`); err != nil {
		t.Fatal(err)
	}
	d.set(0, errors.New("input/output error"), false)
	if err := j.Sync(); err == nil {
		t.Fatal("Sync does not fail")
	}
	if _, err := j.Append(`{"n":2}`); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Append after a failed sync: %v, want %v", err, authz.ErrUnavailable)
	}
	d.set(-1, nil, false)
	if n, err := j.Append(`{"n":2}`); n != 2 || err != nil {
		t.Errorf("Append = %d, %v, want 2", n, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := edge.CheckJournal(dir); n != 2 || err != nil {
		t.Errorf("%d records, %v, want 2", n, err)
	}
}

// A disk that hangs keeps nobody longer than he wants to wait, and not more than may wait; what was given up is written all the
// same, and so is what others wait for.
func TestDiskHangs(t *testing.T) {
	dir := t.TempDir()
	d := &disk{room: -1}
	j := open(t, dir, d.open)
	d.mu.Lock() // writes hang
	first := make(chan error, 1)
	go func() { _, err := j.Append(`{"n":1}`); first <- err }()
	ctx, cancel := context.WithCancel(t.Context())
	var some, others sync.WaitGroup
	waiting := func(n int) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); j.Waiters() != n; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d wait, want %d", j.Waiters(), n)
			}
		}
	}
	const gone = 5
	for end := time.Now().Add(20 * time.Second); !j.Writing() && time.Now().Before(end); {
		runtime.Gosched()
	}
	for range gone { // the first of them is to write what waits
		some.Go(func() {
			if _, err := j.AppendUntil(ctx, `{"gone":true}`); !errors.Is(err, authz.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("AppendUntil: %v, want %v", err, context.Canceled)
			}
		})
	}
	waiting(gone)
	for range edge.MaxWaiters - gone {
		others.Go(func() {
			if _, err := j.Append(`{"stays":true}`); err != nil {
				t.Errorf("Append of one that waits: %v", err)
			}
		})
	}
	waiting(edge.MaxWaiters)
	if _, err := j.Append(`{}`); !errors.Is(err, authz.ErrUnavailable) || !strings.Contains(err.Error(), "too slow") {
		t.Errorf("Append of one more: %v, want %v", err, authz.ErrUnavailable)
	}
	cancel()
	some.Wait()
	waiting(edge.MaxWaiters - gone)
	d.mu.Unlock()
	others.Wait()
	if err := <-first; err != nil {
		t.Error(err)
	}
	waiting(0)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := edge.CheckJournal(dir); n != edge.MaxWaiters+1 || err != nil {
		t.Errorf("%d records, %v, want %d", n, err, edge.MaxWaiters+1)
	}
}

// What took too long to record is no answer any more.
func TestSlowToRecord(t *testing.T) {
	p := newPlane(t)
	cfg := p.config()
	var ahead atomic.Int64
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	d := &disk{room: -1}
	r := run(t, cfg, d.open)
	hang := func() { ahead.Add(int64(6 * time.Second)) }
	d.hang.Store(&hang)
	a, err := r.ask(handbook(t))
	if !errors.Is(err, authz.ErrUnavailable) || !strings.Contains(err.Error(), "too slow") || a.ID != "" {
		t.Errorf("Answer that took 6 seconds to record: %s, %v, want %v", a.Code, err, authz.ErrUnavailable)
	}
	d.hang.Store(nil)
	if a, err := r.ask(handbook(t)); err != nil || !a.Allowed() {
		t.Errorf("afterwards: %s, %v, want it allowed", a.Code, err)
	}
	p.taken(2) // the log has both
}

func TestTooMuchPending(t *testing.T) {
	p := newPlane(t)
	p.full = true
	cfg := p.config()
	cfg.MaxPending = 1 << 20
	r := run(t, cfg)
	req := handbook(t)
	answered := 0
	var err error
	for answered < 10000 {
		if _, err = r.ask(req); err != nil {
			break
		}
		answered++
	}
	if !errors.Is(err, authz.ErrUnavailable) || !strings.Contains(err.Error(), "has not acknowledged") {
		t.Fatalf("after %d answers: %v, want %v and why", answered, err, authz.ErrUnavailable)
	}
	s := r.Status()
	if s.Err == nil || s.Pending != int64(answered) || s.PendingBytes < 1<<20 || s.Oldest.IsZero() {
		t.Errorf("Status = %+v, want %d records pending", s, answered)
	}
	p.with(func() { p.full = false })
	p.taken(answered)
	r.until("it answers again", func() bool { _, err := r.ask(req); return err == nil })
}

// A journal that the control plane has forgotten is begun anew, with what was not acknowledged.
func TestForgottenJournal(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	a, err := r.ask(req)
	if err != nil {
		t.Fatal(err)
	}
	p.taken(1)
	r.until("acknowledged", func() bool { return r.Status().Pending == 0 })
	p.with(func() { p.forgets = true })
	b, err := r.ask(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Outcome(t.Context(), b.ID, client.Outcome{Result: client.Right}); err != nil {
		t.Fatal(err)
	}
	all := p.taken(2)
	if len(all) == 2 && (all[0].Decision == nil || all[1].Of != 1) {
		t.Errorf("taken in: %s, outcome of %d, want a decision and its outcome", all[0].Decision, all[1].Of)
	}
	r.until("acknowledged", func() bool { return r.Status().Pending == 0 })
	if err := r.Outcome(t.Context(), a.ID, client.Outcome{}); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("outcome of a decision of before: %v, want %v", err, authz.ErrNotFound)
	}
	if c, err := r.ask(req); err != nil || c.ID == a.ID || c.ID == b.ID {
		t.Errorf("Answer = %s, %v, want an id that was not given before", c.ID, err)
	}
}

// A crash while a journal is begun anew leaves the old one or the new one.
func TestRenewalCrashes(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	for i := range 4 {
		if _, err := j.Append(fmt.Sprintf(`{"n":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Acknowledge(2, 2); err != nil {
		t.Fatal(err)
	}
	first := (*disk)(nil).files(t, dir)[0]
	old, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Renew(); err != nil {
		t.Fatal(err)
	}
	want := []string{`{"n":2}`, `{"n":3}`}
	if diff := cmp.Diff(want, unsent(t, j)); diff != "" {
		t.Errorf("the new journal (-want +got):\n%s", diff)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first, old, 0o600); err != nil { // which was not removed yet
		t.Fatal(err)
	}
	j = open(t, dir)
	if diff := cmp.Diff(want, unsent(t, j)); diff != "" {
		t.Errorf("after the crash (-want +got):\n%s", diff)
	}
	if files := (*disk)(nil).files(t, dir); len(files) != 1 || files[0] == first {
		t.Errorf("files: %q, want one, and not the old one", files)
	}
	// Ids go on, so that none of them names another decision than before.
	if n, err := j.Append(`{"n":4}`); n != 5 || err != nil {
		t.Errorf("Append = %d, %v, want 5", n, err)
	}
	if _, err := j.AppendOutcome(2, `{}`); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("the outcome of a decision of the old journal: %v, want %v", err, authz.ErrNotFound)
	}
	if n, err := j.AppendOutcome(4, `{"of":4}`); n != 6 || err != nil {
		t.Errorf("AppendOutcome = %d, %v, want 6", n, err)
	}
	if err := j.Renew(); err != nil {
		t.Fatal(err)
	}
	if n, err := j.Append(`{"n":5}`); n != 7 || err != nil {
		t.Errorf("Append = %d, %v, want 7", n, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := edge.CheckJournal(dir); n != 5 || err != nil {
		t.Errorf("%d records, %v, want 5", n, err)
	}
}

// What is answered is in the journal, also if that could not be begun anew.
func TestRenewalFails(t *testing.T) {
	for _, stuck := range []bool{false, true} { // whether the new file cannot be taken back either
		dir, fail := t.TempDir(), false
		j := open(t, dir, func(path string) (edge.File, error) {
			if !fail {
				return edge.OpenFile(path)
			}
			if stuck { // a directory that is not empty
				if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o700)); err != nil {
					t.Fatal(err)
				}
			}
			return nil, errors.New("too many open files")
		})
		if _, err := j.Append(`{"n":1}`, `{"n":2}`); err != nil {
			t.Fatal(err)
		}
		fail = true
		if err := j.Renew(); err == nil || !strings.Contains(err.Error(), "too many open files") {
			t.Fatalf("Renew: %v, want why it fails", err)
		}
		fail = false
		want := []string{`{"n":1}`, `{"n":2}`}
		_, err := j.Append(`{"n":3}`)
		if stuck {
			if !errors.Is(err, authz.ErrUnavailable) || !strings.Contains(err.Error(), "too many open files") {
				t.Errorf("Append: %v, want %v and why", err, authz.ErrUnavailable)
			}
			if err := os.RemoveAll((*disk)(nil).files(t, dir)[1]); err != nil {
				t.Fatal(err)
			}
		} else {
			if err != nil {
				t.Errorf("Append after a renewal that was taken back: %v", err)
			}
			want = append(want, `{"n":3}`)
		}
		if err := j.Renew(); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Append(`{"n":4}`); err != nil {
			t.Fatal(err)
		}
		want = append(want, `{"n":4}`)
		j.Abandon()
		j = open(t, dir)
		if diff := cmp.Diff(want, unsent(t, j)); diff != "" {
			t.Errorf("after a crash (-want +got):\n%s", diff)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that fails when a file has just been begun is written again once it does not.
func TestEmptyFileFails(t *testing.T) {
	for name, fail := range map[string]func(*disk, *edge.Journal) error{
		"to sync": func(d *disk, j *edge.Journal) error {
			d.set(-1, errors.New("input/output error"), false)
			return j.Sync()
		},
		"to write, and to cut off what was written": func(d *disk, j *edge.Journal) error {
			d.set(5, nil, true)
			_, err := j.Append(`{}`)
			return err
		},
	} {
		dir := t.TempDir()
		d := &disk{room: -1}
		j := open(t, dir, d.open)
		if err := fail(d, j); err == nil {
			t.Fatalf("%s: it does not fail", name)
		}
		d.set(-1, nil, false)
		for i := range 3 {
			if n, err := j.Append(`{}`); n != int64(i+1) || err != nil {
				t.Errorf("%s: Append = %d, %v, want %d", name, n, err, i+1)
			}
		}
		if err := j.Sync(); err != nil {
			t.Errorf("%s: Sync: %v", name, err)
		}
		j.Abandon()
		if n, err := edge.CheckJournal(dir); n != 3 || err != nil {
			t.Errorf("%s: %d records, %v, want 3", name, n, err)
		}
	}
}

// A loss of power takes the end of a file, and leaves what follows it in another. What is left keeps its numbers.
func TestPowerLoss(t *testing.T) {
	for name, cut := range map[string]int64{"within a record": 10, "a whole record": 1<<20 + 24, "more": 3 << 20} {
		dir := t.TempDir()
		j := open(t, dir)
		pad := `{"x":"` + strings.Repeat("y", 1<<20) + `"}`
		for range 8 {
			if _, err := j.Append(pad); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := j.Append(`{"n":9}`); err != nil {
			t.Fatal(err)
		}
		j.Abandon()
		files := (*disk)(nil).files(t, dir)
		if len(files) != 2 {
			t.Fatalf("files: %q, want two", files)
		}
		info, err := os.Stat(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(files[0], info.Size()-cut); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it is repaired once
			if n, err := edge.CheckJournal(dir); n != 9 || err != nil {
				t.Fatalf("%s: %d records, %v, want 9", name, n, err)
			}
		}
		j = open(t, dir)
		last := ""
		for after := int64(0); after < 9; {
			first, some, err := j.Unsent(100)
			if err != nil || first != after+1 || len(some) == 0 {
				t.Fatalf("%s: Unsent = %d, %d records, %v, want %d", name, first, len(some), err, after+1)
			}
			after, last = after+int64(len(some)), some[len(some)-1]
			if err := j.Acknowledge(after, 100); err != nil {
				t.Fatal(err)
			}
		}
		if last != `{"n":9}` {
			t.Errorf("%s: record 9 is %.40q, want what was written", name, last)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Not even the first line of what was begun last, and of what was before that, has reached the disk.
	dir := t.TempDir()
	j := open(t, dir)
	if _, err := j.Append(`{"n":1}`); err != nil {
		t.Fatal(err)
	}
	j.Abandon()
	for _, first := range []int{5, 9} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d.journal", first)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := edge.CheckJournal(dir); n != 1 || err != nil {
		t.Errorf("%d records, %v, want 1", n, err)
	}
}

// childEnv makes a process of the test the one that is killed.
const childEnv = "SAFECONDUCT_EDGE_CHILD"

// child decides without end and says the id of each decision once it is answered, if this process is the child.
func child() bool {
	url, dir, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		return false
	}
	p, err := edge.New(edge.Config{URL: url, Token: edgeToken, Journal: dir})
	if err != nil {
		panic(err)
	}
	go p.Run(context.Background())
	<-p.Ready()
	var out sync.Mutex
	req := authz.Request{
		Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "support-1"}}, Action: authz.Action{Name: "read_document"},
		Resource: authz.Entity{Ref: authz.Ref{Type: "Document", ID: "doc-1"}},
	}
	for range 4 {
		go func() {
			for {
				all, err := p.Answer(context.Background(), &client.Question{Requests: []authz.Request{req}})
				out.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println(all[0].ID)
				}
				out.Unlock()
			}
		}()
	}
	select {}
}

// Whatever was answered is in the journal, however the process ends.
func TestKill(t *testing.T) {
	p := newPlane(t)
	p.full = true
	dir := t.TempDir()
	const kills = 5
	answered, last := 0, int64(0)
	for range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+p.URL+" "+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		seen := 0
		for lines.Scan() {
			var n int64
			if _, err := fmt.Sscanf(lines.Text(), "e%d", &n); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			answered++
			last = max(last, n)
			if seen++; seen == 500 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
	}
	have, err := edge.CheckJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	if have < last || answered < 500*kills {
		t.Errorf("%d records, of which %d were answered and the last is %d", have, answered, last)
	}
	// And all of it reaches the control plane, once.
	p.with(func() { p.full = false })
	cfg := p.config()
	cfg.Journal = dir
	run(t, cfg)
	p.taken(int(have))
	t.Logf("%d answers seen before %d kills, %d records", answered, kills, have)
}

func FuzzJournalLine(f *testing.F) {
	f.Add(edge.AppendLine(1, `{"n":1}`))
	f.Add([]byte("00000000 d 1 0 {}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, ok := edge.ParseLine(b); ok && string(again) != string(b) {
			t.Errorf("%q is written as %q", b, again)
		}
	})
}

func FuzzJournalFile(f *testing.F) {
	f.Add([]byte("safeconduct-journal 1 A 1\n"), []byte(""))
	f.Add([]byte("safeconduct-journal 1 A 1\n"), edge.AppendLine(1, `{}`))
	f.Fuzz(func(t *testing.T, head, rest []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, "00000000000000000001.journal")
		if err := os.WriteFile(file, append(head, rest...), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := edge.CheckJournal(dir)
		if err != nil && !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%v, want %v", err, authz.ErrInvalid)
		}
		if again, aerr := edge.CheckJournal(dir); err == nil && (aerr != nil || again != n) {
			t.Errorf("repaired: %d records, then %d, %v", n, again, aerr)
		}
	})
}

func FuzzEvents(f *testing.F) {
	f.Add("retry: 3000\nid: 1\nevent: head\ndata: {}\n\n: beat\n\ndata\ndata: x\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := edge.Events(strings.NewReader(s))
		if err == nil || n > strings.Count(s, "data") {
			t.Errorf("%d events of %q, %v", n, s, err)
		}
	})
}
