package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"
	"io"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"github.com/safeconduct/safeconduct/authz"
)

// A Signer signs compact JWS. It is safe for concurrent use if the crypto.Signer in it is.
type Signer struct {
	key  *Key
	alg  jose.SignatureAlgorithm
	in   jose.SigningKey
	made sync.Map // jose.Signer by typ, of those whose header has nothing else but kid
}

// NewSigner returns a Signer that signs with s, which may hold its key in a module or a service. It
// returns authz.ErrInvalid unless the key is Ed25519 or P-256: RSA is accepted on input and never
// used to sign.
func NewSigner(s crypto.Signer) (*Signer, error) {
	k, err := NewKey(s.Public())
	if err != nil {
		return nil, err
	}
	alg := jose.EdDSA
	switch k.Public.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		alg = jose.ES256
	default:
		return nil, authz.Errorf(authz.ErrInvalid, "only Ed25519 and P-256 keys sign")
	}
	return &Signer{key: k, alg: alg, in: jose.SigningKey{Algorithm: alg, Key: cryptosigner.Opaque(s)}}, nil
}

// GenerateSigner makes a key for alg, EdDSA or ES256, out of what it reads from rand, and returns it
// with a Signer that signs by it. Another alg is authz.ErrInvalid.
func GenerateSigner(alg string, rand io.Reader) (*Signer, crypto.Signer, error) {
	var seed [32]byte
	// A number at random is a P-256 key but for one chance in 2^32.
	for range 8 {
		if _, err := io.ReadFull(rand, seed[:]); err != nil {
			return nil, nil, fmt.Errorf("making a key: %w", err)
		}
		var private crypto.Signer
		switch alg {
		case edDSA:
			private = ed25519.NewKeyFromSeed(seed[:])
		case es256:
			k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
			if err != nil {
				continue
			}
			private = k
		default:
			return nil, nil, authz.Errorf(authz.ErrInvalid, "keys are made for EdDSA and ES256, not for %.20q", alg)
		}
		s, err := NewSigner(private)
		return s, private, err
	}
	return nil, nil, fmt.Errorf("making a key: the source of chance gives none")
}

// Key returns the public key that verifies what s signs.
func (s *Signer) Key() *Key { return s.key }

// Algorithm returns the name of the algorithm that s signs by: EdDSA or ES256.
func (s *Signer) Algorithm() string { return string(s.alg) }

// Sign returns the compact JWS of a payload. Its header has alg, typ, and kid, the key's thumbprint.
// It returns authz.ErrInvalid for what would be longer than what Parse and ParseStatusJWS read.
func (s *Signer) Sign(typ string, payload []byte) (string, error) {
	signer, ok := s.made.Load(typ)
	if !ok {
		made, err := jose.NewSigner(s.in, new(jose.SignerOptions).WithType(jose.ContentType(typ)).WithHeader("kid", s.key.ID))
		if err != nil {
			return "", fmt.Errorf("preparing to sign: %w", err)
		}
		signer, _ = s.made.LoadOrStore(typ, made) // types are few: those that this program signs
	}
	return sign(signer.(jose.Signer), typ, payload)
}

// SignWithKey is Sign with the public key itself in the header, as DPoP proofs and proofs of
// possession have it, and no kid.
func (s *Signer) SignWithKey(typ string, payload []byte) (string, error) {
	signer, err := jose.NewSigner(s.in, new(jose.SignerOptions).WithType(jose.ContentType(typ)).WithHeader("jwk", s.key.bare()))
	if err != nil {
		return "", fmt.Errorf("preparing to sign: %w", err)
	}
	return sign(signer, typ, payload)
}

// sign returns a compact JWS unless nobody would read it.
func sign(signer jose.Signer, typ string, payload []byte) (string, error) {
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	most := MaxToken
	if typ == StatusListType {
		most = MaxStatusToken
	}
	if len(text) > most {
		return "", authz.Errorf(authz.ErrInvalid, "the token would have %d bytes; at most %d are read", len(text), most)
	}
	return text, nil
}
