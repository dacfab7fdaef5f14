package oauth_test

import (
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/stop"
)

// issuePolicies say what agents may carry, by everything that a token tells of itself.
const issuePolicies = `
@id("carry") permit (principal is Agent, action == Action::"token.issue", resource is Capability);
@id("respond-to-incidents") forbid (principal, action == Action::"token.issue", resource == Capability::"respond")
  unless { context.observed.risk.alerts.contains("incident") };
@id("bound") forbid (principal, action == Action::"token.issue", resource)
  unless { context.observed.passport.present && context.observed.passport.bound == "dpop" };
@id("money-stays-near") forbid (principal, action == Action::"token.issue", resource)
  when { resource.class == "money" && context.observed.passport.depth > 1 };
@id("mail-by-key") forbid (principal, action == Action::"token.issue", resource == Capability::"read-mail")
  unless { context.observed.credential.method == "private_key_jwt" && context has args && context.args has audience && context.args.audience == "https://mail.example" };
@id("lunch") forbid (principal, action == Action::"token.issue", resource == Capability::"pay")
  when { context.observed.time.hour == 12 };
`

// newJudged returns a house in which the decision point judges by policies.
func newJudged(t testing.TB) (*house, *judgeOf) {
	t.Helper()
	h := newHouse(t, 0, nil)
	set, err := policy.Compile(policy.Source{Schema: houseSchema, Files: []policy.File{{Name: "issue.cedar", Text: issuePolicies}}}, h.catalog)
	if err != nil {
		t.Fatal(err)
	}
	j := &judgeOf{house: h, set: set}
	j.PDP = &pdp.PDP{Agents: keyed{h}, Policies: j, Risks: j, Conduct: unjudged{}, Stops: stop.NewBoard(stop.Config{}), Fresh: h.Fresh, Now: h.Now}
	h.replica(func(c *oauth.Config) { c.Judge = j })
	return h, j
}

const houseSchema = `
entity Thing;
action "read-mail", pay, office, respond appliesTo {
  principal: [Agent], resource: Thing, context: { observed: Observed, claimed: Claimed, args: { amount?: Long } }
};
`

// unjudged is a monitor that has learned nothing.
type unjudged struct{}

func (unjudged) Conduct(authz.AgentID, string, time.Time) (authz.Trust, authz.Conduct) {
	return authz.NeutralTrust, authz.Conduct{}
}

func (unjudged) Confidence(authz.AgentID, float64) (float64, bool) { return 0, false }

// judgeOf is the adapter that internal/server has, with risk as the test says.
type judgeOf struct {
	*pdp.PDP
	house *house
	set   *policy.Set
	alert []string
}

func (j *judgeOf) Active() *policy.Set                { return j.set }
func (j *judgeOf) Generation() (policies, risk int64) { return j.house.Generation() }
func (j *judgeOf) Assess(*authz.Request, *authz.Facts) authz.Risk {
	j.house.mu.Lock()
	defer j.house.mu.Unlock()
	return authz.Risk{Level: "low", Alerts: j.alert, Indicators: []string{}}
}

// keyed adds what the decision point wants to know of agents.
type keyed struct{ *house }

func (keyed) After(authz.AgentID, int) []*authz.Agent                { return nil }
func (keyed) KeyFacts(authz.AgentID, time.Time) (c authz.Credential) { return c }

func TestPoliciesJudge(t *testing.T) {
	h, j := newJudged(t)
	r := h.replicas[0]
	alice, bob, carol := h.member("alice", "office", "pay", "read-mail", "respond"), h.member("bob", "pay", "read-mail", "respond"), h.member("carol", "pay", "read-mail")
	first := alice.token(r, "may_act", "bob", "resource", mailServer)
	if first.Scope != "office pay read-mail" {
		t.Errorf("scope = %q: %s", first.Scope, first.Body)
	}
	if got := alice.token(r, "resource", fileServer).Scope; got != "office pay" {
		t.Errorf("for the file server scope = %q", got)
	}
	if got := r.introspect(first.Token).Scope; got != first.Scope {
		t.Errorf("introspected scope = %q, want %q", got, first.Scope)
	}

	h.set(func() { j.alert = []string{"incident"}; h.risks++ })
	incident := alice.token(r, "may_act", "bob")
	if incident.Scope != "office pay read-mail respond" {
		t.Errorf("during an incident scope = %q", incident.Scope)
	}
	second := bob.exchange(r, incident.Token, "may_act", "carol")
	if second.Scope != "pay read-mail respond" {
		t.Errorf("bob's scope = %q: %s", second.Scope, second.Body)
	}
	third := carol.exchange(r, second.Token)
	if third.Scope != "read-mail" {
		t.Errorf("carol's scope = %q, want no money so far away: %s", third.Scope, third.Body)
	}
	h.set(func() { j.alert = nil; h.risks++ })
	if got := r.introspect(second.Token).Scope; got != "pay read-mail" {
		t.Errorf("after the incident scope = %q", got)
	}

	// A policy that reads the clock: payments stop at noon, and so do tokens for them.
	h.set(func() { h.now = time.Date(2026, 11, 25, 11, 58, 30, 0, time.UTC) })
	if p := h.claims(alice.token(r, "scope", "pay").Token); !p.Expires.Equal(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("expires %v, want noon", p.Expires)
	}

	for _, e := range h.of(audit.DecisionMade) {
		rec, err := pdp.ParseRecord(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		if again := rec.Again(j.set); !pdp.Agrees(&again, &rec.Decision) {
			t.Errorf("entry %d judged again: %+v, recorded %+v", e.Seq, again, rec.Decision)
		}
	}
}
