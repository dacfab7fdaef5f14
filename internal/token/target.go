package token

import (
	"net/url"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// target returns the one form of all URLs that mean the same target of an HTTP request, without query
// and fragment, which RFC 9449, section 4.3, leaves out of the comparison. Normalisation is that of
// RFC 3986, sections 6.2.2 and 6.2.3: case, percent-encoding, dot segments, default ports and empty
// paths. It returns authz.ErrInvalid for what is no absolute http or https URL, or names a user.
func target(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Opaque != "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "", authz.Errorf(authz.ErrInvalid, "an absolute http or https URL without a user is needed")
	}
	host := strings.ToLower(u.Host)
	port := ":443"
	if u.Scheme == "http" {
		port = ":80"
	}
	host = strings.TrimSuffix(strings.TrimSuffix(host, port), ":")
	return u.Scheme + "://" + host + removeDots(decodeUnreserved(u.EscapedPath())), nil
}

// decodeUnreserved writes percent-encoded octets that need no encoding as they are, and the others
// with capital letters (RFC 3986, sections 6.2.2.1 and 6.2.2.2).
func decodeUnreserved(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b = append(b, path[i])
			continue
		}
		if c := unhex(path[i+1])<<4 | unhex(path[i+2]); unreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, strings.ToUpper(path[i:i+3])...)
		}
		i += 2
	}
	return string(b)
}

// unhex returns what a hexadecimal digit means; net/url has seen to it that it is one.
func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// unreserved reports whether c is one of RFC 3986, section 2.3.
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// removeDots resolves the segments . and .. of a path (RFC 3986, section 5.2.4). An empty path is /.
func removeDots(path string) string {
	if path == "" {
		return "/"
	}
	if !strings.Contains(path, "/.") {
		return path
	}
	var out []string
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		switch s {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, s)
			continue
		}
		if i == len(segments)-1 {
			out = append(out, "") // the directory itself
		}
	}
	return "/" + strings.Join(out, "/")
}
