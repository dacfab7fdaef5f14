package edge_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/edge"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A presenter shows a passport of the plane's.
type presenter struct {
	t      testing.TB
	signer *token.Signer
	token  string
	n      int
	ahead  time.Duration // of its clock
}

const (
	door   = "https://door.example"
	method = "POST"
	target = door + "/mcp"
)

// newPresenter gives an agent a passport that is bound to a key of its own.
func newPresenter(t testing.TB, p *plane, agent authz.AgentID, change func(*feed.Bearer)) *presenter {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := token.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	pr := &presenter{t: t, signer: s, token: "passport-of-" + string(agent)}
	b := feed.Bearer{
		Active: true, Agent: agent, KeyHash: s.Key().ID,
		Passport: authz.Passport{
			ID: "1", Bound: "dpop", Expires: time.Now().Add(time.Minute).UTC(),
		},
	}
	for _, c := range p.agents[agent].Agent.Capabilities {
		b.Passport.Details = append(b.Passport.Details, authz.Detail{Type: authz.DetailType, Identifier: c})
	}
	if change != nil {
		change(&b)
	}
	p.with(func() { p.bearers[pr.token+" "+door] = b })
	return pr
}

// show returns the passport with a new proof.
func (pr *presenter) show() *authz.Presented {
	pr.t.Helper()
	pr.n++
	proof, err := token.SignProof(pr.signer, token.Proof{ID: fmt.Sprint("proof-", pr.n), Method: method, URL: target, IssuedAt: time.Now().Add(pr.ahead)}, pr.token)
	if err != nil {
		pr.t.Fatal(err)
	}
	return &authz.Presented{Token: pr.token, Scheme: "dpop", Proof: proof, Method: method, URL: target, Audience: door}
}

func (r *running) present(pr *authz.Presented, req authz.Request) (string, error) {
	r.t.Helper()
	all, err := r.Answer(r.t.Context(), &client.Question{Requests: []authz.Request{req}, Presented: pr})
	return all[0].Code, err
}

func TestPassport(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	id := authz.AgentID(req.Subject.ID)
	nobody := req
	nobody.Subject = authz.Entity{}
	pr := newPresenter(t, p, id, nil)

	if code, err := r.present(pr.show(), nobody); code != authz.CodeAllowed || err != nil {
		t.Fatalf("a passport: %s, %v, want it to count", code, err)
	}
	if code, err := r.present(pr.show(), req); code != authz.CodeAllowed || err != nil || p.inquiries() != 1 {
		t.Errorf("once more: %s, %v, after %d inquiries, want one", code, err, p.inquiries())
	}
	shown := pr.show()
	if code, err := r.present(shown, req); code != authz.CodeAllowed || err != nil {
		t.Fatalf("another proof: %s, %v", code, err)
	}
	for _, c := range []struct {
		name   string
		change func(*authz.Presented)
	}{
		{"the proof replayed", func(pr *authz.Presented) { *pr = *shown }},
		{"no proof", func(pr *authz.Presented) { pr.Proof = "" }},
		{"no proof at all", func(pr *authz.Presented) { pr.Proof = "x.y.z" }},
		{"another method", func(pr *authz.Presented) { pr.Method = "GET" }},
		{"another URL", func(pr *authz.Presented) { pr.URL = door + "/other" }},
		{"as a bearer token", func(pr *authz.Presented) { pr.Scheme, pr.Proof = "bearer", "" }},
		{"another audience", func(pr *authz.Presented) { pr.Audience = "https://elsewhere.example" }},
		{"another token", func(pr *authz.Presented) { pr.Token = "unknown" }},
		{"another's key", func(other *authz.Presented) {
			other.Proof = (&presenter{t: t, signer: newPresenter(t, p, "finance-1", nil).signer, token: pr.token}).show().Proof
		}},
	} {
		shown := pr.show()
		c.change(shown)
		if code, err := r.present(shown, req); code != authz.CodePassportInvalid || err != nil {
			t.Errorf("%s: %s, %v, want %s", c.name, code, err, authz.CodePassportInvalid)
		}
	}
	other := req
	other.Subject.ID = "finance-1"
	if _, err := r.present(pr.show(), other); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("in another's name: %v, want %v", err, authz.ErrInvalid)
	}
	for _, bad := range []*authz.Presented{{}, {Token: "x"}, {Token: "x", Audience: door, Proof: "x"}, {Token: strings.Repeat("x", 9000), Audience: door}} {
		if _, err := r.present(bad, req); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("presented %.40v: %v, want %v", bad, err, authz.ErrInvalid)
		}
	}

	// What changes is asked about anew: a standing, the policies, the agent.
	for name, change := range map[string]func(){
		"standing": func() { p.with(func() { p.tell(feed.EventStanding, feed.Standing{Seq: p.seq}) }) },
		"agent":    func() { p.put(id, func(*authz.Agent) {}) },
		"policies": func() { p.with(func() { p.version.Version++; p.tell(feed.EventPolicies, p.active()) }) },
	} {
		before := p.inquiries()
		change()
		r.until(name, func() bool {
			if code, err := r.present(pr.show(), req); code != authz.CodeAllowed || err != nil {
				t.Fatalf("%s: %s, %v", name, code, err)
			}
			return p.inquiries() > before
		})
	}
	p.with(func() {
		p.bearers[pr.token+" "+door] = feed.Bearer{Code: "invalid_token", Why: "revoked"}
		p.tell(feed.EventStanding, feed.Standing{Seq: p.seq})
	})
	r.until("revoked", func() bool { code, _ := r.present(pr.show(), req); return code == authz.CodePassportInvalid })
}

func TestPassportNarrows(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	pr := newPresenter(t, p, authz.AgentID(req.Subject.ID), func(b *feed.Bearer) { b.Passport.Details = nil })
	if code, err := r.present(pr.show(), req); code != authz.CodePassport || err != nil {
		t.Errorf("a passport that carries nothing: %s, %v, want %s", code, err, authz.CodePassport)
	}
	behalf := newPresenter(t, p, "support-2", func(b *feed.Bearer) { b.OnBehalf = []authz.Ref{{Type: "agent", ID: "nobody-knows"}} })
	req.Subject.ID = "support-2"
	if code, err := r.present(behalf.show(), req); code == authz.CodeAllowed || err != nil {
		t.Errorf("for one that is not registered: %s, %v, want a refusal", code, err)
	}
}

func TestPassportByCertificate(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	pr := newPresenter(t, p, authz.AgentID(req.Subject.ID), func(b *feed.Bearer) { b.KeyHash, b.CertHash, b.Passport.Bound = "", "cert", "mtls" })
	for cert, want := range map[string]string{"cert": authz.CodeAllowed, "other": authz.CodePassportInvalid, "": authz.CodePassportInvalid} {
		shown := &authz.Presented{Token: pr.token, Scheme: "bearer", Certificate: cert, Audience: door}
		if code, err := r.present(shown, req); code != want || err != nil {
			t.Errorf("certificate %q: %s, %v, want %s", cert, code, err, want)
		}
	}
	if code, _ := r.present(&authz.Presented{Token: pr.token, Scheme: "dpop", Certificate: "cert", Audience: door}, req); code != authz.CodePassportInvalid {
		t.Errorf("by the scheme DPoP: %s, want %s", code, authz.CodePassportInvalid)
	}
}

// Without the control plane a passport counts for as long as what was said of it does, and no longer.
func TestPassportWithoutTheControlPlane(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	known, unknown := newPresenter(t, p, authz.AgentID(req.Subject.ID), nil), newPresenter(t, p, "finance-1", nil)
	if code, err := r.present(known.show(), req); code != authz.CodeAllowed || err != nil {
		t.Fatalf("%s, %v", code, err)
	}
	p.with(func() { p.down = true })
	if code, err := r.present(known.show(), req); code != authz.CodeAllowed || err != nil {
		t.Errorf("one that is known: %s, %v", code, err)
	}
	req.Subject = authz.Entity{}
	if code, err := r.present(unknown.show(), req); code != authz.CodeUnavailable || !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("one that is not: %s, %v, want %v", code, err, authz.ErrUnavailable)
	}
}

// Of many that show the same proof at once, one is answered.
func TestProofCountsOnce(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	shown := newPresenter(t, p, authz.AgentID(req.Subject.ID), nil).show()
	var mu sync.Mutex
	counts := map[string]int{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			code, err := r.present(shown, req)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			counts[code]++
			mu.Unlock()
		})
	}
	all.Wait()
	if counts[authz.CodeAllowed] != 1 || counts[authz.CodePassportInvalid] != 19 {
		t.Errorf("answers: %v, want one that allows and 19 that do not", counts)
	}
	if p.inquiries() != 1 {
		t.Errorf("%d inquiries, want one", p.inquiries())
	}
}

// What a process has seen the next one does not know: no proof is taken that may have been used before it.
func TestProofAfterRestart(t *testing.T) {
	p := newPlane(t)
	cfg := p.config()
	var ahead atomic.Int64
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := run(t, cfg)
	req := handbook(t)
	pr := newPresenter(t, p, authz.AgentID(req.Subject.ID), nil)
	shown := pr.show()
	if code, err := r.present(shown, req); code != authz.CodeAllowed || err != nil {
		t.Fatalf("at a point that never ran: %s, %v, want it to count at once", code, err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = run(t, cfg)
	if code, err := r.present(shown, req); code != authz.CodePassportInvalid || err != nil {
		t.Errorf("the same proof after a restart: %s, %v, want %s", code, err, authz.CodePassportInvalid)
	}
	ahead.Store(int64(2 * time.Second))
	pr.ahead = 2 * time.Second
	if code, err := r.present(pr.show(), req); code != authz.CodeAllowed || err != nil {
		t.Errorf("a new proof, two seconds later: %s, %v, want it to count", code, err)
	}
}

// TestShown has whoever forwards a passport in this process say when it took the proof: the same act is asked about
// again with it.
func TestShown(t *testing.T) {
	p := newPlane(t)
	r := run(t, p.config())
	req := handbook(t)
	shown := newPresenter(t, p, authz.AgentID(req.Subject.ID), nil).show()
	shown.Shown = time.Now()
	for range 3 {
		if code, err := r.present(shown, req); code != authz.CodeAllowed || err != nil {
			t.Fatalf("a proof that was taken before: %s, %v", code, err)
		}
	}
	for name, at := range map[string]time.Time{"long ago": time.Now().Add(-2 * authz.MaxShown), "in the future": time.Now().Add(time.Hour), "when the proof was not made yet": time.Now().Add(-2 * time.Minute)} {
		shown.Shown = at
		if code, _ := r.present(shown, req); code != authz.CodePassportInvalid {
			t.Errorf("shown %s: %s, want %s", name, code, authz.CodePassportInvalid)
		}
	}
}

// Whoever can have many proofs shown, or ask much, does not bring about that nobody decides, which some let pass.
func TestPassportTooMany(t *testing.T) {
	p := newPlane(t)
	cfg := p.config()
	var status atomic.Int64
	cfg.URL = p.front("/v1/edge/passport", func(w http.ResponseWriter, r *http.Request, plane http.Handler) {
		if s := status.Load(); s != 0 {
			w.WriteHeader(int(s))
			return
		}
		plane.ServeHTTP(w, r)
	})
	r := run(t, cfg)
	req := handbook(t)
	pr := newPresenter(t, p, authz.AgentID(req.Subject.ID), nil)
	guard := &client.Enforcer{Guard: &client.Guard{Decider: r.Point}}
	undecided := func() bool {
		t.Helper()
		_, err := guard.Permit(t.Context(), client.Question{Requests: []authz.Request{req}, Presented: pr.show()}, false)
		refused, ok := errors.AsType[*client.RefusedError](err)
		if !ok || !errors.Is(err, authz.ErrUnavailable) {
			t.Fatalf("Permit: %v, want a *client.RefusedError that is %v", err, authz.ErrUnavailable)
		}
		return refused.Undecided()
	}
	for s, want := range map[int64]bool{http.StatusTooManyRequests: false, http.StatusServiceUnavailable: true} {
		status.Store(s)
		if got := undecided(); got != want {
			t.Errorf("when the control plane says %d of a passport: Undecided = %v, want %v", s, got, want)
		}
	}
	status.Store(0)
	if code, err := r.present(pr.show(), req); err != nil || code != authz.CodeAllowed {
		t.Fatalf("a passport that counts: %s, %v", code, err)
	}
	edge.FillProofs(r.Point)
	if undecided() {
		t.Error("when no more proofs are taken: it counts as undecided")
	}
}
