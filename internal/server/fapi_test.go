package server_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// What the OpenID conformance suite checks of a server by its plan "FAPI2-Security-Profile-Final:
// Authorization Client Credentials Grant server test", with private_key_jwt and DPoP, told again here:
// the suite needs a network and a browser. A subtest bears the name of its module, without the prefix
// fapi2-security-profile-final.
//
// In two respects the server takes more than FAPI 2.0 allows. Its section 5.4.1 leaves RS256 out of the
// algorithms, while an agent that has an RSA key may sign assertions and proofs with it here; tokens
// never are. Its section 5.3.2.1 wants the audience of an assertion to be a string, while an array of the
// issuer and nothing else, which is what golang-jwt makes of one, does here, too.
func TestFAPI2ClientCredentials(t *testing.T) {
	cfg := passports(t)
	var pool *x509.CertPool
	cfg.TLS, pool = certificate(t)
	cfg.TLS.ClientCertificates = true
	s := start(t, cfg)
	s.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	first, second := s.party("clerk", "EdDSA"), s.party("helper", "ES256")

	t.Run("discovery-end-point-verification", func(t *testing.T) { fapiDiscovery(t, s) })
	t.Run("happy-flow", func(t *testing.T) {
		for _, p := range []*party{first, second} {
			fapiHappyFlow(t, p)
		}
	})
	t.Run("access-token-type-header-case-sensitivity", func(t *testing.T) {
		access := first.token("read-ledger").Token
		for _, scheme := range []string{"DPoP", "dpop", "DPOP", "dPoP"} {
			sh := first.show(access, "list_entries", "")
			sh.scheme = scheme
			if rep := sh.send(); rep.status != 200 || !decided(t, rep) {
				t.Errorf("%s: %d %s", scheme, rep.status, rep.body)
			}
		}
	})
	t.Run("check-dpop-proof-nbf-exp", func(t *testing.T) {
		now := time.Now().Unix()
		access := first.ask("read-ledger").proving("nbf", now, "exp", now+300).token().Token
		if rep := first.show(access, "list_entries", "").but("nbf", now, "exp", now+300).send(); rep.status != 200 {
			t.Errorf("at the resource: %d %s", rep.status, rep.body)
		}
	})
	for name, ahead := range map[string]int64{"ensure-dpop-proof-with-iat-10seconds-before-succeeds": -10, "ensure-dpop-proof-with-iat-10seconds-after-succeeds": 10} {
		t.Run(name, func(t *testing.T) {
			at := time.Now().Unix() + ahead
			access := first.ask("read-ledger").proving("iat", at).token().Token
			if rep := first.show(access, "list_entries", "").but("iat", at).send(); rep.status != 200 {
				t.Errorf("at the resource: %d %s", rep.status, rep.body)
			}
		})
	}
	t.Run("ensure-client-id-in-token-endpoint", func(t *testing.T) {
		// The second client's id with the first one's assertion, and with the first one's key.
		wantError(t, first.ask("read-ledger", "client_id", second.id).send(), 401, "invalid_client")
		wantError(t, first.ask("read-ledger").with("iss", second.id, "sub", second.id).send(), 401, "invalid_client")
	})
	t.Run("ensure-holder-of-key-required", func(t *testing.T) {
		tr := first.ask("read-ledger")
		tr.noProof = true
		wantError(t, tr.send(), 400, "invalid_request")
		fapiTLS(t, s, pool)
	})
	t.Run("ensure-signed-client-assertion-with-RS256-fails", func(t *testing.T) {
		tr := first.ask("read-ledger").withHead("alg", "RS256")
		tr.key = rsaKey()
		wantError(t, tr.send(), 401, "invalid_client")
		tr = first.ask("read-ledger").withHead("alg", "RS256", "kid", nil)
		tr.key = rsaKey()
		wantError(t, tr.send(), 401, "invalid_client")
	})
	t.Run("ensure-client-assertion-in-token-endpoint", func(t *testing.T) {
		tr := first.ask("read-ledger")
		tr.noAssertion = true
		wantError(t, tr.send(), 401, "invalid_client")
		tr = first.ask("read-ledger", "client_id", first.id)
		tr.noAssertion = true
		wantError(t, tr.send(), 401, "invalid_client")
		tr = first.ask("read-ledger", "client_assertion_type", "urn:example:other")
		wantError(t, tr.send(), 401, "invalid_client")
	})
	t.Run("ensure-client-assertion-with-exp-is-5-minutes-in-past-fails", func(t *testing.T) {
		at := time.Now().Unix() - 300
		wantError(t, first.ask("read-ledger").with("iat", at-60, "exp", at).send(), 401, "invalid_client")
	})
	t.Run("ensure-client-assertion-with-wrong-aud-fails", func(t *testing.T) {
		issuer := s.issuer()
		for name, aud := range map[string]any{
			"another server":                "https://other1.example.com",
			"the token endpoint":            issuer + "/oauth2/token",
			"the issuer with a slash":       issuer + "/",
			"the issuer in capital letters": strings.ToUpper(issuer),
			"more than the issuer":          []string{issuer, "https://other1.example.com"},
			"the issuer and its endpoint":   []string{issuer, issuer + "/oauth2/token"},
			"the issuer twice":              []string{issuer, issuer},
			"nobody":                        []string{},
			"a number":                      1,
			"missing":                       nil,
		} {
			t.Run(name, func(t *testing.T) {
				wantError(t, first.ask("read-ledger").with("aud", aud).send(), 401, "invalid_client")
			})
		}
	})
	t.Run("an audience that is an array of the issuer alone", func(t *testing.T) {
		first.ask("read-ledger").with("aud", []string{s.issuer()}).token()
	})
	t.Run("ensure-client-assertion-with-no-sub-fails", func(t *testing.T) {
		wantError(t, first.ask("read-ledger").with("sub", nil).send(), 401, "invalid_client")
	})
	// Modules that the plan has for the pushed authorization request, which do as well at the token endpoint.
	t.Run("par-ensure-jwt-client-assertion-with-iat-nbf-8-seconds-in-the-future-is-accepted", func(t *testing.T) {
		at := time.Now().Unix() + 8
		first.ask("read-ledger").with("iat", at, "nbf", at).token()
	})
	t.Run("par-ensure-jwt-client-assertion-with-iat-nbf-over-60-seconds-in-the-future-fails", func(t *testing.T) {
		at := time.Now().Unix() + 65
		wantError(t, first.ask("read-ledger").with("iat", at, "exp", at+60).send(), 401, "invalid_client")
		wantError(t, first.ask("read-ledger").with("nbf", at, "exp", at+60).send(), 401, "invalid_client")
	})
	t.Run("par-reject-invalid-http-verb", func(t *testing.T) {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			if rep := s.send(method, "/oauth2/token", "", http.Header{}); rep.status != 405 {
				t.Errorf("%s: %d", method, rep.status)
			}
		}
	})
	t.Run("dpop-negative-tests", func(t *testing.T) { fapiProofs(t, first) })
}

// fapiDiscovery checks the server's metadata.
func fapiDiscovery(t *testing.T, s *running) {
	rep := s.do("GET", "/.well-known/oauth-authorization-server", "", "")
	if rep.status != 200 || !strings.HasPrefix(rep.header.Get("Content-Type"), "application/json") {
		t.Fatalf("%d %s: %s", rep.status, rep.header.Get("Content-Type"), rep.body)
	}
	var m object
	if err := json.Unmarshal([]byte(rep.body), &m); err != nil {
		t.Fatal(err)
	}
	list := func(name string) (out []string) {
		v, _ := m[name].([]any)
		for _, e := range v {
			out = append(out, e.(string))
		}
		if len(out) == 0 {
			t.Errorf("%s is missing, or no list", name)
		}
		return out
	}
	if m["issuer"] != s.issuer() {
		t.Errorf("issuer %v, want %s", m["issuer"], s.issuer())
	}
	for _, name := range []string{"token_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint"} {
		if url, _ := m[name].(string); !strings.HasPrefix(url, "https://") {
			t.Errorf("%s %v is no https URL", name, m[name])
		}
	}
	// 5.3.2.1-6: private_key_jwt or mutual TLS, and no secrets at any endpoint.
	if !slices.Contains(list("token_endpoint_auth_methods_supported"), "private_key_jwt") {
		t.Errorf("private_key_jwt is not supported")
	}
	for _, name := range []string{"token_endpoint_auth_methods_supported", "introspection_endpoint_auth_methods_supported", "revocation_endpoint_auth_methods_supported"} {
		for _, method := range list(name) {
			if strings.HasPrefix(method, "client_secret") || method == "none" {
				t.Errorf("%s has %s", name, method)
			}
		}
	}
	// 5.4.1: of PS256, ES256 and EdDSA one is supported at least, and nothing is unsigned or symmetric.
	for _, name := range []string{"token_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported"} {
		algs := list(name)
		if !slices.Contains(algs, "ES256") || !slices.Contains(algs, "EdDSA") || !slices.Contains(algs, "PS256") {
			t.Errorf("%s %q", name, algs)
		}
		if slices.ContainsFunc(algs, func(alg string) bool { return alg == "none" || strings.HasPrefix(alg, "HS") }) {
			t.Errorf("%s %q", name, algs)
		}
	}
	if !slices.Contains(list("grant_types_supported"), "client_credentials") {
		t.Error("client_credentials is not supported")
	}
	if m["tls_client_certificate_bound_access_tokens"] != true {
		t.Error("tokens are not bound to certificates")
	}
	if m["registration_endpoint"] != nil {
		t.Errorf("there is a registration_endpoint: %v", m["registration_endpoint"])
	}
	if types, ok := m["response_types_supported"].([]any); !ok || len(types) != 0 { // of what authorization_endpoint names nothing can be had
		t.Errorf("response_types_supported %v", m["response_types_supported"])
	}
	var keys struct{ Keys []object }
	s.into(s.do("GET", "/.well-known/jwks.json", "", ""), &keys)
	if len(keys.Keys) == 0 {
		t.Error("there are no keys")
	}
	seen := map[any]bool{}
	for _, k := range keys.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if k[private] != nil {
				t.Errorf("key %v has the private member %s", k["kid"], private)
			}
		}
		if k["kid"] == nil || seen[k["kid"]] || k["kty"] == nil || k["use"] != "sig" {
			t.Errorf("key %v: kid missing or twice, or no kty, or not for signatures", k)
		}
		seen[k["kid"]] = true
	}
}

// fapiHappyFlow gets a token, checks it and uses it.
func fapiHappyFlow(t *testing.T, p *party) {
	rep := p.ask("read-ledger").send()
	var g granted
	p.into(rep, &g)
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"} {
		if got := rep.header.Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	if !strings.EqualFold(g.Type, "DPoP") || g.Scope != "read-ledger" {
		t.Errorf("type %s, scope %q", g.Type, g.Scope)
	}
	if g.Expires < 1 || g.Expires > 300 {
		t.Errorf("expires in %d s, want at most 5 minutes", g.Expires)
	}
	for _, name := range []string{"refresh_token", "id_token"} {
		var m object
		if _ = json.Unmarshal([]byte(rep.body), &m); m[name] != nil {
			t.Errorf("client credentials come with a %s", name)
		}
	}
	// Entropy: the last part of the token is a signature, and every token differs.
	parts := strings.Split(g.Token, ".")
	if again := p.token("read-ledger").Token; len(parts) != 3 || len(must(base64.RawURLEncoding.DecodeString(parts[2]))) < 64 || again == g.Token {
		t.Error("a token can be guessed")
	}
	if rep := p.show(g.Token, "list_entries", "").send(); rep.status != 200 || !decided(t, rep) {
		t.Errorf("at the resource: %d %s", rep.status, rep.body)
	}
	for _, accept := range []string{"application/json;charset=utf-8", "*/*", "application/json, application/*+json, */*"} {
		sh := p.show(g.Token, "list_entries", "")
		sh.headers.Set("Accept", accept)
		sh.headers.Set("X-Fapi-Customer-Ip-Address", "2001:db8::1893:25c8:1946")
		sh.headers.Set("X-Fapi-Interaction-Id", "c770aef3-6784-41f7-8e0e-ff5f97bddb3a")
		if rep := sh.send(); rep.status != 200 {
			t.Errorf("Accept %q: %d %s", accept, rep.status, rep.body)
		}
	}
	// 5.3.4-2: no token in the query.
	if rep := p.send("POST", "/access/v1/evaluation?access_token="+g.Token, evaluation("", "list_entries", "", ""), http.Header{"Content-Type": {"application/json"}}); rep.status != 401 {
		t.Errorf("a token in the query: %d %s", rep.status, rep.body)
	}
}

// fapiTLS checks versions and cipher suites of TLS (5.2.1, 5.2.2).
func fapiTLS(t *testing.T, s *running, pool *x509.CertPool) {
	dial := func(c *tls.Config) (tls.ConnectionState, error) {
		c.RootCAs = pool
		conn, err := tls.Dial("tcp", s.Addr().String(), c)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		return conn.ConnectionState(), nil
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if _, err := dial(&tls.Config{MinVersion: version, MaxVersion: version}); err == nil {
			t.Errorf("%s is accepted", tls.VersionName(version))
		}
	}
	if st, err := dial(&tls.Config{}); err != nil || st.Version != tls.VersionTLS13 {
		t.Errorf("TLS 1.3 is not preferred: %s, %v", tls.VersionName(st.Version), err)
	}
	recommended := 0
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if slices.Contains(suite.SupportedVersions, tls.VersionTLS13) && len(suite.SupportedVersions) == 1 {
			continue
		}
		_, err := dial(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
		good := strings.HasPrefix(suite.Name, "TLS_ECDHE_") && strings.Contains(suite.Name, "_GCM_")
		if err == nil && !good {
			t.Errorf("%s is accepted", suite.Name)
		}
		if err == nil {
			recommended++
		}
	}
	if recommended == 0 {
		t.Error("no recommended suite of TLS 1.2 is accepted")
	}
}

// fapiProofs bends the DPoP proof at the resource and at the token endpoint (RFC 9449, section 4.3).
func fapiProofs(t *testing.T, p *party) {
	access := p.token("read-ledger").Token
	works := func(t *testing.T, sh *showing) {
		t.Helper()
		if rep := sh.send(); rep.status != 200 || !decided(t, rep) {
			t.Errorf("%d %s, want an answer", rep.status, rep.body)
		}
	}
	fails := func(t *testing.T, sh *showing, want string) {
		t.Helper()
		rep := sh.send()
		challenge := rep.header.Get("Www-Authenticate")
		if rep.status != 401 || !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, `error="`+want+`"`) || !strings.Contains(challenge, "algs=") {
			t.Errorf("%d %s, challenge %q, want 401 and %s", rep.status, rep.body, challenge, want)
		}
	}
	private := func(o object) object { // RFC 9449, section 4.3, check 7
		jwk := publicJWK(p.proof).but("d", base64.RawURLEncoding.EncodeToString(make([]byte, 32)))
		return o.but("jwk", jwk)
	}
	unsigned := func(head, claims object) string {
		return compact(head.but("alg", "none").json(), claims.json(), nil)
	}
	broken := func(text string) string { // in its signature
		i := strings.LastIndexByte(text, '.') + 1
		return text[:i] + map[bool]string{true: "B", false: "A"}[text[i] == 'A'] + text[i+1:]
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}

	// At the resource.
	show := func() *showing { return p.show(access, "list_entries", "") }
	t.Run("resource", func(t *testing.T) {
		t.Run("header in capital letters", func(t *testing.T) {
			sh := show()
			sh.none = true
			sh.headers["DPOP"] = []string{compact(sh.proofHead.json(), sh.with.json(), sh.key)}
			works(t, sh)
		})
		t.Run("more than one DPoP header", func(t *testing.T) {
			sh := show()
			sh.headers.Add("DPoP", compact(sh.proofHead.json(), sh.but("jti", rand.Text()).with.json(), sh.key))
			if rep := sh.send(); rep.status != 401 && rep.status != 400 {
				t.Errorf("%d %s", rep.status, rep.body)
			}
		})
		t.Run("not well-formed", func(t *testing.T) {
			sh := show()
			sh.text = func() string {
				return strings.ReplaceAll(compact(sh.proofHead.json(), sh.with.json(), sh.key), ".", "")
			}
			fails(t, sh, "invalid_dpop_proof")
		})
		for _, missing := range []string{"typ", "alg", "jwk"} {
			t.Run("header without "+missing, func(t *testing.T) {
				sh := show()
				sh.proofHead = sh.proofHead.but(missing, nil)
				fails(t, sh, "invalid_dpop_proof")
			})
		}
		for _, missing := range []string{"jti", "htm", "htu", "iat", "ath"} {
			t.Run("without "+missing, func(t *testing.T) { fails(t, show().but(missing, nil), "invalid_dpop_proof") })
		}
		t.Run("without nonce", func(t *testing.T) { fails(t, show().but("nonce", nil), "use_dpop_nonce") })
		for name, bent := range map[string][]any{
			"invalid typ":                   {"typ", "jwt"},
			"RS256 for another kind of key": {"alg", "RS256"},
			"HS256":                         {"alg", "HS256"},
		} {
			t.Run(name, func(t *testing.T) {
				sh := show()
				sh.proofHead = sh.proofHead.but(bent...)
				fails(t, sh, "invalid_dpop_proof")
			})
		}
		t.Run("alg none", func(t *testing.T) {
			sh := show()
			sh.text = func() string { return unsigned(sh.proofHead, sh.with) }
			fails(t, sh, "invalid_dpop_proof")
		})
		t.Run("invalid signature", func(t *testing.T) {
			sh := show()
			sh.text = func() string { return broken(compact(sh.proofHead.json(), sh.with.json(), sh.key)) }
			fails(t, sh, "invalid_dpop_proof")
		})
		t.Run("private key in jwk", func(t *testing.T) {
			sh := show()
			sh.proofHead = private(sh.proofHead)
			fails(t, sh, "invalid_dpop_proof")
		})
		here := p.issuer() + "/access/v1/evaluation"
		for name, bent := range map[string][]any{
			"incorrect htm":              {"htm", "PUT"},
			"htm in small letters":       {"htm", "post"},
			"htu of a different URL":     {"htu", p.issuer() + "/access/v1/evaluations"},
			"htu of another host":        {"htu", "https://other.example/access/v1/evaluation"},
			"iat one hour in the future": {"iat", time.Now().Unix() + 3600},
			"iat one hour in the past":   {"iat", time.Now().Unix() - 3600},
			"incorrect ath":              {"ath", base64.RawURLEncoding.EncodeToString(make([]byte, 32))},
		} {
			t.Run(name, func(t *testing.T) { fails(t, show().but(bent...), "invalid_dpop_proof") })
		}
		for name, htu := range map[string]string{
			"htu with query and fragment":        here + "?query=1#fragment",
			"htu with another case of the host":  strings.Replace(here, "https://", "HTTPS://", 1),
			"htu with dots and escapes in it":    p.issuer() + "/access/./v1/%65valuation",
			"htu with a step back in it, and on": p.issuer() + "/x/../access/v1/evaluation",
		} {
			t.Run(name, func(t *testing.T) { works(t, show().but("htu", htu)) })
		}
		t.Run("reuse of jti", func(t *testing.T) {
			sh := show()
			text := compact(sh.proofHead.json(), sh.with.json(), sh.key)
			sh.text = func() string { return text }
			works(t, sh)
			again := show()
			again.text = sh.text
			fails(t, again, "invalid_dpop_proof")
			again = show().but("jti", sh.with["jti"])
			fails(t, again, "invalid_dpop_proof")
		})
		t.Run("signed with a different key", func(t *testing.T) {
			sh := show()
			sh.key = newKey("EdDSA")
			fails(t, sh, "invalid_dpop_proof")
			other := newKey("EdDSA")
			sh = show()
			sh.key, sh.proofHead = other, sh.proofHead.but("jwk", publicJWK(other))
			fails(t, sh, "invalid_token")
		})
		t.Run("extra claims in header and claims", func(t *testing.T) {
			sh := show().but("extra", object{"a": 1}, "sub", "x")
			sh.proofHead = sh.proofHead.but("extra", "b", "kid", "c")
			works(t, sh)
		})
		t.Run("without a proof", func(t *testing.T) {
			sh := show()
			sh.none = true
			fails(t, sh, "invalid_dpop_proof")
		})
		t.Run("as a bearer token", func(t *testing.T) {
			for _, none := range []bool{true, false} {
				sh := show()
				sh.none, sh.scheme = none, "Bearer"
				fails(t, sh, "invalid_token")
			}
		})
		t.Run("a correct proof still works", func(t *testing.T) { works(t, show()) })
	})

	// At the token endpoint.
	t.Run("token endpoint", func(t *testing.T) {
		ask := func() *try { return p.ask("read-ledger") }
		for name, bend := range map[string]func(*try){
			"more than one DPoP header": func(tr *try) {
				tr.headers.Add("DPoP", compact(tr.proofHead.json(), tr.proof.but("jti", rand.Text()).json(), tr.proofKey))
			},
			"not well-formed":               func(tr *try) { tr.proofText = func() string { return "a.b" } },
			"empty":                         func(tr *try) { tr.proofText = func() string { return "" } },
			"invalid typ":                   func(tr *try) { tr.provingHead("typ", "JWT") },
			"no typ":                        func(tr *try) { tr.provingHead("typ", nil) },
			"no jwk":                        func(tr *try) { tr.provingHead("jwk", nil) },
			"no alg":                        func(tr *try) { tr.provingHead("alg", nil) },
			"RS256 for another kind of key": func(tr *try) { tr.provingHead("alg", "RS256") },
			"ES256 for another kind of key": func(tr *try) { tr.provingHead("alg", "ES256") },
			"HS256 by the public key": func(tr *try) {
				tr.provingHead("alg", "HS256")
				tr.proofKey = must(x509.MarshalPKIXPublicKey(p.proof.Public()))
			},
			"symmetric key in jwk": func(tr *try) {
				tr.provingHead("alg", "HS256", "jwk", object{"kty": "oct", "k": "c2VjcmV0"})
				tr.proofKey = []byte("secret")
			},
			"alg none": func(tr *try) {
				tr.proofText = func() string { return unsigned(tr.proofHead, tr.proof) }
			},
			"RS256 by a key of 1024 bits": func(tr *try) {
				tr.provingHead("alg", "RS256", "jwk", object{"kty": "RSA", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(weak.N.Bytes())})
				tr.proofKey = weak
			},
			"invalid signature": func(tr *try) {
				tr.proofText = func() string { return broken(compact(tr.proofHead.json(), tr.proof.json(), tr.proofKey)) }
			},
			"private key in jwk":      func(tr *try) { tr.proofHead = private(tr.proofHead) },
			"critical header":         func(tr *try) { tr.provingHead("crit", []string{"exp"}, "exp", 1) },
			"no jti":                  func(tr *try) { tr.proving("jti", nil) },
			"no htm":                  func(tr *try) { tr.proving("htm", nil) },
			"no htu":                  func(tr *try) { tr.proving("htu", nil) },
			"no iat":                  func(tr *try) { tr.proving("iat", nil) },
			"wrong htm":               func(tr *try) { tr.proving("htm", "GET") },
			"wrong htu":               func(tr *try) { tr.proving("htu", p.issuer()+"/oauth2/revoke") },
			"htu of another server":   func(tr *try) { tr.proving("htu", "https://other.example/oauth2/token") },
			"ath where no token is":   func(tr *try) { tr.proving("ath", base64.RawURLEncoding.EncodeToString(make([]byte, 32))) },
			"iat an hour in the past": func(tr *try) { tr.proving("iat", time.Now().Unix()-3600) },
			"iat an hour ahead":       func(tr *try) { tr.proving("iat", time.Now().Unix()+3600) },
			"iat that is no number":   func(tr *try) { tr.proving("iat", "now") },
			"larger than anybody needs": func(tr *try) {
				tr.proving("extra", strings.Repeat("x", 9000))
			},
		} {
			t.Run(name, func(t *testing.T) {
				tr := ask()
				bend(tr)
				wantError(t, tr.send(), 400, "invalid_dpop_proof")
			})
		}
		for name, nonce := range map[string]any{"no nonce": nil, "a nonce of nobody": "abc",
			"a nonce of the right form": base64.RawURLEncoding.EncodeToString(make([]byte, 32))} {
			t.Run(name, func(t *testing.T) {
				rep := ask().proving("nonce", nonce).send()
				wantError(t, rep, 400, "use_dpop_nonce")
				if fresh := rep.header.Get("DPoP-Nonce"); fresh == "" {
					t.Error("no nonce came along")
				} else if rep := ask().proving("nonce", fresh).send(); rep.status != 200 {
					t.Errorf("with it: %d %s", rep.status, rep.body)
				}
			})
		}
		t.Run("reuse", func(t *testing.T) {
			tr := ask()
			tr.token()
			again := ask().proving("jti", tr.proof["jti"])
			wantError(t, again.send(), 400, "invalid_dpop_proof")
		})
		t.Run("an assertion whose proof was refused can be used again", func(t *testing.T) {
			tr := ask()
			jti := tr.claims["jti"]
			tr.proving("nonce", nil).send()
			ask().with("jti", jti).token()
		})
		for name, bend := range map[string]func(*try){
			"RSA proof key": func(tr *try) {
				tr.provingHead("alg", "PS256", "jwk", publicJWK(rsaKey()))
				tr.proofKey = rsaKey()
			},
			"P-256 proof key": func(tr *try) {
				key := newKey("ES256")
				tr.provingHead("alg", "ES256", "jwk", publicJWK(key))
				tr.proofKey = key
			},
			"alg by its new name": func(tr *try) { tr.provingHead("alg", "Ed25519") },
			"typ as a media type": func(tr *try) { tr.provingHead("typ", "application/dpop+jwt") },
		} {
			t.Run(name, func(t *testing.T) {
				tr := ask()
				bend(tr)
				tr.token()
			})
		}
	})
}
