package keyring

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/uri"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// maxName bounds the name of a key in a key management service.
const maxName = 1000

// idHole stands in External.Key where each new key has its own name.
const idHole = "{id}"

// An External says that the keys of a slot are in a key management service: an HSM behind PKCS#11, or
// whatever else go.step.sm/crypto/kms knows and the program was built with. All replicas reach the same
// keys.
type External struct {
	Use       Use
	Algorithm string

	// KMS is the URI of the service, for PKCS#11
	// pkcs11:module-path=/usr/lib/softhsm/libsofthsm2.so;token=NAME?pin-source=/run/secrets/pin.
	// It may hold a secret and is never recorded.
	KMS string

	// Key is the URI of a key in it. If {id} occurs in it, keys are made in the service when they are
	// needed, each with 16 hexadecimal digits in that place: pkcs11:id={id};object=safeconduct-{id}.
	// Otherwise the key exists already and serves for one period; several External of a slot are used
	// one after the other, and when none is left that was not used, nobody signs.
	Key string
}

func (x External) slot() Slot { return Slot{x.Use, x.Algorithm} }

func (x External) check() error {
	kind, err := apiv1.TypeOf(x.KMS)
	if err != nil || x.KMS == "" {
		return authz.Errorf(authz.ErrInvalid, "the key management service of the %s keys by %s is not known by its URI", x.Use, x.Algorithm) // which may hold a secret
	}
	if kind == apiv1.PKCS11 && x.Algorithm != ES256 {
		return authz.Errorf(authz.ErrInvalid, "keys behind PKCS#11 sign by ES256; %s/%s is not to be had there", x.Use, x.Algorithm)
	}
	if x.Key == "" || len(x.Key) > maxName-32 {
		return authz.Errorf(authz.ErrInvalid, "the %s keys by %s have no name in their key management service", x.Use, x.Algorithm)
	}
	if strings.Contains(x.Key, "pin-value") {
		return authz.Errorf(authz.ErrInvalid, "the name of the %s keys by %s holds a PIN: it belongs into the URI of the service, names are recorded", x.Use, x.Algorithm)
	}
	return nil
}

// isExternal reports whether the keys of the slot are in a key management service.
func (r *Ring) isExternal(slot Slot) bool {
	return slices.ContainsFunc(r.cfg.External, func(x External) bool { return x.slot() == slot })
}

// A vault is an open key management service.
type vault struct {
	apiv1.KeyManager
	uri string
}

// openVault opens the service of a URI, or returns authz.ErrInvalid: trying again with a wrong PIN is
// how a token gets locked.
func openVault(ctx context.Context, u string) (*vault, error) {
	v := &vault{uri: u}
	kind, err := apiv1.TypeOf(u)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the URI of a key management service is malformed") // and may hold a secret
	}
	open, ok := apiv1.LoadKeyManagerNewFunc(kind)
	if !ok {
		return nil, authz.Errorf(authz.ErrInvalid, "this program was built without the key management service %q; docs/keys.md says how to build it in", kind)
	}
	if v.KeyManager, err = open(ctx, apiv1.Options{Type: kind, URI: u}); err != nil {
		if kind == apiv1.PKCS11 && !hasPKCS11 {
			return nil, authz.Errorf(authz.ErrInvalid, "this program was built without cgo, which PKCS#11 needs; docs/keys.md says how to build it with")
		}
		return nil, authz.Errorf(authz.ErrInvalid, "opening the key management service %s: %s", v.name(), v.tell(err))
	}
	return v, nil
}

// name is the URI without what may be secret.
func (v *vault) name() string {
	path, _, _ := strings.Cut(v.uri, "?")
	parts := strings.Split(path, ";")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return strings.HasPrefix(p, "pin") }), ";")
}

// tell is what err says, without what may be secret.
func (v *vault) tell(err error) string {
	msg := strings.ReplaceAll(err.Error(), v.uri, v.name())
	if u, perr := uri.Parse(v.uri); perr == nil {
		if pin := u.Get("pin-value"); pin != "" {
			msg = strings.ReplaceAll(msg, pin, "***")
		}
	}
	return msg
}

func (v *vault) close() error {
	if err := v.Close(); err != nil {
		return fmt.Errorf("closing the key management service %s: %s", v.name(), v.tell(err))
	}
	return nil
}

// signer returns who signs with the key of that name. It has signed once, and the signature was right.
func (v *vault) signer(req *apiv1.CreateSignerRequest) (*token.Signer, error) {
	c, err := v.CreateSigner(req)
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "finding key %s: %s", req.SigningKey, v.tell(err))
	}
	s, err := token.NewSigner(c)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "key %s: %w", req.SigningKey, err)
	}
	text, err := s.Sign("probe", []byte(`{}`))
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "signing with key %s: %s", req.SigningKey, v.tell(err))
	}
	j, err := token.Parse(text)
	if err == nil {
		err = j.Verify(s.Key())
	}
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "key %s makes wrong signatures: %w", req.SigningKey, err)
	}
	return s, nil
}

// openVaults opens each service once.
func (r *Ring) openVaults(ctx context.Context) error {
	open := map[string]*vault{}
	for _, x := range r.cfg.External {
		if open[x.KMS] != nil {
			continue
		}
		v, err := openVault(ctx, x.KMS)
		if err != nil {
			return errors.Join(err, r.Close())
		}
		open[x.KMS] = v
		r.vaults = append(r.vaults, v)
	}
	return nil
}

// vault returns the open service of x.
func (r *Ring) vault(x External) *vault {
	for _, v := range r.vaults {
		if v.uri == x.KMS {
			return v
		}
	}
	return nil
}

// makeExternal returns the next key of a slot and its name: a new one made in the service, or the
// first of those that exist there and were never used.
func (r *Ring) makeExternal(slot Slot) (s *token.Signer, name string, err error) {
	for _, x := range r.cfg.External {
		v := r.vault(x)
		if x.slot() != slot || v == nil {
			continue
		}
		var req apiv1.CreateSignerRequest
		if strings.Contains(x.Key, idHole) {
			if req, err = r.create(v, x); err != nil {
				return nil, "", err
			}
		} else {
			req.SigningKey = x.Key
		}
		s, err := v.signer(&req)
		if err != nil {
			return nil, "", err
		}
		if s.Algorithm() != slot.Algorithm {
			return nil, "", authz.Errorf(authz.ErrInvalid, "key %s signs by %s, not by %s", req.SigningKey, s.Algorithm(), slot.Algorithm)
		}
		if r.view.Load().byID[s.Key().ID] == nil {
			return s, req.SigningKey, nil
		}
	}
	return nil, "", authz.Errorf(authz.ErrInvalid, "every key that the configuration names has served its period: name a new one")
}

// create makes a key in the service.
func (r *Ring) create(v *vault, x External) (apiv1.CreateSignerRequest, error) {
	var id [8]byte
	if _, err := io.ReadFull(r.cfg.Rand, id[:]); err != nil {
		return apiv1.CreateSignerRequest{}, fmt.Errorf("naming a signing key: %w", err)
	}
	alg := apiv1.PureEd25519
	if x.Algorithm == ES256 {
		alg = apiv1.ECDSAWithSHA256
	}
	name := strings.ReplaceAll(x.Key, idHole, hex.EncodeToString(id[:]))
	made, err := v.CreateKey(&apiv1.CreateKeyRequest{Name: name, SignatureAlgorithm: alg, ProtectionLevel: apiv1.HSM})
	if err != nil {
		return apiv1.CreateSignerRequest{}, authz.Errorf(authz.ErrUnavailable, "making key %s: %s", name, v.tell(err))
	}
	return made.CreateSignerRequest, nil
}

// drop deletes a key that was made in a service for nothing, where that can be done.
func (r *Ring) drop(slot Slot, name string) error {
	for _, x := range r.cfg.External {
		if x.slot() != slot || !strings.Contains(x.Key, idHole) {
			continue
		}
		switch m := any(r.vault(x).KeyManager).(type) {
		case interface{ DeleteKey(string) error }:
			return m.DeleteKey(name)
		case apiv1.KeyDeleter:
			return m.DeleteKey(&apiv1.DeleteKeyRequest{Name: name})
		}
	}
	return nil
}

// openExternal finds the private half of k in the services of its slot.
func (r *Ring) openExternal(k *Record) (*token.Signer, error) {
	var errs []error
	for _, v := range r.vaults {
		if !slices.ContainsFunc(r.cfg.External, func(x External) bool { return x.slot() == k.Slot() && x.KMS == v.uri }) {
			continue
		}
		s, err := v.signer(&apiv1.CreateSignerRequest{SigningKey: k.Source})
		if err == nil && s.Key().ID == k.ID && s.Algorithm() == k.Algorithm {
			return s, nil
		}
		if err == nil {
			err = authz.Errorf(authz.ErrInvalid, "%s is the name of another key, %s", k.Source, s.Key().ID)
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "signing key %s is %s in a key management service that the configuration does not name", k.ID, k.Source)
	}
	return nil, fmt.Errorf("opening signing key %s: %w", k.ID, errors.Join(errs...))
}

// attachExternal finds the private halves of keys that other replicas made.
func (r *Ring) attachExternal() (errs []error) {
	for _, k := range r.view.Load().keys {
		if k.Source == Software || k.State != Published && k.State != Active || !r.isExternal(k.Slot()) || r.view.Load().signers[k.ID] != nil {
			continue
		}
		s, err := r.openExternal(k)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.mu.Lock()
		v := r.view.Load()
		if now := v.byID[k.ID]; now.State == Published || now.State == Active {
			r.signers[k.ID] = s
			r.show(v.keys)
		}
		r.mu.Unlock()
	}
	return errs
}

// ParseExternal reads an External in the service kms from one line, USE/ALG=KEY, as a configuration
// file has it: token/ES256=pkcs11:id={id};object=safeconduct-{id}.
func ParseExternal(kms, line string) (External, error) {
	slot, key, ok := strings.Cut(line, "=")
	s, err := ParseSlot(slot)
	if !ok || err != nil { // what is wrong is not shown: somebody may have put a PIN there
		return External{}, authz.Errorf(authz.ErrInvalid, "keys in a key management service are given as USE/ALG=KEY, for example token/ES256=pkcs11:id={id};object=safeconduct-{id}")
	}
	x := External{Use: s.Use, Algorithm: s.Algorithm, KMS: kms, Key: key}
	return x, x.check()
}
