package sequence_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
)

const a, b, c, d = sequence.Symbol(1), sequence.Symbol(2), sequence.Symbol(3), sequence.Symbol(4)

var here = sequence.ContextOf(1, 7)

// Of a a a b in one context: n = 4 acts of 2 kinds. Witten and Bell's method C gives what was seen count/(n + kinds),
// and the rest, kinds/(n + kinds), to what the level below says.
func TestTableWittenBell(t *testing.T) {
	var tab sequence.Shared
	if got := tab.P(here, a, 0.25); got != 0.25 {
		t.Errorf("in a context that is not known, P = %v, want the lower level's 0.25", got)
	}
	for _, w := range []sequence.Symbol{a, a, a, b} {
		if !tab.Add(here, w, 64, true) {
			t.Fatalf("Add(%d) = false, want true", w)
		}
	}
	for _, x := range []struct {
		w           sequence.Symbol
		lower, want float64
	}{
		{a, 0.25, (3 + 2*0.25) / 6},
		{b, 0.25, (1 + 2*0.25) / 6},
		{c, 0.25, 2 * 0.25 / 6},
		{c, 0, 0},
	} {
		if got := tab.P(here, x.w, x.lower); math.Abs(got-x.want) > 1e-15 {
			t.Errorf("P(%d, %v) = %v, want %v", x.w, x.lower, got, x.want)
		}
	}
	// After a, which came three times, came b twice and a once: two kinds, of which a quarter counts.
	for _, w := range []sequence.Symbol{b, b, a} {
		tab.AddAfter(here, a, w, false, 64, true)
	}
	if got, want := tab.PAfter(here, a, b, 0.5), (2+0.5*0.5)/3.5; math.Abs(got-want) > 1e-15 {
		t.Errorf("PAfter(a, b) = %v, want %v", got, want)
	}
	if got, want := tab.PAfter(here, a, d, 0.25), 0.5*0.25/3.5; math.Abs(got-want) > 1e-15 {
		t.Errorf("PAfter(a, d) = %v, want %v", got, want)
	}
	if got, want := tab.PAfter(here, b, d, 0.25), 0.25*0.25/1.25; math.Abs(got-want) > 1e-15 { // nothing came after b, once
		t.Errorf("PAfter(b, d) = %v, want %v", got, want)
	}
	if n, kinds := tab.Context(here); n != 4 || kinds != 2 {
		t.Errorf("Context = %d, %d, want 4, 2", n, kinds)
	}
	if got := tab.Count(here, a); got != 3 {
		t.Errorf("Count(a) = %d, want 3", got)
	}
	if got := tab.CountAfter(here, a, b); got != 2 {
		t.Errorf("CountAfter(a, b) = %d, want 2", got)
	}
}

// In a table that is full of what it must not forget nothing more is counted, and sessions are what it forgets first.
func TestTableFull(t *testing.T) {
	var tab sequence.Own
	if !tab.AddSession(here, a, 8, true) || tab.AddSession(here, b, 8, false) || !tab.AddSession(here, a, 8, false) {
		t.Error("AddSession does not count what is known alone if it may not grow")
	}
	if got := tab.CountSessions(here, a); got != 2 {
		t.Errorf("CountSessions = %d, want 2", got)
	}
	tab = sequence.Own{}
	tab.AddSession(here, a, 8, true)
	for i := range 16 {
		if w := sequence.Symbol(i / 2); !tab.AddAlone(here, w, 8) {
			t.Errorf("AddAlone(%d) = false in a table with room", w)
		}
	}
	if got := tab.CountSessions(here, a); got != 0 || tab.Count(here, b) != 2 {
		t.Errorf("CountSessions = %d and Count = %d, want 0, as it had to give way, and 2", got, tab.Count(here, b))
	}
	if tab.AddAlone(here, 8, 8) || tab.AddSession(here, a, 8, true) {
		t.Error("something is counted in a table that is full")
	}
}

// fill counts random acts as a session does: each act once in a session, each pair once.
func fill[S interface{ uint32 | uint64 }](t *rapid.T, tab *sequence.Table[S], most int) {
	symbols := rapid.SampledFrom([]int{4, 40, 4000}).Draw(t, "symbols")
	for _, session := range rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(1, symbols), 1, 8), 0, 60).Draw(t, "sessions") {
		at := sequence.ContextOf(1, uint32(session[0]%3))
		prev := sequence.Start
		tab.Add(at, prev, most, true)
		done, pairs, followed := map[sequence.Symbol]bool{}, map[[2]sequence.Symbol]bool{}, map[sequence.Symbol]bool{}
		for _, s := range session {
			w := sequence.Symbol(s)
			if !done[w] {
				tab.Add(at, w, most, true)
			}
			if p := [2]sequence.Symbol{prev, w}; !pairs[p] {
				tab.AddAfter(at, prev, w, followed[prev], most, true)
				pairs[p], followed[prev] = true, true
			}
			done[w], prev = true, w
		}
	}
}

// Whatever was counted, in a table of whatever size: the probabilities of all symbols add up to no more than 1, and
// to 1 in a context of a table that never had to evict.
func TestTableSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Bool().Draw(t, "small")
		most := 1 << 17
		if small {
			most = rapid.IntRange(0, 64).Draw(t, "most")
		}
		var tab sequence.Shared // an Own has hashes of 19 bits, of which some of 4,000 symbols are shared
		fill(t, &tab, most)
		const symbols = 4000
		for task := range uint32(3) {
			at := sequence.ContextOf(1, task)
			var sum, after float64
			prev := sequence.Symbol(rapid.IntRange(0, 5).Draw(t, "prev"))
			for w := range sequence.Symbol(symbols) {
				sum += tab.P(at, w+1, 1.0/symbols)
				after += tab.PAfter(at, prev, w+1, 1.0/symbols)
			}
			const most = 1 + 1e-9
			if sum > most || after > most || !small && math.Abs(sum-1) > 1e-9 {
				t.Errorf("probabilities add up to %v, and after %d to %v", sum, prev, after)
			}
		}
	})
}

// What a flood of new acts evicts looks less usual than before, never more; and what was never seen keeps its probability.
func TestTableEviction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 64
		var tab sequence.Shared
		fill(t, &tab, most)
		type pair struct{ prev, w sequence.Symbol }
		before := map[pair]float64{}
		at := sequence.ContextOf(1, 0)
		for prev := range sequence.Symbol(5) {
			for w := range sequence.Symbol(60) {
				before[pair{prev, w + 1}] = tab.PAfter(at, prev, w+1, 0.001)
			}
		}
		flood := sequence.ContextOf(1, 99)
		tab.Add(flood, sequence.Start, most, true)
		for i := range rapid.IntRange(0, 500).Draw(t, "flood") {
			w := sequence.Symbol(1<<20 + i)
			tab.Add(flood, w, most, true)
			tab.AddAfter(flood, sequence.Start, w, i > 0, most, true)
		}
		for p, was := range before {
			if got := tab.PAfter(at, p.prev, p.w, 0.001); got > was {
				t.Errorf("after the flood, P(%d after %d) = %v, want no more than %v", p.w, p.prev, got, was)
			}
		}
		if got := tab.Size(); got > 8*most {
			t.Errorf("Size = %d, want at most %d", got, 8*most)
		}
	})
}

func TestTableForget(t *testing.T) {
	var tab sequence.Own
	tab.Add(here, a, 64, true)
	tab.Forget(100, 30)
	if tab.Forget(120, 30) {
		t.Error("after 20 days of 30, Forget = true, want false")
	}
	if !tab.Forget(130, 30) || tab.Count(here, a) != 1 {
		t.Errorf("what was touched since the last time is gone")
	}
	tab.Add(here, b, 64, true)
	tab.Forget(160, 30)
	if got := tab.Count(here, a); got != 0 {
		t.Errorf("Count of what was not touched for 60 days = %d, want 0", got)
	}
	if n, kinds := tab.Context(here); tab.Count(here, b) != 1 || n != 2 || kinds != 2 {
		t.Errorf("Context = %d, %d and Count of what was = %d, want 2, 2 and 1", n, kinds, tab.Count(here, b))
	}
}

// A count that is full halves all: what was there stays about as probable, and what was not is no more probable.
func TestTableHalve(t *testing.T) {
	var tab sequence.Own
	tab.Add(here, b, 64, true)
	for range 5000 {
		tab.Add(here, a, 64, true)
	}
	pa, pc := tab.P(here, a, 0.01), tab.P(here, c, 0.01)
	if n, _ := tab.Context(here); pa < 0.9 || pc > 0.001 || n > 1023 {
		t.Errorf("P of what always came = %v, of what never did = %v, of %d", pa, pc, n)
	}
}

func TestTableCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(0, 300).Draw(t, "most")
		var shared, sharedGot sequence.Shared
		var own, ownGot sequence.Own
		fill(t, &shared, most)
		fill(t, &own, most)
		raw := own.Append(shared.Append(nil))
		r := conduct.NewReader(raw)
		if err := sharedGot.Read(r, most); err != nil {
			t.Fatal(err)
		}
		if err := ownGot.Read(r, most); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(raw, ownGot.Append(sharedGot.Append(nil))); diff != "" || len(r.Rest()) > 0 {
			t.Errorf("what is read back is written otherwise, %d bytes are left:\n%s", len(r.Rest()), diff)
		}
		cut := raw[:rapid.IntRange(0, len(raw)-1).Draw(t, "cut")]
		r = conduct.NewReader(cut)
		if sharedGot.Read(r, most) == nil && ownGot.Read(r, most) == nil {
			t.Errorf("%d of %d bytes are read without an error", len(cut), len(raw))
		}
	})
}

func FuzzTableRead(f *testing.F) {
	var own sequence.Own
	own.Add(here, a, 64, true)
	f.Add(own.Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var own sequence.Own
		if own.Read(conduct.NewReader(raw), 224) == nil {
			own.Add(here, a, 224, true)
			own.P(here, b, 0.1)
		}
		var shared sequence.Shared
		if shared.Read(conduct.NewReader(raw), 512) == nil {
			shared.Add(here, a, 512, true)
		}
		var seen sequence.Seen
		if seen.Read(conduct.NewReader(raw), 5, 64) == nil {
			seen.Add(3, 5, 17, 20000, 64)
		}
	})
}
