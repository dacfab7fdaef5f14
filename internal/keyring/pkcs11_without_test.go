//go:build !cgo || nopkcs11

package keyring_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
)

// Without cgo the program says what it lacks.
func TestWithoutPKCS11(t *testing.T) {
	w := newWorld(t)
	_, err := w.make(external(tokenES, "pkcs11:token=safeconduct?pin-value=999111", "pkcs11:id={id};object={id}"))
	if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "built without cgo") || strings.Contains(err.Error(), "999111") {
		t.Errorf("PKCS#11 without cgo: %v, want authz.ErrInvalid that says so", err)
	}
}
