//go:build !cgo || nopkcs11

package keyring

import _ "go.step.sm/crypto/kms/pkcs11" // registers the scheme pkcs11, and refuses

const hasPKCS11 = false
