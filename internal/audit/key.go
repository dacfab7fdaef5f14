package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyfile"
)

// A Key signs checkpoints: an Ed25519 key of a C2SP signed note, named after the log's origin.
type Key struct {
	signer   note.Signer
	verifier note.Verifier
	private  string
	public   string
}

// NewKey draws a key for the log of that origin, a name without spaces and plus signs, by custom a
// URL without its scheme.
func NewKey(rand io.Reader, origin string) (*Key, error) {
	if origin == "" || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r == '+' || r == 0x7f }) {
		return nil, authz.Errorf(authz.ErrInvalid, "a log's origin %q is empty or has a space or plus sign", origin)
	}
	private, _, err := note.GenerateKey(rand, origin)
	if err != nil {
		return nil, fmt.Errorf("drawing a key: %w", err)
	}
	return ParseKey(private)
}

// ParseKey decodes the text form of a key, PRIVATE+KEY+origin+hash+base64.
func ParseKey(private string) (*Key, error) {
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "not the key of a note signer") // never the text
	}
	// NewSigner has checked the form: the last part is an algorithm's byte and an Ed25519 seed,
	// whose base64 may itself have plus signs.
	part := strings.SplitN(private, "+", 5)
	raw, err := base64.StdEncoding.DecodeString(part[len(part)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, authz.Errorf(authz.ErrInvalid, "not an Ed25519 key of a note signer")
	}
	pub := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	public, err := note.NewEd25519VerifierKey(signer.Name(), pub)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "deriving the verifier's key: %w", err)
	}
	verifier, err := ParseVerifier(public)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "deriving the verifier's key: %w", err)
	}
	return &Key{signer: signer, verifier: verifier, private: private, public: public}, nil
}

// ParseVerifier decodes the text form of a public key, as Key.Public returns it. Anything that Public would not return is
// authz.ErrInvalid.
func ParseVerifier(public string) (note.Verifier, error) {
	v, err := note.NewVerifier(public)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "not the public key of a note signer: %w", err)
	}
	// NewVerifier lets line feeds through, wherever they are in the base64, and ids in upper case.
	head := fmt.Sprintf("%s+%08x+", v.Name(), v.KeyHash())
	if !strings.HasPrefix(public, head) || len(public) != len(head)+base64.StdEncoding.EncodedLen(1+ed25519.PublicKeySize) {
		return nil, authz.Errorf(authz.ErrInvalid, "the public key of %s is written otherwise than keys are", v.Name())
	}
	return v, nil
}

// LoadKey reads a key file. A file that others may read is refused.
func LoadKey(path string) (*Key, error) {
	b, err := keyfile.Read(path, 4096)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, authz.Errorf(authz.ErrNotFound, "no log key in %s", path)
	case errors.Is(err, keyfile.ErrExposed), errors.Is(err, keyfile.ErrTooLarge):
		return nil, authz.Errorf(authz.ErrInvalid, "%w", err)
	case err != nil:
		return nil, fmt.Errorf("reading the log's key: %w", err)
	}
	k, err := ParseKey(strings.TrimSuffix(string(b), "\n"))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return k, nil
}

// Save writes the key to a new file that only its owner can read. It returns authz.ErrConflict if
// the file exists. After a crash the file is whole or not there.
func (k *Key) Save(path string) error {
	err := keyfile.Create(path, []byte(k.private+"\n"))
	if errors.Is(err, fs.ErrExist) {
		return authz.Errorf(authz.ErrConflict, "%s exists", path)
	} else if err != nil {
		return fmt.Errorf("saving the log's key: %w", err)
	}
	return nil
}

// Origin returns the name of the log that the key signs for.
func (k *Key) Origin() string { return k.signer.Name() }

// Verifier returns the key's public half.
func (k *Key) Verifier() note.Verifier { return k.verifier }

// Public returns the text form of the key's public half, origin+hash+base64, as ParseVerifier
// reads it.
func (k *Key) Public() string { return k.public }

// String returns the public half, so that a key that is printed by mistake gives nothing away.
func (k *Key) String() string { return k.public }

// GoString is String, for %#v.
func (k *Key) GoString() string { return k.public }
