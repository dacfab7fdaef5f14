package gateway

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// stripped are headers that an agent says to the gateway, or that only proxies say. Nothing of them reaches a server, nor
// anything that a server might take for one of them.
var stripped = []string{
	"Authorization", "Proxy-Authorization", "Proxy-Connection", "Dpop", "Cookie", "Cookie2",
	"Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "X-Client-Cert", "X-Ssl-Client-Cert", "True-Client-Ip", "Client-Cert", "Client-Cert-Chain",
}

// always are those of them that can never be kept.
var always = []string{"Authorization", "Proxy-Authorization", "Proxy-Connection", "Dpop", "X-Client-Cert", "X-Ssl-Client-Cert", "Client-Cert", "Client-Cert-Chain"}

const forwardedPrefix = "X-Forwarded-"

// Strip removes from h what an agent says to the gateway alone, its credentials and what proxies would say, but for the headers
// that are to be kept. Names are compared as servers behind CGI do, to whom "_" and "-" are the same.
func Strip(h http.Header, keep ...string) {
	for name := range h {
		plain := textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
		if !slices.Contains(stripped, plain) && !strings.HasPrefix(plain, forwardedPrefix) {
			continue
		}
		if plain == name && !slices.Contains(always, plain) && slices.ContainsFunc(keep, func(k string) bool { return keeps(k, name) }) {
			continue
		}
		delete(h, name)
	}
}

func keeps(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
	}
	return strings.EqualFold(pattern, name)
}

// keepable reports whether a document may keep headers by that name.
func keepable(pattern string) bool {
	if strings.EqualFold(pattern, forwardedPrefix+"*") {
		return true
	}
	name := textproto.CanonicalMIMEHeaderKey(pattern)
	return !slices.Contains(always, name) && (slices.Contains(stripped, name) || strings.HasPrefix(name, forwardedPrefix)) && !strings.Contains(name, "*")
}

// removeLike removes every header that a server might take for the one of that name.
func removeLike(h http.Header, name string) {
	for have := range h {
		if strings.EqualFold(strings.ReplaceAll(have, "_", "-"), strings.ReplaceAll(name, "_", "-")) {
			delete(h, have)
		}
	}
}

// validHeader reports whether a credential may stand in a header of that name.
func validHeader(name string) bool {
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, func(c rune) bool { return !isAlnum(c) && c != '-' && c != '_' }) {
		return false
	}
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case "Host", "Connection", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Keep-Alive", "Expect", "Dpop", "Proxy-Authorization", "Proxy-Connection":
		return false
	}
	return !strings.HasPrefix(textproto.CanonicalMIMEHeaderKey(name), "Mcp-")
}
