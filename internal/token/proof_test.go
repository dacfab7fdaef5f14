package token_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

func TestProofRoundTrip(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256"} {
		s, _ := newSigner(t, alg)
		want := &token.Proof{ID: "one", Nonce: "n", Method: "POST", URL: "https://rs.example.com/a/c", Hash: rfc9449Hash, IssuedAt: noon}
		given := *want
		given.URL, given.Hash = "HTTPS://RS.example.com:443/a/b/../c?q=1#f", "ignored"
		text, err := token.SignProof(s, given, rfc9449Token)
		if err != nil {
			t.Fatal(err)
		}
		got, err := token.ParseProof(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.Key.ID != s.Key().ID {
			t.Errorf("%s: the proof's key is %s, want %s", alg, got.Key.ID, s.Key().ID)
		}
		got.Key = nil
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: read again (-want +got):\n%s", alg, d)
		}
	}
}

func TestProofCheck(t *testing.T) {
	const url = "https://rs.example.com/a"
	with := token.Proof{ID: "one", Method: "GET", URL: url, Hash: rfc9449Hash, IssuedAt: noon}
	without := with
	without.Hash = ""
	for _, c := range []struct {
		name               string
		proof              token.Proof
		method, url, token string
		after              time.Duration
		ok                 bool
	}{
		{"with a token", with, "GET", url, rfc9449Token, 0, true},
		{"without a token", without, "GET", url, "", 0, true},
		{"query and fragment of the request", without, "GET", url + "?q=1#f", "", 0, true},
		{"at the end of the skew", without, "GET", url, "", 5 * time.Second, true},
		{"at its beginning", without, "GET", url, "", -5 * time.Second, true},
		{"too late", without, "GET", url, "", 5*time.Second + 1, false},
		{"too early", without, "GET", url, "", -5*time.Second - 1, false},
		{"another method", without, "POST", url, "", 0, false},
		{"the method in small letters", without, "get", url, "", 0, false},
		{"another path", without, "GET", url + "/", "", 0, false},
		{"another host", without, "GET", "https://attacker.example/a", "", 0, false},
		{"another scheme", without, "GET", "http://rs.example.com/a", "", 0, false},
		{"another port", without, "GET", "https://rs.example.com:8443/a", "", 0, false},
		{"another token", with, "GET", url, rfc9449Token + "x", 0, false},
		{"a token, and no hash", without, "GET", url, rfc9449Token, 0, false},
		{"a hash, and no token", with, "GET", url, "", 0, false},
		{"no URL", without, "GET", "", "", 0, false},
	} {
		err := c.proof.Check(c.method, c.url, c.token, noon.Add(c.after), 5*time.Second)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("%s: Check(%q, %q, %q) = %v, want ok %t", c.name, c.method, c.url, c.token, err, c.ok)
		}
	}
}

func TestParseProofRefuses(t *testing.T) {
	s, private := newSigner(t, "EdDSA")
	_, stranger := newSigner(t, "EdDSA")
	jwk := string(s.Key().JWK())
	const claims = `{"jti":"a","htm":"GET","htu":"https://rs.example.com/","iat":1}`
	header := `{"alg":"EdDSA","typ":"dpop+jwt","jwk":` + jwk + `}`
	if _, err := token.ParseProof(forge(t, private, header, claims)); err != nil {
		t.Fatalf("a good proof: %v", err)
	}
	but := func(old, new string) string { return forge(t, private, header, strings.Replace(claims, old, new, 1)) }
	for name, c := range map[string]struct {
		text string
		kind error
	}{
		"another type":        {forge(t, private, `{"alg":"EdDSA","typ":"JWT","jwk":`+jwk+`}`, claims), authz.ErrInvalid},
		"no type":             {forge(t, private, `{"alg":"EdDSA","jwk":`+jwk+`}`, claims), authz.ErrInvalid},
		"no key":              {forge(t, private, `{"alg":"EdDSA","typ":"dpop+jwt","kid":"k"}`, claims), authz.ErrInvalid},
		"none":                {forge(t, private, `{"alg":"none","typ":"dpop+jwt","jwk":`+jwk+`}`, claims), authz.ErrInvalid},
		"another algorithm":   {forge(t, private, `{"alg":"ES256","typ":"dpop+jwt","jwk":`+jwk+`}`, claims), authz.ErrUnauthenticated},
		"another signature":   {forge(t, stranger, header, claims), authz.ErrUnauthenticated},
		"a private key":       {forge(t, private, strings.Replace(header, `"x":`, `"d":"AA","x":`, 1), claims), authz.ErrInvalid},
		"two keys":            {forge(t, private, strings.Replace(header, `"jwk":`, `"jwk":`+rfc8037Key+`,"jwk":`, 1), claims), authz.ErrInvalid},
		"no jti":              {but(`"jti":"a",`, ""), authz.ErrInvalid},
		"an empty jti":        {but(`"a"`, `""`), authz.ErrInvalid},
		"a long jti":          {but(`"a"`, `"`+strings.Repeat("a", 257)+`"`), authz.ErrInvalid},
		"a jti that is one":   {but(`"a"`, `1`), authz.ErrInvalid},
		"no htm":              {but(`"htm":"GET",`, ""), authz.ErrInvalid},
		"no htu":              {but(`"htu":"https://rs.example.com/",`, ""), authz.ErrInvalid},
		"no iat":              {but(`,"iat":1`, ""), authz.ErrInvalid},
		"iat as text":         {but(`"iat":1`, `"iat":"1"`), authz.ErrInvalid},
		"iat before 1970":     {but(`"iat":1`, `"iat":-1`), authz.ErrInvalid},
		"iat far away":        {but(`"iat":1`, `"iat":1e300`), authz.ErrInvalid},
		"two jti":             {but(`"jti":"a"`, `"jti":"a","jti":"b"`), authz.ErrInvalid},
		"a hash that is none": {but(`"iat":1`, `"iat":1,"ath":"abc"`), authz.ErrInvalid},
		"an empty hash":       {but(`"iat":1`, `"iat":1,"ath":""`), authz.ErrInvalid},
		"a long nonce":        {but(`"iat":1`, `"iat":1,"nonce":"`+strings.Repeat("a", 513)+`"`), authz.ErrInvalid},
	} {
		if p, err := token.ParseProof(c.text); !errors.Is(err, c.kind) {
			t.Errorf("%s: ParseProof = %+v, %v, want %v", name, p, err, c.kind)
		}
	}
}

func TestTarget(t *testing.T) {
	for given, want := range map[string]string{
		"https://example.com":                     "https://example.com/",
		"https://example.com/":                    "https://example.com/",
		"HTTPS://EXAMPLE.com:443/A":               "https://example.com/A",
		"https://example.com:/a":                  "https://example.com/a",
		"http://example.com:80/a":                 "http://example.com/a",
		"http://example.com:443/a":                "http://example.com:443/a",
		"https://example.com:8443/a?b=c#d":        "https://example.com:8443/a",
		"https://[2001:DB8::1]:443/a":             "https://[2001:db8::1]/a",
		"https://example.com/%7Eme/%41%2f%c3%a9":  "https://example.com/~me/A%2F%C3%A9",
		"https://example.com/é":                   "https://example.com/%C3%A9",
		"https://example.com/a/./b/../c":          "https://example.com/a/c",
		"https://example.com/a/b/..":              "https://example.com/a/",
		"https://example.com/a/.":                 "https://example.com/a/",
		"https://example.com/../../a":             "https://example.com/a",
		"https://example.com/a/%2e%2E/b":          "https://example.com/b",
		"https://example.com/..":                  "https://example.com/",
		"https://example.com//a//b":               "https://example.com//a//b",
		"https://example.com/.well-known/x/.":     "https://example.com/.well-known/x/",
		"https://example.com/a%2F..%2Fb":          "https://example.com/a%2F..%2Fb",
		"https://example.com/a;b=c,d:e@f!$&'()*+": "https://example.com/a;b=c,d:e@f!$&'()*+",
	} {
		got, err := token.Target(given)
		if err != nil || got != want {
			t.Errorf("target(%q) = %q, %v, want %q", given, got, err, want)
		}
		if again, err := token.Target(got); err != nil || again != got {
			t.Errorf("target(%q) = %q, %v, want it unchanged", got, again, err)
		}
	}
	for _, given := range []string{"", "/a", "example.com/a", "//example.com/a", "ftp://example.com/", "https:", "https:///a", "https://:443/", "https://user@example.com/", "https:example.com", "https://example.com/%zz", "https://example.com/a\nb", "https://exa mple.com/"} {
		if got, err := token.Target(given); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("target(%q) = %q, %v, want a refusal", given, got, err)
		}
	}
}
