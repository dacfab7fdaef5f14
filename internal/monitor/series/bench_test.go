package series_test

import (
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

var sink float64

func BenchmarkEWMA(b *testing.B) {
	var e series.EWMA
	for i := range b.N {
		x := float64(i & 63)
		sink = e.Z(x)
		e.Add(x, 0.05)
	}
}

func BenchmarkSketch(b *testing.B) {
	var s series.Sketch
	for i := range b.N {
		x := float64(i & 1023)
		sink = s.Rank(x)
		s.Add(x)
	}
}

func BenchmarkRecord(b *testing.B) {
	var r series.Record
	for i := range b.N {
		x := float64(i * 7919 & 1023)
		sink = r.P(x)
		r.Add(x)
	}
}

func BenchmarkCUSUM(b *testing.B) {
	var c series.CUSUM
	for i := range b.N {
		sink = c.Add(float64(i&3)-1.5, 0.5)
	}
}

func BenchmarkDetector(b *testing.B) {
	var d series.Detector
	at := time.Unix(1_700_000_000, 0)
	for i := range b.N {
		sink = d.Add(at.Add(time.Duration(i)*time.Second), float64(i*7919&1023))
	}
}
