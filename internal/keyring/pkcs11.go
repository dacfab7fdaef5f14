//go:build cgo && !nopkcs11

package keyring

import _ "go.step.sm/crypto/kms/pkcs11" // registers the scheme pkcs11

// hasPKCS11 reports whether the program can load a PKCS#11 module, which is a C library.
const hasPKCS11 = true
