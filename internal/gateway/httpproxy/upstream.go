package httpproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// An Upstream is a server behind the proxy. NewUpstream makes one.
type Upstream struct {
	Name       string
	Credential string // by name; "" for none
	KeepHost   bool   // the Host header is passed on as the agent wrote it
	Cookies    bool   // Set-Cookie is passed to the agent

	url       *url.URL
	transport http.RoundTripper
	failed    atomic.Pointer[time.Time] // since when nobody could connect to it; nil if somebody could last
}

// seen takes note of whether the server could be reached. What comes after a connection stands does not count: agents can
// bring that about.
func (u *Upstream) seen(err error) {
	var op *net.OpError
	switch {
	case err == nil:
		if u.failed.Load() != nil {
			u.failed.Store(nil)
		}
	case errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, context.Canceled):
		now := time.Now()
		u.failed.CompareAndSwap(nil, &now)
	}
}

// TLSConfig is how an upstream is reached by TLS. nil fields are the system's.
type TLSConfig struct {
	Roots       *x509.CertPool
	Certificate *tls.Certificate
}

// NewUpstream returns the server at that URL, whose path, if any, is put before every path. authz.ErrInvalid: it is no URL.
func NewUpstream(name, base string, t TLSConfig) (*Upstream, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(base, "#") {
		return nil, authz.Errorf(authz.ErrInvalid, "the upstream's URL is http or https, a host and perhaps a path, and nothing else")
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.Roots}
	if t.Certificate != nil {
		tlsConfig.Certificates = []tls.Certificate{*t.Certificate}
	}
	return &Upstream{
		Name: name, url: u,
		transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        tlsConfig,
			TLSHandshakeTimeout:    5 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           1024,
			MaxIdleConnsPerHost:    512,
			IdleConnTimeout:        90 * time.Second,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // what the agent did not ask for is not added
			ReadBufferSize:         16 << 10,
			WriteBufferSize:        16 << 10,
		},
	}, nil
}

// target sets where out goes: the path as it was sent, below the upstream's own.
func (u *Upstream) target(out *http.Request, in *http.Request) {
	base := strings.TrimSuffix(u.url.EscapedPath(), "/")
	t := *in.URL
	t.Scheme, t.Host, t.User, t.Fragment, t.RawFragment = u.url.Scheme, u.url.Host, nil, "", ""
	if base != "" {
		t.Path = strings.TrimSuffix(u.url.Path, "/") + in.URL.Path
		t.RawPath = base + in.URL.EscapedPath()
	}
	out.URL = &t
	out.Host = ""
	if u.KeepHost {
		out.Host = in.Host
	}
}
