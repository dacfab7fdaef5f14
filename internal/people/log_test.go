package people_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A shelf keeps accounts in memory, as the tables do.
type shelf struct {
	mu   sync.Mutex
	rows map[string]people.Account
}

func (s *shelf) Accounts(context.Context) (all []people.Account, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.rows {
		all = append(all, clone(a))
	}
	return all, nil
}

func (s *shelf) PutAccount(_ context.Context, a people.Account) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.rows[a.Person.ID]; !ok || have.AsOf < a.AsOf {
		s.rows[a.Person.ID] = clone(a)
	}
	return nil
}

// clone copies an account as a database does: by its text.
func clone(a people.Account) (out people.Account) {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}

// drafts draws entries about a few persons who share a few passkeys, accounts, links and sessions: most
// of them are refused.
func drafts(t *rapid.T) audit.Entry {
	person := rapid.SampledFrom([]string{"anna", "ben", "cleo", "sso-1", "sso-2"}).Draw(t, "person")
	name := func(label string) string {
		return rapid.SampledFrom([]string{"", "", "a@example.com", "A@example.com", "b@example.com", "cleo"}).Draw(t, label)
	}
	hash := func(label string) string {
		return fmt.Sprintf("%064x", rapid.IntRange(1, 6).Draw(t, label))
	}
	body := map[string]any{"person": person, "why": "test"}
	var kind audit.Kind
	switch rapid.IntRange(0, 7).Draw(t, "what") {
	case 0, 1:
		kind = audit.PersonPut
		body = map[string]any{"id": person, "name": person, "why": "test", "if_as_of": rapid.Int64Range(0, 12).Draw(t, "as of")}
		if rapid.Bool().Draw(t, "account") {
			body["issuer"], body["subject"] = "https://idp.example", rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "subject")
		}
		if email := name("address"); strings.Contains(email, "@") {
			body["email"] = email
		}
		if n := name("name"); n != "" {
			body["names"] = []string{n}
		}
		body["disabled"] = rapid.IntRange(0, 5).Draw(t, "disabled") == 0
	case 2:
		kind = audit.PersonEnrolment
		body["hash"], body["ttl_seconds"] = hash("link"), rapid.SampledFrom([]int{60, 3600}).Draw(t, "ttl")
	case 3, 4:
		kind = audit.PasskeyPut
		body["op"], body["id"] = rapid.SampledFrom([]string{"register", "register", "revoke"}).Draw(t, "op"), rapid.SampledFrom([]string{"YQ", "Yg", "Yw"}).Draw(t, "key")
		body["title"], body["record"], body["enrolment"], body["count"] = "key", map[string]int{}, hash("link"), rapid.IntRange(0, 2).Draw(t, "count")
	default:
		kind = audit.SessionPut
		body["op"] = rapid.SampledFrom([]string{"in", "in", "in", "out", "out_all"}).Draw(t, "op")
		body["hash"], body["challenge"], body["ttl_seconds"] = hash("session"), hash("challenge"), rapid.SampledFrom([]int{60, 3600}).Draw(t, "ttl")
		if rapid.Bool().Draw(t, "by passkey") {
			body["method"], body["passkey"], body["count"] = "passkey", rapid.SampledFrom([]string{"YQ", "Yg", "Yw"}).Draw(t, "key"), rapid.IntRange(0, 4).Draw(t, "count")
		} else {
			body["method"], body["issuer"], body["subject"] = "oidc", "https://idp.example", rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "subject")
			if n := name("name"); n != "" {
				body["names"] = []string{n}
			}
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Entry{Kind: kind, Actor: "admin:root", Body: text}
}

// apply applies an entry. Whatever is wrong with one, the error is a verdict: on every other error a follower
// tries the entry again, and nothing that comes after it takes effect.
func apply(t interface {
	Helper()
	Fatalf(string, ...any)
}, r *people.Registry, e audit.Entry) error {
	t.Helper()
	err := r.Apply(context.Background(), e)
	if err == nil {
		return nil
	}
	for _, kind := range []error{authz.ErrInvalid, authz.ErrNotFound, authz.ErrConflict, authz.ErrForbidden, authz.ErrUnauthenticated} {
		if errors.Is(err, kind) {
			return err
		}
	}
	t.Fatalf("entry %d holds everything up: %s %s: %v", e.Seq, e.Kind, e.Body, err)
	return err
}

// Whatever the log says, every replica concludes the same: one that shares the tables with another, one
// that starts late, from whatever cursor, and one that begins at the beginning. And of what belongs to one
// person, two never have the same.
func TestReplicas(t *testing.T) {
	took := 0
	rapid.Check(t, func(t *rapid.T) {
		shared, alone := &shelf{rows: map[string]people.Account{}}, &shelf{rows: map[string]people.Account{}}
		start := func(s people.Store) *people.Registry {
			r := people.NewRegistry(people.Config{Store: s})
			if err := r.Load(context.Background()); err != nil {
				t.Fatal(err)
			}
			return r
		}
		a, b, c := start(shared), start(shared), start(alone)
		at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
		var log []audit.Entry
		for range rapid.IntRange(1, 40).Draw(t, "entries") {
			e := drafts(t)
			at = at.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 61, 1000}).Draw(t, "pause")) * time.Second)
			e.Seq, e.At = int64(len(log)+1), at
			log = append(log, e)
			before := a.Accounts()
			verdict := apply(t, a, e)
			if verdict == nil {
				took++
				unshared(t, a, e)
			} else if diff := cmp.Diff(before, a.Accounts()); diff != "" {
				t.Fatalf("entry %d is refused, %v, and changes something (-before +after):\n%s", e.Seq, verdict, diff)
			}
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 { // b dies, and another process reads from some entry on
				b = start(shared)
				for _, old := range log[rapid.IntRange(0, len(log)).Draw(t, "cursor"):] {
					apply(t, b, old)
				}
			} else if err := apply(t, b, e); verdict == nil && err != nil {
				t.Fatalf("entry %d: one replica says %v, another %v", e.Seq, verdict, err)
			}
			if err := apply(t, c, e); fmt.Sprint(err) != fmt.Sprint(verdict) {
				t.Fatalf("entry %d: one replica says %v, another %v", e.Seq, verdict, err)
			}
			again := a.Accounts()
			apply(t, a, e)
			if diff := cmp.Diff(again, a.Accounts()); diff != "" {
				t.Fatalf("entry %d again (-before +after):\n%s", e.Seq, diff)
			}
		}
		for what, r := range map[string]*people.Registry{"sharing": b, "alone": c, "loaded": start(shared)} {
			if diff := cmp.Diff(a.Accounts(), r.Accounts(), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("the replica that is %s differs (-first +it):\n%s", what, diff)
			}
		}
		owned := map[string]string{}
		own := func(what, id, person string) {
			if other, ok := owned[what+id]; ok {
				t.Fatalf("%s %s belongs to %s and %s", what, id, other, person)
			}
			owned[what+id] = person
		}
		links, sessions := 0, 0
		for _, acc := range a.Accounts() {
			p := acc.Person
			for _, k := range p.Passkeys {
				own("passkey", k.ID, p.ID)
			}
			if p.Subject != "" {
				own("account", p.Subject, p.ID)
			}
			if acc.Enrolment != nil {
				own("link", acc.Enrolment.Hash, p.ID)
				links++
			}
			for _, s := range acc.Sessions {
				own("session", s.Hash, p.ID)
				sessions++
			}
			if p.Disabled && (acc.Enrolment != nil || len(acc.Sessions) > 0) {
				t.Fatalf("%s is disabled, and has a link or a session", p.ID)
			}
		}
		if l, s := a.Indexed(); l != links || s != sessions {
			t.Fatalf("%d links and %d sessions are found, there are %d and %d", l, s, links, sessions)
		}
	})
	if took == 0 && !testing.Short() {
		t.Error("no entry took effect")
	}
}

// unshared checks after an entry that took effect that whom no administrator put does not sign in, or come into
// being, beside somebody else of the same name.
func unshared(t *rapid.T, r *people.Registry, e audit.Entry) {
	t.Helper()
	var body struct {
		ID, Person, Op string
		IfAsOf         int64 `json:"if_as_of"`
	}
	if err := json.Unmarshal(e.Body, &body); err != nil {
		t.Fatal(err)
	}
	id := body.Person
	if e.Kind == audit.PersonPut && body.IfAsOf == 0 {
		id = body.ID
	} else if body.Op != "in" {
		return
	}
	p, err := r.Person(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range r.People() {
		for _, name := range append(q.Known(), q.ID) {
			if same := func(n string) bool { return strings.EqualFold(n, name) }; strings.HasPrefix(id, "sso-") && q.ID != id && slices.ContainsFunc(p.Known(), same) {
				t.Fatalf("entry %d: %s and %s are both known as %q", e.Seq, id, q.ID, name)
			}
		}
	}
}

// commits hands drafts to a follower that is made later, because it needs the registry first.
type commits struct{ *audit.Follower }

// onTheLog returns two replicas on one database, with a log and a follower each.
func onTheLog(t *testing.T) (rs [2]*people.Registry, logs [2]*commits) {
	t.Helper()
	db := storetest.Open(t)
	key, err := audit.NewKey(rnd{}, "people.example")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	for i := range rs {
		l, err := audit.New(db, audit.Config{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		c := &commits{}
		logs[i] = c
		rs[i] = people.NewRegistry(people.Config{Store: db, Log: c})
		wantKind(t, "Load", rs[i].Load(ctx), nil)
		c.Follower = audit.NewFollower(l, audit.FollowerConfig{Appliers: []audit.Applier{rs[i]}})
		for _, run := range []func(context.Context) error{l.Run, c.Run} {
			running.Go(func() {
				if err := run(ctx); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
	}
	return rs, logs
}

// Of those who use one link at the same time, on two replicas, one registers a passkey; of those who
// sign in with one proof, one does.
func TestRaces(t *testing.T) {
	ctx := t.Context()
	rs, _ := onTheLog(t)
	_, err := rs[0].Put(ctx, admin, why, anna(), 0)
	wantKind(t, "Put", err, nil)
	e, err := rs[1].Enrol(ctx, admin, why, "anna", 0)
	for errors.Is(err, authz.ErrNotFound) { // until the other replica has read the entry
		e, err = rs[1].Enrol(ctx, admin, why, "anna", 0)
	}
	wantKind(t, "Enrol", err, nil)
	won := race(rs, func(r *people.Registry, i int) error {
		_, err := r.Register(ctx, e.Token, passkey(fmt.Sprintf("a2V5%c", "AEIMQUYc"[i])+"A"))
		for errors.Is(err, people.ErrToken) { // not read yet, or used: the second is true in the end
			if p, perr := r.Person("anna"); perr == nil && len(p.Passkeys) > 0 {
				break
			}
			_, err = r.Register(ctx, e.Token, passkey(fmt.Sprintf("a2V5%c", "AEIMQUYc"[i])+"A"))
		}
		return err
	})
	if won != 1 {
		t.Fatalf("%d of 8 registered a passkey with one link, want 1", won)
	}
	p, err := rs[0].Person("anna")
	wantKind(t, "Person", err, nil)
	for len(p.Passkeys) == 0 {
		p, _ = rs[0].Person("anna")
	}
	for q, _ := rs[1].Person("anna"); q == nil || len(q.Passkeys) == 0; q, _ = rs[1].Person("anna") {
	}
	won = race(rs, func(r *people.Registry, _ int) error {
		_, _, err := r.SignIn(ctx, people.Login{Person: "anna", Challenge: "one", Passkey: p.Passkeys[0].ID})
		return err
	})
	if won != 1 {
		t.Errorf("%d of 8 signed in with one proof, want 1", won)
	}
}

func race(rs [2]*people.Registry, f func(*people.Registry, int) error) (won int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range 8 {
		wg.Go(func() {
			if f(rs[i%2], i) == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return won
}

// A replica that has not read yet that somebody was disabled, or has signed in a hundred times, records one
// sign-in more. It changes nothing, and what comes after it takes effect on every replica.
func TestLateSignIn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // so that what holds the log up is told
	defer cancel()
	rs, logs := onTheLog(t)
	n := 0
	signIn := func(person string) audit.Draft {
		n++
		return audit.Draft{Kind: audit.SessionPut, Actor: "person:" + person, Body: fmt.Appendf(nil,
			`{"person":%q,"op":"in","hash":"%064x","challenge":"%064x","method":"oidc","issuer":%q,"subject":%q,"ttl_seconds":3600,"why":"signed in"}`, person, n, n, idp, person)}
	}
	put := func(r *people.Registry, id string) *people.Person {
		t.Helper()
		p, err := r.Put(ctx, admin, why, people.Profile{ID: id, Name: id, Issuer: idp, Subject: id}, 0)
		if err != nil {
			t.Fatalf("Put(%s): %v", id, err)
		}
		return p
	}
	refused := func(what string, d audit.Draft, want error) {
		t.Helper()
		before := rs[0].Accounts()
		seq, err := logs[0].Commit(ctx, d)
		wantKind(t, what, err, want)
		if diff := cmp.Diff(before, rs[0].Accounts()); diff != "" {
			t.Errorf("%s changes something (-before +after):\n%s", what, diff)
		}
		last := put(rs[0], fmt.Sprint("after-", seq))
		if err := logs[1].Wait(ctx, last.AsOf); err != nil {
			t.Fatalf("%s holds the other replica up: %v", what, err)
		}
		if diff := cmp.Diff(rs[0].Accounts(), rs[1].Accounts(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("after %s the replicas differ (-first +second):\n%s", what, diff)
		}
	}
	off := put(rs[0], "anna")
	p := off.Profile()
	p.Disabled = true
	_, err := rs[0].Put(ctx, admin, why, p, off.AsOf)
	wantKind(t, "disabling", err, nil)
	refused("a sign-in of somebody who was disabled", signIn("anna"), authz.ErrUnauthenticated)

	put(rs[0], "ben")
	for range 100 {
		_, err := logs[0].Commit(ctx, signIn("ben"))
		wantKind(t, "one of a hundred sign-ins", err, nil)
	}
	refused("the 101st sign-in within 15 minutes", signIn("ben"), authz.ErrForbidden)
}

// rnd is a source of chance that is none.
type rnd struct{}

func (rnd) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

// Whatever a body says, an entry is refused or takes effect, and what is kept can be read again.
func FuzzApply(f *testing.F) {
	for _, s := range []struct{ kind, body string }{
		{"person.put", `{"id":"anna","name":"Anna","claims":{"a":["b"]},"why":"x"}`},
		{"person.enrolment", `{"person":"anna","hash":"` + fmt.Sprintf("%064x", 1) + `","ttl_seconds":60,"why":"x"}`},
		{"passkey.put", `{"person":"anna","op":"register","id":"YQ","title":"t","record":{},"enrolment":"` + fmt.Sprintf("%064x", 1) + `","why":"x"}`},
		{"session.put", `{"person":"anna","op":"in","hash":"` + fmt.Sprintf("%064x", 2) + `","challenge":"` + fmt.Sprintf("%064x", 3) + `","method":"passkey","passkey":"YQ","ttl_seconds":60,"why":"x"}`},
	} {
		f.Add(s.kind, []byte(s.body))
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		s := &shelf{rows: map[string]people.Account{}}
		r := people.NewRegistry(people.Config{Store: s})
		at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
		for i, e := range []audit.Entry{
			{Kind: audit.PersonPut, Body: []byte(`{"id":"anna","name":"Anna","why":"x"}`)},
			{Kind: audit.PersonEnrolment, Body: []byte(`{"person":"anna","hash":"` + fmt.Sprintf("%064x", 1) + `","ttl_seconds":60,"why":"x"}`)},
			{Kind: audit.Kind(kind), Body: body},
		} {
			e.Seq, e.At = int64(i+1), at
			if err := apply(t, r, e); err != nil && i < 2 {
				t.Errorf("entry %d: %v", i, err)
			}
		}
		again := people.NewRegistry(people.Config{Store: s})
		if err := again.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r.Accounts(), again.Accounts(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("kept (-memory +tables):\n%s", diff)
		}
	})
}
