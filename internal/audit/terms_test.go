package audit_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/internal/audit"
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

// BenchmarkTerms reads the terms of one decision.
func BenchmarkTerms(b *testing.B) {
	e := audit.Entry{Kind: audit.DecisionMade, Actor: "pep:gateway", Body: decisionBody(1, 1000)}
	b.ReportAllocs()
	for b.Loop() {
		audit.Terms(&e)
	}
}
