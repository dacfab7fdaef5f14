package asking_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/asking"
)

// Whatever is asked and answered: the state stays small, a state that was written down and read again concludes the
// same, and nobody is accused who has not answered.
func TestAnyStream(t *testing.T) {
	kinds := map[conduct.Kind]bool{}
	rapid.Check(t, func(t *rapid.T) {
		r := catalog.DefaultConduct().Asking
		r.Many = rapid.IntRange(1, 10).Draw(t, "many")
		r.Least = rapid.SampledFrom([]int{1, 2, 3, 5, 16}).Draw(t, "least")
		routes := asking.Routes{"a": {Reading: 3 * time.Second, Review: time.Hour}, "b": {}}
		class := func(string) conduct.Class { return conduct.Write }
		var fleet asking.Fleet
		var bot asking.State
		at, answered := monday, map[string]bool{}
		ids := []string{}
		for i := range rapid.IntRange(1, 120).Draw(t, "steps") {
			seq := int64(i + 1)
			at = at.Add(time.Duration(rapid.SampledFrom([]int64{0, 500, 500, 1500, 1500, 30_000, 600_000, 7_200_000}).Draw(t, "later")) * time.Millisecond)
			person := rapid.SampledFrom([]string{"anna", "ben", "cem"}).Draw(t, "person")
			what, id := rapid.IntRange(0, 9).Draw(t, "what"), fmt.Sprint("arq_", i)
			if what > 2 && len(ids) > 0 {
				id = rapid.SampledFrom(ids[max(0, len(ids)-2):]).Draw(t, "ask")
			}
			prompt := what <= 2 && rapid.Bool().Draw(t, "prompt")
			yes, glass := rapid.Bool().Draw(t, "yes"), rapid.IntRange(0, 5).Draw(t, "glass") == 0
			route, order := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "route"), rapid.IntRange(0, 3).Draw(t, "order")

			// step is taken by the state as it is and by one that was written down and read again.
			step := func(fleet *asking.Fleet, bot *asking.State) (found []string) {
				accuse := func(s asking.Said) {
					check(t, s.Draft)
					kinds[s.Kind] = true
					if !answered[s.Person] && !(s.Person == person && (what > 6 || prompt)) {
						t.Fatalf("%s is accused of %s, and never answered", s.Person, s.Kind)
					}
					found = append(found, fmt.Sprint(s))
				}
				emit := func(d conduct.Draft) {
					check(t, d)
					kinds[d.Kind] = true
					found = append(found, fmt.Sprint(d))
				}
				fleet.Tick(&r, seq, at, accuse)
				switch {
				case what <= 2:
					item := map[string]any{"action": map[string]any{"name": fmt.Sprint("pay-", order)}, "resource": map[string]any{"type": "order", "id": "o"}, "routes": []string{route}}
					if a := fleet.Asked(routes, class, seq, at, body(map[string]any{"id": id, "agent": "bot", "items": []any{item}})); a != nil {
						bot.Asked(&r, a, yes, emit)
					}
					if prompt { // and is answered at once
						fleet.Viewed(at, "person:"+person, body(map[string]any{"ask": id}))
						if an, ok := fleet.Answered(&r, seq, at.Add(time.Second), "person:"+person, body(map[string]any{"ask": id, "yes": yes}), accuse); ok {
							bot.Answered(&r, &an, emit)
						}
					}
				case what <= 5:
					fleet.Viewed(at, "person:"+person, body(map[string]any{"ask": id}))
				case what == 6:
					fleet.Reviewed("person:"+person, body(map[string]any{"ask": id}))
				default:
					if an, ok := fleet.Answered(&r, seq, at, "person:"+person, body(map[string]any{"ask": id, "yes": yes, "broke_glass": glass}), accuse); ok {
						bot.Answered(&r, &an, emit)
					}
				}
				return found
			}
			text := bot.Append(fleet.Append(nil))
			var fleet2 asking.Fleet
			var bot2 asking.State
			in := conduct.NewReader(text)
			if err := fleet2.Read(in); err != nil {
				t.Fatal(err)
			}
			if err := bot2.Read(in); err != nil || len(in.Rest()) > 0 {
				t.Fatalf("reading %x: %v, %d bytes left", text, err, len(in.Rest()))
			}
			if again := bot2.Append(fleet2.Append(nil)); !bytes.Equal(text, again) {
				t.Fatalf("the state %x is read as %x", text, again)
			}
			one, two := step(&fleet, &bot), step(&fleet2, &bot2)
			if fmt.Sprint(one) != fmt.Sprint(two) {
				t.Fatalf("at step %d the state as it is finds %q, the one that was read %q", i, one, two)
			}
			if what <= 2 {
				ids = append(ids, id)
			}
			if what > 6 || prompt {
				answered[person] = true
			}
			if n := bot.Size(); n > 500 {
				t.Fatalf("the state has %d bytes, want at most 500", n)
			}
		}
	})
	if len(kinds) < 4 && !testing.Short() {
		t.Errorf("only these kinds were ever found: %v", kinds)
	}
}

// However many asks and persons there are: what is remembered is bounded, and the newest are.
func TestFloods(t *testing.T) {
	if testing.Short() {
		t.Skip("asks 25,000 times, by one goroutine")
	}
	r := catalog.DefaultConduct().Asking
	class := func(string) conduct.Class { return conduct.Write }
	var f asking.Fleet
	nothing := func(asking.Said) {}
	for i := range int64(25_000) {
		id := fmt.Sprint("arq_", i)
		at := monday.Add(time.Duration(i) * time.Millisecond)
		if f.Asked(nil, class, 3*i+1, at, body(map[string]any{"id": id, "agent": "bot"})) == nil {
			t.Fatalf("ask %d is passed over", i)
		}
		if _, ok := f.Answered(&r, 3*i+2, at, fmt.Sprint("person:p", i/5), body(map[string]any{"ask": id, "yes": true}), nothing); !ok {
			t.Fatalf("the answer of ask %d is passed over", i)
		}
		f.Answered(&r, 3*i+3, at, fmt.Sprint("person:q", i%2), body(map[string]any{"ask": id, "yes": true, "broke_glass": i%10 == 0}), nothing)
	}
	if n := len(f.Append(nil)); n > 3<<20 {
		t.Errorf("what is remembered of 25,000 asks has %d bytes, want at most 3 MiB", n)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{1, 1, 'a', 2, 2, 1, 'b', 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, text []byte) {
		var s, again asking.Fleet
		if s.Read(conduct.NewReader(text)) == nil {
			kept := s.Append(nil)
			if err := again.Read(conduct.NewReader(kept)); err != nil || !bytes.Equal(again.Append(nil), kept) {
				t.Errorf("the state %x is read as another: %v", kept, err)
			}
		}
		var a, b asking.State
		if a.Read(conduct.NewReader(text)) == nil {
			kept := a.Append(nil)
			if err := b.Read(conduct.NewReader(kept)); err != nil || !bytes.Equal(b.Append(nil), kept) {
				t.Errorf("the state of an agent %x is read as another: %v", kept, err)
			}
			r := catalog.DefaultConduct().Asking
			a.Beyond(&r, &conduct.Event{Seq: 1, At: monday}, func(conduct.Draft) {})
		}
	})
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte(`{"id":"arq_1","agent":"bot","items":[{"action":{"name":"pay"},"resource":{"type":"order","id":"o"},"routes":["a"]}]}`))
	f.Add([]byte(`{"ask":"arq_1","yes":true,"broke_glass":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := catalog.DefaultConduct().Asking
		var s asking.Fleet
		var bot asking.State
		accuse := func(s asking.Said) { check(t, s.Draft) }
		a := s.Asked(nil, func(string) conduct.Class { return conduct.Read }, 1, monday, text)
		if a != nil {
			bot.Asked(&r, a, true, func(d conduct.Draft) { check(t, d) })
		}
		s.Viewed(monday, "person:anna", text)
		s.Answered(&r, 2, monday, "person:anna", text, accuse)
		s.Reviewed("person:ben", text)
		s.Moved(text)
		s.Tick(&r, 3, monday.AddDate(1, 0, 0), accuse)
		if err := s.Read(conduct.NewReader(s.Append(nil))); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkAnswer measures an ask, a view and an answer.
func BenchmarkAnswer(b *testing.B) {
	r := catalog.DefaultConduct().Asking
	var f asking.Fleet
	var bot asking.State
	class := func(string) conduct.Class { return conduct.Write }
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		id := fmt.Sprint("arq_", i)
		at := monday.Add(time.Duration(i) * time.Hour)
		item := map[string]any{"action": map[string]any{"name": "pay"}, "resource": map[string]any{"type": "order", "id": "o"}, "routes": []string{"a"}}
		bot.Asked(&r, f.Asked(nil, class, 3*i, at, body(map[string]any{"id": id, "agent": "bot", "items": []any{item}})), true, func(conduct.Draft) {})
		f.Viewed(at, "person:anna", body(map[string]any{"ask": id}))
		if an, ok := f.Answered(&r, 3*i+1, at, "person:anna", body(map[string]any{"ask": id, "yes": true}), func(asking.Said) {}); ok {
			bot.Answered(&r, &an, func(conduct.Draft) {})
		}
		f.Moved(body(map[string]any{"ask": id, "to": "expired"}))
	}
}
