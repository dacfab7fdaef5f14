package audit_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// A past is what a log was when it was opened: from any entry on, to its end, whatever comes after.
func TestPast(t *testing.T) {
	store := &audittest.Memory{}
	l, _ := start(t, store, audit.Config{Heartbeat: -1})
	record := func() {
		t.Helper()
		if _, err := l.Record(t.Context(), draft("agent.put", `{"agent":{"id":"a"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 { // more batches than are read at a time
		record()
	}
	p, err := audit.NewPast(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	record()
	want := all(t, store)[:20]
	if got := p.Head(); got.Entries != 20 {
		t.Errorf("Head() = %+v, want 20 entries", got)
	}
	for _, after := range []int64{0, 1, 7, 8, 19, 20, 25} {
		got := []audit.Entry{}
		err := p.Follow(t.Context(), after, func(_ context.Context, es []audit.Entry) error {
			got = append(got, es...)
			return nil
		})
		if diff := cmp.Diff(want[min(after, 20):], got); err != nil || diff != "" {
			t.Errorf("Follow(%d) = %v (-want +got):\n%s", after, err, diff)
		}
	}

	stop := errors.New("enough")
	if err := p.Follow(t.Context(), 3, func(context.Context, []audit.Entry) error { return stop }); err != stop {
		t.Errorf("Follow = %v, want the error of its function", err)
	}
	store.Mutate(func(segs *[]audit.Segment, _ *[]tlog.Hash) { (*segs)[4].Data = (*segs)[5].Data })
	if err := p.Follow(t.Context(), 0, func(context.Context, []audit.Entry) error { return nil }); err == nil {
		t.Error("Follow reads a damaged log to its end")
	}
}
