package approval_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

func TestList(t *testing.T) {
	w := open(t, organisation)
	ask := func(agent, account string, routes ...string) *approval.Ask {
		t.Helper()
		req := payment()
		req.Subject.ID, req.Resource.ID = agent, account
		a, _, err := w.Ask(ctx, about(req, int64(len(w.log.entries)+1), routes...))
		wantKind(t, "Ask", err, nil)
		return a
	}
	names := map[string]string{}
	add := func(name string, a *approval.Ask) *approval.Ask { names[a.ID] = name; return a }
	one := add("one", ask("payer", "de1", "one"))
	two := add("two", ask("payer", "de2", "two"))
	safe := add("safe", ask("other", "de3", "safe"))
	key := add("key", ask("other", "de4", "key"))
	list := func(what string, f approval.Filter, want ...string) {
		t.Helper()
		if f.Limit == 0 {
			f.Limit = 100
		}
		all, err := w.List(ctx, f)
		wantKind(t, "List "+what, err, nil)
		got := []string{}
		for _, a := range all {
			got = append(got, names[a.ID])
		}
		if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	anna, dora, olga, carl := who("anna"), who("dora"), who("olga"), who("carl")
	list("all", approval.Filter{}, "key", "safe", "two", "one")
	list("two of them", approval.Filter{Limit: 2}, "key", "safe")
	list("the next", approval.Filter{After: safe.ID, Limit: 1}, "two")
	list("after the last", approval.Filter{After: one.ID})
	list("an agent's", approval.Filter{Agent: "payer"}, "two", "one")
	list("a session's", approval.Filter{Session: "s2"})
	list("anna's", approval.Filter{Person: &anna}, "key", "two", "one")
	list("dora's, who may break the glass", approval.Filter{Person: &dora}, "key", "safe", "one")
	list("those that wait for dora", approval.Filter{Person: &dora, Mine: true}, "safe")
	list("carl's", approval.Filter{Person: &carl})
	list("olga's, who may refuse", approval.Filter{Person: &olga, Mine: true}, "key", "safe", "two", "one")

	w.approve(one, anna)
	w.approve(two, anna)
	list("those that wait for anna", approval.Filter{Person: &anna, Mine: true}, "key", "two")
	list("anna's, also those that she has answered", approval.Filter{Person: &anna}, "key", "two", "one")
	list("pending ones", approval.Filter{Status: approval.Pending}, "key", "safe", "two")
	v, err := w.View(ctx, dora, key.ID)
	wantKind(t, "View", err, nil)
	_, err = w.BreakGlass(ctx, dora, key.ID, "now", approval.Reply{View: v.Seq, Evidence: json.RawMessage(`{}`)})
	wantKind(t, "BreakGlass", err, nil)
	emil := who("emil")
	list("to be reviewed", approval.Filter{Review: true}, "key")
	list("to be reviewed by dora", approval.Filter{Review: true, Person: &dora})
	list("to be reviewed by emil", approval.Filter{Review: true, Person: &emil}, "key")
	_, err = w.Review(ctx, emil, key.ID, true, "it burned")
	wantKind(t, "Review", err, nil)
	list("nothing is to be reviewed", approval.Filter{Review: true})
	w.log.pass(time.Hour)
	list("expired ones", approval.Filter{Status: approval.Expired}, "safe", "two")

	_, err = w.List(ctx, approval.Filter{})
	wantKind(t, "List without a limit", err, authz.ErrInvalid)
	_, err = w.List(ctx, approval.Filter{Limit: 1, After: "arq_x"})
	wantKind(t, "List after none", err, authz.ErrInvalid)

	wantKind(t, "Sweep", w.Sweep(ctx), nil)
	like, err := w.Similar(ctx, add("again", ask("payer", "de9", "one")), 10)
	wantKind(t, "Similar", err, nil)
	if len(like) != 2 || like[0].ID != two.ID || like[1].ID != one.ID || like[1].Status != approval.Approved {
		t.Errorf("Similar = %s, want two and one", text(like))
	}
	s := w.Stats(2 * time.Hour)
	got := []int64{s.Asks, s.Joined, s.Pending, s.Approved, s.Denied, s.Expired}
	if diff := cmp.Diff([]int64{5, 0, 1, 2, 0, 2}, got); diff != "" {
		t.Errorf("asks, joined, pending, approved, denied, expired (-want +got):\n%s", diff)
	}
	persons := []approval.PersonStats{{Person: "anna", Answers: 2, Yes: 2, MedianRead: 5 * time.Second}, {Person: "dora", Answers: 1, Yes: 1}}
	if diff := cmp.Diff(persons, s.Persons); diff != "" {
		t.Errorf("persons (-want +got):\n%s", diff)
	}
	if s.Median != 10*time.Second || s.P90 != 10*time.Second {
		t.Errorf("median %v, p90 %v, want 10 s", s.Median, s.P90)
	}
}

func TestStanding(t *testing.T) {
	w := open(t, organisation)
	is := func(what string, a *approval.Ask, p approval.Person, want approval.Standing) {
		t.Helper()
		got, err := w.Standing(ctx, a, p)
		wantKind(t, "Standing", err, nil)
		got.Why = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	quarter := approval.Scope{Until: start.Add(15 * time.Minute)}
	one := w.ask("one")
	is("anna", one, who("anna"), approval.Standing{Approve: true, Routes: []string{"one"}, Refuse: true, Most: quarter})
	is("olga, who owns the agent and is of security", one, who("olga"), approval.Standing{Routes: []string{}, Refuse: true})
	is("dora", one, who("dora"), approval.Standing{Routes: []string{}, BreakGlass: true})
	is("carl", one, who("carl"), approval.Standing{Routes: []string{}})
	wantKind(t, "PutAway", w.PutAway(ctx, "person:anna", approval.Away{Person: "anna", Deputy: "carl", Until: start.Add(time.Hour)}), nil)
	is("carl for anna", one, who("carl"), approval.Standing{Approve: true, Routes: []string{"one"}, Refuse: true, For: "anna", Most: quarter})
	is("by the passkey's route", w.ask("key"), who("ben"), approval.Standing{Approve: true, Routes: []string{"key"}, Refuse: true, Passkey: true, Most: quarter})
	is("far", w.ask("wide", "half"), who("ben"), approval.Standing{Approve: true, Routes: []string{"half", "wide"}, Refuse: true, Most: approval.Scope{
		Uses: 3, Class: true, Amounts: map[string]string{"amount": "500"}, Until: start.Add(2 * time.Hour),
	}})
	token := func(passkey bool) *approval.Ask {
		a := about(payment(), 0)
		a.Kind, a.Person, a.Passkey, a.ExpiresAt = approval.CIBA, "zoe", passkey, start.Add(2*time.Minute)
		made, _, err := w.Ask(ctx, a)
		wantKind(t, "Ask of kind ciba", err, nil)
		return made
	}
	is("who is asked for a token", token(false), who("zoe"), approval.Standing{Approve: true, Routes: []string{}, Refuse: true})
	is("who is asked for a token, with a passkey", token(true), who("zoe"), approval.Standing{Approve: true, Routes: []string{}, Refuse: true, Passkey: true})
	is("somebody else", token(true), who("anna"), approval.Standing{Routes: []string{}, Passkey: true})
	w.approve(one, who("ben"))
	ended, err := w.Get(ctx, one.ID)
	wantKind(t, "Get", err, nil)
	is("ended", ended, who("anna"), approval.Standing{Routes: []string{}})
}

func TestAway(t *testing.T) {
	w := open(t, organisation)
	until := start.Add(time.Hour)
	for what, a := range map[string]approval.Away{
		"nobody":          {Deputy: "ben", Until: until},
		"no deputy":       {Person: "anna", Until: until},
		"oneself":         {Person: "anna", Deputy: "anna", Until: until},
		"the past":        {Person: "anna", Deputy: "ben", Until: start},
		"for ever":        {Person: "anna", Deputy: "ben", Until: start.Add(approval.MaxAway + time.Second)},
		"too many claims": {Person: "anna", Deputy: "ben", Until: until, Claims: map[string][]string{"groups": make([]string, 257)}},
	} {
		wantKind(t, what, w.PutAway(ctx, "person:anna", a), authz.ErrInvalid)
	}
	for _, p := range []string{"zoe", "anna"} {
		wantKind(t, "PutAway", w.PutAway(ctx, "admin:root", approval.Away{Person: p, Deputy: "ben", Until: until}), nil)
	}
	want := []approval.Away{{Person: "anna", Deputy: "ben", Until: until, AsOf: 2}, {Person: "zoe", Deputy: "ben", Until: until, AsOf: 1}}
	if diff := cmp.Diff(want, w.Aways()); diff != "" {
		t.Errorf("Aways (-want +got):\n%s", diff)
	}
	wantKind(t, "PutAway", w.PutAway(ctx, "person:anna", approval.Away{Person: "anna"}), nil)
	if diff := cmp.Diff(want[1:], w.Aways()); diff != "" {
		t.Errorf("Aways after anna is back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(w.Aways(), w.another().Aways()); diff != "" {
		t.Errorf("Aways of another desk (-want +got):\n%s", diff)
	}
	w.log.pass(time.Hour)
	if got := w.Aways(); len(got) != 0 {
		t.Errorf("Aways after an hour = %v, want none", got)
	}
}

// Run moves what is due, without anybody calling.
func TestRun(t *testing.T) {
	c := parse(t, organisation)
	synctest.Test(t, func(t *testing.T) {
		s := &spine{t: t}
		cfg := approval.Config{Store: none{}, Now: time.Now, Catalog: func(_ context.Context, _ int64) (*catalog.Catalog, error) { return c, nil }}
		cfg.Log = committer(func(ctx context.Context, d audit.Draft) (int64, error) {
			s.mu.Lock()
			s.now = time.Now()
			s.mu.Unlock()
			return s.Commit(ctx, d)
		})
		d := approval.New(cfg)
		s.desks = append(s.desks, d)
		a, _, err := d.Ask(ctx, about(payment(), 1, "late"))
		wantKind(t, "Ask", err, nil)
		running, stop := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- d.Run(running) }()
		moved := func(after time.Duration) *approval.Ask {
			time.Sleep(after) // of the bubble's clock
			synctest.Wait()
			got, err := d.Get(ctx, a.ID)
			wantKind(t, "Get", err, nil)
			return got
		}
		if got := moved(10*time.Minute - time.Second); !got.Escalated.IsZero() {
			t.Errorf("escalated at %v, want only after 10 minutes", got.Escalated)
		}
		if got := moved(3 * time.Second); got.Escalated.IsZero() || got.Status != approval.Pending {
			t.Errorf("after 10 minutes: %s, want escalated and pending", text(got))
		}
		if got := moved(20 * time.Minute); got.Status != approval.Expired || got.Ended == 0 {
			t.Errorf("after 30 minutes: %s, want expired by an entry", text(got))
		}
		if n := len(s.entries); n != 3 {
			t.Errorf("%d entries, want asked, escalated, expired", n)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
