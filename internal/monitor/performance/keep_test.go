package performance_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
)

// sizeMost is the budget of an agent's state, in bytes.
const sizeMost = 400

// A stream draws events and outcomes, of names without end.
type stream struct {
	rng *rand.Rand
	at  time.Time
	seq int64
}

func newStream(seed uint64) *stream {
	return &stream{rng: rand.New(rand.NewPCG(seed, 4)), at: monday, seq: 1}
}

func (s *stream) pick(from ...string) string { return from[s.rng.IntN(len(from))] }

// next gives a State one more thing.
func (s *stream) next(st *performance.State, r *catalog.PerformanceRules, emit func(conduct.Draft)) {
	s.at = s.at.Add(time.Duration(s.rng.Int64N(int64(3 * time.Hour))))
	s.seq++
	session := fmt.Sprint("s", s.rng.IntN(1000))
	learn := s.rng.IntN(4) > 0
	if s.rng.IntN(2) == 0 {
		ev := &conduct.Event{Seq: s.seq, At: s.at, Session: session, Action: s.pick("a", "b", strings.Repeat("c", 300)),
			Resource: authz.Ref{Type: "t", ID: fmt.Sprint(s.rng.IntN(3))}, Args: bytes.Repeat([]byte("x"), s.rng.IntN(2000)), Class: conduct.Class(s.rng.IntN(5))}
		if s.rng.IntN(3) > 0 {
			ev.Session, ev.Args = "s", nil
		}
		st.Observe(nil, r, ev, learn, emit)
		return
	}
	said := s.rng.Float64()
	o := &conduct.Outcome{Seq: s.seq, At: s.at, Decision: s.seq - 1, Class: s.pick("read", "money", "?"), Action: fmt.Sprint("a", s.rng.IntN(50)),
		Session: session, Said: &said, Allowed: s.rng.IntN(10) > 0, By: fmt.Sprint("pep:", s.rng.IntN(9)),
		Reporter: conduct.Reporter(s.pick("person", "pep", "operator", "agent")), Result: conduct.Result(s.pick("", "right", "wrong", "harmful", "reverted")),
		Fault: conduct.Fault(s.pick("", "", "", "tool", "schema", "timeout")), Latency: s.rng.Int64N(1 << s.rng.IntN(50)), Size: s.rng.Int64N(1 << s.rng.IntN(50))}
	if s.rng.IntN(3) == 0 {
		o.Said = nil
	}
	st.Outcome(nil, r, o, learn, emit)
}

// What is read goes on as what was written, and the same state is written with the same bytes.
func TestKept(t *testing.T) {
	r := catalog.DefaultConduct().Performance
	rapid.Check(t, func(t *rapid.T) {
		s := newStream(rapid.Uint64().Draw(t, "seed"))
		var one, other performance.State
		for range rapid.IntRange(0, 200).Draw(t, "before") {
			s.next(&one, &r, func(conduct.Draft) {})
		}
		kept := one.Append([]byte("x"))[1:]
		from := conduct.NewReader(append(bytes.Clone(kept), "rest"...))
		if err := other.Read(from); err != nil || string(from.Rest()) != "rest" {
			t.Fatalf("Read(%x): %v, with %q left", kept, err, from.Rest())
		}
		var a, b []conduct.Draft
		again := *s
		again.rng = rand.New(rand.NewPCG(1, 1))
		s.rng = rand.New(rand.NewPCG(1, 1))
		for range 50 {
			s.next(&one, &r, func(d conduct.Draft) { a = append(a, d) })
			again.next(&other, &r, func(d conduct.Draft) { b = append(b, d) })
		}
		if fmt.Sprint(a) != fmt.Sprint(b) || !bytes.Equal(one.Append(nil), other.Append(nil)) {
			t.Fatalf("what was read goes on otherwise: %v, %v", a, b)
		}
		if got := one.Size(); got > sizeMost {
			t.Fatalf("a state of %d bytes, want at most %d", got, sizeMost)
		}
	})
}

func TestReadDamaged(t *testing.T) {
	r := catalog.DefaultConduct().Performance
	s := newStream(7)
	var whole performance.State
	for range 300 {
		s.next(&whole, &r, func(conduct.Draft) {})
	}
	kept := whole.Append(nil)
	for n := range kept {
		var st performance.State
		if err := st.Read(conduct.NewReader(kept[:n])); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("the first %d of %d bytes: %v, want that they are damaged", n, len(kept), err)
		}
		if st.Size() != new(performance.State).Size() {
			t.Errorf("after the first %d bytes something is remembered", n)
		}
	}
	for _, b := range [][]byte{{4}, {8}, {16}, {255}, {1}} {
		if err := new(performance.State).Read(conduct.NewReader(append(b, make([]byte, 500)...))); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Read(%d, ...): %v, want that it is damaged", b[0], err)
		}
	}
	if got := new(performance.State).Append(nil); len(got) != 1 {
		t.Errorf("a state that remembers nothing is written as %x, want one byte", got)
	}
	var f performance.Fleet
	if err := f.Read(conduct.NewReader(f.Append(nil))); err != nil {
		t.Errorf("reading a fleet: %v", err)
	}
}

// Whatever Read accepts can be used, and is written as what is read the same.
func FuzzRead(f *testing.F) {
	r := catalog.DefaultConduct().Performance
	for seed := range uint64(3) {
		s := newStream(seed)
		var st performance.State
		for range 30 * seed {
			s.next(&st, &r, func(conduct.Draft) {})
		}
		f.Add(st.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var one, other performance.State
		if one.Read(conduct.NewReader(b)) != nil {
			return
		}
		kept := one.Append(nil)
		if err := other.Read(conduct.NewReader(kept)); err != nil || !bytes.Equal(other.Append(nil), kept) {
			t.Fatalf("read and written as %x, then %x: %v", kept, other.Append(nil), err)
		}
		s := newStream(1)
		for range 20 {
			s.next(&one, &r, func(conduct.Draft) {})
		}
		if x, ok := one.Confidence(&r, 0.5); ok && !(x >= 0 && x <= 1) {
			t.Fatalf("a confidence is worth %v", x)
		}
		if st := one.Standing(); !(st.Accuracy >= 0 && st.Accuracy <= 1 && st.ErrorRate >= 0 && st.ErrorRate <= 1 && st.Brier >= 0 && st.Brier <= 1) {
			t.Fatalf("standing %+v", st)
		}
		if one.Size() > sizeMost {
			t.Fatalf("a state of %d bytes", one.Size())
		}
	})
}

// The same stream gives the same state and findings, on every machine: these bytes were written once.
func TestDeterministic(t *testing.T) {
	r := catalog.DefaultConduct().Performance
	s := newStream(2026)
	var st performance.State
	sum := sha256.New()
	n := 0
	for range 20_000 {
		s.next(&st, &r, func(d conduct.Draft) { n++; fmt.Fprintln(sum, d) })
	}
	sum.Write(st.Append(nil))
	fmt.Fprintln(sum, st.Standing())
	const want = "bfe03142f3187c09"
	if got := hex.EncodeToString(sum.Sum(nil)[:8]); got != want || n == 0 {
		t.Errorf("the sum of %d findings and the state is %s, want %s", n, got, want)
	}
}

func TestSize(t *testing.T) {
	r := catalog.DefaultConduct().Performance
	var st performance.State
	if got := st.Size(); got > 64 {
		t.Errorf("an agent of whom nothing is known takes %d bytes, want at most 64", got)
	}
	s := newStream(1)
	for range 10_000 {
		s.next(&st, &r, func(conduct.Draft) {})
	}
	t.Logf("a full state takes %d bytes, and %d where it is kept", st.Size(), len(st.Append(nil)))
	if got := st.Size(); got > sizeMost {
		t.Errorf("a full state takes %d bytes, want at most %d", got, sizeMost)
	}
	if len(st.Append(nil)) > sizeMost {
		t.Errorf("a full state is kept in %d bytes, want at most %d", len(st.Append(nil)), sizeMost)
	}
}

func BenchmarkObserve(b *testing.B) {
	r := catalog.DefaultConduct().Performance
	var st performance.State
	args := []byte(`{"amount":"120.50","recipient":"DE02120300000000202051","subject":"Bill"}`)
	ev := &conduct.Event{Session: "s-81723", Action: "pay_invoice", Resource: authz.Ref{Type: "invoice", ID: "2026-114"}, Args: args}
	emit := func(conduct.Draft) {}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		args[12] = byte('0' + i%10)
		st.Observe(nil, &r, ev, true, emit)
	}
}

func BenchmarkOutcome(b *testing.B) {
	r := catalog.DefaultConduct().Performance
	var st performance.State
	said := 0.75
	o := &conduct.Outcome{Decision: 1, Class: "money", Action: "pay_invoice", Session: "s-81723", Said: &said, Allowed: true,
		Reporter: conduct.ReporterPEP, By: "pep:gateway", Result: conduct.ResultRight, Latency: 120, Size: 4096}
	emit := func(conduct.Draft) {}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o.Seq, o.At = int64(i), monday.Add(time.Duration(i)*time.Second)
		st.Outcome(nil, &r, o, true, emit)
	}
}

func BenchmarkConfidence(b *testing.B) {
	d := newDesk()
	for i := range 100 {
		d.judge(i%3 > 0, float64(i)/100)
	}
	b.ReportAllocs()
	for b.Loop() {
		d.Confidence(&d.rules, 0.9)
	}
}
