package client_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/token"
)

const (
	issuer = "https://as.example.com/tenant"
	rsURL  = "https://erp.example.com"
)

// An authServer is a strict authorization server of one agent, and the resource server beside it,
// without a network: it is the transport of HTTP clients.
type authServer struct {
	t *testing.T

	mu         sync.Mutex
	keys       map[string]*token.Key // of the agent, by id
	enrolments map[string]bool       // enrolment tokens that count
	used       map[string]bool       // ids of assertions and proofs
	tokens     map[string]issued
	metadata   map[string]any
	nonces     [2]string // of the authorization and the resource server
	life       int       // of tokens, in seconds
	keyLife    time.Duration
	forms      []url.Values // of token requests that were answered with a token
	calls      map[string]int
	answer     map[string]any // in place of the members of a token's answer
	fault      func(r *http.Request, n int) (status int, body string)
	lose       func(r *http.Request, n int) bool // the answer
	resource   http.HandlerFunc
}

type issued struct {
	jkt     string
	revoked bool
	until   time.Time
}

func newAuthServer(t *testing.T) *authServer {
	s := &authServer{
		t: t, keys: map[string]*token.Key{}, enrolments: map[string]bool{}, used: map[string]bool{}, tokens: map[string]issued{},
		nonces: [2]string{"as-1", "rs-1"}, life: 300, keyLife: 90 * 24 * time.Hour, calls: map[string]int{},
		metadata: map[string]any{
			"issuer": issuer, "token_endpoint": issuer + "/oauth2/token", "introspection_endpoint": issuer + "/oauth2/introspect",
			"revocation_endpoint": issuer + "/oauth2/revoke", "jwks_uri": issuer + "/.well-known/jwks.json",
			"token_endpoint_auth_methods_supported":            []string{"private_key_jwt"},
			"token_endpoint_auth_signing_alg_values_supported": []string{"Ed25519", "ES256"},
			"dpop_signing_alg_values_supported":                []string{"EdDSA", "ES256"},
		},
	}
	s.resource = func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, b)
	}
	return s
}

// http returns a client of the server.
func (s *authServer) http() *http.Client { return &http.Client{Transport: s} }

// agent returns a registered agent with a key in memory.
func (s *authServer) agent(alg string) *client.Agent { return s.agentFor(s.t, alg) }

func (s *authServer) agentFor(t testing.TB, alg string) *client.Agent {
	t.Helper()
	signer, key, err := token.GenerateSigner(alg, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.keys[signer.Key().ID] = signer.Key()
	a, err := client.NewAgent(issuer, "bot", key)
	if err != nil {
		t.Fatal(err)
	}
	a.HTTP = s.http()
	return a
}

// RoundTrip answers a request without a network.
func (s *authServer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := httptest.NewRequest(r.Method, r.URL.String(), strings.NewReader(string(body))).WithContext(r.Context())
	in.Header = r.Header.Clone()
	w := httptest.NewRecorder()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[r.URL.Path]++
	n := s.calls[r.URL.Path]
	if s.fault != nil {
		if status, text := s.fault(r, n); status < 0 {
			return nil, io.ErrUnexpectedEOF
		} else if status > 0 {
			w.WriteHeader(status)
			io.WriteString(w, text)
			return w.Result(), nil
		}
	}
	s.serve(w, in)
	if s.lose != nil && s.lose(r, n) {
		return nil, io.ErrUnexpectedEOF
	}
	return w.Result(), nil
}

func (s *authServer) serve(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Scheme + "://" + r.URL.Host + r.URL.Path {
	case "GET https://as.example.com/.well-known/oauth-authorization-server/tenant":
		writeJSON(w, 200, s.metadata)
	case "POST " + issuer + "/oauth2/token":
		s.token(w, r)
	case "POST " + issuer + "/oauth2/introspect":
		if form := s.authenticate(w, r); form != nil {
			t, ok := s.tokens[form.Get("token")]
			writeJSON(w, 200, map[string]any{"active": ok && !t.revoked, "client_id": "bot", "sub": "bot", "scope": "a b", "exp": t.until.Unix()})
		}
	case "POST " + issuer + "/oauth2/revoke":
		if form := s.authenticate(w, r); form != nil {
			if t, ok := s.tokens[form.Get("token")]; ok {
				t.revoked = true
				s.tokens[form.Get("token")] = t
			}
		}
	case "POST " + issuer + "/oauth2/enroll":
		s.enrol(w, r)
	case "POST " + issuer + "/oauth2/keys":
		if form := s.authenticate(w, r); form != nil {
			s.register(w, form.Get("proof"), "")
		}
	default:
		if r.URL.Scheme+"://"+strings.ToLower(r.URL.Hostname()) == rsURL || strings.HasPrefix(r.URL.String(), issuer+"/access/") {
			s.protect(w, r)
			return
		}
		w.WriteHeader(404)
	}
}

// authenticate checks the client assertion as RFC 7523 and its revision have it.
func (s *authServer) authenticate(w http.ResponseWriter, r *http.Request) url.Values {
	refuse := func(format string, args ...any) url.Values {
		oauthError(w, 401, "invalid_client", fmt.Sprintf(format, args...))
		return nil
	}
	if err := r.ParseForm(); err != nil || len(r.URL.RawQuery) > 0 {
		return refuse("no form: %v", err)
	}
	f := r.PostForm
	if f.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return refuse("type %q", f.Get("client_assertion_type"))
	}
	j, err := token.Parse(f.Get("client_assertion"))
	if err != nil || !j.Is("client-authentication+jwt") || j.JWK != nil {
		return refuse("assertion %v", err)
	}
	k := s.keys[j.KeyID]
	if k == nil || j.Verify(k) != nil {
		return refuse("key %q", j.KeyID)
	}
	a, err := token.ParseAssertion(j.Payload)
	if err != nil || a.Issuer != "bot" || a.Subject != "bot" || !slices.Equal(a.Audience, []string{issuer}) {
		return refuse("claims %s: %v", j.Payload, err)
	}
	if s.used[a.ID] || a.ID == "" || a.Expires.Sub(a.IssuedAt) > 2*time.Minute {
		return refuse("claims %s: used %v", j.Payload, s.used[a.ID])
	}
	s.used[a.ID] = true
	return f
}

// proof checks the DPoP proof of a request.
func (s *authServer) proof(r *http.Request, accessToken, nonce string, now time.Time) (jkt, code string) {
	if len(r.Header["Dpop"]) != 1 {
		return "", "invalid_dpop_proof"
	}
	p, err := token.ParseProof(r.Header.Get("DPoP"))
	u := *r.URL
	u.RawQuery = ""
	if err == nil {
		err = p.Check(r.Method, u.String(), accessToken, now, time.Minute)
	}
	if err != nil || s.used[p.ID] || strings.ContainsAny(p.URL, "?#") {
		s.t.Logf("proof %+v: %v", p, err)
		return "", "invalid_dpop_proof"
	}
	s.used[p.ID] = true
	if p.Nonce != nonce {
		return "", "use_dpop_nonce"
	}
	return p.Key.ID, ""
}

func (s *authServer) token(w http.ResponseWriter, r *http.Request) {
	form := s.authenticate(w, r)
	if form == nil {
		return
	}
	w.Header().Set("DPoP-Nonce", s.nonces[0])
	jkt, code := s.proof(r, "", s.nonces[0], time.Now())
	if code != "" {
		oauthError(w, 400, code, "")
		return
	}
	form.Del("client_assertion")
	s.forms = append(s.forms, form)
	t := rand.Text()
	s.tokens[t] = issued{jkt: jkt, until: time.Now().Add(time.Duration(s.life) * time.Second)}
	a := map[string]any{"access_token": t, "token_type": "DPoP", "expires_in": s.life, "scope": form.Get("scope")}
	if strings.HasSuffix(form.Get("grant_type"), "token-exchange") {
		a["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
	}
	if d := form.Get("authorization_details"); d != "" {
		a["authorization_details"] = json.RawMessage(d)
	}
	for k, v := range s.answer {
		if a[k] = v; v == nil {
			delete(a, k)
		}
	}
	writeJSON(w, 200, a)
}

// protect is the resource server.
func (s *authServer) protect(w http.ResponseWriter, r *http.Request) {
	challenge := func(code string) {
		v := `Basic realm="a, DPoP error=\"x\"", DPoP algs="EdDSA ES256"`
		if code != "" {
			v += `, error="` + code + `"`
		}
		w.Header().Add("WWW-Authenticate", v)
		w.WriteHeader(401)
	}
	w.Header().Set("DPoP-Nonce", s.nonces[1])
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP ")
	t := s.tokens[value]
	if !ok || t.jkt == "" || t.revoked || time.Now().After(t.until) {
		challenge("invalid_token")
		return
	}
	jkt, code := s.proof(r, value, s.nonces[1], time.Now())
	if code == "" && jkt != t.jkt {
		code = "invalid_dpop_proof"
	}
	if code != "" {
		challenge(code)
		return
	}
	s.resource(w, r)
}

func (s *authServer) enrol(w http.ResponseWriter, r *http.Request) {
	var in struct{ Token, Proof string }
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || !s.enrolments[in.Token] {
		oauthError(w, 401, "invalid_client", "the enrolment token is unknown, used or has expired")
		return
	}
	h := sha256.Sum256([]byte(in.Token))
	if s.register(w, in.Proof, base64.RawURLEncoding.EncodeToString(h[:])) {
		delete(s.enrolments, in.Token)
	}
}

func (s *authServer) register(w http.ResponseWriter, proof, nonce string) bool {
	j, err := token.Parse(proof)
	var claims struct {
		Aud, Jti, Nonce string
		Iat, Exp        int64
	}
	if err != nil || !j.Is("key-proof+jwt") || j.JWK == nil || j.Verify(j.JWK) != nil || json.Unmarshal(j.Payload, &claims) != nil ||
		claims.Aud != issuer || claims.Nonce != nonce || s.used[claims.Jti] || claims.Jti == "" || claims.Exp-claims.Iat > 120 {
		oauthError(w, 400, "invalid_request", fmt.Sprintf("proof %v: %v", j, err))
		return false
	}
	s.used[claims.Jti] = true
	if s.keys[j.JWK.ID] != nil {
		oauthError(w, 409, "invalid_request", "the key is known")
		return false
	}
	s.keys[j.JWK.ID] = j.JWK
	writeJSON(w, 201, map[string]any{"client_id": "bot", "kid": j.JWK.ID, "issuer": issuer, "token_endpoint": issuer + "/oauth2/token",
		"expires_at": time.Now().Add(s.keyLife).UTC().Format(time.RFC3339)})
	return true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func oauthError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}
