package pdp_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// equalRecords compares what a record means: a list or object that holds nothing is one that is not there.
var equalRecords = cmp.Options{
	cmp.FilterPath(func(p cmp.Path) bool {
		switch p.Last().Type() {
		case reflect.TypeFor[authz.Claimed](), reflect.TypeFor[json.RawMessage]():
			return false
		}
		return true
	}, cmpopts.EquateEmpty()),
	cmpopts.EquateComparable(netip.Addr{}),
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
	cmpopts.IgnoreFields(authz.Facts{}, "Zone"),
	cmpopts.IgnoreFields(authz.Decision{}, "Seq", "Approval", "Unapproved"), // what is recorded says them
	cmpopts.IgnoreFields(authz.ApprovalRef{}, "State"),                      // it is not recorded
	cmp.Comparer(func(a, b authz.Claimed) bool { return sameJSON(a, b) }),
	cmp.Comparer(func(a, b json.RawMessage) bool { return sameJSON(a, b) }),
}

func sameJSON(a, b []byte) bool {
	decode := func(text []byte) (v any) {
		if len(text) > 0 {
			_ = json.Unmarshal(text, &v)
		}
		if m, ok := v.(map[string]any); ok && len(m) == 0 {
			return nil
		}
		return v
	}
	return reflect.DeepEqual(decode(a), decode(b))
}

// The hand-written form of a record and the one encoding/json reads are the same.
func TestRecordForm(t *testing.T) {
	text := rapid.StringMatching(`[ -~äöü€"\\\n\t]{0,12}`)
	list := rapid.SliceOfN(text, 0, 3)
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "at")).UTC()
	})
	claimed := rapid.Custom(func(t *rapid.T) authz.Claimed {
		m := rapid.MapOfN(text, rapid.OneOf(text.AsAny(), rapid.Int32().AsAny(), list.AsAny()), 0, 3).Draw(t, "claimed")
		if len(m) == 0 {
			return nil
		}
		b, err := json.MarshalIndent(m, "", rapid.SampledFrom([]string{"", " "}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	ref := rapid.Custom(func(t *rapid.T) authz.Ref {
		return authz.Ref{Type: text.Draw(t, "type"), ID: text.Draw(t, "id")}
	})
	entity := rapid.Custom(func(t *rapid.T) authz.Entity {
		return authz.Entity{Ref: ref.Draw(t, "ref"), Properties: claimed.Draw(t, "properties")}
	})
	maybe := rapid.Bool()
	grant := rapid.Custom(func(t *rapid.T) authz.Grant {
		return authz.Grant{Within: list.Draw(t, "within"), Exceeded: list.Draw(t, "exceeded"), Class: text.Draw(t, "grant class"),
			Essential: maybe.Draw(t, "essential")}
	})
	trust := rapid.Custom(func(t *rapid.T) authz.Trust {
		return authz.Trust{Level: text.Draw(t, "level"), Score: rapid.Float64Range(0, 1).Draw(t, "score")}
	})
	conduct := rapid.Custom(func(t *rapid.T) (c authz.Conduct) {
		if maybe.Draw(t, "known") {
			c = authz.Conduct{Lowest: trust.Draw(t, "lowest"), Judged: rapid.Int64Range(0, 99).Draw(t, "judged"),
				Accuracy: rapid.Float64Range(0, 1).Draw(t, "accuracy"), ErrorRate: rapid.Float64Range(0, 1).Draw(t, "error rate"),
				Findings: list.Draw(t, "findings"), Gravest: rapid.Int64Range(0, 4).Draw(t, "gravest"), Quarantined: maybe.Draw(t, "quarantined")}
		}
		return c
	})
	detail := rapid.Custom(func(t *rapid.T) authz.Detail {
		d := authz.Detail{Type: text.Draw(t, "type"), Identifier: text.Draw(t, "identifier"), Actions: list.Draw(t, "actions"), Locations: list.Draw(t, "locations")}
		if maybe.Draw(t, "limits") {
			d.Limits = &authz.Limits{Class: text.Draw(t, "most"), Amount: rapid.MapOfN(text, text, 0, 3).Draw(t, "amount"),
				Regions: list.Draw(t, "regions"), Schedules: list.Draw(t, "opening")}
		}
		return d
	})

	rapid.Check(t, func(t *rapid.T) {
		want := pdp.Record{
			Request: authz.Request{
				Subject: entity.Draw(t, "subject"), Resource: entity.Draw(t, "resource"),
				OnBehalf: rapid.SliceOfN(ref, 0, 2).Draw(t, "behalf"),
				Action:   authz.Action{Name: text.Draw(t, "action"), Properties: claimed.Draw(t, "args")},
				Context:  claimed.Draw(t, "context"),
				Observed: authz.Observed{Session: text.Draw(t, "session"), Task: text.Draw(t, "task"), PEP: text.Draw(t, "pep"), RequestID: text.Draw(t, "request id"),
					Method: text.Draw(t, "method")},
			},
			Facts: authz.Facts{
				At: moment.Draw(t, "at"), Schedules: list.Draw(t, "schedules"), Zones: list.Draw(t, "zones"),
				Country: text.Draw(t, "country"), Class: authz.DataClass(rapid.IntRange(0, 3).Draw(t, "class")),
				Labels: list.Draw(t, "labels"), Region: text.Draw(t, "region"),
				Grant: grant.Draw(t, "grant"),
				Trust: trust.Draw(t, "trust"), Conduct: conduct.Draw(t, "conduct"),
				Risk: authz.Risk{Level: text.Draw(t, "risk"), Score: rapid.Int64().Draw(t, "points"), Alerts: list.Draw(t, "alerts"),
					Indicators: list.Draw(t, "indicators")},
				Missing: list.Draw(t, "missing"),
			},
			Decision: authz.Decision{
				At: moment.Draw(t, "decided"), Effect: authz.Effect(rapid.IntRange(0, 3).Draw(t, "effect")), Code: text.Draw(t, "code"),
				Remedies: list.Draw(t, "remedies"), Detail: text.Draw(t, "detail"), PolicySet: rapid.Int64().Draw(t, "set"), Catalog: 7,
			},
		}
		if maybe.Draw(t, "address") {
			want.Request.Observed.Address = netip.MustParseAddr("2001:db8::1")
		}
		if maybe.Draw(t, "provenance") {
			want.Request.Observed.Provenance = &authz.Provenance{Prompt: list.Draw(t, "prompt"), Operator: list.Draw(t, "operator"),
				Untrusted: list.Draw(t, "untrusted"), Unknown: list.Draw(t, "unknown")}
		}
		if maybe.Draw(t, "agent") {
			want.Facts.Agent = &authz.Agent{ID: "a", Owner: text.Draw(t, "owner"), Purpose: text.Draw(t, "purpose"), Version: "1",
				Creator: text.Draw(t, "creator"), State: authz.AgentActive, StateReason: text.Draw(t, "why"), Capabilities: list.Draw(t, "capabilities"),
				Labels: rapid.MapOfN(text, text, 0, 2).Draw(t, "agent labels"), CreatedAt: moment.Draw(t, "created"), UpdatedAt: moment.Draw(t, "updated"),
				Revision: 3, AsOf: 9}
		}
		if maybe.Draw(t, "passport") {
			want.Request.Observed.Passport = &authz.Passport{ID: text.Draw(t, "jti"), Details: rapid.SliceOfN(detail, 0, 3).Draw(t, "details"),
				Bound: text.Draw(t, "bound"), Depth: rapid.IntRange(0, 8).Draw(t, "depth"), Expires: moment.Draw(t, "expires")}
			want.Facts.Credential = authz.Credential{Method: text.Draw(t, "how"), Keys: rapid.IntRange(0, 8).Draw(t, "keys")}
			if maybe.Draw(t, "dated") {
				want.Facts.Credential.Since, want.Facts.Credential.ExpiresAt = moment.Draw(t, "since"), moment.Draw(t, "until")
			}
			want.Facts.Behalf = []authz.Delegator{{Agent: &authz.Agent{ID: "b", Owner: text.Draw(t, "owner of b"), State: authz.AgentRetired}, Grant: grant.Draw(t, "grant of b"),
				Trust: trust.Draw(t, "trust in b"), Conduct: conduct.Draw(t, "conduct of b")},
				{Agent: &authz.Agent{ID: "c"}}}
		}
		if maybe.Draw(t, "authenticated") && want.Request.Observed.Passport != nil {
			want.Request.Observed.Passport.Auth = authz.Authentication{ACR: text.Draw(t, "acr"), AMR: list.Draw(t, "amr"),
				Method: text.Draw(t, "client method"), Bound: text.Draw(t, "binding"), Person: text.Draw(t, "person")}
			if maybe.Draw(t, "when known") {
				want.Request.Observed.Passport.Auth.At = moment.Draw(t, "auth_time")
			}
			want.Facts.Assured = list.Draw(t, "assured")
		}
		if maybe.Draw(t, "refers to an approval") {
			want.Request.Approval = &authz.ApprovalRef{ID: text.Draw(t, "approval"), State: json.RawMessage(`"s"`)}
			want.Decision.Lifted, want.Decision.Routes = maybe.Draw(t, "lifted"), list.Draw(t, "routes")
			want.Facts.Asks = authz.Asks{Session: rapid.Int64Range(0, 3).Draw(t, "in the session"), Hour: rapid.Int64Range(0, 3).Draw(t, "in the hour"),
				Pending: rapid.Int64Range(0, 3).Draw(t, "pending")}
			if want.Facts.Unapproved = text.Draw(t, "unapproved"); want.Facts.Unapproved == "" {
				want.Facts.Approval = &authz.Approval{ID: text.Draw(t, "approval id"), Ask: text.Draw(t, "ask"), Routes: list.Draw(t, "gone"), By: list.Draw(t, "by"),
					Until: moment.Draw(t, "approved until"), Single: maybe.Draw(t, "single"), Use: rapid.Int64Range(0, 9).Draw(t, "use")}
			}
		}
		if maybe.Draw(t, "calibrated") {
			worth := rapid.Float64Range(0, 1).Draw(t, "worth")
			want.Facts.Confidence = &worth
		}
		if maybe.Draw(t, "more") {
			want.Facts.Risk.Contributions = []authz.Contribution{{Source: text.Draw(t, "source"), Points: 3}, {Source: "b", Points: -1}}
			want.Decision.Reasons = []authz.Reason{{Code: "c", Message: text.Draw(t, "message"), Party: "person"}}
			want.Decision.Changes = []authz.Change{{Who: "agent", Kind: "raise", Target: "claimed.confidence", To: json.RawMessage("0.9"), Hint: text.Draw(t, "hint")}}
			want.Decision.Obligations = []authz.Obligation{{ID: "log", Type: "log", Properties: json.RawMessage(`{"level": "full"}`)}}
			want.Decision.Fired = []authz.Fired{{Policy: text.Draw(t, "policy"), Effect: "forbid", Reason: text.Draw(t, "reason"), Remedy: "approval",
				Error: text.Draw(t, "error"), Shadow: true, Party: "agent"}, {Policy: "p", Effect: "permit"}}
		}

		body := pdp.AppendRecord(nil, &want)
		got, err := pdp.ParseRecord(body)
		if err != nil {
			t.Fatalf("ParseRecord(%s): %v", body, err)
		}
		if diff := cmp.Diff(&want, got, equalRecords); diff != "" {
			t.Fatalf("ParseRecord(append(r)) differs (-want +got):\n%s\n%s", diff, body)
		}
		if want.Request.Approval != nil && strings.Contains(string(body), `"state":"s"`) {
			t.Fatalf("append(r) = %s, want it without the approval's state", body)
		}
		slow, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = pdp.ParseRecord(slow); err != nil {
			t.Fatalf("ParseRecord(%s): %v", slow, err)
		}
		if diff := cmp.Diff(&want, got, equalRecords); diff != "" {
			t.Fatalf("ParseRecord(json.Marshal(r)) differs (-want +got):\n%s\n%s", diff, slow)
		}
	})
}

func TestDecisionID(t *testing.T) {
	if id := pdp.DecisionID(123); id != "d123" {
		t.Errorf("DecisionID(123) = %q, want d123", id)
	}
	if n, err := pdp.ParseDecisionID("d123"); n != 123 || err != nil {
		t.Errorf("ParseDecisionID(d123) = %d, %v, want 123", n, err)
	}
	for _, id := range []string{"", "d", "d0", "d01", "d-1", "123", "d1x", "d99999999999999999999", "D1", " d1"} {
		if n, err := pdp.ParseDecisionID(id); err == nil {
			t.Errorf("ParseDecisionID(%q) = %d, want an error", id, n)
		}
	}
}

// TestListing records what was asked in order to show it so that nobody takes it for an act.
func TestListing(t *testing.T) {
	rec := &pdp.Record{
		Request:  authz.Request{Subject: authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: "bot"}}, Action: authz.Action{Name: "a"}, Observed: authz.Observed{Listing: true}},
		Decision: authz.Decision{Effect: authz.Deny},
	}
	body := pdp.AppendRecord(nil, rec)
	if got := pdp.Acting(body); got != "" {
		t.Errorf("Acting = %q, want nobody", got)
	}
	back, err := pdp.ParseRecord(body)
	if err != nil {
		t.Fatal(err)
	}
	if !back.Listing || !back.Request.Observed.Listing {
		t.Errorf("read back: %s is no listing", body)
	}
	if again := pdp.AppendRecord(nil, back); !bytes.Equal(again, body) {
		t.Errorf("written again: %s, want %s", again, body)
	}
	rec.Request.Observed.Listing = false
	if got := pdp.Acting(pdp.AppendRecord(nil, rec)); got != "bot" {
		t.Errorf("Acting of an act = %q, want bot", got)
	}
}
