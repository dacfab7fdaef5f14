package server

import (
	"testing"
	"time"
)

func TestTrail(t *testing.T) {
	var tr trail
	start := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for i := range 100 { // one mark a pace: number i at i paces
		now := start.Add(time.Duration(i) * pace)
		tr.note(int64(i), now)
		want := max(0, int64(i)-int64(replayed/pace))
		if got := tr.settled(now); got != want {
			t.Errorf("after %d paces settled = %d, want %d", i, got, want)
		}
		if most := int(replayed/pace) + 1; len(tr.marks) > most {
			t.Fatalf("%d marks are kept, want at most %d", len(tr.marks), most)
		}
	}
	later := start.Add(time.Hour)
	if got := tr.settled(later); got != 99 {
		t.Errorf("after an hour of sleep settled = %d, want 99", got)
	}
}
