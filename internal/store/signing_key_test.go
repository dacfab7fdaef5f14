package store_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestSigningKeys(t *testing.T) {
	ctx := context.Background()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	key := func(id string, published, asOf int64) keyring.Record {
		return keyring.Record{ID: id, Use: keyring.Token, Algorithm: keyring.EdDSA, State: keyring.Active, Source: keyring.Software,
			JWK: json.RawMessage(`{"kty":"OKP"}`), PublishedAt: at, NotBefore: at.Add(time.Hour), ActiveAt: at.Add(time.Hour),
			Published: published, Activated: asOf, AsOf: asOf}
	}
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		t.Run("records", func(t *testing.T) {
			db := storetest.OpenConfig(t, config(t))
			want := func(keys ...keyring.Record) {
				t.Helper()
				got, err := db.SigningKeys(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(keys, got, cmpopts.IgnoreUnexported(keyring.Record{}), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("SigningKeys (-want +got):\n%s", diff)
				}
			}
			want()
			a, b := key("b-first", 3, 4), key("a-second", 5, 6)
			wantKind(t, "PutSigningKeys", db.PutSigningKeys(ctx, b), nil)
			wantKind(t, "PutSigningKeys", db.PutSigningKeys(ctx, a), nil)
			want(a, b)
			// A replica that lags behind changes nothing, and what is newer of the same entry is kept.
			older, newer := key("a-second", 5, 5), key("b-first", 3, 7)
			newer.State, newer.Why = keyring.Revoked, "leaked"
			wantKind(t, "PutSigningKeys", db.PutSigningKeys(ctx, older, newer), nil)
			want(newer, b)
			same := newer
			same.Why = "another reason"
			wantKind(t, "PutSigningKeys", db.PutSigningKeys(ctx, same), nil)
			db = storetest.Reopen(t, db)
			want(newer, b)
			wantKind(t, "PutSigningKeys of none", db.PutSigningKeys(ctx), nil)
		})

		t.Run("sealed halves", func(t *testing.T) {
			db := storetest.OpenConfig(t, config(t))
			want := func(all ...keyring.Sealed) {
				t.Helper()
				got, err := db.SealedKeys(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(all, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("SealedKeys (-want +got):\n%s", diff)
				}
			}
			want()
			a, b := keyring.Sealed{ID: "a", Data: []byte{0, 1, 255}, CreatedAt: at}, keyring.Sealed{ID: "b", Data: []byte("x"), CreatedAt: at}
			wantKind(t, "PutSealedKey", db.PutSealedKey(ctx, b), nil)
			wantKind(t, "PutSealedKey", db.PutSealedKey(ctx, a), nil)
			want(a, b)
			wantKind(t, "PutSealedKey of a taken id", db.PutSealedKey(ctx, keyring.Sealed{ID: "a", Data: []byte("other")}), authz.ErrConflict)
			db = storetest.Reopen(t, db)
			want(a, b)
			wantKind(t, "DeleteSealedKey", db.DeleteSealedKey(ctx, "a"), nil)
			wantKind(t, "DeleteSealedKey of none", db.DeleteSealedKey(ctx, "a"), nil)
			want(b)
			db.Close()
			wantKind(t, "PutSigningKeys after Close", db.PutSigningKeys(ctx, key("a", 1, 1)), authz.ErrUnavailable)
			wantKind(t, "PutSealedKey after Close", db.PutSealedKey(ctx, a), authz.ErrUnavailable)
		})
	})
}
