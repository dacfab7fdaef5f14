package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

// Credentials are what the gateway shows to the servers behind it, by name. An agent never gets one to see: they are put into
// requests on their way out, and nothing of a request comes back but what its server echoes. Safe for concurrent use.
type Credentials struct {
	g      *Gateway
	byName map[string]*credential
	tokens tokenCache
}

// A credential is one of them, ready to be used.
type credential struct {
	name    string
	cfg     Credential
	secrets *secret.File
	cert    *tls.Certificate
	grant   *grant        // of tokens that are got elsewhere
	actor   *grant        // of the gateway's own token, for an exchange
	agent   *client.Agent // of tokens that are got from our own service
	nonce   atomic.Pointer[string]
}

// retryRest is how old a token must be that was got because the one before was refused, to be replaced for the same reason.
const retryRest = 30 * time.Second

func newCredentials(g *Gateway, roots *x509.CertPool) (*Credentials, error) {
	cs := &Credentials{g: g, byName: map[string]*credential{}}
	cs.tokens.init(g.common.Limits.Tokens, g.now)
	file, err := g.secrets()
	if err != nil {
		return nil, fmt.Errorf("opening the secrets: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(g.common.Credentials)) {
		c, err := cs.prepare(name, g.common.Credentials[name], file, roots)
		if err != nil {
			return nil, fmt.Errorf("credentials.%s: %w", name, err)
		}
		cs.byName[name] = c
	}
	return cs, nil
}

func (cs *Credentials) prepare(name string, cfg Credential, file *secret.File, roots *x509.CertPool) (*credential, error) {
	c := &credential{name: name, cfg: cfg, secrets: file}
	var err error
	if c.cert, err = cs.g.certificate(cfg.Cert, cfg.Key); err != nil {
		return nil, err
	}
	for _, ref := range []string{cfg.Value, cfg.Secret} {
		if ref == "" {
			continue
		}
		v, err := cs.secret(c, ref)
		if err != nil {
			return nil, err
		}
		if ref == cfg.Value && !fitsHeader(v) {
			return nil, authz.Errorf(authz.ErrInvalid, "the secret %s fits no header: it has a line break or other control characters", strings.TrimPrefix(ref, secretPrefix))
		}
	}
	switch {
	case cfg.Agent != "":
		if c.agent, err = client.LoadAgent(cs.g.common.Path(cfg.Agent)); err != nil {
			return nil, err
		}
		if want := cs.g.common.issuer(); cfg.Type == credExchange && c.agent.Issuer() != want {
			return nil, authz.Errorf(authz.ErrInvalid, "the agent's key is of %.200q, and passports of %s would be sent there to be exchanged (service.issuer)", c.agent.Issuer(), want)
		}
		c.agent.Now = cs.g.opts.Now
	case cfg.Type == credClient || cfg.Type == credExchange:
		var shown []tls.Certificate
		if c.cert != nil && cfg.Auth == byTLS {
			shown = append(shown, *c.cert)
		}
		out := cs.g.outbound(roots, shown...)
		make := func(resource, audience string) *grant {
			return &grant{o: cs.g.client, cfg: cfg, out: out, resource: resource, audience: audience,
				secret: func() (string, error) { return cs.secret(c, cfg.Secret) }}
		}
		c.grant = make(cfg.Resource, cfg.Audience)
		if cfg.Actor != "" {
			c.actor = make("", cfg.Actor)
			c.actor.cfg.Scopes = nil
		}
	}
	return c, nil
}

// secret returns what a reference names.
func (cs *Credentials) secret(c *credential, ref string) (string, error) {
	return c.secrets.Value(strings.TrimPrefix(ref, secretPrefix), cs.g.now())
}

func fitsHeader(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f })
}

// TLS returns the client certificate of a credential, to be shown to the server; nil if it has none.
func (cs *Credentials) TLS(name string) *tls.Certificate {
	if c := cs.byName[name]; c != nil {
		return c.cert
	}
	return nil
}

// Apply removes what the agent showed from r, a request that is about to be sent, and puts the named credential in its place; the
// name "" is that of none. authz.ErrUnavailable: it cannot be had now. authz.ErrForbidden: whoever issues it refused it for this
// caller. authz.ErrInvalid: there is none of that name. After an error r must not be sent.
func (cs *Credentials) Apply(ctx context.Context, name string, w *Who, r *http.Request) error {
	c := cs.byName[name]
	if c == nil {
		Strip(r.Header)
		stripTrailers(r.Trailer, "Authorization")
		if name == "" {
			return nil
		}
		return authz.Errorf(authz.ErrInvalid, "there is no credential of the name %.64q", name)
	}
	Strip(r.Header, c.cfg.Keep...)
	stripTrailers(r.Trailer, c.cfg.Header)
	err := cs.apply(ctx, c, w, r)
	cs.g.Metrics.credential(err)
	if err != nil {
		cs.g.Logger.WarnContext(ctx, "no credential for a server", "credential", name, "err", err)
	}
	return err
}

func (cs *Credentials) apply(ctx context.Context, c *credential, w *Who, r *http.Request) error {
	switch c.cfg.Type {
	case credHeader:
		value, err := cs.secret(c, c.cfg.Value)
		if err == nil && !fitsHeader(value) {
			err = errors.New("the secret fits no header")
		}
		if err != nil {
			return authz.Errorf(authz.ErrUnavailable, "the credential %s: %w", c.name, err)
		}
		removeLike(r.Header, c.cfg.Header)
		r.Header.Set(c.cfg.Header, *c.cfg.Prefix+value)
	case credClient, credExchange:
		t, err := cs.token(ctx, c, w)
		if err != nil {
			return err
		}
		if t.proof == nil {
			r.Header.Set("Authorization", "Bearer "+t.value)
			return nil
		}
		nonce := ""
		if n := c.nonce.Load(); n != nil {
			nonce = *n
		}
		proof, err := t.proof.Proof(r.Method, absolute(r.URL), nonce)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "DPoP "+t.value)
		r.Header.Set("Dpop", proof)
	}
	return nil
}

func absolute(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// cacheKey returns under which name a credential's token for a caller is kept. A token that was exchanged is kept for the one
// that it was exchanged for: another one of the same caller may carry less.
func (c *credential) cacheKey(w *Who) string {
	if c.cfg.Type == credClient {
		return c.name
	}
	sum := sha256.Sum256([]byte(w.Token))
	return c.name + "|" + hex.EncodeToString(sum[:]) + "|" + w.Key
}

func (cs *Credentials) token(ctx context.Context, c *credential, w *Who) (*issued, error) {
	if c.cfg.Type == credExchange && (w == nil || w.Token == "") {
		return nil, authz.Errorf(authz.ErrForbidden, "the credential %s: %w", c.name, errNoToken)
	}
	if c.cfg.Type == credExchange && !slices.Contains(c.cfg.SubjectIssuers, w.Issuer) {
		return nil, authz.Errorf(authz.ErrForbidden, "the credential %s: tokens of %.200q are not shown to whoever issues it (subject_issuers)", c.name, w.Issuer)
	}
	t, err := cs.tokens.get(ctx, c.cacheKey(w), cs.g.common.Limits.TokenTime, func(ctx context.Context) (*issued, error) {
		t, err := cs.fetch(ctx, c, w)
		if err == nil && c.cfg.Type == credExchange && !w.Expires.IsZero() && w.Expires.Before(t.expires) {
			t.expires = w.Expires
		}
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("the credential %s: %w", c.name, err)
	}
	return t, nil
}

// fetch gets a token.
func (cs *Credentials) fetch(ctx context.Context, c *credential, w *Who) (*issued, error) {
	if c.agent != nil {
		return cs.fetchPassport(ctx, c, w)
	}
	if c.cfg.Type == credClient {
		return c.grant.ask(ctx, url.Values{"grant_type": {"client_credentials"}})
	}
	form := url.Values{"grant_type": {grantExchange}, "subject_token": {w.Token}, "subject_token_type": {typeAccessToken}, "requested_token_type": {typeAccessToken}}
	if c.actor != nil {
		actor, err := cs.tokens.get(ctx, "actor|"+c.name, cs.g.common.Limits.TokenTime, func(ctx context.Context) (*issued, error) {
			return c.actor.ask(ctx, url.Values{"grant_type": {"client_credentials"}})
		})
		if err != nil {
			return nil, fmt.Errorf("the gateway's own token, as actor: %w", err)
		}
		form.Set("actor_token", actor.value)
		form.Set("actor_token_type", typeAccessToken)
	}
	return c.grant.ask(ctx, form)
}

// fetchPassport gets a passport from our own service, bound to the key of the gateway's agent.
func (cs *Credentials) fetchPassport(ctx context.Context, c *credential, w *Who) (*issued, error) {
	req := client.TokenRequest{Resource: c.cfg.Resource, Scope: c.cfg.Scopes}
	var t *client.Token
	var err error
	if c.cfg.Type == credClient {
		t, err = c.agent.Token(ctx, req)
	} else {
		t, err = c.agent.Exchange(ctx, w.Token, req)
	}
	if err != nil {
		kind := authz.ErrUnavailable
		if errors.Is(err, authz.ErrForbidden) || errors.Is(err, authz.ErrInvalid) {
			kind = authz.ErrForbidden
		}
		return nil, authz.Errorf(kind, "%s", clip(err.Error(), 300))
	}
	now := cs.g.now()
	life := t.ExpiresAt.Sub(now)
	return &issued{value: t.Value, proof: t, got: now, expires: t.ExpiresAt.Add(-min(life/5, 30*time.Second))}, nil
}

// Refused takes note of the answer 401 to a request that Apply prepared, and reports whether it is worth trying again, once,
// with what Apply puts there then: a token that was kept is dropped, unless it was got for this reason just now; a secret is
// what it is.
func (cs *Credentials) Refused(name string, w *Who, resp *http.Response) (again bool) {
	c := cs.byName[name]
	if c == nil || resp.StatusCode != http.StatusUnauthorized || resp.Request == nil || c.grant == nil && c.agent == nil {
		return false
	}
	if c.agent != nil {
		if n := resp.Header.Get("Dpop-Nonce"); n != "" && len(n) <= 512 && strings.Contains(strings.Join(resp.Header.Values("Www-Authenticate"), ","), codeNonce) {
			old := c.nonce.Swap(&n)
			return old == nil || *old != n
		}
	}
	_, shown, _ := strings.Cut(resp.Request.Header.Get("Authorization"), " ")
	if c.cfg.Type == credExchange && w == nil {
		return false
	}
	return cs.tokens.drop(c.cacheKey(w), shown)
}
