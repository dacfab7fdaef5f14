package api_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

func (b *inbox) explain(seq int64) api.Explanation {
	b.Helper()
	var x api.Explanation
	if err := json.Unmarshal([]byte(b.as("audit", "GET", "/v1/decisions/"+pdp.DecisionID(seq)+"/explain", "", 200)), &x); err != nil {
		b.Fatal(err)
	}
	return x
}

// An explanation tells of asks that have the decision among their items, not of all that a search comes upon.
func TestExplainTellsItsOwnAsks(t *testing.T) {
	b := openInbox(t)
	a := b.ask("one", inboxArgs)
	b.ask("one", `{"amount":1,"decision":1,"items":[{"decision":1}]}`)
	x := b.explain(a.Items[0].Decision)
	if len(x.Asks) != 1 || x.Asks[0].ID != a.ID || x.Asks[0].How != "asked" || len(x.Asks[0].Steps) == 0 {
		t.Errorf("asks about decision %d: %+v, want %s", x.Seq, x.Asks, a.ID)
	}
}

// What came next in a session is found in few searches, however many decisions came after it and however far away it is.
func TestExplainNextOfManyInSession(t *testing.T) {
	b := openInbox(t)
	body := func(session string) []byte {
		rec := pdp.Record{Request: authz.Request{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, Action: authz.Action{Name: "pay"},
			Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}}, Observed: authz.Observed{PEP: "gateway", Session: session}},
			Decision: authz.Decision{Effect: authz.Deny, Code: authz.CodeForbidden}}
		text, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	ours, other := body("long"), body("other")
	const n = 20000
	for i := range n {
		e := audit.Entry{Seq: int64(i + 1), At: b.now, Kind: audit.DecisionMade, Actor: "pep:gateway", Body: ours}
		if i >= 1000 && i < 3000 || i == 4000 || i == n-2 {
			e.Body = other
		}
		b.entries = append(b.entries, e)
	}
	for _, c := range []struct{ of, next int64 }{
		{1, 2}, {500, 501}, {1000, 3001}, {999, 1000}, {4000, 4002}, {n - 1000, n - 999}, {n - 2, n}, {n - 40, n - 39}, {n, 0},
	} {
		b.finds = 0
		x := b.explain(c.of)
		next := int64(0)
		if x.Session != nil && x.Session.Next != nil {
			next = x.Session.Next.Seq
		}
		if next != c.next || b.finds > 30 {
			t.Errorf("after decision %d came %d, found by %d searches: want %d by 30 at most", c.of, next, b.finds, c.next)
		}
	}
}

// An explanation that does not tell all reports says so.
func TestExplainSaysThatReportsAreCut(t *testing.T) {
	b := openInbox(t)
	seq := b.refusal(inboxArgs)
	for i := range 51 {
		if x := b.explain(seq); len(x.Outcomes) != i || x.Earlier {
			t.Fatalf("%d reports: %d are told, earlier ones: %v", i, len(x.Outcomes), x.Earlier)
		}
		o := fmt.Appendf(nil, `{"decision":%d,"agent":"bot","by":"pep:gateway","reporter":"pep","result":"right","latency_ms":%d}`, seq, i+1)
		if _, err := b.Commit(t.Context(), audit.Draft{Kind: audit.OutcomeReported, Actor: "pep:gateway", Body: o}); err != nil {
			t.Fatal(err)
		}
	}
	if x := b.explain(seq); len(x.Outcomes) != 50 || !x.Earlier || x.Outcomes[0].Latency != 2 {
		t.Errorf("51 reports: %d are told, earlier ones: %v; want the newest 50, and that there are", len(x.Outcomes), x.Earlier)
	}
}
