package deviation_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/deviation"
)

// A world is an agent and its fleet, at a time.
type world struct {
	rules catalog.DeviationRules
	fleet deviation.Fleet
	agent deviation.State
	at    time.Time
	seq   int64
	found []conduct.Draft
}

func newWorld() *world {
	return &world{rules: catalog.DefaultConduct().Deviation, at: time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)}
}

var classes = map[string]conduct.Class{"read": conduct.Read, "note": conduct.Write, "mail": conduct.Egress, "pay": conduct.Money}

func (w *world) event(session, action string) *conduct.Event {
	w.seq++
	w.at = w.at.Add(time.Second)
	return &conduct.Event{
		Seq: w.seq, At: w.at, Agent: "a", Purpose: "bookkeeping", Session: session, Task: "monthly-closing",
		Action: action, Resource: authz.Ref{Type: "Thing", ID: action}, Effect: authz.Allow, Class: classes[action],
		Hour: w.at.Hour(), Weekday: int(w.at.Weekday()), Zones: []string{"office"},
		Provenance: &authz.Provenance{Prompt: []string{"what"}},
	}
}

func (w *world) observe(ev *conduct.Event, learn bool) {
	w.agent.Observe(&w.fleet, &w.rules, ev, learn, func(d conduct.Draft) { w.found = append(w.found, d) })
}

// ordinary lets the agent do so many ordinary sessions, one in two hours.
func (w *world) ordinary(sessions int) {
	for i := range sessions {
		w.at = w.at.Add(2 * time.Hour)
		name := fmt.Sprint("session ", w.seq)
		acts := []string{"read", "read", "note"}
		if i%3 == 0 {
			acts = []string{"read", "note", "mail"}
		}
		for _, a := range acts {
			w.observe(w.event(name, a), true)
		}
	}
}

func (w *world) kinds() map[conduct.Kind]int {
	n := map[conduct.Kind]int{}
	for _, d := range w.found {
		n[d.Kind]++
	}
	return n
}

func TestOrdinaryWorkIsNotFound(t *testing.T) {
	w := newWorld()
	w.ordinary(400)
	if len(w.found) > 0 {
		t.Errorf("in 400 ordinary sessions %d findings, the first %+v, want none", len(w.found), w.found[0])
	}
}

// More sessions than a day can teach are judged as those that teach.
func TestBusyDay(t *testing.T) {
	w := newWorld()
	w.ordinary(300)
	for i := range 1000 {
		w.at = w.at.Add(time.Minute)
		for _, a := range [][]string{{"read", "read", "note"}, {"read", "note", "mail"}}[i%2] {
			w.observe(w.event(fmt.Sprint("busy ", i), a), true)
		}
	}
	if len(w.found) > 0 {
		t.Errorf("in 1,000 ordinary sessions a day %d findings, the first %+v, want none", len(w.found), w.found[0])
	}
}

func TestStrangeActIsFound(t *testing.T) {
	w := newWorld()
	w.ordinary(400)
	w.observe(w.event("strike", "read"), true)
	ev := w.event("strike", "pay")
	ev.Provenance = &authz.Provenance{Untrusted: []string{"recipient"}}
	ev.Args = []byte(`{"recipient":"US133000000121212121212"}`)
	score := w.agent.Score(&w.fleet, &w.rules, ev)
	w.observe(ev, true)
	if len(w.found) != 1 {
		t.Fatalf("%d findings, want 1; the act was judged %+v", len(w.found), score)
	}
	d := w.found[0]
	if d.Severity != conduct.High || d.Class != conduct.Money || cmp.Diff(d.Evidence, []int64{w.seq - 1, w.seq}) != "" {
		t.Errorf("found %+v, want high, money, with the two acts as evidence", d)
	}
	for _, want := range []string{"It called pay", "out of what others can write"} {
		if !strings.Contains(d.Sentence, want) {
			t.Errorf("sentence %q, want %q in it", d.Sentence, want)
		}
	}
	if score.P > w.rules.Alpha || score.Surprise < 4 || score.Untrusted != 1 {
		t.Errorf("the act was judged %+v, want it to be rare, surprising, and from untrusted sources", score)
	}

	// The same surprise alone, of an act that only reads, is low.
	w = newWorld()
	w.ordinary(400)
	ev = w.event("strike", "browse")
	ev.Class, ev.Provenance = conduct.Read, nil
	w.observe(ev, true)
	for _, d := range w.found {
		if d.Severity > conduct.Medium {
			t.Errorf("a lone surprise is %v: %q, want medium at most", d.Severity, d.Sentence)
		}
	}
}

// What comes after a strange act is looked at more than after an ordinary one, by a bounded amount, and not for longer.
func TestTrail(t *testing.T) {
	w := newWorld()
	w.ordinary(400)
	w.observe(w.event("strike", "read"), true)
	before := w.agent.Score(&w.fleet, &w.rules, w.event("strike", "note"))
	w.observe(w.event("strike", "pay"), true)
	after := w.agent.Score(&w.fleet, &w.rules, w.event("strike", "note"))
	if before.Trail > 1 || after.Trail != 15 || after.Sequence-(after.Surprise+after.Absence)/2 > 3.001 {
		t.Errorf("Trail = %v after an ordinary act and %v after a strange one, want at most 1 and 15", before.Trail, after.Trail)
	}
	w.observe(w.event("strike", "note"), true)
	if x := w.agent.Score(&w.fleet, &w.rules, w.event("strike", "mail")); x.Trail > 2 {
		t.Errorf("an act later, Trail = %v, want at most 2", x.Trail)
	}
}

func TestSentenceOfSequence(t *testing.T) {
	w := newWorld()
	w.ordinary(400)
	w.observe(w.event("strike", "read"), true)
	ev := w.event("strike", strings.Repeat("long\x00", 40))
	ev.Class, ev.Resource.ID = conduct.Admin, "read"
	w.observe(ev, true)
	if len(w.found) == 0 {
		t.Fatal("nothing was found")
	}
	for _, d := range w.found {
		if len(d.Sentence) > 400 || strings.ContainsRune(d.Sentence, 0) {
			t.Errorf("sentence %q, want names cut off and printable", d.Sentence)
		}
	}
}

// Below ten sessions of its own an agent is compared with its purpose's agents.
func TestPurposeSpeaksForNewAgents(t *testing.T) {
	w := newWorld()
	w.ordinary(400)
	w.agent = deviation.State{}
	if x := w.agent.Score(&w.fleet, &w.rules, w.event("s", "read")); x.P < 0.1 {
		t.Errorf("of a new agent the usual act has p = %v, want it to be usual", x.P)
	}
	ev := w.event("s", "pay")
	ev.Provenance = &authz.Provenance{Untrusted: []string{"recipient"}}
	if x := w.agent.Score(&w.fleet, &w.rules, ev); x.P > w.rules.Alpha {
		t.Errorf("of a new agent a strange act has p = %v, want at most %v", x.P, w.rules.Alpha)
	}
}

// What was refused, what is asked of ourselves, and everything while trust is lowered teaches nothing.
func TestNothingIsLearned(t *testing.T) {
	w := newWorld()
	w.ordinary(40)
	probe := func() string {
		var b strings.Builder
		for _, action := range []string{"read", "note", "mail", "pay", "new"} {
			ev := w.event("probe", action)
			ev.At = w.at.Truncate(time.Hour)
			w.seq--
			x := w.agent.Score(&w.fleet, &w.rules, ev)
			fmt.Fprintf(&b, "%v %v %v %v %v\n", x.Surprise, x.Absence, x.Pattern, x.Novelty, x.P)
		}
		return b.String()
	}
	want, fleet := probe(), w.fleet.Append(nil)
	for i := range 200 {
		frozen, issuing := w.event(fmt.Sprint(i), "pay"), w.event(fmt.Sprint(i), "new")
		issuing.Issuing = true
		w.observe(issuing, true)
		w.observe(frozen, false)
	}
	if string(fleet) != string(w.fleet.Append(nil)) {
		t.Error("acts that must teach nothing changed what is known of all agents")
	}
	for i := range 200 { // which count as acts a minute
		denied := w.event(fmt.Sprint(i), "new")
		denied.Effect = authz.Deny
		w.observe(denied, true)
	}
	if diff := cmp.Diff(want, probe()); diff != "" {
		t.Errorf("acts that must teach nothing changed what is usual:\n%s", diff)
	}
}

func TestDriftIsFound(t *testing.T) {
	w := newWorld()
	w.ordinary(400)
	sessions := 0
	for ; sessions < 20 && w.kinds()[deviation.Drift] == 0; sessions++ {
		name := fmt.Sprint("drift ", sessions)
		w.observe(w.event(name, "read"), true)
		w.observe(w.event(name, fmt.Sprint("new tool ", sessions)), true)
	}
	if sessions < 3 || sessions > 8 {
		t.Errorf("drift is found after %d sessions of strange acts, want 3 to 8", sessions)
	}
}

func TestRate(t *testing.T) {
	w := newWorld()
	w.ordinary(60)
	w.found = nil
	w.at = w.at.Add(time.Hour).Truncate(time.Minute)
	for range 300 {
		ev := w.event("rush", "read")
		ev.At = w.at.Truncate(time.Minute).Add(time.Duration(w.seq%50) * time.Second)
		w.at = w.at.Truncate(time.Minute)
		w.observe(ev, true)
	}
	if got := w.kinds()[deviation.Rate]; got != 1 {
		t.Errorf("in a minute with 300 acts %d findings of %s, want 1: %v", got, deviation.Rate, w.kinds())
	}
}

func TestSize(t *testing.T) {
	w := newWorld()
	w.ordinary(60)
	w.found = nil
	ev := w.event("big", "mail")
	ev.Args = []byte(`{"body":"` + strings.Repeat("x", 100_000) + `"}`)
	w.observe(ev, true)
	if got := w.kinds()[deviation.Size]; got != 1 {
		t.Errorf("with 100,000 bytes of arguments %d findings of %s, want 1: %v", got, deviation.Size, w.kinds())
	}
}

func TestHourAndZone(t *testing.T) {
	w := newWorld()
	for day := range 30 {
		if date := time.Date(2026, 1, 5+day, 0, 0, 0, 0, time.UTC); date.Weekday() == 0 || date.Weekday() == 6 {
			continue
		}
		for hour := range 8 {
			w.at = time.Date(2026, 1, 5+day, 8+hour, 0, 0, 0, time.UTC)
			w.observe(w.event(fmt.Sprint(day, hour), "read"), true)
		}
	}
	w.found = nil
	night := w.event("night", "read")
	night.At = time.Date(2026, 2, 10, 3, 0, 0, 0, time.UTC)
	night.Hour, night.Weekday = 3, 2
	w.observe(night, true)
	weekend := w.event("weekend", "mail")
	weekend.At = time.Date(2026, 2, 14, 10, 0, 0, 0, time.UTC)
	weekend.Hour, weekend.Weekday = 10, 6
	w.observe(weekend, true)
	if got := w.kinds()[deviation.Hour]; got != 2 {
		t.Errorf("at night and at a weekend %d findings of %s, want 2: %v", got, deviation.Hour, w.kinds())
	}
	w.found = nil
	away := w.event("away", "read")
	away.At, away.Hour, away.Weekday = time.Date(2026, 2, 16, 10, 0, 0, 0, time.UTC), 10, 1
	away.Zones, away.Country = []string{"elsewhere"}, "ZZ"
	w.observe(away, true)
	w.observe(away, true)
	if got := w.kinds()[deviation.Zone]; got != 2 {
		t.Errorf("from a new zone and country %d findings of %s, want 2: %v", got, deviation.Zone, w.kinds())
	}
}

func TestOff(t *testing.T) {
	w := newWorld()
	w.rules.Off = true
	w.ordinary(20)
	if got := w.agent.Append(nil); string(got) != string(new(deviation.State).Append(nil)) {
		t.Error("something is remembered although deviation is not watched")
	}
}

// anyEvent is one that nobody would send.
func anyEvent(t *rapid.T, at time.Time, seq int64) *conduct.Event {
	name := rapid.SampledFrom([]string{"read", "note", "pay", "", strings.Repeat("n", 300)})
	if rapid.Bool().Draw(t, "unlimited") {
		name = rapid.StringN(0, 20, 60)
	}
	ev := &conduct.Event{
		Seq: seq, At: at, Agent: "a", Purpose: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "purpose"),
		Session: name.Draw(t, "session"), Task: name.Draw(t, "task"), Action: name.Draw(t, "action"),
		Resource: authz.Ref{Type: "t", ID: name.Draw(t, "resource")}, Args: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "args"),
		Effect: rapid.SampledFrom([]authz.Effect{authz.Allow, authz.Allow, authz.Deny}).Draw(t, "effect"),
		Class:  conduct.Class(rapid.IntRange(0, 4).Draw(t, "class")), Hour: at.Hour(), Weekday: int(at.Weekday()),
		Zones: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3).Draw(t, "zones"),
	}
	ev.Blamed = ev.Effect == authz.Deny && rapid.Bool().Draw(t, "blamed")
	if rapid.Bool().Draw(t, "provenance") {
		ev.Provenance = &authz.Provenance{Prompt: []string{"p"}, Untrusted: []string{"u"}}
	}
	return ev
}

// Whatever is sent: the state stays small, can be kept and read back at any time without a difference, and the same
// events give the same findings.
func TestAnyStream(t *testing.T) {
	rules := catalog.DefaultConduct().Deviation
	rules.Traces = 2
	rapid.Check(t, func(t *rapid.T) {
		at := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
		var one, other deviation.State
		var fleet, second deviation.Fleet
		for i := range rapid.IntRange(0, 120).Draw(t, "events") {
			at = at.Add(time.Duration(rapid.Int64Range(-int64(time.Minute), int64(200*time.Hour)).Draw(t, "later")))
			ev := anyEvent(t, at, int64(i+1))
			learn := rapid.Bool().Draw(t, "learn")
			var a, b []conduct.Draft
			one.Observe(&fleet, &rules, ev, learn, func(d conduct.Draft) { a = append(a, d) })
			other.Observe(&second, &rules, ev, learn, func(d conduct.Draft) { b = append(b, d) })
			if diff := cmp.Diff(a, b); diff != "" {
				t.Fatalf("the same event gives other findings after reading the state back:\n%s", diff)
			}
			for _, d := range a {
				if len(d.Evidence) == 0 || len(d.Evidence) > conduct.MaxEvidence || d.Evidence[len(d.Evidence)-1] != ev.Seq || d.Sentence == "" || len(d.Sentence) > 512 {
					t.Fatalf("finding %+v, want evidence that ends with the event and a sentence", d)
				}
			}
			if x := one.Score(&fleet, &rules, ev); !(x.P > 0 && x.P <= 1) || math.IsInf(x.Score, 0) || x.Score != x.Score || x.Score < 0 {
				t.Fatalf("Score = %+v, want a p-value and a finite score", x)
			}
			if i%10 == 0 {
				raw, all := one.Append(nil), fleet.Append(nil)
				other, second = deviation.State{}, deviation.Fleet{}
				if err := other.Read(conduct.NewReader(raw)); err != nil {
					t.Fatal(err)
				}
				if err := second.Read(conduct.NewReader(all)); err != nil {
					t.Fatal(err)
				}
				if string(other.Append(nil)) != string(raw) || string(second.Append(nil)) != string(all) {
					t.Fatal("what is read back is written otherwise")
				}
			}
		}
		if got := one.Size(); got > 2000 {
			t.Fatalf("Size = %d, want at most 2000", got)
		}
	})
}

// With everything full an agent takes no more than 2,000 bytes, and at the beginning far less.
func TestMemory(t *testing.T) {
	w := newWorld()
	w.observe(w.event("first", "read"), true)
	if got := w.agent.Size(); got > 1000 {
		t.Errorf("after one act, Size = %d, want at most 1000", got)
	}
	for i := range 20_000 {
		ev := w.event(fmt.Sprint("session", i/5), fmt.Sprint("action", i))
		ev.Task, ev.Resource.ID, ev.Class = fmt.Sprint("task", i/7), fmt.Sprint("resource", i), conduct.Egress
		ev.Args = fmt.Appendf(nil, `{"to":"user%d@example.com"}`, i)
		w.at = w.at.Add(3 * time.Minute)
		w.observe(ev, true)
	}
	if got := w.agent.Size(); got > 2000 || got < 1900 {
		t.Errorf("with everything full, Size = %d, want 1900 to 2000", got)
	}
	if got := len(w.fleet.Append(nil)); got > 300_000 {
		t.Errorf("the fleet takes %d bytes, want at most 300,000", got)
	}
}

func TestReadDamaged(t *testing.T) {
	w := newWorld()
	w.ordinary(50)
	raw, all := w.agent.Append(nil), w.fleet.Append(nil)
	for i := 0; i < len(raw); i += 7 {
		var s deviation.State
		if s.Read(conduct.NewReader(raw[:i])) == nil {
			t.Errorf("%d of %d bytes of an agent are read without an error", i, len(raw))
		}
	}
	for i := 0; i < len(all); i += 97 {
		var f deviation.Fleet
		if f.Read(conduct.NewReader(all[:i])) == nil {
			t.Errorf("%d of %d bytes of a fleet are read without an error", i, len(all))
		}
	}
}

// In the steady state nothing is allocated.
func TestAllocations(t *testing.T) {
	w := newWorld()
	w.ordinary(300)
	ev := w.event("steady", "read")
	ev.Args = []byte(`{"path":"report.txt","to":"a@example.com"}`)
	n := testing.AllocsPerRun(1000, func() {
		ev.At = ev.At.Add(time.Second)
		ev.Seq++
		w.observe(ev, true)
	})
	if n > 0 {
		t.Errorf("an event allocates %v times, want 0", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	w := newWorld()
	w.ordinary(300)
	events := make([]*conduct.Event, 0, 300)
	for i := range 100 {
		for _, a := range []string{"read", "note", "mail"} {
			ev := w.event(fmt.Sprint("session ", i), a)
			ev.Args = []byte(`{"path":"report.txt","to":"someone@example.com","subject":"the report of this month"}`)
			events = append(events, ev)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ev := events[i%len(events)]
		ev.At = w.at.Add(time.Duration(i) * 10 * time.Second)
		w.observe(ev, true)
	}
}
