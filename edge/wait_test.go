package edge_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/feed"
)

// A question that waited for the control plane is decided by what is known afterwards, also if another feed has told that: what
// an approval would have lifted, and what was said of a passport.
func TestWaitsAndDecidesAnew(t *testing.T) {
	p := newPlane(t)
	came, let := make(chan bool), make(chan bool)
	cfg := p.config()
	cfg.URL = p.front("/access/v1/evaluation", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		came <- true
		<-let
		http.Error(w, "{}", http.StatusServiceUnavailable)
	})
	r := run(t, cfg)
	req := handbook(t)
	id := authz.AgentID(req.Subject.ID)
	asked := req
	asked.Approval = &authz.ApprovalRef{ID: "whatever"}
	pr := newPresenter(t, p, id, nil)

	// Nothing changes: the same proof counts for the whole of the question.
	got := make(chan *client.Answer, 1)
	ask := func() {
		all, err := r.Answer(t.Context(), &client.Question{Requests: []authz.Request{asked}, Presented: pr.show()})
		if err != nil {
			t.Error(err)
		}
		got <- all[0]
	}
	go ask()
	<-came
	let <- true
	if a := <-got; !a.Allowed() {
		t.Errorf("a question that waited: %s, want it allowed: nothing has changed", a.Code)
	}

	go ask()
	<-came
	p.cut() // the feed ends, and the agent is suspended before the next begins
	p.put(id, func(a *authz.Agent) { a.State = authz.AgentSuspended })
	r.until("knows of the suspension", func() bool { a, err := r.ask(req); return err == nil && !a.Allowed() })
	let <- true
	if a := <-got; a.Code != authz.CodeAgentInactive {
		t.Errorf("a question that waited while its agent was suspended: %s, want %s", a.Code, authz.CodeAgentInactive)
	}

	p.put(id, func(a *authz.Agent) { a.State = authz.AgentActive })
	r.until("knows that it is active again", func() bool { a, err := r.ask(req); return err == nil && a.Allowed() })
	go ask()
	<-came
	p.with(func() {
		p.bearers[pr.token+" "+door] = feed.Bearer{Code: "invalid_token", Why: "revoked"}
		p.tell(feed.EventStanding, feed.Standing{Seq: p.seq})
	})
	r.heard(p)
	let <- true
	if a := <-got; a.Code != authz.CodePassportInvalid {
		t.Errorf("a question that waited while its passport was revoked: %s, want %s", a.Code, authz.CodePassportInvalid)
	}
}

// What was said of a passport before it was revoked counts for no question that comes after that was told, nor for one that
// came before it and is still being answered.
func TestPassportRevokedMeanwhile(t *testing.T) {
	p := newPlane(t)
	gave, let := make(chan bool), make(chan bool)
	var stall atomic.Bool // the next answer
	cfg := p.config()
	cfg.URL = p.front("/v1/edge/passport", func(w http.ResponseWriter, r *http.Request, plane http.Handler) {
		rec := httptest.NewRecorder()
		plane.ServeHTTP(rec, r) // the control plane has answered
		if stall.CompareAndSwap(true, false) {
			gave <- true
			<-let // and the network stalls
		}
		io.Copy(w, rec.Body)
	})
	r := run(t, cfg)
	req := handbook(t)
	for name, change := range map[string]func(*presenter){
		"revoked": func(pr *presenter) {
			p.with(func() {
				p.bearers[pr.token+" "+door] = feed.Bearer{Code: "invalid_token", Why: "revoked"}
				p.tell(feed.EventStanding, feed.Standing{Seq: p.seq})
			})
		},
		"its agent changed": func(pr *presenter) {
			p.with(func() { p.bearers[pr.token+" "+door] = feed.Bearer{Code: "invalid_token", Why: "revoked"} })
			p.put(authz.AgentID(req.Subject.ID), func(*authz.Agent) {})
		},
	} {
		pr := newPresenter(t, p, authz.AgentID(req.Subject.ID), nil)
		pr.token += strings.ReplaceAll(name, " ", "-")
		p.with(func() { p.bearers[pr.token+" "+door] = p.bearers["passport-of-"+req.Subject.ID+" "+door] })
		first, second := make(chan string, 1), make(chan string, 1)
		ask := func(shown *authz.Presented, into chan string) {
			code, err := r.present(shown, req)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			into <- code
		}
		before, after := pr.show(), pr.show()
		stall.Store(true)
		go ask(before, first)
		<-gave
		change(pr)
		r.heard(p)
		if name == "revoked" {
			ask(after, second) // does not wait for what was asked before
			if got := <-second; got != authz.CodePassportInvalid {
				t.Errorf("%s: a question of after that: %s, want %s", name, got, authz.CodePassportInvalid)
			}
		}
		let <- true
		if got := <-first; got != authz.CodePassportInvalid {
			t.Errorf("%s: a question that was under way: %s, want %s", name, got, authz.CodePassportInvalid)
		}
	}
}

// heard waits until everything is heard that the plane has told.
func (r *running) heard(p *plane) {
	r.t.Helper()
	var seq int64
	p.with(func() { seq = p.seq })
	r.until("everything is told", func() bool { return r.Status().Seq >= seq })
}
