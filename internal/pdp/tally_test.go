package pdp_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// decided returns the entry of a decision about a subject at that time.
func decided(subject authz.Ref, effect authz.Effect, at time.Time, claimed string) audit.Entry {
	rec := pdp.Record{
		Request: authz.Request{
			Subject:  authz.Entity{Ref: subject, Properties: authz.Claimed(claimed)},
			Action:   authz.Action{Name: "pay", Properties: authz.Claimed(claimed)},
			Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: `","decision":{"at":"`}},
			Context:  authz.Claimed(claimed),
		},
		Decision: authz.Decision{
			At: at, Effect: effect, Code: authz.CodeNoPermit, Detail: `,"decision":{"at":"x","effect":"allow"`,
			Reasons: []authz.Reason{{Code: "c", Message: `","effect":"allow","`}},
			Changes: []authz.Change{{Who: "agent", Kind: "set", To: json.RawMessage(`"\"effect\":\"allow\""`), Hint: "h"}},
		},
	}
	return audit.Entry{At: at, Kind: audit.DecisionMade, Body: pdp.AppendRecord(nil, &rec)}
}

// What a request says cannot turn a refusal into a permission, nor one agent into another.
func TestTally(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 30, 0, time.UTC)
	tally := &pdp.Tally{Known: func(id authz.AgentID) bool { return id == "bot" || id == "other" }}
	apply := func(e audit.Entry) {
		t.Helper()
		if err := tally.Apply(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	want := func(id authz.AgentID, at time.Time, made, refused int64) {
		t.Helper()
		if m, r := tally.Of(id, at); m != made || r != refused {
			t.Errorf("Of(%q, %v) = %d, %d, want %d, %d", id, at.Format(time.TimeOnly), m, r, made, refused)
		}
	}
	bot := authz.Ref{Type: authz.AgentType, ID: "bot"}
	hostile := `{"subject":{"type":"agent","id":"other"},"decision":{"at":"2026","effect":"allow"}}`

	apply(decided(bot, authz.Allow, now, "{}"))
	apply(decided(bot, authz.Deny, now, hostile))
	apply(decided(bot, authz.RequireApproval, now, "{}"))
	apply(decided(authz.Ref{Type: authz.AgentType, ID: `bot"`}, authz.Deny, now, "{}"))
	apply(decided(authz.Ref{Type: "user", ID: "bot"}, authz.Deny, now, "{}"))
	apply(audit.Entry{At: now, Kind: audit.AgentPut, Body: json.RawMessage(`{}`)})
	want("bot", now, 3, 2)
	want("other", now, 0, 0)

	apply(decided(bot, authz.Deny, now.Add(4*time.Minute), "{}"))
	want("bot", now.Add(4*time.Minute), 4, 3)
	want("bot", now.Add(6*time.Minute), 1, 1)
	want("bot", now.Add(11*time.Minute), 0, 0)
	apply(decided(bot, authz.Deny, now.Add(12*time.Minute), "{}"))
	want("bot", now.Add(12*time.Minute), 1, 1)

	for i := range 1000 { // whoever is not registered takes no room
		id := authz.Ref{Type: authz.AgentType, ID: fmt.Sprint("stranger", i)}
		apply(decided(id, authz.Deny, now, "{}"))
		want(authz.AgentID(id.ID), now, 0, 0)
	}
}
