package people_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/people"
)

const idp = "https://idp.example"

func account(subject, email string) people.Profile {
	return people.Profile{Name: "Anna", Issuer: idp, Subject: subject, Email: email}
}

// Whom the identity provider brings does not become another person beside one whom an administrator put:
// anna would be two who agree.
func TestProvision(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	made, err := w.r.Provision(ctx, account("s-1", ""), []string{"cleo@example.com"})
	wantKind(t, "Provision", err, nil)
	if made == nil || !strings.HasPrefix(made.ID, "sso-") || len(made.Claims) > 0 {
		t.Fatalf("provisioned %+v", made)
	}
	again, err := w.r.Provision(ctx, account("s-1", ""), []string{"cleo@example.com"})
	if err != nil || again.ID != made.ID {
		t.Errorf("Provision again = %+v, %v, want %s", again, err, made.ID)
	}
	refused := func(what string) {
		t.Helper()
		before := len(w.r.People())
		for _, c := range []struct {
			name, email string
			names       []string
		}{
			{"the e-mail address", "anna@example.com", nil},
			{"the e-mail address in another case", "ANNA@Example.com", nil},
			{"the e-mail address, not verified", "", []string{"x", "Anna@example.com"}},
			{"her id", "", []string{"Anna"}},
			{"a name of another one whom it brought", "", []string{"cleo@example.com"}},
		} {
			_, err := w.r.Provision(ctx, account("s-2", c.email), c.names)
			wantKind(t, what+" by "+c.name, err, authz.ErrForbidden)
			if err != nil && (!strings.Contains(err.Error(), `person put ID --issuer https://idp.example --subject "s-2"`) || strings.Contains(err.Error(), made.ID)) {
				t.Errorf("%s by %s: %v, want what to do, and nobody's id", what, c.name, err)
			}
		}
		if n := len(w.r.People()); n != before {
			t.Errorf("%s: %d persons, want %d", what, n, before)
		}
	}
	refused("anna")
	p := w.person().Profile()
	p.Disabled = true
	_, err = w.r.Put(ctx, admin, why, p, w.person().AsOf)
	wantKind(t, "disabling", err, nil)
	refused("anna, disabled")
	p.Disabled, p.Issuer, p.Subject = false, idp, "s-2"
	_, err = w.r.Put(ctx, admin, why, p, w.person().AsOf)
	wantKind(t, "linking", err, nil)
	if p, err := w.r.Provision(ctx, account("s-2", "anna@example.com"), []string{"anna@example.com"}); err != nil || p.ID != "anna" {
		t.Errorf("Provision of a linked account = %+v, %v, want anna", p, err)
	}
	for what, names := range map[string][]string{"too many names": make([]string, people.MaxNames+1), "a long name": {strings.Repeat("x", 257)}, "a turning name": {"\u202ex"}, "an empty name": {""}} {
		_, err := w.r.Provision(ctx, account("s-3", ""), names)
		wantKind(t, what, err, authz.ErrInvalid)
	}
}

// Nor does an administrator make another person beside one whom the identity provider brought; whoever is
// known by somebody else's name all the same does not sign in.
func TestProvisionedFirst(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	made, err := w.r.Provision(ctx, account("s-1", ""), []string{"ben@example.com", "ben"})
	wantKind(t, "Provision", err, nil)
	in := func(challenge string, names ...string) error {
		_, _, err := w.r.SignIn(ctx, people.Login{Person: made.ID, Challenge: challenge, Issuer: idp, Subject: "s-1", Names: names})
		return err
	}
	wantKind(t, "signing in", in("c1", "ben@example.com"), nil)
	ben := people.Profile{ID: "ben", Name: "Ben", Email: "Ben@example.com"}
	_, err = w.r.Put(ctx, admin, why, ben, 0)
	wantKind(t, "ben with that address", err, authz.ErrConflict)
	changed := w.person().Profile()
	changed.Email = "ben@example.com"
	_, err = w.r.Put(ctx, admin, why, changed, w.person().AsOf)
	wantKind(t, "anna with that address", err, authz.ErrConflict)
	taken := made.Profile()
	taken.Email = "anna@example.com"
	_, err = w.r.Put(ctx, admin, why, taken, made.AsOf)
	wantKind(t, "whom it brought with anna's address", err, authz.ErrConflict)
	wantKind(t, "signing in by anna's address", in("c2", "anna@example.com"), authz.ErrForbidden)
	if p, err := w.r.Person(made.ID); err != nil || cmp.Diff([]string{"ben@example.com", "ben"}, p.Known()) != "" {
		t.Errorf("Known = %q, %v", p.Known(), err)
	}

	// With his id only: he is refused when he comes next.
	ben.Email = ""
	_, err = w.r.Put(ctx, admin, why, ben, 0)
	wantKind(t, "ben without an address", err, nil)
	wantKind(t, "signing in beside ben", in("c3"), authz.ErrForbidden)
	// An administrator makes one of the two.
	taken = made.Profile()
	taken.Issuer, taken.Subject = "", ""
	gone, err := w.r.Put(ctx, admin, why, taken, made.AsOf)
	wantKind(t, "taking the account away", err, nil)
	if len(gone.Known()) > 0 {
		t.Errorf("Known of nobody = %q", gone.Known())
	}
	one, err := w.r.Person("ben")
	wantKind(t, "Person", err, nil)
	ben.Email, ben.Issuer, ben.Subject = "ben@example.com", idp, "s-1"
	_, err = w.r.Put(ctx, admin, why, ben, one.AsOf)
	wantKind(t, "linking", err, nil)
	_, s, err := w.r.SignIn(ctx, people.Login{Person: "ben", Challenge: "c4", Issuer: idp, Subject: "s-1", Names: []string{"ben@example.com", "b.ito"}})
	wantKind(t, "signing in as ben", err, nil)
	if diff := cmp.Diff([]string{"ben@example.com", "ben@example.com", "b.ito"}, s.Person.Known()); diff != "" || len(s.Claims) > 0 {
		t.Errorf("known by (-want +got):\n%s\nclaims %v, want none", diff, s.Claims)
	}
	// Persons whom administrators put may share a mailbox.
	_, err = w.r.Put(ctx, admin, why, people.Profile{ID: "cleo", Name: "Cleo", Email: "anna@example.com"}, 0)
	wantKind(t, "cleo with anna's mailbox", err, nil)
}

// The names of earlier sign-ins are not forgotten at once, and there is an end to them.
func TestNames(t *testing.T) {
	w := newWorld(t)
	p := w.person().Profile()
	p.Issuer, p.Subject = idp, "s-1"
	_, err := w.r.Put(t.Context(), admin, why, p, w.person().AsOf)
	wantKind(t, "linking", err, nil)
	for i := range 40 {
		_, _, err := w.r.SignIn(t.Context(), people.Login{Person: "anna", Challenge: string(rune('A' + i)), Issuer: idp, Subject: "s-1", Names: []string{"old", "Name" + string(rune('A'+i))}})
		wantKind(t, "SignIn", err, nil)
	}
	known := w.person().Known()
	if len(known) != 33 || known[1] != "old" || known[2] != "Nameh" || known[32] != "NameJ" {
		t.Errorf("known by %q: want the address and the 32 newest names", known)
	}
	w.signIn("by passkey")
	if diff := cmp.Diff(known, w.person().Known()); diff != "" {
		t.Errorf("after signing in by passkey (-before +after):\n%s", diff)
	}
	_, _, err = w.r.SignIn(t.Context(), people.Login{Person: "anna", Challenge: "x", Issuer: idp, Subject: "s-1", Names: make([]string, 17)})
	wantKind(t, "17 names", err, authz.ErrInvalid)
}
