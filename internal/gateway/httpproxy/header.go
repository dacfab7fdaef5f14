package httpproxy

import (
	"net/http"
	"net/url"
	"strings"
)

// ours are headers that only the proxy writes, in one direction or the other. They begin so.
const ours = "Safeconduct-"

// mentions reports whether a list of tokens has one.
func mentions(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// hasParameter reports whether a query has a parameter of that name, in any spelling.
func hasParameter(raw, name string) bool {
	for pair := range strings.FieldsFuncSeq(raw, func(c rune) bool { return c == '&' || c == ';' }) {
		n, _, _ := strings.Cut(pair, "=")
		if n, err := url.QueryUnescape(n); err != nil || strings.EqualFold(strings.TrimSpace(n), name) {
			return true
		}
	}
	return false
}

// withheld are headers of responses that an upstream does not say to agents: what is the gateway's to say, how one
// authenticates to the upstream, and where else it could be reached.
var withheld = []string{
	"Www-Authenticate", "Proxy-Authenticate", "Proxy-Authentication-Info", "Authentication-Info", "Dpop-Nonce",
	"Alt-Svc", "Strict-Transport-Security", "Clear-Site-Data",
}

// cleanse removes what an upstream does not say to agents.
func (u *Upstream) cleanse(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, ours) || strings.HasPrefix(name, http.TrailerPrefix) { // which net/http would make a trailer
			delete(h, name)
		}
	}
	for _, name := range withheld {
		delete(h, name)
	}
	if !u.Cookies {
		delete(h, "Set-Cookie")
	}
	if to := h.Get("Location"); to != "" {
		h.Set("Location", u.outside(to))
	}
}

// outside returns how a place on the upstream is reached through the proxy: without scheme and host.
func (u *Upstream) outside(location string) string {
	l, err := url.Parse(location)
	if err != nil || l.Host != "" && (l.Host != u.url.Host || l.Scheme != "" && l.Scheme != u.url.Scheme) {
		return location
	}
	path, base := l.EscapedPath(), strings.TrimSuffix(u.url.EscapedPath(), "/")
	below, ok := strings.CutPrefix(path, base)
	if base != "" && ok && (below == "" || below[0] == '/') {
		path = below
	} else if l.Host == "" {
		return location
	}
	path = "/" + strings.TrimLeft(path, "/")
	if l.RawQuery != "" {
		path += "?" + l.RawQuery
	}
	if l.Fragment != "" {
		path += "#" + l.EscapedFragment()
	}
	return path
}
