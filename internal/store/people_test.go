package store_test

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestAccounts(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		cfg := config(t)
		db := storetest.OpenConfig(t, cfg)
		at := time.Date(2026, 11, 23, 16, 0, 0, 123000, time.UTC)
		account := func(id, name string, asOf int64) people.Account {
			return people.Account{
				Person: people.Person{ID: id, Name: name, Claims: map[string][]string{"groups": {`quote ' and " and \`, "日本"}}, AsOf: asOf,
					Passkeys: []people.Passkey{{ID: "YQ", Title: "laptop", Record: json.RawMessage(`{"publicKey":"AA=="}`), Count: 1<<32 - 1, CreatedAt: at}}},
				Enrolment: &people.Enrolment{Hash: "00ff", CreatedAt: at, ExpiresAt: at.Add(time.Hour), AsOf: asOf},
				AsOf:      asOf,
			}
		}
		same := func(what string, db *store.DB, want ...people.Account) {
			t.Helper()
			got, err := db.Accounts(ctx)
			wantKind(t, what, err, nil)
			slices.SortFunc(got, func(a, b people.Account) int { return cmp.Compare(a.Person.ID, b.Person.ID) })
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		same("an empty database", db)
		wantKind(t, "PutAccount", db.PutAccount(ctx, account("anna", "Anna", 5)), nil)
		wantKind(t, "PutAccount", db.PutAccount(ctx, account("Ben", "Ben", 6)), nil)
		same("two", db, account("Ben", "Ben", 6), account("anna", "Anna", 5))
		wantKind(t, "an older version", db.PutAccount(ctx, account("anna", "older", 4)), nil)
		wantKind(t, "the same version", db.PutAccount(ctx, account("anna", "other", 5)), nil)
		same("after a replay", db, account("Ben", "Ben", 6), account("anna", "Anna", 5))
		wantKind(t, "a newer version", db.PutAccount(ctx, account("anna", "Anna Meier", 7)), nil)
		same("after a change", db, account("Ben", "Ben", 6), account("anna", "Anna Meier", 7))

		wantKind(t, "Close", db.Close(), nil)
		same("opened again", storetest.OpenConfig(t, cfg), account("Ben", "Ben", 6), account("anna", "Anna Meier", 7))
	})
}
