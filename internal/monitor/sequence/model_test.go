package sequence_test

import (
	"math"
	"testing"

	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
)

func TestBits(t *testing.T) {
	for _, p := range []float64{1, 0.5, 0.25, 1.0 / 3, 0.7071, 0.70711, 0.999999, 1e-9, 1e-300, 3, 1000} {
		if got, want := sequence.Bits(p), -math.Log2(p); math.Abs(got-want) > 1e-12 {
			t.Errorf("Bits(%v) = %v, want %v", p, got, want)
		}
	}
}

func learn(m sequence.Model, task uint32, acts ...sequence.Symbol) {
	prev := sequence.Start
	for _, w := range acts {
		m.Learn(sequence.Place{Task: task, Prev: prev}, w, sequence.Lesson{First: true, Pair: true, Shared: true, Grow: true})
		prev = w
	}
}

// Two sessions a b of purpose and agent, by hand: each level is (count + kinds lower) / (n + kinds), and with a quarter of kinds
// for what came after a.
func TestModel(t *testing.T) {
	m := sequence.Model{Own: new(sequence.Own), Purpose: new(sequence.Shared), Fleet: new(sequence.Shared)}
	if got := m.P(sequence.Place{Task: 9}, a); got != 1 {
		t.Errorf("P in a world without acts = %v, want 1", got)
	}
	learn(m, 9, a, b)
	learn(m, 9, a, b)
	p := 1.0 / 3  // two symbols, and what nobody knows
	for range 3 { // fleet, purpose, purpose at the task
		p = (2 + 2*p) / (4 + 2)       // b is 2 of 4 acts of 2 kinds
		p = (2 + 0.25*p) / (2 + 0.25) // and what alone came after a, twice
	}
	p = (2 + 0.25*p) / (2 + 0.25) // agent at the task
	if got := m.P(sequence.Place{Task: 9, Prev: a}, b); math.Abs(got-p) > 1e-15 {
		t.Errorf("P(b after a) = %v, want %v", got, p)
	}
	m.Own = nil
	p = 1.0 / 3
	for range 2 { // of a task nobody knows: fleet and purpose
		p = 2 * p / (4 + 2)
		p = 0.25 * p / (2 + 0.25)
	}
	if got := m.P(sequence.Place{Task: 10, Prev: a}, c); math.Abs(got-p) > 1e-15 {
		t.Errorf("P(c after a) in an unknown task = %v, want %v", got, p)
	}
	if got := m.Sessions(9); got != 2 {
		t.Errorf("Sessions = %d, want 2", got)
	}
	if got := m.Times(sequence.Place{Task: 9, Prev: a}, b); got != 2 {
		t.Errorf("Times(b after a) = %d, want 2", got)
	}
	if usual, never := m.Absence(9, a), m.Absence(9, d); usual > 0.1 || never < 3 {
		t.Errorf("Absence of what is in every session = %v bits, of what is in none %v, want almost 0 and some", usual, never)
	}
}

// A lesson that may not grow tables counts only what is known.
func TestModelNoGrowth(t *testing.T) {
	m := sequence.Model{Own: new(sequence.Own), Purpose: new(sequence.Shared), Fleet: new(sequence.Shared)}
	learn(m, 9, a, b)
	before := m.Purpose.Append(m.Fleet.Append(nil))
	news := m.Learn(sequence.Place{Task: 9, Prev: a}, d, sequence.Lesson{First: true, Pair: true, Shared: true})
	if after := m.Purpose.Append(m.Fleet.Append(nil)); string(after) != string(before) || news == 0 {
		t.Errorf("shared tables grew, %d things being new to them", news)
	}
}

// How many sessions have an act does not depend on how many others came after it in each.
func TestModelAbsence(t *testing.T) {
	m := sequence.Model{Purpose: new(sequence.Shared), Fleet: new(sequence.Shared)}
	learn(m, 9, a, b)
	for range 3 {
		learn(m, 9, b, c)
	}
	for _, w := range []sequence.Symbol{c, d} { // in the first session a came again, and these after it
		m.Learn(sequence.Place{Task: 9, Prev: a}, w, sequence.Lesson{Pair: true, More: true, Shared: true, Grow: true})
	}
	p := 1.0 / 4  // a, b, c, and what nobody knows
	for range 2 { // purpose, purpose at the task: one session of four
		p = (1 + 0.25*p) / (4 + 0.25)
	}
	if got := m.Absence(9, a); math.Abs(got+math.Log2(p)) > 1e-12 {
		t.Errorf("Absence = %v bits, want %v", got, -math.Log2(p))
	}
}
