package store_test

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestCredentials(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		at := time.Date(2026, 11, 23, 16, 0, 0, 123000, time.UTC)
		credential := func(of, id string, asOf int64) agent.Credential {
			return agent.Credential{
				Agent: authz.AgentID(of), ID: id, Kind: agent.KindKey, JWK: json.RawMessage(`{"kty":"OKP"}`),
				CreatedAt: at, ExpiresAt: at.Add(time.Hour), Why: `quote ' and " and \ and 日本`, Since: 1, AsOf: asOf,
			}
		}
		enrolment := func(of string, asOf int64) *agent.Enrolment {
			return &agent.Enrolment{Agent: authz.AgentID(of), Hash: "00ff", CreatedAt: at, ExpiresAt: at.Add(time.Hour), AsOf: asOf}
		}
		same := func(what, after, last string, es []agent.Enrolment, cs []agent.Credential) {
			t.Helper()
			gotE, gotC, err := db.Credentials(ctx, authz.AgentID(after), authz.AgentID(last))
			wantKind(t, what, err, nil)
			slices.SortFunc(gotE, func(a, b agent.Enrolment) int { return cmp.Compare(a.Agent, b.Agent) })
			slices.SortFunc(gotC, func(a, b agent.Credential) int {
				return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.ID, b.ID))
			})
			if diff := gocmp.Diff(es, gotE); diff != "" {
				t.Errorf("%s: enrolments (-want +got):\n%s", what, diff)
			}
			if diff := gocmp.Diff(cs, gotC); diff != "" {
				t.Errorf("%s: credentials (-want +got):\n%s", what, diff)
			}
		}
		same("an empty database", "", "z", nil, nil)

		wantKind(t, "PutCredentials", db.PutCredentials(ctx, enrolment("b", 5), nil), nil)
		wantKind(t, "PutCredentials", db.PutCredentials(ctx, enrolment("c", 6), nil), nil)
		wantKind(t, "PutCredentials", db.PutCredentials(ctx, nil, []agent.Credential{credential("b", "k1", 7), credential("b", "k2", 7)}), nil)
		wantKind(t, "PutCredentials", db.PutCredentials(ctx, nil, []agent.Credential{credential("c", "https://c.example/id", 8)}), nil)
		same("all", "", "c",
			[]agent.Enrolment{*enrolment("b", 5), *enrolment("c", 6)},
			[]agent.Credential{credential("b", "k1", 7), credential("b", "k2", 7), credential("c", "https://c.example/id", 8)})
		same("those of b", "a", "b", []agent.Enrolment{*enrolment("b", 5)}, []agent.Credential{credential("b", "k1", 7), credential("b", "k2", 7)})
		same("those after b", "b", "c", []agent.Enrolment{*enrolment("c", 6)}, []agent.Credential{credential("c", "https://c.example/id", 8)})

		// A replay of what is older, or the same, changes nothing, row by row; what is newer does.
		spent, revoked := enrolment("b", 9), credential("b", "k2", 9)
		spent.Spent, revoked.RevokedAt = true, at.Add(time.Minute)
		wantKind(t, "PutCredentials of a newer revision", db.PutCredentials(ctx, spent, []agent.Credential{revoked}), nil)
		wantKind(t, "PutCredentials again", db.PutCredentials(ctx, enrolment("b", 9), []agent.Credential{credential("b", "k1", 8), credential("b", "k2", 8)}), nil)

		db = storetest.Reopen(t, db)
		same("after reopening", "", "b", []agent.Enrolment{*spent}, []agent.Credential{credential("b", "k1", 8), revoked})

		// All or nothing: one that cannot be written leaves out everything beside it.
		broken := credential("b", "k4", 10)
		broken.JWK = json.RawMessage(`{`)
		if err := db.PutCredentials(ctx, enrolment("b", 10), []agent.Credential{credential("b", "k3", 10), broken}); err == nil {
			t.Error("PutCredentials of what cannot be written = nil, want an error")
		}
		same("after a failure", "", "b", []agent.Enrolment{*spent}, []agent.Credential{credential("b", "k1", 8), revoked})

		db.Close()
		wantKind(t, "PutCredentials after Close", db.PutCredentials(ctx, nil, []agent.Credential{credential("c", "k", 99)}), authz.ErrUnavailable)
		_, _, err := db.Credentials(ctx, "", "z")
		wantKind(t, "Credentials after Close", err, authz.ErrUnavailable)
	})
}
