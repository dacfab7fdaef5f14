package server_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/token"
)

// Everything that issue 3 calls bad input is refused with the right OAuth error, over HTTP.
func TestBadInput(t *testing.T) {
	s := start(t, passports(t))
	p, rsa := s.party("clerk", "EdDSA"), s.party("third", "PS256")
	good := func() *try { return p.ask("read-ledger") }
	public := func(p *party) []byte { return must(x509.MarshalPKIXPublicKey(p.key.Public())) }

	for name, tr := range map[string]*try{
		"alg confusion: HS256 by the public key": with(rsa.ask("read-ledger").withHead("alg", "HS256"), public(rsa)),
		"alg confusion: HS256 by the raw key":    with(good().withHead("alg", "HS256"), public(p)[12:]),
		"alg of another kind of key":             good().withHead("alg", "ES256"),
		"alg of another kind of key, RSA":        with(rsa.ask("read-ledger").withHead("alg", "EdDSA"), newKey("EdDSA")),
		"alg none":                               with(good().withHead("alg", "none"), nil),
		"alg none in capital letters":            with(good().withHead("alg", "NONE"), nil),
		"alg missing":                            good().withHead("alg", nil),
		"alg that is unknown":                    good().withHead("alg", "XS256"),
		"typ of a DPoP proof":                    good().withHead("typ", "dpop+jwt"),
		"typ of an access token":                 good().withHead("typ", "at+jwt"),
		"typ of a key proof":                     good().withHead("typ", "key-proof+jwt"),
		"crit that is unknown":                   good().withHead("crit", []string{"urn:x"}, "urn:x", true),
		"crit that is known and not accepted":    good().withHead("crit", []string{"b64"}, "b64", true),
		"crit that is empty":                     good().withHead("crit", []string{}),
		"b64":                                    good().withHead("b64", false),
		"zip":                                    good().withHead("zip", "DEF"),
		"key from the header: jwk":               good().withHead("jwk", publicJWK(p.key)),
		"key from the header: jwk alone":         keyed(good().withHead("kid", nil)),
		"key from the header: jku":               good().withHead("jku", "https://keys.example/jwks.json"),
		"key from the header: x5u":               good().withHead("x5u", "https://keys.example/cert.pem"),
		"key from the header: x5c":               good().withHead("x5c", []string{base64.StdEncoding.EncodeToString(public(p))}),
		"foreign audience":                       good().with("aud", "https://other.example"),
		"foreign audience besides ours":          good().with("aud", []string{s.issuer(), "https://other.example"}),
		"iss of another":                         good().with("iss", "helper"),
		"iss missing":                            good().with("iss", nil),
		"sub of another":                         good().with("sub", "helper"),
		"jti missing":                            good().with("jti", nil),
		"jti empty":                              good().with("jti", ""),
		"jti too long":                           good().with("jti", strings.Repeat("x", 257)),
		"jti that is a number":                   good().with("jti", 1),
		"exp missing":                            good().with("exp", nil),
		"exp that is a text":                     good().with("exp", "tomorrow"),
		"exp that is too large for a time":       good().with("exp", 1e300),
		"skew: expired a second ago":             good().with("exp", time.Now().Unix()-1),
		"skew: exp far ahead":                    good().with("exp", time.Now().Unix()+400),
		"skew: iat far ahead":                    good().with("iat", time.Now().Unix()+40),
		"skew: iat long ago":                     good().with("iat", time.Now().Unix()-400),
		"skew: not valid yet":                    good().with("nbf", time.Now().Unix()+40),
		"oversized assertion":                    good().with("x", strings.Repeat("x", 9000)),
		"deep assertion": raw(good(), func(h, c string) (string, string) {
			return h, c[:len(c)-1] + `,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}"
		}),
		"duplicate member of the header":        raw(good(), func(h, c string) (string, string) { return `{"alg":"none",` + h[1:], c }),
		"duplicate member of the claims":        raw(good(), func(h, c string) (string, string) { return h, `{"sub":"helper",` + c[1:] }),
		"duplicate member under another name":   raw(good(), func(h, c string) (string, string) { return h, `{"s\u0075b":"helper",` + c[1:] }),
		"claims that are no object":             raw(good(), func(h, c string) (string, string) { return h, "[" + c + "]" }),
		"two claims objects":                    raw(good(), func(h, c string) (string, string) { return h, c + c }),
		"claims that are not UTF-8":             raw(good(), func(h, c string) (string, string) { return h, c[:len(c)-1] + ",\"x\":\"\xff\"}" }),
		"not canonical base64url":               mangled(good(), func(text string) string { return text + "=" }),
		"blanks in it":                          mangled(good(), func(text string) string { return strings.Replace(text, ".", ". ", 1) }),
		"four parts":                            mangled(good(), func(text string) string { return text + ".AAAA" }),
		"five parts":                            mangled(good(), func(string) string { return "a.b.c.d.e" }),
		"empty":                                 mangled(good(), func(string) string { return "" }),
		"unsigned":                              mangled(good(), func(text string) string { return text[:strings.LastIndexByte(text, '.')+1] }),
		"client_id of another":                  good().set("client_id", "helper"),
		"two ways of authenticating: secret":    good().set("client_secret", "x"),
		"two ways of authenticating: basic":     headed(good(), "Authorization", "Basic Y2xlcms6eA=="),
		"assertion of an unknown type":          good().set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
		"a JWT-SVID where no domain is trusted": good().set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"),
	} {
		t.Run(name, func(t *testing.T) { wantError(t, tr.send(), 401, "invalid_client") })
	}

	details := func(o ...object) string {
		var out []string
		for _, d := range o {
			out = append(out, d.json())
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	detail := object{"type": "capability", "identifier": "pay-invoices"}
	for name, tt := range map[string]struct {
		tr   *try
		want string
	}{
		"no grant":                             {good().set("grant_type", ""), "invalid_request"},
		"grant that is unknown":                {good().set("grant_type", "password"), "unsupported_grant_type"},
		"grant with a browser":                 {good().set("grant_type", "authorization_code"), "unsupported_grant_type"},
		"parameter in the URL":                 {at(good(), "/oauth2/token?scope=read-ledger"), "invalid_request"},
		"body of another type":                 {headed(good(), "Content-Type", "application/json"), "invalid_request"},
		"body in another encoding":             {headed(good(), "Content-Type", "application/x-www-form-urlencoded; charset=utf-16"), "invalid_request"},
		"parameter twice":                      {p.ask("read-ledger", "scope", "contain"), "invalid_request"},
		"assertion twice":                      {p.ask("read-ledger", "grant_type", "client_credentials"), "invalid_request"},
		"scope that is unknown":                {good().set("scope", "everything"), "invalid_scope"},
		"scope injection: two spaces":          {good().set("scope", "read-ledger  contain"), "invalid_scope"},
		"scope injection: quotes":              {good().set("scope", `read-ledger","scope":"contain`), "invalid_scope"},
		"scope injection: backslash":           {good().set("scope", `read-ledger\ncontain`), "invalid_scope"},
		"scope injection: line break":          {good().set("scope", "read-ledger\ncontain"), "invalid_scope"},
		"scope injection: tab":                 {good().set("scope", "read-ledger\tcontain"), "invalid_scope"},
		"scope injection: no-break space":      {good().set("scope", "read-ledger\u00a0contain"), "invalid_scope"},
		"scope injection: NUL":                 {good().set("scope", "read-ledger\x00"), "invalid_request"},
		"scope injection: in capital letters":  {good().set("scope", "Read-Ledger"), "invalid_scope"},
		"scope injection: wildcard":            {good().set("scope", "*"), "invalid_scope"},
		"resource that is unknown":             {good().set("resource", "https://other.example"), "invalid_target"},
		"resource that is ours but for a path": {good().set("resource", s.issuer()+"/x"), "invalid_target"},
		"details that are no JSON":             {good().set("authorization_details", "capability"), "invalid_authorization_details"},
		"details of another type":              {good().set("authorization_details", details(detail.but("type", "payment"))), "invalid_authorization_details"},
		"details of an unknown capability":     {good().set("authorization_details", details(detail.but("identifier", "everything"))), "invalid_authorization_details"},
		"details with an unknown member":       {good().set("authorization_details", details(detail.but("amount", "1"))), "invalid_authorization_details"},
		"details twice":                        {good().set("authorization_details", details(detail, detail)), "invalid_authorization_details"},
		"details with a wider amount":          {good().set("authorization_details", details(detail.but("limits", object{"amount": object{"amount": "5000.01"}}))), "invalid_authorization_details"},
		"details with a negative amount":       {good().set("authorization_details", details(detail.but("limits", object{"amount": object{"amount": "1e9"}}))), "invalid_authorization_details"},
		"details with an unknown schedule":     {good().set("authorization_details", details(detail.but("limits", object{"schedules": []string{"never"}}))), "invalid_authorization_details"},
		"may_act for oneself":                  {good().set("may_act", "clerk"), "invalid_request"},
		"may_act that is no name":              {good().set("may_act", "a b"), "invalid_request"},
		"algorithm that we do not sign with":   {good().set("access_token_signing_alg", "RS256"), "invalid_request"},
		"what is refused by policy":            {good().set("scope", "contain"), "access_denied"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, tt.tr.send(), 400, tt.want) })
	}
	t.Run("oversized form", func(t *testing.T) {
		wantError(t, good().set("x", strings.Repeat("x", 70_000)).send(), 413, "invalid_request")
	})
	t.Run("replayed jti", func(t *testing.T) {
		first := good()
		first.token()
		wantError(t, good().with("jti", first.claims["jti"]).send(), 401, "invalid_client")
		// Also where nothing is issued.
		revoke := func() reply { return p.form("/oauth2/revoke", "token", "x") }
		if rep := revoke(); rep.status != 200 {
			t.Fatalf("%d %s", rep.status, rep.body)
		}
		tr := good()
		tr.path, tr.noProof, tr.form = "/oauth2/introspect", true, url.Values{"token": {"x"}}
		if rep := tr.send(); rep.status != 200 {
			t.Fatalf("%d %s", rep.status, rep.body)
		}
		again := good().with("jti", tr.claims["jti"])
		again.path, again.noProof, again.form = "/oauth2/introspect", true, url.Values{"token": {"x"}}
		wantError(t, again.send(), 401, "invalid_client")
		wantError(t, good().with("jti", tr.claims["jti"]).send(), 401, "invalid_client")
	})
	t.Run("details that name the actions of another capability", func(t *testing.T) {
		// They are no wider than the capability: what is in both is nothing.
		access := good().set("scope", "", "authorization_details", details(detail.but("actions", []string{"read-ledger", "lock"}))).token().Token
		for _, action := range []string{"list_entries", "lock"} {
			if rep := p.show(access, action, "").send(); rep.status != 200 || decided(t, rep) {
				t.Errorf("%s: %d %s", action, rep.status, rep.body)
			}
		}
		if rep := p.show(access, "pay", `{"amount":1}`).send(); rep.status != 200 || decided(t, rep) {
			t.Errorf("pay: %d %s", rep.status, rep.body)
		}
	})
	t.Run("it still works", func(t *testing.T) { good().token() })
}

// with lets another key sign the assertion; nil signs nothing.
func with(tr *try, key any) *try { tr.key = key; return tr }

// keyed signs with a key that the header brings along.
func keyed(tr *try) *try {
	key := newKey("EdDSA")
	tr.key = key
	return tr.withHead("jwk", publicJWK(key))
}

// raw bends the texts of header and claims.
func raw(tr *try, bend func(head, claims string) (string, string)) *try {
	tr.assertion = func() string {
		head, claims := bend(tr.head.json(), tr.claims.json())
		return compact(head, claims, tr.key)
	}
	return tr
}

// mangled bends the signed assertion.
func mangled(tr *try, bend func(string) string) *try {
	tr.assertion = func() string { return bend(compact(tr.head.json(), tr.claims.json(), tr.key)) }
	return tr
}

func headed(tr *try, name, value string) *try { tr.headers.Set(name, value); return tr }

func at(tr *try, path string) *try { tr.path = path; return tr }

// One thing that was signed is not taken for another (RFC 8725, sections 3.11 and 3.12), and a server
// that an agent was led to by mistake cannot use here what it was given.
func TestMixUp(t *testing.T) {
	s := start(t, passports(t))
	p, q := s.party("clerk", "EdDSA"), s.party("helper", "EdDSA")
	access := p.token("read-ledger", "may_act", "helper").Token
	signed := s.do("POST", "/oauth2/introspect", pepToken, url.Values{"token": {access}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded", "Accept", "application/token-introspection+jwt")
	if signed.status != 200 || strings.Count(signed.body, ".") != 2 {
		t.Fatalf("signed introspection: %d %s", signed.status, signed.body)
	}
	list, _ := claimsOf(t, access)["status"].(map[string]any)["status_list"].(map[string]any)
	uri, _ := list["uri"].(string)
	status := s.do("GET", strings.TrimPrefix(uri, s.URL()), "", "")
	if status.status != 200 || strings.Count(status.body, ".") != 2 {
		t.Fatalf("status list: %d %s", status.status, status.body)
	}
	now := time.Now().Unix()
	proof := p.ask("").proof
	dpop := compact(object{"alg": "EdDSA", "typ": "dpop+jwt", "jwk": publicJWK(p.key)}.json(), proof.json(), p.key)
	keyProof := s.keyProof(p.key, "EdDSA", "")
	elsewhere := compact(object{"alg": "EdDSA", "kid": p.kid, "typ": "client-authentication+jwt"}.json(),
		object{"iss": p.id, "sub": p.id, "aud": "https://attacker.example", "iat": now, "exp": now + 60, "jti": "1"}.json(), p.key)
	own := compact(object{"alg": "EdDSA", "kid": p.kid, "typ": "client-authentication+jwt"}.json(), p.ask("").claims.json(), p.key)
	things := map[string]string{"an access token": access, "a signed introspection": signed.body, "a status list": status.body, "a DPoP proof": dpop,
		"a key proof": keyProof, "an assertion for another server": elsewhere, "an assertion": own, "nothing that is signed": "a.b.c"}

	for name, text := range things {
		if name != "an assertion" {
			t.Run(name+" as a client assertion", func(t *testing.T) {
				wantError(t, mangled(p.ask("read-ledger"), func(string) string { return text }).send(), 401, "invalid_client")
			})
		}
		t.Run(name+" as a JWT bearer assertion", func(t *testing.T) {
			tr := p.ask("read-ledger").set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion", text)
			tr.noAssertion = true
			wantError(t, tr.send(), 400, "invalid_grant")
		})
		if name != "an access token" {
			t.Run(name+" as an access token", func(t *testing.T) {
				if s.active(text) {
					t.Error("it is active")
				}
				if rep := p.show(text, "list_entries", "").send(); rep.status != 401 {
					t.Errorf("at the resource: %d %s", rep.status, rep.body)
				}
				wantError(t, q.exchange(text, "read-ledger").send(), 400, "invalid_request")
			})
		}
		if name != "a DPoP proof" {
			t.Run(name+" as a DPoP proof", func(t *testing.T) {
				tr := p.ask("read-ledger")
				tr.proofText = func() string { return text }
				wantError(t, tr.send(), 400, "invalid_dpop_proof")
			})
		}
		if name != "a key proof" {
			t.Run(name+" as a proof of a new key", func(t *testing.T) {
				wantError(t, p.form("/oauth2/keys", "proof", text), 400, "invalid_proof")
			})
		}
	}
	t.Run("our own issuer as a workload's", func(t *testing.T) {
		tr := p.ask("read-ledger").with("iss", s.issuer(), "sub", p.id)
		wantError(t, tr.send(), 401, "invalid_client")
	})
	if got := q.exchange(access, "read-ledger").send(); got.status != 200 {
		t.Errorf("the access token itself: %d %s", got.status, got.body)
	}
}

// An exchange never widens anything.
func TestWidenedExchange(t *testing.T) {
	cfg := passports(t)
	cfg.OAuth.Audiences = []string{"https://books.example", "https://mail.example"}
	s := start(t, cfg)
	p, q, r := s.party("clerk", "EdDSA"), s.party("helper", "EdDSA"), s.party("third", "EdDSA")
	limited := func(most string) string {
		return `[{"type":"capability","identifier":"pay-invoices","limits":{"amount":{"amount":"` + most + `"}}}]`
	}
	base := p.token("read-ledger", "authorization_details", limited("100"), "resource", "https://books.example", "may_act", "helper").Token
	unnamed := p.token("read-ledger").Token
	for name, tt := range map[string]struct {
		tr   *try
		want string
	}{
		"scope":                      {q.exchange(base, "read-ledger close-books"), "invalid_scope"},
		"amount":                     {q.exchange(base, "", "authorization_details", limited("100.01")), "invalid_authorization_details"},
		"another capability":         {q.exchange(base, "", "authorization_details", `[{"type":"capability","identifier":"close-books"}]`), "invalid_authorization_details"},
		"audience":                   {q.exchange(base, "read-ledger", "audience", "https://mail.example"), "invalid_target"},
		"resource":                   {q.exchange(base, "read-ledger", "resource", "https://mail.example"), "invalid_target"},
		"one more audience":          {q.exchange(base, "read-ledger", "resource", "https://books.example", "resource", "https://mail.example"), "invalid_target"},
		"by another agent":           {r.exchange(base, "read-ledger"), "invalid_request"},
		"by its own agent":           {p.exchange(base, "read-ledger"), "invalid_request"},
		"of a token that names none": {q.exchange(unnamed, "read-ledger"), "invalid_request"},
		"back to who is in it":       {q.exchange(base, "read-ledger", "may_act", "clerk"), "invalid_request"},
		"without a token":            {q.exchange("", "read-ledger"), "invalid_request"},
		"of an unknown type":         {q.exchange(base, "read-ledger").set("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"},
		"into an unknown type":       {q.exchange(base, "read-ledger").set("requested_token_type", "urn:ietf:params:oauth:token-type:saml2"), "invalid_request"},
		"with another's actor token": {q.exchange(base, "read-ledger").set("actor_token", base, "actor_token_type", "urn:ietf:params:oauth:token-type:access_token"), "invalid_request"},
		"another transaction":        {q.exchange(p.token("read-ledger", "may_act", "helper", "txn", "t1").Token, "read-ledger", "txn", "t2"), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, tt.tr.send(), 400, tt.want) })
	}
	got := q.exchange(base, "").token()
	was, is := claimsOf(t, base), claimsOf(t, got.Token)
	if is["sub"] != "clerk" || is["client_id"] != "helper" || is["exp"].(float64) > was["exp"].(float64) || fmt.Sprint(is["aud"]) != fmt.Sprint(was["aud"]) {
		t.Errorf("exchanged %v into %v", was, is)
	}
	if details := fmt.Sprint(is["authorization_details"]); !strings.Contains(details, "amount:100") {
		t.Errorf("the limit is lost: %s", details)
	}
	act, _ := is["act"].(map[string]any)
	if act["sub"] != "helper" || act["jti"] != was["jti"] {
		t.Errorf("act %v", act)
	}
}

// Who is no active agent with an active key hears the same, whatever the reason: a stranger cannot
// find out which agents exist.
func TestOneAnswerForStrangers(t *testing.T) {
	cfg := passports(t)
	var clock clock
	cfg.SetNow(clock.Now)
	cfg.OAuth.KeyLifetime, cfg.OAuth.KeyOverlap = time.Hour, time.Second
	s := start(t, cfg)
	clerk := s.party("clerk", "EdDSA")
	expired := s.party("third", "EdDSA")
	clock.advance(59 * time.Minute)
	// A key whose turn is over: registered anew for the clerk, so that one of his still counts.
	rotated := newKey("EdDSA")
	if rep := clerk.form("/oauth2/keys", "proof", s.keyProof(rotated, "EdDSA", "")); rep.status != 200 {
		t.Fatalf("rotating: %d %s", rep.status, rep.body)
	}
	replaced := *clerk
	clock.advance(2 * time.Minute) // beyond lifetime and overlap
	clerk.key, clerk.kid, clerk.nonce = rotated, must(token.NewKey(rotated.Public())).ID, ""
	suspended, quarantined, retired := s.party("helper", "EdDSA"), s.party("newcomer", "EdDSA"), s.party("doomed", "EdDSA")
	s.do("PUT", "/v1/agents/sorry", adminToken, `{"owner":"o","purpose":"p","version":"1","capabilities":["read-ledger"],"if_revision":0,"why":"test"}`)
	revoked := s.party("sorry", "EdDSA")
	s.state("helper", "suspended")
	s.state("newcomer", "quarantined")
	s.state("doomed", "retired")
	if rep := s.do("POST", "/v1/agents/sorry/keys/revoke", adminToken, object{"key": revoked.kid, "why": "test"}.json()); rep.status != 200 {
		t.Fatalf("revoking: %d %s", rep.status, rep.body)
	}
	stranger := &party{running: s, id: "nobody", alg: "EdDSA", kid: "nobody", key: newKey("EdDSA"), proof: newKey("EdDSA")}
	used := clerk.ask("read-ledger")
	used.token()

	// Each makes the try for one endpoint.
	strangers := map[string]func() *try{
		"unknown agent":                     func() *try { return stranger.ask("read-ledger") },
		"unknown agent, known key":          func() *try { return with(stranger.ask("read-ledger").withHead("kid", clerk.kid), clerk.key) },
		"wrong signature":                   func() *try { return with(clerk.ask("read-ledger"), newKey("EdDSA")) },
		"unknown key":                       func() *try { return with(clerk.ask("read-ledger").withHead("kid", "x"), newKey("EdDSA")) },
		"key of another agent":              func() *try { return with(clerk.ask("read-ledger").withHead("kid", suspended.kid), suspended.key) },
		"agent in the name of another":      func() *try { return suspended.ask("read-ledger").with("iss", "clerk", "sub", "clerk") },
		"algorithm of another key":          func() *try { return with(clerk.ask("read-ledger").withHead("alg", "ES256"), newKey("ES256")) },
		"suspended agent":                   func() *try { return suspended.ask("read-ledger") },
		"quarantined agent":                 func() *try { return quarantined.ask("read-ledger") },
		"retired agent":                     func() *try { return retired.ask("read-ledger") },
		"revoked key":                       func() *try { return revoked.ask("read-ledger") },
		"expired key":                       func() *try { return expired.ask("read-ledger") },
		"replaced key":                      func() *try { return replaced.ask("read-ledger") },
		"assertion that was used":           func() *try { return clerk.ask("read-ledger").with("jti", used.claims["jti"]) },
		"agent whose name could not be one": func() *try { return stranger.ask("read-ledger").with("iss", "\x01", "sub", "\x01") },
		"document that nobody linked": func() *try {
			return stranger.ask("read-ledger").with("iss", "https://client.example/id.json", "sub", "https://client.example/id.json")
		},
	}
	expired.nonce, replaced.nonce = "", ""
	for path, more := range map[string][]string{
		"/oauth2/token":      {},
		"/oauth2/introspect": {"token", "x"},
		"/oauth2/revoke":     {"token", "x"},
		"/oauth2/keys":       {"proof", "x"},
	} {
		var want reply
		for _, name := range slices.Sorted(maps.Keys(strangers)) {
			tr := at(strangers[name](), path)
			if tr.noProof = path != "/oauth2/token"; tr.noProof {
				tr.form = url.Values{}
			}
			got := tr.set(more...).send()
			if want.status == 0 {
				want = got
				wantError(t, got, 401, "invalid_client")
			}
			if got.status != want.status || got.body != want.body || !sameHeaders(got.header, want.header) {
				t.Errorf("%s, %s: %d %s %v\nwant %d %s %v", path, name, got.status, got.body, got.header, want.status, want.body, want.header)
			}
		}
		if strings.Contains(want.body, "suspended") || strings.Contains(want.body, "nobody") {
			t.Errorf("%s tells too much: %s", path, want.body)
		}
	}
	clerk.token("read-ledger")

	// Likewise who holds an enrolment token that is no good.
	spent := s.enrolment("clerk")
	enrol := func(token string) reply {
		fresh := newKey("EdDSA")
		return s.do("POST", "/oauth2/enroll", "", object{"token": token, "proof": s.keyProof(fresh, "EdDSA", token)}.json())
	}
	if rep := enrol(spent); rep.status != 201 {
		t.Fatalf("enrolling: %d %s", rep.status, rep.body)
	}
	withdrawn := s.enrolment("clerk")
	s.enrolment("clerk") // takes its place
	late := s.enrolment("third")
	s.state("third", "suspended")
	want := enrol("sc_enrol_" + strings.Repeat("A", len(spent)-len("sc_enrol_")))
	wantError(t, want, 401, "invalid_token")
	for name, token := range map[string]string{"used": spent, "replaced": withdrawn, "of a suspended agent": late, "of no such form": "x"} {
		if got := enrol(token); got.status != want.status || got.body != want.body || !sameHeaders(got.header, want.header) {
			t.Errorf("an enrolment token that is %s: %d %s, want %d %s", name, got.status, got.body, want.status, want.body)
		}
	}
}

// sameHeaders compares headers but for the time.
func sameHeaders(a, b http.Header) bool {
	a, b = a.Clone(), b.Clone()
	a.Del("Date")
	b.Del("Date")
	return maps.EqualFunc(a, b, slices.Equal)
}

// What a signing key of ours signed counts no more once the key is revoked; once it is retired its
// tokens live on until they expire.
func TestOurKeysRetire(t *testing.T) {
	s := start(t, passports(t))
	p := s.party("clerk", "EdDSA")
	first := p.token("read-ledger").Token
	if rep := s.do("POST", "/v1/keys/rotate", adminToken, `{"use":"token","at_once":true,"why":"test"}`); rep.status != 200 {
		t.Fatalf("rotating: %d %s", rep.status, rep.body)
	}
	second := p.token("read-ledger").Token
	kid := func(text string) string {
		var h struct{ Kid string }
		head, _, _ := strings.Cut(text, ".")
		if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(head)), &h); err != nil {
			t.Fatal(err)
		}
		return h.Kid
	}
	if kid(first) == kid(second) {
		t.Fatal("the key has not changed")
	}
	if !s.active(first) || !s.active(second) {
		t.Error("a token counts no more because its key signs no more")
	}
	if rep := s.do("POST", "/v1/keys/"+kid(first)+"/revoke", adminToken, `{"why":"test"}`); rep.status != 200 {
		t.Fatalf("revoking: %d %s", rep.status, rep.body)
	}
	if s.active(first) || !s.active(second) {
		t.Error("a revoked key's token counts, or another does not")
	}
	if rep := p.show(first, "list_entries", "").send(); rep.status != 401 {
		t.Errorf("at the resource: %d %s", rep.status, rep.body)
	}
	if got := s.do("GET", "/.well-known/jwks.json", "", "").body; strings.Contains(got, kid(first)) || !strings.Contains(got, kid(second)) {
		t.Errorf("the key set is %s", got)
	}
	if got := s.do("GET", "/oauth2/keys/historical", "", "").body; !strings.Contains(got, kid(first)) {
		t.Errorf("the revoked key is not kept: %s", got)
	}
}
