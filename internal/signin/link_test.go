package signin_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/signin"
)

// invite makes a sign-in link for somebody.
func (h *house) invite(id string) (token string) {
	h.Helper()
	l, err := h.people.MakeLink(h.Context(), admin, why, id, 0)
	if err != nil {
		h.Fatal(err)
	}
	return l.Token
}

// submit sends the form of a sign-in link, as a browser would from a page of that origin.
func (v *visitor) submit(token, origin string) (status int, to, body string) {
	v.Helper()
	r, err := http.NewRequestWithContext(v.Context(), "POST", v.url+"/sign-in/link", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		v.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	return v.send(r)
}

func (v *visitor) open(path string) (status int, to, body string) {
	v.Helper()
	r, err := http.NewRequestWithContext(v.Context(), "GET", v.url+path, nil)
	if err != nil {
		v.Fatal(err)
	}
	return v.send(r)
}

func (v *visitor) send(r *http.Request) (status int, to, body string) {
	v.Helper()
	resp, err := v.client.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(text)
}

// A link signs in once, by its button: opening the page, as programs do that look where links lead, uses nothing up.
func TestLink(t *testing.T) {
	h := open(t, "", signin.Config{Home: "/console/"})
	h.put("anna")
	token, v := h.invite("anna"), h.visitor()
	for range 3 {
		if status, _, body := v.open("/sign-in/link?token=" + token); status != 200 || !strings.Contains(body, "Name of anna (anna)") || strings.Contains(body, "<script") {
			t.Fatalf("the page: %d %s", status, body)
		}
	}
	for what, origin := range map[string]string{"another site": "https://evil.example", "a page of no origin": "null", "nobody": ""} {
		if status, _, _ := h.visitor().submit(token, origin); status != 403 {
			t.Errorf("the form, from %s: %d, want 403", what, status)
		}
	}
	if status, to, body := v.submit(token, h.url); status != 303 || to != "/console/" {
		t.Fatalf("the form: %d to %q: %s", status, to, body)
	}
	if status, _, body := v.open("/sign-in/me"); status != 200 || !strings.Contains(body, `"method":"link"`) {
		t.Errorf("afterwards: %d %s", status, body)
	}
	if status, _, body := h.visitor().submit(token, h.url); status != 401 || !strings.Contains(body, "unknown, used or expired") {
		t.Errorf("the same link again: %d %s", status, body)
	}
	if status, _, body := h.visitor().open("/sign-in/link?token=" + token); status != 401 || strings.Contains(body, "anna") {
		t.Errorf("its page: %d %s", status, body)
	}
}

func TestLinkRefused(t *testing.T) {
	h := open(t, "", signin.Config{})
	h.put("anna")
	h.put("ben")
	first := h.invite("anna")
	second := h.invite("anna") // takes the place of the first
	late := h.invite("ben")
	refused := func(what, token string) {
		t.Helper()
		if status, _, body := h.visitor().submit(token, h.url); status != 401 && status != 400 {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	refused("no token", "")
	refused("a forged one", people.LinkPrefix+strings.Repeat("A", 43))
	refused("one that was replaced", first)
	h.later(people.MaxLink + time.Second)
	refused("a late one", late)
	refused("a late one", second)
	third := h.invite("anna")
	p, err := h.people.Person("anna")
	if err != nil {
		t.Fatal(err)
	}
	gone := p.Profile()
	gone.Disabled = true
	if _, err := h.people.Put(t.Context(), admin, why, gone, p.AsOf); err != nil {
		t.Fatal(err)
	}
	refused("one of somebody who is disabled", third)
	fourth := h.invite("ben")
	if _, err := h.people.EndSessions(t.Context(), admin, why, "ben"); err != nil {
		t.Fatal(err)
	}
	refused("one that was withdrawn by signing out everywhere", fourth)
	if n := len(h.people.Sessions("anna", h.now())) + len(h.people.Sessions("ben", h.now())); n != 0 {
		t.Errorf("%d sessions began", n)
	}
}

// A session ends in a browser where nobody is, goes on while somebody is, and never lasts longer than it may.
func TestIdle(t *testing.T) {
	h := open(t, "", signin.Config{Idle: 10 * time.Minute})
	h.put("anna")
	bare := h.session("anna")
	begun := h.now()
	value := h.door.Stamped(bare, begun)
	ask := func(background bool) (*people.Session, error) {
		r := httptest.NewRequest("GET", h.url+"/v1/me", nil)
		r.AddCookie(&http.Cookie{Name: "safeconduct", Value: value})
		if background {
			r.Header.Set(signin.BackgroundHeader, "1")
		}
		w := httptest.NewRecorder()
		s, err := h.door.Person(w, r)
		for _, c := range w.Result().Cookies() {
			value = c.Value
		}
		return s, err
	}
	first := value
	if s, err := ask(false); err != nil || value != first || s.IdleAt.Sub(begun) > 10*time.Minute {
		t.Fatalf("at once: %+v, %v, a new cookie: %v", s, err, value != first)
	}
	h.later(6 * time.Minute)
	if _, err := ask(true); err != nil || value != first {
		t.Fatalf("a request that nobody caused: %v, a new cookie: %v", err, value != first)
	}
	if _, err := ask(false); err != nil || value == first {
		t.Fatalf("a request that somebody caused: %v, a new cookie: %v", err, value != first)
	}
	h.later(6 * time.Minute)
	if _, err := ask(true); err != nil {
		t.Fatalf("six minutes later: %v", err)
	}
	old := value
	value = first
	if _, err := ask(false); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("the first cookie, twelve minutes old: %v", err)
	}
	for value = old; h.now().Sub(begun) < people.DefaultSession; h.later(5 * time.Minute) {
		if _, err := ask(false); err != nil && h.now().Sub(begun) < people.DefaultSession {
			t.Fatalf("after %v: %v", h.now().Sub(begun), err)
		}
	}
	if _, err := ask(false); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("after %v: %v", h.now().Sub(begun), err)
	}
}

// A stamp is made by us, belongs to its session, and is there.
func TestStamps(t *testing.T) {
	h := open(t, "", signin.Config{})
	h.put("anna")
	h.put("ben")
	anna, ben := h.session("anna"), h.session("ben")
	_, stamp, _ := strings.Cut(h.door.Stamped(ben, h.now()), ".")
	for what, value := range map[string]string{
		"no stamp":                      anna,
		"an empty one":                  anna + ".",
		"one of another session":        anna + "." + stamp,
		"one that is no base64url":      anna + ".!" + stamp,
		"one with something behind":     h.door.Stamped(anna, h.now()) + ".x",
		"one of half an hour ago":       h.door.Stamped(anna, h.now().Add(-signin.DefaultIdle)),
		"a stamp of no session":         h.door.Stamped(people.SessionPrefix+strings.Repeat("A", 43), h.now()),
		"a plain time instead of seals": anna + ".AAAAAGkAAAA",
	} {
		r := httptest.NewRequest("GET", h.url+"/", nil)
		r.AddCookie(&http.Cookie{Name: "safeconduct", Value: value})
		if s, err := h.door.Person(nil, r); !errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
}

// Where nobody has a role, the page of signing in says how to begin, until somebody has.
func TestBegin(t *testing.T) {
	h := open(t, "", signin.Config{})
	h.put("anna")
	const words = "Nobody has a role here yet"
	if _, _, body := h.visitor().open("/sign-in"); !strings.Contains(body, words) {
		t.Error("the page does not say how to begin")
	}
	if _, err := h.people.Put(t.Context(), admin, why, people.Profile{ID: "ben", Name: "Ben", Roles: []people.Role{people.Viewer}}, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, body := h.visitor().open("/sign-in"); strings.Contains(body, words) {
		t.Error("the page still says how to begin")
	}
}

// Whoever signs in with the provider is sent back to where they came from: below our own pages.
func TestDestinations(t *testing.T) {
	for to, want := range map[string]bool{
		"/asks": true, "/asks/arq_1": true, "/console": true, "/console/": true, "/console/agents?state=active&text=a%20b": true, "/console/agents/a.b": true,
		"/console/sessions/errands%20of%20%C3%BC?agent=a/b": true, "/console/policies/3?file=a/.b%2Fc.cedar&line=12": true,
		"/console/%2E%2E/v1": false, "/console/%2e%2e/v1": false, "/console/a%2F..%2F..%2Fv1": false, "/console/a%5Cb": false, "/console/a%2": false,
		"": false, "//evil.example": false, "https://evil.example": false, "/console//evil.example": false, "/console/../v1": false, "/console/.": false,
		"/consoles": false, "/console/\\evil": false, "/v1/me": false, "/console/a#b": false, "/console/?x=<": false, "/console/" + strings.Repeat("a", 2000): false,
	} {
		if got := signin.Leads(to); got != want {
			t.Errorf("Leads(%.60q) = %v, want %v", to, got, want)
		}
	}
}
