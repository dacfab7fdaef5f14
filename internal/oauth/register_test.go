package oauth_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
)

func registrationDesk(t testing.TB) *desk {
	d := newDesk(t, func(d *desk, c *oauth.Config) { c.Clients.Registration, c.Clients.Registrations = true, d.book })
	d.pending("a1", enrolToken)
	return d
}

// registration is an answer of the registration endpoint.
type registration struct {
	ClientID string   `json:"client_id"`
	IssuedAt int64    `json:"client_id_issued_at"`
	Method   string   `json:"token_endpoint_auth_method"`
	Grants   []string `json:"grant_types"`
	Keys     struct {
		Keys []struct {
			Kid string `json:"kid"`
		} `json:"keys"`
	} `json:"jwks"`
	URI    string `json:"registration_client_uri"`
	Access string `json:"registration_access_token"`
}

// manage sends a request to the registration endpoint.
func (d *desk) manage(method, path, bearer string, body any) (who, registration) {
	d.t.Helper()
	var text, contentType string
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			d.t.Fatal(err)
		}
		text, contentType = string(b), "application/json"
	}
	if bearer != "" {
		bearer = "Bearer " + bearer
	}
	w := d.send(method, "/oauth2/register"+path, contentType, text, bearer)
	var out registration
	if w.Status == 200 || w.Status == 201 {
		if err := json.Unmarshal([]byte(w.body), &out); err != nil {
			d.t.Fatal(err)
		}
	}
	return w, out
}

func metadataOf(h *holder, changes ...any) map[string]any {
	return with(map[string]any{
		"client_name": "An agent", "token_endpoint_auth_method": "private_key_jwt", "grant_types": []string{"client_credentials"},
		"jwks": map[string]any{"keys": []any{h.pub.JWK()}},
	}, changes...)
}

func TestRegister(t *testing.T) {
	d := registrationDesk(t)
	h, next := newHolder(t, "a1", "EdDSA"), newHolder(t, "a1", "EdDSA")
	w, reg := d.manage("POST", "", enrolToken, metadataOf(h))
	if w.Status != 201 || reg.ClientID != "a1" || reg.Method != "private_key_jwt" || reg.IssuedAt != d.Now().Unix() ||
		len(reg.Keys.Keys) != 1 || reg.Keys.Keys[0].Kid != h.pub.ID || reg.URI != deskIssuer+"/oauth2/register/a1" || !strings.HasPrefix(reg.Access, "sc_reg_") {
		t.Fatalf("status %d, %s", w.Status, w.body)
	}
	if len(d.book.judged) != 1 || d.book.judged[0].Action.Name != "client.register" || d.book.judged[0].Agent() != "a1" || d.book.judged[0].Resource.ID != "a1" || d.book.recorded != 1 {
		t.Errorf("judged %+v and recorded %d, want client.register by a1 of a1, recorded", d.book.judged, d.book.recorded)
	}
	wantClient(t, d.assert(h.jws(t, h.header("EdDSA"), d.claims("a1"))), "a1", "a1", "private_key_jwt")

	w, got := d.manage("GET", "/a1", reg.Access, nil)
	if w.Status != 200 || got.ClientID != "a1" || len(got.Keys.Keys) != 1 || got.Access != "" {
		t.Errorf("GET: status %d, %s", w.Status, w.body)
	}
	if w, _ := d.manage("PUT", "/a1", reg.Access, metadataOf(h, "client_id", "a1")); w.Status != 200 || len(d.book.judged) != 1 {
		t.Errorf("PUT of the same key: status %d, %s", w.Status, w.body)
	}
	w, got = d.manage("PUT", "/a1", reg.Access, metadataOf(next, "client_id", "a1"))
	if w.Status != 200 || len(got.Keys.Keys) != 2 || len(d.book.judged) != 2 {
		t.Errorf("PUT of another key: status %d, %s", w.Status, w.body)
	}
	wantClient(t, d.assert(next.jws(t, next.header("EdDSA"), d.claims("a1"))), "a1", "a1", "private_key_jwt")
	if w, _ := d.manage("DELETE", "/a1", reg.Access, nil); w.Status != 204 || w.body != "" {
		t.Errorf("DELETE: status %d, %q", w.Status, w.body)
	}
	wantRefused(t, d.assert(next.jws(t, next.header("EdDSA"), d.claims("a1"))), 401, "invalid_client", "failed")
	w, _ = d.manage("GET", "/a1", reg.Access, nil)
	wantRefused(t, w, 401, "invalid_token", "registration access token")
}

func TestRegisterByDefaults(t *testing.T) {
	d := registrationDesk(t)
	h := newHolder(t, "a1", "ES256")
	w, reg := d.manage("POST", "", enrolToken, metadataOf(h, "token_endpoint_auth_method", nil, "grant_types", nil, "x-unknown", 1))
	if w.Status != 201 || reg.Method != "private_key_jwt" || len(reg.Grants) != 3 {
		t.Errorf("status %d, %s; want 201, private_key_jwt and three grants", w.Status, w.body)
	}
}

func TestRegisterRefused(t *testing.T) {
	d := registrationDesk(t)
	h := newHolder(t, "a1", "EdDSA")
	for _, tt := range []struct {
		name    string
		changes []any
		code    string
		want    string
	}{
		{"a secret", []any{"token_endpoint_auth_method", "client_secret_basic"}, "invalid_client_metadata", "token_endpoint_auth_method"},
		{"no authentication", []any{"token_endpoint_auth_method", "none"}, "invalid_client_metadata", "token_endpoint_auth_method"},
		{"a grant for people", []any{"grant_types", []string{"authorization_code"}}, "invalid_client_metadata", "grant_types"},
		{"a response type", []any{"response_types", []string{"code"}}, "invalid_client_metadata", "response_types"},
		{"pings", []any{"backchannel_token_delivery_mode", "ping"}, "invalid_client_metadata", "must be poll"},
		{"pushes", []any{"backchannel_token_delivery_mode", "push"}, "invalid_client_metadata", "must be poll"},
		{"a redirect", []any{"redirect_uris", []string{"https://evil.example/"}}, "invalid_redirect_uri", "redirect_uris"},
		{"no key", []any{"jwks", nil}, "invalid_client_metadata", "one key"},
		{"two keys", []any{"jwks", map[string]any{"keys": []any{h.pub.JWK(), h.pub.JWK()}}}, "invalid_client_metadata", "one key"},
		{"a symmetric key", []any{"jwks", map[string]any{"keys": []any{map[string]any{"kty": "oct", "k": "AAAA"}}}}, "invalid_client_metadata", "no public key"},
		{"keys by URL", []any{"jwks_uri", "https://169.254.169.254/"}, "invalid_client_metadata", "no jwks_uri"},
		{"a client_id", []any{"client_id", "root"}, "invalid_client_metadata", "not the client's to choose"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := d.manage("POST", "", enrolToken, metadataOf(h, tt.changes...))
			wantRefused(t, w, 400, tt.code, tt.want)
		})
	}
	t.Run("policy", func(t *testing.T) {
		d.book.refuse = true
		defer func() { d.book.refuse = false }()
		w, _ := d.manage("POST", "", enrolToken, metadataOf(h))
		wantRefused(t, w, 403, "access_denied", "policy does not permit")
		if d.book.recorded == 0 {
			t.Error("the refusal is not recorded")
		}
	})
	t.Run("one answer for tokens that are no good", func(t *testing.T) {
		d.pending("suspended", "sc_enrol_suspended")
		d.book.set("suspended", authz.AgentSuspended)
		want, _ := d.manage("POST", "", "", metadataOf(h))
		wantRefused(t, want, 401, "invalid_token", "unknown, used or expired")
		for _, text := range []string{"sc_enrol_unknown", "sc_enrol_suspended"} {
			if got, _ := d.manage("POST", "", text, metadataOf(h)); !sameAnswer(got, want) {
				t.Errorf("token %s: %q, want %q", text, got.body, want.body)
			}
		}
	})
	t.Run("nothing of this used the token up", func(t *testing.T) {
		if w, _ := d.manage("POST", "", enrolToken, metadataOf(h)); w.Status != 201 {
			t.Errorf("status = %d (%s), want 201", w.Status, w.body)
		}
	})
}

func TestManageRefused(t *testing.T) {
	d := registrationDesk(t)
	d.pending("a2", "sc_enrol_2")
	h, h2, next := newHolder(t, "a1", "EdDSA"), newHolder(t, "a2", "EdDSA"), newHolder(t, "a1", "EdDSA")
	_, one := d.manage("POST", "", enrolToken, metadataOf(h))
	_, two := d.manage("POST", "", "sc_enrol_2", metadataOf(h2))
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		want, _ := d.manage(method, "/nobody", one.Access, metadataOf(next, "client_id", "nobody"))
		wantRefused(t, want, 401, "invalid_token", "registration access token")
		for name, f := range map[string]func() who{
			"no token":            func() who { w, _ := d.manage(method, "/a1", "", metadataOf(next, "client_id", "a1")); return w },
			"token of another":    func() who { w, _ := d.manage(method, "/a1", two.Access, metadataOf(next, "client_id", "a1")); return w },
			"token for enrolling": func() who { w, _ := d.manage(method, "/a1", enrolToken, metadataOf(next, "client_id", "a1")); return w },
			"suspended agent": func() who {
				d.book.set("a1", authz.AgentSuspended)
				defer d.book.set("a1", authz.AgentActive)
				w, _ := d.manage(method, "/a1", one.Access, metadataOf(next, "client_id", "a1"))
				return w
			},
		} {
			if got := f(); !sameAnswer(got, want) {
				t.Errorf("%s, %s: status %d, %q, want %q", method, name, got.Status, got.body, want.body)
			}
		}
	}
	w, _ := d.manage("PUT", "/a1", one.Access, metadataOf(next, "client_id", "a2"))
	wantRefused(t, w, 400, "invalid_client_metadata", "client_id is another")
	w, _ = d.manage("PUT", "/a1", one.Access, metadataOf(h2, "client_id", "a1"))
	wantRefused(t, w, 400, "invalid_proof", "registered before")
	d.book.refuse = true
	w, _ = d.manage("PUT", "/a1", one.Access, metadataOf(next, "client_id", "a1"))
	wantRefused(t, w, 403, "access_denied", "policy does not permit")
}

func TestRegistrationIsOffByDefault(t *testing.T) {
	d := newDesk(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), "POST", d.http.URL+"/oauth2/register", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("status = %d, want 404", resp.StatusCode)
	}
	if _, err := oauth.New(oauth.Config{Issuer: deskIssuer, Clients: oauth.ClientConfig{Registration: true}}); err == nil {
		t.Error("New with nowhere to keep registrations = nil error, want one")
	}
}
