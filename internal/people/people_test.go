package people_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A tape is a log in memory: what is committed is applied at once, by every registry on it.
type tape struct {
	mu      sync.Mutex
	at      time.Time
	entries []audit.Entry
	all     []*people.Registry
}

func newTape() *tape { return &tape{at: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)} }

func (l *tape) now() time.Time { return l.at }

func (l *tape) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := audit.Entry{Seq: int64(len(l.entries)) + 1, At: l.at, Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	l.entries = append(l.entries, e)
	var verdict error
	for i, r := range l.all {
		if err := r.Apply(ctx, e); i == 0 {
			verdict = err
		}
	}
	return e.Seq, verdict
}

func (l *tape) registry(t testing.TB, db people.Store) *people.Registry {
	t.Helper()
	r := people.NewRegistry(people.Config{Store: db, Log: l, Now: l.now})
	if err := r.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.all = append(l.all, r)
	return r
}

func wantKind(t *testing.T, what string, err, want error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

const admin, why = "admin:root", "test"

func anna() people.Profile {
	return people.Profile{ID: "anna", Name: "Anna Schmidt", Email: "anna@example.com", Claims: map[string][]string{"department": {"finance"}}}
}

// A world is a registry with anna, who has a passkey.
type world struct {
	*testing.T
	*tape
	r *people.Registry
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, tape: newTape()}
	w.r = w.registry(t, storetest.Open(t))
	if _, err := w.r.Put(t.Context(), admin, why, anna(), 0); err != nil {
		t.Fatal(err)
	}
	w.enrol("anna", "a2V5LTE")
	return w
}

func passkey(id string) people.Passkey {
	return people.Passkey{ID: id, Title: "laptop", Record: json.RawMessage(`{"publicKey":"AA"}`)}
}

func (w *world) enrol(person, key string) {
	w.Helper()
	e, err := w.r.Enrol(w.Context(), admin, why, person, 0)
	if err == nil {
		_, err = w.r.Register(w.Context(), e.Token, passkey(key))
	}
	if err != nil {
		w.Fatalf("enrolling %s: %v", person, err)
	}
}

func (w *world) signIn(challenge string) string {
	w.Helper()
	token, s, err := w.r.SignIn(w.Context(), people.Login{Person: "anna", Challenge: challenge, Passkey: "a2V5LTE"})
	if err != nil || s.Person.ID != "anna" || s.Method != people.ByPasskey || !strings.HasPrefix(token, people.SessionPrefix) {
		w.Fatalf("SignIn = %+v, %v", s, err)
	}
	return token
}

func (w *world) person() *people.Person {
	w.Helper()
	p, err := w.r.Person("anna")
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func TestPut(t *testing.T) {
	w := newWorld(t)
	ctx, p := t.Context(), w.person()
	changed := p.Profile()
	changed.Name = "Anna Meier"
	got, err := w.r.Put(ctx, admin, why, changed, p.AsOf)
	wantKind(t, "changing", err, nil)
	if got.Name != "Anna Meier" || got.AsOf <= p.AsOf || len(got.Passkeys) != 1 {
		t.Errorf("changed to %+v", got)
	}
	for what, c := range map[string]struct {
		change func(*people.Profile)
		asOf   int64
		want   error
	}{
		"made again":         {func(*people.Profile) {}, 0, authz.ErrConflict},
		"changed meanwhile":  {func(*people.Profile) {}, p.AsOf, authz.ErrConflict},
		"unknown":            {func(p *people.Profile) { p.ID = "nobody" }, 3, authz.ErrNotFound},
		"no id":              {func(p *people.Profile) { p.ID = "" }, 0, authz.ErrInvalid},
		"a colon":            {func(p *people.Profile) { p.ID = "a:b" }, 0, authz.ErrInvalid},
		"a dot first":        {func(p *people.Profile) { p.ID = ".a" }, 0, authz.ErrInvalid},
		"a long id":          {func(p *people.Profile) { p.ID = strings.Repeat("a", 65) }, 0, authz.ErrInvalid},
		"no name":            {func(p *people.Profile) { p.ID, p.Name = "b", "" }, 0, authz.ErrInvalid},
		"a turning name":     {func(p *people.Profile) { p.ID, p.Name = "b", "a\u202eb" }, 0, authz.ErrInvalid},
		"a name with escape": {func(p *people.Profile) { p.ID, p.Name = "b", "a\x1b[31m" }, 0, authz.ErrInvalid},
		"a bad address":      {func(p *people.Profile) { p.ID, p.Email = "b", "Anna <anna@example.com>" }, 0, authz.ErrInvalid},
		"header injection":   {func(p *people.Profile) { p.ID, p.Email = "b", "anna@example.com\r\nBcc: x@y.z" }, 0, authz.ErrInvalid},
		"half an account":    {func(p *people.Profile) { p.ID, p.Subject = "b", "s" }, 0, authz.ErrInvalid},
		"a bad issuer":       {func(p *people.Profile) { p.ID, p.Subject, p.Issuer = "b", "s", "javascript:x" }, 0, authz.ErrInvalid},
		"an empty claim":     {func(p *people.Profile) { p.ID, p.Claims = "b", map[string][]string{"x": {""}} }, 0, authz.ErrInvalid},
		"large claims":       {func(p *people.Profile) { p.ID, p.Claims = "b", many(200) }, 0, authz.ErrInvalid},
	} {
		p := anna()
		c.change(&p)
		_, err := w.r.Put(ctx, admin, why, p, c.asOf)
		wantKind(t, "Put: "+what, err, c.want)
	}
	_, err = w.r.Put(ctx, admin, "", changed, got.AsOf)
	wantKind(t, "Put without a reason", err, authz.ErrInvalid)
	if _, err := w.r.Person("nobody"); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("Person(nobody) = %v", err)
	}
}

func many(n int) map[string][]string {
	out := map[string][]string{}
	for i := range n {
		out["groups"] = append(out["groups"], strings.Repeat("g", 200)+fmt.Sprint(i))
	}
	return out
}

// An account of the identity provider belongs to one person at a time.
func TestIdentity(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	with := func(id, subject string) people.Profile {
		return people.Profile{ID: id, Name: id, Issuer: "https://idp.example", Subject: subject}
	}
	ben, err := w.r.Put(ctx, admin, why, with("ben", "s-1"), 0)
	wantKind(t, "ben", err, nil)
	_, err = w.r.Put(ctx, admin, why, with("cleo", "s-1"), 0)
	wantKind(t, "cleo with ben's account", err, authz.ErrConflict)
	if p, err := w.r.ByIdentity("https://idp.example", "s-1"); err != nil || p.ID != "ben" {
		t.Errorf("ByIdentity = %v, %v", p, err)
	}
	for _, other := range [][2]string{{"https://other.example", "s-1"}, {"https://idp.example", "s-2"}, {"", ""}} {
		if p, err := w.r.ByIdentity(other[0], other[1]); !errors.Is(err, authz.ErrNotFound) {
			t.Errorf("ByIdentity(%q) = %v, %v", other, p, err)
		}
	}
	login := people.Login{Person: "ben", Challenge: "n1", Issuer: "https://idp.example", Subject: "s-1", Claims: map[string][]string{"groups": {"ops"}}}
	token, s, err := w.r.SignIn(ctx, login)
	wantKind(t, "SignIn", err, nil)
	if s.Method != people.ByOIDC || s.Claims["groups"][0] != "ops" {
		t.Errorf("session = %+v", s)
	}
	// Another account ends the sessions that began with the old one, and frees it.
	_, err = w.r.Put(ctx, admin, why, with("ben", "s-9"), ben.AsOf)
	wantKind(t, "another account", err, nil)
	_, err = w.r.Authenticate(token)
	wantKind(t, "the session of the old account", err, authz.ErrUnauthenticated)
	login.Challenge = "n2"
	_, _, err = w.r.SignIn(ctx, login)
	wantKind(t, "signing in with the old account", err, authz.ErrUnauthenticated)
	_, err = w.r.Put(ctx, admin, why, with("cleo", "s-1"), 0)
	wantKind(t, "cleo with the freed account", err, nil)
}

func TestEnrolment(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	_, err := w.r.Enrol(ctx, admin, why, "nobody", 0)
	wantKind(t, "nobody", err, authz.ErrNotFound)
	for _, ttl := range []time.Duration{time.Second, 8 * 24 * time.Hour, -time.Hour} {
		_, err = w.r.Enrol(ctx, admin, why, "anna", ttl)
		wantKind(t, fmt.Sprint("ttl ", ttl), err, authz.ErrInvalid)
	}
	first, err := w.r.Enrol(ctx, admin, why, "anna", time.Hour)
	wantKind(t, "Enrol", err, nil)
	for _, e := range w.entries {
		if strings.Contains(string(e.Body), first.Token) {
			t.Error("the log holds the token")
		}
	}
	second, err := w.r.Enrol(ctx, admin, why, "anna", time.Hour)
	wantKind(t, "Enrol again", err, nil)
	for what, token := range map[string]string{"replaced": first.Token, "empty": "", "cut": second.Token[:20]} {
		if _, err := w.r.PendingEnrolment(token, w.at); err != people.ErrToken {
			t.Errorf("a %s token: %v, want ErrToken", what, err)
		}
		_, err := w.r.Register(ctx, token, passkey("a2V5LTI"))
		wantKind(t, "registering with a "+what+" token", err, people.ErrToken)
	}
	_, err = w.r.Register(ctx, second.Token, passkey("a2V5LTE"))
	wantKind(t, "a passkey that is registered", err, authz.ErrConflict)
	for what, k := range map[string]people.Passkey{
		"no base64url": passkey("***"), "no id": passkey(""), "no title": {ID: "YQ", Record: json.RawMessage(`1`)},
		"no record": {ID: "YQ", Title: "x"}, "a turning title": {ID: "YQ", Title: "\u202ex", Record: json.RawMessage(`1`)},
		"a large record": {ID: "YQ", Title: "x", Record: json.RawMessage(`"` + strings.Repeat("x", 17<<10) + `"`)},
	} {
		_, err = w.r.Register(ctx, second.Token, k)
		wantKind(t, "a passkey with "+what, err, authz.ErrInvalid)
	}
	if p, err := w.r.PendingEnrolment(second.Token, w.at); err != nil || p.ID != "anna" {
		t.Errorf("the token after refusals: %v, %v", p, err)
	}
	p, err := w.r.Register(ctx, second.Token, passkey("a2V5LTI"))
	wantKind(t, "Register", err, nil)
	if len(p.Passkeys) != 2 || !p.Passkeys[1].CreatedAt.Equal(w.at) {
		t.Errorf("passkeys = %+v", p.Passkeys)
	}
	_, err = w.r.Register(ctx, second.Token, passkey("a2V5LTM"))
	wantKind(t, "the token again", err, people.ErrToken)

	late, err := w.r.Enrol(ctx, admin, why, "anna", time.Hour)
	wantKind(t, "Enrol", err, nil)
	w.at = w.at.Add(time.Hour)
	_, err = w.r.Register(ctx, late.Token, passkey("a2V5LTQ"))
	wantKind(t, "an expired token", err, people.ErrToken)

	for i := 2; i < people.MaxPasskeys; i++ {
		w.enrol("anna", "bW9yZS"+"AEIMQUYcgk"[i:i+1])
	}
	full, err := w.r.Enrol(ctx, admin, why, "anna", 0)
	wantKind(t, "Enrol", err, nil)
	_, err = w.r.Register(ctx, full.Token, passkey("b25lLW1vcmU"))
	wantKind(t, "one passkey too many", err, authz.ErrConflict)
}

func TestRevokePasskey(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token := w.signIn("c1")
	_, err := w.r.RevokePasskey(ctx, admin, why, "anna", "b3RoZXI")
	wantKind(t, "an unknown passkey", err, authz.ErrNotFound)
	p, err := w.r.RevokePasskey(ctx, admin, why, "anna", "a2V5LTE")
	wantKind(t, "RevokePasskey", err, nil)
	if p.Passkeys[0].Active() {
		t.Error("the passkey is active")
	}
	_, err = w.r.Authenticate(token)
	wantKind(t, "a session of the passkey", err, authz.ErrUnauthenticated)
	_, err = w.r.Holder("a2V5LTE")
	wantKind(t, "Holder", err, authz.ErrUnauthenticated)
	_, _, err = w.r.SignIn(ctx, people.Login{Person: "anna", Challenge: "c2", Passkey: "a2V5LTE"})
	wantKind(t, "signing in", err, authz.ErrUnauthenticated)
	n := len(w.entries)
	_, err = w.r.RevokePasskey(ctx, admin, why, "anna", "a2V5LTE")
	wantKind(t, "again", err, nil)
	if len(w.entries) != n {
		t.Error("revoking twice is recorded twice")
	}
	// Neither its holder nor anybody else registers it again.
	wantKind(t, "ben", put(w, "ben"), nil)
	for _, id := range []string{"anna", "ben"} {
		e, err := w.r.Enrol(ctx, admin, why, id, 0)
		wantKind(t, "Enrol", err, nil)
		_, err = w.r.Register(ctx, e.Token, passkey("a2V5LTE"))
		wantKind(t, "registering a revoked passkey", err, authz.ErrConflict)
	}
}

func put(w *world, id string) error {
	_, err := w.r.Put(w.Context(), admin, why, people.Profile{ID: id, Name: id}, 0)
	return err
}

func TestDisable(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token := w.signIn("c1")
	link, err := w.r.Enrol(ctx, admin, why, "anna", 0)
	wantKind(t, "Enrol", err, nil)
	p := w.person().Profile()
	p.Disabled = true
	_, err = w.r.Put(ctx, admin, why, p, w.person().AsOf)
	wantKind(t, "disabling", err, nil)
	_, err = w.r.Authenticate(token)
	wantKind(t, "the session", err, authz.ErrUnauthenticated)
	_, err = w.r.PendingEnrolment(link.Token, w.at)
	wantKind(t, "the link", err, people.ErrToken)
	_, err = w.r.Holder("a2V5LTE")
	wantKind(t, "the passkey", err, authz.ErrUnauthenticated)
	_, _, err = w.r.SignIn(ctx, people.Login{Person: "anna", Challenge: "c2", Passkey: "a2V5LTE"})
	wantKind(t, "signing in", err, authz.ErrUnauthenticated)
	_, err = w.r.Enrol(ctx, admin, why, "anna", 0)
	wantKind(t, "another link", err, authz.ErrConflict)
	// Let in again, with the passkey; the old session and the old link stay ended.
	p.Disabled = false
	_, err = w.r.Put(ctx, admin, why, p, w.person().AsOf)
	wantKind(t, "enabling", err, nil)
	_, err = w.r.Authenticate(token)
	wantKind(t, "the old session", err, authz.ErrUnauthenticated)
	_, err = w.r.PendingEnrolment(link.Token, w.at)
	wantKind(t, "the old link", err, people.ErrToken)
	w.signIn("c3")
}

func TestSessions(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token := w.signIn("c1")
	for _, e := range w.entries {
		if strings.Contains(string(e.Body), token) || strings.Contains(string(e.Body), `"c1"`) {
			t.Error("the log holds a session's token, or a challenge")
		}
	}
	for _, wrong := range []string{"", token + "x", token[1:], strings.ToUpper(token)} {
		_, err := w.r.Authenticate(wrong)
		wantKind(t, "a wrong token", err, authz.ErrUnauthenticated)
	}
	_, _, err := w.r.SignIn(ctx, people.Login{Person: "anna", Challenge: "c1", Passkey: "a2V5LTE"})
	wantKind(t, "the same challenge", err, authz.ErrConflict)
	for what, l := range map[string]people.Login{
		"nobody":                 {Person: "nobody", Challenge: "d", Passkey: "a2V5LTE"},
		"another's passkey":      {Person: "anna", Challenge: "d", Passkey: "YQ"},
		"an account she has not": {Person: "anna", Challenge: "d", Issuer: "https://idp.example", Subject: "s"},
		"nothing":                {Person: "anna", Challenge: "d"},
	} {
		if _, _, err := w.r.SignIn(ctx, l); err == nil {
			t.Errorf("signing in with %s: no error", what)
		}
	}
	other := w.signIn("c2")
	wantKind(t, "SignOut", w.r.SignOut(ctx, token), nil)
	wantKind(t, "SignOut again", w.r.SignOut(ctx, token), nil)
	_, err = w.r.Authenticate(token)
	wantKind(t, "signed out", err, authz.ErrUnauthenticated)
	if s, err := w.r.Authenticate(other); err != nil || !s.ExpiresAt.Equal(w.at.Add(people.DefaultSession)) {
		t.Errorf("the other session: %+v, %v", s, err)
	}
	_, err = w.r.EndSessions(ctx, admin, why, "anna")
	wantKind(t, "EndSessions", err, nil)
	_, err = w.r.Authenticate(other)
	wantKind(t, "ended", err, authz.ErrUnauthenticated)

	// A session ends in time, and the eleventh ends the first.
	token = w.signIn("c3")
	w.at = w.at.Add(people.DefaultSession)
	_, err = w.r.Authenticate(token)
	wantKind(t, "a session that is over", err, authz.ErrUnauthenticated)
	first := w.signIn("d0")
	for i := range people.MaxSessions - 1 {
		w.signIn(fmt.Sprint("e", i))
	}
	_, err = w.r.Authenticate(first)
	wantKind(t, "the tenth oldest", err, nil)
	w.signIn("f")
	_, err = w.r.Authenticate(first)
	wantKind(t, "the eleventh oldest", err, authz.ErrUnauthenticated)
	if n := len(w.r.Sessions("anna", w.at)); n != people.MaxSessions {
		t.Errorf("%d sessions, want %d", n, people.MaxSessions)
	}
	// Neither is the log filled by one who signs in all the time.
	for i := range 100 {
		if _, _, err = w.r.SignIn(ctx, people.Login{Person: "anna", Challenge: fmt.Sprint("g", i), Passkey: "a2V5LTE"}); err != nil {
			break
		}
	}
	wantKind(t, "signing in a hundred times", err, authz.ErrForbidden)
	w.at = w.at.Add(16 * time.Minute)
	w.signIn("h")
}

// A signature counter that does not grow says that there are two of a passkey (WebAuthn, 6.1.1).
func TestCounter(t *testing.T) {
	w := newWorld(t)
	e, err := w.r.Enrol(t.Context(), admin, why, "anna", 0)
	wantKind(t, "Enrol", err, nil)
	k := passkey("Y291bnRz")
	k.Count = 5
	_, err = w.r.Register(t.Context(), e.Token, k)
	wantKind(t, "Register", err, nil)
	for i, c := range []struct {
		count int64
		want  error
	}{{6, nil}, {6, authz.ErrConflict}, {5, authz.ErrConflict}, {0, authz.ErrConflict}, {9, nil}, {8, authz.ErrConflict}, {-1, authz.ErrInvalid}, {1 << 32, authz.ErrInvalid}} {
		_, _, err := w.r.SignIn(t.Context(), people.Login{Person: "anna", Challenge: fmt.Sprint(i), Passkey: "Y291bnRz", Count: c.count})
		wantKind(t, fmt.Sprintf("the counter %d", c.count), err, c.want)
	}
	w.signIn("none") // one that has no counter
}

// A process that starts knows what the others know, from the tables alone.
func TestLoad(t *testing.T) {
	db := storetest.Open(t)
	w := &world{T: t, tape: newTape()}
	w.r = w.registry(t, db)
	wantKind(t, "anna", put(w, "anna"), nil)
	w.enrol("anna", "a2V5LTE")
	token := w.signIn("c1")
	link, err := w.r.Enrol(t.Context(), admin, why, "anna", 0)
	wantKind(t, "Enrol", err, nil)
	again := w.registry(t, db)
	if diff := cmp.Diff(w.r.Accounts(), again.Accounts(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("loaded (-kept +loaded):\n%s", diff)
	}
	if s, err := again.Authenticate(token); err != nil || s.Person.ID != "anna" {
		t.Errorf("Authenticate = %v, %v", s, err)
	}
	if p, err := again.PendingEnrolment(link.Token, w.at); err != nil || p.ID != "anna" {
		t.Errorf("PendingEnrolment = %v, %v", p, err)
	}
	if p, err := again.Holder("a2V5LTE"); err != nil || p.ID != "anna" {
		t.Errorf("Holder = %v, %v", p, err)
	}
}

func TestReachable(t *testing.T) {
	for in, want := range map[string]string{
		"https://sc.example.com":     "https://sc.example.com",
		"https://sc.example.com/x/":  "https://sc.example.com/x",
		"http://127.0.0.1:8180":      "http://localhost:8180",
		"http://[::1]:8180/base":     "http://localhost:8180/base",
		"https://192.0.2.7":          "https://192.0.2.7",
		"http://localhost:8180":      "http://localhost:8180",
		"http://127.0.0.1.nip.io:80": "http://127.0.0.1.nip.io:80",
	} {
		if got := people.Reachable(in); got != want {
			t.Errorf("Reachable(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := people.EnrolmentURL("http://127.0.0.1:8180", "t"), "http://localhost:8180/enrol#t"; got != want {
		t.Errorf("EnrolmentURL = %q, want %q", got, want)
	}
}
