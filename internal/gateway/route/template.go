package route

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of paths.
const (
	maxPath     = 8 << 10 // bytes
	maxSegments = 128
)

// A kind is that of a segment of a template.
type kind uint8

const (
	literal kind = iota
	param        // one segment that is not empty
	rest         // all that follows, at least an empty segment
)

type segment struct {
	kind kind
	text string // a literal, decoded, or the name of a parameter
}

// A template is the segments of a path. That of a path that ends in a slash ends in an empty literal.
type template []segment

// parseTemplate reads /accounts/{id}/files/{rest...}.
func parseTemplate(s string) (template, error) {
	if !strings.HasPrefix(s, "/") {
		return nil, errors.New("a path begins with /")
	}
	if len(s) > maxPath {
		return nil, fmt.Errorf("longer than %d bytes", maxPath)
	}
	parts := strings.Split(s[1:], "/")
	if len(parts) > maxSegments {
		return nil, fmt.Errorf("more than %d segments", maxSegments)
	}
	var t template
	seen := map[string]bool{}
	for i, p := range parts {
		last := i == len(parts)-1
		if !strings.ContainsAny(p, "{}") {
			decoded, err := decode(p)
			if err != nil {
				return nil, err
			}
			if decoded == "" && !last {
				return nil, errors.New("an empty segment can only be the last")
			}
			t = append(t, segment{literal, decoded})
			continue
		}
		name, ok := strings.CutPrefix(p, "{")
		name, closed := strings.CutSuffix(name, "}")
		if !ok || !closed {
			return nil, fmt.Errorf("segment %.64q: a parameter is a whole segment, {name}", p)
		}
		s := segment{param, name}
		if before, all := strings.CutSuffix(name, "..."); all {
			if !last {
				return nil, fmt.Errorf("segment %.64q: only the last can take all that follows", p)
			}
			s = segment{rest, before}
		}
		if !isName(s.text) {
			return nil, fmt.Errorf("segment %.64q: the name of a parameter is letters, digits, _ and -", p)
		}
		if seen[s.text] {
			return nil, fmt.Errorf("parameter %q is there twice", s.text)
		}
		seen[s.text] = true
		t = append(t, s)
	}
	return t, nil
}

func isName(s string) bool {
	for _, c := range s {
		if c != '_' && c != '-' && c != '.' && (c > 127 || !unicode.IsLetter(c) && !unicode.IsDigit(c)) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// has reports whether there is a parameter of that name.
func (t template) has(name string) bool {
	return slices.ContainsFunc(t, func(s segment) bool { return s.kind != literal && s.text == name })
}

// slash reports whether t ends in a slash.
func (t template) slash() bool { return len(t) > 0 && t[len(t)-1] == segment{literal, ""} }

// slashOf reports whether t is u with a slash at its end.
func (t template) slashOf(u template) bool {
	return t.slash() && slices.EqualFunc(t[:len(t)-1], u, func(a, b segment) bool { return a.kind == b.kind && (a.kind != literal || a.text == b.text) })
}

// parameters returns what the segments of a path that matches say.
func (t template) parameters(segments []string) map[string]string {
	m := make(map[string]string, len(t))
	for i, s := range t {
		switch s.kind {
		case param:
			m[s.text] = segments[i]
		case rest:
			m[s.text] = strings.Join(segments[i:], "/")
		}
	}
	return m
}

// CheckPath returns why a path, as it was sent, cannot be matched: it is not in the form of RFC 3986, section 3.3, or
// something else than us might read another path in it. Refused are an encoded slash or backslash, segments . and ..,
// empty segments but the last, a semicolon, what is encoded twice, control characters, and what is no UTF-8.
func CheckPath(path string) error {
	_, err := split(path)
	return err
}

// split returns the decoded segments of a path.
func split(path string) ([]string, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path is longer than %d bytes", maxPath)
	}
	if path == "" || path[0] != '/' {
		return nil, errors.New("the path does not begin with /")
	}
	n := strings.Count(path, "/")
	if n > maxSegments {
		return nil, fmt.Errorf("the path has more than %d segments", maxSegments)
	}
	segments := make([]string, 0, n)
	for p := range strings.SplitSeq(path[1:], "/") {
		s, err := decode(p)
		if err != nil {
			return nil, err
		}
		if s == "" && len(segments) < n-1 {
			return nil, errors.New("the path has an empty segment")
		}
		segments = append(segments, s)
	}
	return segments, nil
}

// decode decodes one segment, once.
func decode(s string) (string, error) {
	plain := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			plain = false
		case !pchar(c):
			return "", fmt.Errorf("the path has the byte 0x%02x, which must not stand in it", c)
		}
	}
	out := s
	if !plain {
		b := make([]byte, 0, len(s))
		for i := 0; i < len(s); i++ {
			if s[i] != '%' {
				b = append(b, s[i])
				continue
			}
			if i+2 >= len(s) || unhex(s[i+1]) > 15 || unhex(s[i+2]) > 15 {
				return "", errors.New("the path is not well encoded")
			}
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		}
		out = string(b)
		if err := checkDecoded(out); err != nil {
			return "", err
		}
	}
	if out == "." || out == ".." {
		return "", errors.New("the path has a dot segment")
	}
	return out, nil
}

// checkDecoded refuses what others may read in another way.
func checkDecoded(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("the path is no UTF-8")
	}
	for i, c := range s {
		switch {
		case c == '/' || c == '\\':
			return errors.New("the path has an encoded slash or backslash")
		case c == ';':
			return errors.New("the path has an encoded semicolon")
		case c < ' ' || c == 0x7f || unicode.IsControl(c):
			return errors.New("the path has a control character")
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			return errors.New("the path is encoded twice")
		}
	}
	return nil
}

// pchar reports whether a byte may stand in a path (RFC 3986, section 3.3), a semicolon excepted: some servers cut there.
func pchar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+,=:@", c) >= 0
}

// unhex returns the value of a hexadecimal digit, 255 of anything else.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// fold returns what all spellings of s that differ in case have in common. It is how encoding/json and others that do
// not mind case compare names.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - ('a' - 'A')
		case r < utf8.RuneSelf:
			return r
		}
		for { // the smallest of the orbit
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, s)
}

// A relation says how the requests that two routes take relate.
type relation uint8

const (
	equal relation = iota
	narrower
	wider
	overlapping // each has some that the other has not, and some are both's
	disjoint
)

// and returns the relation of two things that relate so in one respect and so in another.
func (r relation) and(s relation) relation {
	switch {
	case r == disjoint || s == disjoint:
		return disjoint
	case r == equal:
		return s
	case s == equal || r == s:
		return r
	}
	return overlapping
}

func (t template) compare(u template) relation {
	r := equal
	for i := 0; ; i++ {
		switch {
		case i == len(t) && i == len(u):
			return r
		case i == len(t) || i == len(u):
			return disjoint
		}
		a, b := t[i], u[i]
		switch {
		case a.kind == rest && b.kind == rest:
			return r
		case a.kind == rest:
			return r.and(wider)
		case b.kind == rest:
			return r.and(narrower)
		case a.kind == literal && b.kind == literal:
			if a.text != b.text {
				return disjoint
			}
		case a.kind == param && b.kind == param:
		case a.kind == literal:
			if a.text == "" {
				return disjoint
			}
			r = r.and(narrower)
		default:
			if b.text == "" {
				return disjoint
			}
			r = r.and(wider)
		}
	}
}

// methodSet returns the methods with HEAD where GET implies it; nil stands for all.
func (r *Route) methodSet() []string {
	if r.Methods != nil && r.accepts(http.MethodHead) && !slices.Contains(r.Methods, http.MethodHead) {
		return append(slices.Clone(r.Methods), http.MethodHead)
	}
	return r.Methods
}

func compareMethods(a, b []string) relation {
	switch {
	case a == nil && b == nil:
		return equal
	case a == nil:
		return wider
	case b == nil:
		return narrower
	}
	common := 0
	for _, m := range a {
		if slices.Contains(b, m) {
			common++
		}
	}
	switch {
	case common == 0:
		return disjoint
	case common == len(a) && common == len(b):
		return equal
	case common == len(a):
		return narrower
	case common == len(b):
		return wider
	}
	return overlapping
}

func compareHosts(a, b string) relation {
	under := func(host, wild string) bool {
		i := strings.IndexByte(host, '.')
		return i > 0 && strings.HasPrefix(wild, "*.") && host[i:] == wild[1:]
	}
	switch {
	case a == b:
		return equal
	case a == "" || !strings.HasPrefix(b, "*.") && under(b, a):
		return wider
	case b == "" || !strings.HasPrefix(a, "*.") && under(a, b):
		return narrower
	}
	return disjoint
}

// compare says how the requests of two routes relate. Where they overlap the one of the narrower host comes first.
func (r *Route) compare(s *Route) relation {
	host := compareHosts(r.Host, s.Host)
	if host == disjoint {
		return disjoint
	}
	rel := r.template.compare(s.template)
	if rel == disjoint {
		return disjoint
	}
	rel = host.and(rel).and(compareMethods(r.methodSet(), s.methodSet()))
	if rel == overlapping && host != equal {
		return host
	}
	return rel
}
