// Package secret keeps the secrets of a gateway, by name, in one file: keys of other people's servers, secrets of OAuth
// clients.
//
// The file is its owner's alone, and is replaced whole or not at all. Each value in it is sealed under a key that stands
// in another file or in the environment, and together with its name, so that nobody without the key can read a value, put
// one of his own in its place, or move one to another name.
//
// What is not solved: whoever has the file and the key has the secrets, and so has whoever can read the memory of a
// gateway that runs. An older copy of the file is as good as the newest. Two who write at the same time are told so, mostly;
// there is no lock.
package secret

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyfile"
	"github.com/safeconduct/safeconduct/internal/keyring"
)

// Bounds.
const (
	MaxName  = 64       // bytes of a name
	MaxValue = 16 << 10 // bytes of a value
	maxCount = 1000     // secrets in a file
	maxFile  = 32 << 20
)

// KeyVariable is the environment variable that may hold the key in place of a file.
const KeyVariable = "SAFECONDUCT_SECRETS_KEY"

const (
	fileName = "secrets"
	version  = 1
	binding  = "safeconduct secret: " // what a value is sealed with begins so; the name follows
	keyText  = "sc_seal_"             // how keyring writes a sealing key: this, and 32 bytes in base64url
	// newer is how often a File looks whether it was changed.
	newer = 2 * time.Second
)

// DefaultFile returns the file that is used if none is named: in the user's directory of configurations; "" if the user has
// none.
func DefaultFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "safeconduct", fileName)
}

// DefaultKey returns the file of the key to DefaultFile.
func DefaultKey() string {
	if f := DefaultFile(); f != "" {
		return f + ".key"
	}
	return ""
}

// ValidName reports whether a secret can have that name: letters, digits, "-", "_" and ".", beginning with a letter or digit.
func ValidName(name string) bool {
	if name == "" || len(name) > MaxName || strings.IndexByte("-_.", name[0]) >= 0 {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

// A File is a file of secrets, opened with its key. It is safe for concurrent use.
type File struct {
	path    string
	keyFile string // "" if none was named
	key     *keyring.SealingKey

	mu      sync.Mutex
	text    []byte // that was read last; nil if there is no file
	secrets map[string]entry
	mod     time.Time // of the file that was read
	size    int64
	looked  time.Time
}

// wire is the file.
type wire struct {
	Version int              `json:"version"`
	Secrets map[string]entry `json:"secrets"`
}

type entry struct {
	Sealed string    `json:"sealed"` // base64
	At     time.Time `json:"at"`
}

// An Item is what can be told of a secret.
type Item struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"` // when it was put there
}

// Open opens a file with a key: the one in the environment variable KeyVariable or, if that is empty, in keyFile. A file that is
// not there holds no secrets. With create, a key file that is not there is made, unless there are secrets already, which another
// key sealed. Errors are authz.ErrInvalid (a file that others may read, that is damaged, or another key's) and
// authz.ErrNotFound (no key).
func Open(path, keyFile string, create bool) (*File, error) {
	if path == "" {
		return nil, authz.Errorf(authz.ErrInvalid, "no file of secrets is named, and there is no home directory to have one in")
	}
	f := &File{path: path, keyFile: keyFile}
	if err := f.read(); err != nil {
		return nil, err
	}
	var err error
	if f.key, err = loadKey(keyFile, create && len(f.secrets) == 0); errors.Is(err, authz.ErrNotFound) && len(f.secrets) == 0 {
		return nil, &advised{err, "the key is made with the first secret: " + f.put("NAME")}
	} else if errors.Is(err, authz.ErrNotFound) {
		return nil, &advised{err, "there are secrets in " + path + ": name the file of the key that sealed them (secrets.key, --key), or set " + KeyVariable}
	} else if err != nil {
		return nil, err
	}
	if names := slices.Sorted(maps.Keys(f.secrets)); len(names) > 0 { // one tells of all: a wrong key is told at once
		if _, err := f.open(names[0]); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// List returns what can be told of the secrets in a file, by name, without the key.
func List(path string) ([]Item, error) {
	f := &File{path: path}
	if err := f.read(); err != nil {
		return nil, err
	}
	items := make([]Item, 0, len(f.secrets))
	for _, name := range slices.Sorted(maps.Keys(f.secrets)) {
		items = append(items, Item{name, f.secrets[name].At})
	}
	return items, nil
}

// Value returns a secret. What was changed in the file meanwhile is seen within a few seconds; if it cannot be read then,
// what was there before counts. authz.ErrNotFound: there is none of that name.
func (f *File) Value(name string, now time.Time) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.looked) >= newer || now.Before(f.looked) {
		f.looked = now
		if info, err := os.Stat(f.path); err == nil && (info.Size() != f.size || !info.ModTime().Equal(f.mod)) {
			_ = f.read()
		}
	}
	return f.open(name)
}

// Put keeps a secret under a name, in place of the one that is there. authz.ErrConflict: somebody else wrote at the same time.
func (f *File) Put(name, value string, now time.Time) error {
	switch {
	case !ValidName(name):
		return authz.Errorf(authz.ErrInvalid, "%.80q is no name of a secret: letters, digits, - _ and ., at most %d, the first a letter or digit", name, MaxName)
	case value == "":
		return authz.Errorf(authz.ErrInvalid, "a secret is not empty")
	case len(value) > MaxValue:
		return authz.Errorf(authz.ErrInvalid, "a secret has at most %d bytes", MaxValue)
	}
	sealed, err := f.key.Seal([]byte(value), []byte(binding+name))
	if err != nil {
		return fmt.Errorf("sealing the secret: %w", err)
	}
	return f.change(func(s map[string]entry) error {
		if _, ok := s[name]; !ok && len(s) >= maxCount {
			return authz.Errorf(authz.ErrInvalid, "a file holds at most %d secrets", maxCount)
		}
		s[name] = entry{base64.StdEncoding.EncodeToString(sealed), now.UTC().Truncate(time.Second)}
		return nil
	})
}

// Remove removes a secret. authz.ErrNotFound: there is none of that name. It needs no key.
func Remove(path, name string) error {
	f := &File{path: path}
	if err := f.read(); err != nil {
		return err
	}
	return f.change(func(s map[string]entry) error {
		if _, ok := s[name]; !ok {
			return unknown(name)
		}
		delete(s, name)
		return nil
	})
}

func unknown(name string) error {
	return authz.Errorf(authz.ErrNotFound, "no secret of the name %.80q", name)
}

// put returns the command that puts a secret there.
func (f *File) put(name string) string {
	cmd := "`safeconduct secret put " + name
	if f.path != DefaultFile() {
		cmd += " --file " + f.path
	}
	if f.keyFile != "" && f.keyFile != f.path+".key" && (f.path != DefaultFile() || f.keyFile != DefaultKey()) {
		cmd += " --key " + f.keyFile
	}
	return cmd + "`, with the value on standard input"
}

// An advised is an error with what to do about it, which its method Hint returns.
type advised struct {
	error
	hint string
}

func (e *advised) Hint() string  { return e.hint }
func (e *advised) Unwrap() error { return e.error }

// open returns a value. f.mu is held, or f is nobody else's.
func (f *File) open(name string) (string, error) {
	e, ok := f.secrets[name]
	if !ok {
		return "", &advised{unknown(name), "put it there: " + f.put(name)}
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(e.Sealed)
	if err != nil {
		return "", authz.Errorf(authz.ErrInvalid, "the secret %s in %s is damaged", name, f.path)
	}
	plain, err := f.key.Open(sealed, []byte(binding+name))
	if err != nil {
		return "", authz.Errorf(authz.ErrInvalid, "opening the secret %s in %s: %w", name, f.path, err)
	}
	return string(plain), nil
}

// change writes what f makes of the secrets, if the file is still the one that was read.
func (f *File) change(edit func(map[string]entry) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.text
	if err := f.read(); err != nil {
		return err
	}
	if !bytes.Equal(before, f.text) {
		return authz.Errorf(authz.ErrConflict, "%s was changed meanwhile: try again", f.path)
	}
	next := maps.Clone(f.secrets)
	if next == nil {
		next = map[string]entry{}
	}
	if err := edit(next); err != nil {
		return err
	}
	text, err := json.Marshal(wire{version, next}, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("writing the secrets: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return authz.Errorf(authz.ErrInvalid, "%w", err)
	}
	if err := keyfile.Replace(f.path, append(text, '\n')); err != nil {
		return authz.Errorf(authz.ErrUnavailable, "writing the secrets: %w", err)
	}
	return f.read()
}

// read reads the file, if there is one. f.mu is held, or f is nobody else's.
func (f *File) read() error {
	text, err := keyfile.Read(f.path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.text, f.secrets, f.mod, f.size = nil, nil, time.Time{}, 0
		return nil
	case errors.Is(err, keyfile.ErrExposed), errors.Is(err, keyfile.ErrTooLarge):
		return authz.Errorf(authz.ErrInvalid, "%w", err)
	case err != nil:
		return authz.Errorf(authz.ErrInvalid, "reading the secrets: %w", err)
	}
	secrets, err := parse(text)
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "%s: %w", f.path, err)
	}
	f.text, f.secrets = text, secrets
	if info, err := os.Stat(f.path); err == nil {
		f.mod, f.size = info.ModTime(), info.Size()
	}
	return nil
}

// parse reads the text of a file, strictly.
func parse(text []byte) (map[string]entry, error) {
	var w wire
	if err := json.Unmarshal(text, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New("this is no file of secrets, or a damaged one")
	}
	if w.Version != version {
		return nil, fmt.Errorf("a file of secrets of version %d, and this program knows %d", w.Version, version)
	}
	if len(w.Secrets) > maxCount {
		return nil, fmt.Errorf("more than %d secrets", maxCount)
	}
	for name := range w.Secrets {
		if !ValidName(name) {
			return nil, fmt.Errorf("%.80q is no name of a secret", name)
		}
	}
	return w.Secrets, nil
}

// loadKey returns the key of the environment, or of a file, which is made if it is not there and may be.
func loadKey(file string, create bool) (*keyring.SealingKey, error) {
	if text := os.Getenv(KeyVariable); text != "" {
		k, err := keyring.ParseSealingKey(text)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", KeyVariable, err)
		}
		return k, nil
	}
	if file == "" {
		return nil, authz.Errorf(authz.ErrNotFound, "no key to the secrets: name its file, or set %s", KeyVariable)
	}
	text, err := keyfile.Read(file, 1<<10)
	if errors.Is(err, fs.ErrNotExist) && create {
		if text, err = makeKey(file); err != nil {
			return nil, err
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, authz.Errorf(authz.ErrNotFound, "no key to the secrets in %s", file)
	case errors.Is(err, keyfile.ErrExposed), errors.Is(err, keyfile.ErrTooLarge):
		return nil, authz.Errorf(authz.ErrInvalid, "%w", err)
	case err != nil:
		return nil, authz.Errorf(authz.ErrInvalid, "reading the key to the secrets: %w", err)
	}
	k, err := keyring.ParseSealingKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return k, nil
}

// makeKey draws a key and writes its file. If another process was first, its key counts.
func makeKey(file string) ([]byte, error) {
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, fmt.Errorf("drawing a key: %w", err)
	}
	text := []byte(keyText + base64.RawURLEncoding.EncodeToString(raw[:]) + "\n")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "%w", err)
	}
	err := keyfile.Create(file, text)
	if errors.Is(err, fs.ErrExist) {
		return keyfile.Read(file, 1<<10)
	}
	return text, err
}
