package oauth

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

// A bundleSource has the newest bundle of a trust domain: the keys and authorities of its SVIDs.
type bundleSource struct {
	name  spiffeid.TrustDomain
	fetch *outbound.Client
	file  string // "": by url
	url   string
	now   func() time.Time

	mu      sync.Mutex
	bundle  *spiffebundle.Bundle // nil before the first is read
	read    time.Time            // when bundle was read, or asked for in vain
	fetched time.Time            // when bundle was read from url
	changed time.Time            // of the file
	doc     *outbound.Document
}

// maxBundle is the most bytes of a bundle's file.
const maxBundle = 1 << 20

// fileRest is how long a file is not looked at again.
const fileRest = 10 * time.Second

func (s *bundleSource) init(name spiffeid.TrustDomain, d TrustDomain, cfg Config) error {
	s.name, s.now, s.fetch, s.url = name, cfg.Now, d.Fetch, d.BundleURL
	if s.fetch == nil {
		s.fetch = cfg.Clients.Fetch
	}
	switch {
	case d.EndpointID != "":
		id, err := spiffeid.FromString(d.EndpointID)
		if err != nil || d.BundleURL == "" || d.BundleFile == "" {
			return authz.Errorf(authz.ErrInvalid, "the profile https_spiffe needs an endpoint's SPIFFE ID, its URL, and a file with the first bundle")
		}
		if s.bundle, err = readBundle(name, d.BundleFile); err != nil {
			return err
		}
		s.fetch = outbound.New(outbound.Config{
			AllowPrivate: d.AllowPrivate, MaxBytes: maxBundle, Now: cfg.Now,
			TLS: tlsconfig.TLSClientConfig(authorities{s}, tlsconfig.AuthorizeID(id)),
		})
	case (d.BundleFile == "") == (d.BundleURL == ""):
		return authz.Errorf(authz.ErrInvalid, "want its bundle either in a file or at a URL")
	case d.BundleFile != "":
		s.file = d.BundleFile
		_, err := s.fromFile(s.now())
		return err
	}
	return s.fetch.Check(s.url)
}

// get returns the bundle, or authz.ErrUnavailable. If renew is set something was shown that the
// bundle does not account for, and a newer one is asked for, at most once a minute.
func (s *bundleSource) get(ctx context.Context, renew bool) (*spiffebundle.Bundle, error) {
	if s.file != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.fromFile(s.now())
	}
	ask := s.fetch.Get
	if renew {
		ask = s.fetch.Renew
	}
	doc, err := ask(ctx, s.url)
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, authz.ErrUnavailable) && s.bundle != nil && s.now().Before(s.fetched.Add(outage)) {
		return s.bundle, nil
	}
	if err != nil || doc == s.doc {
		return s.bundle, err
	}
	b, err := parseBundle(s.name, doc.Body)
	if err != nil {
		return nil, err
	}
	s.bundle, s.doc, s.fetched = b, doc, doc.FetchedAt
	return b, nil
}

// fromFile returns the file's bundle, reading it again if it has changed. A file that cannot be read
// any more counts as it was: SPIRE's helpers replace it without locking. The caller holds s.mu,
// unless nobody else knows s yet.
func (s *bundleSource) fromFile(now time.Time) (*spiffebundle.Bundle, error) {
	if s.bundle != nil && now.Before(s.read.Add(fileRest)) {
		return s.bundle, nil
	}
	s.read = now
	info, err := os.Stat(s.file)
	if err == nil && s.bundle != nil && info.ModTime().Equal(s.changed) {
		return s.bundle, nil
	}
	b, err := readBundle(s.name, s.file)
	switch {
	case err == nil:
		s.bundle, s.changed = b, info.ModTime()
	case s.bundle == nil:
		return nil, err
	}
	return s.bundle, nil
}

// readBundle reads a bundle from a file.
func readBundle(name spiffeid.TrustDomain, path string) (*spiffebundle.Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading its bundle: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBundle+1))
	if err != nil || len(b) > maxBundle {
		return nil, authz.Errorf(authz.ErrInvalid, "reading its bundle from %s: want at most %d bytes", path, maxBundle)
	}
	bundle, err := parseBundle(name, b)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "%s: %w", path, err)
	}
	return bundle, nil
}

// parseBundle reads a bundle, which must hold something.
func parseBundle(name spiffeid.TrustDomain, text []byte) (*spiffebundle.Bundle, error) {
	b, err := spiffebundle.Parse(name, text)
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "reading the bundle of trust domain %q: %w", name.Name(), err)
	}
	if len(b.X509Authorities()) == 0 && len(b.JWTAuthorities()) == 0 {
		return nil, authz.Errorf(authz.ErrUnavailable, "the bundle of trust domain %q is empty", name.Name())
	}
	return b, nil
}

// authorities are those of the bundle that is known, for the connection that fetches the next one.
type authorities struct{ s *bundleSource }

// GetX509BundleForTrustDomain returns the X.509 authorities of the trust domain.
func (a authorities) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return a.s.bundle.GetX509BundleForTrustDomain(td)
}
