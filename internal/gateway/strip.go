package gateway

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// stripped are headers that an agent says to the gateway, or that only proxies say: who came, and from where. Nothing of them
// reaches a server, nor anything that a server might take for one of them.
var stripped = []string{
	"Authorization", "Proxy-Authorization", "Proxy-Connection", "Dpop", "Cookie", "Cookie2", "Forwarded", "Via",
	"X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "X-Cluster-Client-Ip", "X-Envoy-External-Address", "Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Fastly-Client-Ip", "Fly-Client-Ip", "X-Original-Forwarded-For", "X-Originating-Ip", "X-Remote-Ip", "X-Remote-Addr",
	"Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Arr-Clientcert", "X-Clientcert", "X-Tls-Client-Cert",
	"Remote-User", "X-Remote-User", "Remote-Groups", "X-Remote-Groups", "Remote-Name", "Remote-Email", "X-Remote-Group", "X-Webauth-User", "X-Auth-User", "X-Authenticated-User", "X-Authenticated-Userid",
	"X-Authenticated-Groups", "X-Consumer-Id", "X-Consumer-Username", "X-Consumer-Custom-Id", "X-Credential-Identifier", "X-Anonymous-Consumer",
}

// strippedPrefixes are those of which proxies write whole families.
var strippedPrefixes = []string{
	forwardedPrefix, "Ssl-Client-", "X-Ssl-", "X-Client-Cert-", "X-Remote-Extra-", "X-Auth-Request-", "X-Amzn-Oidc-", "X-Amzn-Mtls-", "X-Goog-Authenticated-User-", "X-Goog-Iap-", "Cf-Access-", "X-Ms-Client-Principal",
	"Tailscale-User-", "X-Pomerium-", "X-Vouch-", "X-Authentik-",
}

// keepables are those of them that can be kept: they say something of the way and not of who came. So can any X-Forwarded-* by its
// own name but for never.
var keepables = []string{"Cookie", "Forwarded", "Via", "X-Real-Ip"}

const forwardedPrefix = "X-Forwarded-"

// way are what X-Forwarded-* keeps.
var way = []string{"X-Forwarded-By", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl"}

// never are what somebody authenticates by.
var never = []string{"X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info", "X-Forwarded-Access-Token", "X-Forwarded-Authorization"}

// Strip removes from h what an agent says to the gateway alone, its credentials and what proxies would say, but for the headers
// that are to be kept. Names are compared as servers behind CGI do, to whom "_" and "-" are the same.
func Strip(h http.Header, keep ...string) {
	for name := range h {
		plain := plainName(name)
		if !slices.Contains(stripped, plain) && !slices.ContainsFunc(strippedPrefixes, func(p string) bool { return strings.HasPrefix(plain, p) }) {
			continue
		}
		if plain == name && slices.ContainsFunc(keep, func(k string) bool { return keeps(k, name) }) {
			continue
		}
		delete(h, name)
	}
}

// stripTrailers removes from the trailers that a request announces what Strip does from headers, what a server might take for a
// credential, and what it might take for the one in that header.
func stripTrailers(trailers http.Header, header string) {
	Strip(trailers)
	removeLike(trailers, header)
	for name := range trailers {
		if plain := plainName(name); strings.HasSuffix(plain, "key") || strings.HasSuffix(plain, "Key") || strings.HasSuffix(plain, "oken") {
			delete(trailers, name)
		}
	}
}

func plainName(name string) string {
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// keeps reports whether a pattern of a document keeps a header, by its canonical name.
func keeps(pattern, name string) bool {
	switch {
	case !keepable(pattern) || slices.Contains(never, name):
		return false
	case strings.HasSuffix(pattern, "*"):
		return slices.Contains(way, name)
	}
	return strings.EqualFold(pattern, name)
}

// keepable reports whether a document may keep headers by that name.
func keepable(pattern string) bool {
	if strings.EqualFold(pattern, forwardedPrefix+"*") {
		return true
	}
	name := textproto.CanonicalMIMEHeaderKey(pattern)
	return slices.Contains(keepables, name) || strings.HasPrefix(name, forwardedPrefix) && !slices.Contains(never, name) && !strings.Contains(name, "*")
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
