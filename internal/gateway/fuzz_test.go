package gateway_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
)

// A header is a scheme and a token, or nothing: what is taken for a token fits into a header again, alone.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"Bearer abc.def.ghi", "DPoP eyJ.e30.AA", "bearer a", "Bearer a, Bearer b", "Bearer  a", "Basic YTpi", "", "Bearer \x00", "Bearer a=", "Bearer ="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		scheme, tok, err := gateway.ParseAuthorization(value)
		switch {
		case err != nil:
			if !errors.Is(err, authz.ErrInvalid) || scheme != "" || tok != "" {
				t.Errorf("%q: %q, %q, %v", value, scheme, tok, err)
			}
		case scheme == "bearer" || scheme == "dpop":
			if !strings.EqualFold(value, scheme+" "+tok) || strings.ContainsAny(tok, " ,\t\r\n\"\\\x00") || tok == "" {
				t.Errorf("%q is %q, %q", value, scheme, tok)
			}
		case tok != "":
			t.Errorf("%q: the scheme %q has a token", value, scheme)
		}
	})
}

// What net/url finds in a query as access_token is found.
func FuzzQueryToken(f *testing.F) {
	for _, s := range []string{"access_token=x", "a=1&access%5Ftoken=x", "a;access_token", "ACCESS_TOKEN=x", "%", "my_access_token=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := http.Request{URL: httptest.NewRequest("GET", "http://x/", nil).URL}
		r.URL.RawQuery = raw
		if r.URL.Query().Has("access_token") && !gateway.QueryToken(raw) {
			t.Errorf("the token in %q is not found", raw)
		}
	})
}

// Claims that are read name somebody, and nobody whose name breaks a line.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"iss":"https://a","aud":"b","exp":1,"client_id":"c","sub":"d"}`))
	f.Add([]byte(`{"iss":"https://a","aud":["b"],"exp":1.5,"client_id":"c","sub":"d","act":{"sub":"e","act":{"sub":"f"}},"cnf":{"jkt":"0123456789012345678901234567890123456789012"}}`))
	f.Add([]byte(`{"iss":"https://a","aud":"b","exp":1e300,"client_id":"c","scope":"a  b","scp":["c"]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		who, err := gateway.ReadClaims(payload)
		if err != nil {
			if !errors.Is(err, authz.ErrInvalid) && !errors.Is(err, authz.ErrForbidden) {
				t.Errorf("%q: %v", payload, err)
			}
			return
		}
		if len(who) == 0 || len(who) > 10 {
			t.Errorf("%q: %d parties", payload, len(who))
		}
		for _, w := range who {
			if _, id, ok := strings.Cut(w, ":"); !ok || id == "" || strings.ContainsAny(w, "\x00\n\r") {
				t.Errorf("%q: %q", payload, w)
			}
		}
	})
}

// A token that is taken from an answer fits into a header and lives for a while.
func FuzzIssued(f *testing.F) {
	f.Add([]byte(`{"access_token":"x","token_type":"Bearer","expires_in":300}`))
	f.Add([]byte(`{"access_token":"x","token_type":"bearer","expires_in":"300"}`))
	f.Add([]byte(`{"access_token":"x","access_token":"y","token_type":"bearer"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		value, life, err := gateway.ReadIssued(text)
		if err != nil {
			if !errors.Is(err, authz.ErrUnavailable) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) || life <= 0 || life > time.Hour {
			t.Errorf("%q: %q for %v", text, value, life)
		}
	})
}

// Metadata that is believed is of whom was asked, and names nothing less safe.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://a.example","token_endpoint":"https://a.example/token","jwks_uri":"https://a.example/jwks"}`))
	f.Add([]byte(`{"issuer":"https://a.example","jwks_uri":"http://127.0.0.1/jwks"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := gateway.ReadMetadata(text, "https://a.example")
		if err != nil {
			return
		}
		for _, u := range []string{m.TokenURL, m.KeySet} {
			if m.Issuer != "https://a.example" || u != "" && !strings.HasPrefix(u, "https://") {
				t.Errorf("%q: %+v", text, m)
			}
		}
	})
}

// A challenge is a header that can be read, whatever the scopes are.
func FuzzVerify(f *testing.F) {
	as := newForeign(f)
	g := open(f, document("authorization: {servers: [{issuer: \""+as.URL+"\"}]}"), gateway.Options{})
	f.Add("Bearer "+as.sign("ed", as.claims(time.Now(), resource), nil), "", "a=1")
	f.Add("DPoP e30.e30.AA", "e30.e30.AA", "access_token=x")
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.", "", "")
	f.Fuzz(func(t *testing.T, authorization, proof, query string) {
		r := httptest.NewRequest("POST", resource, nil)
		r.URL.RawQuery = query
		r.Header["Authorization"] = []string{authorization}
		if proof != "" {
			r.Header["Dpop"] = []string{proof}
		}
		_, err := g.Verifier.Verify(r)
		if err == nil {
			return
		}
		var c *gateway.Challenge
		if !errors.As(err, &c) || c.Status < 400 || c.Message == "" {
			t.Fatalf("%q, %q, %q: %v", authorization, proof, query, err)
		}
		w := httptest.NewRecorder()
		c.WriteTo(w)
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q: the answer is %q", authorization, w.Body)
		}
		for _, v := range w.Header()["Www-Authenticate"] {
			if strings.ContainsAny(v, "\r\n\x00") || strings.Count(v, `"`)%2 != 0 {
				t.Errorf("%q: the challenge is %q", authorization, v)
			}
		}
	})
}
