package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// segment returns a segment of n entries that follows h. Its hashes continue the tree in db.
func segment(ctx context.Context, db audit.Store, h audit.Head, n int, data []byte) (audit.Segment, error) {
	leaf := fmt.Appendf(nil, "leaf %d", h.Batches)
	hashes, err := tlog.StoredHashesForRecordHash(h.Batches, tlog.RecordHash(leaf), tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		return db.Hashes(ctx, indexes)
	}))
	return audit.Segment{Batch: h.Batches, First: h.Entries + 1, Count: n, Data: data, Leaf: leaf, Hashes: hashes}, err
}

// fill appends segments of n entries each, until there are batches of them.
func fill(t testing.TB, db audit.Store, batches int64, n int) audit.Head {
	t.Helper()
	ctx := context.Background()
	h, err := db.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for h.Batches < batches {
		s, err := segment(ctx, db, h, n, fmt.Appendf(nil, "data %d", h.Batches))
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Append(ctx, h, s); err != nil {
			t.Fatalf("Append(%+v): %v", h, err)
		}
		h = audit.Head{Entries: h.Entries + int64(n), Batches: h.Batches + 1}
	}
	return h
}

func TestLog(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		open := func(t *testing.T) *store.DB { return storetest.OpenConfig(t, config(t)) }

		t.Run("empty", func(t *testing.T) {
			db := open(t)
			h, err := db.Head(ctx)
			if err != nil || h != (audit.Head{}) {
				t.Errorf("Head() = %+v, %v, want the zero Head", h, err)
			}
			ss, err := db.Segments(ctx, 0, 10)
			if err != nil || len(ss) != 0 {
				t.Errorf("Segments(0) = %v, %v, want none", ss, err)
			}
			_, err = db.Hashes(ctx, []int64{0})
			wantKind(t, "Hashes(0)", err, authz.ErrNotFound)
			_, err = db.Hashes(ctx, []int64{-1})
			wantKind(t, "Hashes(-1)", err, authz.ErrInvalid)
			_, err = db.Checkpoint(ctx)
			wantKind(t, "Checkpoint", err, authz.ErrNotFound)
		})

		t.Run("round trip", func(t *testing.T) {
			db := open(t)
			big := bytes.Repeat([]byte{0, 1, 0xff, '\''}, 1<<15) // beyond a page, and what text cannot hold
			want := []audit.Segment{}
			h := audit.Head{}
			for _, data := range [][]byte{big, {}, nil, {0}} {
				s, err := segment(ctx, db, h, 3, data)
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Append(ctx, h, s); err != nil {
					t.Fatal(err)
				}
				h = audit.Head{Entries: h.Entries + 3, Batches: h.Batches + 1}
				s.Hashes = nil
				if s.Data == nil {
					s.Data = []byte{}
				}
				want = append(want, s)
			}
			db = storetest.Reopen(t, db)
			got, err := db.Segments(ctx, 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if got[i].Data == nil { // an empty value has two forms
					got[i].Data = []byte{}
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("Segments(0) (-want +got):\n%s", d)
			}
			if got, err := db.Head(ctx); err != nil || got != h {
				t.Errorf("Head() = %+v, %v, want %+v", got, err, h)
			}
		})

		t.Run("paging", func(t *testing.T) {
			db := open(t)
			fill(t, db, 10, 5) // entries 1-5, 6-10, ... 46-50
			for _, c := range []struct {
				after int64
				limit int
				want  []int64 // batches
			}{
				{0, 3, []int64{0, 1, 2}},
				{4, 2, []int64{0, 1}}, // entry 5 is in the first
				{5, 2, []int64{1, 2}},
				{44, 9, []int64{8, 9}},
				{49, 9, []int64{9}},
				{50, 9, nil},
				{1 << 40, 9, nil},
				{0, 0, nil},
			} {
				ss, err := db.Segments(ctx, c.after, c.limit)
				if err != nil {
					t.Fatal(err)
				}
				var got []int64
				for _, s := range ss {
					got = append(got, s.Batch)
					if s.First != s.Batch*5+1 || s.Count != 5 {
						t.Errorf("segment %d has %d entries from %d, want 5 from %d", s.Batch, s.Count, s.First, s.Batch*5+1)
					}
				}
				if d := cmp.Diff(c.want, got); d != "" {
					t.Errorf("Segments(%d, %d) (-want +got):\n%s", c.after, c.limit, d)
				}
			}
		})

		t.Run("conflict", func(t *testing.T) {
			db := open(t)
			h := fill(t, db, 3, 2)
			try := func(what string, old audit.Head, kind error, change func(*audit.Segment)) {
				t.Helper()
				s, err := segment(ctx, db, h, 1, []byte("x"))
				if err != nil {
					t.Fatal(err)
				}
				s.Batch, s.First = old.Batches, old.Entries+1
				if change != nil {
					change(&s)
				}
				wantKind(t, what, db.Append(ctx, old, s), kind)
				if got, err := db.Head(ctx); err != nil || got != h {
					t.Fatalf("after %s, Head() = %+v, %v, want %+v", what, got, err, h)
				}
			}
			try("behind", audit.Head{Entries: 4, Batches: 2}, authz.ErrConflict, nil)
			try("at the start", audit.Head{}, authz.ErrConflict, nil)
			try("ahead", audit.Head{Entries: 8, Batches: 4}, authz.ErrConflict, nil)
			try("entries behind", audit.Head{Entries: 5, Batches: 3}, authz.ErrConflict, nil)
			try("entries ahead", audit.Head{Entries: 7, Batches: 3}, authz.ErrConflict, nil)
			try("start with entries", audit.Head{Entries: 6}, authz.ErrInvalid, nil)
			try("gap", h, authz.ErrInvalid, func(s *audit.Segment) { s.First++ })
			try("no entries", h, authz.ErrInvalid, func(s *audit.Segment) { s.Count = 0 })
			fill(t, db, 4, 2)
		})

		t.Run("two appenders", func(t *testing.T) {
			db := open(t)
			const each, appenders = 60, 3
			var conflicts, won [appenders]int
			var wg sync.WaitGroup
			for a := range appenders {
				wg.Go(func() {
					for won[a] < each {
						h, err := db.Head(ctx)
						if err != nil {
							t.Error(err)
							return
						}
						s, err := segment(ctx, db, h, 1+a, fmt.Appendf(nil, "%d/%d", a, won[a]))
						if errors.Is(err, authz.ErrNotFound) {
							continue
						} else if err != nil {
							t.Error(err)
							return
						}
						switch err := db.Append(ctx, h, s); {
						case err == nil:
							won[a]++
						case errors.Is(err, authz.ErrConflict):
							conflicts[a]++
						default:
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			ss, err := db.Segments(ctx, 0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if len(ss) != each*appenders {
				t.Fatalf("%d segments, want %d", len(ss), each*appenders)
			}
			var next [appenders]int
			seq := int64(1)
			for i, s := range ss {
				if s.Batch != int64(i) || s.First != seq {
					t.Fatalf("segment %d is number %d with entries from %d, want from %d", i, s.Batch, s.First, seq)
				}
				a := s.Count - 1
				if want := fmt.Sprintf("%d/%d", a, next[a]); string(s.Data) != want {
					t.Fatalf("segment %d is %q, want %q", i, s.Data, want)
				}
				next[a]++
				seq += int64(s.Count)
			}
			t.Logf("conflicts: %v", conflicts)
			checkTree(t, db, int64(len(ss)))
		})

		t.Run("tree", func(t *testing.T) {
			db := open(t)
			const n = 600
			fill(t, db, n, 1)
			checkTree(t, db, n)
			r := tlog.HashReaderFunc(func(i []int64) ([]tlog.Hash, error) { return db.Hashes(ctx, i) })
			for _, tt := range []tlog.Tile{{H: 8, L: 0, N: 1, W: 256}, {H: 8, L: 1, N: 0, W: 2}, {H: 8, L: -1, N: 0, W: 1}} {
				if tt.L < 0 {
					continue
				}
				if _, err := tlog.ReadTileData(tt, r); err != nil {
					t.Errorf("tile %v: %v", tt.Path(), err)
				}
			}
			_, err := db.Hashes(ctx, []int64{0, tlog.StoredHashCount(n)})
			wantKind(t, "Hashes beyond the end", err, authz.ErrNotFound)
			got, err := db.Hashes(ctx, nil)
			if err != nil || len(got) != 0 {
				t.Errorf("Hashes(nil) = %v, %v", got, err)
			}
		})

		t.Run("checkpoint", func(t *testing.T) {
			db := open(t)
			for _, c := range []struct {
				size       int64
				note, want string
			}{
				{10, "ten", "ten"},
				{9, "nine", "ten"},
				{10, "ten, cosigned", "ten, cosigned"},
				{12, "zwölf — a\nb\n", "zwölf — a\nb\n"},
			} {
				if err := db.PutCheckpoint(ctx, c.size, []byte(c.note)); err != nil {
					t.Fatal(err)
				}
				if got, err := db.Checkpoint(ctx); err != nil || string(got) != c.want {
					t.Errorf("after PutCheckpoint(%d, %q): %q, %v, want %q", c.size, c.note, got, err, c.want)
				}
			}
		})

		t.Run("checkpoints of the past", func(t *testing.T) {
			cfg := config(t)
			now := time.Unix(1_800_000_000, 0).UTC()
			cfg.Now = func() time.Time { return now }
			db := storetest.OpenConfig(t, cfg)
			put := func(after time.Duration, size int64) {
				t.Helper()
				now = now.Add(after)
				if err := db.PutCheckpoint(ctx, size, fmt.Appendf(nil, "note %d", size)); err != nil {
					t.Fatal(err)
				}
			}
			read := func(before int64, limit int) (out []string) {
				t.Helper()
				ns, err := db.Checkpoints(ctx, before, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range ns {
					out = append(out, fmt.Sprintf("%s at %s", n.Note, n.At.Format("15:04:05")))
				}
				return out
			}
			put(0, 1) // 08:00:00
			put(59*time.Second, 3)
			put(0, 2) // another replica was slower
			put(time.Second, 7)
			put(time.Hour, 9)
			for _, c := range []struct {
				before int64
				limit  int
				want   []string
			}{
				{1 << 62, 10, []string{"note 9 at 09:01:00", "note 7 at 08:01:00", "note 3 at 08:00:59"}},
				{9, 1, []string{"note 7 at 08:01:00"}},
				{3, 10, nil},
			} {
				if got := read(c.before, c.limit); !slices.Equal(got, c.want) {
					t.Errorf("Checkpoints(%d, %d) = %q, want %q", c.before, c.limit, got, c.want)
				}
			}
			put(30*24*time.Hour-30*time.Minute, 12)
			if got := read(1<<62, 10); len(got) != 2 || got[1] != "note 9 at 09:01:00" {
				t.Errorf("after thirty days: %q", got)
			}
		})

		t.Run("context", func(t *testing.T) {
			db := open(t)
			s, err := segment(ctx, db, audit.Head{}, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			ended, cancel := context.WithCancel(ctx)
			cancel()
			wantKind(t, "Append", db.Append(ended, audit.Head{}, s), context.Canceled)
			_, err = db.Head(ended)
			wantKind(t, "Head", err, context.Canceled)
			fill(t, db, 1, 1)
		})
	})
}

// checkTree recomputes the tree of fill's leaves and compares it with every stored hash.
func checkTree(t *testing.T, db audit.Store, n int64) {
	t.Helper()
	var want []tlog.Hash
	for i := range n {
		hs, err := tlog.StoredHashes(i, fmt.Appendf(nil, "leaf %d", i), tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			out := make([]tlog.Hash, len(indexes))
			for j, x := range indexes {
				out[j] = want[x]
			}
			return out, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, hs...)
	}
	indexes := make([]int64, len(want))
	for i := range indexes {
		indexes[i] = int64(len(want) - 1 - i)
	}
	got, err := db.Hashes(context.Background(), indexes)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range indexes {
		if got[i] != want[x] {
			t.Fatalf("stored hash %d is %v, want %v", x, got[i], want[x])
		}
	}
}
