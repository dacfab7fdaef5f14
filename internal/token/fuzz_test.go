package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/token"
)

// fixed are keys that are the same in every run, so that a failing input fails again.
func fixed(t testing.TB) (ed ed25519.PrivateKey, ec *ecdsa.PrivateKey) {
	t.Helper()
	seed := sha256.Sum256([]byte("fuzz"))
	ec, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed[:]), ec
}

var algorithms = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.PS256, jose.RS256}

// joseAccepts returns the payload if go-jose verifies text by pub.
func joseAccepts(text string, pub any) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, err
	}
	return signed.Verify(pub)
}

// jwtAccepts returns the claims if golang-jwt verifies text by pub.
func jwtAccepts(text string, pub any) (map[string]any, error) {
	claims := jwt.MapClaims{}
	p := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithValidMethods([]string{"EdDSA", "ES256", "PS256", "RS256"}))
	_, err := p.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return pub, nil })
	return claims, err
}

// FuzzParse signs whatever header and payload there is: what we accept and verify, go-jose and
// golang-jwt accept too, with the same payload. TestLaxer has what they accept and we do not.
func FuzzParse(f *testing.F) {
	for _, header := range []string{
		`{"alg":"EdDSA"}`, `{"alg":"ES256","typ":"at+jwt","kid":"a"}`, `{"alg":"Ed25519"}`, `{"alg":"none"}`, `{"alg":"HS256"}`,
		`{"alg":"EdDSA","jwk":` + rfc8037Key + `}`, `{"alg":"EdDSA","crit":["a"],"a":1}`, `{"alg":"EdDSA","nonce":"a","x5t":"a","p":null}`,
	} {
		for _, payload := range []string{`{}`, `{"a":1,"b":[true,null,"\u0061"]}`, string(typical().Append(nil)), `{"a":1,"a":2}`, `[]`, `{"a":1e999}`} {
			f.Add(header, payload, "")
		}
	}
	f.Add(rfc9449Request, rfc7515RSA, "\n")
	ed, ec := fixed(f)
	f.Fuzz(func(t *testing.T, header, payload, tail string) {
		oneForm(t, header)
		oneForm(t, header+"."+payload+"."+tail)
		check := func(text string, pub any) {
			k, err := token.NewKey(pub)
			if err != nil {
				t.Fatal(err)
			}
			j, err := token.Parse(text)
			if err != nil || j.Verify(k) != nil {
				return
			}
			if string(j.Payload) != payload {
				t.Fatalf("payload = %q, want %q", j.Payload, payload)
			}
			if tail != "" {
				t.Fatalf("accepted with %q behind it", tail)
			}
			if j.Algorithm == "Ed25519" {
				return // neither knows the name
			}
			if got, err := joseAccepts(text, pub); err != nil || string(got) != payload {
				t.Fatalf("go-jose reads %q, %v, want %q", got, err, payload)
			}
			var want, h map[string]any
			if json.Unmarshal([]byte(payload), &want) != nil || json.Unmarshal([]byte(header), &h) != nil {
				return // a number beyond double precision, which is JSON, and which Go cannot hold
			}
			if got, err := jwtAccepts(text, pub); err != nil || !cmp.Equal(got, want) {
				t.Fatalf("golang-jwt reads %v, %v, want %v", got, err, want)
			}
		}
		check(forge(t, ed, header, payload)+tail, ed.Public())
		check(forge(t, ec, header, payload)+tail, ec.Public())
	})
}

// oneForm holds Parse to it that a token has one text.
func oneForm(t *testing.T, text string) {
	j, err := token.Parse(text)
	if err != nil {
		return
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 || b64(string(j.Payload)) != parts[1] {
		t.Fatalf("accepted in another form: %q", text)
	}
	for _, p := range parts {
		if b, err := base64.RawURLEncoding.DecodeString(p); err != nil || base64.RawURLEncoding.EncodeToString(b) != p {
			t.Fatalf("accepted in another form: %q", p)
		}
	}
}

// FuzzParseKey: every key we accept is the same to go-jose, and public.
func FuzzParseKey(f *testing.F) {
	for _, jwk := range []string{rfc7638Key, rfc8037Key, rfc7515RSAKey, rfc7515ECKey, `{"keys":[` + rfc8037Key + `]}`, `{"kty":"oct","k":"AA"}`} {
		f.Add([]byte(jwk))
	}
	f.Fuzz(func(t *testing.T, jwk []byte) {
		if keys, err := token.ParseKeySet(jwk); err == nil && len(keys) > 100 {
			t.Fatalf("%d keys in a set", len(keys))
		}
		k, err := token.ParseKey(jwk)
		if err != nil {
			return
		}
		again, err := token.ParseKey(k.JWK())
		if err != nil || again.ID != k.ID {
			t.Fatalf("its JWK is read as %+v, %v, want %s", again, err, k.ID)
		}
		var members map[string]any
		if json.Unmarshal(jwk, &members) != nil {
			return // a number beyond double precision in a member nobody reads
		}
		for name := range members {
			if strings.HasPrefix(name, "x5") || name == "pub" {
				return // go-jose reads certificates, and other kinds of keys
			}
		}
		var j jose.JSONWebKey
		if err := j.UnmarshalJSON(jwk); err != nil || !j.IsPublic() || !j.Valid() {
			t.Fatalf("go-jose refuses %s: %v", jwk, err)
		}
		if pub, ok := k.Public.(interface{ Equal(x any) bool }); ok && !pub.Equal(j.Key) {
			t.Fatalf("go-jose reads %v, we %v", j.Key, k.Public)
		}
		if id, err := (&jose.JSONWebKey{Key: j.Key}).Thumbprint(5); err != nil || base64.RawURLEncoding.EncodeToString(id) != k.ID {
			t.Fatalf("go-jose's thumbprint is %x, %v, ours %s", id, err, k.ID)
		}
	})
}

// FuzzParseProof: what we read in a proof is what its claims say.
func FuzzParseProof(f *testing.F) {
	f.Add(`{"jti":"a","htm":"GET","htu":"https://rs.example.com/","iat":1}`)
	f.Add(`{"jti":"a","htm":"POST","htu":"https://rs.example.com:443/%7e/../b?c","iat":1.5,"nonce":"n","ath":"` + rfc9449Hash + `"}`)
	f.Add(rfc9449Resource)
	ed, _ := fixed(f)
	k, err := token.NewKey(ed.Public())
	if err != nil {
		f.Fatal(err)
	}
	header := `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + string(k.JWK()) + `}`
	f.Fuzz(func(t *testing.T, payload string) {
		if p, err := token.ParseProof(payload); err == nil && p.Key == nil {
			t.Fatal("a proof without a key")
		}
		text := forge(t, ed, header, payload)
		p, err := token.ParseProof(text)
		if err != nil {
			return
		}
		if p.Key.ID != k.ID {
			t.Fatalf("key = %s, want %s", p.Key.ID, k.ID)
		}
		var want struct {
			JTI, HTM, HTU, ATH, Nonce string
			IAT                       float64
		}
		if strings.ContainsAny(payload, "JTIHMUAONCE") {
			return // the standard library takes Jti for jti
		}
		if err := json.Unmarshal([]byte(payload), &want); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		if p.ID != want.JTI || p.Method != want.HTM || p.URL != want.HTU || p.Hash != want.ATH || p.Nonce != want.Nonce || p.IssuedAt.Unix() != int64(want.IAT) {
			t.Fatalf("proof = %+v, want %+v", p, want)
		}
		accessToken := ""
		if p.Hash != "" {
			return
		}
		_, bad := token.Target(p.URL)
		if err := p.Check(p.Method, p.URL, accessToken, p.IssuedAt, time.Second); (err != nil) != (bad != nil) {
			t.Fatalf("Check of what it is for = %v, URL %v", err, bad)
		}
	})
}

// FuzzParsePassport: what is read is written as it was, and read as the same again.
func FuzzParsePassport(f *testing.F) {
	f.Add(typical().Append(nil))
	f.Add(full().Append(nil))
	f.Add([]byte(`{"iss":"i","sub":"s","client_id":"c","aud":["a"],"jti":"j","iat":0,"exp":1,"` + token.ConductClaim + `":{"score":-1e-9,"history":{}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		p, err := token.ParsePassport(payload)
		if err != nil {
			return
		}
		text := p.Append(nil)
		if !json.Valid(text) {
			t.Fatalf("written as %s", text)
		}
		again, err := token.ParsePassport(text)
		if err != nil {
			t.Fatalf("%s is not read again: %v", text, err)
		}
		if d := cmp.Diff(p, again); d != "" {
			t.Fatalf("read again (-first +again):\n%s", d)
		}
	})
}

// FuzzParseStatusList: what is read has no more bits than allowed, and is the same when packed again.
func FuzzParseStatusList(f *testing.F) {
	f.Add("eNrbuRgAAhcBXQ", uint16(16))
	f.Add(pack(f, make([]byte, 1000)), uint16(8000))
	f.Fuzz(func(t *testing.T, lst string, most uint16) {
		l, err := token.ParseStatusList(lst, int(most))
		if err != nil {
			return
		}
		if l.Len() == 0 || l.Len() > (int(most)+7)/8*8 {
			t.Fatalf("%d bits, at most %d are allowed", l.Len(), most)
		}
		again, err := token.ParseStatusList(l.Encode(), int(most))
		if err != nil || !cmp.Equal(l, again, cmp.AllowUnexported(token.StatusList{})) {
			t.Fatalf("packed and read again: %+v, %v, want %+v", again, err, l)
		}
	})
}

// FuzzTarget: the normal form of a URL is its own normal form.
func FuzzTarget(f *testing.F) {
	f.Add("HTTPS://Example.COM:443/%7Ea/./b/../c%2f?d#e")
	f.Add("http://[::1]:80")
	f.Fuzz(func(t *testing.T, url string) {
		got, err := token.Target(url)
		if err != nil {
			return
		}
		if again, err := token.Target(got); err != nil || again != got {
			t.Fatalf("target(%q) = %q, target of that = %q, %v", url, got, again, err)
		}
	})
}

// TestLaxer notes what the two oracles accept and we refuse, each token with a valid signature. If
// one of them grows stricter, this says so.
func TestLaxer(t *testing.T) {
	ed, _ := fixed(t)
	good := forge(t, ed, `{"alg":"EdDSA"}`, `{"a":1}`)
	input := good[:strings.LastIndexByte(good, '.')]
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", good[len(good)-1])
	bits := good[:len(good)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|1])
	header := func(members string) string { return forge(t, ed, `{"alg":"EdDSA",`+members+`}`, `{"a":1}`) }
	for _, c := range []struct {
		name, text string
		jose, jwt  bool
	}{
		{"a claim twice", forge(t, ed, `{"alg":"EdDSA"}`, `{"a":2,"a":1}`), true, true},
		{"a header member twice", header(`"kid":"a","kid":"b"`), false, true},
		{"a payload that is no object", forge(t, ed, `{"alg":"EdDSA"}`, `hello`), true, false},
		{"a deep payload", forge(t, ed, `{"alg":"EdDSA"}`, `{"a":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)+`}`), true, true},
		{"a payload that is not UTF-8", forge(t, ed, `{"alg":"EdDSA"}`, "{\"a\":\"\xff\"}"), true, true},
		{"an unknown critical member", header(`"crit":["exp"],"exp":1`), false, true},
		{"the member b64", header(`"b64":true`), true, true},
		{"compression", header(`"zip":"DEF"`), true, true},
		{"a URL of keys", header(`"jku":"https://attacker.example/"`), true, true},
		{"a key of somebody else", header(`"jwk":` + rfc8037Key), true, true},
		{"a private key", header(`"jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"` + rfc8037D + `"}`), false, true},
		{"unused bits in the signature", bits, true, true},
		{"a line break in the signature", input + ".\n" + good[len(input)+1:], true, true},
		{"more than MaxToken", forge(t, ed, `{"alg":"EdDSA"}`, `{"a":"`+strings.Repeat("a", token.MaxToken)+`"}`), true, true},
	} {
		k, err := token.NewKey(ed.Public())
		if err != nil {
			t.Fatal(err)
		}
		if j, err := token.Parse(c.text); err == nil && j.Verify(k) == nil {
			t.Errorf("%s: we accept it", c.name)
		}
		_, joseErr := joseAccepts(c.text, ed.Public())
		_, jwtErr := jwtAccepts(c.text, ed.Public())
		if (joseErr == nil) != c.jose || (jwtErr == nil) != c.jwt {
			t.Errorf("%s: go-jose %v, golang-jwt %v, want accepted %t and %t", c.name, joseErr, jwtErr, c.jose, c.jwt)
		}
	}
}
