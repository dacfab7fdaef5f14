package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// Algorithms that are accepted on input. EdDSA and Ed25519 are the same algorithm by its old,
// polymorphic name and by its fully specified one (RFC 9864); we sign by the old one, which every
// library knows.
const (
	edDSA       = "EdDSA"
	ed25519Name = "Ed25519"
	es256       = "ES256"
	ps256       = "PS256"
	rs256       = "RS256"
)

// canonical is base64url without padding (RFC 7515, section 2) whose unused bits are zero.
var canonical = base64.RawURLEncoding.Strict()

// A JWS is a compact JWS (RFC 7515, section 7.1) that was read, and not verified yet: nothing it
// says is to be believed before Verify has returned nil.
type JWS struct {
	Algorithm string
	Type      string // typ, without "application/" in front of it; "" if there is none
	KeyID     string // kid; "" if there is none
	JWK       *Key   // the public key it brings along, nil if there is none: anybody can bring one
	Payload   []byte // a JSON object

	text      string
	signature []byte
}

// Parse reads a compact JWS strictly. It returns authz.ErrInvalid for whatever the package's comment
// says is refused.
func Parse(text string) (*JWS, error) { return parse(text, MaxToken) }

// ParseStatusJWS is Parse for a status list token, which may be as long as MaxStatusToken.
func ParseStatusJWS(text string) (*JWS, error) { return parse(text, MaxStatusToken) }

func parse(text string, most int) (*JWS, error) {
	j, err := open(text, most)
	if err != nil {
		return nil, err
	}
	if err := checkObject("the payload", j.Payload); err != nil {
		return nil, err
	}
	return j, nil
}

// open takes text apart and reads its header; what the payload holds, it leaves open.
func open(text string, most int) (*JWS, error) {
	if len(text) > most {
		return nil, authz.Errorf(authz.ErrInvalid, "the token has more than %d bytes", most)
	}
	header, rest, ok := strings.Cut(text, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.IndexByte(signature, '.') >= 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "a compact JWS has three parts")
	}
	j := &JWS{text: text}
	h, err := decode("the header", header)
	if err != nil {
		return nil, err
	}
	if j.Payload, err = decode("the payload", payload); err != nil {
		return nil, err
	}
	if j.signature, err = decode("the signature", signature); err != nil {
		return nil, err
	}
	if err := j.readHeader(h); err != nil {
		return nil, err
	}
	return j, nil
}

// decode returns what a non-empty, canonical base64url text says. Go's decoder skips line breaks.
func decode(what, text string) ([]byte, error) {
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, authz.Errorf(authz.ErrInvalid, "%s is empty or broken over lines", what)
	}
	b, err := canonical.DecodeString(text)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "%s is not canonical base64url", what)
	}
	return b, nil
}

func (j *JWS) readHeader(header []byte) error {
	err := readObject("the header", header, func(r *reader, name string) {
		switch name {
		case "alg":
			j.Algorithm = r.text()
		case "typ":
			j.Type = r.text()
			// RFC 7515, section 4.1.9: "application/" may be left out, if nothing else has a slash.
			if sub, ok := cutApplication(j.Type); ok && strings.IndexByte(sub, '/') < 0 {
				j.Type = sub
			}
		case "kid":
			j.KeyID = r.text()
		case "jwk":
			raw := r.raw()
			if r.err != nil {
				return
			}
			var err error
			if j.JWK, err = ParseKey(raw); err != nil {
				r.fail("%v", err)
			}
		case "crit", "b64", "zip", "jku", "x5u", "x5c", "enc":
			r.fail("this member is not accepted")
		default:
			r.skip()
		}
	})
	if err != nil {
		return err
	}
	switch j.Algorithm {
	case edDSA, ed25519Name, es256, ps256, rs256:
		return nil
	}
	return authz.Errorf(authz.ErrInvalid, "the algorithm %.20q is not accepted", j.Algorithm)
}

func cutApplication(typ string) (string, bool) {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):], true
	}
	return typ, false
}

// Is reports whether j says that it is of the type. Types are compared without regard to case, as
// media types are, and whether or not "application/" stands in front.
func (j *JWS) Is(typ string) bool { return strings.EqualFold(j.Type, typ) }

// Verify returns nil if k made j's signature, by an algorithm that fits k, and otherwise
// authz.ErrUnauthenticated. If j brings a key along, k must be that key.
func (j *JWS) Verify(k *Key) error {
	if k == nil || !slices.Contains(k.Algorithms(), j.Algorithm) {
		return authz.Errorf(authz.ErrUnauthenticated, "the algorithm %s does not fit the key", j.Algorithm)
	}
	if j.JWK != nil && j.JWK.ID != k.ID {
		return authz.Errorf(authz.ErrUnauthenticated, "the token brings another key along than the one that is to verify it")
	}
	if pub, ok := k.Public.(ed25519.PublicKey); ok {
		return j.verifyEd25519(pub)
	}
	signed, err := jose.ParseSignedCompact(j.text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(j.Algorithm)})
	if err != nil {
		return authz.Errorf(authz.ErrUnauthenticated, "the token cannot be verified: %v", err)
	}
	payload, err := signed.Verify(k.Public)
	if err != nil || !bytes.Equal(payload, j.Payload) {
		return errSignature()
	}
	return nil
}

// verifyEd25519 verifies what was read already. go-jose does not know the algorithm's new name, and
// would read the token once more, which costs a fifth of a verification.
func (j *JWS) verifyEd25519(pub ed25519.PublicKey) error {
	input := j.text[:strings.LastIndexByte(j.text, '.')]
	if !ed25519.Verify(pub, []byte(input), j.signature) {
		return errSignature()
	}
	return nil
}

func errSignature() error {
	return authz.Errorf(authz.ErrUnauthenticated, "the signature is not valid")
}

// checkObject returns authz.ErrInvalid unless text is one JSON object: valid UTF-8, no member twice,
// at any depth, and none deeper than MaxDepth.
func checkObject(what string, text []byte) error {
	v := jsontext.Value(text)
	if err := checkDepth(what, text); err != nil {
		return err
	}
	if v.Kind() != '{' || !v.IsValid() {
		return authz.Errorf(authz.ErrInvalid, "%s is no JSON object, or has a member twice", what)
	}
	return nil
}
