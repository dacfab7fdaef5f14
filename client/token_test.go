package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

func TestDiscover(t *testing.T) {
	s := newAuthServer(t)
	m, err := client.Discover(t.Context(), issuer, s.http())
	if err != nil || m.TokenEndpoint != issuer+"/oauth2/token" || m.JWKSURI == "" {
		t.Errorf("Discover = %+v, %v", m, err)
	}
	for _, bad := range []string{"", "as.example.com", "http://as.example.com", "https://", "https://a?b", "https://a#b", "https://u@a", "https:a", "ftp://a"} {
		if _, err := client.Discover(t.Context(), bad, s.http()); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Discover(%q): %v, want invalid", bad, err)
		}
	}
	if _, err := client.Discover(t.Context(), "https://as.example.com", s.http()); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("where nothing is: %v", err)
	}
	if _, err := client.Discover(t.Context(), issuer+"/", s.http()); err == nil || !strings.Contains(err.Error(), issuer) {
		t.Errorf("with a slash more: %v", err)
	}
}

// Whoever answers with another issuer, or leads elsewhere in the clear, is not heard: no assertion
// is shown to it.
func TestMixUp(t *testing.T) {
	for _, c := range []struct {
		member string
		value  any
		kind   error
		code   string
	}{
		{"issuer", "https://evil.example.com", authz.ErrForbidden, client.CodeIssuer},
		{"issuer", issuer + "/", authz.ErrForbidden, client.CodeIssuer},
		{"issuer", strings.ToUpper(issuer), authz.ErrForbidden, client.CodeIssuer},
		{"issuer", nil, authz.ErrForbidden, client.CodeIssuer},
		{"token_endpoint", "http://as.example.com/oauth2/token", authz.ErrInvalid, ""},
		{"token_endpoint", "http://127.0.0.1/oauth2/token", authz.ErrInvalid, ""},
		{"token_endpoint", nil, authz.ErrInvalid, ""},
		{"revocation_endpoint", "//as.example.com/revoke", authz.ErrInvalid, ""},
		{"token_endpoint_auth_methods_supported", []string{"client_secret_basic"}, authz.ErrInvalid, ""},
		{"token_endpoint_auth_signing_alg_values_supported", []string{"RS256"}, authz.ErrInvalid, ""},
		{"dpop_signing_alg_values_supported", []string{"ES256"}, authz.ErrInvalid, ""},
	} {
		s := newAuthServer(t)
		s.metadata[c.member] = c.value
		_, err := s.agent("EdDSA").Token(t.Context(), client.TokenRequest{})
		var e *client.Error
		if !errors.Is(err, c.kind) || c.code != "" && (!errors.As(err, &e) || e.Code != c.code) {
			t.Errorf("%s = %v: %v, want %v %s", c.member, c.value, err, c.kind, c.code)
		}
		if n := s.calls["/tenant/oauth2/token"]; n != 0 {
			t.Errorf("%s = %v: the token endpoint was called", c.member, c.value)
		}
	}
}

func TestToken(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256"} {
		s := newAuthServer(t)
		a := s.agent(alg)
		details := []authz.Detail{{Type: authz.DetailType, Identifier: "pay", Limits: &authz.Limits{Amount: map[string]string{"amount": "100.00"}}}}
		tok, err := a.Token(t.Context(), client.TokenRequest{Scope: []string{"pay", "read"}, Details: details, Resource: rsURL, Resources: []string{"https://ledger.example.com", rsURL}, MayAct: "archive", Algorithm: "ES256"})
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if diff := cmp.Diff([]string{"pay", "read"}, tok.Scope); diff != "" || tok.Type != "DPoP" {
			t.Errorf("%s: %+v\n%s", alg, tok, diff)
		}
		if diff := cmp.Diff(details, tok.Details); diff != "" {
			t.Errorf("%s: details (-want +got):\n%s", alg, diff)
		}
		want := url.Values{"grant_type": {"client_credentials"}, "scope": {"pay read"}, "resource": {rsURL, "https://ledger.example.com"}, "may_act": {"archive"}, "access_token_signing_alg": {"ES256"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"authorization_details": {`[{"type":"capability","identifier":"pay","limits":{"amount":{"amount":"100.00"}}}]`}}
		if diff := cmp.Diff(want, s.forms[0]); diff != "" {
			t.Errorf("%s: form (-want +got):\n%s", alg, diff)
		}
		if n := s.calls["/tenant/oauth2/token"]; n != 2 {
			t.Errorf("%s: %d calls for the first token, want one that learns the nonce and one more", alg, n)
		}
		if _, err := a.Token(t.Context(), client.TokenRequest{}); err != nil || s.calls["/tenant/oauth2/token"] != 3 {
			t.Errorf("%s: a second token: %v after %d calls, want 3", alg, err, s.calls["/tenant/oauth2/token"])
		}
		if text := fmt.Sprintf("%v %+v %#v", tok, tok, tok); strings.Contains(text, tok.Value) {
			t.Errorf("printed, the token shows itself: %s", text)
		}
	}
}

func TestExchange(t *testing.T) {
	s := newAuthServer(t)
	a := s.agent("EdDSA")
	tok, err := a.Exchange(t.Context(), "the-other-token", client.TokenRequest{Scope: []string{"read"}})
	if err != nil || tok.Scope[0] != "read" {
		t.Fatalf("Exchange = %v, %v", tok, err)
	}
	want := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "scope": {"read"}, "subject_token": {"the-other-token"},
		"subject_token_type":    {"urn:ietf:params:oauth:token-type:access_token"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	if diff := cmp.Diff(want, s.forms[0]); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

// What an answer must have, and what makes it refused.
func TestTokenAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer map[string]any
		kind   error // nil: the token is taken
	}{
		"as it should be":  {nil, nil},
		"scope left out":   {map[string]any{"scope": nil}, nil},
		"type in capitals": {map[string]any{"token_type": "DPOP"}, nil},
		"unknown members":  {map[string]any{"x": 1, "iss": issuer, "refused": "something"}, nil},
		"bearer":           {map[string]any{"token_type": "Bearer"}, authz.ErrForbidden},
		"no type":          {map[string]any{"token_type": nil}, authz.ErrForbidden},
		"other issuer":     {map[string]any{"iss": "https://evil.example.com"}, authz.ErrForbidden},
		"not a token":      {map[string]any{"issued_token_type": "urn:ietf:params:oauth:token-type:id_token"}, authz.ErrForbidden},
		"no token":         {map[string]any{"access_token": nil}, authz.ErrUnavailable},
		"header injection": {map[string]any{"access_token": "a\r\nX: y"}, authz.ErrUnavailable},
		"huge token":       {map[string]any{"access_token": strings.Repeat("a", 9<<10)}, authz.ErrUnavailable},
		"no life":          {map[string]any{"expires_in": nil}, authz.ErrUnavailable},
		"dead":             {map[string]any{"expires_in": -5}, authz.ErrUnavailable},
		"life as text":     {map[string]any{"expires_in": "300"}, authz.ErrUnavailable},
		"odd details":      {map[string]any{"authorization_details": []any{map[string]any{"type": "capability", "identifier": "a", "more": 1}}}, authz.ErrUnavailable},
	} {
		s := newAuthServer(t)
		s.answer = c.answer
		tok, err := s.agent("EdDSA").Token(t.Context(), client.TokenRequest{Scope: []string{"a"}})
		if c.kind == nil && (err != nil || len(tok.Scope) != 1) || c.kind != nil && (!errors.Is(err, c.kind) || tok != nil) {
			t.Errorf("%s: %v, %v; want error %v", name, tok, err, c.kind)
		}
	}
}

// What policy left out is told, with its reason.
func TestTokenLacks(t *testing.T) {
	s := newAuthServer(t)
	s.answer = map[string]any{"scope": "read", "refused": []any{map[string]any{"identifier": "pay", "code": "closed", "message": "Not at night."}}}
	tok, err := s.agent("EdDSA").Token(t.Context(), client.TokenRequest{Scope: []string{"pay", "read"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]client.Refusal{{Capability: "pay", Code: "closed", Message: "Not at night."}}, tok.Refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

// The OAuth errors come out as what they are, with what to do, and only what is unavailable is asked
// again.
func TestTokenErrors(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		kind   error
		calls  int
	}{
		{401, client.CodeInvalidClient, authz.ErrUnauthenticated, 1},
		{400, client.CodeInvalidClient, authz.ErrUnauthenticated, 1},
		{400, client.CodeInvalidScope, authz.ErrForbidden, 1},
		{400, client.CodeAccessDenied, authz.ErrForbidden, 1},
		{400, client.CodeInvalidTarget, authz.ErrInvalid, 1},
		{400, client.CodeInvalidDetails, authz.ErrInvalid, 1},
		{400, client.CodeInvalidGrant, authz.ErrForbidden, 1},
		{400, client.CodeInvalidProof, authz.ErrUnauthenticated, 1},
		{400, "something_new", authz.ErrInvalid, 1},
		{503, client.CodeUnavailable, authz.ErrUnavailable, 3},
		{500, client.CodeServerError, authz.ErrUnavailable, 3},
		{429, client.CodeInvalidRequest, authz.ErrUnavailable, 3},
		{302, "", authz.ErrUnavailable, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newAuthServer(t)
			s.fault = func(r *http.Request, _ int) (int, string) {
				if r.Method == "GET" {
					return 0, ""
				}
				return c.status, `{"error":"` + c.code + `","error_description":"be\u001bcause"}`
			}
			_, err := s.agent("EdDSA").Token(t.Context(), client.TokenRequest{})
			var e *client.Error
			if !errors.As(err, &e) || !errors.Is(err, c.kind) || e.Status != c.status || e.Code != c.code || e.Message != "be cause" {
				t.Errorf("%d %s: %+v, want %v", c.status, c.code, err, c.kind)
			}
			if c.kind != authz.ErrUnavailable && c.code != "something_new" && e.Hint == "" {
				t.Errorf("%s: no hint", c.code)
			}
			if n := s.calls["/tenant/oauth2/token"]; n != c.calls {
				t.Errorf("%d %s: asked %d times, want %d", c.status, c.code, n, c.calls)
			}
		})
	}
}

// A server that never has enough of nonces is given up; one that recovers is not; assertions and
// proofs are new each time, or the strict server would refuse them.
func TestNonces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAuthServer(t)
		a := s.agent("EdDSA")
		s.fault = func(r *http.Request, n int) (int, string) {
			if r.Method == "POST" {
				s.nonces[0] = fmt.Sprint("as-", n) // another with each request
			}
			return 0, ""
		}
		_, err := a.Token(t.Context(), client.TokenRequest{})
		var e *client.Error
		if !errors.As(err, &e) || e.Code != client.CodeUseNonce || e.Hint == "" {
			t.Errorf("always another nonce: %v", err)
		}
		if n := s.calls["/tenant/oauth2/token"]; n != 6 {
			t.Errorf("asked %d times, want twice for each of 3 attempts", n)
		}
		s.fault = func(r *http.Request, n int) (int, string) {
			if n == 7 {
				return -1, ""
			} else if n == 8 {
				return 503, `down`
			}
			return 0, ""
		}
		if _, err := a.Token(t.Context(), client.TokenRequest{}); err != nil {
			t.Errorf("a server that recovers: %v", err)
		}
	})
}

func TestIntrospectAndRevoke(t *testing.T) {
	s := newAuthServer(t)
	a := s.agent("ES256")
	tok, err := a.Token(t.Context(), client.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	i, err := a.Introspect(t.Context(), tok.Value)
	if err != nil || !i.Active || i.ClientID != "bot" || len(i.Scope) != 2 || i.ExpiresAt.IsZero() || !json.Valid(i.Answer) {
		t.Errorf("Introspect = %+v, %v", i, err)
	}
	if err := a.Revoke(t.Context(), tok.Value); err != nil {
		t.Error(err)
	}
	if i, err = a.Introspect(t.Context(), tok.Value); err != nil || i.Active || i.ClientID != "" {
		t.Errorf("revoked: %+v, %v", i, err)
	}
}
