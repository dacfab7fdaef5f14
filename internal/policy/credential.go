package policy

import (
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A credential is what policies read of an agent's: days, not moments, so that what was built of it
// serves for a while.
type credential struct {
	method          string
	keys, age, left int64
	expires         bool
}

func credentialOf(f *authz.Facts) credential {
	c := credential{method: f.Credential.Method, keys: int64(f.Credential.Keys)}
	if c.keys <= 0 {
		c.keys = 0
		return c
	}
	if since := f.Credential.Since; !since.IsZero() {
		c.age = max(0, int64(f.At.Sub(since)/day))
	}
	if end := f.Credential.ExpiresAt; !end.IsZero() {
		c.left, c.expires = max(0, int64(end.Sub(f.At)/day)), true
	}
	return c
}

const day = 24 * time.Hour
