package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/bench/fixture"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/edge"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/risk"
	"github.com/safeconduct/safeconduct/internal/stop"
)

// TestMain makes a child of the test the process that TestKill kills.
func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

// Whatever is asked, the answer is the one that pdp gives.
func TestAnswersLikeDecide(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	want := decider(t)
	kinds := map[string]bool{}
	recorded := 0
	for _, c := range fixture.Mix(2000) {
		if kinds[c.Name] {
			continue
		}
		kinds[c.Name] = true
		req := request(t, c.Body)
		got, err := r.ask(req)
		req.Observed.PEP = edgeName
		d, derr := want.Decide(t.Context(), req)
		if (err == nil) != (derr == nil) {
			t.Fatalf("%s: Answer returned %v, Decide %v", c.Name, err, derr)
		}
		if got.Effect != d.Effect || got.Code != d.Code || got.Effect.String() != c.Effect {
			t.Errorf("%s: Answer = %v %s, want %v %s", c.Name, got.Effect, got.Code, d.Effect, d.Code)
		}
		if diff := cmp.Diff(d.Reasons, got.Reasons, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: reasons (-want +got):\n%s", c.Name, diff)
		}
		if diff := cmp.Diff(d.Changes, got.Changes, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: changes (-want +got):\n%s", c.Name, diff)
		}
		var obliged, obliges []string
		for _, o := range d.Obligations {
			obliges = append(obliges, o.ID+" "+o.ProfileType())
		}
		for _, o := range got.Obligations {
			obliged = append(obliged, o.ID+" "+o.Type)
		}
		if diff := cmp.Diff(obliges, obliged); diff != "" {
			t.Errorf("%s: obligations (-want +got):\n%s", c.Name, diff)
		}
		recorded++
		if want := fmt.Sprintf("e%d", recorded); got.ID != want {
			t.Errorf("%s: the decision's id is %q, want %q", c.Name, got.ID, want)
		}
	}
	for _, rec := range p.taken(recorded) {
		dec, err := pdp.ParseRecord(rec.Decision)
		if err != nil {
			t.Fatal(err)
		}
		if dec.Request.Observed.PEP != edgeName || dec.Decision.PolicySet != 1 || dec.Facts.Agent == nil {
			t.Errorf("recorded: asked by %q, decided by version %d, agent %v", dec.Request.Observed.PEP, dec.Decision.PolicySet, dec.Facts.Agent)
		}
	}
}

func TestRefusesBeforeItIsTold(t *testing.T) {
	p := newPlane(t)
	pt, err := edge.New(p.config())
	if err != nil {
		t.Fatal(err)
	}
	all, err := pt.Answer(t.Context(), &client.Question{Requests: []authz.Request{handbook(t), handbook(t)}})
	if !errors.Is(err, authz.ErrUnavailable) || len(all) != 2 || all[0].Allowed() || all[1].Allowed() {
		t.Errorf("Answer = %v, %v, want two refusals and %v", all, err, authz.ErrUnavailable)
	}
	if err := pt.Outcome(t.Context(), "e1", client.Outcome{}); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Outcome: %v, want %v", err, authz.ErrUnavailable)
	}
	if s := pt.Status(); s.Ready || s.Err == nil {
		t.Errorf("Status = %+v, want one that is not ready", s)
	}
}

func TestFollowsTheControlPlane(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	id := authz.AgentID(req.Subject.ID)
	code := func() string {
		a, err := r.ask(req)
		if err != nil {
			return err.Error()
		}
		return a.Code
	}
	if got := code(); got != authz.CodeAllowed {
		t.Fatalf("at first: %s", got)
	}
	p.put(id, func(a *authz.Agent) { a.State = authz.AgentSuspended })
	r.until("suspended", func() bool { return code() == authz.CodeAgentInactive })
	p.put(id, func(a *authz.Agent) { a.State = authz.AgentActive })
	r.until("restored", func() bool { return code() == authz.CodeAllowed })
	p.with(func() {
		told := p.agents[id]
		delete(p.agents, id)
		p.tell(feed.EventForget, feed.Forget{ID: told.Agent.ID})
	})
	r.until("forgotten", func() bool { return code() == authz.CodeAgentUnknown })
	p.with(func() {
		p.agents[id] = &feed.Agent{Agent: &authz.Agent{ID: id, State: authz.AgentActive}, Conduct: authz.Conduct{Quarantined: true}}
		p.tell(feed.EventAgent, p.agents[id])
	})
	r.until("quarantined", func() bool { return code() == authz.CodeAgentInactive })

	r = run(t, p.config())
	other := handbook(t)
	other.Subject.ID = "support-1"
	req = other
	p.with(func() {
		p.version.Version = 2
		p.version.Policies = append(p.version.Policies, feed.File{Name: "stop.cedar", Text: `@id("stop") forbid (principal, action, resource);`})
		p.tell(feed.EventPolicies, p.active())
	})
	r.until("the new policy", func() bool { return code() == authz.CodeForbidden })
	if s := r.Status(); s.Version != 2 || s.Err != nil || !s.Connected || s.Agents != len(p.agents) {
		t.Errorf("Status = %+v, want version 2, %d agents", s, len(p.agents))
	}
	// A version that does not compile has no effect, and as long as it is told nothing counts as known.
	p.with(func() {
		p.version.Version = 3
		p.version.Policies = []feed.File{{Name: "bad.cedar", Text: "permit ("}}
		p.tell(feed.EventPolicies, p.active())
	})
	r.until("what does not compile", func() bool {
		s := r.Status()
		return s.Feed != nil && strings.Contains(s.Feed.Error(), "does not compile") && !s.Connected
	})
	if got := code(); got != authz.CodeForbidden {
		t.Errorf("meanwhile: %s, want %s", got, authz.CodeForbidden)
	}
}

// Policies that are not those that were published have no effect.
func TestTamperedPolicies(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	p.with(func() {
		p.tampered = true
		p.version.Version = 2
		p.tell(feed.EventPolicies, p.active())
	})
	r.until("it says so", func() bool {
		s := r.Status()
		return s.Feed != nil && strings.Contains(s.Feed.Error(), "not what was published")
	})
	if s := r.Status(); s.Version != 1 {
		t.Errorf("it decides by version %d, want 1", s.Version)
	}
	p.with(func() { p.tampered = false })
	r.until("what was published", func() bool { return r.Status().Version == 2 })
}

func TestRisk(t *testing.T) {
	p := newPlane(t)
	p.with(func() {
		p.version.Policies = append(p.version.Policies, feed.File{Name: "risk.cedar",
			Text: `@id("alarm") forbid (principal, action, resource) when { context.observed.risk.alerts.contains("ransomware") };`})
	})
	r := run(t, p.config())
	req := handbook(t)
	code := func() string { a, _ := r.ask(req); return a.Code }
	if got := code(); got != authz.CodeAllowed {
		t.Fatalf("at first: %s", got)
	}
	alert := risk.Alert{ID: "a1", Kind: "ransomware", Severity: "critical", ExpiresAt: time.Now().Add(time.Hour), RaisedBy: "admin:x", RaisedAt: time.Now()}
	tell := func() {
		list, err := json.Marshal([]risk.Alert{alert})
		if err != nil {
			t.Fatal(err)
		}
		p.with(func() { p.tell(feed.EventRisk, feed.Risk{Alerts: list}) })
	}
	tell()
	r.until("alerted", func() bool { return code() == authz.CodeForbidden })
	alert = risk.Alert{ID: "a1", Cleared: true}
	tell()
	r.until("cleared", func() bool { return code() == authz.CodeAllowed })
}

// While the control plane is gone it decides for a while, then refuses and says why, and comes back by itself.
func TestControlPlaneGone(t *testing.T) {
	p := newPlane(t)
	cfg := p.config()
	cfg.MaxStale = 700 * time.Millisecond
	r := run(t, cfg)
	req := handbook(t)
	p.with(func() { p.down = true })
	p.cut()
	gone := time.Now()
	r.until("it notices", func() bool { return !r.Status().Connected })
	if a, err := r.ask(req); err != nil || !a.Allowed() {
		t.Errorf("just after: %v, %v, want an answer", a.Code, err)
	}
	decided := 1
	r.until("it refuses", func() bool {
		_, err := r.ask(req)
		if err == nil {
			decided++
		}
		return err != nil
	})
	if d := time.Since(gone); d > 5*time.Second {
		t.Errorf("it refuses after %v, want about %v", d, cfg.MaxStale)
	}
	a, err := r.ask(req)
	if !errors.Is(err, authz.ErrUnavailable) || a.Code != authz.CodeUnavailable {
		t.Fatalf("Answer = %s, %v, want %v", a.Code, err, authz.ErrUnavailable)
	}
	for _, want := range []string{p.URL, "700ms", "the control plane is gone"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if strings.Contains(a.Reasons[0].Message, p.URL) {
		t.Errorf("the agent is told %q", a.Reasons[0].Message)
	}
	p.with(func() { p.down = false })
	r.until("it is back", func() bool { _, err := r.ask(req); return err == nil })
	p.taken(decided + 1)
}

// A feed that says nothing is as one that is gone; what arrives late is as old as it is.
func TestSilenceIsStale(t *testing.T) {
	p := newPlane(t)
	cfg := p.config()
	cfg.MaxStale = 300 * time.Millisecond
	r := run(t, cfg)
	p.with(func() { p.silent = true })
	r.until("silent", func() bool { return r.Status().Err != nil })
	p.with(func() { p.silent = false })
	r.until("heard", func() bool { return r.Status().Err == nil })
	p.with(func() { p.behind = time.Second }) // as if each head had been on its way so much longer
	r.until("late", func() bool { s := r.Status(); return s.Feed != nil && strings.Contains(s.Feed.Error(), "late") })
	r.until("heard anew, by another measure", func() bool { return r.Status().Err == nil })
}

// Clocks that are wrong change nothing: how old something is, is measured.
func TestClocks(t *testing.T) {
	p := newPlane(t)
	p.behind = 1000 * time.Hour // of the control plane
	cfg := p.config()
	cfg.MaxStale = 500 * time.Millisecond
	var back atomic.Int64
	cfg.Now = func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
	r := run(t, cfg)
	if a, err := r.ask(handbook(t)); err != nil || !a.Allowed() {
		t.Fatalf("with another clock: %v, %v", a.Code, err)
	}
	p.with(func() { p.silent = true })
	back.Store(int64(250 * time.Millisecond)) // shortens nothing by more than it is
	r.until("it is stale", func() bool { return r.Status().Err != nil })
}

func TestUploadsOnce(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	const n = 300
	for i := range n {
		switch i {
		case 50, 200:
			p.with(func() { p.deaf = true }) // the answer to the next upload is lost
		case 100:
			p.with(func() { p.down = true })
			p.cut()
		case 150:
			p.with(func() { p.down = false })
		}
		req.Observed.RequestID = fmt.Sprint(i)
		a, err := r.ask(req)
		if err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := r.Outcome(t.Context(), a.ID, client.Outcome{Latency: time.Duration(i+1) * time.Millisecond}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var at = map[int64]string{}
	next, outcomes := 0, 0
	for i, rec := range p.taken(n + n/10) {
		if rec.Outcome != nil {
			var o struct {
				Latency int `json:"latency_ms"`
			}
			if err := json.Unmarshal(rec.Outcome, &o); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprint(o.Latency - 1); at[rec.Of] != want {
				t.Errorf("the outcome of request %s is of %q", want, at[rec.Of])
			}
			outcomes++
			continue
		}
		dec, err := pdp.ParseRecord(rec.Decision)
		if err != nil {
			t.Fatal(err)
		}
		if got := dec.Request.Observed.RequestID; got != fmt.Sprint(next) {
			t.Fatalf("record %d is of request %s, want %d", i+1, got, next)
		}
		at[int64(i+1)] = fmt.Sprint(next)
		next++
	}
	if next != n || outcomes != n/10 {
		t.Errorf("%d decisions and %d outcomes, want %d and %d", next, outcomes, n, n/10)
	}
	r.until("nothing is pending", func() bool { s := r.Status(); return s.Pending == 0 && s.Oldest.IsZero() })
}

func TestManyAtOnce(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	const workers, each = 16, 100
	var mu sync.Mutex
	ids := map[string]bool{}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range each {
				got, err := r.Answer(context.Background(), &client.Question{Requests: []authz.Request{req, req}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ids[got[0].ID], ids[got[1].ID] = true, true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(ids) != 2*workers*each {
		t.Errorf("%d ids, want %d", len(ids), 2*workers*each)
	}
	p.taken(2 * workers * each)
}

func TestInvalid(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	good := handbook(t)
	for _, c := range []struct {
		name   string
		change func(*authz.Request)
	}{
		{"no subject", func(r *authz.Request) { r.Subject = authz.Entity{} }},
		{"no id", func(r *authz.Request) { r.Resource.ID = "" }},
		{"long id", func(r *authz.Request) { r.Resource.ID = strings.Repeat("x", 5000) }},
		{"bad UTF-8", func(r *authz.Request) { r.Resource.ID = "\xff" }},
		{"NUL", func(r *authz.Request) { r.Subject.ID = "a\x00b" }},
		{"no object", func(r *authz.Request) { r.Action.Properties = authz.Claimed(`[1]`) }},
		{"two objects", func(r *authz.Request) { r.Action.Properties = authz.Claimed(`{} {}`) }},
		{"a name twice", func(r *authz.Request) { r.Action.Properties = authz.Claimed(`{"a":1,"a":2}`) }},
		{"a name twice below", func(r *authz.Request) { r.Context = authz.Claimed(`{"x":{"a":1,"\u0061":2}}`) }},
		{"NUL in text", func(r *authz.Request) { r.Context = authz.Claimed(`{"a":"\u0000"}`) }},
		{"too deep", func(r *authz.Request) {
			r.Context = authz.Claimed(`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`)
		}},
		{"too large", func(r *authz.Request) { r.Context = authz.Claimed(`{"a":"` + strings.Repeat("x", 70<<10) + `"}`) }},
		{"claims to be observed", func(r *authz.Request) { r.Context = authz.Claimed(`{"observed":{"ip":"10.0.0.1"}}`) }},
		{"claims it with escapes", func(r *authz.Request) { r.Context = authz.Claimed(`{"obs\u0065rved":{}}`) }},
		{"claims an approval", func(r *authz.Request) { r.Context = authz.Claimed(`{"approval":{"id":"x"}}`) }},
		{"unknown action", func(r *authz.Request) { r.Action.Name = "no_such_action" }},
		{"argument of another type", func(r *authz.Request) { r.Subject.Properties = nil; r.Resource.Type = "NoSuchType" }},
		{"behalf of a person's", func(r *authz.Request) {
			r.Subject.Type, r.OnBehalf = "user", []authz.Ref{{Type: "user", ID: "x"}}
		}},
	} {
		req := good
		c.change(&req)
		a, err := r.ask(req)
		if !errors.Is(err, authz.ErrInvalid) || a.Allowed() || a.ID != "" {
			t.Errorf("%s: Answer = %s, %v, want %v", c.name, a.Code, err, authz.ErrInvalid)
		}
	}
	for _, q := range []*client.Question{nil, {}, {Requests: make([]authz.Request, 300)}} {
		if _, err := r.Answer(t.Context(), q); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("a question of no or too many requests: %v, want %v", err, authz.ErrInvalid)
		}
	}
	odd := good
	odd.Action.Name = "no_such_action"
	all, err := r.Answer(t.Context(), &client.Question{Requests: []authz.Request{good, odd, good}})
	if err != nil || !all[0].Allowed() || all[1].Allowed() || all[1].ID != "" || !all[2].Allowed() || all[2].ID != "e2" {
		t.Errorf("one of three does not fit: %+v, %v", all, err)
	}
	for id, want := range map[string]error{"e9": authz.ErrNotFound, "e0": authz.ErrInvalid, "e01": authz.ErrInvalid, "e-1": authz.ErrInvalid, "x1": authz.ErrInvalid} {
		if err := r.Outcome(t.Context(), id, client.Outcome{}); !errors.Is(err, want) {
			t.Errorf("Outcome of %q: %v, want %v", id, err, want)
		}
	}
	for _, o := range []client.Outcome{{Result: "fine"}, {Fault: "x"}, {Latency: -1}, {Size: -1}, {Why: strings.Repeat("x", 2000)}, {Why: "a\nb"}, {Met: make([]string, 100)}} {
		if err := r.Outcome(t.Context(), "e1", o); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Outcome(%+v): %v, want %v", o, err, authz.ErrInvalid)
		}
	}
}

// What the control plane would not record is not answered, nor is anything that does not fit into an entry of its log.
func TestBeyondTheLog(t *testing.T) {
	p := newPlane(t)
	p.limits = feed.Limits{Object: 1000, Depth: 8}
	r := run(t, p.config())
	good := handbook(t)
	nested := func(n int) authz.Claimed {
		return authz.Claimed(`{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`)
	}
	large := good
	var names []string
	for i := range 256 {
		names = append(names, fmt.Sprint(i, strings.Repeat("\x01", 500)))
	}
	large.Observed.Provenance = &authz.Provenance{Prompt: names, Operator: names}
	for name, change := range map[string]func(*authz.Request){
		"deep context":   func(r *authz.Request) { r.Context = nested(8) },
		"deep arguments": func(r *authz.Request) { r.Action.Properties = nested(7) },
		"large context":  func(r *authz.Request) { r.Context = authz.Claimed(`{"a":"` + strings.Repeat("x", 1000) + `"}`) },
		"large record":   func(r *authz.Request) { *r = large },
	} {
		req := good
		change(&req)
		if a, err := r.ask(req); !errors.Is(err, authz.ErrInvalid) || a.ID != "" {
			t.Errorf("%s: Answer = %s, %v, want %v", name, a.Code, err, authz.ErrInvalid)
		}
	}
	deep := good
	deep.Context = nested(7)
	if a, err := r.ask(deep); err != nil || !a.Allowed() {
		t.Errorf("as deep as may be: %s, %v, want it allowed", a.Code, err)
	}
	all, err := r.Answer(t.Context(), &client.Question{Requests: []authz.Request{good, large, good}})
	if err != nil || !all[0].Allowed() || all[1].Allowed() || all[1].Code != authz.CodeInvalid || all[1].ID != "" || all[2].ID != "e3" {
		t.Errorf("one of three is too large: %+v, %v", all, err)
	}
	p.taken(3)
}

// An enforcer that has negotiated says so in the context, where the profile has it; what is met is read from there.
func TestNegotiated(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	req.Observed.Obligations = []string{"mask"}
	for i, c := range []struct{ said, want string }{
		{`["step-up","custom","mask","fax"]`, `["mask","step-up","custom"]`},
		{`[]`, `["mask"]`},
	} {
		req.Context = authz.Claimed(`{"supported_obligations":` + c.said + `,"purpose":"audit"}`)
		if a, err := r.ask(req); err != nil || !a.Allowed() {
			t.Errorf("with %s: %s, %v, want it allowed", c.said, a.Code, err)
		}
		dec, err := pdp.ParseRecord(p.taken(i + 1)[i].Decision)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(dec.Request.Observed.Obligations)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want || string(dec.Request.Context) != `{"purpose":"audit"}` {
			t.Errorf("with %s: recorded are %s, and the context %s; want %s, and the rest of the context", c.said, got, dec.Request.Context, c.want)
		}
	}
	if len(req.Observed.Obligations) != 1 {
		t.Errorf("the caller's list is %q now", req.Observed.Obligations)
	}
	req.Context = authz.Claimed(`{"supported_obligations":["a",1]}`)
	if _, err := r.ask(req); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("with a number among them: %v, want %v", err, authz.ErrInvalid)
	}
}

// What persons can lift is asked of the control plane while it is there; without it, the refusal stands without an offer.
func TestApprovalsNeedTheControlPlane(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	var req authz.Request
	for _, c := range fixture.Mix(4000) {
		if c.Effect == "require_approval" {
			req = request(t, c.Body)
			break
		}
	}
	// The fixture names no routes, so that nobody could be asked: the answer is ours.
	if a, err := r.ask(req); err != nil || a.Effect != authz.RequireApproval || a.ID != "e1" || a.Offer != nil {
		t.Fatalf("Answer = %v %q, %v, want a refusal of ours", a.Effect, a.ID, err)
	}
	q := &client.Question{Requests: []authz.Request{req}}
	q.Requests[0].Approval = &authz.ApprovalRef{ID: "x"}
	p.with(func() { p.answer = `{"decision":true,"context":{"evaluation_id":"d42","code":"allowed"}}` })
	all, err := r.Answer(t.Context(), q)
	if err != nil || !all[0].Allowed() || all[0].DecisionID() != "d42" || p.asked != 1 {
		t.Fatalf("Answer = %+v, %v, want what the control plane says", all[0], err)
	}
	p.with(func() { p.answer = "" }) // it answers with 503
	all, err = r.Answer(t.Context(), q)
	if err != nil || all[0].Effect != authz.RequireApproval || all[0].ID != "e2" || all[0].Reason != authz.ApprovalPending || all[0].Next() != client.NextRetry {
		t.Errorf("Answer = %+v, %v, want a refusal of ours to be asked about again", all[0], err)
	}
	for _, rec := range p.taken(2) {
		if strings.Contains(string(rec.Decision), `"approval":{`) {
			t.Errorf("an approval is recorded that nobody looked at: %s", rec.Decision)
		}
	}
}

// A policy that reads what only the control plane knows sends the questions there.
func TestRemote(t *testing.T) {
	p := newPlane(t)
	p.with(func() {
		p.version.Policies = append(p.version.Policies, feed.File{Name: "asks.cedar",
			Text: `@id("asks") forbid (principal, action, resource) when { context.observed.asks.hour > 100 };`})
		p.answer = `{"decision":true,"context":{"evaluation_id":"d42","code":"allowed"}}`
	})
	r := run(t, p.config())
	if a, err := r.ask(handbook(t)); err != nil || !a.Allowed() || a.DecisionID() != "d42" {
		t.Errorf("Answer = %+v, %v, want what the control plane says", a, err)
	}
	if r.Status().Remote == "" {
		t.Error("the status does not say that questions go elsewhere")
	}
	sly := handbook(t)
	sly.Context = authz.Claimed(`{"observed":{"ip":"10.0.0.1"}}`)
	if a, err := r.ask(sly); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Answer to what claims to be observed = %s, %v, want %v", a.Code, err, authz.ErrInvalid)
	}
	p.with(func() { p.answer = "" })
	if a, err := r.ask(handbook(t)); !errors.Is(err, authz.ErrUnavailable) || a.Allowed() {
		t.Errorf("Answer = %s, %v, want %v", a.Code, err, authz.ErrUnavailable)
	}
}

// However a policy spells what it reads, it is read.
func TestRemoteSpelt(t *testing.T) {
	for text, want := range map[string]string{
		`@id("asks") forbid (principal, action, resource) when { context.observed["\u{61}sks"].hour > 100 };`:              "asks",
		"@id(\"asks\") forbid (principal, action, resource) when { context.observed. // of persons\n asks.hour > 100 };":   "asks",
		`@id("abroad") forbid (principal, action, resource) when { context.observed.network has "\u{63}ountry" };`:         "country",
		`@id("named") forbid (principal, action, resource) when { context.observed.pep == "asks" }; // .asks and .country`: "",
	} {
		p := newPlane(t)
		p.with(func() { p.version.Policies = append(p.version.Policies, feed.File{Name: "more.cedar", Text: text}) })
		r := run(t, p.config())
		if got := r.Status().Remote; (got != "") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%s: Status.Remote = %q, want one of %q", text, got, want)
		}
	}
}

func TestNew(t *testing.T) {
	for _, cfg := range []edge.Config{
		{}, {URL: "http://x"}, {URL: "http://x", Token: "t"}, {URL: "ftp://x", Token: "t", Journal: "j"},
		{URL: "http://x", Token: "a b", Journal: "j"}, {URL: "http://x", Token: "t", Journal: "j", MaxStale: -1},
	} {
		if _, err := edge.New(cfg); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("New(%+v): %v, want %v", cfg, err, authz.ErrInvalid)
		}
	}
}

func TestWrongToken(t *testing.T) {
	p := newPlane(t)
	cfg := p.config()
	cfg.Token = "sc_edge_wrong"
	pt, err := edge.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pt.Run(ctx) }()
	r := &running{Point: pt, t: t}
	r.until("it is told", func() bool { return r.Status().Feed != nil })
	if _, err := r.ask(handbook(t)); !errors.Is(err, authz.ErrUnavailable) || !strings.Contains(err.Error(), "who is this?") {
		t.Errorf("Answer: %v, want %v and why", err, authz.ErrUnavailable)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := pt.Run(t.Context()); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("running it twice: %v, want %v", err, authz.ErrConflict)
	}
	cfg.HTTP.CloseIdleConnections()
}

// What is stopped there is refused here, whatever the policies say; and what was told last holds.
func TestStops(t *testing.T) {
	p := newPlane(t)
	p.stops = []stop.Stop{{ID: "s0", Scope: stop.Scope{Agent: "somebody"}, AsOf: 1}}
	r := run(t, p.config())
	req := handbook(t)
	code := func() string { a, _ := r.ask(req); return a.Code }
	tell := func(stops ...stop.Stop) {
		p.with(func() {
			p.stops = stops
			p.tell(feed.EventStops, p.stopped())
		})
	}
	if got := code(); got != authz.CodeAllowed {
		t.Fatalf("at first: %s", got)
	}
	tell(stop.Stop{ID: "s1", Scope: stop.Scope{Everything: true}, AsOf: 2}, p.stops[0])
	r.until("everything is stopped", func() bool { return code() == authz.CodeStopped })
	tell()
	r.until("it is lifted", func() bool { return code() == authz.CodeAllowed })
	tell(stop.Stop{ID: "s2", Scope: stop.Scope{Agent: authz.AgentID(req.Subject.ID)}, AsOf: 3, Until: time.Now().Add(5 * time.Second)})
	r.until("the agent is stopped", func() bool { return code() == authz.CodeStopped })
	r.until("its time is over", func() bool { return code() == authz.CodeAllowed })
	tell(stop.Stop{ID: "s3", AsOf: 4}) // in words that this program does not know
	r.until("something is stopped", func() bool { return code() == authz.CodeStopped })
	p.with(func() { p.stops = nil })
	p.cut()
	r.until("the next feed says that nothing is", func() bool { return code() == authz.CodeAllowed })
}

// A control plane that does not say what is stopped is none to decide by.
func TestStopsUntold(t *testing.T) {
	p := newPlane(t)
	p.older = true
	pt, err := edge.New(p.config())
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pt.Run(ctx) }()
	defer func() { end(); <-done }()
	for late := time.Now().Add(10 * time.Second); ; {
		s := pt.Status()
		if s.Ready || time.Now().After(late) {
			t.Fatalf("Status = %+v, want what is wrong with the feed", s)
		}
		if s.Feed != nil && strings.Contains(s.Feed.Error(), "what is stopped") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := pt.Answer(t.Context(), &client.Question{Requests: []authz.Request{handbook(t)}}); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Answer: %v, want %v", err, authz.ErrUnavailable)
	}
}
