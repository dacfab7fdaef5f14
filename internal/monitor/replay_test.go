package monitor_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

func TestReplay(t *testing.T) {
	w := newWorld(t)
	w.live(rand.New(rand.NewPCG(11, 12)), 10, 900)
	g := bot("low", "team")
	w.put(g)
	w.sink(g)
	n := int64(len(w.log))
	found := all(t, w.m, 100)
	replay := func(from, to int64, other *catalog.Conduct) *monitor.Comparison {
		t.Helper()
		c, err := monitor.Replay(t.Context(), w, w.catalog, from, to, other)
		if err != nil {
			t.Fatalf("Replay(%d, %d): %v", from, to, err)
		}
		return c
	}
	same := replay(1, n, nil)
	total := int64(0)
	for kind, c := range same.Counts {
		if c[0] != c[1] {
			t.Errorf("concluded again, %s: %d and %d findings", kind, c[0], c[1])
		}
		total += c[0]
	}
	if same.Entries != n || total != int64(len(found)) || len(same.Findings) != 0 || len(same.Trust) != 0 {
		t.Errorf("concluded again: %d entries, %d findings, %d and %d differences; want %d and %d", same.Entries, total, len(same.Findings), len(same.Trust), n, len(found))
	}
	off := catalog.DefaultConduct()
	off.Deviation.Off, off.Escalation.Off, off.Performance.Off, off.Compliance.Off, off.Asking.Off = true, true, true, true, true
	none := replay(1, n, &off)
	if len(none.Findings) != len(found) || len(none.Trust) == 0 {
		t.Errorf("with all monitors off %d findings and %d levels differ, want %d and some", len(none.Findings), len(none.Trust), len(found))
	}
	for _, d := range none.Findings {
		if d.Only != "before" {
			t.Errorf("with all monitors off there is %+v", d)
		}
	}
	late := replay(n/2, n, &off)
	if late.Entries != n-n/2+1 || len(late.Findings) >= len(none.Findings) || late.Findings[0].Finding.AsOf < n/2 {
		t.Errorf("from the middle: %d entries, %d findings differ", late.Entries, len(late.Findings))
	}
	for _, r := range [][2]int64{{0, 5}, {5, 4}} {
		if _, err := monitor.Replay(t.Context(), w, w.catalog, r[0], r[1], nil); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Replay(%d, %d): %v, want authz.ErrInvalid", r[0], r[1], err)
		}
	}
	if c, err := monitor.Replay(t.Context(), ended{w}, w.catalog, 1, n+1, nil); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Replay beyond the end of a log that ends = %v, %v, want authz.ErrInvalid", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := monitor.Replay(ctx, w, w.catalog, 1, n+1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Replay beyond the end, cancelled: %v", err)
	}
}

// ended is the log of a world, which returns at its end, as an audit.Past does.
type ended struct{ *world }

func (e ended) Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error {
	return f(ctx, e.log[after:])
}
