package oauth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

const (
	houseIssuer = "https://as.example"
	mailServer  = "https://mail.example"
	fileServer  = "https://files.example"
	tokenType   = "urn:ietf:params:oauth:token-type:access_token"
	exchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// houseCatalog declares what agents of a house are granted.
const houseCatalog = `
zone: UTC
capabilities:
  read-mail: {title: Read mail, class: read, actions: [read-mail]}
  pay:
    title: Pay bills
    class: money
    actions: [pay]
    limits: {amount: {amount: 1000}, regions: [CH, DE], class: confidential}
  office:
    title: Work in the office
    class: read
    actions: [office]
    limits: {schedules: [business-hours]}
  respond: {title: Respond to incidents, class: admin, actions: [respond]}
schedules:
  business-hours:
    windows:
      - {days: mon-fri, from: "08:00", to: "18:00"}
`

// A house is an installation under test: a log, replicas that follow it, agents, keys and a judge.
type house struct {
	t        testing.TB
	store    *audittest.Memory
	catalog  *catalog.Catalog
	eddsa    *token.Signer
	es256    *token.Signer
	status   *token.Signer
	replicas []*replica

	mu       sync.Mutex
	now      time.Time
	agents   map[authz.AgentID]*authz.Agent
	epochs   map[authz.AgentID]int64
	creds    []*oauth.Credential
	retired  map[string]bool // keys of ours that count no more
	refuse   func(authz.Request, time.Time) string
	risks    int64
	judged   int
	requests []authz.Request
	trust    map[authz.AgentID]string
	stale    bool
}

// A replica is one process of a house.
type replica struct {
	*house
	server   *oauth.Server
	follower *audit.Follower
	http     *httptest.Server
}

// newHouse builds an installation of n replicas; edit may change their configuration.
func newHouse(t testing.TB, n int, edit func(*oauth.Config)) *house {
	t.Helper()
	cat, err := catalog.Parse("catalog.yaml", []byte(houseCatalog))
	if err != nil {
		t.Fatal(err)
	}
	h := &house{
		t: t, store: &audittest.Memory{}, catalog: cat, now: time.Date(2026, 11, 25, 10, 0, 0, 500e6, time.UTC), // a Wednesday
		agents: map[authz.AgentID]*authz.Agent{}, epochs: map[authz.AgentID]int64{}, retired: map[string]bool{}, trust: map[authz.AgentID]string{},
	}
	h.eddsa, h.es256, h.status = newSigner(t, "EdDSA"), newSigner(t, "ES256"), newSigner(t, "EdDSA")
	for range n {
		h.replica(edit)
	}
	return h
}

func newSigner(t testing.TB, alg string) *token.Signer {
	t.Helper()
	s, _, err := token.GenerateSigner(alg, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var houseKey = sync.OnceValues(func() (*audit.Key, error) { return audit.NewKey(rand.Reader, "as.example/log") })

// replica adds a process that has read the log from its beginning.
func (h *house) replica(edit func(*oauth.Config)) *replica {
	h.t.Helper()
	key, err := houseKey()
	if err != nil {
		h.t.Fatal(err)
	}
	log, err := audit.New(h.store, audit.Config{Key: key, Heartbeat: -1, Now: h.Now, Poll: 5 * time.Millisecond})
	if err != nil {
		h.t.Fatal(err)
	}
	r := &replica{house: h}
	cfg := oauth.Config{
		Issuer: houseIssuer, Agents: h, Enrolment: nil, Keys: h, Judge: h, Log: r, Callers: h,
		Catalog: func() *catalog.Catalog { return h.catalog }, Fresh: h.Fresh, Audiences: []string{mailServer, fileServer},
		Conduct: h.Conduct, Now: h.Now, Address: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") },
	}
	if edit != nil {
		edit(&cfg)
	}
	if r.server, err = oauth.New(cfg); err != nil {
		h.t.Fatal(err)
	}
	r.follower = audit.NewFollower(log, audit.FollowerConfig{Appliers: []audit.Applier{r.server}})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = log.Run(ctx) })
	wg.Go(func() { _ = r.follower.Run(ctx) })
	r.http = httptest.NewServer(r.server.Handler())
	h.t.Cleanup(func() { r.http.Close(); cancel(); wg.Wait() })
	h.replicas = append(h.replicas, r)
	return r
}

// CommitAll is the follower's, which is made after the server.
func (r *replica) CommitAll(ctx context.Context, drafts ...audit.Draft) (int64, error) {
	return r.follower.CommitAll(ctx, drafts...)
}

// settle waits until every replica has applied what any of them has recorded.
func (h *house) settle() {
	h.t.Helper()
	var newest int64
	for _, e := range h.entries() {
		newest = e.Seq
	}
	for _, r := range h.replicas {
		if err := r.follower.Wait(h.t.Context(), newest); err != nil {
			h.t.Fatal(err)
		}
	}
}

// entries returns the whole log.
func (h *house) entries() (es []audit.Entry) {
	h.t.Helper()
	for {
		segs, err := h.store.Segments(context.Background(), int64(len(es)), 100)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(segs) == 0 {
			return es
		}
		for _, s := range segs {
			more, err := audit.DecodeSegment(s)
			if err != nil {
				h.t.Fatal(err)
			}
			es = append(es, more...)
		}
	}
}

// of returns the entries of a kind.
func (h *house) of(kind audit.Kind) (es []audit.Entry) {
	h.t.Helper()
	for _, e := range h.entries() {
		if e.Kind == kind {
			es = append(es, e)
		}
	}
	return es
}

func (h *house) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// set runs f while nobody looks.
func (h *house) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *house) advance(by time.Duration) { h.set(func() { h.now = h.now.Add(by) }) }

func (h *house) Fresh() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stale {
		return authz.Errorf(authz.ErrUnavailable, "stale")
	}
	return nil
}

func (h *house) Conduct(id authz.AgentID) (authz.Trust, *token.Conduct) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := authz.NeutralTrust
	if level := h.trust[id]; level != "" {
		t.Level = level
	}
	return t, &token.Conduct{Level: t.Level, Score: t.Score, Window: "P30D", Decisions: 12, Denied: 1, AsOf: 7}
}

// setState changes an agent's state, and its epoch.
func (h *house) setState(id authz.AgentID, s authz.AgentState) {
	h.set(func() {
		a := *h.agents[id]
		a.State = s
		h.agents[id] = &a
		h.epochs[id]++
	})
}

func (h *house) Agent(id authz.AgentID) (*authz.Agent, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.agents[id]; a != nil {
		return a, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no agent %q", id)
}

func (h *house) Epoch(id authz.AgentID) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epochs[id]
}

func (h *house) Credential(id string) (*oauth.Credential, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.creds {
		if c.ID == id {
			return c, nil
		}
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no credential %q", id)
}

func (h *house) Credentials(id authz.AgentID) (out []*oauth.Credential) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.creds {
		if c.Agent == id {
			out = append(out, c)
		}
	}
	return out
}

func (h *house) TokenSigner(alg string) (*token.Signer, error) {
	if alg == "ES256" {
		return h.es256, nil
	}
	return h.eddsa, nil
}

func (h *house) StatusSigner() (*token.Signer, error) { return h.status, nil }

func (h *house) TokenKey(kid string) (*token.Key, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range []*token.Signer{h.eddsa, h.es256} {
		if s.Key().ID == kid && !h.retired[kid] {
			return s.Key(), nil
		}
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no key %q", kid)
}

func (h *house) Set() ([]byte, string)       { return []byte(`{"keys":[]}`), `"tag"` }
func (h *house) Historical() ([]byte, error) { return []byte(`{"keys":[]}`), nil }

func (h *house) Caller(text string) (actor, role string, err error) {
	switch text {
	case "sc_pep_1":
		return "pep:gateway", "pep", nil
	case "sc_admin_1":
		return "admin:eve", "administrator", nil
	}
	return "", "", authz.Errorf(authz.ErrUnauthenticated, "unknown")
}

// Judge allows what the agent and everybody it acts for were granted and what is open, unless the test
// says otherwise.
func (h *house) Judge(reqs []authz.Request, at time.Time) ([]authz.Decision, []audit.Draft, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.judged++
	h.requests = append(h.requests, reqs...)
	var out []authz.Decision
	var drafts []audit.Draft
	for _, req := range reqs {
		d := authz.Decision{At: at, Effect: authz.Allow, Code: authz.CodeAllowed}
		who := []authz.AgentID{authz.AgentID(req.Subject.ID)}
		for _, ref := range agentsOf(req.OnBehalf) {
			who = append(who, authz.AgentID(ref.ID))
		}
		for _, id := range who {
			g := h.catalog.Grant(h.agents[id], catalog.Act{Action: req.Action.Name, Resource: req.Resource.Ref, Schedules: h.catalog.Open(at), Passport: req.Observed.Passport})
			if len(g.Within) == 0 {
				d.Refuse(authz.CodeNoPermit, "not granted: "+strings.Join(g.Exceeded, " "))
			}
		}
		if h.refuse != nil {
			if why := h.refuse(req, at); why != "" {
				d.Refuse(authz.CodeForbidden, why)
			}
		}
		body, err := json.Marshal(map[string]string{"agent": req.Subject.ID, "capability": req.Resource.ID, "effect": d.Effect.String()})
		if err != nil {
			return nil, nil, err
		}
		out = append(out, d)
		drafts = append(drafts, audit.Draft{Kind: audit.DecisionMade, Actor: req.Observed.PEP, Body: body})
	}
	return out, drafts, nil
}

func (h *house) Generation() (policies, risks int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return 1, h.risks
}

// A member is an agent of a house, with the keys that it holds.
type member struct {
	h     *house
	id    string
	key   *token.Signer // it authenticates by
	proof *token.Signer // its tokens are bound to
	nonce map[*replica]string
}

// member registers an agent that is granted capabilities.
func (h *house) member(id string, capabilities ...string) *member {
	h.t.Helper()
	m := &member{h: h, id: id, key: newSigner(h.t, "EdDSA"), proof: newSigner(h.t, "ES256"), nonce: map[*replica]string{}}
	h.set(func() {
		h.agents[authz.AgentID(id)] = &authz.Agent{ID: authz.AgentID(id), State: authz.AgentActive, Capabilities: capabilities}
		h.epochs[authz.AgentID(id)] = 1
		h.creds = append(h.creds, &oauth.Credential{Agent: authz.AgentID(id), ID: m.key.Key().ID, Key: m.key.Key(), CreatedAt: h.now.Add(-time.Hour)})
	})
	return m
}

// assertion returns a client assertion that was never used.
func (m *member) assertion() string {
	m.h.t.Helper()
	now := m.h.Now().Unix()
	text, err := m.key.Sign("JWT", fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":%q,"jti":%q,"iat":%d,"exp":%d}`, m.id, m.id, houseIssuer, rand.Text(), now, now+60))
	if err != nil {
		m.h.t.Fatal(err)
	}
	return text
}

// proofFor returns a DPoP proof for the token endpoint.
func (m *member) proofFor(nonce string) string {
	m.h.t.Helper()
	return m.prove(token.Proof{ID: rand.Text(), Method: "POST", URL: houseIssuer + "/oauth2/token", Nonce: nonce, IssuedAt: m.h.Now()}, "")
}

func (m *member) prove(p token.Proof, accessToken string) string {
	m.h.t.Helper()
	text, err := token.SignProof(m.proof, p, accessToken)
	if err != nil {
		m.h.t.Fatal(err)
	}
	return text
}

// form adds client authentication to the parameters of a request.
func (m *member) form(pairs ...string) url.Values {
	f := url.Values{"client_assertion_type": {jwtBearer}, "client_assertion": {m.assertion()}}
	for i := 0; i < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return f
}

// An outcome is an answer of the server.
type outcome struct {
	Status    int
	Header    http.Header
	Body      []byte
	Token     string          `json:"access_token"`
	Type      string          `json:"token_type"`
	ExpiresIn int             `json:"expires_in"`
	Scope     string          `json:"scope"`
	Details   []authz.Detail  `json:"authorization_details"`
	Issued    string          `json:"issued_token_type"`
	Refused   []oauth.Refusal `json:"refused"`
	Error     string          `json:"error"`
	Why       string          `json:"error_description"`
	Active    bool            `json:"active"`
	Members   map[string]any  `json:"-"`
}

// do sends a request and reads the answer.
func (r *replica) do(req *http.Request) *outcome {
	r.t.Helper()
	resp, err := r.http.Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	out := &outcome{Status: resp.StatusCode, Header: resp.Header, Body: body}
	if bytes.HasPrefix(body, []byte("{")) {
		if err := json.Unmarshal(body, out); err != nil {
			r.t.Fatalf("%s %s: body %q: %v", req.Method, req.URL.Path, body, err)
		}
		if err := json.Unmarshal(body, &out.Members); err != nil {
			r.t.Fatal(err)
		}
	}
	return out
}

// post sends a form with headers in pairs.
func (r *replica) post(path string, form url.Values, headers ...string) *outcome {
	r.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), "POST", r.http.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return r.do(req)
}

func (r *replica) get(path string, headers ...string) *outcome {
	r.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), "GET", r.http.URL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return r.do(req)
}

// ask sends a request to the token endpoint of a replica as clients do: with a proof, and with another
// one if the server asks for a nonce.
func (m *member) ask(r *replica, pairs ...string) *outcome {
	m.h.t.Helper()
	for range 2 {
		out := r.post("/oauth2/token", m.form(pairs...), "DPoP", m.proofFor(m.nonce[r]))
		if n := out.Header.Get("DPoP-Nonce"); n != "" {
			m.nonce[r] = n
		}
		if out.Error != "use_dpop_nonce" {
			return out
		}
	}
	m.h.t.Fatal("the server asks for a nonce again and again")
	return nil
}

// get returns a token by client credentials.
func (m *member) token(r *replica, pairs ...string) *outcome {
	m.h.t.Helper()
	out := m.ask(r, append([]string{"grant_type", "client_credentials"}, pairs...)...)
	if out.Status != 200 {
		m.h.t.Fatalf("client credentials %q: %d %s", pairs, out.Status, out.Body)
	}
	return out
}

// exchange exchanges a token.
func (m *member) exchange(r *replica, subject string, pairs ...string) *outcome {
	m.h.t.Helper()
	return m.ask(r, append([]string{"grant_type", exchange, "subject_token", subject, "subject_token_type", tokenType}, pairs...)...)
}

// introspect asks as a resource server.
func (r *replica) introspect(text string) *outcome {
	r.t.Helper()
	out := r.post("/oauth2/introspect", url.Values{"token": {text}}, "Authorization", "Bearer sc_pep_1")
	if out.Status != 200 {
		r.t.Fatalf("introspection: %d %s", out.Status, out.Body)
	}
	return out
}

// claims reads a token, verified by the house's key.
func (h *house) claims(text string) *token.Passport {
	h.t.Helper()
	jws, err := token.Parse(text)
	if err != nil {
		h.t.Fatalf("token %q: %v", text, err)
	}
	key, err := h.TokenKey(jws.KeyID)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := jws.Verify(key); err != nil {
		h.t.Fatal(err)
	}
	if !jws.Is(token.PassportType) {
		h.t.Errorf("typ = %q, want %q", jws.Type, token.PassportType)
	}
	p, err := token.ParsePassport(jws.Payload)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// wantError checks an error answer: status, code, and that nobody may keep it.
func wantError(t testing.TB, what string, got *outcome, status int, code string) {
	t.Helper()
	if got.Status != status || got.Error != code {
		t.Errorf("%s: %d %s, want %d %s", what, got.Status, got.Body, status, code)
	}
	if got.Status >= 400 && (got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("Content-Type") != "application/json") {
		t.Errorf("%s: headers %v, want application/json and no-store", what, got.Header)
	}
	if got.Token != "" {
		t.Errorf("%s: an error with a token", what)
	}
}

// raw posts a body to the token endpoint as it stands.
func (r *replica) raw(contentType, body, query, proof string) *outcome {
	r.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), "POST", r.http.URL+"/oauth2/token"+query, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("DPoP", proof)
	return r.do(req)
}

func part64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
