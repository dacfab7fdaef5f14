package audit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// mustVerify verifies a whole store and fails the test if anything is wrong.
func mustVerify(t testing.TB, store audit.Store) *audit.Report {
	t.Helper()
	r, err := audit.Verify(context.Background(), store, []note.Verifier{testKey(t, "example.com/log").Verifier()}, audit.VerifyOptions{})
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	if err := r.Err(); err != nil {
		t.Fatalf("Verify found %d faults, first: %v", r.FaultCount, err)
	}
	return r
}

func TestVerify(t *testing.T) {
	store := &audittest.Memory{}
	l, stop := start(t, store, audit.Config{Heartbeat: -1})
	fill(t, l, 3, 1, 4, 1, 5, 9, 2, 6)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	l, stop = start(t, store, audit.Config{Heartbeat: -1})
	fill(t, l, 5, 3, 5)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	r := mustVerify(t, store)
	if r.Entries != 44 || r.Batches != 11 || r.Signed != 11 || r.Writers != 2 || r.Kinds["k"] != 44 {
		t.Errorf("Verify = %+v", r)
	}
}

// Whatever is tampered with is found, and where.
func TestVerifyFindsTampering(t *testing.T) {
	v := []note.Verifier{testKey(t, "example.com/log").Verifier()}
	type mutation = func(segs *[]audit.Segment, hs *[]tlog.Hash)
	for name, c := range map[string]struct {
		change mutation
		seq    int64 // of the first fault, 0 for any
		want   string
	}{
		"data": {func(segs *[]audit.Segment, _ *[]tlog.Hash) { flip((*segs)[2].Data, 15) }, 5, ""},
		"leaf": {func(segs *[]audit.Segment, _ *[]tlog.Hash) {
			s := &(*segs)[2]
			s.Leaf = []byte(strings.Replace(string(s.Leaf), "\n5 4\n", "\n5 3\n", 1))
		}, 5, "its leaf"},
		"stored hash":        {func(_ *[]audit.Segment, hs *[]tlog.Hash) { (*hs)[4][0] ^= 1 }, 0, "stored hash"},
		"stored hashes lost": {func(_ *[]audit.Segment, hs *[]tlog.Hash) { *hs = (*hs)[:6] }, 0, "missing"},
		"middle removed":     {func(segs *[]audit.Segment, _ *[]tlog.Hash) { *segs = append((*segs)[:2], (*segs)[3:]...) }, 9, "batch 3 is in the place"},
		"end removed":        {func(segs *[]audit.Segment, _ *[]tlog.Hash) { *segs = (*segs)[:7] }, 26, "a signed checkpoint 8"},
		"two batches swapped": {func(segs *[]audit.Segment, _ *[]tlog.Hash) {
			(*segs)[1].Data, (*segs)[3].Data = (*segs)[3].Data, (*segs)[1].Data
		}, 4, ""},
		"everything removed":   {func(segs *[]audit.Segment, _ *[]tlog.Hash) { *segs = nil }, 1, "the log has 0 batches"},
		"a batch of another":   {func(segs *[]audit.Segment, _ *[]tlog.Hash) { (*segs)[3] = foreignSegment(t, (*segs)[3]) }, 9, "goes on with its entry"},
		"bytes after a batch":  {func(segs *[]audit.Segment, _ *[]tlog.Hash) { (*segs)[7].Data = append((*segs)[7].Data, 0) }, 26, ""},
		"nothing in a segment": {func(segs *[]audit.Segment, _ *[]tlog.Hash) { (*segs)[4].Data = nil }, 10, ""},
	} {
		store := &audittest.Memory{}
		l, stop := start(t, store, audit.Config{Heartbeat: -1})
		fill(t, l, 3, 1, 4, 1, 5, 9, 2, 6)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		mustVerify(t, store)
		store.Mutate(c.change)
		r, err := audit.Verify(t.Context(), store, v, audit.VerifyOptions{})
		if err != nil {
			t.Errorf("%s: Verify: %v", name, err)
			continue
		}
		if !errors.Is(r.Err(), authz.ErrInvalid) || !strings.Contains(r.Err().Error(), c.want) || c.seq != 0 && r.Faults[0].Seq != c.seq {
			t.Errorf("%s: first fault is %v (entry %d), want one of entry %d with %q", name, r.Err(), seqOf(r), c.seq, c.want)
		}
	}
}

func flip(b []byte, i int) { b[i] ^= 0x10 }

func seqOf(r *audit.Report) int64 {
	if len(r.Faults) == 0 {
		return -1
	}
	return r.Faults[0].Seq
}

// foreignSegment returns a well-formed segment in the place of s.
func foreignSegment(t testing.TB, s audit.Segment) audit.Segment {
	store := &audittest.Memory{}
	l, stop := start(t, store, audit.Config{Heartbeat: -1})
	fill(t, l, 3, 1, 4, 1)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	segs, err := store.Segments(t.Context(), s.First-1, 1)
	if err != nil || len(segs) != 1 {
		t.Fatal(err)
	}
	return segs[0]
}

// A log that was rewritten by somebody who has its key is found out by a checkpoint kept elsewhere.
func TestVerifyAgainstKeptCheckpoint(t *testing.T) {
	v := []note.Verifier{testKey(t, "example.com/log").Verifier()}
	var stores [2]audittest.Memory
	var kept []byte
	for i := range stores {
		l, stop := start(t, &stores[i], audit.Config{Heartbeat: -1})
		fill(t, l, 3, 1, 4)
		cp, err := l.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			kept = cp.Note
		}
		fill(t, l, 1, 5)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []bool{true, false} {
		r, err := audit.Verify(t.Context(), &stores[i], v, audit.VerifyOptions{Checkpoints: [][]byte{kept}})
		if err != nil || r.Checkpoints != 2 || (r.Err() == nil) != want {
			t.Errorf("history %d: Verify = %v, %v, want whole: %t", i, r.Err(), err, want)
		}
	}
}

func TestVerifyReportsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		l, stop := start(t, store, audit.Config{})
		time.Sleep(time.Minute)
		if _, err := l.Record(t.Context(), draft(audit.ServiceStopping, `{}`)); err != nil {
			t.Fatal(err)
		}
		_ = stop()
		time.Sleep(time.Hour)
		l, stop = start(t, store, audit.Config{})
		fill(t, l, 1)
		_ = stop()
		time.Sleep(2 * time.Hour)
		l, stop = start(t, store, audit.Config{})
		fill(t, l, 1)
		_ = stop()
		r := mustVerify(t, store)
		if len(r.Silences) != 2 || !r.Silences[0].Announced || r.Silences[1].Announced || r.Longest != 2*time.Hour {
			t.Errorf("silences %+v, longest %v, want an announced hour and two hours", r.Silences, r.Longest)
		}
	})
}
