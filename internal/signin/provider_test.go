package signin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/signin"
)

// An idp is a small OpenID provider: whoever comes is signed in at once. It holds to its standard:
// PKCE, codes that are good once, the redirect URI and the client's secret are all checked.
type idp struct {
	*testing.T
	key    *ecdsa.PrivateKey
	srv    *httptest.Server
	now    func() time.Time
	secret string // of the client

	mu      sync.Mutex
	claims  map[string]any // beside the usual ones, or instead of them
	codes   map[string]url.Values
	answers map[string]string // instead of what the provider would send back
	down    bool
}

const clientID = "safeconduct"

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{T: t, key: key, codes: map[string]url.Values{}, secret: "a secret: with / odd + characters"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		if p.down {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		reply(w, map[string]any{
			"issuer": p.srv.URL, "authorization_endpoint": p.srv.URL + "/authorize", "token_endpoint": p.srv.URL + "/token", "jwks_uri": p.srv.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"}, "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
			"authorization_response_iss_parameter_supported": true,
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		pub, err := key.PublicKey.Bytes()
		if err != nil {
			t.Error(err)
			return
		}
		reply(w, map[string]any{"keys": []any{map[string]string{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k", "x": b64(pub[1:33]), "y": b64(pub[33:])}}})
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	p.srv = httptest.NewServer(mux)
	t.Cleanup(p.srv.Close)
	return p
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func (p *idp) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != clientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 ||
		q.Get("state") == "" || q.Get("nonce") == "" || !strings.Contains(" "+q.Get("scope")+" ", " openid ") {
		p.Errorf("authorization request %v", q)
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = q
	back := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.srv.URL}}
	for name, value := range p.answers {
		if back.Set(name, value); value == "" {
			back.Del(name)
		}
	}
	p.mu.Unlock()
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (p *idp) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user, pass, _ := r.BasicAuth()
	user, _ = url.QueryUnescape(user)
	pass, _ = url.QueryUnescape(pass)
	code := r.PostFormValue("code")
	q := p.codes[code]
	delete(p.codes, code)
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if q == nil || user != clientID || pass != p.secret || r.PostFormValue("redirect_uri") != q.Get("redirect_uri") || b64(sum[:]) != q.Get("code_challenge") {
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	now := p.now()
	claims := map[string]any{"iss": p.srv.URL, "aud": clientID, "sub": "s-ben", "nonce": q.Get("nonce"), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"name": "Ben Ito", "email": "ben@example.com", "email_verified": true, "groups": []string{"ops", "finance"}}
	for name, value := range p.claims {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	reply(w, map[string]any{"access_token": "opaque", "token_type": "Bearer", "id_token": p.sign(claims)})
}

func (p *idp) sign(claims map[string]any) string {
	text, err := json.Marshal(claims)
	if err != nil {
		p.Fatal(err)
	}
	input := b64([]byte(`{"alg":"ES256","kid":"k"}`)) + "." + b64(text)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
	if err != nil {
		p.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return input + "." + b64(sig)
}

// with lets the provider say something else for a while.
func (p *idp) with(claims map[string]any, answers map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims, p.answers = claims, answers
}

func (p *idp) config() *signin.Provider {
	return &signin.Provider{Issuer: p.srv.URL, ClientID: clientID, ClientSecret: p.secret}
}

// through goes to the provider and back, as a browser does, and returns the last answer.
func (v *visitor) through(start string) response {
	v.Helper()
	r := v.do("GET", start, "", nil)
	for range 3 {
		if r.status != 302 && r.status != 303 {
			break
		}
		r = v.do("GET", r.header.Get("Location"), "", nil)
	}
	return r
}

func TestProvider(t *testing.T) {
	p := newIDP(t)
	h := open(t, "/base", signin.Config{Provider: p.config()})
	p.now = h.now
	if _, err := h.people.Put(t.Context(), admin, why, people.Profile{ID: "ben", Name: "Ben", Issuer: p.srv.URL, Subject: "s-ben", Claims: map[string][]string{"groups": {"oncall", "ops"}}}, 0); err != nil {
		t.Fatal(err)
	}
	v := h.visitor()
	r := v.through("/sign-in/provider?return=/asks/arq_1")
	if r.status != 200 || !strings.Contains(r.body, `content="0;url=/base/asks/arq_1"`) {
		t.Fatalf("signing in: %d %s", r.status, r.body)
	}
	cookie := r.header.Get("Set-Cookie") + strings.Join(r.header.Values("Set-Cookie"), "; ")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q lacks %s", cookie, want)
		}
	}
	if r := v.do("GET", "/sign-in/me", "", nil); r.status != 200 || !strings.Contains(r.body, `"id":"ben"`) || !strings.Contains(r.body, `"method":"oidc"`) {
		t.Errorf("me: %d %s", r.status, r.body)
	}
	s := h.people.Sessions("ben", h.now())
	if len(s) != 1 {
		t.Fatalf("%d sessions, want 1", len(s))
	}
	if diff := cmp.Diff(map[string][]string{"groups": {"oncall", "ops", "finance"}}, s[0].Claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if r := v.post("/sign-out", `{}`); r.status != 200 {
		t.Errorf("signing out: %d %s", r.status, r.body)
	}
	if r := v.do("GET", "/sign-in/me", "", nil); r.status != 401 || len(h.people.Sessions("ben", h.now())) != 0 {
		t.Errorf("after signing out: %d %s", r.status, r.body)
	}
	for path, want := range map[string]string{
		"https://evil.example/": "/asks", "//evil.example": "/asks", "/asks/../v1": "/asks", "/asks/x?y=z": "/asks", "/asks/arq_2": "/asks/arq_2",
	} {
		if r := h.visitor().through("/sign-in/provider?return=" + url.QueryEscape(path)); !strings.Contains(r.body, `content="0;url=/base`+want+`"`) {
			t.Errorf("return to %q: %s", path, r.body)
		}
	}
}

// What one replica began another finishes, if they share the key; with another key nobody does.
func TestProviderReplicas(t *testing.T) {
	p := newIDP(t)
	h := open(t, "", signin.Config{Provider: p.config()})
	p.now = h.now
	if _, err := h.people.Put(t.Context(), admin, why, people.Profile{ID: "ben", Name: "Ben", Issuer: p.srv.URL, Subject: "s-ben"}, 0); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		chance io.Reader
		want   int
	}{"the same key": {chance{}, 200}, "another key": {rand.Reader, 401}} {
		seal, err := keyring.NewSealingKey(c.chance)
		if err != nil {
			t.Fatal(err)
		}
		other, err := signin.New(signin.Config{People: h.people, Seal: seal, PublicURL: h.url, Provider: p.config(), Now: h.now})
		if err != nil {
			t.Fatal(err)
		}
		v := h.visitor()
		to := v.do("GET", "/sign-in/provider", "", nil).header.Get("Location")
		back := v.do("GET", to, "", nil).header.Get("Location")
		first := h.door
		h.door = other
		if r := v.do("GET", back, "", nil); r.status != c.want {
			t.Errorf("a replica with %s: %d %s, want %d", what, r.status, r.body, c.want)
		}
		h.door = first
	}
}

// What the provider says counts only if all of it fits: every lie is refused, and nobody is signed in.
func TestProviderRefusals(t *testing.T) {
	p := newIDP(t)
	h := open(t, "", signin.Config{Provider: p.config()})
	p.now = h.now
	if _, err := h.people.Put(t.Context(), admin, why, people.Profile{ID: "ben", Name: "Ben", Issuer: p.srv.URL, Subject: "s-ben"}, 0); err != nil {
		t.Fatal(err)
	}
	hour := func(n time.Duration) int64 { return h.now().Add(n * time.Hour).Unix() }
	for what, c := range map[string]struct {
		claims  map[string]any
		answers map[string]string
	}{
		"a foreign nonce":        {claims: map[string]any{"nonce": "other"}},
		"no nonce":               {claims: map[string]any{"nonce": nil}},
		"another issuer's token": {claims: map[string]any{"iss": "https://other.example"}},
		"another audience":       {claims: map[string]any{"aud": "other"}},
		"two audiences":          {claims: map[string]any{"aud": []string{clientID, "other"}}},
		"another party":          {claims: map[string]any{"aud": []string{clientID, "other"}, "azp": "other"}},
		"an expired token":       {claims: map[string]any{"exp": hour(-1)}},
		"a token of tomorrow":    {claims: map[string]any{"nbf": hour(24)}},
		"a bad access token":     {claims: map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}},
		"somebody unknown":       {claims: map[string]any{"sub": "s-eve"}},
		"no subject":             {claims: map[string]any{"sub": ""}},
		"a foreign state":        {answers: map[string]string{"state": "other"}},
		"no state":               {answers: map[string]string{"state": ""}},
		"another issuer":         {answers: map[string]string{"iss": "https://other.example"}},
		"no issuer":              {answers: map[string]string{"iss": ""}},
		"no code":                {answers: map[string]string{"code": ""}},
		"an unknown code":        {answers: map[string]string{"code": "other"}},
		"an error":               {answers: map[string]string{"error": "access_denied", "code": ""}},
		"an error with HTML":     {answers: map[string]string{"error": "<script>alert(1)</script>", "code": ""}},
		"too many claims":        {claims: map[string]any{"groups": large()}},
	} {
		p.with(c.claims, c.answers)
		v := h.visitor()
		r := v.through("/sign-in/provider")
		if r.status != 403 && r.status != 401 || !strings.Contains(r.body, `class="failure"`) || strings.Contains(r.body, "<script>alert") {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
		if r := v.do("GET", "/sign-in/me", "", nil); r.status != 401 {
			t.Errorf("%s: somebody is signed in: %s", what, r.body)
		}
	}
	p.with(nil, nil)

	// An answer counts once, in the browser in which the sign-in began, and within ten minutes.
	v := h.visitor()
	to := v.do("GET", "/sign-in/provider", "", nil).header.Get("Location")
	back := v.do("GET", to, "", nil).header.Get("Location")
	if r := h.visitor().do("GET", back, "", nil); r.status != 401 {
		t.Errorf("in another browser: %d %s", r.status, r.body)
	}
	if r := v.do("GET", back+"&state=x", "", nil); r.status != 403 {
		t.Errorf("with two states: %d %s", r.status, r.body)
	}
	to = v.do("GET", "/sign-in/provider", "", nil).header.Get("Location")
	back = v.do("GET", to, "", nil).header.Get("Location")
	if r := v.do("GET", back, "", nil); r.status != 200 {
		t.Errorf("the answer: %d %s", r.status, r.body)
	}
	if r := v.do("GET", back, "", nil); r.status != 401 {
		t.Errorf("the answer again: %d %s", r.status, r.body)
	}
	to = v.do("GET", "/sign-in/provider", "", nil).header.Get("Location")
	back = v.do("GET", to, "", nil).header.Get("Location")
	h.later(11 * time.Minute)
	if r := v.do("GET", back, "", nil); r.status != 401 {
		t.Errorf("the answer after 11 minutes: %d %s", r.status, r.body)
	}

	// Disabled here, the provider may say what it likes.
	ben, err := h.people.Person("ben")
	if err != nil {
		t.Fatal(err)
	}
	off := ben.Profile()
	off.Disabled = true
	if _, err := h.people.Put(t.Context(), admin, why, off, ben.AsOf); err != nil {
		t.Fatal(err)
	}
	if r := h.visitor().through("/sign-in/provider"); r.status != 401 {
		t.Errorf("a disabled person: %d %s", r.status, r.body)
	}
}

func large() (groups []string) {
	for range 200 {
		groups = append(groups, strings.Repeat("g", 200)+rand.Text())
	}
	return groups
}

// Whoever the provider knows becomes a person, if the configuration says so: always the same one, and
// with nothing that could steer a page or a mail.
func TestProvision(t *testing.T) {
	p := newIDP(t)
	c := p.config()
	c.Provision, c.Claims = true, []string{"groups", "admin", "odd"}
	h := open(t, "", signin.Config{Provider: c})
	p.now = h.now
	p.with(map[string]any{"sub": "s-new", "name": "N\u202eew", "preferred_username": "newbie", "email": "x@y.z\r\nBcc: a@b.c", "admin": true,
		"groups": []any{"b", 7, "a", "a", "\x1b[31m", ""}, "odd": map[string]any{"x": 1}}, nil)
	for range 2 {
		if r := h.visitor().through("/sign-in/provider"); r.status != 200 {
			t.Fatalf("signing in: %d %s", r.status, r.body)
		}
	}
	all := h.people.People()
	if len(all) != 1 || all[0].Name != "newbie" || all[0].Email != "" || !strings.HasPrefix(all[0].ID, "sso-") || all[0].Subject != "s-new" {
		t.Fatalf("people = %+v", all)
	}
	if diff := cmp.Diff(map[string][]string{"groups": {"a", "b"}, "admin": {"true"}}, h.people.Sessions(all[0].ID, h.now())[0].Claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	p.with(map[string]any{"sub": "s-other"}, nil)
	if r := h.visitor().through("/sign-in/provider"); r.status != 200 || len(h.people.People()) != 2 {
		t.Errorf("another one: %d, %d people", r.status, len(h.people.People()))
	}
}

// Somebody whom an administrator put does not become a second person by signing in with the identity
// provider, whether it vouches for the address or not: an administrator links the account.
func TestProvisionKnown(t *testing.T) {
	p := newIDP(t)
	c := p.config()
	c.Provision = true
	h := open(t, "", signin.Config{Provider: c})
	p.now = h.now
	anna, err := h.people.Put(t.Context(), admin, why, people.Profile{ID: "anna", Name: "Anna", Email: "anna@example.com"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for what, claims := range map[string]map[string]any{
		"a verified address":     {"email": "Anna@Example.com"},
		"an address":             {"email": "anna@example.com", "email_verified": false},
		"an address and no more": {"email": "anna@example.com", "email_verified": nil},
		"a preferred user name":  {"email": nil, "preferred_username": "anna@example.com"},
		"her id":                 {"email": nil, "preferred_username": "ANNA"},
		"a principal name":       {"email": nil, "upn": "anna@EXAMPLE.com"},
		"one of several":         {"email": []string{"x@example.com", "anna@example.com"}},
	} {
		claims["sub"] = "s-anna"
		p.with(claims, nil)
		v := h.visitor()
		r := v.through("/sign-in/provider")
		if r.status != 403 || !strings.Contains(r.body, "safeconduct person put") || !strings.Contains(r.body, "s-anna") {
			t.Errorf("%s: %d %s, want 403 and what an administrator does", what, r.status, r.body)
		}
		if n := len(h.people.People()); n != 1 {
			t.Fatalf("%s: %d persons, want 1", what, n)
		}
		if r := v.do("GET", "/sign-in/me", "", nil); r.status != 401 {
			t.Errorf("%s: somebody is signed in: %s", what, r.body)
		}
	}
	linked := anna.Profile()
	linked.Issuer, linked.Subject = p.srv.URL, "s-anna"
	if _, err := h.people.Put(t.Context(), admin, why, linked, anna.AsOf); err != nil {
		t.Fatal(err)
	}
	p.with(map[string]any{"sub": "s-anna", "email": "a.schmidt@example.com", "email_verified": false, "preferred_username": "schmidt", "upn": "a\u202e"}, nil)
	if r := h.visitor().through("/sign-in/provider"); r.status != 200 {
		t.Fatalf("signing in with the linked account: %d %s", r.status, r.body)
	}
	s := h.people.Sessions("anna", h.now())
	if len(s) != 1 {
		t.Fatalf("%d sessions, want 1", len(s))
	}
	// What the provider does not vouch for is a name, and lets nobody into a group.
	if diff := cmp.Diff([]string{"anna@example.com", "a.schmidt@example.com", "schmidt"}, s[0].Person.Known()); diff != "" {
		t.Errorf("known by (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{"groups": {"finance", "ops"}}, s[0].Claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

// The service does without its provider until somebody wants to sign in by it.
func TestProviderDown(t *testing.T) {
	p := newIDP(t)
	p.down = true
	h := open(t, "", signin.Config{Provider: p.config()})
	p.now = h.now
	if r := h.visitor().through("/sign-in/provider"); r.status != 503 || strings.Contains(r.body, p.srv.URL) {
		t.Errorf("while it is down: %d %s", r.status, r.body)
	}
	p.down = false
	h.later(6 * time.Second)
	if r := h.visitor().do("GET", "/sign-in/provider", "", nil); r.status != 303 {
		t.Errorf("when it is back: %d %s", r.status, r.body)
	}
}
