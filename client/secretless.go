package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A Secretless is an http.RoundTripper for libraries that know OAuth clients with a secret only, and
// bearer tokens only: what they send leaves as the agent would have sent it, so that there is no secret
// and nothing that can be stolen. The client credentials extension of the Model Context Protocol's Go
// SDK (auth/extauth) is one: give it the agent's id as ClientID, anything as ClientSecret, and an
// http.Client with a Secretless; and the same client to the transport.
//
//   - A token request to the agent's authorization server loses the secret, and is asked anew by the
//     agent, with its key (RFC 7523), a DPoP proof (RFC 9449) and the resource that the Secretless is
//     for (RFC 8707). Grants other than client credentials and token exchange are refused.
//   - A request to that resource's origin with a token that was got so shows it by the scheme DPoP, with
//     a proof, and once more if the resource wants a nonce in it. Elsewhere, such a token is refused.
//   - Everything else, discovery above all, passes as it is. A request for a token that goes to another
//     authorization server than the agent's takes along what the library was given, and nothing of ours.
//
// The library decides when it needs another token; this keeps none for it.
type Secretless struct {
	// Base does the requests to everybody but the agent's authorization server, which the agent's own
	// client talks to. Its default is that of Client.
	Base http.RoundTripper

	agent    *Agent
	resource string
	origin   string
	nonce    atomic.Pointer[string] // the newest of the resource

	mu  sync.Mutex
	got map[string]*Token // that have not ended, by their values
}

const (
	maxGot        = 256      // tokens that are remembered
	maxSecretForm = 64 << 10 // bytes of a library's token request
)

// Secretless returns a RoundTripper for a library that speaks to that resource, the URL by which the
// authorization server knows it: https, or http on loopback.
func (a *Agent) Secretless(resource string) (*Secretless, error) {
	u, err := url.Parse(resource)
	if err != nil || !safe(u) || u.Fragment != "" {
		return nil, authz.Errorf(authz.ErrInvalid, "%.200q is no resource: an https URL (http only on loopback)", resource)
	}
	return &Secretless{Base: newHTTP().Transport, agent: a, resource: resource, origin: originOf(u), got: map[string]*Token{}}, nil
}

// RoundTrip sends the request, or what it must be instead.
func (s *Secretless) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost && strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		m, err := s.agent.Metadata(req.Context())
		if err != nil {
			closeBody(req)
			return nil, err
		}
		if where, err := url.Parse(m.TokenEndpoint); err == nil && *where == *req.URL {
			return s.token(req)
		}
	}
	scheme, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP") {
		if t := s.known(value); t != nil {
			return s.show(req, t)
		}
	}
	return s.Base.RoundTrip(req)
}

// known returns a token that was got here.
func (s *Secretless) known(value string) *Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[value]
}

// keep remembers a token, and forgets those that have ended.
func (s *Secretless) keep(t *Token) {
	now := s.agent.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for value, old := range s.got {
		if len(s.got) >= maxGot || !now.Before(old.ExpiresAt) {
			delete(s.got, value)
		}
	}
	s.got[t.Value] = t
}

// token answers a library's token request with what the agent gets in its place.
func (s *Secretless) token(req *http.Request) (*http.Response, error) {
	form, err := s.form(req)
	if err != nil {
		return nil, err
	}
	id := form.Get("client_id")
	if user, _, ok := req.BasicAuth(); ok { // encoded as in a form (RFC 6749 section 2.3.1)
		if plain, err := url.QueryUnescape(user); err == nil {
			user = plain
		}
		id = user
	}
	grant, resource := form.Get("grant_type"), form.Get("resource")
	for _, name := range []string{"client_id", "client_secret", "client_assertion", "client_assertion_type", "resource"} {
		form.Del(name)
	}
	switch {
	case id != "" && id != s.agent.id:
		return refusedHere(req, http.StatusUnauthorized, CodeInvalidClient, "the library is set up as another client than the agent")
	case grant != "client_credentials" && grant != "urn:ietf:params:oauth:grant-type:token-exchange":
		return refusedHere(req, http.StatusBadRequest, CodeUnsupportedGrantType, "an agent has tokens by client credentials or token exchange")
	case resource != "" && resource != s.resource:
		return refusedHere(req, http.StatusBadRequest, CodeInvalidTarget, "the library asks for another resource than it was set up for")
	}
	t, err := s.agent.grant(req.Context(), TokenRequest{Resource: s.resource}, form)
	var refused *Error
	if errors.As(err, &refused) && refused.Status >= http.StatusBadRequest {
		return refusedHere(req, refused.Status, refused.Code, refused.Message)
	}
	if err != nil {
		return nil, err
	}
	s.keep(t)
	answer := map[string]any{
		"access_token": t.Value, "token_type": t.Type, "expires_in": int64(t.ExpiresAt.Sub(s.agent.now()) / time.Second), "scope": strings.Join(t.Scope, " "),
	}
	if len(t.Details) > 0 {
		answer["authorization_details"] = json.RawMessage(token.AppendDetails(nil, t.Details))
	}
	if grant != "client_credentials" {
		answer["issued_token_type"] = accessTokenType
	}
	return answerHere(req, http.StatusOK, answer)
}

// form reads the form of a token request.
func (s *Secretless) form(req *http.Request) (url.Values, error) {
	defer closeBody(req)
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(io.LimitReader(req.Body, maxSecretForm+1)); err != nil {
			return nil, err
		}
	}
	if len(body) > maxSecretForm {
		return nil, authz.Errorf(authz.ErrInvalid, "the library's token request has more than %d bytes", maxSecretForm)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the library's token request is no form")
	}
	return form, nil
}

// show sends the request with the token and a proof.
func (s *Secretless) show(req *http.Request, t *Token) (*http.Response, error) {
	if originOf(req.URL) != s.origin || req.URL.User != nil {
		closeBody(req)
		return nil, authz.Errorf(authz.ErrForbidden, "a request to %s is refused: the token is for %s", originOf(req.URL), s.origin)
	}
	body := req.Body
	for nonced := false; ; nonced = true {
		sent := ""
		if n := s.nonce.Load(); n != nil {
			sent = *n
		}
		proof, err := t.Proof(req.Method, req.URL.String(), sent)
		if err != nil {
			if body != nil {
				body.Close()
			}
			return nil, err
		}
		r := req.Clone(req.Context()) // a RoundTripper does not change the request it is given
		r.Body = body
		r.Header["Authorization"] = []string{t.Type + " " + t.Value}
		r.Header["Dpop"] = []string{proof}
		resp, err := s.Base.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		remember(&s.nonce, resp.Header)
		n := s.nonce.Load()
		if nonced || resp.StatusCode != http.StatusUnauthorized || challenge(resp.Header) != CodeUseNonce || n == nil || *n == sent || !again(req) {
			return resp, nil
		}
		if body, err = bodyAgain(req); err != nil {
			return resp, nil
		}
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
		resp.Body.Close()
	}
}

// refusedHere is an error answer of a token endpoint (RFC 6749 section 5.2) to a library.
func refusedHere(req *http.Request, status int, code, description string) (*http.Response, error) {
	return answerHere(req, status, map[string]any{"error": code, "error_description": description})
}

// answerHere is an answer of a token endpoint.
func answerHere(req *http.Request, status int, answer map[string]any) (*http.Response, error) {
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "encoding the answer: %w", err)
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req, ContentLength: int64(len(b)),
		Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}, Body: io.NopCloser(bytes.NewReader(b)),
	}, nil
}
