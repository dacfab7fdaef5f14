package server_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// golang-jwt verifies our tokens by the key set that we publish, with no help from us.
func TestGolangJWT(t *testing.T) {
	s := start(t, passports(t))
	p := s.party("clerk", "EdDSA")
	var set struct {
		Keys []struct{ Kid, Kty, Crv, X, Y, Alg string }
	}
	s.into(s.do("GET", "/.well-known/jwks.json", "", ""), &set)
	byKid := func(tok *jwt.Token) (any, error) {
		for _, k := range set.Keys {
			if k.Kid != tok.Header["kid"] {
				continue
			}
			x := must(base64.RawURLEncoding.DecodeString(k.X))
			switch k.Kty + " " + k.Crv {
			case "OKP Ed25519":
				return ed25519.PublicKey(x), nil
			case "EC P-256":
				y := must(base64.RawURLEncoding.DecodeString(k.Y))
				return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
			}
		}
		return nil, errors.New("the key set has no such key")
	}
	verify := func(text, alg string, more ...jwt.ParserOption) (*jwt.Token, error) {
		return jwt.Parse(text, byKid, append([]jwt.ParserOption{jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(s.issuer()),
			jwt.WithAudience(s.issuer()), jwt.WithSubject("clerk"), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding()}, more...)...)
	}
	for _, alg := range []string{"EdDSA", "ES256"} {
		text := p.token("read-ledger", "access_token_signing_alg", alg).Token
		tok, err := verify(text, alg)
		if err != nil || !tok.Valid {
			t.Errorf("%s: %v", alg, err)
			continue
		}
		if tok.Header["typ"] != "at+jwt" {
			t.Errorf("%s: typ %v", alg, tok.Header["typ"])
		}
		claims := tok.Claims.(jwt.MapClaims)
		if claims["client_id"] != "clerk" || claims["scope"] != "read-ledger" || claims["jti"] == "" {
			t.Errorf("%s: %v", alg, claims)
		}
		if _, err := verify(text, map[string]string{"EdDSA": "ES256", "ES256": "EdDSA"}[alg]); err == nil {
			t.Errorf("%s: verified by the other algorithm", alg)
		}
		if _, err := verify(text, alg, jwt.WithTimeFunc(func() time.Time { return time.Now().Add(6 * time.Minute) })); !errors.Is(err, jwt.ErrTokenExpired) {
			t.Errorf("%s: after 6 minutes: %v", alg, err)
		}
		parts := strings.Split(text, ".")
		bent := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(claimsOf(t, text).but("scope", "contain").json())) + "." + parts[2]
		if _, err := verify(bent, alg); !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
			t.Errorf("%s: with another scope: %v", alg, err)
		}
	}
}
