package people_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// What a person may do is what an administrator said and what the identity provider gives for a session; without a word it is to answer.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	put := func(roles ...people.Role) error {
		p, err := w.r.Person("anna")
		if err != nil {
			t.Fatal(err)
		}
		prof := p.Profile()
		prof.Roles = roles
		_, err = w.r.Put(t.Context(), admin, why, prof, p.AsOf)
		return err
	}
	same := func(what string, got, want []people.Role) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	p, _ := w.r.Person("anna")
	same("without a word", p.Granted(), []people.Role{people.Approver})
	wantKind(t, "two roles", put(people.Operator, people.Auditor), nil)
	p, _ = w.r.Person("anna")
	same("two roles", p.Granted(), []people.Role{people.Operator, people.Auditor})
	for _, bad := range [][]people.Role{{"king"}, {""}, {"pep"}, {"edge"}, {people.Viewer, people.Viewer}} {
		wantKind(t, "bad roles", put(bad...), authz.ErrInvalid)
	}

	prof := p.Profile()
	prof.Issuer, prof.Subject = "https://idp.example", "s-1"
	if _, err := w.r.Put(t.Context(), admin, why, prof, p.AsOf); err != nil {
		t.Fatal(err)
	}
	login := people.Login{Person: "anna", Challenge: "nonce", Issuer: prof.Issuer, Subject: prof.Subject, Roles: []people.Role{people.Author, people.Operator}}
	token, s, err := w.r.SignIn(t.Context(), login)
	wantKind(t, "SignIn", err, nil)
	same("of a session", s.Roles, []people.Role{people.Operator, people.Auditor, people.Author})
	wantKind(t, "an empty list of roles", put(), nil)
	s, err = w.r.Authenticate(token)
	wantKind(t, "Authenticate", err, nil)
	same("after they were taken away", s.Roles, []people.Role{people.Approver, people.Author, people.Operator})
	login.Challenge, login.Roles = "nonce-2", []people.Role{"king"}
	_, _, err = w.r.SignIn(t.Context(), login)
	wantKind(t, "a provider that gives what there is not", err, authz.ErrInvalid)
}

// Nobody administers themselves.
func TestNotSelf(t *testing.T) {
	w := newWorld(t)
	p, _ := w.r.Person("anna")
	n := len(w.entries)
	prof := p.Profile()
	prof.Roles = []people.Role{people.Administrator}
	_, err := w.r.Put(t.Context(), p.Actor(), why, prof, p.AsOf)
	wantKind(t, "changing oneself", err, authz.ErrForbidden)
	_, err = w.r.Enrol(t.Context(), p.Actor(), why, "anna", 0)
	wantKind(t, "a passkey for oneself", err, authz.ErrForbidden)
	_, err = w.r.MakeLink(t.Context(), p.Actor(), why, "anna", 0)
	wantKind(t, "a link for oneself", err, authz.ErrForbidden)
	if len(w.entries) != n {
		t.Errorf("%d entries of what was refused", len(w.entries)-n)
	}
}

// A link begins one session, however many use it at once, in every replica alike, and a process that starts later knows what became of it.
func TestLinkOnce(t *testing.T) {
	l, db := newTape(), storetest.Open(t)
	one, two := l.registry(t, db), l.registry(t, db)
	if _, err := one.Put(t.Context(), admin, why, anna(), 0); err != nil {
		t.Fatal(err)
	}
	link, err := two.MakeLink(t.Context(), admin, why, "anna", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	begun := 0
	for i := range 8 {
		wg.Go(func() {
			token, s, err := []*people.Registry{one, two}[i%2].SignInByLink(t.Context(), link.Token)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && token != "" && s.Method == people.ByLink {
				begun++
			} else if err == nil {
				t.Errorf("SignInByLink = %q, %+v", token, s)
			}
		})
	}
	wg.Wait()
	if begun != 1 || len(one.Sessions("anna", l.at)) != 1 || len(two.Sessions("anna", l.at)) != 1 {
		t.Errorf("%d sessions began; the replicas know %d and %d", begun, len(one.Sessions("anna", l.at)), len(two.Sessions("anna", l.at)))
	}
	later := newTape()
	later.at = l.at
	three := later.registry(t, db)
	if _, err := three.PendingLink(link.Token, l.at); err == nil {
		t.Error("a process that starts later takes the link again")
	}
	for _, ttl := range []time.Duration{time.Second, people.MaxLink + time.Second, -time.Minute} {
		_, err := one.MakeLink(t.Context(), admin, why, "anna", ttl)
		wantKind(t, "MakeLink for "+ttl.String(), err, authz.ErrInvalid)
	}
}

// How many persons have a role is known at any time, without looking at each.
func TestRanked(t *testing.T) {
	w := newWorld(t)
	put := func(id string, disabled bool, want int, roles ...people.Role) {
		t.Helper()
		prof, asOf := people.Profile{ID: id, Name: id}, int64(0)
		if p, err := w.r.Person(id); err == nil {
			prof, asOf = p.Profile(), p.AsOf
		}
		prof.Roles, prof.Disabled = roles, disabled
		_, err := w.r.Put(t.Context(), admin, why, prof, asOf)
		wantKind(t, "Put", err, nil)
		if got := w.r.Ranked(); got != want {
			t.Errorf("after %s has %v, disabled %v, %d persons have a role, want %d", id, roles, disabled, got, want)
		}
	}
	put("anna", false, 1, people.Viewer)
	put("ben", false, 2, people.Operator, people.Auditor)
	put("ben", false, 2, people.Author)
	put("anna", true, 1, people.Viewer)
	put("ben", false, 0)
	put("anna", false, 1, people.Viewer)
	for id, want := range map[string]bool{"anna": false, "ben": true} {
		if p, _ := w.r.Person(id); p.Answers() != want {
			t.Errorf("%s may answer: %v, want %v", id, !want, want)
		}
	}
}
