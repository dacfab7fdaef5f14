package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A TokenRequest says what a token is wanted for. Of what is left out the server decides.
type TokenRequest struct {
	Scope    []string       // ids of capabilities
	Details  []authz.Detail // capabilities with narrower limits (RFC 9396)
	Resource string         // URL of the resource server that the token is for (RFC 8707)

	// Resources are others that the token is for as well: a gateway and a server behind it, for which the gateway
	// exchanges the token. An exchange only narrows, the audience too.
	Resources []string

	// MayAct is the one agent that may exchange the token for one of its own and so act for this
	// agent (RFC 8693 section 4.4): none by default.
	MayAct authz.AgentID
	// Algorithm of the token's signature, if the resource server cannot verify every one: "EdDSA" or
	// "ES256".
	Algorithm string
}

// A Token is a passport: an access token bound to the agent's key. Printed, it does not show itself.
type Token struct {
	Value     string    // of the Authorization header, after the Type; a secret while it lives
	Type      string    // DPoP
	ExpiresAt time.Time // by our clock, at the latest
	Scope     []string  // what was granted, which may be less than was asked for
	Details   []authz.Detail
	Refused   []Refusal // what was asked for and policy left out

	signer    *token.Signer // of the key that the token is bound to, also after a rotation
	now       func() time.Time
	at        time.Time // when it was asked for
	refreshAt time.Time // when another one is wanted
	useUntil  time.Time // when this one is not shown any more
	renewed   bool      // it was got because the one before was refused
}

// A Refusal says which capability a token does not carry, and why.
type Refusal struct {
	Capability string `json:"identifier"`
	Code       string `json:"code"`
	Message    string `json:"message"`
}

// Proof returns a DPoP proof (RFC 9449) for one request by that method to that URL, whose query and
// fragment do not count. A proof counts once. The nonce is the one that the resource server gave, ""
// if it gave none.
func (t *Token) Proof(method, target, nonce string) (string, error) {
	target, _, _ = strings.Cut(target, "#")
	target, _, _ = strings.Cut(target, "?")
	return t.proof(method, target, nonce)
}

func (t *Token) proof(method, target, nonce string) (string, error) {
	p, err := token.SignProof(t.signer, token.Proof{ID: rand.Text(), Nonce: nonce, Method: method, URL: target, IssuedAt: t.now()}, t.Value)
	if err != nil {
		return "", authz.Errorf(authz.ErrUnavailable, "signing the proof: %w", err)
	}
	return p, nil
}

// String tells of the token without showing it.
func (t *Token) String() string {
	return fmt.Sprintf("%s token for %q until %s", t.Type, t.Scope, t.ExpiresAt.UTC().Format(time.RFC3339))
}

// GoString is String, for %#v.
func (t *Token) GoString() string { return t.String() }

// LogValue is String, for logs.
func (t *Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Token gets one token by client credentials (RFC 6749 section 4.4). Tokens keeps them.
func (a *Agent) Token(ctx context.Context, r TokenRequest) (*Token, error) {
	return a.grant(ctx, r, url.Values{"grant_type": {"client_credentials"}})
}

// Exchange gets one token by which the agent acts for the subject of another token (RFC 8693), which
// names it as the one that MayAct. It never carries more than that token does. Delegated keeps them.
func (a *Agent) Exchange(ctx context.Context, subjectToken string, r TokenRequest) (*Token, error) {
	return a.grant(ctx, r, url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {subjectToken},
		"subject_token_type": {accessTokenType},
	})
}

const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

func (a *Agent) grant(ctx context.Context, r TokenRequest, form url.Values) (*Token, error) {
	if len(r.Scope) > 0 {
		form.Set("scope", strings.Join(r.Scope, " "))
	}
	if len(r.Details) > 0 {
		form.Set("authorization_details", string(token.AppendDetails(nil, r.Details)))
	}
	for _, resource := range append([]string{r.Resource}, r.Resources...) {
		if resource != "" && !slices.Contains(form["resource"], resource) {
			form.Add("resource", resource)
		}
	}
	for name, value := range map[string]string{"may_act": string(r.MayAct), "access_token_signing_alg": r.Algorithm} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if err := a.settle(ctx); err != nil {
		return nil, err
	}
	where, err := a.endpoint(ctx, func(m *Metadata) string { return m.TokenEndpoint }, "")
	if err != nil {
		return nil, err
	}
	asked := a.now()
	answer, h, err := a.post(ctx, where, form, true)
	if err != nil {
		return nil, err
	}
	t, err := a.parseToken(answer, asked, r.Scope)
	if err != nil {
		return nil, err
	}
	t.signer = h.signer
	return t, nil
}

// maxLife bounds how long a token is believed to live, whatever the server says.
const maxLife = 24 * time.Hour

// parseToken reads the answer of a token endpoint (RFC 6749 section 5.1). A token that is not bound to
// our key is refused: it was asked for with a proof (RFC 9449 section 5).
func (a *Agent) parseToken(answer []byte, asked time.Time, wanted []string) (*Token, error) {
	var w struct {
		AccessToken string          `json:"access_token"`
		Type        string          `json:"token_type"`
		IssuedType  string          `json:"issued_token_type"`
		ExpiresIn   int64           `json:"expires_in"`
		Scope       *string         `json:"scope"`
		Details     json.RawMessage `json:"authorization_details"`
		Refused     json.RawMessage `json:"refused"` // of this service; to others it may mean something else
		Issuer      string          `json:"iss"`
	}
	if err := json.Unmarshal(answer, &w); err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "the server's answer is no token: it is no JSON of that form")
	}
	life := time.Duration(min(w.ExpiresIn, int64(maxLife/time.Second))) * time.Second
	t := &Token{Value: w.AccessToken, Type: "DPoP", now: a.now, at: asked, ExpiresAt: asked.Add(life)}
	// Another one is got when a fifth of the life is left, a minute at most; in its last seconds a
	// token is not shown, lest it ends on its way.
	t.refreshAt = t.ExpiresAt.Add(-min(life/5, time.Minute))
	t.useUntil = t.ExpiresAt.Add(-min(life/20, 5*time.Second))
	switch {
	case w.Issuer != "" && w.Issuer != a.issuer:
		return nil, &Error{Code: CodeIssuer, Message: fmt.Sprintf("asked %s, and %.200q answered", a.issuer, w.Issuer), kind: authz.ErrForbidden}
	case w.AccessToken == "" || len(w.AccessToken) > token.MaxToken || strings.ContainsFunc(w.AccessToken, func(c rune) bool { return c <= ' ' || c > '~' }):
		return nil, authz.Errorf(authz.ErrUnavailable, "the server's answer has no token, or one that fits no header")
	case !strings.EqualFold(w.Type, "DPoP"):
		return nil, authz.Errorf(authz.ErrForbidden, "the server gave a token of the type %.40q, which is not bound to the agent's key", w.Type)
	case w.IssuedType != "" && w.IssuedType != accessTokenType && w.IssuedType != "urn:ietf:params:oauth:token-type:jwt":
		return nil, authz.Errorf(authz.ErrForbidden, "the server gave a %.100q, not an access token", w.IssuedType)
	case life <= 0:
		return nil, authz.Errorf(authz.ErrUnavailable, "the server does not say how long its token lives")
	}
	t.Scope = wanted // RFC 6749 section 5.1: left out if it is what was asked for
	if w.Scope != nil {
		t.Scope = strings.Fields(*w.Scope)
	}
	if json.Unmarshal(w.Refused, &t.Refused) != nil {
		t.Refused = nil
	}
	if len(w.Details) > 0 {
		details, err := token.ParseDetails(w.Details)
		if err != nil {
			return nil, authz.Errorf(authz.ErrUnavailable, "reading what the server granted: %w", err)
		}
		t.Details = details
	}
	return t, nil
}
