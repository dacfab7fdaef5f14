package httpproxy_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/httpproxy"
)

// TestTrailersOfResponses wants that what stands behind a body tells agents no more than headers may: nothing if the
// response is masked.
func TestTrailersOfResponses(t *testing.T) {
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Trailer", "X-Row, Set-Cookie")
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
		} else {
			_, _ = io.WriteString(w, `{"secret":"s3cret","a":1}`)
			_ = http.NewResponseController(w).Flush() // the length is not known before
		}
		w.Header().Set("X-Row", "s3cret-in-a-trailer")
		w.Header().Set("Set-Cookie", "a=s3cret")
		for name, v := range map[string]string{"X-Unannounced": "s3cret-too", "Safeconduct-Decision": "forged", "Alt-Svc": `h3="evil.example:443"`} {
			w.Header().Set(http.TrailerPrefix+name, v)
		}
	}))
	up.EnableHTTP2 = true
	up.StartTLS()
	t.Cleanup(up.Close)
	roots := x509.NewCertPool()
	roots.AddCert(up.Certificate())
	plain := httptest.NewServer(up.Config.Handler)
	t.Cleanup(plain.Close)
	for _, base := range []string{plain.URL, up.URL} {
		b := open(t, payments+"  - {match: \"DELETE /accounts/{account}\", action: close, resource: {type: Account, id: \"{account}\"}, upstream: api}\n", base, func(c *httpproxy.Config) {
			u, err := httpproxy.NewUpstream("api", base, httpproxy.TLSConfig{Roots: roots})
			if err != nil {
				t.Fatal(err)
			}
			c.Upstreams["api"] = u
		})
		s := httptest.NewUnstartedServer(b.Config.Handler)
		s.EnableHTTP2 = true
		s.StartTLS()
		t.Cleanup(s.Close)
		do := func(method, url string) (*http.Response, string) {
			r, err := http.NewRequest(method, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer good")
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp, string(text)
		}
		for _, url := range []string{b.URL, s.URL} {
			b.judge.set(allow())
			resp, text := do("GET", url+"/accounts/7")
			if !strings.Contains(text, "s3cret") || resp.Trailer.Get("X-Row") != "s3cret-in-a-trailer" || resp.Trailer.Get("X-Unannounced") != "s3cret-too" {
				t.Errorf("%s over %s: %s, trailers %v, want them passed on", base, resp.Proto, text, resp.Trailer)
			}
			for _, name := range []string{"Set-Cookie", "Safeconduct-Decision", "Alt-Svc"} {
				if resp.Trailer.Get(name) != "" {
					t.Errorf("%s over %s: the trailer %s is %q", base, resp.Proto, name, resp.Trailer.Get(name))
				}
			}
			b.judge.set(allow(mask("secret")))
			for _, method := range []string{"GET", "HEAD", "DELETE"} {
				resp, text = do(method, url+"/accounts/7")
				if strings.Contains(text, "s3cret") || len(resp.Trailer) > 0 || resp.StatusCode >= 300 {
					t.Errorf("masked, %s over %s: %d %s, trailers %v, want none", method, resp.Proto, resp.StatusCode, text, resp.Trailer)
				}
			}
		}
	}
}

// TestTrailersOfRequests wants that nothing is said behind a body that could count as a header: what is mapped, the
// credential, who asks.
func TestTrailersOfRequests(t *testing.T) {
	var header, trailer http.Header
	b := open(t, `routes: [{match: POST /x, action: x, resource: {type: X, id: {value: x}}, arguments: {tenant: {from: "header:Tenant", optional: true}}, upstream: api}]`,
		upstream(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			header, trailer = r.Header, r.Trailer
		}))
	b.gate.apply = func(r *http.Request) error {
		r.Header.Set("Api-Key", "the-gateways")
		return nil
	}
	statuses := raw(t, strings.TrimPrefix(b.URL, "http://"), "POST /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nTransfer-Encoding: chunked\r\n"+
		"Trailer: Checksum, Api-Key, Client-Cert, True-Client-Ip, Tenant, Cookie\r\n\r\n3\r\nabc\r\n0\r\n"+
		"Checksum: 7\r\nApi-Key: agents\r\nClient-Cert: c\r\nTrue-Client-Ip: 1.1.1.1\r\nTenant: other\r\nCookie: a=b\r\n\r\n")
	if fmt.Sprint(statuses) != "[200]" || fmt.Sprint(trailer) != "map[Checksum:[7]]" || header.Get("Api-Key") != "the-gateways" {
		t.Errorf("= %v; passed on %v, want the checksum alone; headers %v", statuses, trailer, header)
	}
}

// TestMethodsThatShowWhatWasSent has an agent ask for the request as the server got it, with the gateway's credential.
func TestMethodsThatShowWhatWasSent(t *testing.T) {
	reached := false
	b := open(t, payments, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		reached = true
		text, _ := httputil.DumpRequest(r, false)
		_, _ = w.Write(text)
	}))
	for method, want := range map[string]int{"TRACE": 400, "TRACK": 400, "DEBUG": 404, "PROPFIND": 404} {
		if resp, text := b.do(t, method, "/files/a", ""); resp.StatusCode != want || reached || strings.Contains(text, "upstream-key") {
			t.Errorf("%s = %d %s, want %d", method, resp.StatusCode, text, want)
		}
	}
}

// TestSaidTwice has a request say in its body what is decided about in the query, and the other way round.
func TestSaidTwice(t *testing.T) {
	reached := false
	b := open(t, `
routes:
  - {match: POST /pay, action: pay, resource: {type: A, id: {value: own}}, arguments: {amount: {from: "query:amount", type: decimal}}, upstream: api}
  - {match: POST /closed, action: pay, closed: true, resource: {type: A, id: {value: own}}, arguments: {amount: {from: "body:/amount", optional: true}}, upstream: api}
  - {match: DELETE /users/admin, action: delete-admin, resource: {type: A, id: {value: own}}, upstream: api}
  - {match: "* /users/{rest...}", action: users, resource: {type: A, id: "{rest}"}, upstream: api}
`, upstream(t, func(_ http.ResponseWriter, r *http.Request) { reached = true }))
	for _, c := range []struct {
		method, path, body, typ string
		want                    int
	}{
		{"POST", "/pay?amount=1", "amount=1000", "application/x-www-form-urlencoded", 415},
		{"POST", "/pay?amount=1", "--b\r\n", "multipart/form-data; boundary=b", 415},
		{"POST", "/pay?amount=1&amount%00=2", "", "", 400},
		{"POST", "/closed", `[{"amount": 5000}]`, "application/json", 400},
		{"POST", "/closed?amount=5000", `{"amount": 1}`, "application/json", 400},
		{"DELETE", "/users/admin/", "", "", 404},
	} {
		resp, text := b.do(t, c.method, c.path, c.body, "Content-Type: "+c.typ)
		if resp.StatusCode != c.want || reached || b.judge.count() > 0 {
			t.Errorf("%s %s %q: %d %s, want %d and nothing asked", c.method, c.path, c.body, resp.StatusCode, text, c.want)
		}
	}
	// A body without a type is a form to some; without a body there is nothing to mistake.
	addr := strings.TrimPrefix(b.URL, "http://")
	for text, want := range map[string]int{"Content-Length: 11\r\n\r\namount=1000": 415, "Transfer-Encoding: chunked\r\n\r\nb\r\namount=1000\r\n0\r\n\r\n": 415, "Content-Length: 0\r\n\r\n": 200} {
		if got := raw(t, addr, "POST /pay?amount=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"+text); len(got) == 0 || got[0] != want {
			t.Errorf("%q: %v, want %d", text, got, want)
		}
	}
}

// TestForwardedHost wants that upstreams are told the name of the gateway, and not the one that an agent says.
func TestForwardedHost(t *testing.T) {
	var got http.Header
	up := upstream(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	const rules = payments + `
  - {match: "GET /hosted", host: "*.example.com", action: x, resource: {type: X, id: {value: x}}, upstream: api}
`
	for _, c := range []struct{ public, path, host, want string }{
		{"https://gw.example.org/api", "/accounts/7", "evil.example", "gw.example.org https"},
		{"https://gw.example.org:8443", "/accounts/7", "evil.example:1", "gw.example.org:8443 https"},
		{"https://gw.example.org", "/hosted", "a.example.com", "a.example.com https"},
		{"", "/accounts/7", "evil.example", " http"},
	} {
		b := open(t, rules, up, func(cfg *httpproxy.Config) { cfg.Public = func() string { return c.public } })
		statuses := raw(t, strings.TrimPrefix(b.URL, "http://"), "GET "+c.path+" HTTP/1.1\r\nHost: "+c.host+"\r\nAuthorization: Bearer good\r\nX-Forwarded-Host: forged\r\n\r\n")
		if text := got.Get("X-Forwarded-Host") + " " + got.Get("X-Forwarded-Proto"); fmt.Sprint(statuses) != "[200]" || text != c.want {
			t.Errorf("%+v: %v, forwarded %q", c, statuses, text)
		}
	}
}

// TestDocumentIsObeyed has the document say how long bodies may take, and where the gateway is.
func TestDocumentIsObeyed(t *testing.T) {
	t.Setenv(gateway.TokenVariable, "sc_pep_x")
	file := filepath.Join(t.TempDir(), "http.yaml")
	if err := os.WriteFile(file, []byte(`
listen: 127.0.0.1:0
limits: {body_time: 1s}
service: {url: "http://127.0.0.1:1"}
authorization: {type: none, subject: {type: agent, id: a}}
upstreams: {u: {url: "http://127.0.0.1:1"}}
routes:
  - {match: POST /a, action: x, resource: {type: T, id: "body:/id"}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := httpproxy.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	at := make(chan net.Addr, 1)
	g, p, err := doc.Open(t.Context(), gateway.Options{Logger: slog.New(slog.DiscardHandler), Listening: func(a net.Addr) { at <- a }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, p) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	addr := (<-at).String()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	fmt.Fprintf(c, "POST /a HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{", addr)
	if err := c.SetReadDeadline(began.Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if took := time.Since(began); resp.StatusCode != 408 || took > 10*time.Second {
		t.Errorf("a body that does not come: %d after %v, want 408 after about 1s", resp.StatusCode, took)
	}
}
