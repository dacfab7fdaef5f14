package client

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyfile"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A keyFile is what a key file holds: an unencrypted PKCS#8 key as RFC 7468 has it, and before it,
// where that RFC (section 5.2) lets text stand that parsers skip, three lines about whose it is.
type keyFile struct {
	issuer, agent string
	expires       time.Time // zero: never, or not known
	key           crypto.Signer
}

const (
	maxKeyFile = 16 << 10

	lineIssuer  = "Safeconduct-Issuer: "
	lineAgent   = "Safeconduct-Agent: "
	lineExpires = "Safeconduct-Expires: "
)

// LoadKey reads a private key, Ed25519 or P-256, from a PKCS#8 PEM file. A file that others may read
// is refused.
func LoadKey(file string) (crypto.Signer, error) {
	f, err := readKeyFile(file)
	if err != nil {
		return nil, err
	}
	return f.key, nil
}

func readKeyFile(name string) (*keyFile, error) {
	b, err := keyfile.Read(name, maxKeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, authz.Errorf(authz.ErrNotFound, "no key file %s", name)
	case errors.Is(err, keyfile.ErrExposed), errors.Is(err, keyfile.ErrTooLarge):
		return nil, authz.Errorf(authz.ErrInvalid, "%w", err)
	case err != nil:
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	defer clear(b)
	k, err := parseKeyFile(b)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return k, nil
}

// parseKeyFile reads the text of a key file. Its errors never quote it.
func parseKeyFile(text []byte) (*keyFile, error) {
	if len(text) > maxKeyFile {
		return nil, authz.Errorf(authz.ErrInvalid, "a key file has at most %d bytes", maxKeyFile)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, authz.Errorf(authz.ErrInvalid, "no PEM block in it")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "it has more than one PEM block")
	}
	switch block.Type {
	case "PRIVATE KEY":
	case "EC PRIVATE KEY":
		return nil, authz.Errorf(authz.ErrInvalid, "the key is not PKCS#8: convert it with `openssl pkcs8 -topk8 -nocrypt`")
	case "ENCRYPTED PRIVATE KEY":
		return nil, authz.Errorf(authz.ErrInvalid, "the key is encrypted; a key that must not lie in a file belongs into an HSM or KMS and is used as a crypto.Signer")
	default:
		return nil, authz.Errorf(authz.ErrInvalid, "a PEM block of the type %.40q is no private key", block.Type)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the PEM block holds no PKCS#8 key")
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, authz.Errorf(authz.ErrInvalid, "a key of the type %T does not sign", parsed)
	}
	if _, err := token.NewSigner(key); err != nil {
		return nil, err
	}
	k := &keyFile{key: key}
	before, _, _ := bytes.Cut(text, []byte("-----BEGIN"))
	for line := range strings.Lines(string(before)) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, lineIssuer); ok {
			k.issuer = v
		} else if v, ok := strings.CutPrefix(line, lineAgent); ok {
			k.agent = v
		} else if v, ok := strings.CutPrefix(line, lineExpires); ok {
			if k.expires, err = time.Parse(time.RFC3339, v); err != nil {
				return nil, authz.Errorf(authz.ErrInvalid, "%sit is no time of RFC 3339", lineExpires)
			}
		}
	}
	return k, nil
}

// text returns the key file as parseKeyFile reads it.
func (k *keyFile) text() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	defer clear(der)
	var b bytes.Buffer
	for _, l := range []struct{ name, value string }{{lineIssuer, k.issuer}, {lineAgent, k.agent}} {
		if strings.ContainsFunc(l.value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return nil, authz.Errorf(authz.ErrInvalid, "%q has a control character", l.value)
		}
		if l.value != "" {
			b.WriteString(l.name + l.value + "\n")
		}
	}
	if !k.expires.IsZero() {
		b.WriteString(lineExpires + k.expires.UTC().Format(time.RFC3339) + "\n")
	}
	err = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return b.Bytes(), err
}

// save writes the key file, which only its owner can read. If it is new, a file of that name must
// not exist: authz.ErrConflict. After a crash there is the whole file, or what was there before.
func (k *keyFile) save(name string, isNew bool) error {
	text, err := k.text()
	if err != nil {
		return err
	}
	defer clear(text)
	put := keyfile.Replace
	if isNew {
		put = keyfile.Create
	}
	if err = put(name, text); errors.Is(err, fs.ErrExist) {
		return authz.Errorf(authz.ErrConflict, "%s exists", name)
	} else if err != nil {
		return fmt.Errorf("saving the key: %w", err)
	}
	return nil
}

// generate draws a key: "EdDSA", which "" means, or "ES256".
func generate(algorithm string) (crypto.Signer, error) {
	if algorithm == "" {
		algorithm = "EdDSA"
	}
	_, key, err := token.GenerateSigner(algorithm, rand.Reader)
	return key, err
}
