package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestAskStore(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 11, 27, 16, 0, 0, 0, time.UTC)
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		// ask returns one that was asked by the entry before asOf and ended at, unless that is zero.
		ask := func(id string, agent authz.AgentID, asOf int64, at time.Time) approval.Ask {
			a := approval.Ask{
				ID: id, Kind: approval.Access, Agent: agent, Justification: "it's \"odd\" <b>\n", Catalog: 7, Requester: "pep:gate",
				Bound: approval.Bound{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: string(agent)}}, Context: authz.Claimed(`{"a":1}`), Members: []string{"a"}},
				Items: []approval.Item{{
					Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount":1.50}`)},
					Resource: authz.Entity{Ref: authz.Ref{Type: "account", ID: "de1"}, Properties: authz.Claimed(`{}`)},
					Decision: 3, Routes: []string{"one"}, Data: authz.Internal, Labels: []string{"pii"}, Status: approval.Pending,
				}},
				AskedAt: now.Add(-48 * time.Hour), ExpiresAt: now, Status: approval.Pending, Seq: asOf, AsOf: asOf,
			}
			if !at.IsZero() {
				a.Status, a.Items[0].Status, a.ClosedAt, a.Ended = approval.Denied, approval.Denied, at, asOf+1
				a.AsOf++
			}
			return a
		}
		put := func(a approval.Ask) { t.Helper(); wantKind(t, "PutAsk", db.PutAsk(ctx, a), nil) }
		same := func(what string, got []approval.Ask, err error, want ...string) {
			t.Helper()
			wantKind(t, what, err, nil)
			ids := []string{}
			for _, a := range got {
				ids = append(ids, a.ID)
			}
			if diff := cmp.Diff(append([]string{}, want...), ids); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		opened := func(what string, since time.Time, after string, limit int, want ...string) {
			t.Helper()
			got, err := db.OpenAsks(ctx, since, after, limit)
			same(what, got, err, want...)
		}
		asOf := func(want int64) {
			t.Helper()
			if got, err := db.AsksAsOf(ctx); err != nil || got != want {
				t.Errorf("AsksAsOf = %d, %v, want %d", got, err, want)
			}
		}
		var never time.Time
		asOf(0)
		opened("an empty database", now, "", 10)
		_, err := db.Ask(ctx, "a")
		wantKind(t, "Ask of none", err, authz.ErrNotFound)
		put(ask("a", "bot", 1, never))
		put(ask("b", "bot", 2, now.Add(-26*time.Hour)))
		put(ask("c", "bot", 4, now.Add(-20*time.Hour)))
		put(ask("d", "other", 6, now))
		put(ask("e", "bot", 8, never))
		opened("pending ones, and what was not over a day ago", now.Add(-24*time.Hour), "", 10, "a", "c", "d", "e")
		asOf(8)
		wantKind(t, "PutAway", db.PutAway(ctx, approval.Away{Person: "anna", AsOf: 7}), nil)
		asOf(8)
		wantKind(t, "PutAway", db.PutAway(ctx, approval.Away{Person: "anna", AsOf: 9}), nil)
		asOf(9)
		opened("a page", now.Add(-24*time.Hour), "a", 2, "c", "d")
		opened("long after the newest change", now.Add(1000*time.Hour), "", 10, "a", "c", "d", "e")
		got, err := db.EndedAsks(ctx, "bot", 100, 10)
		same("an agent's ended ones, newest first", got, err, "c", "b")
		got, err = db.EndedAsks(ctx, "bot", 4, 10)
		same("those before an entry", got, err, "b")
		got, err = db.EndedAsks(ctx, "bot", 100, 1)
		same("one of them", got, err, "c")

		a := ask("a", "bot", 1, now)
		a.Items[0].Status, a.Status = approval.Approved, approval.Approved
		a.Items[0].Approval = &approval.Grant{ID: "apr_x", At: now, Until: now.Add(time.Hour), Scope: approval.Scope{Uses: 3, Amounts: map[string]string{"amount": "5"}}, Used: 1, Uses: []int64{9}}
		a.Answers = []approval.Answer{{By: "person:anna", Yes: true, Routes: []string{"one"}, At: now, Seq: 2, View: 1, Evidence: []byte(`{"s":"x"}`)}}
		a.Views = []approval.Viewed{{By: "person:anna", Seq: 1, At: now}}
		put(a)
		put(ask("a", "bot", 1, never)) // a replay
		db = storetest.Reopen(t, db)
		kept, err := db.Ask(ctx, "a")
		wantKind(t, "Ask", err, nil)
		if diff := cmp.Diff(a, kept); diff != "" {
			t.Errorf("what is kept (-put +got):\n%s", diff)
		}
		opened("one whose approval still holds", now.Add(59*time.Minute), "", 1, "a")
		db.Close()
		if err := db.PutAsk(ctx, ask("f", "bot", 10, never)); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("PutAsk after Close = %v, want ErrUnavailable", err)
		}
	})
}

func TestAwayStore(t *testing.T) {
	ctx := context.Background()
	until := time.Date(2026, 11, 27, 16, 0, 0, 0, time.UTC)
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		put := func(a approval.Away) { t.Helper(); wantKind(t, "PutAway", db.PutAway(ctx, a), nil) }
		anna := approval.Away{Person: "anna", Deputy: "ben", Until: until, Claims: map[string][]string{"groups": {"finance"}}, AsOf: 4}
		put(approval.Away{Person: "zoe", Deputy: "anna", Until: until, AsOf: 2})
		put(anna)
		put(approval.Away{Person: "zoe", AsOf: 5})
		put(approval.Away{Person: "zoe", Deputy: "anna", Until: until, AsOf: 2}) // a replay
		got, err := storetest.Reopen(t, db).Aways(ctx)
		wantKind(t, "Aways", err, nil)
		if diff := cmp.Diff([]approval.Away{anna, {Person: "zoe", AsOf: 5}}, got); diff != "" {
			t.Errorf("Aways (-want +got):\n%s", diff)
		}
	})
}
