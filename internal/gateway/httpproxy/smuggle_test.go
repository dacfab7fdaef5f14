package httpproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw sends bytes over a connection and returns the statuses of all responses until the connection ends or stays silent.
func raw(t *testing.T, addr, text string) []int {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	var all []int
	r := bufio.NewReader(c)
	for {
		patience := 5 * time.Second // for the first
		if len(all) > 0 {
			patience = 50 * time.Millisecond
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return all
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		all = append(all, resp.StatusCode)
	}
}

// seen is what an upstream received: every request that it took out of the bytes on its connections.
type seen struct {
	mu  sync.Mutex
	all []string
}

func (s *seen) handler(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it was broken off
	}
	s.mu.Lock()
	s.all = append(s.all, fmt.Sprintf("%s %s %d", r.Method, r.RequestURI, len(body)))
	s.mu.Unlock()
}

func (s *seen) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

func TestRequestSmuggling(t *testing.T) {
	var up seen
	b := open(t, `
routes:
  - {match: "* /files/{rest...}", action: files, resource: {type: File, id: "{rest}"}, upstream: api}
  - {match: "GET /admin", action: administer, resource: {type: Admin, id: {value: all}}, upstream: api}
  - {match: "GET /tenants/{t}", action: see, resource: {type: Tenant, id: "{t}"}, arguments: {tenant: "header:X-Tenant"}, upstream: api}
`, upstream(t, up.handler))
	addr := strings.TrimPrefix(b.URL, "http://")
	const auth = "Host: bank\r\nAuthorization: Bearer good\r\n"
	for _, c := range []struct {
		name, text string
		statuses   []int    // of the responses
		passed     []string // what the upstream may see
	}{
		{"plain", "GET /files/a HTTP/1.1\r\n" + auth + "\r\n", []int{200}, []string{"GET /files/a 0"}},
		{"absolute form", "GET http://bank/files/a HTTP/1.1\r\n" + auth + "\r\n", []int{200}, []string{"GET /files/a 0"}},
		{"absolute form with a user", "GET http://u:p@bank/files/a HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"two lengths", "POST /files/a HTTP/1.1\r\n" + auth + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", []int{400}, nil},
		{"a length with a sign", "POST /files/a HTTP/1.1\r\n" + auth + "Content-Length: +3\r\n\r\nabc", []int{400}, nil},
		// A server may take the chunks and must then end the connection (RFC 9112, section 6.1); what was in the body stays there.
		{"length and chunks", "POST /files/a HTTP/1.1\r\n" + auth + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n" + auth + "\r\n", []int{200}, []string{"POST /files/a 0"}},
		{"chunks twice", "POST /files/a HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", []int{501}, nil},
		{"an unknown coding", "POST /files/a HTTP/1.1\r\n" + auth + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", []int{501}, nil},
		{"a coding with a tab", "POST /files/a HTTP/1.1\r\n" + auth + "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", []int{200}, []string{"POST /files/a 0"}},
		{"a blank before the colon", "POST /files/a HTTP/1.1\r\n" + auth + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", []int{400}, nil},
		{"a bad chunk", "POST /files/a HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\nZ\r\nabc\r\n0\r\n\r\n", []int{502}, nil},
		{"a length in a GET", "GET /files/a HTTP/1.1\r\n" + auth + "Content-Length: 40\r\n\r\nGET /admin HTTP/1.1\r\nHost: bank\r\nX: abcdef", []int{200}, []string{"GET /files/a 40"}},
		{"a control character in a header", "GET /files/a HTTP/1.1\r\n" + auth + "X-A: a\x00b\r\n\r\n", []int{400}, nil},
		{"a lone return in a header", "GET /files/a HTTP/1.1\r\n" + auth + "X-A: a\rGET /admin\r\n\r\n", []int{400}, nil},
		{"no host", "GET /files/a HTTP/1.1\r\nAuthorization: Bearer good\r\n\r\n", []int{400}, nil},
		{"two hosts", "GET /files/a HTTP/1.1\r\n" + auth + "Host: other\r\n\r\n", []int{400}, nil},
		{"dot segments", "GET /files/../admin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"encoded dot segments", "GET /files/%2e%2E/admin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"encoded slash", "GET /files/a%2f..%2fadmin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"encoded twice", "GET /files/%252e%252e/admin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"backslash", "GET /files/..\\admin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"encoded backslash", "GET /files/..%5cadmin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"NUL", "GET /files/a%00 HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"a line end", "GET /files/a%0d%0aX:%20y HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"overlong UTF-8", "GET /files/%c0%ae%c0%ae/admin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"bytes that are not ASCII", "GET /files/\xe4 HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"empty segment", "GET /files//admin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"two slashes", "GET //admin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"a parameter of the path", "GET /files/a;/../admin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"fragment", "GET /files/a#/admin HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"fragment in the query", "GET /files/a?x#y HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"another case", "GET /ADMIN HTTP/1.1\r\n" + auth + "\r\n", []int{404}, nil},
		{"encoded letters", "GET /%61dmin HTTP/1.1\r\n" + auth + "\r\n", []int{200}, []string{"GET /%61dmin 0"}},
		// net/http answers by itself, with nothing.
		{"the star", "OPTIONS * HTTP/1.1\r\n" + auth + "\r\n", []int{200}, nil},
		{"a tunnel", "CONNECT bank:443 HTTP/1.1\r\n" + auth + "\r\n", []int{400}, nil},
		{"another path in a header", "GET /files/a HTTP/1.1\r\n" + auth + "X-Original-URL: /admin\r\n\r\n", []int{400}, nil},
		{"another method in a header", "POST /files/a HTTP/1.1\r\n" + auth + "X-HTTP-Method-Override: DELETE\r\n\r\n", []int{400}, nil},
		{"a mapped header that belongs to the connection", "GET /tenants/a HTTP/1.1\r\n" + auth + "X-Tenant: a\r\nConnection: X-Tenant\r\n\r\n", []int{400}, nil},
		{"a mapped header twice", "GET /tenants/a HTTP/1.1\r\n" + auth + "X-Tenant: a\r\nX-Tenant: b\r\n\r\n", []int{400}, nil},
		{"a mapped header folded", "GET /tenants/a HTTP/1.1\r\n" + auth + "X-Tenant: a\r\n b\r\n\r\n", []int{200}, []string{"GET /tenants/a 0"}},
		{"h2c", "GET /files/a HTTP/1.1\r\n" + auth + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", []int{200}, []string{"GET /files/a 0"}},
		{"a WebSocket where there is none", "GET /files/a HTTP/1.1\r\n" + auth + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", []int{403}, nil},
		{"two requests", "GET /files/a HTTP/1.1\r\n" + auth + "\r\nGET /files/b HTTP/1.1\r\n" + auth + "\r\n", []int{200, 200}, []string{"GET /files/a 0", "GET /files/b 0"}},
		{"two requests, the second without a token", "GET /files/a HTTP/1.1\r\n" + auth + "\r\nGET /admin HTTP/1.1\r\nHost: bank\r\n\r\n", []int{200, 401}, []string{"GET /files/a 0"}},
	} {
		got := raw(t, addr, c.text)
		passed := up.take()
		if fmt.Sprint(got) != fmt.Sprint(c.statuses) || fmt.Sprint(passed) != fmt.Sprint(c.passed) {
			t.Errorf("%s: statuses %v, want %v; passed on %v, want %v", c.name, got, c.statuses, passed, c.passed)
		}
	}
}

func TestHeadersThatAreNotPassedOn(t *testing.T) {
	var got, trailer http.Header
	b := open(t, `routes: [{match: "* /x", action: x, resource: {type: X, id: {value: x}}, upstream: api}]`, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got, trailer = r.Header.Clone(), r.Trailer.Clone()
		w.Header().Set("Safeconduct-Decision", "forged")
		w.Header().Set("Set-Cookie", "session=1")
		w.Header().Set("Alt-Svc", `h3=":443"`)
		w.Header().Set("Location", "http://"+r.Host+"/y?z=1")
		w.Header().Set("X-Kept", "1")
	}))
	statuses := raw(t, strings.TrimPrefix(b.URL, "http://"), "POST /x HTTP/1.1\r\nHost: bank\r\nAuthorization: Bearer good\r\nDPoP: p\r\nCookie: a=b\r\n"+
		"Proxy-Authorization: Basic eA==\r\nSafeconduct-Decision: d99\r\nSafeconduct-Approval: ap1\r\nX_Under: 1\r\nForwarded: for=1\r\nX-Real-IP: 1.1.1.1\r\n"+
		"Connection: X-Gone\r\nX-Gone: 1\r\nX-Kept: 1\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: Checksum, Authorization, X-Kept\r\n\r\n"+
		"3\r\nabc\r\n0\r\nChecksum: 7\r\nAuthorization: Bearer forged\r\nX-Kept: 2\r\nUndeclared: 1\r\n\r\n")
	if fmt.Sprint(statuses) != "[200]" {
		t.Fatalf("statuses = %v, want 200", statuses)
	}
	for _, name := range []string{"Dpop", "Cookie", "Proxy-Authorization", "Safeconduct-Approval", "X_under", "Forwarded", "X-Gone", "X-Real-Ip"} {
		if got[name] != nil {
			t.Errorf("%s was passed on: %q", name, got[name])
		}
	}
	for name, want := range map[string]string{"X-Kept": "1", "Authorization": "Bearer upstream-key", "Safeconduct-Decision": "d1", "Te": "trailers"} {
		if got.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, got.Get(name), want)
		}
	}
	if fmt.Sprint(trailer) != "map[Checksum:[7]]" {
		t.Errorf("trailers = %v, want the checksum alone", trailer)
	}
	resp, _ := b.do(t, "GET", "/x", "")
	for name, want := range map[string]string{"Safeconduct-Decision": "d2", "Set-Cookie": "", "Alt-Svc": "", "Location": "/y?z=1", "X-Kept": "1"} {
		if got := strings.Join(resp.Header.Values(name), " "); got != want {
			t.Errorf("response has %s = %q, want %q", name, got, want)
		}
	}
}
