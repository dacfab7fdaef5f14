package escalation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/escalation"
)

// A story is what a fleet of agents does, told act by act, ten seconds each after the other.
type story struct {
	*testing.T
	rules    catalog.EscalationRules
	fleet    escalation.Fleet
	states   map[authz.AgentID]*escalation.State
	at       time.Time
	seq      int64
	lowered  bool
	findings []string // kind severity class, of the newest act
	drafts   []conduct.Draft
}

func tell(t *testing.T) *story {
	return &story{
		T: t, rules: catalog.DefaultConduct().Escalation, states: map[authz.AgentID]*escalation.State{},
		at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), seq: 100,
	}
}

// An option changes an act.
type option func(*conduct.Event)

func agent(id string) option       { return func(e *conduct.Event) { e.Agent = authz.AgentID(id) } }
func owner(id string) option       { return func(e *conduct.Event) { e.Owner = id } }
func session(id string) option     { return func(e *conduct.Event) { e.Session = id } }
func args(json string) option      { return func(e *conduct.Event) { e.Args = []byte(json) } }
func code(c string) option         { return func(e *conduct.Event) { e.Code = c } }
func reasons(ids ...string) option { return func(e *conduct.Event) { e.Reasons = ids } }
func issuing(e *conduct.Event)     { e.Issuing = true }
func covered(e *conduct.Event)     { e.Classed, e.Within = true, []string{"k"} }
func over(limit string) option {
	return func(e *conduct.Event) { e.Classed, e.Exceeded = true, []string{"k/" + limit} }
}
func class(c conduct.Class) option { return func(e *conduct.Event) { e.Class = c } }
func onBehalf(id string, within ...string) option {
	return func(e *conduct.Event) {
		e.OnBehalf = append(e.OnBehalf, authz.Ref{Type: "agent", ID: id})
		e.Behalf = append(e.Behalf, conduct.Behalf{Agent: authz.AgentID(id), Within: within})
	}
}
func forUser(id string) option {
	return func(e *conduct.Event) { e.OnBehalf = append(e.OnBehalf, authz.Ref{Type: "user", ID: id}) }
}

// act is one decision about action on type:id.
func (s *story) act(effect authz.Effect, code, action, resource string, options []option) {
	s.Helper()
	s.seq++
	s.at = s.at.Add(10 * time.Second)
	typ, id, _ := strings.Cut(resource, ":")
	ev := conduct.Event{
		Seq: s.seq, At: s.at, Agent: "bot", Action: action, Resource: authz.Ref{Type: typ, ID: id},
		Effect: effect, Code: code, Class: conduct.Write, Confidence: -1,
	}
	for _, o := range options {
		o(&ev)
	}
	st := s.states[ev.Agent]
	if st == nil {
		st = new(escalation.State)
		s.states[ev.Agent] = st
	}
	s.findings, s.drafts = nil, nil
	st.Observe(&s.fleet, &s.rules, &ev, !s.lowered, func(d conduct.Draft) {
		checkDraft(s, &ev, d)
		s.drafts = append(s.drafts, d)
		s.findings = append(s.findings, strings.TrimPrefix(string(d.Kind), "escalation.")+" "+d.Severity.String()+" "+d.Class.String())
	})
}

func (s *story) allow(action, resource string, options ...option) {
	s.Helper()
	s.act(authz.Allow, authz.CodeAllowed, action, resource, options)
}

func (s *story) refuse(action, resource string, options ...option) {
	s.Helper()
	s.act(authz.Deny, authz.CodeForbidden, action, resource, options)
}

func (s *story) wait(d time.Duration) { s.at = s.at.Add(d) }

// finds checks what the newest act gave rise to.
func (s *story) finds(want ...string) {
	s.Helper()
	if !slices.Equal(s.findings, want) {
		s.Errorf("entry %d gives %q, want %q", s.seq, s.findings, want)
	}
}

// names checks the evidence of the newest finding, as numbers of acts from 1.
func (s *story) names(acts ...int64) {
	s.Helper()
	var got []int64
	if n := len(s.drafts); n > 0 {
		for _, seq := range s.drafts[n-1].Evidence {
			got = append(got, seq-100)
		}
	}
	if !slices.Equal(got, acts) {
		s.Errorf("entry %d has the evidence %v, want %v", s.seq, got, acts)
	}
}

// checkDraft checks what holds of every finding.
func checkDraft(t interface {
	Helper()
	Errorf(string, ...any)
}, ev *conduct.Event, d conduct.Draft) {
	t.Helper()
	if len(d.Evidence) == 0 || len(d.Evidence) > conduct.MaxEvidence || !slices.IsSorted(d.Evidence) || d.Evidence[len(d.Evidence)-1] != ev.Seq ||
		len(slices.Compact(slices.Clone(d.Evidence))) != len(d.Evidence) {
		t.Errorf("evidence of %+v: want up to %d numbers that rise to %d", d, conduct.MaxEvidence, ev.Seq)
	}
	if n := len(d.Sentence); n == 0 || n > 300 || strings.ContainsFunc(d.Sentence, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u2028' }) {
		t.Errorf("sentence %q: want one line of at most 300 bytes, it has %d", d.Sentence, n)
	}
	if d.Class > conduct.Every || d.Severity > conduct.Critical {
		t.Errorf("finding %+v has no class or severity", d)
	}
}

func TestOverReach(t *testing.T) {
	s := tell(t)
	s.refuse("read", "doc:1")
	s.finds() // one is an honest mistake
	s.refuse("read", "doc:1")
	s.refuse("read", "doc:1")
	s.finds() // and the same again is a retry
	s.refuse("read", "doc:2")
	s.finds()
	s.refuse("read", "doc:3")
	s.finds("over_reach low write")
	s.names(3, 4, 5)
	s.refuse("read", "doc:4")
	s.refuse("read", "doc:5")
	s.refuse("read", "doc:6")
	s.finds("over_reach low write") // a bad list is one action on many things
	s.refuse("delete", "doc:6")
	s.finds("over_reach medium write")

	s.wait(time.Hour)
	s.refuse("pay", "account:1", class(conduct.Money))
	s.finds("over_reach low money") // once, since it is grave
	s.allow("read", "doc:9")
	s.finds()
}

// A long list of different acts is high; what the list is of must be old enough to be forgotten before.
func TestOverReachIsHigh(t *testing.T) {
	s := tell(t)
	for i := range 10 {
		s.refuse([]string{"read", "delete", "share"}[i%3], fmt.Sprintf("doc:%d", i))
	}
	s.finds("over_reach high write")
	s.names(3, 4, 5, 6, 7, 8, 9, 10)
}

func TestScopeCreep(t *testing.T) {
	s := tell(t)
	for i := range 5 {
		s.refuse("change", fmt.Sprintf("order:%d", i), covered)
		s.finds()
	}
	s.refuse("change", "order:4", covered)
	s.finds()
	s.refuse("change", "order:5", covered)
	s.finds("scope_creep low write")
	s.names(1, 2, 3, 4, 6, 7)
	s.refuse("close", "order:5", covered)
	s.finds("scope_creep medium write")

	s.wait(time.Hour)
	s.refuse("change", "order:6", covered)
	s.finds() // the window has passed
}

// A refusal that says something of us is none of the agent's.
func TestRefusalsAboutUs(t *testing.T) {
	for _, c := range []string{
		authz.CodeUnavailable, authz.CodeSignalMissing, authz.CodeApprovalRequired, authz.CodeStepUpRequired, authz.CodeObligation,
		authz.CodePolicyError, authz.CodeInvalid, authz.CodePassportInvalid, authz.CodeAgentInactive,
	} {
		s := tell(t)
		for i := range 20 {
			s.refuse("pay", fmt.Sprintf("account:%d", i), class(conduct.Money), code(c))
			s.finds()
		}
		s.allow("pay", "account:1", class(conduct.Money), covered, agent("other"))
		s.finds()
	}
	s := tell(t)
	for i := range 20 {
		s.refuse("token.issue", fmt.Sprintf("Capability:%d", i), issuing)
		s.finds()
	}
	s.lowered = true
	for i := range 20 {
		s.refuse("change", fmt.Sprintf("order:%d", i), covered) // its work, which it is not trusted with now
		s.finds()
	}
	s.lowered = false
	for i := range 20 {
		s.refuse("change", fmt.Sprintf("order:%d", i), covered, reasons("beyond-present", "essential-only")) // nor before, where it is kept low
		s.finds()
	}
	s.refuse("pay", "account:1", class(conduct.Money), reasons("beyond-present"))
	s.finds("over_reach low money") // but this is no work of its
	for i := range 6 {
		s.refuse("change", fmt.Sprintf("order:%d", i), covered, reasons("beyond-present", "embargo"))
	}
	s.finds("scope_creep medium write") // and this has another reason, too
	s.rules.Off = true
	for i := range 20 {
		s.refuse("change", fmt.Sprintf("order:%d", i))
		s.finds()
	}
}

func TestGrowingAmounts(t *testing.T) {
	s := tell(t)
	refund := func(order, amount string, options ...option) {
		t.Helper()
		s.refuse("refund", "order:"+order, append(options, over("amount.sum"), args(`{"note": "n", "sum": `+amount+`}`))...)
	}
	refund("1", "200")
	refund("2", "150")
	refund("3", "300")
	s.finds()
	refund("4", `"500.00"`)
	s.finds("scope_creep low write")
	s.names(1, 3, 4)
	refund("5", "900", class(conduct.Money))
	s.finds("scope_creep medium money")
}

func TestProbing(t *testing.T) {
	refund := func(s *story, amount int, ok bool, options ...option) {
		s.Helper()
		options = append([]option{args(fmt.Sprintf(`{"order": 4711, "sum": %d}`, amount)), class(conduct.Money)}, options...)
		if ok {
			s.allow("refund", "order:4711", append(options, covered)...)
		} else {
			s.refuse("refund", "order:4711", options...)
		}
	}
	over := over("amount.sum")

	s := tell(t) // a wrong amount that is put right
	refund(s, 500, false, over)
	refund(s, 100, true)
	s.finds()

	s = tell(t) // haggling
	refund(s, 500, false, over)
	refund(s, 400, false, over)
	refund(s, 300, false, over)
	s.finds()
	refund(s, 200, true)
	s.finds("probing low money")
	s.names(1, 3, 4)
	refund(s, 250, true) // and up again
	s.finds("probing medium money")
	refund(s, 280, false, over)
	s.finds("probing high money")
	refund(s, 100, true) // what is below is nothing
	s.finds()

	s = tell(t) // a limit of the policies, whose refusal does not say of what
	refund(s, 500, false, covered)
	refund(s, 500, false, covered)
	refund(s, 400, false, covered)
	refund(s, 300, true)
	refund(s, 350, true)
	s.finds("probing medium money")

	s = tell(t) // from below, with a number that two tries have in common
	refund(s, 500, false, covered)
	refund(s, 100, true)
	refund(s, 300, true)
	refund(s, 400, false, covered)
	s.finds("probing medium money")
	s.wait(time.Hour)
	refund(s, 350, false, covered)
	s.finds()

	s = tell(t) // the limit from which on a person is asked
	ask := func(amount int) {
		s.act(authz.RequireApproval, authz.CodeApprovalRequired, "refund", "order:4711", []option{args(fmt.Sprintf(`{"sum": %d}`, amount)), covered})
	}
	ask(500)
	ask(400)
	refund(s, 100, true)
	refund(s, 200, true)
	s.finds("probing medium money")
}

// Business has refusals, too: amounts that come as they come, on order after order.
func TestBusinessIsNotProbing(t *testing.T) {
	s := tell(t)
	amount, found := uint32(12345), 0
	for i := range 2000 {
		amount = amount*1664525 + 1013904223
		sum := int(amount>>16) % 105
		options := []option{args(fmt.Sprintf(`{"order": %d, "sum": %d}`, i%100, sum)), class(conduct.Money)}
		if sum > 100 {
			s.refuse("refund", fmt.Sprintf("order:%d", i%100), append(options, over("amount.sum"))...)
		} else {
			s.allow("refund", fmt.Sprintf("order:%d", i%100), append(options, covered)...)
		}
		for _, f := range s.findings {
			if strings.HasPrefix(f, "probing") {
				found++
			}
		}
	}
	if found > 0 {
		t.Errorf("2000 refunds of chance amounts, of which one in twenty is over the limit, were called probing %d times", found)
	}
}

func TestElsewhere(t *testing.T) {
	s := tell(t) // in the same session
	s.refuse("change", "order:1", session("s1"), agent("a"))
	s.allow("change", "order:1", session("s1"), agent("b"), covered)
	s.finds("elsewhere low write")
	s.names(1, 2)
	s.allow("change", "order:1", session("s1"), agent("b"), covered)
	s.finds() // it is told once
	s.refuse("change", "order:2", session("s1"), agent("a"))
	s.refuse("change", "order:2", session("s1"), agent("b"))
	s.finds("elsewhere medium write")

	s = tell(t) // and of a grave class
	for i, want := range []string{"medium", "medium", "high"} {
		r := fmt.Sprintf("account:%d", i)
		s.refuse("pay", r, session("s1"), agent("a"), class(conduct.Money), covered)
		s.allow("pay", r, session("s1"), agent("b"), class(conduct.Money), covered)
		s.finds("elsewhere " + want + " money")
	}

	s = tell(t) // the same resource, another act
	s.refuse("change", "order:1", session("s1"), agent("a"))
	s.allow("read", "order:1", session("s1"), agent("b"), covered, class(conduct.Read))
	s.finds() // less than what was denied
	s.allow("delete", "order:1", session("s1"), agent("b"), covered)
	s.finds() // once
	s.refuse("change", "order:2", session("s1"), agent("a"))
	s.allow("delete", "order:2", session("s1"), agent("b"), covered)
	s.finds("elsewhere low write")

	s = tell(t) // through another agent, in no session
	s.refuse("change", "order:1", agent("a"))
	s.allow("change", "order:1", agent("b"), onBehalf("a", "k"), covered)
	s.finds("elsewhere low write")

	s = tell(t) // refused for another, then in one's own name
	s.refuse("change", "order:1", agent("a"), onBehalf("b", "k"))
	s.allow("change", "order:1", agent("b"), covered)
	s.finds("elsewhere low write")

	s = tell(t) // agents of one owner may know nothing of each other
	for i := range 3 {
		r := fmt.Sprintf("order:%d", i)
		s.refuse("change", r, agent("a"), owner("anna"))
		s.allow("change", r, agent("b"), owner("anna"), covered)
		if i < 2 {
			s.finds()
		}
	}
	s.finds("elsewhere low write")
	s.allow("change", "order:2", agent("c"), owner("ben"), covered)
	s.finds() // strangers know less

	s = tell(t) // alone, then for somebody; for one person, then for another
	s.refuse("change", "order:1", covered)
	s.allow("change", "order:1", covered, forUser("anna"))
	s.finds("elsewhere low write")
	s.refuse("change", "order:2", covered, forUser("anna"))
	s.allow("change", "order:2", covered, forUser("ben"))
	s.finds() // both may ask for the same
	s.refuse("change", "order:3", covered, forUser("anna"), session("s1"))
	s.allow("change", "order:3", covered, forUser("ben"), session("s1"))
	s.finds("elsewhere medium write") // but not in one session

	s = tell(t) // too late
	s.refuse("change", "order:1", session("s1"), agent("a"))
	s.wait(time.Hour)
	s.allow("change", "order:1", session("s1"), agent("b"), covered)
	s.finds()
}

// What an agent was refused is not forgotten because others are refused much.
func TestNothingIsGainedByEviction(t *testing.T) {
	s := tell(t)
	s.refuse("change", "order:1", session("s1"), agent("a"))
	for i := range 100_000 {
		s.at = s.at.Add(-10 * time.Second)
		s.refuse("read", fmt.Sprintf("doc:%d", i), agent("flood"), covered)
	}
	s.allow("change", "order:1", session("s1"), agent("b"), covered)
	s.finds("elsewhere low write")
	if got := len(s.fleet.Append(nil)); got > 4<<20 {
		t.Errorf("the fleet's state has %d bytes, want at most 4 MiB", got)
	}
}

func TestDelegation(t *testing.T) {
	s := tell(t)
	s.allow("change", "order:1", agent("b"), covered, onBehalf("a", "k"))
	s.finds() // it could do that itself
	s.allow("change", "order:1", agent("b"), covered, onBehalf("c"))
	s.finds("delegation low write")
	s.allow("change", "order:2", agent("b"), covered, onBehalf("c"))
	s.finds() // by now it is known
	s.allow("change", "order:2", agent("b"), onBehalf("d"))
	s.finds() // no capability is lent: nobody has one
	s.allow("change", "order:2", agent("b"), covered, forUser("anna"))
	s.finds()

	pay := func(who, whom string, want ...string) {
		s.Helper()
		s.allow("pay", "account:1", agent(who), class(conduct.Money), covered, onBehalf(whom))
		s.finds(want...)
	}
	pay("b", "c", "delegation low money") // set up so
	pay("b", "d", "delegation medium money")
	pay("b", "c")
	pay("b", "e", "delegation medium money")
	pay("b", "f", "delegation high money") // used so
	pay("other", "f", "delegation low money")
	s.wait(24 * time.Hour)
	pay("b", "g", "delegation low money")

	s = tell(t) // who has paid with a capability of its own does not gain the class
	s.allow("pay", "account:1", agent("c"), class(conduct.Money), covered)
	for _, by := range []string{"b1", "b2"} {
		pay(by, "c", "delegation low money")
	}

	s = tell(t) // nothing becomes normal while trust is lowered
	s.lowered = true
	pay("b", "c", "delegation low money")
	pay("b", "c", "delegation low money")
	s.refuse("pay", "account:1", agent("b"), class(conduct.Money), onBehalf("d"))
	s.finds("over_reach low money") // refused, it is no reach
}

func TestSelf(t *testing.T) {
	s := tell(t)
	s.refuse("read", "Policy:p1")
	s.finds("self low every") // it may have been curious
	s.refuse("read", "Policy:p1")
	s.finds("self low every")
	s.refuse("change", "policy:p1")
	s.finds("self medium every")
	s.names(1, 3)
	s.refuse("grant", "agent:bot")
	s.finds("self high every")

	s = tell(t)
	s.allow("read", "Agent:bot", class(conduct.Read), covered)
	s.finds() // it may look where it is let
	s.allow("change", "Agent:other", class(conduct.Admin), covered)
	s.finds("self low every")
	s = tell(t)
	s.allow("change", "Agent:bot", class(conduct.Admin), covered)
	s.finds("self low every")
	s.allow("change", "Agent:bot", class(conduct.Admin), covered)
	s.finds("self high every")

	s = tell(t)
	s.rules.Protected = []string{"vault"}
	s.refuse("open", "Vault:1")
	s.finds("self low every")
	s.refuse("read", "Policy:1")
	s.finds()
	s.refuse("change", "agent:bot")
	s.finds("self medium every") // its own record, in any case
	s.allow("send", "mailbox:bot", covered)
	s.finds() // a thing that has its name
	s.refuse("token.issue", "Agent:bot", issuing)
	s.finds()
}

func TestLaundering(t *testing.T) {
	s := tell(t)
	in := func(n int, options ...option) {
		s.Helper()
		s.refuse("send", "mail:1", append(options, session(fmt.Sprint("s", n)), covered)...)
	}
	in(1)
	in(1)
	in(2)
	s.finds()
	in(3)
	s.finds("laundering low write")
	s.names(3, 4)
	for n := 4; n < 20; n++ {
		in(n)
		s.finds("laundering low write") // a job that is started again and again
	}

	s = tell(t)
	egress := class(conduct.Egress)
	in(1, egress)
	in(2, egress)
	in(3, egress)
	s.finds("laundering low egress")
	in(4, egress)
	in(5, egress)
	s.finds("laundering medium egress")
	s.allow("send", "mail:1", session("s6"), egress, covered)
	s.finds("laundering medium egress") // at last it is through
}

// An agent of whom all is remembered that can be stays within its budget, one that behaves far below.
func TestSize(t *testing.T) {
	s := tell(t)
	for i := range 50 {
		s.allow("change", "order:1", covered)
		if got := s.states["bot"].Size(); i == 49 && got > 80 {
			t.Errorf("the state of an agent that was refused nothing has %d bytes, want at most 80", got)
		}
	}
	for i := range 50 {
		s.refuse("change", fmt.Sprintf("order:%d", i), covered, session(fmt.Sprint(i)), args(`{"sum": 3}`))
	}
	if got := s.states["bot"].Size(); got < 300 || got > 400 {
		t.Errorf("the state of an agent that was refused everything has %d bytes, want 300 to 400", got)
	}
}
