package keyring

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"io"
	"strings"

	"go.step.sm/crypto/kms/apiv1"

	"github.com/safeconduct/safeconduct/authz"
)

// wrapPrefix begins the text form of a sealing key that is encrypted to a key of a key management
// service. The name of a hash and the ciphertext follow.
const wrapPrefix = "sc_wrap_"

// wraps are the hashes of RSA-OAEP (RFC 8017, 7.1), the preferred one first. That SHA-1 has collisions
// is no weakness of OAEP, and some modules, SoftHSM among them, have nothing else.
var wraps = []struct {
	name string
	hash crypto.Hash
	new  func() hash.Hash
}{
	{"sha256", crypto.SHA256, sha256.New},
	{"sha1", crypto.SHA1, sha1.New},
}

// wrapping is the form of a sealing key that only the service can read, by its RSA key of that name.
func (v *vault) wrapping(name string, rand io.Reader) (form, error) {
	d, ok := v.KeyManager.(apiv1.Decrypter)
	if !ok {
		return form{}, authz.Errorf(authz.ErrInvalid, "the key management service %s cannot decrypt", v.name())
	}
	key, err := d.CreateDecrypter(&apiv1.CreateDecrypterRequest{DecryptionKey: name})
	if err != nil {
		return form{}, authz.Errorf(authz.ErrInvalid, "finding key %s for the sealing key: %s", name, v.tell(err))
	}
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok || public.Size() < 256 {
		return form{}, authz.Errorf(authz.ErrInvalid, "key %s is no RSA key of at least 2048 bits, which the sealing key is encrypted to", name)
	}
	open := func(h crypto.Hash, sealed []byte) ([]byte, error) {
		plain, err := key.Decrypt(rand, sealed, &rsa.OAEPOptions{Hash: h})
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "the key management service does not decrypt the sealing key by %s: %s", name, v.tell(err))
		}
		if len(plain) != 32 {
			return nil, authz.Errorf(authz.ErrInvalid, "what key %s decrypts is no sealing key", name)
		}
		return plain, nil
	}
	return form{
		write: func(k *SealingKey) (string, error) {
			var err error
			for _, w := range wraps {
				var sealed, plain []byte
				if sealed, err = rsa.EncryptOAEP(w.new(), rand, public, k.secret[:], nil); err != nil {
					continue
				}
				if plain, err = open(w.hash, sealed); err == nil && subtle.ConstantTimeCompare(plain, k.secret[:]) == 1 {
					return wrapPrefix + w.name + "_" + base64.RawURLEncoding.EncodeToString(sealed), nil
				}
			}
			return "", err
		},
		read: func(text string) (*SealingKey, error) {
			for _, w := range wraps {
				if rest, ok := strings.CutPrefix(text, wrapPrefix+w.name+"_"); ok {
					sealed, err := base64.RawURLEncoding.DecodeString(rest)
					if err != nil {
						break
					}
					plain, err := open(w.hash, sealed)
					if err != nil {
						return nil, err
					}
					return sealingKey([32]byte(plain))
				}
			}
			return nil, authz.Errorf(authz.ErrInvalid, "not an encrypted sealing key: %ssha256_ and what the key management service decrypts", wrapPrefix)
		},
	}, nil
}
