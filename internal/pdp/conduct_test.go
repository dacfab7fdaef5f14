package pdp_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/stop"
)

// conductOf is a monitor that says of agents what a test says. Of others nothing has been learned.
type conductOf map[authz.AgentID]behaviour

type behaviour struct {
	trust   map[string]authz.Trust // by class; neutral if not said
	conduct authz.Conduct
	worth   func(float64) float64 // of reported confidence; nil if there is no evidence
}

func (c conductOf) Conduct(id authz.AgentID, class string, _ time.Time) (authz.Trust, authz.Conduct) {
	if t, ok := c[id].trust[class]; ok {
		return t, c[id].conduct
	}
	return authz.NeutralTrust, c[id].conduct
}

func (c conductOf) Confidence(id authz.AgentID, reported float64) (float64, bool) {
	if f := c[id].worth; f != nil {
		return f(reported), true
	}
	return 0, false
}

const (
	conductSchema = `
entity Ledger;
action "money";
action read, write appliesTo { principal: [Agent, User], resource: Ledger, context: { observed: Observed, claimed: Claimed } };
action pay in ["money"] appliesTo { principal: [Agent, User], resource: Ledger, context: { observed: Observed, claimed: Claimed } };
`
	conductCatalog = `
capabilities:
  look: {title: Look, class: read, actions: [read], essential: true}
  keep: {title: Keep, class: write, actions: [write]}
  pay: {title: Pay, class: money, actions: [money]}
  clerk: {title: Keep what is paid, class: write, actions: [money]}
`
)

// conducted returns a decision point whose agents may do what trust in the class of the act allows.
func conducted(t testing.TB, policies string, c conductOf) (*pdp.PDP, *memory) {
	t.Helper()
	log := &memory{}
	agent := func(id authz.AgentID, capabilities ...string) *authz.Agent {
		return &authz.Agent{ID: id, Owner: "o", State: authz.AgentActive, Capabilities: capabilities}
	}
	return &pdp.PDP{
		Agents:   registry{"bot": agent("bot", "keep", "look", "pay"), "boss": agent("boss", "clerk", "keep", "look")},
		Policies: active{compile(t, conductSchema, policies, conductCatalog)}, Risks: calm{}, Conduct: c, Stops: stop.NewBoard(stop.Config{}), Log: log,
		Fresh: func() error { return nil },
		Now:   func() time.Time { return time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC) },
	}, log
}

func act(action string, behalf ...authz.Ref) authz.Request {
	return authz.Request{
		Subject: authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: "bot"}}, OnBehalf: behalf,
		Action: authz.Action{Name: action}, Resource: authz.Entity{Ref: authz.Ref{Type: "Ledger", ID: "l"}},
	}
}

var (
	boss = authz.Ref{Type: authz.AgentType, ID: "boss"}
	ann  = authz.Ref{Type: "user", ID: "ann"}
)

const everything = `permit (principal, action, resource);`

// Trust is of the class of the act, by each agent's own grant, and the lowest counts.
func TestTrustOfTheAct(t *testing.T) {
	high, low, none := authz.Trust{Level: "high", Score: 0.9}, authz.Trust{Level: "low", Score: 0.3}, authz.Trust{Level: "none"}
	c := conductOf{
		"bot":  {trust: map[string]authz.Trust{"read": high, "money": low, "": none}},
		"boss": {trust: map[string]authz.Trust{"read": {Level: "high", Score: 0.95}, "write": {Level: "low", Score: 0.2}, "money": none}},
	}
	p, log := conducted(t, everything, c)
	for _, tt := range []struct {
		req  authz.Request
		want authz.Trust
	}{
		{act("read"), high},
		{act("write"), authz.NeutralTrust},
		{act("pay"), low},
		{act("read", ann), high},
		{act("read", boss), high},
		{act("write", ann, boss), authz.Trust{Level: "low", Score: 0.2}},
		{act("pay", boss), authz.Trust{Level: "low", Score: 0.2}}, // which for the other is writing
	} {
		if _, err := p.Decide(t.Context(), tt.req); err != nil {
			t.Fatal(err)
		}
		rec := last(t, log)
		if rec.Facts.Trust != tt.want {
			t.Errorf("trust for %s on behalf of %v = %+v, want %+v", tt.req.Action.Name, tt.req.OnBehalf, rec.Facts.Trust, tt.want)
		}
	}
	p.Agents.(registry)["bot"].Capabilities = nil
	if _, err := p.Decide(t.Context(), act("read")); err != nil {
		t.Fatal(err)
	}
	if got := last(t, log).Facts.Trust; got != none {
		t.Errorf("trust for what no capability covers = %+v, want the lowest, %+v", got, none)
	}
}

// last returns the newest recorded decision.
func last(t testing.TB, log *memory) *pdp.Record {
	t.Helper()
	rec, err := pdp.ParseRecord(log.entries[len(log.entries)-1].Body)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// Policies judge each party by its own conduct, and a recorded decision comes out the same again.
func TestConductOfEachParty(t *testing.T) {
	found := authz.Conduct{
		Lowest: authz.Trust{Level: "low", Score: 0.31}, Judged: 12, Accuracy: 0.71, ErrorRate: 0.08, Findings: []string{"deviation.drift"},
	}
	const guarded = everything + `
@id("found") forbid (principal is Agent, action, resource) unless { principal.conduct.findings.isEmpty() };
@id("wrong") forbid (principal is Agent, action, resource)
  when { principal.conduct has accuracy && principal.conduct.accuracy.lessThan(decimal("0.8")) };
@id("actor") @mode("shadow") forbid (principal, action, resource)
  when { context.observed has agent && context.observed.agent.conduct.trust.rank < 2 };`
	for _, tt := range []struct {
		who  authz.AgentID
		want []string // party and policy
	}{
		{"bot", []string{"agent actor", "agent found", "agent wrong", "person actor"}},
		{"boss", []string{"person found", "person wrong"}},
	} {
		p, log := conducted(t, guarded, conductOf{tt.who: {conduct: found}})
		d, err := p.Decide(t.Context(), act("read", boss))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range d.Fired {
			if f.Effect == "forbid" {
				got = append(got, f.Party+" "+f.Policy)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(tt.want, got); diff != "" || d.Allowed() {
			t.Errorf("findings of %s: %s, fired (-want +got):\n%s", tt.who, d.Code, diff)
		}
		rec := last(t, log)
		have := rec.Facts.Conduct
		if tt.who == "boss" {
			have = rec.Facts.Behalf[0].Conduct
		}
		if diff := cmp.Diff(found, have); diff != "" {
			t.Errorf("recorded conduct of %s (-want +got):\n%s", tt.who, diff)
		}
		again := rec.Again(p.Policies.Active())
		if diff := cmp.Diff(rec.Decision, again, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(authz.Decision{}, "Seq")); diff != "" || !pdp.Agrees(&d, &again) {
			t.Errorf("judged again (-recorded +again):\n%s", diff)
		}
	}
}

// Whom conduct has quarantined does nothing, by whatever door, nor does anybody for it.
func TestQuarantine(t *testing.T) {
	for _, tt := range []struct {
		who  authz.AgentID
		want string
	}{
		{"bot", "This agent is quarantined. An administrator can restore it."},
		{"boss", "An agent for which this one acts is quarantined."},
	} {
		p, log := conducted(t, everything, conductOf{tt.who: {conduct: authz.Conduct{Quarantined: true}}})
		req := act("read", boss)
		d, err := p.Decide(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		want := []authz.Reason{{Code: authz.CodeAgentInactive, Message: tt.want}}
		if diff := cmp.Diff(want, d.Reasons); diff != "" || d.Effect != authz.Deny || d.Code != authz.CodeAgentInactive || d.Changes != nil {
			t.Errorf("Decide with %s in quarantine = %s %s, reasons (-want +got):\n%s", tt.who, d.Effect, d.Code, diff)
		}
		if again := last(t, log).Again(p.Policies.Active()); again.Code != authz.CodeAgentInactive {
			t.Errorf("judged again: %s, want %s", again.Code, authz.CodeAgentInactive)
		}
		judged, _, err := p.Judge([]authz.Request{req}, p.Now())
		if err != nil || judged[0].Code != authz.CodeAgentInactive {
			t.Errorf("Judge with %s in quarantine = %+v, %v, want %s", tt.who, judged, err, authz.CodeAgentInactive)
		}
		found, err := p.SearchActions(t.Context(), req, pdp.Page{Limit: 9})
		if err != nil || len(found.Results) > 0 {
			t.Errorf("SearchActions with %s in quarantine = %v, %v, want nothing", tt.who, found.Results, err)
		}
	}
	p, _ := conducted(t, everything, conductOf{"boss": {conduct: authz.Conduct{Quarantined: true}}})
	if d, err := p.Decide(t.Context(), act("read", ann)); err != nil || !d.Allowed() {
		t.Errorf("Decide for somebody else = %s, %v, want allowed", d.Code, err)
	}
}

// What confidence has been worth is told only if some is reported and evidence is there, however it is written.
func TestConfidence(t *testing.T) {
	known := conductOf{"bot": {worth: func(x float64) float64 { return x / 2 }}}
	for _, tt := range []struct {
		context string
		want    float64 // -1 if there is none
	}{
		{`{"confidence":0.8}`, 0.4},
		{`{"confidence":"0.8"}`, 0.4},
		{`{"purpose":"confidence","task":{"confidence":1},"confidence":0.5}`, 0.25},
		{`{"\u0063onfidence":0.6}`, 0.3},
		{`{"confidence":1}`, 0.5},
		{`{"confidence":7.5}`, 0.5}, // nobody is surer than sure
		{`{"confidence":-1}`, 0},
		{`{"confidence":null}`, -1},
		{`{"confidence":"high"}`, -1},
		{`{"confidence":"NaN"}`, -1},
		{`{"confidence":"Inf"}`, -1},
		{`{"confidence":"."}`, -1},
		{`{"confidence":[0.5]}`, -1},
		{`{"purpose":"confidence"}`, -1},
		{`["confidence"]`, -1},
		{`"confidence"`, -1},
		{`{`, -1},
		{`{"a":1`, -1},
		{``, -1},
	} {
		got := -1.0
		if x, ok := pdp.Reported(authz.Claimed(tt.context)); ok {
			got = x / 2
		}
		if got != tt.want {
			t.Errorf("half of the confidence in %s = %v, want %v", tt.context, got, tt.want)
		}
		if !json.Valid([]byte(tt.context)) || tt.context[0] != '{' {
			continue
		}
		p, log := conducted(t, everything, known)
		req := act("read")
		req.Context = authz.Claimed(tt.context)
		if _, err := p.Decide(t.Context(), req); err != nil {
			continue // its claim has the wrong type
		}
		got = -1
		if c := last(t, log).Facts.Confidence; c != nil {
			got = *c
		}
		if got != tt.want {
			t.Errorf("recorded confidence of %s = %v, want %v", tt.context, got, tt.want)
		}
	}
	p, log := conducted(t, everything, conductOf{})
	req := act("read")
	req.Context = authz.Claimed(`{"confidence":0.8}`)
	if _, err := p.Decide(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if c := last(t, log).Facts.Confidence; c != nil {
		t.Errorf("confidence of an agent of whom nothing is known = %v, want none", *c)
	}
}

// Policies read what confidence has been worth, and a record reproduces it.
func TestCalibrated(t *testing.T) {
	const guarded = everything + `
@id("unsure") @remedy("approval") forbid (principal is Agent, action, resource)
when { context.observed has confidence && context.observed.confidence.lessThan(decimal("0.7")) };`
	for said, want := range map[string]authz.Effect{"0.6": authz.RequireApproval, "0.69": authz.RequireApproval, "0.7": authz.Allow, "0.9": authz.Allow} {
		p, log := conducted(t, guarded, conductOf{"bot": {worth: func(x float64) float64 { return x }}})
		req := act("pay")
		req.Context = authz.Claimed(fmt.Sprintf(`{"confidence":%s}`, said))
		d, err := p.Decide(t.Context(), req)
		if err != nil || d.Effect != want {
			t.Errorf("Decide with confidence %s = %s, %v, want %s", said, d.Effect, err, want)
		}
		if again := last(t, log).Again(p.Policies.Active()); again.Effect != want {
			t.Errorf("judged again with confidence %s: %s, want %s", said, again.Effect, want)
		}
	}
}

func FuzzReported(f *testing.F) {
	for _, s := range []string{`{"confidence":0.8}`, `{"a":{"confidence":1},"\u0063onfidence":"0.25"}`, `{"confidence":1e400}`, `{"confidence":"--"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		x, ok := pdp.Reported(text)
		if !(x >= 0 && x <= 1) || !ok && x != 0 {
			t.Errorf("Reported(%s) = %v, %v, want a number from 0 to 1", text, x, ok)
		}
		// The slow way, where the text is JSON as we read it: encoding/json lets names repeat.
		var members map[string]json.RawMessage
		if !jsontext.Value(text).IsValid() || json.Unmarshal(text, &members) != nil {
			return
		}
		word, want := "", -1.0
		if raw := members["confidence"]; len(raw) > 0 && json.Unmarshal(raw, &word) != nil {
			word = string(raw)
		}
		if n, err := strconv.ParseFloat(word, 64); err == nil && strings.Trim(word, "-.0123456789") == "" {
			want = max(0, min(n, 1))
		}
		if ok != (want >= 0) || ok && x != want {
			t.Errorf("Reported(%s) = %v, %v, want %v", text, x, ok, want)
		}
	})
}
