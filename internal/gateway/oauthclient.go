package gateway

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/outbound"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Names of token exchange (RFC 8693) and client assertions (RFC 7523).
const (
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	assertionType   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// assertionLife is how long a client assertion is good for: it is made for one request.
const assertionLife = time.Minute

// An oauthClient is the gateway as a client of authorization servers.
type oauthClient struct {
	g      *Gateway
	signer *token.Signer // nil if it has no key
}

func newOAuthClient(g *Gateway) (*oauthClient, error) {
	o := &oauthClient{g: g}
	file := g.common.Path(g.common.Client.Key)
	if file == "" {
		return o, nil
	}
	var key crypto.Signer
	key, err := client.LoadKey(file)
	if err != nil {
		return nil, fmt.Errorf("loading client.key: %w", err)
	}
	o.signer, err = token.NewSigner(key)
	return o, err
}

// A grant is what a credential asks an authorization server for. Its fields are set before it is used.
type grant struct {
	o        *oauthClient
	cfg      Credential
	out      *outbound.Client // with the client certificate, if it authenticates by one
	secret   func() (string, error)
	resource string
	audience string
}

// An issued token is what a server gave.
type issued struct {
	value   string
	expires time.Time // when it is not shown any more
	proof   *client.Token
	renewed bool // it was got because the one before was refused
	got     time.Time
}

const (
	maxIssued   = 16 << 10 // bytes of a token
	defaultLife = time.Minute
	maxLife     = time.Hour // a token is kept
)

// ask asks the token endpoint with a form. authz.ErrForbidden: the server refuses this; authz.ErrUnavailable: it cannot be had, or
// the server does not take the gateway for its client.
func (g *grant) ask(ctx context.Context, form url.Values) (*issued, error) {
	where, audience, err := g.endpoint(ctx)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"resource": g.resource, "audience": g.audience, "scope": strings.Join(g.cfg.Scopes, " ")} {
		if value != "" {
			form.Set(name, value)
		}
	}
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	if err := g.authenticate(h, form, audience); err != nil {
		return nil, err
	}
	now := g.o.g.now()
	resp, err := g.out.Post(ctx, where, h, []byte(form.Encode()))
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "asking for a token: %w", err)
	}
	if resp.Status != http.StatusOK {
		return nil, grantError(where, resp)
	}
	return readIssued(resp.Body, now, form.Get("grant_type") == grantExchange)
}

// endpoint returns the token endpoint, and for whom assertions are.
func (g *grant) endpoint(ctx context.Context) (where, audience string, err error) {
	if g.cfg.TokenURL != "" {
		return g.cfg.TokenURL, g.cfg.TokenURL, nil
	}
	m, err := discover(ctx, g.out, g.cfg.Issuer)
	if err != nil {
		return "", "", authz.Errorf(authz.ErrUnavailable, "%w", err)
	}
	if m.TokenURL == "" {
		return "", "", authz.Errorf(authz.ErrUnavailable, "%s names no token endpoint", g.cfg.Issuer)
	}
	return m.TokenURL, g.cfg.Issuer, nil
}

// clientID returns the name of the gateway at the server.
func (g *grant) clientID() string {
	if g.cfg.ClientID != "" {
		return g.cfg.ClientID
	}
	return g.o.g.clientDocumentURL()
}

// authenticate adds how the gateway authenticates (RFC 6749 section 2.3.1, RFC 7523 section 2.2, RFC 8705 section 2).
func (g *grant) authenticate(h http.Header, form url.Values, audience string) error {
	id := g.clientID()
	switch g.cfg.Auth {
	case byBasic, byPost:
		secret, err := g.secret()
		if err != nil {
			return authz.Errorf(authz.ErrUnavailable, "the client's secret: %w", err)
		}
		if g.cfg.Auth == byPost {
			form.Set("client_id", id)
			form.Set("client_secret", secret)
			return nil
		}
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret))))
		return nil
	case byKey:
		assertion, err := g.o.assertion(id, audience)
		if err != nil {
			return err
		}
		form.Set("client_id", id)
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
		return nil
	}
	form.Set("client_id", id)
	return nil
}

// assertion returns an assertion of the client for one request. Its audience is the issuer, or the token endpoint where no
// issuer is known.
func (o *oauthClient) assertion(id, audience string) (string, error) {
	now := o.g.now()
	payload, err := json.Marshal(map[string]any{
		"iss": id, "sub": id, "aud": audience, "jti": rand.Text(), "iat": now.Unix(), "nbf": now.Unix() - 5, "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	return o.signer.Sign("JWT", payload)
}

// grantError returns the error of an answer that is no token (RFC 6749 section 5.2). What it says comes from a server that the
// operator named; it may be logged, and is not shown to agents.
func grantError(where string, resp *outbound.Response) error {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(resp.Body, &e)
	text := clip(e.Error, 60)
	if e.Description != "" {
		text += " (" + clip(e.Description, 200) + ")"
	}
	kind := authz.ErrUnavailable
	switch e.Error {
	case "invalid_grant", "invalid_request", "invalid_scope", "invalid_target", "access_denied":
		if resp.Status >= 400 && resp.Status < 500 {
			kind = authz.ErrForbidden
		}
	}
	u, _ := url.Parse(where)
	return authz.Errorf(kind, "%.100s gives no token: status %d %s", u.Host, resp.Status, text)
}

// readIssued reads the answer of a token endpoint (RFC 6749 section 5.1, RFC 8693 section 2.2.1).
func readIssued(text []byte, now time.Time, exchanged bool) (*issued, error) {
	bad := func(what string) (*issued, error) {
		return nil, authz.Errorf(authz.ErrUnavailable, "the authorization server's answer %s", what)
	}
	if strictObject(text) != nil {
		return bad("is no JSON object")
	}
	var w struct {
		Token      string          `json:"access_token"`
		Type       string          `json:"token_type"`
		IssuedType string          `json:"issued_token_type"`
		ExpiresIn  json.RawMessage `json:"expires_in"`
	}
	if err := json.Unmarshal(text, &w); err != nil {
		return bad("is not what was expected")
	}
	life := defaultLife
	if len(w.ExpiresIn) > 0 {
		d, err := time.ParseDuration(strings.Trim(string(w.ExpiresIn), `"`) + "s") // some servers write it as text
		if err != nil || d <= 0 {
			return bad("does not say how long the token lives")
		}
		life = min(d, maxLife)
	}
	switch {
	case w.Token == "" || len(w.Token) > maxIssued || strings.ContainsFunc(w.Token, func(c rune) bool { return c <= ' ' || c > '~' }):
		return bad("has no token, or one that fits no header")
	case !strings.EqualFold(w.Type, "Bearer"):
		return bad("has a token of another type than Bearer, which was not asked for")
	case exchanged && w.IssuedType != typeAccessToken && w.IssuedType != typeJWT:
		return bad("has something else than an access token")
	}
	return &issued{value: w.Token, got: now, expires: now.Add(life - min(life/5, 30*time.Second))}, nil
}

// certificate loads a client certificate, nil if none is named.
func (g *Gateway) certificate(cert, key string) (*tls.Certificate, error) {
	if cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(g.common.Path(cert), g.common.Path(key))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "loading a client certificate: %w", err)
	}
	return &pair, nil
}

var errNoToken = errors.New("the caller showed no token that could be exchanged")
