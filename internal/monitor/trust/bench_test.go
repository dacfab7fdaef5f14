package trust_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// BenchmarkGood is what an event costs: a clean act, and the level after it. The agents act once in a while, so that
// nothing is remembered from the minute before.
func BenchmarkGood(b *testing.B) {
	r, p := defaults(), new(trust.Pool)
	agents := make([]*trust.State, 1000)
	for i := range agents {
		agents[i] = trust.Start(r, trust.Prior{}, unknown, monday)
	}
	at, i := monday, 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		at = at.Add(700 * time.Millisecond) // an act of each in 700 s
		s := agents[i%len(agents)]
		s.Good(r, p, conduct.Class(i%3), uint64(i/len(agents)/8), at)
		s.Stands(r, trust.Who{}, conduct.Class(i%3), at)
	}
	b.ReportMetric(float64(agents[0].Size()), "bytes/agent")
}

// BenchmarkLevel is what a decision costs that finds nothing remembered: the trust in all classes.
func BenchmarkLevel(b *testing.B) {
	l := begin(defaults())
	l.work(conduct.Write, 20, 4)
	l.find(conduct.Read, conduct.Medium, "s")
	for _, fresh := range []bool{true, false} {
		b.Run(fmt.Sprint("fresh=", fresh), func(b *testing.B) {
			at := l.now
			for b.Loop() {
				if fresh {
					at = at.Add(time.Minute)
				}
				l.s.Level(l.r, trust.Who{}, conduct.Every, at)
			}
		})
	}
}
