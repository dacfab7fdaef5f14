package pdp_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/stop"
)

const (
	schemaText = `
entity Clerk { desk?: String };
entity Ledger { status?: String };
action money;
action pay in [money] appliesTo {
  principal: [Agent, Clerk], resource: Ledger,
  context: { observed: Observed, claimed: Claimed, args: { amount?: Long } }
};
action read appliesTo {
  principal: [Agent, Clerk], resource: Ledger,
  context: { observed: Observed, claimed: Claimed }
};
`
	policyText = `
@id("agents-read") permit (principal is Agent, action == Action::"read", resource);
@id("agents-pay") @obligations("tell") permit (principal is Agent, action in Action::"money", resource)
  when { context.observed.grant.within.contains("payments") };
@id("clerks-read") permit (principal is Clerk, action == Action::"read", resource);
@id("clerks-pay") @obligations("sign") permit (principal == Clerk::"carla", action in Action::"money", resource);
@id("large") @remedy("approval") forbid (principal is Agent, action in Action::"money", resource)
  when { context has args && context.args has amount && context.args.amount > 100 };
@id("closed") forbid (principal, action, resource) when { resource has status && resource.status == "closed" };
`
	catalogText = `
capabilities:
  payments: {title: Pay, class: money, actions: [money]}
obligations:
  tell: {type: notification, properties: {to: owner, body: It was done.}}
  sign: {type: log}
types:
  Ledger: {class: internal, request_properties: [status]}
entities:
  - {type: Clerk, id: carla}
  - {type: Clerk, id: conrad}
  - {type: Ledger, id: main}
  - {type: Ledger, id: old, properties: {status: closed}}
signals:
  actions: {pay: [network.ip]}
`
)

// registry is agents by id.
type registry map[authz.AgentID]*authz.Agent

func (r registry) Agent(id authz.AgentID) (*authz.Agent, error) {
	if id == "broken" {
		return nil, authz.Errorf(authz.ErrUnavailable, "registry is down")
	}
	if a, ok := r[id]; ok {
		return a, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no agent %q", id)
}

func (r registry) KeyFacts(authz.AgentID, time.Time) authz.Credential { return authz.Credential{} }

func (r registry) After(id authz.AgentID, limit int) []*authz.Agent {
	var out []*authz.Agent
	for _, a := range r {
		if a.ID > id {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *authz.Agent) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out[:min(limit, len(out))]
}

type active struct{ set *policy.Set }

func (a active) Active() *policy.Set { return a.set }

type calm struct{}

func (calm) Assess(*authz.Request, *authz.Facts) authz.Risk { return authz.Risk{Level: "low"} }

// memory is a log that can be made to fail.
type memory struct {
	entries []audit.Draft
	err     error
}

func (m *memory) Record(_ context.Context, drafts ...audit.Draft) (int64, error) {
	if m.err != nil {
		return 0, m.err
	}
	m.entries = append(m.entries, drafts...)
	return int64(len(m.entries) - len(drafts) + 1), nil
}

func newPDP(t testing.TB) (*pdp.PDP, *memory) {
	t.Helper()
	cat, err := catalog.Parse("catalog.yaml", []byte(catalogText))
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(policy.Source{Schema: schemaText, Files: []policy.File{{Name: "p.cedar", Text: policyText}}}, cat)
	if err != nil {
		t.Fatal(err)
	}
	agent := func(id authz.AgentID, state authz.AgentState, capabilities ...string) *authz.Agent {
		return &authz.Agent{ID: id, Owner: "o", Purpose: "p", Version: "1", Creator: "c", State: state, Capabilities: capabilities}
	}
	log := &memory{}
	return &pdp.PDP{
		Agents: registry{
			"payer":  agent("payer", authz.AgentActive, "payments"),
			"reader": agent("reader", authz.AgentActive),
			"gone":   agent("gone", authz.AgentSuspended, "payments"),
		},
		Policies: active{set}, Risks: calm{}, Conduct: conductOf{}, Stops: stop.NewBoard(stop.Config{}), Log: log,
		Fresh: func() error { return nil },
		Now:   func() time.Time { return time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC) },
	}, log
}

// ask returns a request of an agent, or of a clerk if who names one as Clerk:ID.
func ask(who, action, ledger, args string, behalf ...string) authz.Request {
	r := authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: who}},
		Action:   authz.Action{Name: action, Properties: authz.Claimed(args)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "Ledger", ID: ledger}},
		Observed: authz.Observed{PEP: "test", Address: netip.MustParseAddr("192.0.2.1")},
	}
	if typ, id, ok := strings.Cut(who, ":"); ok {
		r.Subject.Ref = authz.Ref{Type: typ, ID: id}
	}
	for _, b := range behalf {
		r.OnBehalf = append(r.OnBehalf, authz.Ref{Type: "Clerk", ID: b})
	}
	return r
}

func TestDecide(t *testing.T) {
	p, log := newPDP(t)
	decide := func(req authz.Request, effect authz.Effect, code, party, obligations string) {
		t.Helper()
		before := len(log.entries)
		d, err := p.Decide(t.Context(), req)
		if err != nil {
			t.Errorf("Decide(%s %s %s) error: %v", req.Subject, req.Action.Name, req.Resource, err)
			return
		}
		var ids []string
		for _, o := range d.Obligations {
			ids = append(ids, o.ID)
		}
		gotParty := ""
		if len(d.Reasons) > 0 {
			gotParty = d.Reasons[0].Party
		}
		if d.Effect != effect || d.Code != code || gotParty != party || strings.Join(ids, " ") != obligations {
			t.Errorf("Decide(%s %s %s for %v) = %v %s, party %q, obligations %v, want %v %s, %q, %q", req.Subject, req.Action.Name, req.Resource,
				req.OnBehalf, d.Effect, d.Code, gotParty, ids, effect, code, party, obligations)
		}
		if len(log.entries) != before+1 || d.Seq != int64(before+1) {
			t.Fatalf("Decide recorded %d entries and says %d, want one, %d", len(log.entries)-before, d.Seq, before+1)
		}
		rec, err := pdp.ParseRecord(log.entries[before].Body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, rec.Decision, equalRecords); diff != "" {
			t.Errorf("recorded decision differs (-answered +recorded):\n%s", diff)
		}
	}
	nowhere := ask("payer", "pay", "main", "")
	nowhere.Observed.Address = netip.Addr{}

	decide(ask("payer", "read", "main", ""), authz.Allow, authz.CodeAllowed, "", "")
	decide(ask("payer", "pay", "main", `{"amount":5}`), authz.Allow, authz.CodeAllowed, "", "tell")
	decide(ask("reader", "pay", "main", ""), authz.Deny, authz.CodeNoPermit, "", "")
	decide(ask("payer", "pay", "main", `{"amount":500}`), authz.RequireApproval, authz.CodeApprovalRequired, "", "")
	decide(ask("payer", "pay", "old", `{"amount":500}`), authz.Deny, authz.CodeForbidden, "", "")
	decide(ask("nobody", "read", "main", ""), authz.Deny, authz.CodeAgentUnknown, "", "")
	decide(ask("gone", "read", "main", ""), authz.Deny, authz.CodeAgentInactive, "", "")
	decide(nowhere, authz.Deny, authz.CodeSignalMissing, "", "")

	// Agent and person: both must be permitted, and the answer says who is refused.
	decide(ask("payer", "pay", "main", "", "carla"), authz.Allow, authz.CodeAllowed, "", "tell sign")
	decide(ask("payer", "pay", "main", "", "conrad"), authz.Deny, authz.CodeNoPermit, "person", "")
	decide(ask("payer", "pay", "main", "", "carla", "conrad"), authz.Deny, authz.CodeNoPermit, "person", "")
	decide(ask("reader", "pay", "main", "", "carla"), authz.Deny, authz.CodeNoPermit, "agent", "")
	decide(ask("payer", "pay", "main", `{"amount":500}`, "carla"), authz.RequireApproval, authz.CodeApprovalRequired, "agent", "")
	decide(ask("payer", "pay", "main", `{"amount":500}`, "conrad"), authz.Deny, authz.CodeNoPermit, "agent", "")
	decide(ask("Clerk:carla", "pay", "main", ""), authz.Allow, authz.CodeAllowed, "", "sign")
}

// What does not fit the schema is refused and is no decision: nothing is recorded.
func TestDecideInvalid(t *testing.T) {
	p, log := newPDP(t)
	space := ask("payer", "read", "main", "")
	space.Resource.Type = "Spaceship"
	for code, req := range map[string]authz.Request{
		"unknown action": ask("payer", "fly", "main", ""),
		"unknown type":   space,
		"wrong type":     ask("payer", "pay", "main", `{"amount":"much"}`),
		"too large":      ask("payer", "pay", "main", `{"amount":9223372036854775808}`),
		"for a stranger": {Subject: req("payer").Subject, Action: req("payer").Action, Resource: req("payer").Resource,
			OnBehalf: []authz.Ref{{Type: "Spaceship", ID: "s"}}},
	} {
		d, err := p.Decide(t.Context(), req)
		if !errors.Is(err, authz.ErrInvalid) || err.Error() == "" || d.Allowed() || d.Seq != 0 {
			t.Errorf("%s: Decide = %+v, %v, want a refusal and ErrInvalid", code, d, err)
		}
		all, err := p.DecideAll(t.Context(), []pdp.Item{{Request: req}}, pdp.ExecuteAll)
		if err != nil || len(all) != 1 || all[0].Allowed() || all[0].Seq != 0 {
			t.Errorf("%s: DecideAll = %+v, %v, want one refusal", code, all, err)
		}
	}
	if len(log.entries) != 0 {
		t.Errorf("%d entries were recorded, want none", len(log.entries))
	}
}

func req(agent string) authz.Request { return ask(agent, "read", "main", "") }

// Whatever is missing, the answer refuses and nothing is said to be recorded.
func TestDecideFailsClosed(t *testing.T) {
	for name, spoil := range map[string]func(*pdp.PDP, *memory, *authz.Request){
		"no policy":    func(p *pdp.PDP, _ *memory, _ *authz.Request) { p.Policies = active{} },
		"stale":        func(p *pdp.PDP, _ *memory, _ *authz.Request) { p.Fresh = func() error { return authz.ErrUnavailable } },
		"log is down":  func(_ *pdp.PDP, m *memory, _ *authz.Request) { m.err = authz.ErrUnavailable },
		"registry out": func(_ *pdp.PDP, _ *memory, r *authz.Request) { r.Subject.ID = "broken" },
	} {
		p, log := newPDP(t)
		req := ask("payer", "read", "main", "")
		spoil(p, log, &req)
		d, err := p.Decide(t.Context(), req)
		if !errors.Is(err, authz.ErrUnavailable) || d.Allowed() || d.Code != authz.CodeUnavailable || d.Seq != 0 || len(d.Reasons) == 0 {
			t.Errorf("%s: Decide = %+v, %v, want a refusal with code unavailable and ErrUnavailable", name, d, err)
		}
		all, err := p.DecideAll(t.Context(), []pdp.Item{{Request: req}, {Request: req}}, pdp.ExecuteAll)
		if err == nil || len(all) == 0 {
			t.Errorf("%s: DecideAll = %v, %v, want refusals and an error", name, all, err)
		}
		for _, d := range all {
			if d.Allowed() || d.Seq != 0 {
				t.Errorf("%s: DecideAll answers %+v, want a refusal", name, d)
			}
		}
	}
}

func TestDecideAll(t *testing.T) {
	yes, no := pdp.Item{Request: ask("payer", "read", "main", "")}, pdp.Item{Request: ask("payer", "read", "old", "")}
	bad := pdp.Item{Err: authz.Errorf(authz.ErrInvalid, "resource is missing")}
	for _, test := range []struct {
		sem   pdp.Semantics
		items []pdp.Item
		want  string // y, n, or b for each answer
	}{
		{pdp.ExecuteAll, []pdp.Item{yes, no, bad, yes}, "ynby"},
		{pdp.DenyOnFirstDeny, []pdp.Item{yes, no, yes}, "yn"},
		{pdp.DenyOnFirstDeny, []pdp.Item{yes, bad, yes}, "yb"},
		{pdp.PermitOnFirstPermit, []pdp.Item{no, bad, yes, no}, "nby"},
		{pdp.PermitOnFirstPermit, []pdp.Item{no, no}, "nn"},
		{pdp.ExecuteAll, []pdp.Item{bad}, "b"},
	} {
		p, log := newPDP(t)
		decisions, err := p.DecideAll(t.Context(), test.items, test.sem)
		if err != nil {
			t.Fatal(err)
		}
		got, recorded := "", 0
		for _, d := range decisions {
			switch {
			case d.Allowed():
				got += "y"
			case d.Code == authz.CodeInvalid:
				got += "b"
			default:
				got += "n"
			}
			if d.Code != authz.CodeInvalid {
				recorded++
				if d.Seq != int64(recorded) {
					t.Errorf("%s: decision %s is recorded as %d, want %d", test.sem, d.Code, d.Seq, recorded)
				}
			}
		}
		if got != test.want || len(log.entries) != recorded {
			t.Errorf("DecideAll(%s) = %s with %d entries, want %s with %d", test.sem, got, len(log.entries), test.want, recorded)
		}
	}
}

func TestSearch(t *testing.T) {
	p, log := newPDP(t)
	find := func(req authz.Request, subject bool, page pdp.Page) (ids []string, next string) {
		t.Helper()
		search := p.SearchResources
		if subject {
			search = p.SearchSubjects
		}
		found, err := search(t.Context(), req, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found.Results {
			ids = append(ids, r.String())
		}
		return ids, found.Next
	}
	all := pdp.Page{Limit: 10}
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	ids, _ := find(ask("", "read", "main", ""), true, all)
	check("agents that may read", ids, "agent:payer", "agent:reader")
	ids, _ = find(ask("", "pay", "main", ""), true, all)
	check("agents that may pay", ids, "agent:payer")
	ids, _ = find(ask("Clerk:", "pay", "main", ""), true, all)
	check("clerks that may pay", ids, "Clerk:carla")
	ids, _ = find(ask("Spaceship:", "pay", "main", ""), true, all)
	check("spaceships that may pay", ids)
	ids, _ = find(ask("payer", "read", "", ""), false, all)
	check("what the payer may read", ids, "Ledger:main")
	ids, _ = find(ask("gone", "read", "", ""), false, all)
	check("what a suspended agent may read", ids)

	ids, next := find(ask("Clerk:", "read", "main", ""), true, pdp.Page{Limit: 1})
	check("first page of clerks", ids, "Clerk:carla")
	ids, next = find(ask("Clerk:", "read", "main", ""), true, pdp.Page{Limit: 1, After: next})
	check("second page of clerks", ids, "Clerk:conrad")
	if next != "" {
		t.Errorf("after the second page of clerks comes %q, want nothing", next)
	}

	actions, err := p.SearchActions(t.Context(), ask("payer", "", "main", ""), all)
	if err != nil {
		t.Fatal(err)
	}
	check("actions of the payer", actions.Results, "pay", "read")
	if n := len(log.entries); n != 9 || log.entries[0].Kind != audit.SearchMade {
		t.Errorf("searches made %d entries, the first %q, want 9 of kind %q", n, log.entries[0].Kind, audit.SearchMade)
	}
	log.err = authz.ErrUnavailable
	if found, err := p.SearchSubjects(t.Context(), ask("", "read", "main", ""), all); err == nil {
		t.Errorf("a search that is not recorded returns %v, want an error", found)
	}
}
