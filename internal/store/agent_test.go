package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestAgents(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		at := time.Date(2026, 11, 23, 16, 0, 0, 123000, time.UTC)
		bot := func(id string, asOf int64) authz.Agent {
			return authz.Agent{
				ID: authz.AgentID(id), Owner: "Anna Großmann", Purpose: "orders", Version: "1", Creator: "admin:anna",
				State: authz.AgentSuspended, StateReason: "quote ' and \" and \\", Capabilities: []string{"a", "b"},
				Labels: map[string]string{"team": "日本"}, CreatedAt: at, UpdatedAt: at, Revision: asOf, AsOf: asOf,
			}
		}
		same := func(what string, got []authz.Agent, err error, want ...authz.Agent) {
			t.Helper()
			wantKind(t, what, err, nil)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		got, err := db.Agents(ctx, "", 10)
		same("Agents of an empty database", got, err)

		wantKind(t, "PutAgent", db.PutAgent(ctx, bot("b", 7)), nil)
		wantKind(t, "PutAgent", db.PutAgent(ctx, bot("a", 8)), nil)
		got, err = db.Agents(ctx, "", 10)
		same("Agents", got, err, bot("a", 8), bot("b", 7))

		// A replay of what is older, or the same, changes nothing; what is newer does.
		for _, asOf := range []int64{6, 7} {
			old := bot("b", asOf)
			old.Owner = "nobody"
			wantKind(t, "PutAgent again", db.PutAgent(ctx, old), nil)
		}
		got, err = db.Agents(ctx, "a", 10)
		same("Agents after a replay", got, err, bot("b", 7))
		wantKind(t, "PutAgent of a newer revision", db.PutAgent(ctx, bot("b", 9)), nil)

		db = storetest.Reopen(t, db)
		got, err = db.Agents(ctx, "", 10)
		same("Agents after reopening", got, err, bot("a", 8), bot("b", 9))

		// Pages join without gaps, whatever the database thinks of dots and dashes.
		want := map[authz.AgentID]bool{"a": true, "b": true}
		for i := range 20 {
			id := fmt.Sprintf("a%c%d", "-._0"[i%4], i)
			want[authz.AgentID(id)] = true
			wantKind(t, "PutAgent", db.PutAgent(ctx, bot(id, int64(10+i))), nil)
		}
		for after, n := authz.AgentID(""), 0; ; n++ {
			page, err := db.Agents(ctx, after, 3)
			wantKind(t, "Agents", err, nil)
			for _, a := range page {
				if !want[a.ID] {
					t.Errorf("agent %q comes twice, or from nowhere", a.ID)
				}
				delete(want, a.ID)
				after = a.ID
			}
			if len(page) < 3 {
				break
			}
		}
		if len(want) > 0 {
			t.Errorf("agents %v are on no page", want)
		}

		db.Close()
		wantKind(t, "PutAgent after Close", db.PutAgent(ctx, bot("c", 99)), authz.ErrUnavailable)
		_, err = db.Agents(ctx, "", 1)
		wantKind(t, "Agents after Close", err, authz.ErrUnavailable)
	})
}
