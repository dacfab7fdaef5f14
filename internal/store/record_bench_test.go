package store_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// BenchmarkRecord records decisions from many callers, each of which waits until its own is durable.
// A body has about 600 bytes. Run it on PostgreSQL with
//
//	go run ./internal/store/storetest/cluster -fsync go test -bench Record ./internal/store
func BenchmarkRecord(b *testing.B) {
	for _, config := range []struct {
		name string
		make func(testing.TB) store.Config
	}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}} {
		for _, callers := range []int{1, 16, 64, 512} {
			b.Run(fmt.Sprintf("%s/callers=%d", config.name, callers), func(b *testing.B) {
				if config.name == "postgres" && os.Getenv(storetest.PostgresVar) == "" {
					b.Skipf("%s is not set", storetest.PostgresVar)
				}
				benchmarkRecord(b, config.make(b), 1, callers)
			})
		}
	}
}

// BenchmarkReplicas is the same with replicas that share one PostgreSQL and take turns.
func BenchmarkReplicas(b *testing.B) {
	for _, replicas := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) {
			benchmarkRecord(b, storetest.Postgres(b), replicas, 256)
		})
	}
}

// benchmarkRecord records from that many callers, spread over replicas.
func benchmarkRecord(b *testing.B, cfg store.Config, replicas, callers int) {
	ctx := context.Background()
	key := newKey(b)
	var db *store.DB
	logs := make([]*audit.Log, replicas)
	for i := range logs {
		db = storetest.OpenConfig(b, cfg)
		logs[i], _ = runLog(b, db, key)
	}
	bodies := make([][]byte, 1024)
	for i := range bodies {
		bodies[i] = decisionBody(i)
	}
	for _, log := range logs {
		if _, err := log.Record(ctx, draft(bodies[0])); err != nil { // it is running
			b.Fatal(err)
		}
	}
	took := make([][]time.Duration, callers)
	b.ResetTimer()
	start, cpu := time.Now(), processCPU()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := c; i < b.N; i += callers {
				t := time.Now()
				if _, err := logs[c%replicas].Record(ctx, draft(bodies[i%len(bodies)])); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(t))
			}
		})
	}
	wg.Wait()
	elapsed, used := time.Since(start), processCPU()-cpu
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	h, err := db.Head(ctx)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(all))/elapsed.Seconds(), "entries/s")
	b.ReportMetric(float64(h.Entries)/float64(h.Batches), "entries/batch")
	b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(len(all)), "cpu-µs/op")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

// decisionBody is like what a decision leaves in the log.
func decisionBody(i int) []byte {
	return fmt.Appendf(nil, `{"request":{"subject":{"type":"agent","id":"agent-%d"},"on_behalf":[{"type":"user","id":"u%d"}],`+
		`"action":{"name":"tool.call","properties":{"tool":"send_money","amount":%d,"iban":"DE%018d"}},"resource":{"type":"tool","id":"send_money"},`+
		`"observed":{"ip":"10.1.%d.%d","session":"s-%x","pep":"gateway","request_id":"%016x"}},`+
		`"facts":{"at":"2026-11-23T10:00:00Z","schedules":["business"],"zones":["office"],"class":"internal","trust":{"level":"medium","score":0.5},`+
		`"risk":{"level":"low","score":%d}},"decision":{"effect":"allow","code":"allowed","fired":[{"policy":"payments/small","effect":"permit"}],"policy_set":7}}`,
		i%97, i%1013, i*7919%100000, i*104729, i%251, i%239, i*31, i*2654435761, i%40)
}
