package oauth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

// deskIssuer is the issuer of the server under test.
const deskIssuer = "https://as.example/tenant"

// A desk is a server under test behind TLS, with a registry in memory and a clock that tests move.
type desk struct {
	t      testing.TB
	server *oauth.Server
	http   *httptest.Server
	book   *book

	mu  sync.Mutex
	now time.Time
}

func (d *desk) Now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *desk) advance(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

// newDesk starts a server; edit may change its configuration.
func newDesk(t testing.TB, edit func(*desk, *oauth.Config)) *desk {
	t.Helper()
	d := &desk{t: t, now: time.Now().Truncate(time.Second)} // go-spiffe knows no other clock than the system's
	d.book = &book{now: d.Now, agents: map[authz.AgentID]*authz.Agent{}, enrolments: map[string]authz.AgentID{}}
	cfg := oauth.Config{
		Issuer: deskIssuer, Agents: d.book, Enrolment: d.book, Judge: d.book, Log: d.book, Now: d.Now,
		Fresh: func() error { return nil },
	}
	if edit != nil {
		edit(d, &cfg)
	}
	var err error
	if d.server, err = oauth.New(cfg); err != nil {
		t.Fatal(err)
	}
	d.book.apply = d.server.Apply
	mux := http.NewServeMux()
	mux.Handle("/", d.server.Handler())
	mux.HandleFunc("POST /authenticate", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		d.answer(w, r, func() (*oauth.Client, error) { return d.server.Authenticate(r, r.PostForm) })
	})
	mux.HandleFunc("POST /workload", func(w http.ResponseWriter, r *http.Request) {
		d.answer(w, r, func() (*oauth.Client, error) { return d.server.Workload(r.Context(), r.FormValue("assertion")) })
	})
	d.http = httptest.NewUnstartedServer(mux)
	d.http.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	d.http.StartTLS()
	t.Cleanup(d.http.Close)
	return d
}

// who is what an authenticated client looks like to a test.
type who struct {
	Agent, ID, Method, Key string
	Certificate, Use       bool
	Status                 int
	Code, Description      string
	body                   string
	header                 http.Header
}

func (d *desk) answer(w http.ResponseWriter, r *http.Request, f func() (*oauth.Client, error)) {
	cl, err := f()
	if err != nil {
		d.server.Fail(w, r, err)
		return
	}
	_ = json.NewEncoder(w).Encode(who{
		Agent: string(cl.Agent.ID), ID: cl.ID, Method: cl.Method, Key: cl.Key, Certificate: cl.Certificate != nil, Use: cl.Use != nil,
	})
}

// post sends a form and returns the answer.
func (d *desk) post(path string, form url.Values, certs ...tls.Certificate) who {
	d.t.Helper()
	return d.send("POST", path, "application/x-www-form-urlencoded", form.Encode(), "", certs...)
}

func (d *desk) send(method, path, contentType, body, bearer string, certs ...tls.Certificate) who {
	d.t.Helper()
	hc := d.http.Client()
	if len(certs) > 0 {
		tr := hc.Transport.(*http.Transport).Clone()
		tr.TLSClientConfig.Certificates = certs
		hc = &http.Client{Transport: tr}
		defer tr.CloseIdleConnections()
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.http.URL+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if bearer != "" {
		req.Header.Set("Authorization", bearer)
	}
	resp, err := hc.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	w := who{body: string(b), header: resp.Header}
	if resp.StatusCode != http.StatusOK || path == "/authenticate" || path == "/workload" {
		var e struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if resp.StatusCode < 300 {
			if err := json.Unmarshal(b, &w); err != nil && path == "/authenticate" {
				d.t.Fatal(err)
			}
		} else if err := json.Unmarshal(b, &e); err != nil {
			d.t.Errorf("%s %s: status %d, body %q is no error", method, path, resp.StatusCode, b)
		}
		w.Code, w.Description = e.Error, e.Description
	}
	w.Status = resp.StatusCode
	return w
}

// A holder is an agent's key.
type holder struct {
	id  string
	key crypto.Signer
	pub *token.Key
}

// agent registers an active agent with a key of an algorithm.
func (d *desk) agent(id, alg string) *holder {
	d.t.Helper()
	d.book.put(&authz.Agent{ID: authz.AgentID(id), State: authz.AgentActive})
	h := newHolder(d.t, id, alg)
	d.book.add(&oauth.Credential{Agent: authz.AgentID(id), ID: h.pub.ID, Key: h.pub, CreatedAt: d.Now()})
	return h
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// newHolder makes a key. The one RSA key there is, is shared.
func newHolder(t testing.TB, id, alg string) *holder {
	t.Helper()
	h := &holder{id: id}
	var err error
	switch alg {
	case "ES256":
		h.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256", "PS256":
		h.key = rsaKey()
	default:
		_, h.key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	if h.pub, err = token.NewKey(h.key.Public()); err != nil {
		t.Fatal(err)
	}
	return h
}

// jws signs by nothing but the standard library, whatever the header says.
func (h *holder) jws(t testing.TB, header, payload any) string {
	t.Helper()
	part := func(v any) string {
		b, ok := v.([]byte)
		if !ok {
			var err error
			if b, err = json.Marshal(v); err != nil {
				t.Fatal(err)
			}
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(header) + "." + part(payload)
	sum := sha256.Sum256([]byte(text))
	var sig []byte
	var err error
	switch k := h.key.(type) {
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(text))
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, k, sum[:])
		sig, err = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), e
	case *rsa.PrivateKey:
		if alg, _ := header.(map[string]any)["alg"]; alg == "PS256" {
			sig, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + part(sig)
}

// header returns the header of a good assertion.
func (h *holder) header(alg string) map[string]any {
	return map[string]any{"alg": alg, "typ": "JWT", "kid": h.pub.ID}
}

// claims returns the claims of a good assertion.
func (d *desk) claims(id string) map[string]any {
	now := d.Now()
	return map[string]any{
		"iss": id, "sub": id, "aud": deskIssuer, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
}

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// with returns a copy of m with some members changed; nil removes one.
func with(m map[string]any, changes ...any) map[string]any {
	m = maps.Clone(m)
	for i := 0; i < len(changes); i += 2 {
		name := changes[i].(string)
		if m[name] = changes[i+1]; changes[i+1] == nil {
			delete(m, name)
		}
	}
	return m
}

// assert authenticates by an assertion.
func (d *desk) assert(assertion string, more ...string) who {
	d.t.Helper()
	form := url.Values{"client_assertion_type": {jwtBearer}, "client_assertion": {assertion}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return d.post("/authenticate", form)
}

// wantClient checks who authenticated.
func wantClient(t *testing.T, got who, agent, id, method string) {
	t.Helper()
	if got.Status != 200 || got.Agent != agent || got.ID != id || got.Method != method {
		t.Errorf("authenticated as agent %q, client %q by %q (status %d, %s: %s), want agent %q, client %q by %q",
			got.Agent, got.ID, got.Method, got.Status, got.Code, got.Description, agent, id, method)
	}
}

// wantRefused checks that nobody did, and why, as a stranger reads it.
func wantRefused(t *testing.T, got who, status int, code, description string) {
	t.Helper()
	if got.Status != status || got.Code != code || !strings.Contains(got.Description, description) {
		t.Errorf("answer = %d %s: %q, want %d %s: %q", got.Status, got.Code, got.Description, status, code, description)
	}
}

// A book is a registry in memory: Agents, Enrolment, Registrations, Judge and Log of a server.
type book struct {
	now   func() time.Time
	apply func(context.Context, audit.Entry) error // of the server

	mu            sync.Mutex
	agents        map[authz.AgentID]*authz.Agent
	creds         []*oauth.Credential
	enrolments    map[string]authz.AgentID
	registrations map[authz.AgentID][sha256.Size]byte
	refuse        bool            // what the policies say
	judged        []authz.Request // what they were asked
	recorded      int             // drafts
}

func (b *book) put(a *authz.Agent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.agents[a.ID] = a
}

// set changes the state of an agent.
func (b *book) set(id string, s authz.AgentState) {
	b.put(&authz.Agent{ID: authz.AgentID(id), State: s})
}

func (b *book) add(c *oauth.Credential) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.creds = append(b.creds, c)
}

// change replaces a credential by a changed copy.
func (b *book) change(id string, f func(*oauth.Credential)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, c := range b.creds {
		if c.ID == id {
			out := *c
			f(&out)
			b.creds[i] = &out
		}
	}
}

func (b *book) Agent(id authz.AgentID) (*authz.Agent, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.agents[id]; a != nil {
		return a, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no agent")
}

func (b *book) Epoch(authz.AgentID) int64 { return 1 }

func (b *book) Credential(id string) (*oauth.Credential, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.creds {
		if c.ID == id {
			return c, nil
		}
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no credential")
}

func (b *book) Credentials(id authz.AgentID) []*oauth.Credential {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.creds), func(c *oauth.Credential) bool { return c.Agent != id })
}

func (b *book) PendingEnrolment(t string, _ time.Time) (authz.AgentID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id, ok := b.enrolments[t]; ok {
		return id, nil
	}
	return "", authz.Errorf(authz.ErrUnauthenticated, "no enrolment")
}

func (b *book) Register(_ context.Context, t string, k *token.Key) (*oauth.Credential, error) {
	id, err := b.PendingEnrolment(t, b.now())
	if err != nil {
		return nil, err
	}
	if _, err := b.Credential(k.ID); err == nil {
		return nil, authz.Errorf(authz.ErrConflict, "registered before")
	}
	c := &oauth.Credential{Agent: id, ID: k.ID, Key: k, CreatedAt: b.now(), ExpiresAt: b.now().Add(90 * 24 * time.Hour)}
	b.add(c)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.enrolments, t)
	return c, nil
}

func (b *book) Rotate(_ context.Context, _ string, id authz.AgentID, old string, k *token.Key) (*oauth.Credential, error) {
	if c, err := b.Credential(old); err != nil || c.Agent != id {
		return nil, authz.Errorf(authz.ErrNotFound, "no such key")
	}
	if _, err := b.Credential(k.ID); err == nil {
		return nil, authz.Errorf(authz.ErrConflict, "registered before")
	}
	c := &oauth.Credential{Agent: id, ID: k.ID, Key: k, CreatedAt: b.now(), ExpiresAt: b.now().Add(90 * 24 * time.Hour)}
	b.add(c)
	b.change(old, func(c *oauth.Credential) { c.ExpiresAt = b.now().Add(time.Hour) })
	return c, nil
}

func (b *book) RevokeCredential(_ context.Context, _, _ string, id authz.AgentID, which string) (*oauth.Credential, error) {
	for _, c := range b.Credentials(id) {
		if which == "" || which == c.ID {
			b.change(c.ID, func(c *oauth.Credential) { c.RevokedAt = b.now() })
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.registrations, id)
	return nil, nil
}

func (b *book) Registration(id authz.AgentID) ([sha256.Size]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h, ok := b.registrations[id]; ok {
		return h, nil
	}
	return [sha256.Size]byte{}, authz.Errorf(authz.ErrNotFound, "no registration")
}

func (b *book) KeepRegistration(_ context.Context, _ string, id authz.AgentID, h [sha256.Size]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.registrations == nil {
		b.registrations = map[authz.AgentID][sha256.Size]byte{}
	}
	b.registrations[id] = h
	return nil
}

func (b *book) Judge(reqs []authz.Request, _ time.Time) ([]authz.Decision, []audit.Draft, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.judged = append(b.judged, reqs...)
	out := make([]authz.Decision, len(reqs))
	for i := range out {
		if !b.refuse {
			out[i].Effect = authz.Allow
		}
	}
	return out, make([]audit.Draft, len(reqs)), nil
}

func (b *book) Generation() (int64, int64) { return 1, 1 }

func (b *book) CommitAll(ctx context.Context, drafts ...audit.Draft) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := int64(b.recorded + 1)
	var verdict error
	for _, d := range drafts {
		b.recorded++
		if err := b.apply(ctx, audit.Entry{Seq: int64(b.recorded), At: b.now(), Kind: d.Kind, Actor: d.Actor, Body: d.Body}); err != nil && verdict == nil {
			verdict = err
		}
	}
	return first, verdict
}

// flip changes a signature.
func flip(jws string) string {
	i := strings.LastIndexByte(jws, '.') + 1
	b := []byte(jws)
	b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
	return string(b)
}

// sameAnswer reports whether two answers are alike for who reads them, but for the time.
func sameAnswer(a, b who) bool {
	ha, hb := a.header.Clone(), b.header.Clone()
	ha.Del("Date")
	hb.Del("Date")
	return a.Status == b.Status && a.body == b.body && maps.EqualFunc(ha, hb, slices.Equal) && !bytes.Contains([]byte(a.body), []byte("agent"))
}
