package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/keyring"
)

// fixedKeys is a KeyAdmin that notes what it was asked.
type fixedKeys struct{ asked string }

var fixedKey = keyring.Info{Record: keyring.Record{ID: "k1", Use: keyring.Token, Algorithm: keyring.EdDSA, State: keyring.Active,
	Source: keyring.Software, JWK: json.RawMessage(`{"kty":"OKP"}`), Published: 3, Activated: 4, AsOf: 4}, Signs: true}

func (*fixedKeys) Keys() []keyring.Info { return []keyring.Info{fixedKey} }

func (f *fixedKeys) Rotate(_ context.Context, actor, why string, use keyring.Use, atOnce bool) ([]keyring.Info, error) {
	f.asked = fmt.Sprintf("%s rotates %q at once %v: %s", actor, use, atOnce, why)
	return []keyring.Info{fixedKey}, nil
}

func (f *fixedKeys) Revoke(_ context.Context, actor, why, kid string) (keyring.Info, error) {
	f.asked = fmt.Sprintf("%s revokes %s: %s", actor, kid, why)
	if kid != "k1" {
		return keyring.Info{}, authz.Errorf(authz.ErrNotFound, "no signing key %q", kid)
	}
	k := fixedKey
	k.State, k.RevokedAt, k.Signs = keyring.Revoked, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), false
	return k, nil
}

func TestKeys(t *testing.T) {
	keys := &fixedKeys{}
	d := openDoor(t, func(c *api.Config) { c.Keys = keys })
	for _, tt := range []struct {
		who, method, path, body string
		status                  int
		asked, has              string
	}{
		{"audit-token", "GET", "/v1/keys", "", http.StatusOK, "", `"items":[{`},
		{"admin-token", "GET", "/v1/keys", "", http.StatusOK, "", `"kid":"k1"`},
		{"pep-token", "GET", "/v1/keys", "", http.StatusForbidden, "", ""},
		{"admin-token", "POST", "/v1/keys/rotate", `{"why":"exercise"}`, http.StatusOK, `admin:root rotates "" at once false: exercise`, `"signs":true`},
		{"admin-token", "POST", "/v1/keys/rotate", `{"use":"status","at_once":true,"why":"now"}`, http.StatusOK, `admin:root rotates "status" at once true: now`, `"jwk":{"kty":"OKP"}`},
		{"admin-token", "POST", "/v1/keys/rotate", `{"use":"token"}`, http.StatusBadRequest, "", "why"},
		{"audit-token", "POST", "/v1/keys/rotate", `{"why":"x"}`, http.StatusForbidden, "", ""},
		{"admin-token", "POST", "/v1/keys/k1/revoke", `{"why":"leaked"}`, http.StatusOK, `admin:root revokes k1: leaked`, `"state":"revoked"`},
		{"admin-token", "POST", "/v1/keys/k2/revoke", `{"why":"leaked"}`, http.StatusNotFound, `admin:root revokes k2: leaked`, ""},
		{"audit-token", "POST", "/v1/keys/k1/revoke", `{"why":"leaked"}`, http.StatusForbidden, "", ""},
	} {
		keys.asked = ""
		r := d.send(tt.method, tt.path, tt.body, "Authorization", "Bearer "+tt.who)
		got := text(t, r)
		if r.StatusCode != tt.status || keys.asked != tt.asked || !strings.Contains(got, tt.has) {
			t.Errorf("%s %s %s by %s = %d, asked %q: %s\nwant %d, %q, %q", tt.method, tt.path, tt.body, tt.who, r.StatusCode, keys.asked, got, tt.status, tt.asked, tt.has)
		}
	}
}
