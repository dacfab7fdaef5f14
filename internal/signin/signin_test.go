package signin_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/signin"
)

const admin, why = "admin:root", "test"

// A house is a Door at http://localhost, with its log and its people in memory.
type house struct {
	*testing.T
	people *people.Registry
	door   *signin.Door
	url    string

	mu      sync.Mutex
	skew    time.Duration
	entries []audit.Entry
	extra   http.Handler // what stands beside the Door
}

func (h *house) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.skew)
}

func (h *house) later(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skew += d
}

func (h *house) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	at := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	e := audit.Entry{Seq: int64(len(h.entries)) + 1, At: at, Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	h.entries = append(h.entries, e)
	return e.Seq, h.people.Apply(ctx, e)
}

// A shelf keeps accounts nowhere.
type shelf struct{}

func (shelf) Accounts(context.Context) ([]people.Account, error) { return nil, nil }
func (shelf) PutAccount(context.Context, people.Account) error   { return nil }

// open opens a house. The configuration gets what is missing; base is the path of the public URL.
func open(t *testing.T, base string, cfg signin.Config) *house {
	t.Helper()
	h := &house{T: t}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case h.door.Serves(r.URL.Path):
			h.door.Handler().ServeHTTP(w, r)
		case h.extra != nil:
			h.extra.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	h.people = people.NewRegistry(people.Config{Store: shelf{}, Log: h, Now: h.now})
	seal, err := keyring.NewSealingKey(chance{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.People, cfg.Seal, cfg.Now = h.people, seal, h.now
	if cfg.PublicURL == "" {
		cfg.PublicURL = srv.URL + base
	}
	if h.door, err = signin.New(cfg); err != nil {
		t.Fatal(err)
	}
	h.url = people.Reachable(cfg.PublicURL)
	return h
}

// chance is a source of chance that is none.
type chance struct{}

func (chance) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(7 * i)
	}
	return len(p), nil
}

func (h *house) put(id string) {
	h.Helper()
	if _, err := h.people.Put(h.Context(), admin, why, people.Profile{ID: id, Name: "Name of " + id}, 0); err != nil {
		h.Fatal(err)
	}
}

func (h *house) link(id string) string {
	h.Helper()
	e, err := h.people.Enrol(h.Context(), admin, why, id, 0)
	if err != nil {
		h.Fatal(err)
	}
	return people.EnrolmentURL(h.url, e.Token)
}

// A visitor is a client that keeps cookies and follows no redirect.
type visitor struct {
	*house
	client *http.Client
}

func (h *house) visitor() *visitor {
	jar, _ := cookiejar.New(nil) // never fails
	return &visitor{h, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type response struct {
	status int
	header http.Header
	body   string
}

func (v *visitor) do(method, path, body string, header map[string]string) response {
	v.Helper()
	url := path
	if strings.HasPrefix(path, "/") {
		url = v.url + path
	}
	r, err := http.NewRequestWithContext(v.Context(), method, url, strings.NewReader(body))
	if err != nil {
		v.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(text)}
}

// post sends what a page of ours sends.
func (v *visitor) post(path, body string) response {
	v.Helper()
	return v.do("POST", path, body, map[string]string{
		"Content-Type": "application/json", signin.Header: "1", "Origin": strings.TrimSuffix(v.url, v.base()),
	})
}

// base returns the path of the house's URL.
func (h *house) base() string {
	_, rest, _ := strings.Cut(h.url, "://")
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return ""
}

// Every page forbids what it does not need, and holds nothing of anybody.
func TestPages(t *testing.T) {
	for _, base := range []string{"", "/safe/conduct"} {
		h := open(t, base, signin.Config{Provider: &signin.Provider{Issuer: "https://idp.example", ClientID: "c", Name: "<b>Acme</b>"}})
		v := h.visitor()
		for _, path := range []string{"/sign-in", "/enrol", "/asks", "/asks/arq_x", "/sign-in/ask.js", "/sign-in/safeconduct.js", "/sign-in/style.css"} {
			r := v.do("GET", path, "", nil)
			csp := r.header.Get("Content-Security-Policy")
			if r.status != 200 || r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("X-Frame-Options") != "DENY" {
				t.Errorf("GET %s: %d, %v", path, r.status, r.header)
			}
			for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
				if !strings.Contains(csp, want) {
					t.Errorf("GET %s: the policy %q lacks %s", path, csp, want)
				}
			}
			if strings.Contains(csp, "unsafe") {
				t.Errorf("GET %s: the policy is %q", path, csp)
			}
			if strings.Contains(r.body, "<b>Acme") {
				t.Errorf("GET %s: the provider's name is HTML", path)
			}
			if strings.HasSuffix(path, ".js") || strings.HasSuffix(path, ".css") {
				continue
			}
			if want := `data-base="` + base + `"`; !strings.Contains(r.body, want) || !strings.Contains(r.body, `href="`+base+`/sign-in/style.css"`) {
				t.Errorf("GET %s: no %s in the page", path, want)
			}
			for _, bad := range []string{"<script>", " onclick=", " style=", "javascript:"} {
				if strings.Contains(r.body, bad) {
					t.Errorf("GET %s: there is %q in the page", path, bad)
				}
			}
		}
		for _, path := range []string{"/sign-in/nothing.js", "/sign-in/sign-in.html", "/enrol/x", "/asks/a/b"} {
			if r := v.do("GET", path, "", nil); r.status != 404 {
				t.Errorf("GET %s: %d, want 404", path, r.status)
			}
		}
		far := strings.Replace(h.url, "localhost", "127.0.0.1", 1)
		for path, want := range map[string]int{"/asks/arq_x": 302, "/enrol": 302, "/sign-in/me": 401, "/sign-in/style.css": 200} {
			r := v.do("GET", far+path, "", nil)
			if to := r.header.Get("Location"); r.status != want || want == 302 && to != h.url+path {
				t.Errorf("GET %s by the address: %d to %q, want %d", path, r.status, to, want)
			}
		}
		for path, want := range map[string]bool{
			"/sign-in": true, "/sign-in/me": true, "/asks": true, "/asks/x": true, "/enrol": true, "/sign-out": true,
			"/": false, "/asksx": false, "/v1/approvals": false, "/access/v1/evaluation": false, "/sign-inx/y": false,
		} {
			if got := h.door.Serves(base + path); got != want {
				t.Errorf("Serves(%q) = %v, want %v", base+path, got, want)
			}
		}
	}
}

func TestNew(t *testing.T) {
	seal, err := keyring.NewSealingKey(chance{})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		url      string
		idp      *signin.Provider
		passkeys bool
		want     error
	}{
		"https":             {"https://sc.example.com", nil, true, nil},
		"a path":            {"https://sc.example.com/x/", nil, true, nil},
		"loopback":          {"http://127.0.0.1:8180", nil, true, nil},
		"an address":        {"https://192.0.2.7", nil, false, nil},
		"plain http":        {"http://sc.example.com", nil, false, nil},
		"no URL":            {"sc.example.com", nil, false, authz.ErrInvalid},
		"a plain issuer":    {"https://sc.example.com", &signin.Provider{Issuer: "http://idp.example", ClientID: "x"}, false, authz.ErrInvalid},
		"no issuer":         {"https://sc.example.com", &signin.Provider{ClientID: "x"}, false, authz.ErrInvalid},
		"no client":         {"https://sc.example.com", &signin.Provider{Issuer: "https://idp.example"}, false, authz.ErrInvalid},
		"a provider":        {"https://sc.example.com", &signin.Provider{Issuer: "https://idp.example", ClientID: "x"}, true, nil},
		"a loopback issuer": {"https://sc.example.com", &signin.Provider{Issuer: "http://127.0.0.1:1", ClientID: "x"}, true, nil},
	} {
		d, err := signin.New(signin.Config{People: people.NewRegistry(people.Config{Store: shelf{}}), Seal: seal, PublicURL: c.url, Provider: c.idp})
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("New with %s = %v, want %v", what, err, c.want)
		} else if err == nil && d.Passkeys() != c.passkeys {
			t.Errorf("Passkeys() with %s = %v, want %v", what, d.Passkeys(), c.passkeys)
		}
	}
}

// What changes something by cookie comes from our own pages, or not at all.
func TestSameOrigin(t *testing.T) {
	h := open(t, "", signin.Config{})
	h.put("anna")
	bare := h.session("anna")
	token := h.door.Stamped(bare, h.now())
	person := func(method string, header http.Header) error {
		r := httptest.NewRequest(method, h.url+"/v1/approvals/x/answer", nil)
		r.Header = header
		r.AddCookie(&http.Cookie{Name: "safeconduct", Value: token})
		s, err := h.door.Person(nil, r)
		if err == nil && s.Person.ID != "anna" {
			t.Errorf("Person = %+v", s)
		}
		return err
	}
	one := func(pairs ...string) http.Header {
		head := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			head.Add(pairs[i], pairs[i+1])
		}
		return head
	}
	const mine = signin.Header
	for what, c := range map[string]struct {
		method string
		header http.Header
		want   error
	}{
		"reading":                         {"GET", one(), nil},
		"reading from elsewhere":          {"GET", one("Origin", "https://evil.example"), nil},
		"our page":                        {"POST", one(mine, "1", "Origin", h.url, "Sec-Fetch-Site", "same-origin"), nil},
		"our page, an old browser":        {"POST", one(mine, "1", "Origin", h.url), nil},
		"our page, no Origin":             {"POST", one(mine, "1", "Sec-Fetch-Site", "same-origin"), nil},
		"our page by its address":         {"POST", one(mine, "1", "Origin", strings.Replace(h.url, "localhost", "127.0.0.1", 1)), nil},
		"no header":                       {"POST", one("Origin", h.url, "Sec-Fetch-Site", "same-origin"), authz.ErrForbidden},
		"another value":                   {"POST", one(mine, "0", "Origin", h.url), authz.ErrForbidden},
		"nothing says where from":         {"POST", one(mine, "1"), authz.ErrForbidden},
		"another site":                    {"POST", one(mine, "1", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"), authz.ErrForbidden},
		"another host of our site":        {"POST", one(mine, "1", "Origin", h.url, "Sec-Fetch-Site", "same-site"), authz.ErrForbidden},
		"another port":                    {"PUT", one(mine, "1", "Origin", "http://localhost:1"), authz.ErrForbidden},
		"a page of no origin":             {"POST", one(mine, "1", "Origin", "null"), authz.ErrForbidden},
		"two origins":                     {"DELETE", one(mine, "1", "Origin", h.url, "Origin", "https://evil.example"), authz.ErrForbidden},
		"typed into the address bar":      {"POST", one(mine, "1", "Sec-Fetch-Site", "none"), authz.ErrForbidden},
		"a bearer token beside a session": {"GET", one("Authorization", "Bearer x"), authz.ErrUnauthenticated},
	} {
		if err := person(c.method, c.header); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: Person = %v, want %v", what, err, c.want)
		}
	}
	r := httptest.NewRequest("GET", h.url+"/", nil)
	if _, err := h.door.Person(nil, r); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("without a cookie: %v", err)
	}
	r.AddCookie(&http.Cookie{Name: "safeconduct", Value: "forged"})
	r.AddCookie(&http.Cookie{Name: "safeconduct", Value: token})
	if _, err := h.door.Person(nil, r); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("with two cookies: %v", err)
	}
	// Over https the cookie has a name that no other host can set.
	seal, _ := keyring.NewSealingKey(chance{})
	d, err := signin.New(signin.Config{People: h.people, Seal: seal, PublicURL: "https://sc.example.com", Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"safeconduct": authz.ErrUnauthenticated, "__Host-safeconduct": nil} {
		r := httptest.NewRequest("GET", "https://sc.example.com/", nil)
		r.AddCookie(&http.Cookie{Name: name, Value: d.Stamped(bare, h.now())})
		if _, err := d.Person(nil, r); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("cookie %s over https: %v, want %v", name, err, want)
		}
	}
}

// session signs somebody in without a browser.
func (h *house) session(id string) string {
	h.Helper()
	p, err := h.people.Person(id)
	if err != nil {
		h.Fatal(err)
	}
	prof := p.Profile()
	prof.Issuer, prof.Subject = "https://idp.example", "s-"+id
	if _, err := h.people.Put(h.Context(), admin, why, prof, p.AsOf); err != nil {
		h.Fatal(err)
	}
	token, _, err := h.people.SignIn(h.Context(), people.Login{Person: id, Challenge: "nonce", Issuer: prof.Issuer, Subject: prof.Subject})
	if err != nil {
		h.Fatal(err)
	}
	return token
}

// Requests that no page of ours sends are refused, each for its reason.
func TestRefusals(t *testing.T) {
	h := open(t, "", signin.Config{})
	h.put("anna")
	v := h.visitor()
	origin := map[string]string{"Content-Type": "application/json", signin.Header: "1", "Origin": h.url}
	with := func(name, value string) map[string]string {
		out := map[string]string{}
		for k, v := range origin {
			out[k] = v
		}
		out[name] = value
		return out
	}
	for _, path := range []string{"/sign-in/begin", "/sign-in/finish", "/enrol/begin", "/enrol/finish"} {
		for what, c := range map[string]struct {
			body   string
			header map[string]string
			want   int
		}{
			"no header":      {`{}`, map[string]string{"Content-Type": "application/json", "Origin": h.url}, 403},
			"another site":   {`{}`, with("Origin", "https://evil.example"), 403},
			"a form":         {`a=b`, with("Content-Type", "application/x-www-form-urlencoded"), 400},
			"no body":        {``, origin, 400},
			"unknown member": {`{"x":1}`, origin, 400},
			"two bodies":     {`{}{}`, origin, 400},
			"no JSON":        {`{`, origin, 400},
			"a large body":   {`{"token":"` + strings.Repeat("x", 70<<10) + `"}`, origin, 400},
		} {
			if r := v.do("POST", path, c.body, c.header); r.status != c.want {
				t.Errorf("POST %s with %s: %d %s, want %d", path, what, r.status, r.body, c.want)
			}
		}
	}
	for path, body := range map[string]string{
		"/enrol/begin":    `{"token":"sc_person_nonsense"}`,
		"/enrol/finish":   `{"token":"sc_person_nonsense","title":"x","credential":{}}`,
		"/sign-in/finish": `{"credential":{}}`,
	} {
		if r := v.post(path, body); r.status != 401 {
			t.Errorf("POST %s: %d %s, want 401", path, r.status, r.body)
		}
	}
	if r := v.do("GET", "/sign-in/me", "", nil); r.status != 401 {
		t.Errorf("GET /sign-in/me: %d, want 401", r.status)
	}
	if r := v.post("/sign-out", `{}`); r.status != 200 {
		t.Errorf("signing out when nobody is signed in: %d %s", r.status, r.body)
	}
	// What one step keeps is no good for another, and not for ever.
	if r := v.post("/sign-in/begin", `{}`); r.status != 200 || !strings.Contains(r.body, `"userVerification":"required"`) {
		t.Fatalf("begin: %d %s", r.status, r.body)
	}
	token := strings.SplitN(h.link("anna"), "#", 2)[1]
	if r := v.post("/enrol/finish", `{"token":"`+token+`","title":"x","credential":{}}`); r.status != 401 {
		t.Errorf("enrolling with what a sign-in keeps: %d %s, want 401", r.status, r.body)
	}
	v.post("/sign-in/begin", `{}`)
	h.later(11 * time.Minute)
	if r := v.post("/sign-in/finish", `{"credential":{}}`); r.status != 401 || !strings.Contains(r.body, "too long") {
		t.Errorf("finishing after 11 minutes: %d %s, want 401", r.status, r.body)
	}
	// By an address that is not of this machine there are no passkeys.
	far := open(t, "", signin.Config{PublicURL: "https://192.0.2.7"})
	if d := far.door; d.Passkeys() {
		t.Error("there are passkeys of an address")
	}
}

// Evidence is what it says, and nothing of it can be changed. That what browsers make is accepted, the
// test with a browser shows.
func TestParseEvidence(t *testing.T) {
	for what, text := range map[string]string{
		"nothing": ``, "null": `null`, "another type": `{"type":"seal"}`, "unknown members": `{"type":"webauthn","x":1}`,
		"more": `{"type":"webauthn"}{}`, "no base64url": `{"type":"webauthn","passkey":"*"}`, "large": `{"type":"` + strings.Repeat("w", 40<<10) + `"}`,
	} {
		if e, err := signin.ParseEvidence(json.RawMessage(text), [32]byte{}); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %+v, %v, want ErrInvalid", what, e, err)
		}
	}
}

func FuzzParseEvidence(f *testing.F) {
	f.Add([]byte(`{"type":"webauthn","person":"anna","passkey":"YQ","public_key":"pQECAyYgASFYIA","rp_id":"localhost","origin":"http://localhost","authenticator_data":"YQ","client_data_json":"e30","signature":"YQ"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if e, err := signin.ParseEvidence(text, [32]byte{1}); err == nil {
			t.Errorf("evidence over a digest that nobody signed: %+v", e)
		}
	})
}

func FuzzVerifyAssertion(f *testing.F) {
	f.Add([]byte(`{"id":"YQ","rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"YQ","signature":"YQ"}}`))
	seal, err := keyring.NewSealingKey(chance{})
	if err != nil {
		f.Fatal(err)
	}
	d, err := signin.New(signin.Config{People: people.NewRegistry(people.Config{Store: shelf{}}), Seal: seal, PublicURL: "https://sc.example.com"})
	if err != nil {
		f.Fatal(err)
	}
	p := &people.Person{ID: "anna", Passkeys: []people.Passkey{{ID: "YQ", Record: json.RawMessage(`{"id":"YQ==","publicKey":"pQECAyYgASFYIA=="}`)}}}
	f.Fuzz(func(t *testing.T, text []byte) {
		if e, err := d.VerifyAssertion(p, [32]byte{1}, text); err == nil {
			t.Errorf("an assertion that nobody made: %s", e)
		} else if !errors.Is(err, authz.ErrInvalid) && !errors.Is(err, authz.ErrForbidden) {
			t.Errorf("VerifyAssertion = %v", err)
		}
	})
}
