package gist_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/gist"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func entry(t testing.TB) audit.Entry {
	rec := pdp.Record{
		Request: authz.Request{
			Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: strings.Repeat("ä", 300)}},
			OnBehalf: []authz.Ref{{Type: "user", ID: "anna"}, {Type: "agent", ID: "chief"}},
			Action:   authz.Action{Name: "pay_invoice", Properties: authz.Claimed(`{"amount":"12","note":"<script>"}`)},
			Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "2026-114"}},
			Observed: authz.Observed{Session: "s-1", PEP: "bank"},
		},
		Facts: authz.Facts{At: noon, Agent: &authz.Agent{Owner: "ops", Purpose: "billing"}},
		Decision: authz.Decision{At: noon, Effect: authz.Deny, Code: authz.CodeForbidden, Reasons: []authz.Reason{{Code: "much", Message: "Too much."}},
			Changes: []authz.Change{{Who: "agent", Kind: "lower", Hint: "Less."}}, Fired: []authz.Fired{{Policy: "p", Shadow: true}}},
	}
	body, err := json.Marshal(&rec)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Entry{Seq: 7, At: noon.Add(time.Millisecond), Kind: audit.DecisionMade, Body: body}
}

func TestRead(t *testing.T) {
	e := entry(t)
	got, err := gist.Read(e)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Agent) > gist.MaxName || !strings.HasSuffix(got.Agent, "ä…") {
		t.Errorf("a long name becomes %d bytes, %.20q", len(got.Agent), got.Agent)
	}
	got.Agent = ""
	want := &gist.Decision{ID: "d7", Seq: 7, At: e.At, Purpose: "billing", Owner: "ops", OnBehalf: []string{"user:anna", "agent:chief"}, Action: "pay_invoice",
		Resource: authz.Ref{Type: "invoice", ID: "2026-114"}, Effect: authz.Deny, Code: authz.CodeForbidden, Reason: "Too much.", PEP: "bank", Session: "s-1", Changes: 1, Shadow: true,
		Reasons: []authz.Reason{{Code: "much", Message: "Too much."}}, Made: noon, Agents: []string{"chief"}, Persons: []string{"user:anna"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, body := range []string{``, `[]`, `{"decision":{"effect":"perhaps"}}`, `{"request":{"subject":7}}`} {
		if _, err := gist.Read(audit.Entry{Body: json.RawMessage(body)}); err == nil {
			t.Errorf("%s is read as a decision", body)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(entry(f).Body))
	f.Fuzz(func(t *testing.T, body []byte) {
		if d, err := gist.Read(audit.Entry{Seq: 1, Body: body}); err == nil && (len(d.Action) > gist.MaxName || len(d.Reason) > gist.MaxText) {
			t.Errorf("what is shown is not bounded: %v", d)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	e := entry(b)
	b.SetBytes(int64(len(e.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gist.Read(e); err != nil {
			b.Fatal(err)
		}
	}
}
