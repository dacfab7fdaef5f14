package server_test

import (
	"strings"
	"testing"
)

// What took effect is counted once, and what did not is not.
func TestAskNumbers(t *testing.T) {
	s := start(t, asking(t))
	people := s.persons("anna", "ben", "cleo")
	ask := func(account string) string {
		t.Helper()
		return s.request("clerk", account, "900.0", s.evaluate(payment("clerk", account, "900.0", "")))
	}
	one := ask("acme")
	if again := ask("acme"); again != one {
		t.Fatalf("the very same ask became another: %s, %s", one, again)
	}
	s.answer(people["anna"], one, true, `,"scope":{"uses":2}`)
	if r := s.do("POST", "/v1/approvals/"+one+"/answer", people["ben"], `{"yes":false,"view":1}`); r.status == 200 {
		t.Fatalf("an answer after the end: %s", r.body)
	}
	approval := s.approved(one)
	for range 3 {
		s.evaluate(payment("clerk", "acme", "900.0", approval))
	}
	s.answer(people["ben"], ask("globex"), false, "")
	ask("globex")
	page := s.do("GET", "/metrics", "", "").body
	for _, want := range []string{
		`safeconduct_asks_total{kind="access"} 3`, `safeconduct_asks_total{kind="ciba"} 0`, `safeconduct_asks_joined_total 1`, `safeconduct_asks_pending 1`,
		`safeconduct_asks_ended_total{status="approved"} 1`, `safeconduct_asks_ended_total{status="denied"} 1`, `safeconduct_asks_ended_total{status="expired"} 0`,
		`safeconduct_ask_answers_total{by="person",verdict="yes"} 1`, `safeconduct_ask_answers_total{by="person",verdict="no"} 1`,
		`safeconduct_ask_answers_total{by="evaluator",verdict="yes"} 0`, `safeconduct_ask_answer_seconds_count 2`, `safeconduct_ask_reading_seconds_count 2`,
		`safeconduct_approval_uses_total 2`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, "safeconduct_a") && strings.Contains(line, "ask") {
				t.Log(line)
			}
		}
	}
}
