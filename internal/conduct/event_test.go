package conduct_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// record is a decision as enforcement points make them: two capabilities, arguments, provenance.
func record() pdp.Record {
	at := time.Date(2026, 11, 23, 16, 0, 0, 123000, time.UTC)
	agent := &authz.Agent{
		ID: "order-bot-17", Owner: "team-orders", Purpose: "process-customer-orders", Version: "2026.11.2", Creator: "anna@example.com",
		State: authz.AgentActive, Capabilities: []string{"process-customer-orders", "read-stock"}, Labels: map[string]string{"tier": "gold"},
		CreatedAt: at, UpdatedAt: at, Revision: 7, AsOf: 1234,
	}
	boss := &authz.Agent{ID: "planner", Owner: "team-orders", Purpose: "plan", Version: "1", Creator: "anna", State: authz.AgentActive, Capabilities: []string{}, CreatedAt: at, UpdatedAt: at, Revision: 1, AsOf: 3}
	return pdp.Record{
		Request: authz.Request{
			Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "order-bot-17"}},
			OnBehalf: []authz.Ref{{Type: "agent", ID: "planner"}, {Type: "person", ID: "bob"}},
			Action:   authz.Action{Name: "order.refund", Properties: authz.Claimed(`{"amount":"129.90","currency":"EUR","reason":"damaged \"on\" arrival","lines":[{"sku":"A-1","n":2},{"sku":"B-7","n":1}]}`)},
			Resource: authz.Entity{Ref: authz.Ref{Type: "order", ID: "2026-11-0042"}, Properties: authz.Claimed(`{"customer":"c-981","opened":"2026-11-02"}`)},
			Context:  authz.Claimed(`{"confidence":0.93,"prompt":"refund the order of c-981"}`),
			Observed: authz.Observed{
				Address: netip.MustParseAddr("192.0.2.7"), Session: "s-7f3a9c", Task: "support-refund", PEP: "gateway", RequestID: "r-1",
				Provenance: &authz.Provenance{Prompt: []string{"amount"}, Untrusted: []string{"reason", "lines"}},
			},
		},
		Facts: authz.Facts{
			At: at, Schedules: []string{"business-hours"}, Zones: []string{"office"}, Country: "DE", Class: authz.Confidential, Labels: []string{"pii"}, Region: "EU",
			Agent: agent, Grant: authz.Grant{Within: []string{"process-customer-orders"}, Exceeded: []string{"read-stock/class"}, Class: "money"},
			Trust: authz.NeutralTrust, Risk: authz.Risk{Level: "elevated", Score: 30, Alerts: []string{}, Indicators: []string{}},
			Behalf: []authz.Delegator{{Agent: boss, Grant: authz.Grant{Within: []string{"plan"}}}},
		},
		Decision: authz.Decision{
			At: at, Effect: authz.Allow, Code: authz.CodeAllowed, PolicySet: 4, Catalog: 4,
			Obligations: []authz.Obligation{{ID: "log-it", Type: "log"}, {ID: "tell", Type: "notification", Properties: json.RawMessage(`{"to":"team"}`)}},
			Fired:       []authz.Fired{{Policy: "refunds", Effect: "permit"}, {Policy: "obligations", Effect: "permit"}},
		},
	}
}

// slow is what an EventReader should read, by the decoders of others.
func slow(body []byte) (ev conduct.Event, ok bool, err error) {
	var rec pdp.Record
	if err := jsonv2.Unmarshal(body, &rec); err != nil {
		return ev, false, err
	}
	q, f, d := &rec.Request, &rec.Facts, &rec.Decision
	ev = conduct.Event{
		Session: q.Observed.Session, Task: q.Observed.Task, Action: q.Action.Name, Resource: q.Resource.Ref, Args: q.Action.Properties, Says: q.Resource.Properties,
		PEP: q.Observed.PEP, OnBehalf: q.OnBehalf, Effect: d.Effect, Code: d.Code, Class: conduct.Write, Within: f.Grant.Within, Exceeded: f.Grant.Exceeded,
		Data: f.Class, Labels: f.Labels, Region: f.Region, Country: f.Country, Zones: f.Zones, Provenance: q.Observed.Provenance, Confidence: -1, Risk: f.Risk.Rank(),
		Issuing: q.Action.Name == authz.ActionIssue || q.Action.Name == authz.ActionRegister,
	}
	if c, ok := conduct.ParseClass(f.Grant.Class); ok {
		ev.Class, ev.Classed = c, true
	}
	for _, why := range d.Reasons {
		ev.Reasons = append(ev.Reasons, why.Code)
	}
	for _, o := range d.Obligations {
		ev.Obligations = append(ev.Obligations, o.ID)
	}
	for _, b := range f.Behalf {
		one := conduct.Behalf{Within: b.Grant.Within}
		if b.Agent != nil {
			one.Agent = b.Agent.ID
		}
		ev.Behalf = append(ev.Behalf, one)
	}
	var said struct {
		Confidence jsontext.Value `json:"confidence"`
	}
	if len(q.Context) > 0 {
		if err := jsonv2.Unmarshal(q.Context, &said); err != nil {
			return ev, false, err
		}
	}
	text := string(said.Confidence)
	if said.Confidence.Kind() == '"' {
		if err := jsonv2.Unmarshal(said.Confidence, &text); err != nil {
			return ev, false, err
		}
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil && strings.Trim(text, "-.0123456789") == "" {
		ev.Confidence = max(0, min(v, 1))
	}
	if a := f.Agent; a != nil {
		ev.Agent, ev.Owner, ev.Purpose, ev.Version, ev.Creator, ev.Revision = a.ID, a.Owner, a.Purpose, a.Version, a.Creator, a.Revision
		ok = a.ID != "" && a.State != authz.AgentRetired
	}
	return ev, ok, nil
}

func TestEventReader(t *testing.T) {
	r := conduct.NewEventReader()
	var ev conduct.Event
	for name, change := range map[string]func(*pdp.Record){
		"as it is":               func(*pdp.Record) {},
		"no agent":               func(rec *pdp.Record) { rec.Facts.Agent = nil },
		"retired":                func(rec *pdp.Record) { rec.Facts.Agent.State = authz.AgentRetired },
		"suspended":              func(rec *pdp.Record) { rec.Facts.Agent.State = authz.AgentSuspended },
		"no grant":               func(rec *pdp.Record) { rec.Facts.Grant = authz.Grant{} },
		"confidence in a string": func(rec *pdp.Record) { rec.Request.Context = authz.Claimed(`{"confidence": "0.25"}`) },
		"confidence too high":    func(rec *pdp.Record) { rec.Request.Context = authz.Claimed(`{"confidence": 1.5}`) },
		"confidence too low":     func(rec *pdp.Record) { rec.Request.Context = authz.Claimed(`{"confidence": -0.5}`) },
		"confidence with e":      func(rec *pdp.Record) { rec.Request.Context = authz.Claimed(`{"confidence": 5e-1}`) },
		"confidence in words":    func(rec *pdp.Record) { rec.Request.Context = authz.Claimed(`{"confidence": "high"}`) },
		"confidence hidden":      func(rec *pdp.Record) { rec.Request.Context = authz.Claimed(`{"a":{"confidence":0.5}}`) },
		"no provenance":          func(rec *pdp.Record) { rec.Request.Observed.Provenance = nil },
		"issuing":                func(rec *pdp.Record) { rec.Request.Action.Name = authz.ActionIssue },
		"refused for reasons": func(rec *pdp.Record) {
			rec.Decision.Effect, rec.Decision.Code = authz.Deny, authz.CodeForbidden
			rec.Decision.Reasons = []authz.Reason{{Code: "beyond-present", Message: "Not now."}, {Code: "embargo", Message: "Never.", Party: "person"}}
		},
		"escapes": func(rec *pdp.Record) { rec.Request.Resource.ID = "a\"b\\c\n\u2028ü\U0001f600" },
	} {
		rec := record()
		change(&rec)
		body, err := json.Marshal(&rec)
		if err != nil {
			t.Fatal(err)
		}
		want, wantOK, err := slow(body)
		if err != nil {
			t.Fatalf("%s: the record cannot be read: %v", name, err)
		}
		for _, text := range [][]byte{body, []byte(" " + string(body) + "\n")} {
			ok, err := r.Read(text, &ev)
			if err != nil || ok != wantOK {
				t.Errorf("%s: Read = %v, %v, want %v", name, ok, err, wantOK)
			}
			if diff := cmp.Diff(want, ev, cmpopts.EquateEmpty()); ok && diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

func TestEventReaderRefuses(t *testing.T) {
	r := conduct.NewEventReader()
	rec := record()
	body, err := json.Marshal(&rec)
	if err != nil {
		t.Fatal(err)
	}
	var ev conduct.Event
	for _, bad := range []string{
		``, `{`, `[]`, `{"facts":{}`, `{"facts":{}},`, `{"facts":{"agent":{"id":7}}}`, `{"facts":{},"facts":{}}`, `{"decision":{"effect":"perhaps"}}`,
		`{"facts":{"class":"secret"}}`, `{"request":{"observed":{"session":"a`, `{"x":[1,]}`, `{"x":01}`, `{"x":"\x"}`, `{"x":tru}`, `{,}`, `{"a":1,}`, "{\"x\":\"\n\"}",
		`{"x":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, `{"facts":{"agent":{"revision":1.5}}}`,
	} {
		if ok, err := r.Read([]byte(bad), &ev); ok || !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Read(%.60q) = %v, %v, want authz.ErrInvalid", bad, ok, err)
		}
	}
	for n := range body {
		if ok, err := r.Read(body[:n], &ev); ok || !errors.Is(err, authz.ErrInvalid) {
			t.Fatalf("Read of %d bytes of %d = %v, %v, want authz.ErrInvalid", n, len(body), ok, err)
		}
	}
	if ok, err := r.Read(body, &ev); !ok || err != nil {
		t.Errorf("Read after refusals = %v, %v", ok, err)
	}
	rec.Listing = true
	if body, err = json.Marshal(&rec); err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Read(body, &ev); ok || err != nil {
		t.Errorf("Read of what was asked in order to show it = %v, %v, want false: there is no act", ok, err)
	}
}

// Strings of an event can be kept.
func TestEventReaderKeeps(t *testing.T) {
	r := conduct.NewEventReader()
	rec := record()
	body, err := json.Marshal(&rec)
	if err != nil {
		t.Fatal(err)
	}
	var ev conduct.Event
	if _, err := r.Read(body, &ev); err != nil {
		t.Fatal(err)
	}
	kept := []string{string(ev.Agent), ev.Session, ev.Resource.ID, ev.Labels[0]}
	clear(body)
	if _, err := r.Read([]byte(`{"facts":{"labels":["other"]}}`), &ev); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"order-bot-17", "s-7f3a9c", "2026-11-0042", "pii"}, kept); diff != "" {
		t.Errorf("kept strings (-want +got):\n%s", diff)
	}
}

// FuzzEventReader holds the reader to decoders of others: what they read it reads alike, and what is
// not JSON it refuses.
func FuzzEventReader(f *testing.F) {
	rec := record()
	body, err := json.Marshal(&rec)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"facts":{"agent":{"id":"a"},"behalf":[null,{"agent":null}]},"request":{"context":{"confidence":"1e-1"}},"decision":null}`))
	f.Add([]byte(`{"facts":{"agent":{"id":"\ud83d\ude00\ud800"}}}`))
	r := conduct.NewEventReader()
	f.Fuzz(func(t *testing.T, body []byte) {
		if !utf8.Valid(body) {
			return
		}
		var ev conduct.Event
		ok, err := r.Read(body, &ev)
		if err != nil {
			if !errors.Is(err, authz.ErrInvalid) {
				t.Fatalf("Read(%q): %v is not authz.ErrInvalid", body, err)
			}
		} else if !json.Valid(body) {
			t.Fatalf("Read(%q) takes what is not JSON", body)
		}
		want, wantOK, slowErr := slow(body)
		if slowErr != nil || strings.Count(string(body), "[")+strings.Count(string(body), "{") > 500 {
			return // an error in what an EventReader does not look at
		}
		if err != nil || ok != wantOK {
			t.Fatalf("Read(%q) = %v, %v, want %v", body, ok, err, wantOK)
		}
		if diff := cmp.Diff(want, ev, cmpopts.EquateEmpty()); ok && diff != "" {
			t.Fatalf("Read(%q) (-want +got):\n%s", body, diff)
		}
	})
}

func BenchmarkEventReader(b *testing.B) {
	rec := record()
	body, err := json.Marshal(&rec)
	if err != nil {
		b.Fatal(err)
	}
	r := conduct.NewEventReader()
	var ev conduct.Event
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := r.Read(body, &ev); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
