// Package outbound fetches documents whose addresses others name: client ID metadata documents, key
// sets, discovery documents, trust bundles. It sends what is to be told to addresses that others name, too.
//
// Whoever names an address must not be able to make us speak to what only we can reach (server-side
// request forgery). So an address is refused where the connection is made, after the name was
// resolved: a name that resolves to something else the second time gains nothing. Only https is
// spoken, no redirect is followed, no proxy is asked, and time and size are bounded.
//
// The package does not know what the documents mean, nor what is sent.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// MaxURL is the most bytes of an address that is asked.
const MaxURL = 2048

// Config says what a Client may reach. The zero Config is the safest.
type Config struct {
	// AllowPrivate lets the client reach private, loopback and link-local addresses, and speak plain
	// http with loopback. It is for addresses that the operator named, and for tests: with it, a
	// stranger who names an address makes us ask our own network.
	AllowPrivate bool

	// Allow are networks that may be reached although they are not public.
	Allow []netip.Prefix

	// RootCAs are who certificates must come from: by default those whom the system trusts.
	RootCAs *x509.CertPool

	// TLS is how servers prove who they are, instead of by RootCAs.
	TLS *tls.Config

	// Authorization returns what the header of that name says; it is asked for each request. By
	// default the header is not sent. Documents may name other hosts, so RootCAs or TLS must be set
	// with it: nobody else but who has a certificate of theirs is told.
	Authorization func() (string, error)

	MaxBytes int64         // of a document: 256 KiB by default
	Timeout  time.Duration // of a whole request: 5 seconds by default

	// A document, and a failure to get one, is kept at least MinAge, a minute by default, and at most
	// MaxAge, an hour by default; between them as its Cache-Control says, and 5 minutes if it says nothing.
	MinAge, MaxAge time.Duration

	MaxDocuments int // that are kept: 1000 by default
	MaxRequests  int // at once: 16 by default

	Now func() time.Time // time.Now by default
}

// withDefaults returns c with what is not set.
func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.Timeout, 5*time.Second)
	def(&c.MinAge, time.Minute)
	def(&c.MaxAge, max(time.Hour, c.MinAge))
	if c.MaxBytes <= 0 {
		c.MaxBytes = 256 << 10
	}
	if c.MaxDocuments <= 0 {
		c.MaxDocuments = 1000
	}
	if c.MaxRequests <= 0 {
		c.MaxRequests = 16
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// A Client fetches documents and keeps them for a while. It is safe for concurrent use.
type Client struct {
	cfg   Config
	http  *http.Client
	slots chan struct{} // one for each request at once
	cache cache
}

// New returns a client.
func New(cfg Config) *Client {
	c := &Client{cfg: cfg.withDefaults()}
	trust := c.cfg.TLS
	if trust == nil {
		trust = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.cfg.RootCAs}
	}
	dialer := &net.Dialer{Timeout: c.cfg.Timeout, ControlContext: c.control}
	c.http = &http.Client{
		Timeout: c.cfg.Timeout,
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy would resolve the name itself
			DialContext:            dialer.DialContext,
			TLSClientConfig:        trust,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    c.cfg.Timeout,
			ResponseHeaderTimeout:  c.cfg.Timeout,
			MaxResponseHeaderBytes: 16 << 10,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    1,
			MaxConnsPerHost:        4,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.slots = make(chan struct{}, c.cfg.MaxRequests)
	c.cache.init(c.cfg.MaxDocuments)
	return c
}

// Check returns authz.ErrInvalid if the client would never ask that address. An address that passes
// may still lead to a network that is refused.
func (c *Client) Check(address string) error {
	_, err := c.parse(address)
	return err
}

// parse reads an address, strictly.
func (c *Client) parse(address string) (*url.URL, error) {
	if len(address) > MaxURL {
		return nil, authz.Errorf(authz.ErrInvalid, "an address has at most %d bytes", MaxURL)
	}
	for i := range len(address) {
		if b := address[i]; b <= ' ' || b >= 0x7f || b == '\\' {
			return nil, authz.Errorf(authz.ErrInvalid, "an address has printable ASCII characters only: %.100q", address)
		}
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, authz.Errorf(authz.ErrInvalid, "no address: %.100q", address)
	case u.Opaque != "" || u.Hostname() == "":
		return nil, authz.Errorf(authz.ErrInvalid, "an address names a host: %.100q", address)
	case u.User != nil:
		return nil, authz.Errorf(authz.ErrInvalid, "an address names no user: the host is %.100q", u.Hostname())
	case strings.Contains(address, "#"):
		return nil, authz.Errorf(authz.ErrInvalid, "an address has no fragment: %.100q", address)
	case u.Scheme == "https", u.Scheme == "http" && c.cfg.AllowPrivate && loopback(u.Hostname()):
		return u, nil
	}
	return nil, authz.Errorf(authz.ErrInvalid, "an address begins with https://: %.100q", address)
}

// loopback reports whether a host of an address is this machine without asking anybody.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// fetch asks for a document. Every failure is authz.ErrUnavailable but a bad address.
func (c *Client) fetch(ctx context.Context, address string) (*Document, error) {
	u, err := c.parse(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, unavailable(u, errors.New("too many requests at once"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "no address: %.100q", address)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json;q=0.9")
	req.Header.Set("User-Agent", "safeconduct")
	if c.cfg.Authorization != nil {
		if c.cfg.RootCAs == nil && c.cfg.TLS == nil {
			return nil, unavailable(u, errors.New("the Authorization header is sent only to servers whose certificate authority is configured"))
		}
		header, err := c.cfg.Authorization()
		if err != nil {
			return nil, unavailable(u, err)
		}
		req.Header.Set("Authorization", header)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unavailable(u, reason(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, unavailable(u, fmt.Errorf("status %d", resp.StatusCode))
	}
	if resp.ContentLength > c.cfg.MaxBytes {
		return nil, unavailable(u, fmt.Errorf("more than %d bytes", c.cfg.MaxBytes))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBytes+1))
	if err != nil {
		return nil, unavailable(u, reason(err))
	}
	if int64(len(body)) > c.cfg.MaxBytes {
		return nil, unavailable(u, fmt.Errorf("more than %d bytes", c.cfg.MaxBytes))
	}
	now := c.cfg.Now()
	return &Document{Body: body, FetchedAt: now, Until: now.Add(c.age(resp.Header))}, nil
}

// unavailable returns authz.ErrUnavailable. It names the host only: a path may be somebody's secret.
func unavailable(u *url.URL, err error) error {
	return authz.Errorf(authz.ErrUnavailable, "fetching from %.100q: %w", u.Host, err)
}

// reason leaves out the address that net/http writes before what went wrong.
func reason(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
