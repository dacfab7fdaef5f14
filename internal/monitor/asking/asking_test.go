package asking_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/asking"
)

var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// check checks what holds of every finding.
func check(t interface {
	Helper()
	Errorf(string, ...any)
}, d conduct.Draft) {
	t.Helper()
	if len(d.Evidence) == 0 || len(d.Evidence) > conduct.MaxEvidence || !slices.IsSorted(d.Evidence) || len(slices.Compact(slices.Clone(d.Evidence))) != len(d.Evidence) {
		t.Errorf("evidence of %+v: want numbers that rise", d)
	}
	if n := len(d.Sentence); n == 0 || n > 300 || strings.ContainsFunc(d.Sentence, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u2028' }) {
		t.Errorf("sentence %q: want one line of at most 300 bytes, it has %d", d.Sentence, n)
	}
	if d.Class > conduct.Every || d.Severity > conduct.Critical {
		t.Errorf("finding %+v has no class or severity", d)
	}
}

// A desk is where one agent, bot, asks and persons answer.
type desk struct {
	*testing.T
	rules  catalog.AskingRules
	routes asking.Routes
	fleet  asking.Fleet
	bot    asking.State
	now    time.Time
	seq    int64
	lowers bool // trust in the agent is lowered

	found []string
}

func newDesk(t *testing.T) *desk {
	return &desk{
		T: t, rules: catalog.DefaultConduct().Asking, now: monday,
		routes: asking.Routes{"pay": {Reading: 3 * time.Second, Review: time.Hour}, "slow": {Reading: 10 * time.Second}, "any": {}},
	}
}

func (k *desk) after(d time.Duration) *desk {
	k.now = k.now.Add(d)
	k.fleet.Tick(&k.rules, k.seq, k.now, k.accuse)
	return k
}

func (k *desk) accuse(s asking.Said) {
	check(k, s.Draft)
	k.found = append(k.found, fmt.Sprint(strings.TrimPrefix(string(s.Kind), "asking."), " ", s.Severity, " ", s.Person))
}

func (k *desk) emit(d conduct.Draft) {
	check(k, d)
	k.found = append(k.found, fmt.Sprint(strings.TrimPrefix(string(d.Kind), "asking."), " ", d.Severity, " ", d.Class))
}

func body(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// asks makes the agent ask for something by a route, and returns the ask's id.
func (k *desk) asks(resource, route string) string {
	k.Helper()
	k.seq++
	id := fmt.Sprint("arq_", k.seq)
	item := map[string]any{"action": map[string]any{"name": "pay", "properties": map[string]any{"for": resource}}, "resource": map[string]any{"type": "order", "id": resource}, "routes": []string{route}}
	classes := func(action string) conduct.Class {
		if action != "pay" {
			k.Errorf("asked for the class of %q, want that of pay", action)
		}
		return conduct.Money
	}
	ask := k.fleet.Asked(k.routes, classes, k.seq, k.now, body(map[string]any{"id": id, "agent": "bot", "session": "s1", "items": []any{item}}))
	if ask == nil || ask.ID != id || ask.Agent != "bot" || ask.Session != "s1" {
		k.Fatalf("Asked = %+v, want %s", ask, id)
	}
	k.bot.Asked(&k.rules, ask, !k.lowers, k.emit)
	return id
}

func (k *desk) views(actor, id string) {
	k.seq++
	k.fleet.Viewed(k.now, actor, body(map[string]any{"ask": id}))
}

// says answers as an actor: yes, no, or glass, which is yes by breaking it.
func (k *desk) says(actor, id, what string) {
	k.seq++
	in := map[string]any{"ask": id, "yes": what != "no", "broke_glass": what == "glass"}
	if an, ok := k.fleet.Answered(&k.rules, k.seq, k.now, actor, body(in), k.accuse); ok {
		k.bot.Answered(&k.rules, &an, k.emit)
	}
}

// reads views an ask, takes its time, and answers.
func (k *desk) reads(actor, id, what string, takes time.Duration) {
	k.views(actor, id)
	k.after(takes).says(actor, id, what)
}

func (k *desk) finds(what string, want ...string) {
	k.Helper()
	if diff := cmp.Diff(want, k.found); diff != "" {
		k.Errorf("%s (-want +got):\n%s", what, diff)
	}
	k.found = nil
}

// An agent may ask ten times within an hour. More than that is told of, and told of again when it is twice as much.
func TestManyAsks(t *testing.T) {
	k := newDesk(t)
	for i := range 10 {
		k.after(5*time.Minute).asks(fmt.Sprint("o", i), "pay")
	}
	k.finds("ten asks")
	k.asks("o10", "pay")
	k.finds("eleven asks", "many low money")
	for i := range 10 {
		k.asks(fmt.Sprint("p", i), "pay")
	}
	k.finds("21 asks")
	k.asks("q", "pay")
	k.finds("22 asks, twice the threshold", "many medium money")
	k.after(2*time.Hour).asks("r", "pay")
	k.finds("one ask, hours later")
	for i := range 10 {
		k.asks(fmt.Sprint("s", i), "pay")
	}
	k.finds("and ten more", "many low money")
	k.rules.Off = true
	for i := range 30 {
		k.asks(fmt.Sprint("t", i), "pay")
	}
	k.finds("no rules")
}

// Who asks much in every hour is not told of for asking as much; what it asks while its trust is lowered is not usual.
func TestManyAsksAreUsual(t *testing.T) {
	hour := func(k *desk, n int) {
		for i := range n {
			k.asks(fmt.Sprint("o", i), "pay")
		}
		k.after(2 * time.Hour)
	}
	k := newDesk(t)
	for range 5 {
		hour(k, 9)
	}
	k.finds("nine an hour")
	hour(k, 30)
	k.finds("thirty, of an agent that asks nine times")
	hour(k, 60)
	k.finds("sixty", "many low money")
	k = newDesk(t)
	k.lowers = true
	for range 5 {
		hour(k, 9)
	}
	hour(k, 12)
	k.finds("twelve, of an agent whose asks are not learned from", "many low money")
}

// An agent that goes on after its budget is told of.
func TestBeyondTheBudget(t *testing.T) {
	k := newDesk(t)
	refuse := func(n int) {
		for range n {
			k.seq++
			k.bot.Beyond(&k.rules, &conduct.Event{Seq: k.seq, At: k.now, Class: conduct.Write, Action: "pay", Resource: authz.Ref{Type: "order", ID: "o\n1"}, Code: authz.CodeAskBudget}, k.emit)
		}
	}
	refuse(4)
	k.finds("four times")
	refuse(1)
	k.finds("five times", "many low write")
	refuse(15)
	k.finds("twenty times", "many low write", "many low write", "many medium write")
	k.after(2 * time.Hour)
	refuse(4)
	k.finds("four times, hours later")
}

// If persons refuse most of what an agent asks, it is told of; one person alone is not grave.
func TestRefused(t *testing.T) {
	k := newDesk(t)
	ask := func(n int, actor, what string) {
		for range n {
			k.reads(actor, k.after(20*time.Minute).asks(fmt.Sprint("o", k.seq), "pay"), what, time.Minute)
		}
	}
	ask(4, "person:anna", "no")
	k.finds("four refusals")
	ask(1, "person:anna", "no")
	k.finds("five", "refused low money")
	ask(4, "person:anna", "no")
	k.finds("nine", slices.Repeat([]string{"refused low money"}, 4)...)
	ask(1, "person:anna", "no")
	k.finds("ten of one person", "refused low money")
	ask(1, "person:ben", "no")
	k.finds("and one of another", "refused medium money")
	ask(5, "person:ben", "yes")
	k.finds("five are approved")
	ask(1, "person:ben", "no")
	k.finds("five of ten are refused: too few")

	k = newDesk(t)
	ask(9, "evaluator:fraud", "no")
	k.finds("evaluators are no persons")
	for range 9 {
		id := k.after(20*time.Minute).asks("o", "pay")
		k.says("person:anna", id, "yes")
		k.says("person:anna", id, "no") // said already
		k.says("person:ben", "arq_none", "no")
	}
	k.finds("answers that do not count")
}

// Who says yes again and again sooner than anybody reads is told of.
func TestRubberStamp(t *testing.T) {
	k := newDesk(t)
	ask := func(n int, actor, route, what string, takes time.Duration) {
		for range n {
			k.reads(actor, k.after(20*time.Minute).asks(fmt.Sprint("o", k.seq), route), what, takes)
		}
	}
	anna := "person:anna"
	ask(4, anna, "pay", "yes", time.Second)
	k.finds("four fast answers")
	ask(1, anna, "pay", "yes", time.Second)
	k.finds("five", "rubber_stamp low anna")
	ask(4, anna, "pay", "yes", time.Second)
	k.finds("nine", slices.Repeat([]string{"rubber_stamp low anna"}, 4)...)
	ask(1, anna, "pay", "yes", time.Second)
	k.finds("ten of ten", "rubber_stamp medium anna")
	ask(6, anna, "pay", "yes", 5*time.Second)
	k.finds("she reads again")
	ask(1, anna, "pay", "yes", time.Second)
	k.finds("four of ten: too few")

	k = newDesk(t)
	ask(9, anna, "any", "yes", 0)
	k.finds("a route for which no time is too short")
	k = newDesk(t)
	ask(9, anna, "slow", "yes", 5*time.Second)
	k.finds("a route that takes longer to read", slices.Repeat([]string{"rubber_stamp low anna"}, 5)...)
	k = newDesk(t)
	ask(4, anna, "pay", "no", time.Second)
	k.finds("a fast no harms nobody")
	k = newDesk(t)
	for range 9 {
		id := k.after(20*time.Minute).asks(fmt.Sprint("o", k.seq), "pay")
		k.views(anna, id)
		k.after(time.Minute)
		k.reads(anna, id, "yes", time.Second) // viewed again for the number of the view
	}
	k.finds("what counts is the first view")
	k = newDesk(t)
	for range 9 {
		k.says(anna, k.after(20*time.Minute).asks(fmt.Sprint("o", k.seq), "pay"), "yes")
	}
	k.finds("no view is known")
}

// One look at many asks for the same counts once.
func TestBulkAnswers(t *testing.T) {
	k := newDesk(t)
	for range 3 {
		var ids []string
		k.after(2 * time.Hour)
		for range 8 {
			ids = append(ids, k.asks("same", "pay"))
		}
		for _, id := range ids {
			k.reads("person:anna", id, "yes", 100*time.Millisecond)
		}
	}
	k.finds("three looks at 24 asks")
}

// Broken glass that nobody else reviews in time is told of, and by whom it was broken.
func TestOverdueReview(t *testing.T) {
	k := newDesk(t)
	review := func(actor, id string) {
		k.seq++
		k.fleet.Reviewed(actor, body(map[string]any{"ask": id, "justified": true}))
	}
	id := k.asks("o1", "pay")
	k.reads("person:anna", id, "glass", time.Second)
	k.after(59 * time.Minute)
	k.finds("within the hour")
	review("person:ben", id)
	k.after(time.Hour)
	k.finds("reviewed")

	first, second := k.asks("o2", "any"), k.asks("o3", "pay")
	k.reads("person:anna", first, "glass", 0)
	k.reads("person:cem", second, "glass", 0)
	review("person:cem", second)
	review("admin:eve", second)
	k.after(time.Hour)
	k.finds("who broke it does not review it, nor who is no person", "overdue_review medium cem")
	k.after(22 * time.Hour)
	k.finds("a day, if the route says nothing")
	k.after(time.Hour)
	k.finds("more than a day", "overdue_review medium anna")
	k.after(100 * time.Hour)
	k.finds("once")

	id = k.asks("o4", "pay")
	k.says("person:anna", id, "glass")
	k.rules.Off = true
	k.after(100 * time.Hour)
	k.finds("no rules")
}

// Asks that have ended are answered no more, and what cannot be read is passed over.
func TestEndedAndUnreadable(t *testing.T) {
	k := newDesk(t)
	for _, to := range []string{"expired", "cancelled", "failed", "revoked", "escalated"} {
		id := k.asks("o", "pay")
		k.fleet.Moved(body(map[string]any{"ask": id, "to": to}))
		_, ok := k.fleet.Answered(&k.rules, 99, k.now, "person:anna", body(map[string]any{"ask": id, "yes": false}), k.accuse)
		if want := to == "escalated"; ok != want {
			t.Errorf("an ask that was %s is answered: %v, want %v", to, ok, want)
		}
	}
	id := k.asks("o", "pay")
	k.after(32 * 24 * time.Hour)
	k.fleet.Sweep(k.now)
	if _, ok := k.fleet.Answered(&k.rules, 99, k.now, "person:anna", body(map[string]any{"ask": id, "yes": false}), k.accuse); ok {
		t.Error("an ask of last month is answered")
	}
	class := func(string) conduct.Class { return conduct.Write }
	for _, text := range []string{``, `[]`, `{"id":7}`, `{"id":""}`, `{"id":"` + strings.Repeat("x", 300) + `"}`, `{"id":"a","agent":"` + strings.Repeat("x", 300) + `"}`} {
		if a := k.fleet.Asked(k.routes, class, 1, k.now, []byte(text)); a != nil {
			t.Errorf("Asked(%.40q) = %+v, want none", text, a)
		}
		k.fleet.Viewed(k.now, "person:anna", []byte(text))
		k.fleet.Moved([]byte(text))
		k.fleet.Reviewed("person:anna", []byte(text))
	}
	k.finds("nothing")
}
