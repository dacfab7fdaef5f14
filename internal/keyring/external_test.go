package keyring_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.step.sm/crypto/kms/apiv1"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyring"
)

// A safe is a key management service in memory. It is reached by testsafe:NAME.
type safe struct {
	mu      sync.Mutex
	keys    map[string]crypto.Signer
	down    error // what it says instead of answering
	wrong   bool  // it signs something else
	deleted int
}

var safes sync.Map // by URI

func newSafe(t testing.TB) (*safe, string) {
	t.Helper()
	apiv1.Register("testsafe", func(_ context.Context, o apiv1.Options) (apiv1.KeyManager, error) {
		u, _, _ := strings.Cut(o.URI, "?")
		s, ok := safes.Load(u)
		if !ok {
			return nil, fmt.Errorf("no service at %s", o.URI)
		}
		return s.(*safe), nil
	})
	s, u := &safe{keys: map[string]crypto.Signer{}}, "testsafe:"+rand.Text()
	safes.Store(u, s)
	t.Cleanup(func() { safes.Delete(u) })
	return s, u + "?pin-value=s3cret"
}

func (s *safe) put(t testing.TB, name string) {
	t.Helper()
	if _, err := s.CreateKey(&apiv1.CreateKeyRequest{Name: name, SignatureAlgorithm: apiv1.ECDSAWithSHA256}); err != nil {
		t.Fatal(err)
	}
}

func (s *safe) CreateKey(req *apiv1.CreateKeyRequest) (*apiv1.CreateKeyResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, s.down
	}
	if s.keys[req.Name] != nil {
		return nil, apiv1.AlreadyExistsError{}
	}
	var key crypto.Signer
	var err error
	switch req.SignatureAlgorithm {
	case apiv1.PureEd25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case apiv1.SHA256WithRSA:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	s.keys[req.Name] = key
	return &apiv1.CreateKeyResponse{Name: req.Name, PublicKey: key.Public(), CreateSignerRequest: apiv1.CreateSignerRequest{SigningKey: req.Name}}, nil
}

func (s *safe) CreateSigner(req *apiv1.CreateSignerRequest) (crypto.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down != nil:
		return nil, s.down
	case s.keys[req.SigningKey] == nil:
		return nil, fmt.Errorf("no key %s", req.SigningKey)
	case s.wrong:
		other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return mismatched{s.keys[req.SigningKey], other}, err
	}
	return s.keys[req.SigningKey], nil
}

type mismatched struct {
	crypto.Signer
	other crypto.Signer
}

func (m mismatched) Public() crypto.PublicKey { return m.other.Public() }

func (s *safe) GetPublicKey(*apiv1.GetPublicKeyRequest) (crypto.PublicKey, error) {
	return nil, errors.New("not asked for")
}

func (s *safe) CreateDecrypter(req *apiv1.CreateDecrypterRequest) (crypto.Decrypter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.keys[req.DecryptionKey].(crypto.Decrypter); ok {
		return d, nil
	}
	return nil, errors.New("no such key to decrypt with")
}

func (s *safe) DeleteKey(req *apiv1.DeleteKeyRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, req.Name)
	s.deleted++
	return nil
}

func (s *safe) Close() error { return nil }

// external puts the keys of a slot into a service.
func external(slot keyring.Slot, uri string, keys ...string) func(*keyring.Config) {
	return func(c *keyring.Config) {
		c.Slots = []keyring.Slot{slot}
		for _, k := range keys {
			c.External = append(c.External, keyring.External{Use: slot.Use, Algorithm: slot.Algorithm, KMS: uri, Key: k})
		}
	}
}

// Keys are made in the service when they are needed, one for all replicas.
func TestExternalMade(t *testing.T) {
	for _, slot := range []keyring.Slot{tokenES, tokenEd} {
		w := newWorld(t)
		s, uri := newSafe(t)
		change := external(slot, uri, "testsafe:key-{id}")
		one, err := w.make(change, func(c *keyring.Config) { c.Seal = nil })
		if err != nil {
			t.Fatal(err)
		}
		two, err := w.make(change)
		if err != nil {
			t.Fatal(err)
		}
		rings := []*keyring.Ring{one, two}
		w.tape.before = func() { ensure(t, two) }
		ensure(t, one)
		wantStates(t, rings, slot, keyring.Active)
		if len(s.keys) != 1 || s.deleted != 1 {
			t.Errorf("after a race the service has %d keys and %d were deleted, want 1 and 1", len(s.keys), s.deleted)
		}
		first := sign(t, one, slot.Use, slot.Algorithm)
		if kidOf(t, sign(t, two, slot.Use, "")) != kidOf(t, first) {
			t.Error("replicas sign with different keys")
		}
		w.pass(29 * day)
		ensure(t, one, two)
		w.pass(day)
		ensure(t, two, one)
		wantStates(t, rings, slot, keyring.VerifyOnly, keyring.Active)
		if kidOf(t, sign(t, one, slot.Use, "")) == kidOf(t, first) {
			t.Error("the first key signs on")
		}
		if len(s.keys) != 2 || w.halves(t) != 0 {
			t.Errorf("%d keys in the service and %d in the store, want 2 and none", len(s.keys), w.halves(t))
		}
		w.forget()
		three := w.ring(t, change)
		sign(t, three, slot.Use, "")
		for _, e := range w.tape.entries {
			if strings.Contains(string(e.Body), "s3cret") {
				t.Errorf("an entry holds the PIN: %s", e.Body)
			}
		}
		if err := three.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Keys that exist serve one after the other, and when none is left, nobody signs.
func TestExternalFixed(t *testing.T) {
	w := newWorld(t)
	s, uri := newSafe(t)
	s.put(t, "testsafe:a")
	s.put(t, "testsafe:b")
	change := external(tokenES, uri, "testsafe:a", "testsafe:b")
	one, two := w.ring(t, change), w.ring(t, change)
	rings := []*keyring.Ring{one, two}
	w.pass(29 * day)
	ensure(t, one, two)
	w.pass(day)
	ensure(t, two, one)
	wantStates(t, rings, tokenES, keyring.VerifyOnly, keyring.Active)
	w.pass(29 * day)
	if err := one.Ensure(t.Context()); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "name a new one") {
		t.Errorf("a day before the end of the last key: %v, want authz.ErrInvalid that says what to do", err)
	}
	text := sign(t, one, keyring.Token, "")
	w.pass(day)
	if err := one.Ensure(t.Context()); err == nil {
		t.Error("no key is left, and Ensure says nothing")
	}
	if _, err := one.Signer(keyring.Token, ""); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Signer = %v, want authz.ErrUnavailable", err)
	}
	verify(t, two, keyring.Token, text)
	wantStates(t, rings, tokenES, keyring.Historical, keyring.VerifyOnly)
	w.forget()
	s.put(t, "testsafe:c")
	r := w.ring(t, external(tokenES, uri, "testsafe:a", "testsafe:b", "testsafe:c"))
	sign(t, r, keyring.Token, "")
}

// A software key moves into the service by rotation, and out of it when the service is configured no
// more.
func TestExternalComesAndGoes(t *testing.T) {
	w := newWorld(t)
	s, uri := newSafe(t)
	only := func(c *keyring.Config) { c.Slots = []keyring.Slot{tokenES} }
	w.ring(t, only)
	w.forget()
	r := w.ring(t, external(tokenES, uri, "testsafe:{id}"))
	if k := r.Keys()[0]; k.Source != keyring.Software || !k.Signs {
		t.Errorf("before rotation: %+v", k)
	}
	if got, err := r.Rotate(t.Context(), "admin:root", "into the HSM", keyring.Token, true); err != nil || !strings.HasPrefix(got[0].Source, "testsafe:") {
		t.Fatalf("Rotate = %+v, %v", got, err)
	}
	text := sign(t, r, keyring.Token, "")
	w.forget()
	s.down = errors.New("on fire, with testsafe PIN s3cret")
	if _, err := w.make(external(tokenES, uri, "testsafe:{id}")); err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("the service is away: %v, want an error without the PIN", err)
	}
	r = w.ring(t, only)
	wantStates(t, []*keyring.Ring{r}, tokenES, keyring.VerifyOnly, keyring.VerifyOnly, keyring.Active)
	verify(t, r, keyring.Token, text)
	if k := r.Keys()[2]; k.Source != keyring.Software {
		t.Errorf("out of the service: %+v", k)
	}
}

func TestExternalRefused(t *testing.T) {
	w := newWorld(t)
	s, uri := newSafe(t)
	s.put(t, "testsafe:p256")
	if _, err := s.CreateKey(&apiv1.CreateKeyRequest{Name: "testsafe:rsa", SignatureAlgorithm: apiv1.SHA256WithRSA}); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*keyring.Config){
		"RSA":               external(tokenES, uri, "testsafe:rsa"),
		"another algorithm": external(tokenEd, uri, "testsafe:p256"),
		"no such key":       external(tokenES, uri, "testsafe:none"),
	} {
		r, err := w.make(change)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Ensure(t.Context()); err == nil || len(r.Keys()) > 0 {
			t.Errorf("%s: %v, and %d keys", what, err, len(r.Keys()))
		}
	}
	s.wrong = true
	r, err := w.make(external(tokenES, uri, "testsafe:p256"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ensure(t.Context()); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "wrong signatures") {
		t.Errorf("a service that signs with another key: %v", err)
	}
	if _, err := w.make(external(tokenES, "testsafe:nowhere?pin-value=s3cret", "testsafe:x")); !errors.Is(err, authz.ErrInvalid) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a service that is not there: %v, want authz.ErrInvalid without the PIN", err)
	}
	if _, err := w.make(external(tokenES, "awskms:region=us-east-1", "awskms:key-id=x")); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "built without") {
		t.Errorf("a service that is not built in: %v", err)
	}
}

// The sealing key is of no use without the service.
func TestWrappedSealingKey(t *testing.T) {
	w := newWorld(t)
	s, uri := newSafe(t)
	for _, name := range []string{"testsafe:rsa", "testsafe:other"} {
		if _, err := s.CreateKey(&apiv1.CreateKeyRequest{Name: name, SignatureAlgorithm: apiv1.SHA256WithRSA}); err != nil {
			t.Fatal(err)
		}
	}
	s.put(t, "testsafe:p256")
	c := keyring.SealConfig{File: filepath.Join(t.TempDir(), "keys.key"), KMS: uri, Key: "testsafe:rsa"}
	load := func() (*keyring.SealingKey, error) {
		return keyring.LoadSealing(t.Context(), c, w.store, rand.Reader)
	}
	made, err := load()
	if err != nil {
		t.Fatal(err)
	}
	w.seal = made
	w.ring(t)
	again, err := load()
	if err != nil || again.Name() != made.Name() {
		t.Errorf("loading again: %v, %v", again, err)
	}
	for _, name := range []string{"testsafe:other", "testsafe:p256", "testsafe:none"} {
		c.Key = name
		if _, err := load(); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("by key %s: %v, want authz.ErrInvalid", name, err)
		}
	}
	c.KMS = ""
	if _, err := load(); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("without the service: %v, want authz.ErrInvalid", err)
	}
}

func TestParseExternal(t *testing.T) {
	const kms = "pkcs11:module-path=/m.so;token=sc?pin-value=s3cret"
	for _, tt := range []struct {
		line string
		want keyring.External
	}{
		{"token/ES256=pkcs11:id={id};object=sc-{id}", keyring.External{Use: keyring.Token, Algorithm: keyring.ES256, KMS: kms, Key: "pkcs11:id={id};object=sc-{id}"}},
		{"status/ES256=x", keyring.External{Use: keyring.Status, Algorithm: keyring.ES256, KMS: kms, Key: "x"}},
		{line: "status/EdDSA=x"}, // not behind PKCS#11
		{line: "token=pkcs11:id=1"},
		{line: "login/ES256=x"},
		{line: "token/RS256=x"},
		{line: "token/ES256"},
		{line: "token/ES256="},
		{line: "token/ES256=pkcs11:id=1?pin-value=s3cret"},
		{line: "pin-value/s3cret"},
		{line: ""},
	} {
		x, err := keyring.ParseExternal(kms, tt.line)
		if tt.want.KMS == "" {
			if !errors.Is(err, authz.ErrInvalid) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("ParseExternal(%q) = %+v, %v; want authz.ErrInvalid without the PIN", tt.line, x, err)
			}
		} else if err != nil || x != tt.want {
			t.Errorf("ParseExternal(%q) = %+v, %v; want %+v", tt.line, x, err, tt.want)
		}
	}
}
