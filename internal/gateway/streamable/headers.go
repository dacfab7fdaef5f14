package streamable

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// Revisions of the protocol.
const (
	v2026 = "2026-07-28"
	v2025 = "2025-11-25"
)

// legacy are the revisions that begin with initialize, newest first.
var legacy = []string{v2025, "2025-06-18", "2025-03-26"}

const (
	headerVersion = "Mcp-Protocol-Version"
	headerSession = "Mcp-Session-Id"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
	headerParam   = "Mcp-Param-"
)

// one returns the only value of a header; false if there are several.
func one(h http.Header, name string) (string, bool) {
	v := h[name]
	if len(v) == 0 {
		return "", true
	}
	return v[0], len(v) == 1
}

// mediaType is mime.ParseMediaType, which has nothing to say of what nearly all write.
func mediaType(v string) (kind string, params map[string]string, err error) {
	switch v {
	case "application/json", "text/event-stream", "*/*":
		return v, nil, nil
	}
	return mime.ParseMediaType(v)
}

// acceptable reports whether the media type is among those that a header names.
func acceptable(h http.Header, want ...string) bool {
	var have []string
	for _, v := range h["Accept"] {
		for part := range strings.SplitSeq(v, ",") {
			t, params, err := mediaType(strings.TrimSpace(part))
			if err != nil || params["q"] == "0" {
				continue
			}
			have = append(have, t)
		}
	}
	for _, t := range want {
		kind, _, _ := strings.Cut(t, "/")
		if !slices.Contains(have, t) && !slices.Contains(have, "*/*") && !slices.Contains(have, kind+"/*") {
			return false
		}
	}
	return true
}

// mirrored checks that the headers of a request of 2026-07-28 say what its body says, and returns what is wrong.
func mirrored(h http.Header, f *mcp.Frame, g *glance) string {
	version, ok := one(h, headerVersion)
	if !ok || version == "" || version != g.version {
		return "MCP-Protocol-Version does not say what _meta says"
	}
	method, ok := one(h, headerMethod)
	if !ok || method != f.Method {
		return "Mcp-Method does not say what the body says"
	}
	want, named := "", true
	switch f.Method {
	case "tools/call", "prompts/get":
		want = g.name
	case "resources/read":
		want = g.uri
	default:
		named = false
	}
	name, ok := one(h, headerName)
	if !ok {
		return "there is more than one Mcp-Name"
	}
	if named || name != "" {
		got, ok := decodeHeader(name)
		if !ok || named && got != want {
			return "Mcp-Name does not say what the body says"
		}
	}
	var scalars []string
	for n, v := range h {
		if !strings.HasPrefix(n, headerParam) {
			continue
		}
		if scalars == nil {
			scalars = argumentTexts(f.Params)
		}
		if len(v) != 1 {
			return "there is more than one " + n
		}
		got, ok := decodeHeader(v[0])
		if !ok || !matches(got, scalars) {
			return n + " does not say what an argument says"
		}
	}
	return ""
}

// decodeHeader returns what a header's value means (2026-07-28, Streamable HTTP: value encoding).
func decodeHeader(v string) (string, bool) {
	for i := range len(v) {
		if v[i] != '\t' && (v[i] < ' ' || v[i] > '~') {
			return "", false
		}
	}
	rest, ok := strings.CutPrefix(v, "=?base64?")
	if !ok {
		return v, true
	}
	if rest, ok = strings.CutSuffix(rest, "?="); !ok {
		return v, true
	}
	b, err := base64.StdEncoding.Strict().DecodeString(rest)
	return string(b), err == nil
}

// encodeHeader is its inverse.
func encodeHeader(s string) string {
	plain := s == strings.TrimSpace(s) && !(strings.HasPrefix(s, "=?base64?") && strings.HasSuffix(s, "?="))
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] <= '~'
	}
	if plain {
		return s
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// argumentTexts returns the texts, integers and truth values among a call's arguments, as headers would say them.
func argumentTexts(params json.RawMessage) []string {
	out := []string{}
	var walk func(json.RawMessage)
	walk = func(object json.RawMessage) {
		each(object, func(_ string, v json.RawMessage) {
			switch v[0] {
			case '{':
				walk(v)
			case '"':
				out = append(out, unquote(v))
			case '[', 'n':
			default:
				out = append(out, string(v))
			}
		})
	}
	each(params, func(name string, v json.RawMessage) {
		if name == "arguments" {
			walk(v)
		}
	})
	return out
}

func matches(got string, scalars []string) bool {
	if slices.Contains(scalars, got) {
		return true
	}
	n, err := strconv.ParseFloat(got, 64)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(scalars, func(s string) bool {
		m, err := strconv.ParseFloat(s, 64)
		return err == nil && m == n
	})
}

// passed are the headers of an agent that go on to a server.
var passed = []string{"Traceparent", "Tracestate"}

// origin says whether a request may come from where its Origin and Host say it comes from: pages in a browser can send
// requests to a name that was made to mean this host (DNS rebinding).
func (d *Door) origin(r *http.Request) error {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	here := ok && local.IP.IsLoopback()
	if here && !loopback(r.Host) && !strings.EqualFold(hostname(r.Host), d.host) {
		return fmt.Errorf("this host is not called so")
	}
	o, ok := one(r.Header, "Origin")
	if !ok {
		return fmt.Errorf("there is more than one Origin")
	}
	if o == "" || slices.Contains(d.origins, o) {
		return nil
	}
	if p, err := url.Parse(o); err == nil && here && loopback(p.Host) && p.Host == r.Host && originOf(p) == o {
		return nil // a page of this very host
	}
	return fmt.Errorf("requests of pages from that origin are refused")
}

// hostname returns a host without its port.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

func loopback(host string) bool {
	h := hostname(host)
	ip := net.ParseIP(h)
	return h == "localhost" || ip != nil && ip.IsLoopback()
}

// originOf returns the origin of a URL.
func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// clean reports whether a session id of a server is one that can be sent back (visible ASCII).
func clean(id string) bool {
	return len(id) <= 512 && bytes.IndexFunc([]byte(id), func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
