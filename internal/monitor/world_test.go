package monitor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC) // a Monday

// A world has a log and one monitor that follows it: it is the monitor's Committer.
type world struct {
	t       testing.TB
	db      *store.DB
	m       *monitor.Monitor
	log     []audit.Entry
	now     time.Time
	version int64
	yaml    map[int64]string // catalogs by version
	desk    *approval.Desk   // that follows the log as well, if there is one
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, db: storetest.Open(t), now: start, yaml: map[int64]string{}}
	w.m = w.monitor()
	return w
}

// monitor returns a monitor on w's store that knows nothing yet.
func (w *world) monitor() *monitor.Monitor {
	return monitor.New(monitor.Config{Store: w.db, Log: w, Catalog: w.catalog, Now: func() time.Time { return w.now }})
}

func (w *world) catalog(_ context.Context, version int64) (*catalog.Catalog, error) {
	text, ok := w.yaml[version]
	if !ok {
		return nil, authz.Errorf(authz.ErrNotFound, "there is no version %d", version)
	}
	return catalog.Parse("catalog.yaml", []byte(text))
}

// Commit implements the Log of monitor.Config.
func (w *world) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	e := audit.Entry{Seq: int64(len(w.log)) + 1, At: w.now.Truncate(time.Microsecond), Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	w.log = append(w.log, e)
	if err := w.m.Apply(ctx, e); err != nil || w.desk == nil {
		return e.Seq, err
	}
	return e.Seq, w.desk.Apply(ctx, e)
}

// Follow implements monitor.Reader.
func (w *world) Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error {
	for es := w.log[after:]; len(es) > 0; es = es[min(100, len(es)):] {
		if err := f(ctx, es[:min(100, len(es))]); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// must records something that takes effect, and returns its number.
func (w *world) must(kind audit.Kind, actor string, body any) int64 {
	w.t.Helper()
	seq, err := w.record(kind, actor, body)
	if err != nil {
		w.t.Fatalf("entry %d, %s: %v", seq, kind, err)
	}
	return seq
}

func (w *world) record(kind audit.Kind, actor string, body any) (int64, error) {
	w.t.Helper()
	text, ok := body.([]byte)
	if !ok {
		var err error
		if text, err = json.Marshal(body); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.Commit(context.Background(), audit.Draft{Kind: kind, Actor: actor, Body: text})
}

// publish makes a catalog the next version.
func (w *world) publish(text string) {
	w.t.Helper()
	w.version++
	w.yaml[w.version] = text
	w.must(audit.PolicyPublish, "admin:anna", map[string]any{"version": w.version, "if_version": w.version - 1, "source": "s", "catalog": "c", "author": "anna", "message": "m"})
}

// A registration is an agent as it is registered.
type registration struct {
	id, owner, purpose, version string
	revision                    int64
	state                       authz.AgentState
}

func (g *registration) agent(at time.Time) *authz.Agent {
	if g.state == "" {
		g.state = authz.AgentActive
	}
	return &authz.Agent{
		ID: authz.AgentID(g.id), Owner: g.owner, Purpose: g.purpose, Version: g.version, Creator: "anna", State: g.state,
		Capabilities: []string{"work"}, CreatedAt: at, UpdatedAt: at, Revision: g.revision, AsOf: 1,
	}
}

// put registers g anew, or changes it.
func (w *world) put(g *registration) {
	w.t.Helper()
	w.must(audit.AgentPut, "admin:anna", map[string]any{"agent": g.agent(w.now), "if_revision": g.revision, "why": "w"})
	g.revision++
}

// An act is a decision to be.
type act struct {
	session, task, action, resource, class string
	effect                                 authz.Effect
	args                                   string
	confidence                             float64
	untrusted                              bool
	obliged                                bool
}

// decision returns the record of an act of an agent.
func decision(at time.Time, g *registration, x act) *pdp.Record {
	rec := &pdp.Record{
		Request: authz.Request{
			Subject:  authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: g.id}},
			Action:   authz.Action{Name: x.action, Properties: authz.Claimed(x.args)},
			Resource: authz.Entity{Ref: authz.Ref{Type: "order", ID: x.resource}},
			Observed: authz.Observed{Session: x.session, Task: x.task, PEP: "gateway", RequestID: "r"},
		},
		Facts: authz.Facts{
			At: at, Schedules: []string{}, Zones: []string{"office"}, Country: "DE", Class: authz.Internal, Labels: []string{}, Agent: g.agent(start),
			Grant: authz.Grant{Within: []string{}, Class: x.class}, Trust: authz.NeutralTrust, Risk: authz.Risk{Level: "low", Alerts: []string{}, Indicators: []string{}},
		},
		Decision: authz.Decision{At: at, Effect: x.effect, Code: authz.CodeAllowed, PolicySet: 1, Catalog: 1},
	}
	if x.effect != authz.Allow {
		rec.Decision.Code = authz.CodeNoPermit
	}
	if x.class != "" && x.effect == authz.Allow {
		rec.Facts.Grant.Within = []string{"work"}
	}
	if x.confidence > 0 {
		rec.Request.Context = authz.Claimed(fmt.Sprintf(`{"confidence":%v}`, x.confidence))
	}
	if x.untrusted {
		rec.Request.Observed.Provenance = &authz.Provenance{Untrusted: []string{"amount"}}
	}
	if x.obliged {
		rec.Decision.Obligations = []authz.Obligation{{ID: "tell", Type: "notification"}}
	}
	return rec
}

// does records that an agent did something.
func (w *world) does(g *registration, x act) int64 {
	w.t.Helper()
	return w.must(audit.DecisionMade, "pep:gateway", decision(w.now, g, x))
}

// outcome returns what came of a decision, for somebody to say.
func outcome(g *registration, seq int64, at time.Time, r conduct.Result) conduct.Outcome {
	return conduct.Outcome{
		Decision: seq, Agent: authz.AgentID(g.id), Class: "write", Action: "order.change", Decided: at, Allowed: true,
		Reporter: conduct.ReporterPerson, By: "admin:bob", Result: r,
	}
}

// unknown is a body that no monitor looks at.
var unknown = map[string]any{"x": 1}

// live fills w with n entries of all kinds, chosen by rng: agents that work, that misbehave, that change,
// people who judge.
func (w *world) live(rng *rand.Rand, agents, n int) {
	w.t.Helper()
	all := make([]*registration, agents)
	for i := range all {
		all[i] = &registration{id: fmt.Sprintf("bot-%d", i), owner: fmt.Sprintf("team-%d", i%3), purpose: fmt.Sprintf("purpose-%d", i%2), version: "1"}
		if i%4 != 3 {
			w.put(all[i])
		} else {
			all[i].revision = 1 // known by its first decision only
		}
	}
	actions := []string{"order.read", "order.change", "mail.send", "order.pay", "user.grant"}
	classes := []string{"read", "write", "egress", "money", "admin"}
	var decided []int64
	var by []*registration
	for len(w.log) < n {
		w.now = w.now.Add(time.Duration(rng.IntN(60_000)) * time.Millisecond)
		if rng.IntN(200) == 0 {
			w.now = w.now.Add(time.Duration(rng.IntN(48)) * time.Hour)
		}
		i := rng.IntN(agents)
		g := all[i]
		switch k := rng.IntN(100); {
		case k < 80:
			a := rng.IntN(3)
			x := act{session: fmt.Sprintf("s-%d-%d", i, len(w.log)/40), task: "task", action: actions[a], class: classes[a], resource: fmt.Sprint("o-", rng.IntN(30)), effect: authz.Allow, args: `{"amount":"12.50"}`, obliged: rng.IntN(5) == 0}
			if i%5 == 0 && rng.IntN(3) == 0 { // misbehaves
				x.action, x.class, x.effect = actions[rng.IntN(5)], "", authz.Deny
				x.resource = fmt.Sprint("x-", rng.IntN(1000))
				x.untrusted = true
			}
			if rng.IntN(3) == 0 {
				x.confidence = float64(rng.IntN(101)) / 100
			}
			decided, by = append(decided, w.does(g, x)), append(by, g)
		case k < 88 && len(decided) > 0:
			j := rng.IntN(len(decided))
			o := outcome(by[j], decided[j], w.log[decided[j]-1].At, []conduct.Result{"right", "right", "wrong", "harmful", "reverted", ""}[rng.IntN(6)])
			o.By = []string{"admin:bob", "admin:eve", "pep:gateway"}[rng.IntN(3)]
			w.record(audit.OutcomeReported, o.By, o) // may have been reported, or be too old
		case k < 90:
			fs, err := w.m.Findings(w.t.Context(), monitor.Filter{}, "", 5)
			if err != nil {
				w.t.Fatal(err)
			}
			if len(fs) > 0 {
				v := []conduct.Verdict{conduct.Acknowledged, conduct.Dismissed, conduct.Confirmed}[rng.IntN(3)]
				w.record(audit.FindingJudged, "admin:bob", conduct.Judgement{Finding: fs[rng.IntN(len(fs))].ID, Verdict: v, Why: "w"})
			}
		case k < 91:
			w.record(audit.TrustPut, "admin:bob", map[string]any{"agent": g.id, "class": "every", "level": []string{"low", "medium", "high", ""}[rng.IntN(4)], "why": "w", "expires_at": w.now.Add(time.Hour)})
		case k < 92:
			g.version = fmt.Sprint(rng.IntN(9))
			w.put(g)
		case k < 93 && rng.IntN(8) == 0:
			g.state = authz.AgentRetired
			w.put(g)
			all[i] = &registration{id: fmt.Sprintf("bot-%d", len(w.log)), owner: g.owner, purpose: g.purpose, version: "1"}
			w.put(all[i])
		case k < 94:
			w.publish([]string{"{}", "conduct: {mode: shadow}", "conduct: {cooldown: 10m, keep: 24h}",
				"conduct: {compliance: {regions: [{countries: [US]}]}}", "conduct: {compliance: {receipts: {within: 10m, classes: [egress], obligations: true}}}"}[rng.IntN(5)])
		case k < 96:
			w.must(audit.DecisionMade, "pep:gateway", decision(w.now, &registration{id: "ghost", state: authz.AgentRetired}, act{action: "order.read"}))
		case k < 97:
			w.record(audit.DecisionMade, "pep:gateway", []byte(`{"facts":{"agent":{"id":7}}}`)) // damaged
		case k < 99:
			w.ask(rng, g, i)
		default:
			w.must([]audit.Kind{audit.Heartbeat, "some.kind", audit.SearchMade}[rng.IntN(3)], "safeconduct", unknown)
		}
	}
}
