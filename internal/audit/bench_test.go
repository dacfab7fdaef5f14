package audit_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// decisionBody is a body like those that decisions have, of about size bytes.
func decisionBody(i, size int) []byte {
	b := fmt.Sprintf(`{"request":{"subject":{"type":"agent","id":"agent-%d"},"on_behalf":[{"type":"user","id":"u%d"}],`+
		`"action":{"name":"tool.call","properties":{"tool":"send_money","amount":%d}},"resource":{"type":"tool","id":"send_money"}},`+
		`"decision":{"effect":"allow","code":"allowed","fired":[{"policy":"payments/small","effect":"permit"}]},"facts":{"trust":{"level":"medium"}`,
		i%97, i%1013, i*7919%100000)
	for n := 0; len(b) < size-8; n++ {
		b += fmt.Sprintf(`,"f%d":"%x"`, n, i*31+n)
	}
	return []byte(b + "}}")
}

// BenchmarkRecord records from many waiting callers into a store in memory.
func BenchmarkRecord(b *testing.B) {
	for _, size := range []int{400, 600, 1000} {
		for _, callers := range []int{1, 16, 64, 512} {
			b.Run(fmt.Sprintf("body=%d/callers=%d", size, callers), func(b *testing.B) {
				l, _ := start(b, &audittest.Memory{}, audit.Config{})
				bodies := make([][]byte, 256)
				for i := range bodies {
					bodies[i] = decisionBody(i, size)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for c := range callers {
					wg.Go(func() {
						for i := c; i < b.N; i += callers {
							if _, err := l.Record(context.Background(), audit.Draft{Kind: audit.DecisionMade, Actor: "pep:gateway", Body: bodies[i%256]}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			})
		}
	}
}

// discard is an IndexStore that keeps nothing.
type discard struct {
	audit.IndexStore
	done   chan struct{}
	last   int64
	blocks int
	bytes  int
}

func (d *discard) IndexCursor(context.Context) (int64, error) { return 0, nil }

func (d *discard) AppendIndex(_ context.Context, _, new int64, bs []audit.IndexBlock) error {
	d.blocks += len(bs)
	for _, b := range bs {
		d.bytes += len(b.Data)
	}
	if new == d.last {
		close(d.done)
	}
	return nil
}

// recorded returns a log with n entries of about 600 bytes, in batches of 512.
func recorded(b *testing.B, n int) (*audittest.Memory, *audit.Log) {
	store := &audittest.Memory{}
	l, _ := start(b, store, audit.Config{})
	ds := make([]audit.Draft, 0, 512)
	for i := range n {
		ds = append(ds, audit.Draft{Kind: audit.DecisionMade, Actor: "pep:gateway", Body: decisionBody(i, 600)})
		if len(ds) == cap(ds) || i == n-1 {
			if _, err := l.Record(context.Background(), ds...); err != nil {
				b.Fatal(err)
			}
			ds = ds[:0]
		}
	}
	return store, l
}

// BenchmarkIndex reads the log and makes the search index of it; one operation is one entry.
func BenchmarkIndex(b *testing.B) {
	n := max(b.N/audit.IndexChunk, 1) * audit.IndexChunk
	_, l := recorded(b, n)
	d := &discard{done: make(chan struct{}), last: int64(n)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	b.ResetTimer()
	go func() { _ = audit.NewIndex(l, d).Run(ctx) }()
	<-d.done
	b.StopTimer()
	b.ReportMetric(float64(d.bytes)/float64(n), "index-bytes/entry")
	b.ReportMetric(float64(d.blocks)/float64(n/audit.IndexChunk), "blocks/chunk")
}

// BenchmarkVerify verifies a whole log; one operation is one entry.
func BenchmarkVerify(b *testing.B) {
	store, l := recorded(b, b.N)
	if _, err := l.Checkpoint(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	r := mustVerify(b, store)
	b.StopTimer()
	if r.Entries != int64(b.N) {
		b.Fatalf("verified %d entries, want %d", r.Entries, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(r.Stored)/float64(b.N), "stored-bytes/entry")
}
