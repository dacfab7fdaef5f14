package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/errgroup"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// forge signs whatever it is given, as only an attacker's or a careless issuer's code would.
func forge(t testing.TB, private crypto.Signer, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	opts := crypto.SignerOpts(crypto.Hash(0))
	message := []byte(input)
	if _, ok := private.(ed25519.PrivateKey); !ok {
		h := sha256.Sum256(message)
		message, opts = h[:], crypto.SHA256
	}
	if _, ok := private.(*rsa.PrivateKey); ok && strings.Contains(header, `"PS256"`) {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	sig, err := private.Sign(rand.Reader, message, opts)
	if ec, ok := private.(*ecdsa.PrivateKey); ok {
		sig, err = jwt.SigningMethodES256.Sign(input, ec)
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// TestAlgorithmNames: the old and the fully specified name of RFC 9864 are the same algorithm.
func TestAlgorithmNames(t *testing.T) {
	s, private := newSigner(t, "EdDSA")
	other, _ := newSigner(t, "EdDSA")
	for _, alg := range s.Key().Algorithms() {
		text := forge(t, private, `{"alg":"`+alg+`","typ":"JWT"}`, `{}`)
		j, err := token.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if err := j.Verify(s.Key()); err != nil {
			t.Errorf("%s: Verify = %v", alg, err)
		}
		if err := j.Verify(other.Key()); !errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("%s: Verify by another key = %v, want a refusal", alg, err)
		}
		j, err = token.Parse(strings.Replace(text, b64(`{}`), b64(`{"a":1}`), 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Verify(s.Key()); !errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("%s: Verify of another payload = %v, want a refusal", alg, err)
		}
	}
}

func TestRSAOnInput(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	k, err := token.NewKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"RS256", "PS256"} {
		j, err := token.Parse(forge(t, private, `{"alg":"`+alg+`"}`, `{}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Verify(k); err != nil {
			t.Errorf("%s: Verify = %v", alg, err)
		}
	}
	for _, alg := range []string{"RS384", "RS512", "PS384", "PS512"} {
		if _, err := token.Parse(forge(t, private, `{"alg":"`+alg+`"}`, `{}`)); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: Parse = %v, want a refusal", alg, err)
		}
	}
	if _, err := token.NewSigner(private); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("NewSigner(RSA) = %v, want a refusal", err)
	}
}

// TestConfusion uses each key with the algorithms of the others, the public key as a shared secret
// among them.
func TestConfusion(t *testing.T) {
	ed, edPrivate := newSigner(t, "EdDSA")
	ec, ecPrivate := newSigner(t, "ES256")
	rsaPrivate, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := token.NewKey(rsaPrivate.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys := []*token.Key{ed.Key(), ec.Key(), rsaKey}
	for i, private := range []crypto.Signer{edPrivate, ecPrivate, rsaPrivate} {
		for _, alg := range []string{"EdDSA", "Ed25519", "ES256", "RS256", "PS256"} {
			j, err := token.Parse(forge(t, private, `{"alg":"`+alg+`"}`, `{}`))
			if err != nil {
				t.Fatal(err)
			}
			for k, key := range keys {
				fits := i == k && (i == 0 && strings.HasPrefix(alg, "Ed") || i == 1 && alg == "ES256" || i == 2 && strings.HasSuffix(alg, "S256") && alg != "ES256")
				if err := j.Verify(key); (err == nil) != fits || err != nil && !errors.Is(err, authz.ErrUnauthenticated) {
					t.Errorf("%s signed by key %d, Verify by key %d = %v", alg, i, k, err)
				}
			}
		}
	}

	der, err := x509.MarshalPKIXPublicKey(rsaPrivate.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{der, rsaKey.JWK(), ed.Key().Public.(ed25519.PublicKey), nil} {
		for _, alg := range []string{"HS256", "hs256", "HS384", "none", "None", "NONE", ""} {
			input := b64(`{"alg":"`+alg+`"}`) + "." + b64(`{}`)
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(input))
			text := input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
			if _, err := token.Parse(text); !errors.Is(err, authz.ErrInvalid) {
				t.Errorf("Parse of a token by %q = %v, want a refusal", alg, err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	_, private := newSigner(t, "EdDSA")
	good := forge(t, private, `{"alg":"EdDSA"}`, `{"a":1}`)
	if _, err := token.Parse(good); err != nil {
		t.Fatalf("Parse(%s): %v", good, err)
	}
	parts := strings.Split(good, ".")
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	long := func(n int) string { return `{"a":"` + strings.Repeat("a", n) + `"}` }
	if _, err := token.Parse(forge(t, private, `{"alg":"EdDSA"}`, deep(token.MaxDepth))); err != nil {
		t.Errorf("a payload %d deep: %v", token.MaxDepth, err)
	}
	header := func(members string) string { return forge(t, private, `{"alg":"EdDSA",`+members+`}`, `{}`) }
	payload := func(p string) string { return forge(t, private, `{"alg":"EdDSA"}`, p) }
	for name, text := range map[string]string{
		"nothing":                         "",
		"one part":                        parts[0],
		"two parts":                       parts[0] + "." + parts[1],
		"four parts":                      good + ".",
		"an encrypted token":              good + "." + parts[2] + "." + parts[2],
		"a detached payload":              parts[0] + ".." + parts[2],
		"no signature":                    parts[0] + "." + parts[1] + ".",
		"padding":                         parts[0] + "." + b64(`{"a":12}`) + "=." + parts[2],
		"the other alphabet":              parts[0] + "." + b64(`{"a":"??"}`) + "+/." + parts[2],
		"a line break":                    parts[0] + ".\n" + parts[1] + "." + parts[2],
		"a space":                         " " + good,
		"bits that mean nothing":          parts[0] + "." + strings.TrimSuffix(b64(`{"a":1} `), "A") + "B." + parts[2],
		"too long":                        payload(long(token.MaxToken)),
		"a header that is no object":      forge(t, private, `["EdDSA"]`, `{}`),
		"no algorithm":                    forge(t, private, `{"typ":"JWT"}`, `{}`),
		"an algorithm that is null":       forge(t, private, `{"alg":null}`, `{}`),
		"an algorithm that is a list":     forge(t, private, `{"alg":["EdDSA"]}`, `{}`),
		"an algorithm in capitals":        forge(t, private, `{"ALG":"EdDSA"}`, `{}`),
		"two algorithms":                  header(`"alg":"EdDSA"`),
		"two algorithms, one escaped":     header(`"\u0061lg":"none"`),
		"two key ids":                     header(`"kid":"a","kid":"b"`),
		"something behind the header":     forge(t, private, `{"alg":"EdDSA"}{}`, `{}`),
		"a deep header":                   header(`"x":` + deep(token.MaxDepth)),
		"a key id that is a number":       header(`"kid":1`),
		"an empty key id":                 header(`"kid":""`),
		"a key id with a NUL":             header(`"kid":"a\u0000b"`),
		"critical members":                header(`"crit":["exp"],"exp":1`),
		"critical b64":                    header(`"crit":["b64"],"b64":false`),
		"no critical members":             header(`"crit":[]`),
		"b64":                             header(`"b64":true`),
		"compression":                     header(`"zip":"DEF"`),
		"encryption":                      header(`"enc":"A128GCM"`),
		"a URL of keys":                   header(`"jku":"https://attacker.example/jwks"`),
		"a URL of certificates":           header(`"x5u":"https://attacker.example/cert"`),
		"certificates":                    header(`"x5c":["MIIB"]`),
		"a key that is private":           header(`"jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"` + rfc8037D + `"}`),
		"a key that is a secret":          header(`"jwk":{"kty":"oct","k":"AAAA"}`),
		"a key that is null":              header(`"jwk":null`),
		"a payload that is no object":     payload(`[1]`),
		"a payload that is no JSON":       payload(`{"a":01}`),
		"a payload of two objects":        payload(`{}{}`),
		"a payload that is not UTF-8":     payload("{\"a\":\"\xff\"}"),
		"half of a surrogate pair":        payload(`{"a":"\ud800"}`),
		"a claim twice":                   payload(`{"sub":"a","sub":"b"}`),
		"a claim twice, once escaped":     payload(`{"sub":"a","\u0073ub":"b"}`),
		"a member twice inside a claim":   payload(`{"cnf":{"jkt":"a","jkt":"b"}}`),
		"a member twice inside an array":  payload(`{"a":[{"b":1,"b":2}]}`),
		"a payload that is deep":          payload(deep(token.MaxDepth + 1)),
		"a payload that is deep in lists": payload(`{"a":` + strings.Repeat("[", token.MaxDepth) + strings.Repeat("]", token.MaxDepth) + `}`),
	} {
		if j, err := token.Parse(text); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: Parse = %+v, %v, want a refusal\n%.200s", name, j, err, text)
		}
	}
}

// TestUnknownHeaders: RFC 7515, section 4, demands that what is not understood be ignored.
func TestUnknownHeaders(t *testing.T) {
	s, private := newSigner(t, "EdDSA")
	j, err := token.Parse(forge(t, private, `{"alg":"EdDSA","kid":"k","typ":"application/AT+jwt","x5t":"abc","cty":"x","vendor":{"a":[1]}}`, `{}`))
	if err != nil {
		t.Fatal(err)
	}
	if j.KeyID != "k" || j.Type != "AT+jwt" || !j.Is(token.PassportType) || j.Is("JWT") {
		t.Errorf("kid = %q, typ = %q", j.KeyID, j.Type)
	}
	if err := j.Verify(s.Key()); err != nil {
		t.Errorf("Verify = %v", err)
	}
}

// TestKeyOfTheHeader: a token that brings its key is verified by that key when the caller says so,
// and by no other.
func TestKeyOfTheHeader(t *testing.T) {
	registered, _ := newSigner(t, "EdDSA")
	own, private := newSigner(t, "EdDSA")
	text, err := own.SignWithKey("JWT", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	j, err := token.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if j.KeyID != "" || j.JWK == nil || j.JWK.ID != own.Key().ID {
		t.Fatalf("kid = %q, jwk = %+v, want only the key", j.KeyID, j.JWK)
	}
	if err := j.Verify(j.JWK); err != nil {
		t.Errorf("Verify by its own key = %v", err)
	}
	if err := j.Verify(registered.Key()); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("Verify by another key = %v, want a refusal", err)
	}
	// A kid of somebody else beside it changes nothing.
	j, err = token.Parse(forge(t, private, fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"jwk":%s}`, registered.Key().ID, own.Key().JWK()), `{}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Verify(registered.Key()); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("Verify by the key of its kid = %v, want a refusal", err)
	}
}

func TestSigned(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256"} {
		s, _ := newSigner(t, alg)
		if got := s.Algorithm(); got != alg {
			t.Errorf("Algorithm() = %s, want %s", got, alg)
		}
		text, err := s.Sign(token.PassportType, []byte(`{"a":1}`))
		if err != nil {
			t.Fatal(err)
		}
		header, _ := base64.RawURLEncoding.DecodeString(text[:strings.IndexByte(text, '.')])
		if want := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, alg, s.Key().ID); string(header) != want {
			t.Errorf("header = %s, want %s", header, want)
		}
		j, err := token.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Verify(s.Key()); err != nil || string(j.Payload) != `{"a":1}` {
			t.Errorf("%s: payload = %s, Verify = %v", alg, j.Payload, err)
		}
		if _, err := s.Sign("JWT", make([]byte, token.MaxToken)); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Sign of a long payload = %v, want a refusal", err)
		}
		if _, err := s.Sign(token.StatusListType, make([]byte, token.MaxToken)); err != nil {
			t.Errorf("Sign of a long status list = %v", err)
		}
	}
	if _, _, err := token.GenerateSigner("RS256", rand.Reader); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("GenerateSigner(RS256) = %v, want a refusal", err)
	}
	if _, _, err := token.GenerateSigner("EdDSA", strings.NewReader("too short")); err == nil {
		t.Error("GenerateSigner made a key out of nine bytes")
	}
}

// A module is a crypto.Signer that shows nothing of its key, as those in hardware and clouds.
type module struct {
	crypto.Signer
	broken bool
}

func (m module) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if m.broken {
		return nil, errors.New("the module is gone")
	}
	return m.Signer.Sign(r, digest, opts)
}

func TestOpaqueSigner(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256"} {
		_, private := newSigner(t, alg)
		s, err := token.NewSigner(module{private, false})
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.Sign("JWT", []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		j, err := token.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Verify(s.Key()); err != nil {
			t.Errorf("%s: Verify = %v", alg, err)
		}
		if s, err = token.NewSigner(module{private, true}); err != nil {
			t.Fatal(err)
		}
		if text, err := s.Sign("JWT", []byte(`{}`)); err == nil || text != "" {
			t.Errorf("%s: a broken module signed %q", alg, text)
		}
	}
}

func TestSignerConcurrently(t *testing.T) {
	s, _ := newSigner(t, "ES256")
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			text, err := s.Sign("JWT", []byte(`{}`))
			if err != nil {
				return err
			}
			j, err := token.Parse(text)
			if err != nil {
				return err
			}
			return j.Verify(s.Key())
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
