package token

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// An Assertion has the claims of a client assertion or JWT bearer grant (RFC 7523), of a JWT-SVID, or
// of any other token of a workload.
type Assertion struct {
	Issuer    string // "" if there is none, as in a JWT-SVID; RFC 7523, section 3, demands one
	Subject   string
	Audience  []string
	ID        string // jti; "" if there is none
	IssuedAt  time.Time
	NotBefore time.Time
	Expires   time.Time
	Claims    json.RawMessage // the whole payload, for conditions on its claims
}

// ParseAssertion reads the payload of a verified JWS. It returns authz.ErrInvalid if sub, aud or exp
// is missing or a registered claim is not of its type (RFC 7519, section 4.1). Times and audiences
// are the caller's to compare; a time that is not claimed is zero.
func ParseAssertion(payload []byte) (*Assertion, error) {
	a := &Assertion{Claims: bytes.Clone(payload)}
	err := readObject("the assertion", payload, func(r *reader, name string) {
		switch name {
		case "iss":
			a.Issuer = r.text()
		case "sub":
			a.Subject = r.text()
		case "aud":
			a.Audience = r.oneOrMore()
		case "jti":
			a.ID = r.text()
		case "iat":
			a.IssuedAt = r.date()
		case "nbf":
			a.NotBefore = r.date()
		case "exp":
			a.Expires = r.date()
		default:
			r.skip()
		}
	})
	if err != nil {
		return nil, err
	}
	if a.Subject == "" || a.Audience == nil || a.Expires.IsZero() {
		return nil, authz.Errorf(authz.ErrInvalid, "the assertion lacks one of sub, aud, exp")
	}
	return a, nil
}
