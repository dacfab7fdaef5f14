package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

func TestTransport(t *testing.T) {
	s := newAuthServer(t)
	c := protected(t, s, s.agent("ES256").Tokens(client.TokenRequest{Resource: rsURL}))
	for i, u := range []string{"/invoices/1?full=yes#top", "/a%2Fb/../c", "", ":443/x"} {
		req, err := http.NewRequest("POST", rsURL+u, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Basic x")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", u, err)
		}
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || !strings.HasSuffix(string(b), " body") {
			t.Errorf("%s: %d %s", u, resp.StatusCode, b)
		}
		if len(req.Header) != 1 || req.Header.Get("Authorization") != "Basic x" {
			t.Errorf("%s: the caller's request was changed: %v", u, req.Header)
		}
		if n := s.calls["/invoices/1"]; i == 0 && n != 2 {
			t.Errorf("sent %d times, want once to learn the nonce and once more", n)
		}
	}
	if n := issuedBy(s); n != 1 {
		t.Errorf("%d tokens were issued, want 1", n)
	}
}

// The token goes to the one origin.
func TestTransportOrigin(t *testing.T) {
	s := newAuthServer(t)
	src := s.agent("EdDSA").Tokens(client.TokenRequest{})
	c := protected(t, s, src)
	for _, u := range []string{"https://other.example.com/", "http://erp.example.com/", "https://erp.example.com:8443/", "https://erp.example.com.evil.example/",
		"https://erp.example.com@evil.example/", "https://u:p@erp.example.com/", "https://erp.example.co"} {
		body := &watched{Reader: strings.NewReader("x")}
		req, err := http.NewRequest("POST", u, body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do(req); !errors.Is(err, authz.ErrForbidden) || !body.closed {
			t.Errorf("%s: %v, body closed %v; want a refusal", u, err, body.closed)
		}
	}
	if resp, err := c.Get("HTTPS://ERP.example.com:443/ok"); err != nil || resp.StatusCode != 200 {
		t.Errorf("the same origin, written otherwise: %v, %v", resp, err)
	}
	s.resource = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://evil.example.com/", http.StatusFound)
	}
	if _, err := c.Get(rsURL + "/leads-away"); !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("a redirect to another origin: %v", err)
	}
	for _, bad := range []string{"", "erp.example.com", "http://erp.example.com", "https://a/path", "https://a?b", "https://u@a"} {
		if _, err := client.NewTransport(bad, src); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("NewTransport(%q): %v", bad, err)
		}
	}
}

// A token that the resource server refuses is replaced, once.
func TestTransportRefused(t *testing.T) {
	s := newAuthServer(t)
	a := s.agent("EdDSA")
	src := a.Tokens(client.TokenRequest{})
	c := protected(t, s, src)
	status := func(want, issued int) {
		t.Helper()
		resp, err := c.Post(rsURL+"/x", "text/plain", strings.NewReader("again"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want || want == 200 && string(b) != "POST /x again" || issuedBy(s) != issued {
			t.Errorf("%d %s with %d tokens issued, want %d with %d", resp.StatusCode, b, issuedBy(s), want, issued)
		}
	}
	status(200, 1)
	tok, err := src.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(t.Context(), tok.Value); err != nil {
		t.Fatal(err)
	}
	s.nonces[1] = "rs-2" // and another nonce, too
	status(200, 2)
	status(200, 2)

	// One that refuses whatever it is shown gets no fresh token for each request.
	s.resource = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token"`)
		w.WriteHeader(401)
	}
	status(401, 2) // the second was renewed just now
	status(401, 2)
	for header, sent := range map[string]int{`DPoP error="insufficient_scope"`: 1, `Basic realm="x"`: 1, "": 1, `DPoP error="use_dpop_nonce"`: 1} {
		s.resource = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", header)
			w.WriteHeader(401)
		}
		calls := s.calls["/x"]
		status(401, 2)
		if n := s.calls["/x"] - calls; n != sent {
			t.Errorf("%q: sent %d times, want %d", header, n, sent)
		}
	}
}

// A body that cannot be had again is not kept for the case: the server's answer is handed out.
func TestTransportStreams(t *testing.T) {
	s := newAuthServer(t)
	c := protected(t, s, s.agent("EdDSA").Tokens(client.TokenRequest{}))
	for _, want := range []int{401, 200} { // the first tells the nonce
		body := &watched{Reader: strings.NewReader("once")}
		resp, err := c.Post(rsURL+"/x", "text/plain", body)
		if err != nil || resp.StatusCode != want || !body.closed {
			t.Fatalf("%v, %v, closed %v; want %d", resp, err, body.closed, want)
		}
	}
	s.fault = func(r *http.Request, _ int) (int, string) {
		if r.URL.Host == "erp.example.com" {
			return -1, ""
		}
		return 0, ""
	}
	if _, err := c.Get(rsURL + "/x"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken connection: %v", err)
	}
}

// Without a token nothing is sent.
func TestTransportWithoutToken(t *testing.T) {
	s := newAuthServer(t)
	s.fault = func(r *http.Request, _ int) (int, string) {
		if r.URL.Path == tokenPath {
			return 400, `{"error":"access_denied","error_description":"schedule office is closed"}`
		}
		return 0, ""
	}
	c := protected(t, s, s.agent("EdDSA").Tokens(client.TokenRequest{}))
	body := &watched{Reader: strings.NewReader("x")}
	_, err := c.Post(rsURL+"/x", "text/plain", body)
	var e *client.Error
	if !errors.As(err, &e) || e.Code != client.CodeAccessDenied || e.Message != "schedule office is closed" || s.calls["/x"] != 0 || !body.closed {
		t.Errorf("%v after %d requests, body closed %v", err, s.calls["/x"], body.closed)
	}
}

type watched struct {
	io.Reader
	closed bool
}

func (w *watched) Close() error { w.closed = true; return nil }

func TestChallenge(t *testing.T) {
	for line, want := range map[string]string{
		``:                             "none",
		`Bearer error="invalid_token"`: "none",
		`DPoP`:                         "",
		`dpop error=invalid_token`:     "invalid_token",
		`DPoP algs="EdDSA", error="use_dpop_nonce", error_description="a, \"b\""`: "use_dpop_nonce",
		`DPoP realm="x", Bearer error="insufficient_scope"`:                       "",
		`Bearer realm="DPoP error=\"x\"", DPoP  error = "invalid_token"`:          "invalid_token",
		`Negotiate abc==, DPoP error="a"`:                                         "a",
		`DPoP error="unterminated`:                                                "unterminated",
		`"DPoP" error="x"`:                                                        "x",
	} {
		if got := client.Challenge(http.Header{"Www-Authenticate": {line}}); got != want {
			t.Errorf("challenge(%q) = %q, want %q", line, got, want)
		}
	}
	if got := client.Challenge(http.Header{"Www-Authenticate": {`Basic`, `DPoP error="x"`}}); got != "x" {
		t.Errorf("the second line: %q", got)
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`DPoP algs="EdDSA", error="use_dpop_nonce"`, "invalid_token")
	f.Add(`Negotiate abc==, "`, `a"b\c`)
	f.Fuzz(func(t *testing.T, line, code string) {
		client.Challenge(http.Header{"Www-Authenticate": {line}}) // ends, and does not panic
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(code)
		if got := client.Challenge(http.Header{"Www-Authenticate": {`Basic realm="x", DPoP error="` + quoted + `"`}}); got != code {
			t.Errorf("%q is read as %q", code, got)
		}
	})
}

// An agent asks for itself: by its own token, with no subject and nothing observed.
func TestAgentClient(t *testing.T) {
	s := newAuthServer(t)
	var got string
	s.resource = func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = r.URL.Path + " " + string(b)
		io.WriteString(w, `{"decision":true,"context":{"evaluation_id":"d7"}}`)
	}
	c, err := s.agent("EdDSA").Client(client.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	c.Obligations = []string{"custom"}
	d, err := c.Decide(t.Context(), authz.Request{Action: authz.Action{Name: "pay"}, Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}}})
	if err != nil || !d.Allowed() || d.Seq != 7 {
		t.Errorf("Decide = %+v, %v", d, err)
	}
	if want := `/tenant/access/v1/evaluation {"resource":{"type":"invoice","id":"1"},"action":{"name":"pay"}}`; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	if s.forms[0].Get("resource") != issuer {
		t.Errorf("the token is for %v, want the service", s.forms[0])
	}
	s.fault = func(r *http.Request, _ int) (int, string) {
		return 400, `{"error":"access_denied"}`
	}
	c, err = s.agent("EdDSA").Client(client.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := c.Decide(t.Context(), authz.Request{}); d.Allowed() || !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("without a token: %v, %v", d.Effect, err)
	}
}

// An enforcement point hands on what was presented to it.
func TestDecidePresented(t *testing.T) {
	s, c := serve(t, says(200, `{"decision":true}`))
	p := authz.Presented{Token: "t", Proof: "p", Method: "GET", URL: "https://a/b", Audience: "https://a"}
	if d, err := c.DecidePresented(t.Context(), p, authz.Request{Action: authz.Action{Name: "read"}, Resource: request.Resource}); err != nil || !d.Allowed() {
		t.Errorf("%v, %v", d.Effect, err)
	}
	var sent struct {
		Subject any
		Context struct {
			Observed struct{ Passport map[string]string }
		}
	}
	if err := json.Unmarshal([]byte(s.body), &sent); err != nil || sent.Subject != nil || len(sent.Context.Observed.Passport) != 5 || sent.Context.Observed.Passport["proof"] != "p" {
		t.Errorf("sent %s (%v)", s.body, err)
	}
}
