package audit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// indexing runs the index of a log until stop is called.
func indexing(t *testing.T, x *audit.Index) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- x.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Index.Run: %v", err)
		}
	}
}

// fillChunks records a rare entry, and others until n chunks are full.
func fillChunks(t *testing.T, l *audit.Log, n int) (rare int64) {
	t.Helper()
	ds := []audit.Draft{draft("rare.one", `{"n":"needle"}`)}
	for len(ds) < n*audit.IndexChunk {
		ds = append(ds, draft("x.y", `{}`))
	}
	for i := 0; i < len(ds); i += 1024 {
		if seq, err := l.Record(t.Context(), ds[i:i+1024]...); err != nil {
			t.Fatal(err)
		} else if i == 0 {
			rare = seq
		}
	}
	return rare
}

// downgrade writes blocks of the store again as a program of another version has written them; it returns how many there are.
func downgrade(t *testing.T, store *audittest.Memory, which func(audit.IndexBlock) bool) (n int) {
	t.Helper()
	for bucket := range 2 * audit.IndexBuckets {
		bs, err := store.IndexBlocks(t.Context(), bucket, 1<<40, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bs {
			if which(b) {
				n++
				b.Data[0] = 1 // the store hands out what it keeps
			}
		}
	}
	return n
}

// What a program of another version has indexed is not searched as if it were ours, and is indexed again.
func TestIndexOfAnotherVersion(t *testing.T) {
	for name, which := range map[string]func(audit.IndexBlock) bool{
		"all of it":        func(audit.IndexBlock) bool { return true },
		"its newest chunk": func(b audit.IndexBlock) bool { return b.First == 2*audit.IndexChunk+1 },
		"beside us":        func(b audit.IndexBlock) bool { return b.First == 2*audit.IndexChunk+1 },
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &audittest.Memory{}
			l, _ := start(t, store, audit.Config{Heartbeat: -1})
			x := audit.NewIndex(l, store)
			audit.SetGroup(x, 2)
			chunks := 3
			rare := fillChunks(t, l, chunks)
			stop := indexing(t, x)
			synctest.Wait()
			if name != "beside us" {
				stop()
			}
			if downgrade(t, store, which) == 0 {
				t.Fatalf("%s: no block is of another version", name)
			}
			find := func() ([]audit.Entry, error) { return x.Find(t.Context(), audit.Query{Kind: "x.y", Limit: 1}) }
			if _, err := find(); !errors.Is(err, authz.ErrUnavailable) {
				t.Errorf("%s: Find = %v, want ErrUnavailable", name, err)
			}
			if name == "beside us" { // it is noticed when the group is summed up, once its last chunk is there
				fillChunks(t, l, 1)
				chunks++
			} else {
				stop = indexing(t, x)
			}
			defer stop()
			time.Sleep(time.Minute)
			if c, err := store.IndexCursor(t.Context()); c != int64(chunks*audit.IndexChunk) || err != nil {
				t.Errorf("%s: the cursor is %d, %v, want %d", name, c, err, chunks*audit.IndexChunk)
			}
			if es, err := x.Find(t.Context(), audit.Query{Text: "needle", Before: 1000}); err != nil || len(es) != 1 || es[0].Seq != rare {
				t.Errorf("%s: built again, found %d entries, %v, want entry %d", name, len(es), err, rare)
			}
			if n := downgrade(t, store, func(b audit.IndexBlock) bool { return b.Data[0] == 1 }); n > 0 {
				t.Errorf("%s: %d blocks are still of the other version", name, n)
			}
		})
	}
}

// A group that nobody has summed up is searched chunk by chunk.
func TestGroupWithoutSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		l, _ := start(t, store, audit.Config{Heartbeat: -1})
		rare := fillChunks(t, l, 4)
		x := audit.NewIndex(l, store)
		stop := indexing(t, x) // with groups that are larger, so that there are no sums
		synctest.Wait()
		stop()
		audit.SetGroup(x, 2)
		if c, err := store.IndexCursor(t.Context()); c != 4*audit.IndexChunk || err != nil {
			t.Fatalf("the cursor is %d, %v, want %d", c, err, 4*audit.IndexChunk)
		}
		for _, q := range []audit.Query{{Text: "needle"}, {Kind: "rare.one"}, {Kind: "rare.one", Text: "needle", Actor: "admin:eve"}} {
			if es, err := x.Find(t.Context(), q); err != nil || len(es) != 1 || es[0].Seq != rare {
				t.Errorf("Find(%+v) = %d entries, %v, want entry %d", q, len(es), err, rare)
			}
		}
		if es, err := x.Find(t.Context(), audit.Query{Text: "nowhere"}); err != nil || len(es) != 0 {
			t.Errorf("Find of what is not there = %d entries, %v", len(es), err)
		}
	})
}

// resetting is a store whose index is reset when its blocks are first read.
type resetting struct{ *audittest.Memory }

func (r resetting) IndexBlocks(ctx context.Context, bucket int, before int64, limit int) ([]audit.IndexBlock, error) {
	if err := r.ResetIndex(ctx); err != nil {
		return nil, err
	}
	return r.Memory.IndexBlocks(ctx, bucket, before, limit)
}

// A search under which the index is reset does not say that there is nothing.
func TestFindWhileReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		l, _ := start(t, store, audit.Config{Heartbeat: -1})
		rare := fillChunks(t, l, 1)
		stop := indexing(t, audit.NewIndex(l, store))
		synctest.Wait()
		stop()
		q := audit.Query{Text: "needle"}
		x := audit.NewIndex(l, resetting{store})
		if es, err := x.Find(t.Context(), q); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("Find while the index is reset = %d entries, %v, want ErrUnavailable", len(es), err)
		}
		if es, err := x.Find(t.Context(), q); err != nil || len(es) != 1 || es[0].Seq != rare {
			t.Errorf("Find after it = %d entries, %v, want entry %d", len(es), err, rare)
		}
	})
}
