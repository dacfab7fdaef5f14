package oauth_test

import (
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

const tokenURL = houseIssuer + "/oauth2/token"

// ask1 sends one request with the given DPoP headers.
func (m *member) ask1(r *replica, proofs ...string) *outcome {
	m.h.t.Helper()
	var headers []string
	for _, p := range proofs {
		headers = append(headers, "DPoP", p)
	}
	return r.post("/oauth2/token", m.form("grant_type", "client_credentials"), headers...)
}

func TestNonce(t *testing.T) {
	h := newHouse(t, 2, nil)
	m := h.member("alice", "read-mail")
	r := h.replicas[0]
	form := m.form("grant_type", "client_credentials")
	out := r.post("/oauth2/token", form, "DPoP", m.proofFor(""))
	wantError(t, "no nonce", out, 400, "use_dpop_nonce")
	nonce := out.Header.Get("DPoP-Nonce")
	if nonce == "" {
		t.Fatal("no nonce is offered")
	}
	// The same assertion serves for the second try: it is used up when a token is issued.
	out = r.post("/oauth2/token", form, "DPoP", m.proofFor(nonce))
	if out.Status != 200 || out.Header.Get("DPoP-Nonce") == "" {
		t.Errorf("with the nonce: %d %s, headers %v", out.Status, out.Body, out.Header)
	}

	// A nonce is good for five minutes, and for the process that minted it.
	wantError(t, "at another replica", m.ask1(h.replicas[1], m.proofFor(nonce)), 400, "use_dpop_nonce")
	for _, bad := range []string{"x", nonce + "A", nonce[:len(nonce)-1], flipAt(nonce, 2), flipAt(nonce, 15), flipAt(nonce, 40), strings.Repeat("A", len(nonce)),
		base64.RawURLEncoding.EncodeToString(make([]byte, 32))} {
		wantError(t, "nonce "+bad, m.ask1(r, m.proofFor(bad)), 400, "use_dpop_nonce")
	}
	h.advance(4*time.Minute + 59*time.Second)
	if out := m.ask1(r, m.proofFor(nonce)); out.Status != 200 {
		t.Errorf("after almost five minutes: %s", out.Body)
	} else if out.Header.Get("DPoP-Nonce") == nonce {
		t.Error("the old nonce is offered again")
	}
	h.advance(2 * time.Second)
	wantError(t, "after five minutes", m.ask1(r, m.proofFor(nonce)), 400, "use_dpop_nonce")
}

func flipAt(s string, i int) string {
	b := []byte(s)
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

func TestProofUsedOnce(t *testing.T) {
	h := newHouse(t, 2, nil)
	m := h.member("alice", "read-mail")
	r := h.replicas[0]
	m.token(r)
	proof := m.proofFor(m.nonce[r])
	if out := m.ask1(r, proof); out.Status != 200 {
		t.Fatalf("first use: %s", out.Body)
	}
	wantError(t, "replayed", m.ask1(r, proof), 400, "invalid_dpop_proof")
	// Another replica has not seen it, and asks for a nonce of its own.
	wantError(t, "replayed at another replica", m.ask1(h.replicas[1], proof), 400, "use_dpop_nonce")
	// The jti of another key is another's.
	p := token.Proof{ID: "same", Method: "POST", URL: tokenURL, Nonce: m.nonce[r], IssuedAt: h.Now()}
	one := m.prove(p, "")
	m.proof = newSigner(t, "EdDSA")
	for _, text := range []string{one, m.prove(p, "")} {
		if out := m.ask1(r, text); out.Status != 200 {
			t.Errorf("jti %q: %s", p.ID, out.Body)
		}
	}
}

func TestBadProofs(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "read-mail")
	r := h.replicas[0]
	m.token(r)
	good := func() token.Proof {
		return token.Proof{ID: rand.Text(), Method: "POST", URL: tokenURL, Nonce: m.nonce[r], IssuedAt: h.Now()}
	}
	// Proofs that no library of ours would make are made by hand.
	ed := newHolder(t, "alice", "EdDSA")
	jwk := func(more string) string { return strings.TrimSuffix(string(ed.pub.JWK()), "}") + more + "}" }
	payload := func(more string) []byte {
		return []byte(`{"jti":"` + rand.Text() + `","htm":"POST","htu":"` + tokenURL + `","iat":` + seconds(h.Now()) + `,"nonce":"` + m.nonce[r] + `"` + more + `}`)
	}
	header := func(s string) []byte { return []byte(s) }
	sign := func(head, body []byte) string { return ed.jws(t, head, body) }
	fine := `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + jwk("") + `}`
	if out := m.ask1(r, sign(header(fine), payload(""))); out.Status != 200 {
		t.Fatalf("a good proof made by hand: %s", out.Body)
	}
	change := func(f func(*token.Proof)) string { p := good(); f(&p); return m.prove(p, "") }
	for _, c := range []struct {
		name   string
		proofs []string
	}{
		{"method", []string{change(func(p *token.Proof) { p.Method = "GET" })}},
		{"URL", []string{change(func(p *token.Proof) { p.URL = houseIssuer + "/oauth2/introspect" })}},
		{"host", []string{change(func(p *token.Proof) { p.URL = "https://evil.example/oauth2/token" })}},
		{"too old", []string{change(func(p *token.Proof) { p.IssuedAt = p.IssuedAt.Add(-32 * time.Second) })}},
		{"from the future", []string{change(func(p *token.Proof) { p.IssuedAt = p.IssuedAt.Add(32 * time.Second) })}},
		{"for an access token", []string{m.prove(good(), "some.access.token")}},
		{"two headers", []string{m.proofFor(m.nonce[r]), m.proofFor(m.nonce[r])}},
		{"empty", []string{""}},
		{"no JWS", []string{"abc"}},
		{"changed signature", []string{flip(m.proofFor(m.nonce[r]))}},
		{"oversize", []string{m.proofFor(m.nonce[r]) + strings.Repeat("A", token.MaxToken)}},
		{"alg none", []string{strings.TrimRight(sign(header(`{"typ":"dpop+jwt","alg":"none","jwk":`+jwk("")+`}`), payload("")), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")}},
		{"alg HS256", []string{sign(header(`{"typ":"dpop+jwt","alg":"HS256","jwk":`+jwk("")+`}`), payload(""))}},
		{"alg of another key type", []string{sign(header(`{"typ":"dpop+jwt","alg":"ES256","jwk":`+jwk("")+`}`), payload(""))}},
		{"typ JWT", []string{sign(header(`{"typ":"JWT","alg":"EdDSA","jwk":`+jwk("")+`}`), payload(""))}},
		{"no typ", []string{sign(header(`{"alg":"EdDSA","jwk":`+jwk("")+`}`), payload(""))}},
		{"no jwk", []string{sign(header(`{"typ":"dpop+jwt","alg":"EdDSA","kid":"x"}`), payload(""))}},
		{"private jwk", []string{sign(header(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":`+jwk(`,"d":"AAAA"`)+`}`), payload(""))}},
		{"symmetric jwk", []string{sign(header(`{"typ":"dpop+jwt","alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`), payload(""))}},
		{"crit", []string{sign(header(`{"typ":"dpop+jwt","alg":"EdDSA","crit":["exp"],"jwk":`+jwk("")+`}`), payload(""))}},
		{"jku", []string{sign(header(`{"typ":"dpop+jwt","alg":"EdDSA","jku":"https://evil.example","jwk":`+jwk("")+`}`), payload(""))}},
		{"alg twice", []string{sign(header(`{"typ":"dpop+jwt","alg":"none","alg":"EdDSA","jwk":`+jwk("")+`}`), payload(""))}},
		{"htu twice", []string{sign(header(fine), payload(`,"htu":"https://evil.example"`))}},
	} {
		t.Run(c.name, func(t *testing.T) { wantError(t, c.name, m.ask1(r, c.proofs...), 400, "invalid_dpop_proof") })
	}
	wantError(t, "no proof", m.ask1(r), 400, "invalid_request")
}

func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func TestBearerOnlyIfAllowed(t *testing.T) {
	h := newHouse(t, 1, func(c *oauth.Config) { c.AllowBearer = true })
	m := h.member("alice", "read-mail")
	out := m.ask1(h.replicas[0])
	if out.Status != 200 || out.Type != "Bearer" {
		t.Fatalf("answer = %d %s", out.Status, out.Body)
	}
	if c := h.claims(out.Token).Confirmation; c != (token.Confirmation{}) {
		t.Errorf("cnf = %+v", c)
	}
	wantError(t, "for two resources", h.replicas[0].post("/oauth2/token", m.form("grant_type", "client_credentials", "resource", mailServer, "resource", fileServer)), 400, "invalid_target")
}
