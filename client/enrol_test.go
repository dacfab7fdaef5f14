package client_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// enrolled returns an agent with a key file, and the file.
func enrolled(t *testing.T, s *authServer, alg string) (*client.Agent, string) {
	t.Helper()
	s.enrolments["sc_enrol_1"] = true
	file := filepath.Join(t.TempDir(), "bot.key")
	a, err := client.Enrol(t.Context(), client.Enrolment{Issuer: issuer, Token: "sc_enrol_1", File: file, Algorithm: alg, HTTP: s.http()})
	if err != nil {
		t.Fatal(err)
	}
	return a, file
}

func load(t *testing.T, s *authServer, file string) *client.Agent {
	t.Helper()
	a, err := client.LoadAgent(file)
	if err != nil {
		t.Fatal(err)
	}
	a.HTTP = s.http()
	return a
}

func TestEnrol(t *testing.T) {
	for _, alg := range []string{"", "ES256"} {
		s := newAuthServer(t)
		a, file := enrolled(t, s, alg)
		if a.ID() != "bot" || a.Issuer() != issuer || s.keys[a.KeyID()] == nil || time.Until(a.Expires()) < 89*24*time.Hour {
			t.Errorf("%q: agent %s of %s, key %s until %s", alg, a.ID(), a.Issuer(), a.KeyID(), a.Expires())
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%q: %v, %v; want mode 0600", alg, info, err)
		}
		b := load(t, s, file)
		if b.ID() != a.ID() || b.KeyID() != a.KeyID() || !b.Expires().Equal(a.Expires()) {
			t.Errorf("%q: loaded %s, %s until %s", alg, b.ID(), b.KeyID(), b.Expires())
		}
		if _, err := b.Token(t.Context(), client.TokenRequest{}); err != nil {
			t.Errorf("%q: %v", alg, err)
		}
		_, err := client.Enrol(t.Context(), client.Enrolment{Issuer: issuer, Token: "sc_enrol_1", File: file, HTTP: s.http()})
		if !errors.Is(err, authz.ErrConflict) {
			t.Errorf("%q: into a file that exists: %v", alg, err)
		}
	}
}

// A key from elsewhere, of a type we do not make.
func TestEnrolWithSigner(t *testing.T) {
	s := newAuthServer(t)
	s.enrolments["x"] = true
	key := opaque{newP256(t)}
	a, err := client.Enrol(t.Context(), client.Enrolment{Issuer: issuer, Token: "x", Key: key, HTTP: s.http()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(t.Context(), client.TokenRequest{}); err != nil {
		t.Error(err)
	}
	if err := a.Rotate(t.Context(), nil); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Rotate to no key: %v", err)
	}
	before := a.KeyID()
	if err := a.Rotate(t.Context(), opaque{newP256(t)}); err != nil || a.KeyID() == before {
		t.Errorf("Rotate: %v, key %s after %s", err, a.KeyID(), before)
	}
	if _, err := a.Token(t.Context(), client.TokenRequest{}); err != nil {
		t.Error(err)
	}
}

// opaque is a signer that is nothing else, as an HSM's is.
type opaque struct{ crypto.Signer }

func newP256(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestEnrolRefused(t *testing.T) {
	s := newAuthServer(t)
	file := filepath.Join(t.TempDir(), "bot.key")
	e := client.Enrolment{Issuer: issuer, Token: "used", File: file, HTTP: s.http()}
	_, err := client.Enrol(t.Context(), e)
	var ce *client.Error
	if !errors.Is(err, authz.ErrUnauthenticated) || !errors.As(err, &ce) || !strings.Contains(ce.Hint, "counts once") {
		t.Errorf("a used token: %v", err)
	}
	if _, err := client.LoadAgent(file); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("the file of an enrolment that failed: %v", err)
	}
	s.enrolments["fresh"] = true
	e.Token = "fresh"
	if _, err := client.Enrol(t.Context(), e); err != nil { // the file is used again
		t.Error(err)
	}
	for name, bad := range map[string]client.Enrolment{
		"neither file nor key": {Issuer: issuer, Token: "x"},
		"both":                 {Issuer: issuer, Token: "x", File: "f", Key: newP256(t)},
		"no token":             {Issuer: issuer, File: "f"},
		"no issuer":            {Token: "x", File: "f"},
		"unknown algorithm":    {Issuer: issuer, Token: "x", File: filepath.Join(t.TempDir(), "k"), Algorithm: "HS256"},
	} {
		bad.HTTP = s.http()
		if _, err := client.Enrol(t.Context(), bad); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.metadata["issuer"] = "https://evil.example.com"
	s.calls = map[string]int{}
	if _, err := client.Enrol(t.Context(), client.Enrolment{Issuer: issuer, Token: "x", File: filepath.Join(t.TempDir(), "k"), HTTP: s.http()}); !errors.Is(err, authz.ErrForbidden) || s.calls["/tenant/oauth2/enroll"] > 0 {
		t.Errorf("another issuer: %v, %v", err, s.calls)
	}
}

// Another key, or another issuer, than was asked for is not taken for ours.
func TestEnrolAnswers(t *testing.T) {
	for _, body := range []string{`{"client_id":"bot","kid":"other"}`, `{"kid":"x"}`, `{}`, `x`} {
		synctest.Test(t, func(t *testing.T) {
			s := newAuthServer(t)
			s.fault = func(r *http.Request, _ int) (int, string) {
				if r.Method == "POST" {
					return 201, body
				}
				return 0, ""
			}
			_, err := client.Enrol(t.Context(), client.Enrolment{Issuer: issuer, Token: "x", Key: newP256(t), HTTP: s.http()})
			if !errors.Is(err, authz.ErrUnavailable) {
				t.Errorf("%s: %v", body, err)
			}
		})
	}
}

// When the answer to an enrolment is lost, the key is not: the agent exists.
func TestEnrolCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAuthServer(t)
		s.enrolments["x"] = true
		s.lose = func(r *http.Request, n int) bool { return r.Method == "POST" && n == 1 }
		file := filepath.Join(t.TempDir(), "bot.key")
		_, err := client.Enrol(t.Context(), client.Enrolment{Issuer: issuer, Token: "x", File: file, HTTP: s.http()})
		var e *client.Error
		if !errors.As(err, &e) || !strings.Contains(e.Hint, "the key is registered") {
			t.Errorf("Enrol: %v", err)
		}
		key, err := client.LoadKey(file)
		if err != nil {
			t.Fatal(err)
		}
		a, err := client.NewAgent(issuer, "bot", key)
		if err != nil {
			t.Fatal(err)
		}
		a.HTTP = s.http()
		if _, err := a.Token(t.Context(), client.TokenRequest{}); err != nil {
			t.Errorf("with the key that was left: %v", err)
		}
	})
}

func TestRotate(t *testing.T) {
	s := newAuthServer(t)
	a, file := enrolled(t, s, "")
	other, first := load(t, s, file), a.KeyID()
	if err := a.Rotate(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if a.KeyID() == first || len(s.keys) != 2 || load(t, s, file).KeyID() != a.KeyID() {
		t.Errorf("rotated %s to %s, %d keys", first, a.KeyID(), len(s.keys))
	}
	if _, err := os.Stat(file + ".next"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next key is still there: %v", err)
	}
	delete(s.keys, first) // the overlap is over
	if _, err := other.Token(t.Context(), client.TokenRequest{}); err != nil || other.KeyID() != a.KeyID() {
		t.Errorf("another process with the file: %v, key %s; want that it takes %s up", err, other.KeyID(), a.KeyID())
	}
	delete(s.keys, a.KeyID()) // revoked
	if _, err := other.Token(t.Context(), client.TokenRequest{}); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("revoked: %v", err)
	}
}

// Wherever a rotation is cut off, the agent gets tokens afterwards, also when the old key is over.
func TestRotateCutOff(t *testing.T) {
	const keys = "/tenant/oauth2/keys"
	for name, c := range map[string]struct {
		fault func(r *http.Request, n int) (int, string)
		lose  func(r *http.Request, n int) bool
		err   bool // Rotate fails
	}{
		"answer lost once":   {lose: func(r *http.Request, n int) bool { return r.URL.Path == keys && n == 1 }},
		"answer always lost": {lose: func(r *http.Request, n int) bool { return r.URL.Path == keys }},
		"everything lost":    {lose: func(r *http.Request, n int) bool { return r.Method == "POST" }, err: true},
		"server down": {fault: func(r *http.Request, n int) (int, string) {
			if r.Method == "POST" {
				return 503, ""
			}
			return 0, ""
		}, err: true},
		"refused": {fault: func(r *http.Request, n int) (int, string) {
			if r.URL.Path == keys {
				return 403, `{"error":"access_denied"}`
			}
			return 0, ""
		}, err: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newAuthServer(t)
			a, file := enrolled(t, s, "")
			first := a.KeyID()
			s.fault, s.lose = c.fault, c.lose
			if err := a.Rotate(t.Context(), nil); (err != nil) != c.err {
				t.Errorf("%s: Rotate: %v", name, err)
			}
			s.fault, s.lose = nil, nil
			if len(s.keys) == 2 {
				delete(s.keys, first)
			}
			b := load(t, s, file) // a new process
			if _, err := b.Token(t.Context(), client.TokenRequest{}); err != nil {
				t.Errorf("%s: afterwards: %v", name, err)
			}
			if err := b.Rotate(t.Context(), nil); err != nil || b.KeyID() == first {
				t.Errorf("%s: rotating afterwards: %v", name, err)
			}
			if _, err := os.Stat(file + ".next"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: a next key is left: %v", name, err)
			}
		})
	}
}

func TestRotateBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAuthServer(t)
		a, _ := enrolled(t, s, "")
		a.RotateBefore = 7 * 24 * time.Hour
		get := func(want bool) {
			t.Helper()
			before := a.KeyID()
			if _, err := a.Token(t.Context(), client.TokenRequest{}); err != nil {
				t.Error(err)
			}
			if (a.KeyID() != before) != want {
				t.Errorf("%s: rotated %v, want %v", time.Now(), !want, want)
			}
		}
		get(false)
		time.Sleep(82 * 24 * time.Hour)
		get(false)
		time.Sleep(24 * time.Hour)
		get(true)
		get(false)
		time.Sleep(84 * 24 * time.Hour)
		s.fault = func(r *http.Request, _ int) (int, string) {
			if strings.HasSuffix(r.URL.Path, "keys") {
				return 503, ""
			}
			return 0, ""
		}
		get(false) // it fails, and the old key counts
		time.Sleep(8 * 24 * time.Hour)
		if _, err := a.Token(t.Context(), client.TokenRequest{}); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("expired, and no other can be had: %v", err)
		}
	})
}

func TestKeyFiles(t *testing.T) {
	p256 := newP256(t)
	ec, err := x509.MarshalECPrivateKey(p256.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(k any) string { return pemText("PRIVATE KEY", marshal(t, k)) }
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string // "" if it loads
	}{
		"Ed25519":          {pkcs8(ed), 0o600, ""},
		"P-256":            {pkcs8(p256), 0o400, ""},
		"text before":      {"A note.\nSafeconduct-Agent: x\n" + pkcs8(ed), 0o600, ""},
		"others may read":  {pkcs8(ed), 0o644, "chmod 600"},
		"the group may":    {pkcs8(ed), 0o640, "chmod 600"},
		"SEC 1":            {pemText("EC PRIVATE KEY", ec), 0o600, "openssl pkcs8"},
		"encrypted":        {pemText("ENCRYPTED PRIVATE KEY", ec), 0o600, "encrypted"},
		"a certificate":    {pemText("CERTIFICATE", ec), 0o600, "no private key"},
		"RSA":              {pkcs8(weak), 0o600, "Ed25519"},
		"P-384":            {pkcs8(p384), 0o600, "P-256"},
		"two keys":         {pkcs8(ed) + pkcs8(p256), 0o600, "more than one"},
		"empty":            {"", 0o600, "no PEM block"},
		"garbage in PEM":   {pemText("PRIVATE KEY", []byte("x")), 0o600, "no PKCS#8 key"},
		"large":            {strings.Repeat("x", 20<<10) + pkcs8(ed), 0o600, "at most"},
		"expiry that is x": {"Safeconduct-Expires: x\n" + pkcs8(ed), 0o600, "RFC 3339"},
	} {
		file := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		k, err := client.LoadKey(file)
		if c.want == "" && (err != nil || k == nil) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, authz.ErrInvalid)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := client.LoadKey("nowhere"); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("no file: %v", err)
	}
	for _, id := range []string{"", "b"} {
		if _, err := client.NewAgent(issuer, id, ed); (err != nil) != (id == "") {
			t.Errorf("NewAgent(%q): %v", id, err)
		}
	}
}

func marshal(t *testing.T, k any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemText(typ string, b []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: b}))
}
