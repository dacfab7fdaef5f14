package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyfile"
)

// A Sealer protects private keys at rest. What is sealed with some associated data can be opened with
// the same data only.
type Sealer interface {
	Seal(plain, binding []byte) ([]byte, error)

	// Open returns authz.ErrInvalid if the data was sealed by another Sealer or for another binding,
	// or is damaged.
	Open(sealed, binding []byte) ([]byte, error)
}

// sealPrefix begins the text form of a sealing key, so that one found in the wrong place can be told.
const sealPrefix = "sc_seal_"

const sealVersion = 1

// A SealingKey is a Sealer: AES-256-GCM under a key of 256 bits. Of the text form and of what is
// sealed only that key's name can be told, not the key.
type SealingKey struct {
	secret [32]byte
	aead   cipher.AEAD
	name   [8]byte // of the key, so that a wrong one is told from damage
	former []*SealingKey
}

// NewSealingKey draws a sealing key.
func NewSealingKey(rand io.Reader) (*SealingKey, error) {
	var secret [32]byte
	if _, err := io.ReadFull(rand, secret[:]); err != nil {
		return nil, fmt.Errorf("drawing a sealing key: %w", err)
	}
	return sealingKey(secret)
}

func sealingKey(secret [32]byte) (*SealingKey, error) {
	k := &SealingKey{secret: secret}
	// The key that seals and the name are derived apart, so that the name tells nothing of the key.
	key, err := hkdf.Key(sha256.New, secret[:], nil, "safeconduct sealing key: aes-256-gcm", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving a sealing key: %w", err)
	}
	name, err := hkdf.Key(sha256.New, secret[:], nil, "safeconduct sealing key: name", len(k.name))
	if err != nil {
		return nil, fmt.Errorf("deriving a sealing key: %w", err)
	}
	copy(k.name[:], name)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("deriving a sealing key: %w", err)
	}
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, fmt.Errorf("deriving a sealing key: %w", err)
	}
	return k, nil
}

// ParseSealingKey decodes the text form, as it stands in a file or an environment variable.
func ParseSealingKey(text string) (*SealingKey, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), sealPrefix)
	raw, err := base64.RawURLEncoding.DecodeString(rest)
	if !ok || err != nil || len(raw) != 32 {
		return nil, authz.Errorf(authz.ErrInvalid, "not a sealing key: %s and 43 characters", sealPrefix) // never the text
	}
	return sealingKey([32]byte(raw))
}

// Accept makes k open what former keys sealed, too.
func (k *SealingKey) Accept(former ...*SealingKey) { k.former = append(k.former, former...) }

// Name tells the key from others and gives nothing away.
func (k *SealingKey) Name() string { return hex.EncodeToString(k.name[:]) }

// String is Name, so that a key that is printed by mistake gives nothing away.
func (k *SealingKey) String() string { return k.Name() }

// GoString is Name, for %#v.
func (k *SealingKey) GoString() string { return k.Name() }

// Seal implements Sealer.
func (k *SealingKey) Seal(plain, binding []byte) ([]byte, error) {
	head := append([]byte{sealVersion}, k.name[:]...)
	return k.aead.Seal(head, nil, plain, append(head[:len(head):len(head)], binding...)), nil
}

// Open implements Sealer.
func (k *SealingKey) Open(sealed, binding []byte) ([]byte, error) {
	const head = 1 + len(k.name)
	if len(sealed) < head+k.aead.Overhead() || sealed[0] != sealVersion {
		return nil, authz.Errorf(authz.ErrInvalid, "what was sealed is damaged")
	}
	if name := [8]byte(sealed[1:head]); name != k.name {
		for _, f := range k.former {
			if f.name == name {
				return f.Open(sealed, binding)
			}
		}
		return nil, authz.Errorf(authz.ErrInvalid, "it is sealed with the key %x, and this is the sealing key %s", name, k.Name())
	}
	plain, err := k.aead.Open(nil, nil, sealed[head:], append(sealed[:head:head], binding...))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "what was sealed is damaged, or belongs to another key")
	}
	return plain, nil
}

// text is the text form of k.
func (k *SealingKey) text() string {
	return sealPrefix + base64.RawURLEncoding.EncodeToString(k.secret[:])
}

// Why a sealing key is refused.
var ErrSealMissing = authz.Errorf(authz.ErrInvalid, "there are sealed signing keys, and the key that seals them is missing")

// A SealConfig says where the sealing key is. At least one of Text and File must be set; Text counts.
type SealConfig struct {
	Text string // the key itself, from the environment
	File string // made at the first start. Replicas share one
	// KMS, if not "", is the URI of a key management service and Key that of an RSA key in it: then the
	// file holds the sealing key encrypted to the RSA key, and is of no use without the service.
	KMS, Key string
	Former   []string // files, or texts, of keys that sealed earlier
	// ReplaceLost makes a file that is missing though something is sealed. See Config.ReplaceLost.
	ReplaceLost bool
}

// LoadSealing returns the sealing key. If there is none yet and nothing is sealed, it draws one from
// rand and saves it; if something is sealed, it returns ErrSealMissing.
func LoadSealing(ctx context.Context, c SealConfig, store Store, rand io.Reader) (*SealingKey, error) {
	form := plainForm
	if c.KMS != "" {
		v, err := openVault(ctx, c.KMS)
		if err != nil {
			return nil, err
		}
		defer v.close()
		if form, err = v.wrapping(c.Key, rand); err != nil {
			return nil, err
		}
	}
	k, err := loadSealing(ctx, c, form, store, rand)
	if err != nil {
		return nil, err
	}
	for _, f := range c.Former {
		var former *SealingKey
		if strings.HasPrefix(f, sealPrefix) {
			former, err = ParseSealingKey(f)
		} else {
			former, err = readSealing(f, form)
		}
		if err != nil {
			return nil, fmt.Errorf("loading a former sealing key: %w", err)
		}
		k.Accept(former)
	}
	return k, nil
}

func loadSealing(ctx context.Context, c SealConfig, form form, store Store, rand io.Reader) (*SealingKey, error) {
	if c.Text != "" {
		k, err := ParseSealingKey(c.Text)
		if err != nil {
			return nil, fmt.Errorf("reading the sealing key from the environment: %w", err)
		}
		return k, nil
	}
	k, err := readSealing(c.File, form)
	if !errors.Is(err, authz.ErrNotFound) {
		return k, err
	}
	sealed, err := store.SealedKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for sealed signing keys: %w", err)
	}
	if len(sealed) > 0 && !c.ReplaceLost {
		return nil, fmt.Errorf("%w: %d of them, no file %s", ErrSealMissing, len(sealed), c.File)
	}
	if k, err = NewSealingKey(rand); err != nil {
		return nil, err
	}
	if err := saveSealing(c.File, k, form); errors.Is(err, authz.ErrConflict) { // another process was first
		return readSealing(c.File, form)
	} else if err != nil {
		return nil, err
	}
	return k, nil
}

// A form is how a sealing key is written in a file.
type form struct {
	write func(*SealingKey) (string, error)
	read  func(string) (*SealingKey, error)
}

var plainForm = form{
	write: func(k *SealingKey) (string, error) { return k.text(), nil },
	read:  ParseSealingKey,
}

// readSealing reads a file. One that others may read is refused; authz.ErrNotFound if there is none.
func readSealing(path string, form form) (*SealingKey, error) {
	b, err := keyfile.Read(path, 8192)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, authz.Errorf(authz.ErrNotFound, "no sealing key in %s", path)
	case errors.Is(err, keyfile.ErrExposed), errors.Is(err, keyfile.ErrTooLarge):
		return nil, authz.Errorf(authz.ErrInvalid, "%w", err)
	case err != nil:
		return nil, authz.Errorf(authz.ErrInvalid, "reading the sealing key: %w", err)
	}
	k, err := form.read(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return k, nil
}

// saveSealing writes k to a new file that only its owner can read. It returns authz.ErrConflict if the
// file exists. After a crash the file is whole or not there.
func saveSealing(path string, k *SealingKey, form form) error {
	text, err := form.write(k)
	if err != nil {
		return err
	}
	err = keyfile.Create(path, []byte(text+"\n"))
	if errors.Is(err, fs.ErrExist) {
		return authz.Errorf(authz.ErrConflict, "%s exists", path)
	} else if err != nil {
		return fmt.Errorf("saving the sealing key: %w", err)
	}
	return nil
}
