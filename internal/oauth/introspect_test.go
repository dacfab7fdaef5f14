package oauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

func TestIntrospection(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	m := h.member("alice", "pay", "read-mail")
	text := m.token(r, "authorization_details", `[{"type":"capability","identifier":"pay","limits":{"amount":{"amount":"5"}}}]`, "scope", "read-mail").Token
	p := h.claims(text)
	out := r.introspect(text)
	want := map[string]any{
		"active": true, "token_type": "DPoP", "iss": houseIssuer, "sub": "alice", "client_id": "alice", "aud": mailServer, "jti": p.ID,
		"iat": float64(p.IssuedAt.Unix()), "nbf": float64(p.IssuedAt.Unix()), "exp": float64(p.Expires.Unix()), "auth_time": float64(p.AuthTime.Unix()),
		"scope": "pay read-mail", "acr": "urn:safeconduct:trust:medium", "cnf": map[string]any{"jkt": m.proof.Key().ID},
		"authorization_details": []any{map[string]any{"type": "capability", "identifier": "pay", "limits": map[string]any{
			"amount": map[string]any{"amount": "5"}, "regions": []any{"CH", "DE"}, "class": "confidential"}}},
		token.ConductClaim:  out.Members[token.ConductClaim],
		"safeconduct_epoch": float64(r.Epoch("alice")),
	}
	if d := cmp.Diff(want, out.Members); d != "" {
		t.Errorf("answer (-want +got):\n%s", d)
	}
	if out.Header.Get("Cache-Control") != "no-store" || out.Header.Get("Content-Type") != "application/json" {
		t.Errorf("headers = %v", out.Header)
	}
}

// Everything that an answer depends on is looked at at the next call.
func TestIntrospectionIsLive(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	m := h.member("alice", "office", "read-mail")
	text := m.token(r).Token
	scope := func() string {
		if out := r.introspect(text); out.Active {
			return out.Scope
		}
		return "inactive"
	}
	check := func(what, want string) {
		t.Helper()
		for range 2 { // the second time from the cache
			if got := scope(); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
	}
	check("at first", "office read-mail")
	judged := h.judged
	check("again", "office read-mail")
	if h.judged != judged {
		t.Error("the judge is asked again in the same second")
	}

	h.set(func() {
		h.refuse = func(req authz.Request, _ time.Time) string {
			if req.Resource.ID == "read-mail" {
				return "alert"
			}
			return ""
		}
		h.risks++
	})
	check("an alert forbids one", "office")
	h.set(func() { h.refuse, h.risks = nil, h.risks+1 })
	check("it is cleared", "office read-mail")

	h.set(func() { h.trust["alice"] = "low"; h.risks++ })
	if got := r.introspect(text).Members["acr"]; got != "urn:safeconduct:trust:low" {
		t.Errorf("acr = %v after trust fell", got)
	}
	if got, ok := r.introspect(text).Members[token.ConductClaim].(map[string]any); !ok || got["level"] != "low" {
		t.Errorf("conduct = %v after trust fell, want that of the moment", got)
	}

	h.set(func() {
		a := *h.agents["alice"]
		a.Capabilities = []string{"read-mail"}
		h.agents["alice"] = &a
		h.epochs["alice"]++
	})
	check("a capability is taken away", "read-mail")
	h.setState("alice", authz.AgentSuspended)
	check("suspended", "inactive")
	h.setState("alice", authz.AgentActive)
	check("restored", "read-mail")

	h.set(func() { h.retired[h.eddsa.Key().ID] = true })
	check("our key is revoked", "inactive")
	h.set(func() { delete(h.retired, h.eddsa.Key().ID) })
	check("our key counts", "read-mail")

	h.advance(5 * time.Minute)
	check("expired", "inactive")
}

// A schedule that closes closes tokens, whatever their expiry says.
func TestIntrospectionWhenSchedulesClose(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	m := h.member("alice", "office", "read-mail")
	h.set(func() { h.now = time.Date(2026, 11, 25, 17, 58, 0, 0, time.UTC) })
	text := m.token(r, "scope", "read-mail").Token
	office := m.token(r, "scope", "office").Token
	h.set(func() { h.now = time.Date(2026, 11, 25, 18, 0, 0, 0, time.UTC) })
	if r.introspect(office).Active || !r.introspect(text).Active {
		t.Error("at six the office is closed, and mail is not")
	}
}

// When a credential is revoked, what was got before counts no more.
func TestRevokedCredential(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	m := h.member("alice", "read-mail")
	text := m.token(r).Token
	h.advance(3 * time.Second)
	h.set(func() {
		c := *h.creds[0]
		c.RevokedAt = h.now
		h.creds[0] = &c
		h.epochs["alice"]++
	})
	if r.introspect(text).Active {
		t.Error("the token is active though the key is revoked")
	}
	wantError(t, "by the revoked key", m.ask(r, "grant_type", "client_credentials"), 401, "invalid_client")
	h.advance(100 * time.Millisecond) // the same second still
	m.key = newSigner(t, "EdDSA")
	h.set(func() {
		h.creds = append(h.creds, &oauth.Credential{Agent: "alice", ID: m.key.Key().ID, Key: m.key.Key(), CreatedAt: h.now})
	})
	next := m.token(r).Token
	if !r.introspect(next).Active {
		t.Error("a token that was got by the next key is not active")
	}
	h.advance(100 * time.Millisecond) // and still
	h.set(func() {
		c := *h.creds[len(h.creds)-1]
		c.RevokedAt = h.now
		h.creds[len(h.creds)-1] = &c
		h.epochs["alice"]++
	})
	if r.introspect(next).Active {
		t.Error("the token is active though the next key is revoked, too")
	}
}

func TestWhoMayIntrospect(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice, bob := h.member("alice", "read-mail"), h.member("bob", "read-mail")
	text := alice.token(r).Token
	if out := r.post("/oauth2/introspect", alice.form("token", text)); !out.Active {
		t.Errorf("its own: %s", out.Body)
	}
	if out := r.post("/oauth2/introspect", bob.form("token", text)); out.Status != 200 || string(out.Body) != `{"active":false}` {
		t.Errorf("another's: %d %s", out.Status, out.Body)
	}
	ask := url.Values{"token": {text}}
	wantError(t, "nobody", r.post("/oauth2/introspect", ask), 401, "invalid_client")
	wantError(t, "an unknown token", r.post("/oauth2/introspect", ask, "Authorization", "Bearer sc_pep_2"), 401, "invalid_client")
	wantError(t, "basic", r.post("/oauth2/introspect", ask, "Authorization", "Basic c2NfcGVwXzE6"), 401, "invalid_client")
	wantError(t, "two", r.post("/oauth2/introspect", ask, "Authorization", "Bearer sc_pep_1", "Authorization", "Bearer sc_pep_1"), 401, "invalid_client")
	wantError(t, "both ways", r.post("/oauth2/introspect", alice.form("token", text), "Authorization", "Bearer sc_pep_1"), 401, "invalid_client")
	wantError(t, "no token", r.post("/oauth2/introspect", url.Values{"x": {"y"}}, "Authorization", "Bearer sc_pep_1"), 400, "invalid_request")
	form := alice.form("token", text)
	r.post("/oauth2/introspect", form)
	wantError(t, "a used assertion", r.post("/oauth2/introspect", form), 401, "invalid_client")
	form.Set("grant_type", "client_credentials")
	form.Del("token")
	wantError(t, "an assertion used elsewhere", r.post("/oauth2/token", form, "DPoP", alice.proofFor(alice.nonce[r])), 401, "invalid_client")
	h.set(func() { h.stale = true })
	wantError(t, "stale", r.post("/oauth2/introspect", ask, "Authorization", "Bearer sc_pep_1"), 503, "temporarily_unavailable")
}

// Whatever is no good token of ours is inactive, and the answer says nothing else. The same texts are
// no subject tokens.
func TestBadTokens(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	m, bob := h.member("alice", "read-mail"), h.member("bob", "read-mail")
	text := m.token(r, "may_act", "bob").Token
	jws, err := token.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	stranger := newHolder(t, "stranger", "EdDSA")
	kid := h.eddsa.Key().ID
	part := strings.Split(text, ".")
	forge := func(header string, payload []byte) string { return stranger.jws(t, []byte(header), payload) }
	resign := func(typ string, payload []byte) string {
		out, err := h.eddsa.Sign(typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	edit := func(name string, v any) []byte {
		var claims map[string]any
		if err := json.Unmarshal(jws.Payload, &claims); err != nil {
			t.Fatal(err)
		}
		if claims[name] = v; v == nil {
			delete(claims, name)
		}
		b, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	signed := r.post("/oauth2/introspect", url.Values{"token": {text}}, "Authorization", "Bearer sc_pep_1", "Accept", "application/token-introspection+jwt")
	other, err := h.status.Sign(token.PassportType, jws.Payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text string }{
		{"nonsense", "abc"},
		{"an opaque token", "sc_pep_1"},
		{"alg none", part64(`{"alg":"none","typ":"at+jwt","kid":"`+kid+`"}`) + "." + part[1] + "."},
		{"alg HS256", forge(`{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`"}`, jws.Payload)},
		{"signed by a stranger under our kid", forge(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+kid+`"}`, jws.Payload)},
		{"signed by a stranger under his own kid", forge(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+stranger.pub.ID+`"}`, jws.Payload)},
		{"key in the header", forge(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+kid+`","jwk":`+string(stranger.pub.JWK())+`}`, jws.Payload)},
		{"key in the header and no kid", forge(`{"alg":"EdDSA","typ":"at+jwt","jwk":`+string(stranger.pub.JWK())+`}`, jws.Payload)},
		{"no kid", forge(`{"alg":"EdDSA","typ":"at+jwt"}`, jws.Payload)},
		{"crit", forge(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+kid+`","crit":["exp"]}`, jws.Payload)},
		{"another algorithm under our kid", forge(`{"alg":"ES256","typ":"at+jwt","kid":"`+kid+`"}`, jws.Payload)},
		{"changed signature", flip(text)},
		{"changed payload", part[0] + "." + part64(string(edit("sub", "bob"))) + "." + part[2]},
		{"without signature", part[0] + "." + part[1] + "."},
		{"typ JWT", resign("JWT", jws.Payload)},
		{"typ of a proof", resign(token.ProofType, jws.Payload)},
		{"a signed introspection answer", string(signed.Body)},
		{"signed by the key of status lists", other},
		{"another issuer", resign(token.PassportType, edit("iss", "https://as.example.evil"))},
		{"no issuer", resign(token.PassportType, edit("iss", nil))},
		{"a jti that is none of ours", resign(token.PassportType, edit("jti", "abc"))},
		{"a subject that does not exist", resign(token.PassportType, edit("sub", "nobody"))},
		{"members twice", resign(token.PassportType, append([]byte(`{"sub":"bob",`), jws.Payload[1:]...))},
		{"expired", resign(token.PassportType, edit("exp", h.Now().Unix()-1))},
		{"not valid yet", resign(token.PassportType, edit("nbf", h.Now().Unix()+120))},
		{"oversize", text + strings.Repeat("A", token.MaxToken)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if out := r.introspect(c.text); string(out.Body) != `{"active":false}` {
				t.Errorf("introspection says %s", out.Body)
			}
			wantError(t, "exchange", bob.exchange(r, c.text), 400, "invalid_request")
			pr := m.present(c.text)
			if _, err := r.server.Passport(t.Context(), pr); !errors.Is(err, authz.ErrUnauthenticated) {
				t.Errorf("presented: %v, want it refused", err)
			}
		})
	}
	if !r.introspect(text).Active {
		t.Error("the good token is not active")
	}
}

func TestSignedIntrospection(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	text := h.member("alice", "read-mail").token(r).Token
	for _, c := range []struct {
		token  string
		active bool
	}{{text, true}, {"abc", false}} {
		out := r.post("/oauth2/introspect", url.Values{"token": {c.token}}, "Authorization", "Bearer sc_pep_1", "Accept", "application/token-introspection+jwt")
		if out.Status != 200 || out.Header.Get("Content-Type") != "application/token-introspection+jwt" {
			t.Fatalf("answer = %d %v", out.Status, out.Header)
		}
		jws, err := token.Parse(string(out.Body))
		if err != nil || jws.Type != "token-introspection+jwt" || jws.Verify(h.eddsa.Key()) != nil {
			t.Fatalf("JWS = %+v, %v", jws, err)
		}
		var claims struct {
			Issuer   string         `json:"iss"`
			Audience string         `json:"aud"`
			At       int64          `json:"iat"`
			About    map[string]any `json:"token_introspection"`
		}
		if err := json.Unmarshal(jws.Payload, &claims); err != nil {
			t.Fatal(err)
		}
		if claims.Issuer != houseIssuer || claims.Audience != "pep:gateway" || claims.At != h.Now().Unix() || claims.About["active"] != c.active {
			t.Errorf("claims = %+v", claims)
		}
	}
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/json": "application/json",
		"text/html, application/token-introspection+jwt;q=0.5": "application/token-introspection+jwt",
		"application/token-introspection+jwt;q=0":              "application/json",
	} {
		out := r.post("/oauth2/introspect", url.Values{"token": {text}}, "Authorization", "Bearer sc_pep_1", "Accept", accept)
		if got := out.Header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %q, want %q", accept, got, want)
		}
	}
}

// The log's time follows the clock that is ahead. What was revoked, and what was used, is not
// forgotten before it has expired by the right one.
func TestClockAhead(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	m := h.member("alice", "pay", "read-mail")
	first, form := m.token(r), m.form("grant_type", "client_credentials")
	ask := func() *outcome { return r.post("/oauth2/token", form, "DPoP", m.proofFor(m.nonce[r])) }
	if out := ask(); out.Token == "" {
		t.Fatalf("a token by an assertion: %d %s", out.Status, out.Body)
	}
	if out := r.post("/oauth2/revoke", m.form("token", first.Token)); out.Status != 200 {
		t.Fatalf("revoking: %d %s", out.Status, out.Body)
	}
	last := h.entries()[len(h.entries())-1]
	ahead := audit.Entry{Seq: last.Seq + 1, At: last.At.Add(time.Hour), Kind: audit.StatusBlock, Actor: "safeconduct", Body: json.RawMessage(`{"size":65536,"writer":"00"}`)}
	if err := r.server.Apply(t.Context(), ahead); err != nil {
		t.Fatal(err)
	}
	h.advance(2 * time.Second)
	if out := r.introspect(first.Token); out.Active {
		t.Error("a revoked token is active again")
	}
	wantError(t, "an assertion that was used", ask(), 401, "invalid_client")
}

// An assertion that was good for something else than a token is used up on every replica.
func TestAssertionUsedElsewhere(t *testing.T) {
	h := newHouse(t, 2, nil)
	here, there := h.replicas[0], h.replicas[1]
	m := h.member("alice", "pay", "read-mail")
	text := m.token(there).Token // and a nonce of there
	for name, use := range map[string]func(url.Values){
		"introspection": func(form url.Values) {
			if out := here.post("/oauth2/introspect", form); out.Status != 200 {
				t.Errorf("introspection: %d %s", out.Status, out.Body)
			}
		},
		"refused token": func(form url.Values) {
			m.token(here) // for a nonce
			h.set(func() { h.refuse = func(authz.Request, time.Time) string { return "not now" } })
			wantError(t, "a refusal by policy", here.post("/oauth2/token", form, "DPoP", m.proofFor(m.nonce[here])), 400, "access_denied")
			h.set(func() { h.refuse = nil })
		},
	} {
		form := m.form("token", text, "grant_type", "client_credentials")
		use(form)
		h.settle()
		form.Del("token")
		wantError(t, "after "+name, there.post("/oauth2/token", form, "DPoP", m.proofFor(m.nonce[there])), 401, "invalid_client")
		wantError(t, "after "+name+", introspection", there.post("/oauth2/introspect", form), 401, "invalid_client")
	}
	if len(h.of(audit.AssertionUsed)) == 0 {
		t.Error("no entry says that an assertion was used")
	}
}

func TestRevocation(t *testing.T) {
	h := newHouse(t, 2, nil)
	r := h.replicas[0]
	alice, bob := h.member("alice", "read-mail"), h.member("bob", "read-mail")
	text := alice.token(r).Token
	admin := []string{"Authorization", "Bearer sc_admin_1"}

	wantError(t, "another's", r.post("/oauth2/revoke", bob.form("token", text)), 400, "invalid_grant")
	wantError(t, "by an enforcement point", r.post("/oauth2/revoke", url.Values{"token": {text}}, "Authorization", "Bearer sc_pep_1"), 403, "unauthorized_client")
	wantError(t, "by nobody", r.post("/oauth2/revoke", url.Values{"token": {text}}), 401, "invalid_client")
	wantError(t, "nothing", r.post("/oauth2/revoke", url.Values{}, admin...), 400, "invalid_request")
	if out := r.post("/oauth2/revoke", url.Values{"token": {"abc"}}, admin...); out.Status != 200 {
		t.Errorf("an unknown token: %d %s, want 200 (RFC 7009, section 2.2)", out.Status, out.Body)
	}
	if !r.introspect(text).Active || len(h.of(audit.TokenRevoked)) != 0 {
		t.Fatal("the token is not active any more")
	}

	for range 2 {
		out := r.post("/oauth2/revoke", alice.form("token", text, "token_type_hint", "refresh_token"))
		if out.Status != 200 || len(out.Body) > 0 || out.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("its own: %d %s %v", out.Status, out.Body, out.Header)
		}
	}
	h.settle()
	for _, r := range h.replicas {
		if r.introspect(text).Active {
			t.Error("a revoked token is active")
		}
	}
	es := h.of(audit.TokenRevoked)
	if len(es) != 1 || es[0].Actor != "agent:alice" {
		t.Errorf("%d entries: %+v", len(es), es)
	}

	byID := alice.token(r).Token
	if out := r.post("/oauth2/revoke", url.Values{"token": {h.claims(byID).ID}, "why": {"incident 7"}}, admin...); out.Status != 200 {
		t.Errorf("by jti: %s", out.Body)
	}
	if r.introspect(byID).Active {
		t.Error("a token revoked by its jti is active")
	}
	rec, err := oauth.ParseRevoked(h.of(audit.TokenRevoked)[1].Body)
	if err != nil || rec.Why != "incident 7" || rec.ID != h.claims(byID).ID {
		t.Errorf("recorded %+v, %v", rec, err)
	}
	// Who starts later knows.
	late := h.replica(nil)
	h.settle()
	if late.introspect(text).Active || late.introspect(byID).Active || !late.introspect(alice.token(r).Token).Active {
		t.Error("a replica that started later says otherwise")
	}
}

// The lists say what introspection says, and tokens name their places in them.
func TestStatusLists(t *testing.T) {
	h := newHouse(t, 2, nil)
	r := h.replicas[0]
	alice, bob := h.member("alice", "read-mail"), h.member("bob", "read-mail")
	first := alice.token(r, "may_act", "bob").Token
	second := bob.exchange(h.replicas[1], first).Token
	other := alice.token(r).Token
	if out := r.post("/oauth2/revoke", alice.form("token", first)); out.Status != 200 {
		t.Fatal(out.Body)
	}
	h.settle()
	for _, c := range []struct {
		text    string
		revoked bool
	}{{first, true}, {second, true}, {other, false}} {
		s := h.claims(c.text).Status
		for _, r := range h.replicas {
			out := r.get(strings.TrimPrefix(s.URI, houseIssuer), "Accept", "application/statuslist+jwt")
			if out.Status != 200 || out.Header.Get("Content-Type") != "application/statuslist+jwt" || out.Header.Get("Cache-Control") != "public, max-age=15" {
				t.Fatalf("GET %s: %d %s %v", s.URI, out.Status, out.Body, out.Header)
			}
			jws, err := token.Parse(string(out.Body))
			if err != nil || jws.Type != token.StatusListType || jws.Verify(h.status.Key()) != nil {
				t.Fatalf("JWS = %+v, %v", jws, err)
			}
			l, err := token.ParseStatusToken(jws.Payload, 1<<16)
			if err != nil {
				t.Fatal(err)
			}
			if l.Subject != s.URI || l.TTL != 15*time.Second || !l.Expires.After(h.Now()) || l.List.Get(int(s.Index)) != c.revoked {
				t.Errorf("list %+v says %v of %d, want %v", l.Subject, l.List.Get(int(s.Index)), s.Index, c.revoked)
			}
		}
	}
	for path, status := range map[string]int{"0": 404, "99999": 404, "-1": 404, "01": 404, "x": 404, "1/2": 404} {
		if out := r.get("/oauth2/status/" + path); out.Status != status {
			t.Errorf("list %s: %d, want %d", path, out.Status, status)
		}
	}
	path := strings.TrimPrefix(h.claims(other).Status.URI, houseIssuer)
	if out := r.get(path, "Accept", "application/statuslist+cwt"); out.Status != 406 {
		t.Errorf("as CWT: %d, want 406", out.Status)
	}
	h.set(func() { h.stale = true })
	if out := r.get(path); out.Status != 503 {
		t.Errorf("stale: %d, want 503", out.Status)
	}
}

// What nobody can need any more is forgotten, by the times of entries.
func TestOldStateIsForgotten(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice := h.member("alice", "read-mail")
	text := alice.token(r).Token
	r.post("/oauth2/revoke", alice.form("token", text))
	before := r.server.Kept()
	h.advance(10 * time.Minute)
	alice.token(r)
	if after := r.server.Kept(); after.Revoked != 0 || after.Used != 1 || after.Blocks != 1 {
		t.Errorf("kept %+v, before %+v; want nothing of ten minutes ago", after, before)
	}
	if out := r.get(strings.TrimPrefix(h.claims(text).Status.URI, houseIssuer)); out.Status != 200 {
		t.Errorf("the list that is in use: %d", out.Status)
	}
}

func TestFormsAreReadStrictly(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	m := h.member("alice", "read-mail")
	m.token(r)
	form := "application/x-www-form-urlencoded"
	assertion := func() string { return m.form("grant_type", "client_credentials").Encode() }
	for _, c := range []struct {
		name, contentType, body, path string
		status                        int
	}{
		{"good", form, assertion(), "", 200},
		{"charset", form + "; charset=UTF-8", assertion(), "", 200},
		{"empty parameters count as left out", form, assertion() + "&scope=&foo=", "", 200},
		{"unknown parameters are ignored", form, assertion() + "&foo=bar", "", 200},
		{"resource may repeat", form, assertion() + "&resource=" + url.QueryEscape(mailServer) + "&resource=" + url.QueryEscape(fileServer), "", 200},
		{"scope twice", form, assertion() + "&scope=read-mail&scope=read-mail", "", 400},
		{"grant_type twice", form, assertion() + "&grant_type=client_credentials", "", 400},
		{"an unknown one twice", form, assertion() + "&foo=1&foo=2", "", 400},
		{"twice, once empty", form, assertion() + "&scope=&scope=read-mail", "", 400},
		{"twice under escapes", form, assertion() + "&s%63ope=read-mail&scope=read-mail", "", 400},
		{"JSON", "application/json", `{"grant_type":"client_credentials"}`, "", 400},
		{"no content type", "", assertion(), "", 400},
		{"multipart", "multipart/form-data; boundary=x", assertion(), "", 400},
		{"another charset", form + "; charset=UTF-16", assertion(), "", 400},
		{"query", form, assertion(), "?grant_type=client_credentials", 400},
		{"bad escape", form, assertion() + "&x=%zz", "", 400},
		{"no equals sign", form, assertion() + "&x", "", 400},
		{"semicolons", form, assertion() + ";x=y", "", 400},
		{"NUL", form, assertion() + "&scope=%00", "", 400},
		{"not UTF-8", form, assertion() + "&scope=%ff", "", 400},
		{"too many", form, assertion() + strings.Repeat("&a=", 1) + manyParameters(70), "", 400},
		{"too large", form, assertion() + "&x=" + strings.Repeat("a", 64<<10), "", 413},
	} {
		out := r.raw(c.contentType, c.body, c.path, m.proofFor(m.nonce[r]))
		if out.Status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, out.Status, out.Body, c.status)
		}
		if out.Status >= 400 && out.Error == "" {
			t.Errorf("%s: %s is no error of RFC 6749", c.name, out.Body)
		}
	}
	if out := r.get("/oauth2/token"); out.Status != 405 || out.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %v, want 405", out.Status, out.Header)
	}
}

func manyParameters(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf("&p%d=1", i)
	}
	return s
}
