package sequence_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
)

func TestSeen(t *testing.T) {
	var s sequence.Seen
	seen := func(kind int, thing uint64, day uint16, age int, ok bool) {
		t.Helper()
		if gotAge, got := s.Age(kind, 2, thing, day, 30); got != ok || ok && gotAge != age {
			t.Errorf("Age(%d, %d) on day %d = %d, %v, want %d, %v", kind, thing, day, gotAge, got, age, ok)
		}
	}
	seen(0, 1, 20000, 0, false)
	s.Add(0, 2, 1, 20000, 4)
	seen(0, 1, 20000, 0, true)
	seen(1, 1, 20000, 0, false) // another kind
	seen(0, 1, 20030, 30, true)
	seen(0, 1, 20031, 0, false) // too long ago
	seen(0, 1, 19990, 0, true)  // a clock that was set back
	for i := range uint64(3) {
		s.Add(0, 2, 100+i, 20001, 4)
	}
	s.Add(1, 2, 7, 20001, 4)
	s.Add(0, 2, 200, 20002, 4) // takes the place of what was seen longest ago
	seen(0, 1, 20002, 0, false)
	seen(0, 100, 20002, 1, true)
	seen(0, 200, 20002, 0, true)
	seen(1, 7, 20002, 1, true) // a kind does not push out another
	if got := s.Size(); got != 2*4*4 {
		t.Errorf("Size = %d, want 32", got)
	}
}

func TestSeenProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const kinds, most = 3, 128
		var s sequence.Seen
		day := uint16(20000)
		for _, thing := range rapid.SliceOfN(rapid.Uint64Range(0, 1000), 0, 600).Draw(t, "things") {
			day += uint16(thing % 2)
			kind := int(thing % kinds)
			s.Add(kind, kinds, thing, day, most)
			if age, ok := s.Age(kind, kinds, thing, day, 30); !ok || age != 0 {
				t.Fatalf("Age of what was just added = %d, %v, want 0, true", age, ok)
			}
		}
		if got := s.Size(); got > 4*kinds*most {
			t.Errorf("Size = %d, want at most %d", got, 4*kinds*most)
		}
		raw := s.Append(nil)
		var got sequence.Seen
		if err := got.Read(conduct.NewReader(raw), kinds, most); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(raw, got.Append(nil)); diff != "" {
			t.Errorf("what is read back is written otherwise:\n%s", diff)
		}
	})
}
