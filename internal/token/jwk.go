package token

import (
	"crypto"
	"crypto/ed25519"
	"slices"

	"github.com/safeconduct/safeconduct/authz"
)

const (
	maxJWK    = 8 << 10 // certificate chains included
	maxKeySet = 256 << 10
	maxKeys   = 100
)

// ParseKey reads one public JWK (RFC 7517). It returns authz.ErrInvalid for anything else: private
// and symmetric keys, weak keys, curves and uses that are not ours, and members that occur twice.
// Certificates in it are not looked at.
func ParseKey(jwk []byte) (*Key, error) {
	if len(jwk) > maxJWK {
		return nil, authz.Errorf(authz.ErrInvalid, "the key has more than %d bytes", maxJWK)
	}
	var w wireKey
	if err := readObject("the key", jwk, w.read); err != nil {
		return nil, err
	}
	return w.key()
}

// ParseKeySet reads a JWK set (RFC 7517, section 5). Keys that are not for us are skipped: those of
// other kinds, curves and algorithms, those for encryption, those out of the supported range, and those
// that are malformed. A private key in the set is an error, and so is a secret, a member twice, and a
// set of more than 100 keys or 256 KiB.
func ParseKeySet(doc []byte) ([]*Key, error) {
	if len(doc) > maxKeySet {
		return nil, authz.Errorf(authz.ErrInvalid, "the key set has more than %d bytes", maxKeySet)
	}
	var keys []*Key
	found, count := false, 0
	err := readObject("the key set", doc, func(r *reader, name string) {
		if name != "keys" {
			r.skip()
			return
		}
		found = true
		r.elements(func() {
			if count++; count > maxKeys {
				r.fail("has more than %d keys", maxKeys)
				return
			}
			var w wireKey
			raw := r.raw()
			if r.err != nil {
				return
			}
			err := readObject("the key", raw, w.read)
			if w.private {
				r.fail("publishes a private key, or a secret")
			}
			if err != nil {
				return // one that its publisher got wrong does not spoil the others
			}
			if k, err := w.key(); err == nil {
				keys = append(keys, k)
			}
		})
	})
	if err == nil && !found {
		err = authz.Errorf(authz.ErrInvalid, "the key set has no keys")
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// A wireKey is a JWK as it was written.
type wireKey struct {
	kty, crv, use, alg, kid string
	numbers                 map[string][]byte // x, y, n, e
	ops                     []string
	private                 bool // or symmetric
	broken                  bool // a number is not canonical base64url
}

func (w *wireKey) read(r *reader, name string) {
	switch name {
	case "kty":
		w.kty = r.text()
	case "crv":
		w.crv = r.text()
	case "use":
		w.use = r.text()
	case "alg":
		w.alg = r.text()
	case "kid":
		w.kid = r.text()
	case "key_ops":
		w.ops = r.texts()
	case "x", "y", "n", "e":
		b, err := decode(name, r.text())
		w.broken = w.broken || err != nil
		if w.numbers == nil {
			w.numbers = map[string][]byte{}
		}
		w.numbers[name] = b
	case "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv":
		w.private = true
		r.skip()
	default:
		r.skip()
	}
}

// key returns the Key that w is, or authz.ErrInvalid.
func (w *wireKey) key() (*Key, error) {
	if w.private {
		return nil, authz.Errorf(authz.ErrInvalid, "the key is private or symmetric; send the public key alone")
	}
	if w.broken {
		return nil, authz.Errorf(authz.ErrInvalid, "a number of the key is not canonical base64url")
	}
	if w.use != "" && w.use != "sig" || w.ops != nil && !slices.Contains(w.ops, "verify") {
		return nil, authz.Errorf(authz.ErrInvalid, "the key is not for signatures")
	}
	pub, err := w.public()
	if err != nil {
		return nil, err
	}
	k, err := NewKey(pub)
	if err != nil {
		return nil, err
	}
	if w.alg != "" && !slices.Contains(k.Algorithms(), w.alg) {
		return nil, authz.Errorf(authz.ErrInvalid, "the key is for the algorithm %.20q, which is not accepted for it", w.alg)
	}
	k.Name = w.kid
	return k, nil
}

func (w *wireKey) public() (crypto.PublicKey, error) {
	switch {
	case w.kty == "OKP" && w.crv == ed25519Name:
		return ed25519.PublicKey(w.numbers["x"]), nil
	case w.kty == "EC" && w.crv == "P-256":
		return p256(w.numbers["x"], w.numbers["y"])
	case w.kty == "RSA":
		return rsaKey(w.numbers["n"], w.numbers["e"])
	}
	return nil, authz.Errorf(authz.ErrInvalid, "keys of the kind %.20q %.20q are not accepted: Ed25519, P-256 and RSA are", w.kty, w.crv)
}
