package store_test

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
	"golang.org/x/mod/sumdb/tlog"
)

// BenchmarkAppend appends batches one after the other, as the one goroutine that commits does. An
// entry has 300 bytes that do not compress further. Run it on PostgreSQL with
//
//	go run ./internal/store/storetest/cluster -fsync go test -bench Append ./internal/store
func BenchmarkAppend(b *testing.B) {
	for _, config := range []struct {
		name string
		make func(testing.TB) store.Config
	}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}} {
		for _, n := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("%s/%d", config.name, n), func(b *testing.B) {
				if config.name == "postgres" && os.Getenv(storetest.PostgresVar) == "" {
					b.Skipf("%s is not set", storetest.PostgresVar)
				}
				benchmarkAppend(b, storetest.OpenConfig(b, config.make(b)), n)
			})
		}
	}
}

func benchmarkAppend(b *testing.B, db *store.DB, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	data := make([]byte, 300*n)
	crand.Read(data)
	hashes := make([]tlog.Hash, 2) // what a leaf adds on average
	leaf := make([]byte, 100)
	var h audit.Head
	took := make([]time.Duration, 0, 1<<16)
	start, cpu := time.Now(), processCPU()
	for b.Loop() {
		t := time.Now()
		s := audit.Segment{Batch: h.Batches, First: h.Entries + 1, Count: n, Data: data, Leaf: leaf, Hashes: hashes}
		if err := db.Append(ctx, h, s); err != nil {
			b.Fatal(err)
		}
		h = audit.Head{Entries: h.Entries + int64(n), Batches: h.Batches + 1}
		took = append(took, time.Since(t))
	}
	elapsed, used := time.Since(start), processCPU()-cpu
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/elapsed.Seconds(), "appends/s")
	b.ReportMetric(float64(used.Microseconds())/float64(len(took)), "cpu-µs/op")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)*50/100].Microseconds()), "p50-µs")
}
