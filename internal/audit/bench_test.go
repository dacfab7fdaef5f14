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
