package oauth

import (
	"errors"
	"net/url"
	"strings"
)

// checkResource tells whether a text is a resource indicator: an absolute URI without a fragment
// (RFC 8707, section 2).
func checkResource(s string) error {
	if len(s) > maxResource {
		return errors.New("too long")
	}
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() || strings.Contains(s, "#") {
		return errors.New("want an absolute URI without a fragment")
	}
	return nil
}

// maxResource is the most bytes of a resource indicator.
const maxResource = 512
