package audit_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// The walk through a body goes over a value of JSON exactly, and survives what is none.
func FuzzTerms(f *testing.F) {
	for _, s := range []string{`{}`, `[]`, ` {"a":[1,-2.5e3,true,null,{"b":"\"\\"}],"c":"\u00e9"} `, `"\\\""`, `{"request":{"subject":{"type":"agent","id":"a\n"},` +
		`"action":{"name":"x"},"resource":{"type":"t","id":"\ud800"}},"decision":{"effect":"allow","code":"allowed"}}`,
		`{"request":{"subject":`, `"\`, `{"request`, `[[[[`, `}`, `{"decision":{"code":"`, `17`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		audit.Terms(&audit.Entry{Kind: audit.DecisionMade, Body: b})
		rest, ok := audit.SkipJSON(b)
		if v := jsontext.Value(b); v.IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) && (!ok || strings.Trim(string(rest), " \t\r\n") != "") {
			t.Errorf("over %q: %v, and there remains %q", b, ok, rest)
		}
	})
}

// An entry is found by the decisions that it is about, not by numbers that an agent has written into it.
func TestTermsOfDecisions(t *testing.T) {
	l, _ := start(t, &audittest.Memory{}, audit.Config{Heartbeat: -1})
	x := audit.NewIndex(l, &audittest.Memory{})
	for _, c := range []struct {
		kind   audit.Kind
		body   string
		number int64
		found  bool
	}{
		{audit.OutcomeReported, `{"decision":101}`, 101, true},
		{audit.OutcomeReported, `{"back":1}`, 1, true}, // that of the entry before it
		{audit.OutcomeReported, `{"edge":{"decision":102},"obliged":[{"back":1,"decision":102}]}`, 102, false},
		{audit.ApprovalAsked, `{"bound":{},"items":[{"decision":103},{"action":{"decision":104},"decision":105}]}`, 103, true},
		{audit.ApprovalAsked, `{"items":[{"action":{"decision":106},"decision":107}]}`, 107, true},
		{audit.ApprovalAsked, `{"items":[{"action":{"decision":108},"resource":{"properties":{"items":[{"decision":108}]}}}]}`, 108, false},
		{audit.ApprovalAsked, `{"items":[{}],"client":[{"decision":109}],"bound":{"context":{"items":[{"decision":109}]}},"decision":109}`, 109, false},
		{audit.ApprovalAsked, `{"items":{"x":{"decision":110}},"back":1}`, 110, false},
		{audit.ApprovalUsed, `{"decision":111,"items":[{"decision":111}]}`, 111, false},
		{audit.EdgeRefused, `{"decision":112}`, 112, false},
	} {
		seq, err := l.Record(t.Context(), draft("x.y", `{}`), draft(c.kind, "%s", c.body))
		if err != nil {
			t.Fatal(err)
		}
		if seq++; c.number == 1 {
			c.number = seq - 1
		}
		es, err := x.Find(t.Context(), audit.Query{Kind: c.kind, Decision: c.number})
		if found := len(es) == 1 && es[0].Seq == seq; err != nil || found != c.found || !found && len(es) > 0 {
			t.Errorf("%s %s by decision %d: %+v, %v, want found: %v", c.kind, c.body, c.number, es, err, c.found)
		}
	}
	body := `{"items":[` + strings.TrimSuffix(strings.Repeat(`{"decision":7},`, 30000), ",") + `]}`
	if n := audit.Terms(&audit.Entry{Kind: audit.ApprovalAsked, Body: []byte(body)}); n > 100 {
		t.Errorf("an ask of %d bytes has %d terms", len(body), n)
	}
}

// BenchmarkTerms reads the terms of one decision.
func BenchmarkTerms(b *testing.B) {
	e := audit.Entry{Kind: audit.DecisionMade, Actor: "pep:gateway", Body: decisionBody(1, 1000)}
	b.ReportAllocs()
	for b.Loop() {
		audit.Terms(&e)
	}
}
