package client

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
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
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, authz.Errorf(authz.ErrNotFound, "no key file %s", name)
	} else if err != nil {
		return nil, fmt.Errorf("opening the key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the key: %w", err)
	}
	if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm&0o077 != 0 { // Windows has no such bits
		return nil, authz.Errorf(authz.ErrInvalid, "%s may be read by others (mode %04o): chmod 600 it", name, perm)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
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
	dir := filepath.Dir(name)
	tmp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("saving the key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
	case isNew: // a link never replaces another file, as a rename does
		if err = os.Link(tmp.Name(), name); errors.Is(err, fs.ErrExist) {
			return authz.Errorf(authz.ErrConflict, "%s exists", name)
		}
	default:
		err = os.Rename(tmp.Name(), name)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("saving the key: %w", err)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // where directories cannot be synced
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// generate draws a key: "EdDSA", which "" means, or "ES256".
func generate(algorithm string) (crypto.Signer, error) {
	if algorithm == "" {
		algorithm = "EdDSA"
	}
	_, key, err := token.GenerateSigner(algorithm, rand.Reader)
	return key, err
}
