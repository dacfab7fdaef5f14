package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

func TestKeyForms(t *testing.T) {
	for _, c := range []struct {
		jwk, want string
		algs      []string
	}{
		{rfc8037Key, `{"use":"sig","kty":"OKP","kid":"` + rfc8037ID + `","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, []string{"EdDSA", "Ed25519"}},
		{rfc7515ECKey, `{"use":"sig","kty":"EC","kid":"oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U","crv":"P-256","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`, []string{"ES256"}},
		{rfc7638Key, "", []string{"PS256", "RS256"}},
	} {
		k := mustKey(t, c.jwk)
		if got := string(k.JWK()); c.want != "" && got != c.want {
			t.Errorf("JWK() = %s\nwant    %s", got, c.want)
		}
		if got := k.Algorithms(); !slices.Equal(got, c.algs) {
			t.Errorf("Algorithms() = %v, want %v", got, c.algs)
		}
		again := mustKey(t, string(k.JWK()))
		if again.ID != k.ID || again.Name != k.ID {
			t.Errorf("ParseKey(JWK()) has the id %s and the name %s, want %s for both", again.ID, again.Name, k.ID)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	const x, ecx, ecy = `"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`, `"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"`, `"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
	okp := func(x string) string { return `{"kty":"OKP","crv":"Ed25519","x":` + x + `}` }
	ec := func(x, y string) string { return `{"kty":"EC","crv":"P-256","x":` + x + `,"y":` + y + `}` }
	raw := func(b []byte) string { return `"` + base64.RawURLEncoding.EncodeToString(b) + `"` }
	modulus := func(bits int, e string) string {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return `{"kty":"RSA","n":` + raw(n.SetBit(n, 0, 1).Bytes()) + `,"e":"` + e + `"}`
	}
	if _, err := token.ParseKey([]byte(modulus(2048, "AQAB"))); err != nil {
		t.Fatalf("an RSA key of 2048 bits: %v", err)
	}
	if _, err := token.ParseKey([]byte(okp(x))); err != nil {
		t.Fatalf("an Ed25519 key: %v", err)
	}
	prime, _ := hex.DecodeString("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
	cases := map[string]string{
		"nothing":                       ``,
		"a list":                        `[]`,
		"no kind":                       `{}`,
		"an unknown kind":               `{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}`,
		"a private Ed25519 key":         `{"kty":"OKP","crv":"Ed25519","x":` + x + `,"d":"` + rfc8037D + `"}`,
		"a private member that is null": `{"kty":"OKP","crv":"Ed25519","x":` + x + `,"d":null}`,
		"a private P-256 key":           `{"kty":"EC","crv":"P-256","x":` + ecx + `,"y":` + ecy + `,"d":"AA"}`,
		"a private RSA member":          strings.Replace(rfc7638Key, `{`, `{"p":"AA",`, 1),
		"a secret":                      `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}`,
		"a member twice":                `{"kty":"OKP","crv":"Ed25519","x":` + x + `,"x":` + x + `}`,
		"a member twice, once escaped":  `{"kty":"OKP","crv":"Ed25519","x":` + x + `,"\u0078":` + x + `}`,
		"members in capitals":           `{"KTY":"OKP","crv":"Ed25519","x":` + x + `}`,
		"a number that is one":          okp(`17`),
		"a key that is missing":         `{"kty":"OKP","crv":"Ed25519"}`,
		"a short key":                   okp(`"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ"`),
		"padding":                       okp(`"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="`),
		"unused bits":                   okp(`"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp"`),
		"a line break":                  okp(`"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaa\nPcHURo"`),
		"Ed25519 in non-canonical form": okp(raw(prime)),
		"the neutral point":             okp(raw(append([]byte{1}, make([]byte, 31)...))),
		"a point of order 2 or 4":       okp(raw(make([]byte, 32))),
		"X25519":                        `{"kty":"OKP","crv":"X25519","x":` + x + `}`,
		"Ed448":                         `{"kty":"OKP","crv":"Ed448","x":` + x + `}`,
		"P-384":                         `{"kty":"EC","crv":"P-384","x":` + ecx + `,"y":` + ecy + `}`,
		"secp256k1":                     `{"kty":"EC","crv":"secp256k1","x":` + ecx + `,"y":` + ecy + `}`,
		"no point of the curve":         ec(ecy, ecx),
		"the point at infinity":         ec(raw(make([]byte, 32)), raw(make([]byte, 32))),
		"a short coordinate":            ec(raw(make([]byte, 31)), ecy),
		"a long coordinate":             ec(raw(make([]byte, 33)), ecy),
		"RSA of 1024 bits":              modulus(1024, "AQAB"),
		"RSA of 2047 bits":              modulus(2047, "AQAB"),
		"RSA of 4097 bits":              modulus(4097, "AQAB"),
		"RSA with the exponent 1":       modulus(2048, "AQ"),
		"RSA with the exponent 3":       modulus(2048, "Aw"),
		"RSA with an even exponent":     modulus(2048, "AQAC"),
		"RSA with a huge exponent":      modulus(2048, "AQAAAAE"),
		"RSA with a zero in front":      modulus(2048, "AAEAAQ"),
		"for encryption":                `{"kty":"OKP","crv":"Ed25519","x":` + x + `,"use":"enc"}`,
		"for signing only":              `{"kty":"OKP","crv":"Ed25519","x":` + x + `,"key_ops":["sign"]}`,
		"for another algorithm":         `{"kty":"OKP","crv":"Ed25519","x":` + x + `,"alg":"ES256"}`,
		"for a symmetric algorithm":     strings.Replace(rfc7638Key, "RS256", "HS256", 1),
		"RSA for RS512":                 strings.Replace(rfc7638Key, "RS256", "RS512", 1),
		"something behind it":           okp(x) + `{}`,
		"too long":                      `{"kty":"OKP","crv":"Ed25519","x":` + x + `,"kid":"` + strings.Repeat("a", 9000) + `"}`,
	}
	for name, jwk := range cases {
		if k, err := token.ParseKey([]byte(jwk)); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: ParseKey = %+v, %v, want a refusal\n%.300s", name, k, err, jwk)
		}
	}
}

func TestNewKeyRefuses(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range []any{nil, ed, []byte("secret"), p384.Public(), (*ecdsa.PublicKey)(nil), (*rsa.PublicKey)(nil), &rsa.PublicKey{}, ed25519.PublicKey(nil)} {
		if k, err := token.NewKey(pub); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("NewKey(%T) = %+v, %v, want a refusal", pub, k, err)
		}
	}
}

func TestParseKeySet(t *testing.T) {
	doc := `{"note":{"a":1},"keys":[` + strings.Join([]string{
		rfc7638Key,
		`{"kty":"AKP","alg":"ML-DSA-44","kid":"later","pub":"AA"}`,
		`{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}`,
		`{"kty":"OKP","crv":"X25519","x":"AA","use":"enc"}`,
		strings.Replace(rfc8037Key, `{`, `{"use":"enc",`, 1),
		`{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"weak"}`,
		`{"kty":"OKP","crv":"Ed25519"}`,
		`{"kty":"OKP","crv":"Ed25519","kid":"","x":17}`,
		strings.Replace(rfc8037Key, `{`, `{"kid":"mine","x5c":["MIIB"],"x5t":"abc",`, 1),
	}, ",") + `]}`
	keys, err := token.ParseKeySet([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]string
	for _, k := range keys {
		got = append(got, [2]string{k.ID, k.Name})
	}
	if d := cmp.Diff([][2]string{{rfc7638ID, "2011-04-29"}, {rfc8037ID, "mine"}}, got); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	if keys, err := token.ParseKeySet([]byte(`{"keys":[]}`)); err != nil || len(keys) != 0 {
		t.Errorf("ParseKeySet of no keys = %v, %v", keys, err)
	}

	many := func(n int) string { return strings.Repeat(rfc8037Key+",", n-1) + rfc8037Key }
	if keys, err := token.ParseKeySet([]byte(`{"keys":[` + many(100) + `]}`)); err != nil || len(keys) != 100 {
		t.Errorf("ParseKeySet of 100 keys = %d keys, %v", len(keys), err)
	}
	for name, doc := range map[string]string{
		"nothing":            ``,
		"a list":             `[` + rfc8037Key + `]`,
		"no keys":            `{}`,
		"keys that are null": `{"keys":null}`,
		"keys twice":         `{"keys":[],"keys":[` + rfc8037Key + `]}`,
		"a key twice in one": `{"keys":[{"kty":"OKP","kty":"RSA"}]}`,
		"a private key":      `{"keys":[` + rfc7638Key + `,` + strings.Replace(rfc8037Key, `{`, `{"d":"`+rfc8037D+`",`, 1) + `]}`,
		"a secret":           `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		"keys that are text": `{"keys":"` + rfc8037ID + `"}`,
		"no end":             `{"keys":[` + rfc8037Key,
		"101 keys":           `{"keys":[` + many(101) + `]}`,
		"too long":           `{"keys":[],"a":"` + strings.Repeat("a", 256<<10) + `"}`,
		"too deep":           `{"keys":[],"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`,
	} {
		if keys, err := token.ParseKeySet([]byte(doc)); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: ParseKeySet = %v, %v, want a refusal", name, keys, err)
		}
	}
}

// ExampleKey_JWK shows what a key set of ours holds.
func ExampleKey_JWK() {
	k, err := token.ParseKey([]byte(rfc8037Key))
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", k.JWK())
	// Output:
	// {"use":"sig","kty":"OKP","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
}
