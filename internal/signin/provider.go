package signin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/safeconduct/safeconduct/authz"
)

// A Provider is the organisation's identity provider.
type Provider struct {
	Name         string       // on the page; "your organisation" by default
	Issuer       string       // https, or http on loopback
	ClientID     string       // of this service
	ClientSecret string       // "" for a public client: PKCE is used always
	Scopes       []string     // besides openid: profile and email by default
	Claims       []string     // of the ID token that groups of approvers may ask for: groups by default
	Roles        []Grant      // what the ID token makes of whoever signs in: nothing by default
	Provision    bool         // make a person of whoever signs in and is not known by another name; otherwise an administrator must have put them
	Client       *http.Client // http.DefaultTransport with a timeout of 10 s by default
}

// Bounds of what a provider tells.
const (
	maxProviderBody = 1 << 20
	maxClaimValues  = 200
	providerTimeout = 10 * time.Second
)

// A provider is a Provider in use.
type provider struct {
	Provider
	redirect string
	now      func() time.Time
	slots    chan struct{} // as many requests to the provider at once

	mu       sync.Mutex
	found    *oidc.Provider // nil until the provider has been reached
	answers  bool           // whether it names itself in its answers (RFC 9207)
	tried    time.Time
	lastFail error
}

func newProvider(p Provider, redirect string, now func() time.Time) (*provider, error) {
	u, err := url.Parse(p.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopbackHost(u.Hostname())) {
		return nil, authz.Errorf(authz.ErrInvalid, "the identity provider's issuer %.256q must be an https URL", p.Issuer)
	}
	if p.ClientID == "" {
		return nil, authz.Errorf(authz.ErrInvalid, "the identity provider's client_id is missing")
	}
	if p.Name == "" {
		p.Name = "your organisation"
	}
	if p.Scopes == nil {
		p.Scopes = []string{"profile", "email"}
	}
	if p.Claims == nil {
		p.Claims = []string{"groups"}
	}
	client := http.Client{Timeout: providerTimeout}
	if p.Client != nil {
		client = *p.Client
	}
	if client.Transport == nil {
		client.Transport = http.DefaultTransport
	}
	client.Transport = bounded{client.Transport}
	// Where the provider is, its metadata says: a redirect leads somewhere else.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p.Client = &client
	return &provider{Provider: p, redirect: redirect, now: now, slots: make(chan struct{}, 8)}, nil
}

func loopbackHost(host string) bool {
	return host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1"
}

// bounded bounds the bodies of answers.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxProviderBody), resp.Body}
	}
	return resp, err
}

// discover returns the provider's metadata, which is fetched when it is first needed: the service starts
// without its provider. It returns authz.ErrUnavailable.
func (p *provider) discover(ctx context.Context) (*oidc.Provider, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, p.answers, nil
	}
	if p.lastFail != nil && p.now().Sub(p.tried) < 5*time.Second {
		return nil, false, p.lastFail
	}
	p.tried = p.now()
	// The context given to the library serves later fetches of keys too: it must not end with this request.
	lasting := oidc.ClientContext(context.WithoutCancel(ctx), p.Client)
	found, err := oidc.NewProvider(lasting, p.Issuer)
	if err != nil {
		p.lastFail = authz.Errorf(authz.ErrUnavailable, "reaching the identity provider: %w", err)
		return nil, false, p.lastFail
	}
	var meta struct {
		Answers bool `json:"authorization_response_iss_parameter_supported"`
	}
	if err := found.Claims(&meta); err != nil {
		p.lastFail = authz.Errorf(authz.ErrUnavailable, "reading the identity provider's metadata: %w", err)
		return nil, false, p.lastFail
	}
	p.found, p.answers, p.lastFail = found, meta.Answers, nil
	return found, meta.Answers, nil
}

func (p *provider) config(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: found.Endpoint(), RedirectURL: p.redirect,
		Scopes: append([]string{oidc.ScopeOpenID}, p.Scopes...),
	}
}

// destination is where somebody may be sent after signing in: our own pages of asks, and the console's. It is a path,
// so that it cannot lead to another host, and has no empty parts; web/sign-in.js has the same rules.
var destination = regexp.MustCompile(`^/(asks(/[A-Za-z0-9_-]{1,64})?|console(/([A-Za-z0-9._~:@-]|%[0-9A-F]{2})+)*/?(\?[A-Za-z0-9._~:@%&=+,/*-]*)?)$`)

// astray is what a path must not have: parts that begin with a dot, or hold a slash once they are decoded.
var astray = regexp.MustCompile(`/(\.|%2E)|%(2F|5C)`)

const maxDestination = 1000

// leads reports whether to is a page of ours that somebody may be sent to after signing in.
func leads(to string) bool {
	path, _, _ := strings.Cut(to, "?")
	return len(to) <= maxDestination && destination.MatchString(to) && !astray.MatchString(path)
}

// beginProvider sends somebody to the identity provider.
func (d *Door) beginProvider(w http.ResponseWriter, r *http.Request) {
	err := func() error {
		if d.idp == nil {
			return authz.Errorf(authz.ErrNotFound, "there is no identity provider")
		}
		release, err := d.idp.slot(r.Context())
		if err != nil {
			return err
		}
		defer release()
		found, _, err := d.idp.discover(r.Context())
		if err != nil {
			return err
		}
		f := flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Return: d.cfg.Home}
		if to := r.URL.Query().Get("return"); leads(to) {
			f.Return = to
		}
		if err := d.keepFlow(w, flowProvider, f); err != nil {
			return err
		}
		to := d.idp.config(found).AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier))
		secure(w.Header())
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}()
	if err != nil {
		d.pages.failed(w, r, err)
	}
}

// finishProvider takes somebody in whom the identity provider sends back. It answers with a page and not
// with a redirect: a browser does not send a strict cookie along a way that began at another site.
func (d *Door) finishProvider(w http.ResponseWriter, r *http.Request) {
	to, err := d.takeIn(w, r)
	if err != nil {
		d.pages.failed(w, r, err)
		return
	}
	d.pages.onward(w, to)
}

func (d *Door) takeIn(w http.ResponseWriter, r *http.Request) (to string, err error) {
	if d.idp == nil {
		return "", authz.Errorf(authz.ErrNotFound, "there is no identity provider")
	}
	f, err := d.takeFlow(w, r, flowProvider)
	if err != nil {
		return "", err
	}
	q := r.URL.Query()
	for name, values := range q {
		if len(values) != 1 {
			return "", authz.Errorf(authz.ErrInvalid, "the identity provider's answer has %.32q more than once", name)
		}
	}
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(f.State)) != 1 {
		return "", authz.Errorf(authz.ErrForbidden, "the identity provider's answer belongs to another sign-in: begin again")
	}
	release, err := d.idp.slot(r.Context())
	if err != nil {
		return "", err
	}
	defer release()
	found, answers, err := d.idp.discover(r.Context())
	if err != nil {
		return "", err
	}
	// RFC 9207, 2.4: an answer of another issuer is none.
	if iss := q.Get("iss"); iss != "" && iss != d.idp.Issuer || iss == "" && answers {
		return "", authz.Errorf(authz.ErrForbidden, "the answer does not come from the identity provider")
	}
	if code := q.Get("error"); code != "" {
		return "", authz.Errorf(authz.ErrForbidden, "the identity provider says: %.64q", code)
	}
	l, who, err := d.idp.redeem(r.Context(), found, q.Get("code"), f)
	if err != nil {
		d.warn(r, "sign-in with the identity provider refused", "err", err)
		return "", err
	}
	p, err := d.cfg.People.ByIdentity(l.Issuer, l.Subject)
	if errors.Is(err, authz.ErrNotFound) {
		if !d.idp.Provision {
			d.warn(r, "sign-in of somebody who is not known here", "subject", l.Subject)
			return "", authz.Errorf(authz.ErrForbidden, "you are not known here: ask an administrator to add you, as subject %.128q of %s", l.Subject, l.Issuer)
		}
		if p, err = d.cfg.People.Provision(r.Context(), who, l.Names); err != nil {
			d.warn(r, "sign-in of somebody of whom no person was made", "subject", l.Subject, "err", err)
		}
	}
	if err != nil {
		return "", err
	}
	l.Person = p.ID
	token, s, err := d.cfg.People.SignIn(r.Context(), l)
	if err != nil {
		return "", err
	}
	return f.Return, d.setSession(w, token, s)
}

// slot waits until a request to the provider may begin.
func (p *provider) slot(ctx context.Context) (release func(), err error) {
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	case <-ctx.Done():
		return nil, authz.Errorf(authz.ErrUnavailable, "waiting for the identity provider: %w", ctx.Err())
	}
}
