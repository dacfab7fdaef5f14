package approval_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

var ctx = context.Background()

// start is a Friday, 16:00 UTC.
var start = time.Date(2026, 11, 27, 16, 0, 0, 0, time.UTC)

// organisation is the catalog of most tests. The persons are named for what they may: anna and ben are of
// finance, carl leads it, dora is of security, olga owns the agent and made-by is its maker.
const organisation = `
capabilities: {pay: {title: Pay, class: money, actions: [pay]}}
schedules:
  day: {zone: UTC, windows: [{days: [fri], from: "08:00", to: "17:00"}]}
approvers:
  finance:
    title: Finance
    members: [{type: user, id: anna}, {type: user, id: ben}, {type: user, id: olga}, {type: user, id: mike}, {claims: {groups: finance}}]
  heads: {title: Heads, members: [{type: user, id: carl}, {type: user, id: olga}]}
  security: {title: Security, members: [{type: user, id: dora}, {type: user, id: emil}, {type: user, id: olga}]}
  oncall: {title: On call, members: [{type: user, id: dora, during: day}]}
approvals:
  default: one
  asks: {session: 0, hour: 0, pending: 0}
  routes:
    one:
      title: One of finance
      approvers: [finance]
      break_glass: [security]
      review: 2h
    two: {title: Two of finance, approvers: [finance], quorum: 2}
    three: {title: Three of finance, approvers: [finance], quorum: 3, evaluator: scanner}
    pair: {title: Two, evaluator: scanner, approvers: [finance], quorum: 2}
    safe: {title: Security agrees, approvers: [security]}
    key: {title: With a passkey, approvers: [finance], passkey: true, evaluator: scanner, break_glass: [security]}
    late: {title: Heads when finance is silent, approvers: [finance], escalate: [heads], after: 10m, pending: 30m}
    duty: {title: Who is on call, approvers: [oncall]}
    robot: {title: A program first, approvers: [finance], evaluator: scanner}
    wide:
      title: Far
      approvers: [finance]
      uses: 5
      class: true
      class_for: 4h
      arguments: true
      amounts: {amount: "1000"}
    half: {title: Not so far, approvers: [finance], uses: 3, class: true, class_for: 2h, amounts: {amount: "500"}}
`

func parse(t testing.TB, text string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Parse("catalog.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A spine is the log and its followers, in one step. Its clock is set by hand. The first desk says the
// verdict; the others must say the same.
type spine struct {
	t       testing.TB
	mu      sync.Mutex
	entries []audit.Entry
	desks   []*approval.Desk
	now     time.Time
	behind  int // desks from this one on do not follow; 0: all do
}

func (s *spine) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *spine) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *spine) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := audit.Entry{Seq: int64(len(s.entries) + 1), At: s.now, Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	s.entries = append(s.entries, e)
	var first error
	for i, desk := range s.desks {
		if s.behind > 0 && i >= s.behind {
			break
		}
		err := desk.Apply(ctx, e)
		if err != nil && !errors.Is(err, authz.ErrInvalid) && !errors.Is(err, authz.ErrConflict) && !errors.Is(err, authz.ErrNotFound) {
			s.t.Errorf("Apply of %s: %v is no verdict", e.Kind, err)
		}
		if i == 0 {
			first = err
		} else if fmt.Sprint(err) != fmt.Sprint(first) {
			s.t.Errorf("Apply of %s: desk %d says %v, the first %v", e.Kind, i, err, first)
		}
	}
	return e.Seq, first
}

// A world is a desk and what it needs.
type world struct {
	*approval.Desk
	t   testing.TB
	log *spine
	cfg approval.Config
}

// open returns a loaded desk on a database of its own.
func open(t testing.TB, text string) *world {
	t.Helper()
	s := &spine{t: t, now: start}
	c := parse(t, text)
	w := &world{t: t, log: s, cfg: approval.Config{
		Store: storetest.Open(t), Log: s, Now: s.Now,
		Catalog: func(_ context.Context, v int64) (*catalog.Catalog, error) {
			if v != 7 {
				return nil, authz.Errorf(authz.ErrNotFound, "there is no version %d", v)
			}
			return c, nil
		},
	}}
	w.Desk = w.another()
	return w
}

// another returns one more desk, loaded from the tables.
func (w *world) another() *approval.Desk {
	w.t.Helper()
	d := approval.New(w.cfg)
	if err := d.Load(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.log.desks = append(w.log.desks, d)
	return d
}

func entity(typ, id, properties string) authz.Entity {
	return authz.Entity{Ref: authz.Ref{Type: typ, ID: id}, Properties: authz.Claimed(properties)}
}

// payment is the act of most tests: payer pays 400 to de1.
func payment() *authz.Request {
	return &authz.Request{
		Subject:  entity("agent", "payer", `{"team":"rent"}`),
		Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount":400,"to":"de1"}`)},
		Resource: entity("account", "de1", `{"currency":"EUR"}`),
		Context:  authz.Claimed(`{"purpose":"rent","time":"now"}`),
		Observed: authz.Observed{Session: "s1", PEP: "gate", RequestID: "r1"},
	}
}

// about returns an ask about an act that some refused decision was about, by the routes.
func about(req *authz.Request, decision int64, routes ...string) approval.Ask {
	return approval.Ask{
		Kind: approval.Access, Catalog: 7,
		Bound: approval.Bound{Subject: req.Subject, OnBehalf: req.OnBehalf, Context: authz.Claimed(`{"purpose":"rent"}`), Members: []string{"purpose"}},
		Items: []approval.Item{{
			Action: req.Action, Resource: req.Resource, Decision: decision, Routes: routes, Data: authz.Confidential, Labels: []string{"financial", "pii"},
		}},
		Agent: req.Agent(), Owner: "olga", Creator: "admin:mike", Session: req.Observed.Session, PEP: "gate", Requester: "pep:gate",
		Justification: "The rent is due.",
	}
}

// ask records an ask for the payment.
func (w *world) ask(routes ...string) *approval.Ask {
	w.t.Helper()
	w.log.mu.Lock()
	decisions := int64(len(w.log.entries)) + 1_000_000
	w.log.mu.Unlock()
	a, joined, err := w.Ask(ctx, about(payment(), decisions, routes...))
	wantKind(w.t, "Ask", err, nil)
	if joined {
		w.t.Fatalf("ask %s was joined, want a new one", a.ID)
	}
	return a
}

func who(id string, groups ...string) approval.Person {
	p := approval.Person{ID: id}
	if len(groups) > 0 {
		p.Claims = map[string][]string{"groups": groups, "email": {id + "@example.org"}}
	}
	return p
}

// answer looks at the ask and answers.
func (w *world) answer(a *approval.Ask, p approval.Person, r approval.Reply) (*approval.Ask, error) {
	w.t.Helper()
	v, err := w.View(ctx, p, a.ID)
	if err != nil {
		return nil, err
	}
	w.log.pass(5 * time.Second)
	r.View = v.Seq
	return w.Answer(ctx, p, a.ID, r)
}

var yes, no = approval.Reply{Yes: true}, approval.Reply{Comment: "No."}

func (w *world) approve(a *approval.Ask, p approval.Person) *approval.Ask {
	w.t.Helper()
	got, err := w.answer(a, p, yes)
	wantKind(w.t, p.ID+" says yes", err, nil)
	return got
}

func wantKind(t testing.TB, what string, err, kind error) {
	t.Helper()
	if kind == nil && err != nil || kind != nil && !errors.Is(err, kind) {
		t.Fatalf("%s: error %v, want %v", what, err, kind)
	}
}

func wantStatus(t testing.TB, a *approval.Ask, want approval.Status) {
	t.Helper()
	if a.Status != want {
		t.Fatalf("ask is %s, want %s: %s", a.Status, want, text(a))
	}
}

func text(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// holds returns how the approval of an item stands towards a request: "holds", or why not.
func (w *world) holds(a *approval.Ask, item int, change func(*authz.Request)) string {
	w.t.Helper()
	req := payment()
	req.Approval = &authz.ApprovalRef{ID: a.Items[item].Approval.ID}
	if change != nil {
		change(req)
	}
	got, why := w.Holds(req, authz.Confidential, []string{"financial"}, w.log.Now())
	if got != nil {
		return strings.TrimSpace("holds " + why)
	}
	return why
}

// none is a store that keeps nothing: what the log alone makes.
type none struct{}

func (none) OpenAsks(context.Context, time.Time, string, int) ([]approval.Ask, error) {
	return nil, nil
}
func (none) EndedAsks(context.Context, authz.AgentID, int64, int) ([]approval.Ask, error) {
	return nil, nil
}
func (none) Ask(context.Context, string) (approval.Ask, error) {
	return approval.Ask{}, authz.ErrNotFound
}
func (none) PutAsk(context.Context, approval.Ask) error     { return nil }
func (none) AsksAsOf(context.Context) (int64, error)        { return 0, nil }
func (none) Aways(context.Context) ([]approval.Away, error) { return nil, nil }
func (none) PutAway(context.Context, approval.Away) error   { return nil }
