package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	// maxResource is the most bytes of a resource indicator.
	maxResource = 512
	// maxAudience is how many resource servers one token may be for.
	maxAudience = 4
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

// audiences returns the resource servers that tokens may be issued for: the configured ones, and
// ourselves. The first is the default.
func (cfg *Config) audiences() []string {
	if slices.Contains(cfg.Audiences, cfg.Issuer) {
		return cfg.Audiences
	}
	return append(slices.Clip(cfg.Audiences), cfg.Issuer)
}

// target returns the audience of a token: what the parameters resource (RFC 8707) and audience (RFC
// 8693, section 2.1) name, in the order of what is possible, or else what a client gets that names
// none. Names are compared as they are written. One audience is enough for most; several are for
// tokens that are bound to a key and travel through more than one server.
func target(form url.Values, possible, otherwise []string) ([]string, error) {
	wanted := append(slices.Clip(form["resource"]), form["audience"]...)
	if len(wanted) == 0 {
		return otherwise, nil
	}
	if len(wanted) > 2*maxAudience {
		return nil, badTarget("too many resources are named")
	}
	for _, w := range wanted {
		if !slices.Contains(possible, w) {
			return nil, badTarget("a resource is unknown, or not one that this token can be for")
		}
	}
	var out []string
	for _, p := range possible {
		if slices.Contains(wanted, p) {
			out = append(out, p)
		}
	}
	if len(out) > maxAudience {
		return nil, badTarget("too many resources are named")
	}
	return out, nil
}

func badTarget(description string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: invalidTarget, Description: description}
}
