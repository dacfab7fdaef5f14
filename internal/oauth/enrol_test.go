package oauth_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
)

const enrolToken = "sc_enrol_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// pending makes an agent that may enrol.
func (d *desk) pending(id, enrolment string) {
	d.book.put(&authz.Agent{ID: authz.AgentID(id), State: authz.AgentActive})
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	d.book.enrolments[enrolment] = authz.AgentID(id)
}

// proofClaims returns the claims of a good proof for an enrolment token, or for a rotation if it is "".
func (d *desk) proofClaims(enrolment string) map[string]any {
	now := d.Now()
	m := map[string]any{"aud": deskIssuer, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	if enrolment != "" {
		sum := sha256.Sum256([]byte(enrolment))
		m["nonce"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return m
}

func proofHeader(h *holder, alg string) map[string]any {
	return map[string]any{"alg": alg, "typ": "key-proof+jwt", "jwk": h.pub.JWK()}
}

// enroll sends an enrolment.
func (d *desk) enroll(enrolment, proof string) who {
	d.t.Helper()
	body, err := json.Marshal(map[string]string{"token": enrolment, "proof": proof})
	if err != nil {
		d.t.Fatal(err)
	}
	return d.send("POST", "/oauth2/enroll", "application/json", string(body), "")
}

func TestEnroll(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256", "RS256", "PS256"} {
		d := newDesk(t, nil)
		d.pending("a1", enrolToken)
		h := newHolder(t, "a1", alg)
		got := d.enroll(enrolToken, h.jws(t, proofHeader(h, alg), d.proofClaims(enrolToken)))
		var out struct {
			ClientID      string `json:"client_id"`
			KeyID         string `json:"kid"`
			Issuer        string `json:"issuer"`
			TokenEndpoint string `json:"token_endpoint"`
			ExpiresAt     string `json:"expires_at"`
		}
		if err := json.Unmarshal([]byte(got.body), &out); err != nil || got.Status != 201 {
			t.Fatalf("%s: status %d, %s, want 201", alg, got.Status, got.body)
		}
		want := out
		want.ClientID, want.KeyID, want.Issuer, want.TokenEndpoint = "a1", h.pub.ID, deskIssuer, deskIssuer+"/oauth2/token"
		want.ExpiresAt = d.Now().Add(90 * 24 * time.Hour).UTC().Format(time.RFC3339)
		if out != want {
			t.Errorf("%s: answer %+v, want %+v", alg, out, want)
		}
		if cc := got.header.Get("Cache-Control"); cc != "no-store" {
			t.Errorf("Cache-Control = %q, want no-store", cc)
		}
		wantClient(t, d.assert(h.jws(t, h.header(alg), d.claims("a1"))), "a1", "a1", "private_key_jwt")
		if again := d.enroll(enrolToken, h.jws(t, proofHeader(h, alg), d.proofClaims(enrolToken))); again.Status != 200 || again.body != got.body {
			t.Errorf("%s: once more, by the same key: status %d, %s; want 200 and the same answer", alg, again.Status, again.body)
		}
		again := newHolder(t, "a1", "EdDSA")
		got = d.enroll(enrolToken, again.jws(t, proofHeader(again, "EdDSA"), d.proofClaims(enrolToken)))
		wantRefused(t, got, 401, "invalid_token", "unknown, used or expired")
	}
}

func TestEnrollRefused(t *testing.T) {
	d := newDesk(t, nil)
	d.pending("a1", enrolToken)
	h, other := newHolder(t, "a1", "EdDSA"), newHolder(t, "a1", "EdDSA")
	head, claims := proofHeader(h, "EdDSA"), func(changes ...any) map[string]any { return with(d.proofClaims(enrolToken), changes...) }
	in := func(by time.Duration) int64 { return d.Now().Add(by).Unix() }
	for _, tt := range []struct{ name, proof, code, want string }{
		{"no proof", "", "invalid_proof", "proof is missing"},
		{"no JWS", "x.y", "invalid_proof", "cannot be read"},
		{"alg none", h.jws(t, with(head, "alg", "none"), claims()), "invalid_proof", "cannot be read"},
		{"private key in the header", h.jws(t, with(head, "jwk", json.RawMessage(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`)), claims()), "invalid_proof", "cannot be read"},
		{"no typ", h.jws(t, with(head, "typ", nil), claims()), "invalid_proof", "typ of the proof"},
		{"typ of a DPoP proof", h.jws(t, with(head, "typ", "dpop+jwt"), claims()), "invalid_proof", "typ of the proof"},
		{"typ JWT", h.jws(t, with(head, "typ", "JWT"), claims()), "invalid_proof", "typ of the proof"},
		{"no key", h.jws(t, with(head, "jwk", nil), claims()), "invalid_proof", "jwk in its header"},
		{"key of another", other.jws(t, head, claims()), "invalid_proof", "signature is not valid"},
		{"bad signature", flip(h.jws(t, head, claims())), "invalid_proof", "signature is not valid"},
		{"no audience", h.jws(t, head, claims("aud", nil)), "invalid_proof", "aud of the proof"},
		{"audience of another", h.jws(t, head, claims("aud", "https://other.example")), "invalid_proof", "aud of the proof"},
		{"two audiences", h.jws(t, head, claims("aud", []string{deskIssuer, "x"})), "invalid_proof", "claims cannot be read"},
		{"no jti", h.jws(t, head, claims("jti", nil)), "invalid_proof", "jti of the proof"},
		{"no iat", h.jws(t, head, claims("iat", nil)), "invalid_proof", "iat of the proof"},
		{"old", h.jws(t, head, claims("iat", in(-6*time.Minute))), "invalid_proof", "iat of the proof"},
		{"of the future", h.jws(t, head, claims("iat", in(time.Minute))), "invalid_proof", "iat of the proof"},
		{"no exp", h.jws(t, head, claims("exp", nil)), "invalid_proof", "exp of the proof"},
		{"expired", h.jws(t, head, claims("exp", in(0))), "invalid_proof", "exp of the proof"},
		{"expires too far ahead", h.jws(t, head, claims("exp", in(6*time.Minute))), "invalid_proof", "exp of the proof"},
		{"no nonce", h.jws(t, head, claims("nonce", nil)), "invalid_proof", "nonce of the proof"},
		{"nonce of another token", h.jws(t, head, with(d.proofClaims("sc_enrol_other"))), "invalid_proof", "nonce of the proof"},
		{"a claim twice", h.jws(t, head, []byte(`{"aud":"x","aud":"x"}`)), "invalid_proof", "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantRefused(t, d.enroll(enrolToken, tt.proof), 400, tt.code, tt.want)
		})
	}
	good := func(enrolment string) string { return h.jws(t, head, d.proofClaims(enrolment)) }
	for _, tt := range []struct{ name, contentType, body, want string }{
		{"no JSON", "application/json", "x", "not the JSON object"},
		{"a form", "application/x-www-form-urlencoded", "token=x", "must be application/json"},
		{"a member twice", "application/json", `{"token":"a","token":"b","proof":"c"}`, "not the JSON object"},
		{"an unknown member", "application/json", `{"token":"a","proof":"c","agent":"a1"}`, "not the JSON object"},
		{"something behind it", "application/json", `{"token":"a","proof":"c"} {}`, "not the JSON object"},
		{"no token", "application/json", `{"proof":"c"}`, "token is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantRefused(t, d.send("POST", "/oauth2/enroll", tt.contentType, tt.body, ""), 400, "invalid_request", tt.want)
		})
	}
	t.Run("too large", func(t *testing.T) {
		got := d.send("POST", "/oauth2/enroll", "application/json", `{"token":"`+strings.Repeat("x", 40_000)+`"}`, "")
		wantRefused(t, got, 413, "invalid_request", "larger than allowed")
	})
	t.Run("parameters in the URL", func(t *testing.T) {
		got := d.send("POST", "/oauth2/enroll?token=x", "application/json", `{}`, "")
		wantRefused(t, got, 400, "invalid_request", "not into the URL")
	})
	t.Run("one answer for tokens that are no good", func(t *testing.T) {
		d.pending("suspended", "sc_enrol_suspended")
		d.book.set("suspended", authz.AgentSuspended)
		want := d.enroll("sc_enrol_unknown", good("sc_enrol_unknown"))
		wantRefused(t, want, 401, "invalid_token", "unknown, used or expired")
		if got := d.enroll("sc_enrol_suspended", good("sc_enrol_suspended")); !sameAnswer(got, want) {
			t.Errorf("suspended agent: %q, want %q", got.body, want.body)
		}
	})
	t.Run("key of a suspended agent, token that is no good", func(t *testing.T) {
		h := d.agent("a3", "EdDSA")
		d.book.set("a3", authz.AgentSuspended)
		got := d.enroll("sc_enrol_unknown", h.jws(t, proofHeader(h, "EdDSA"), d.proofClaims("sc_enrol_unknown")))
		wantRefused(t, got, 401, "invalid_token", "unknown, used or expired")
	})
	t.Run("key that is registered", func(t *testing.T) {
		taken := d.agent("a2", "EdDSA")
		got := d.enroll(enrolToken, taken.jws(t, proofHeader(taken, "EdDSA"), d.proofClaims(enrolToken)))
		wantRefused(t, got, 400, "invalid_proof", "registered before")
	})
	t.Run("nothing of this used the token up", func(t *testing.T) {
		if got := d.enroll(enrolToken, good(enrolToken)); got.Status != 201 {
			t.Errorf("status = %d (%s), want 201", got.Status, got.body)
		}
	})
}

func TestEnrollAtOnce(t *testing.T) {
	d := newDesk(t, nil)
	d.pending("a1", enrolToken)
	var wg sync.WaitGroup
	status := make([]int, 8)
	for i := range status {
		h := newHolder(t, "a1", "EdDSA")
		proof := h.jws(t, proofHeader(h, "EdDSA"), d.proofClaims(enrolToken))
		wg.Go(func() { status[i] = d.enroll(enrolToken, proof).Status })
	}
	wg.Wait()
	made := 0
	for _, s := range status {
		if s == 201 {
			made++
		} else if s != 401 {
			t.Errorf("status = %d, want 201 or 401", s)
		}
	}
	if made < 1 {
		t.Errorf("%d of 8 enrolled, want at least one", made) // which of them is the registry's affair
	}
}

// rotation is a form that replaces a key.
func (d *desk) rotation(old *holder, proof string) url.Values {
	form := url.Values{"client_assertion_type": {jwtBearer}, "client_assertion": {old.jws(d.t, old.header("EdDSA"), d.claims(old.id))}}
	if proof != "" {
		form.Set("proof", proof)
	}
	return form
}

func TestRotate(t *testing.T) {
	d := newDesk(t, nil)
	old, next := d.agent("a1", "EdDSA"), newHolder(t, "a1", "ES256")
	form := d.rotation(old, next.jws(t, proofHeader(next, "ES256"), with(d.proofClaims(""), "sub", "a1")))
	got := d.post("/oauth2/keys", form)
	if got.Status != 200 || !strings.Contains(got.body, `"kid":"`+next.pub.ID+`"`) || !strings.Contains(got.body, `"client_id":"a1"`) {
		t.Fatalf("status = %d, %s; want 200 and the new key", got.Status, got.body)
	}
	wantRefused(t, d.post("/oauth2/keys", form), 401, "invalid_client", "client authentication failed") // replayed
	for _, h := range []*holder{old, next} {
		alg := map[*holder]string{old: "EdDSA", next: "ES256"}[h]
		wantClient(t, d.assert(h.jws(t, h.header(alg), d.claims("a1"))), "a1", "a1", "private_key_jwt")
	}
	d.advance(time.Hour)
	wantRefused(t, d.assert(old.jws(t, old.header("EdDSA"), d.claims("a1"))), 401, "invalid_client", "failed")
	wantClient(t, d.assert(next.jws(t, next.header("ES256"), d.claims("a1"))), "a1", "a1", "private_key_jwt")
}

func TestRotateByMutualTLS(t *testing.T) {
	d := newDesk(t, nil)
	old, next := d.agent("a1", "EdDSA"), newHolder(t, "a1", "EdDSA")
	form := url.Values{"client_id": {"a1"}, "proof": {next.jws(t, proofHeader(next, "EdDSA"), d.proofClaims(""))}}
	if got := d.post("/oauth2/keys", form, selfSigned(t, d, old.key)); got.Status != 200 {
		t.Errorf("status = %d (%s), want 200", got.Status, got.body)
	}
}

func TestRotateRefused(t *testing.T) {
	d := newDesk(t, nil)
	h, next, stranger := d.agent("a1", "EdDSA"), newHolder(t, "a1", "EdDSA"), newHolder(t, "a1", "EdDSA")
	taken := d.agent("a2", "EdDSA")
	head := proofHeader(next, "EdDSA")
	for _, tt := range []struct {
		name   string
		form   url.Values
		status int
		code   string
		want   string
	}{
		{"nobody", url.Values{"proof": {next.jws(t, head, d.proofClaims(""))}}, 401, "invalid_client", "client_assertion is missing"},
		{"another's key", d.rotation(stranger, next.jws(t, head, d.proofClaims(""))), 401, "invalid_client", "failed"},
		{"no proof", d.rotation(h, ""), 400, "invalid_proof", "proof is missing"},
		{"proof of the old key", d.rotation(h, h.jws(t, proofHeader(h, "EdDSA"), d.proofClaims(""))), 400, "invalid_proof", "the key that authenticated"},
		{"proof for another agent", d.rotation(h, next.jws(t, head, with(d.proofClaims(""), "sub", "a2"))), 400, "invalid_proof", "sub of the proof"},
		{"proof by another", d.rotation(h, stranger.jws(t, head, d.proofClaims(""))), 400, "invalid_proof", "signature"},
		{"key of another agent", d.rotation(h, taken.jws(t, proofHeader(taken, "EdDSA"), d.proofClaims(""))), 400, "invalid_proof", "registered before"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantRefused(t, d.post("/oauth2/keys", tt.form), tt.status, tt.code, tt.want)
		})
	}
}

// TestRotateNeedsAKey shows that a workload's token or a document cannot be turned into a key that lasts.
func TestRotateNeedsAKey(t *testing.T) {
	c, h := newCluster(t, "")
	next := newHolder(t, "", "EdDSA")
	d := workloadDesk(t, c, nil)
	form := url.Values{
		"client_assertion_type": {jwtBearer}, "proof": {next.jws(t, proofHeader(next, "EdDSA"), d.proofClaims(""))},
		"client_assertion": {h.jws(t, map[string]any{"alg": "RS256", "kid": "k1"}, serviceAccount(d, c.issuer(), "shop", "orders"))},
	}
	wantRefused(t, d.post("/oauth2/keys", form), 403, "unauthorized_client", "has no key to replace")

	p, key := newPublisher(t), newHolder(t, "", "ES256")
	d = documentDesk(t, p, nil)
	p.publish(t, key)
	form.Set("client_assertion", key.jws(t, map[string]any{"alg": "ES256"}, d.claims(p.url())))
	form.Set("proof", next.jws(t, proofHeader(next, "EdDSA"), d.proofClaims("")))
	wantRefused(t, d.post("/oauth2/keys", form), 403, "unauthorized_client", "has no key to replace")
}

var _ oauth.Enrolment = (*book)(nil)
