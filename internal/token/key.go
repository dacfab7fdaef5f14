package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"

	"github.com/go-jose/go-jose/v4"

	"github.com/safeconduct/safeconduct/authz"
)

// A Key is a public key that verifies signatures: Ed25519, P-256, or RSA of 2048 to 4096 bits.
// Values are made by NewKey, ParseKey and ParseKeySet and are immutable.
type Key struct {
	ID     string           // RFC 7638 thumbprint: SHA-256, base64url
	Name   string           // what its publisher calls it: the kid of the JWK it was read from, "" if it had none
	Public crypto.PublicKey // ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey
}

const (
	minRSA      = 2048
	maxRSA      = 4096 // verification takes time with the square of it
	minExponent = 65537
)

// NewKey returns the Key of a public key, or authz.ErrInvalid if it is of another kind, or weak.
func NewKey(pub crypto.PublicKey) (*Key, error) {
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		if !canonicalPoint(pub) {
			return nil, authz.Errorf(authz.ErrInvalid, "the Ed25519 key is not 32 bytes in canonical form")
		}
	case *ecdsa.PublicKey:
		if pub == nil || pub.Curve != elliptic.P256() {
			return nil, authz.Errorf(authz.ErrInvalid, "the only elliptic curves are Ed25519 and P-256")
		}
		if _, err := pub.ECDH(); err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "the key is no point of P-256")
		}
	case *rsa.PublicKey:
		if err := checkRSA(pub); err != nil {
			return nil, err
		}
	default:
		return nil, authz.Errorf(authz.ErrInvalid, "a %T is no public key of a known kind", pub)
	}
	print, err := (&jose.JSONWebKey{Key: pub}).Thumbprint(crypto.SHA256)
	if err != nil { // go-jose knows the Ed25519 points of low order, whose signatures fit any message
		return nil, authz.Errorf(authz.ErrInvalid, "the key is not acceptable: %v", err)
	}
	return &Key{ID: base64.RawURLEncoding.EncodeToString(print), Public: pub}, nil
}

// canonicalPoint reports whether y, the number that an Ed25519 key is but for its highest bit, is
// below the prime 2^255-19 (RFC 8032, section 5.1.3). Each point has one thumbprint then.
func canonicalPoint(pub ed25519.PublicKey) bool {
	if len(pub) != ed25519.PublicKeySize {
		return false
	}
	if pub[31]&0x7f != 0x7f || pub[0] < 0xed {
		return true
	}
	for _, b := range pub[1:31] {
		if b != 0xff {
			return true
		}
	}
	return false
}

func checkRSA(pub *rsa.PublicKey) error {
	if pub == nil || pub.N == nil || pub.N.Sign() <= 0 {
		return authz.Errorf(authz.ErrInvalid, "the RSA key has no modulus")
	}
	if n := pub.N.BitLen(); n < minRSA || n > maxRSA {
		return authz.Errorf(authz.ErrInvalid, "the RSA key has %d bits; %d to %d are accepted", n, minRSA, maxRSA)
	}
	if pub.N.Bit(0) == 0 || pub.E < minExponent || pub.E&1 == 0 {
		return authz.Errorf(authz.ErrInvalid, "the RSA key has an even modulus, or an exponent that is even or below %d", minExponent)
	}
	return nil
}

// Algorithms returns the names of the algorithms that are accepted on input for k.
func (k *Key) Algorithms() []string {
	switch k.Public.(type) {
	case ed25519.PublicKey:
		return []string{edDSA, ed25519Name}
	case *ecdsa.PublicKey:
		return []string{es256}
	case *rsa.PublicKey:
		return []string{ps256, rs256}
	}
	return nil
}

// JWK returns k as a JWK (RFC 7517): public members, kid (the thumbprint), use "sig", and alg unless
// there is a choice of algorithms.
func (k *Key) JWK() json.RawMessage {
	j := jose.JSONWebKey{Key: k.Public, KeyID: k.ID, Use: "sig"}
	switch k.Public.(type) {
	case ed25519.PublicKey:
		j.Algorithm = edDSA
	case *ecdsa.PublicKey:
		j.Algorithm = es256
	}
	b, err := j.MarshalJSON()
	if err != nil {
		panic("token: a Key that NewKey did not make: " + err.Error())
	}
	return b
}

// bare returns k as a JWK of nothing but the key, as headers carry it.
func (k *Key) bare() *jose.JSONWebKey { return &jose.JSONWebKey{Key: k.Public} }

// p256 returns the key of two coordinates, or authz.ErrInvalid if they are no point of the curve.
func p256(x, y []byte) (*ecdsa.PublicKey, error) {
	const size = 32
	if len(x) != size || len(y) != size { // RFC 7518, section 6.2.1.2: full size, always
		return nil, authz.Errorf(authz.ErrInvalid, "a coordinate of P-256 has 32 bytes")
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the key is no point of P-256")
	}
	return pub, nil
}

// rsaKey returns the key of a modulus and an exponent, which have no zero in front (RFC 7518, section 2).
func rsaKey(n, e []byte) (*rsa.PublicKey, error) {
	if len(n) == 0 || n[0] == 0 || len(n) > maxRSA/8 || len(e) == 0 || e[0] == 0 || len(e) > 4 {
		return nil, authz.Errorf(authz.ErrInvalid, "the RSA key's modulus or exponent is too long, or has a zero in front")
	}
	exponent := new(big.Int).SetBytes(e).Int64()
	if exponent > 1<<31-1 {
		return nil, authz.Errorf(authz.ErrInvalid, "the RSA key's exponent is too large")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent)}, nil
}
