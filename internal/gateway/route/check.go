package route

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// anyMethods are those of a route whose method is "*". Others, such as those of WebDAV, a route has to name.
var anyMethods = []string{
	http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPatch, http.MethodPost, http.MethodPut,
}

// overrides are headers by which some servers let another method or path be said than that which is decided about.
var overrides = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url", "X-Original-Method"}

// ours are headers that only a door writes, in one direction or the other. They begin so.
const ours = "Safeconduct-"

// connection are headers that belong to one connection (RFC 9110, section 7.6.1), and those that an agent says to the
// door alone.
var connection = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
	"Authorization", "Dpop",
}

// Check returns why a request is not passed on whatever route it takes, nil if nothing speaks against it: its method
// (CheckMethod), its host (HostName), its path or query as they were sent (CheckPath, CheckQuery), or a header by which
// a server could be told another method or path.
func Check(method, hostport, path, rawQuery string, h http.Header) error {
	if err := CheckMethod(method); err != nil {
		return err
	}
	if _, err := HostName(hostport); err != nil {
		return err
	}
	if err := CheckPath(path); err != nil {
		return err
	}
	if err := CheckQuery(rawQuery); err != nil {
		return err
	}
	for _, name := range overrides {
		if h[name] != nil {
			return fmt.Errorf("the header %s changes what the request is", name)
		}
	}
	return nil
}

// CheckMethod returns why no request with that method is passed on: it is no token, opens a tunnel, or has a server send
// back what it was sent (RFC 9110, section 9.3.8), the credential of the gateway among it.
func CheckMethod(method string) error {
	switch {
	case !isToken(method):
		return errors.New("the method is none")
	case method == http.MethodConnect:
		return errors.New("CONNECT opens a tunnel, in which nothing could be decided")
	case strings.EqualFold(method, http.MethodTrace), strings.EqualFold(method, "TRACK"):
		return fmt.Errorf("%s has a server send back what it was sent, credentials too", strings.ToUpper(method))
	}
	return nil
}

// HostName returns the name in a Host header, without the port. A name that ends in a dot is none: it is the same host,
// and would take another route.
func HostName(hostport string) (string, error) {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if host == "" || len(host) > 255 || strings.HasSuffix(host, ".") || strings.ContainsFunc(host, func(c rune) bool { return c <= ' ' || c >= 0x7f }) ||
		strings.ContainsAny(host, "/\\@?#%,") {
		return "", errors.New("the host is none")
	}
	return host, nil
}

// CheckQuery returns why a query, as it was sent, is not passed on: it has a byte that does not stand in one (RFC 3986,
// section 3.4, and what browsers send), is too long, has a name with control characters, at which some servers cut, or
// changes the method.
func CheckQuery(raw string) error {
	if len(raw) > maxPath {
		return fmt.Errorf("the query is longer than %d bytes", maxPath)
	}
	for i := 0; i < len(raw); i++ {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == '#' || c == '\\' {
			return fmt.Errorf("the query has the byte 0x%02x, which must not stand in it", c)
		}
	}
	for pair := range strings.FieldsFuncSeq(raw, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		if err := checkName(name, "query"); err != nil {
			return err
		}
	}
	return nil
}

// checkName refuses names of parameters that change what a request is, or that are cut short by some.
func checkName(name, where string) error {
	if strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return fmt.Errorf("the %s has a name with control characters", where)
	}
	if strings.EqualFold(strings.TrimSpace(name), "_method") {
		return fmt.Errorf("the %s has the parameter _method, by which some servers let the method be changed", where)
	}
	return nil
}

// Forwarded returns the header that is decided about and passed on: without what belongs to the connection or is named
// by it, what an agent says to the door alone, and names with an underscore, of which some servers make a hyphen.
// Keys of h are canonical.
func Forwarded(h http.Header) http.Header {
	out := make(http.Header, len(h))
	named := map[string]bool{}
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			named[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	for name, values := range h {
		switch {
		case named[name], slices.Contains(connection, name), strings.HasPrefix(name, ours), strings.Contains(name, "_"):
		default:
			out[name] = values
		}
	}
	return out
}

// Trailers returns which trailers of a request may be passed on, without their values, nil if none may. Nothing that a
// header could say about who asks or what is asked may be said there.
func Trailers(in http.Header) http.Header {
	out := Forwarded(in)
	for name := range out {
		if slices.Contains(overrides, name) || strings.HasPrefix(name, "X-") || strings.HasPrefix(name, "Content-") || name == "Host" || name == "Expect" ||
			name == "Cookie" || name == "Forwarded" || name == "Via" {
			delete(out, name)
			continue
		}
		out[name] = nil
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
