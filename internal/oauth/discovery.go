package oauth

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A keySource has the keys of an issuer, from where its metadata says.
type keySource struct {
	fetch   *outbound.Client
	now     func() time.Time
	issuer  string
	keysURL string // "": found by discovery

	mu       sync.Mutex
	doc      *outbound.Document
	keys     []*token.Key
	metadata *outbound.Document
	found    string // jwks_uri of metadata
}

// outage is how long the keys of an issuer that cannot be asked go on counting, from when it was
// asked last. Without it nobody could authenticate while an issuer restarts.
const outage = time.Hour

// key returns the key that made a signature, by its kid or, if that is missing, the only one that
// fits. If there is none the issuer is asked again, at most once a minute: it may have rotated.
func (s *keySource) key(ctx context.Context, jws *token.JWS) (*token.Key, error) {
	for _, get := range []func(context.Context, string) (*outbound.Document, error){s.fetch.Get, s.fetch.Renew} {
		keys, err := s.read(ctx, get)
		if err != nil {
			return nil, err
		}
		if k := pick(keys, jws); k != nil {
			return k, nil
		}
	}
	return nil, authz.Errorf(authz.ErrUnauthenticated, "the issuer has no key %.100q that fits", jws.KeyID)
}

// pick returns the one key that a JWS names or, if it names none, the only one that fits.
func pick(keys []*token.Key, jws *token.JWS) (found *token.Key) {
	for _, k := range keys {
		if (jws.KeyID == "" || k.Name == jws.KeyID || k.ID == jws.KeyID) && slices.Contains(k.Algorithms(), jws.Algorithm) {
			if found != nil {
				return nil
			}
			found = k
		}
	}
	return found
}

// read returns the issuer's keys.
func (s *keySource) read(ctx context.Context, get func(context.Context, string) (*outbound.Document, error)) ([]*token.Key, error) {
	doc, err := s.document(ctx, get)
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, authz.ErrUnavailable) && s.doc != nil && s.now().Before(s.doc.FetchedAt.Add(outage)) {
		return s.keys, nil
	}
	if err != nil || doc == s.doc {
		return s.keys, err
	}
	keys, err := token.ParseKeySet(doc.Body)
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "reading the keys of %q: %w", s.issuer, err)
	}
	s.doc, s.keys = doc, keys
	return keys, nil
}

// document returns the issuer's key set.
func (s *keySource) document(ctx context.Context, get func(context.Context, string) (*outbound.Document, error)) (*outbound.Document, error) {
	if s.keysURL != "" {
		return get(ctx, s.keysURL)
	}
	address, err := s.discover(ctx)
	if err != nil {
		return nil, err
	}
	return get(ctx, address)
}

// discover returns the address of the issuer's key set.
func (s *keySource) discover(ctx context.Context) (string, error) {
	var errs []error
	for _, address := range discoveryURLs(s.issuer) {
		doc, err := s.fetch.Get(ctx, address)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.mu.Lock()
		known := doc == s.metadata
		found := s.found
		s.mu.Unlock()
		if known {
			return found, nil
		}
		if found, err = parseDiscovery(doc.Body, s.issuer); err == nil {
			err = s.fetch.Check(found)
		}
		if err != nil {
			return "", authz.Errorf(authz.ErrUnavailable, "reading the metadata of %q: %w", s.issuer, err)
		}
		s.mu.Lock()
		s.metadata, s.found = doc, found
		s.mu.Unlock()
		return found, nil
	}
	return "", authz.Errorf(authz.ErrUnavailable, "finding the metadata of %q: %w", s.issuer, errors.Join(errs...))
}

// discoveryURLs returns where an issuer's metadata may be: as OpenID Connect Discovery has it, and as
// RFC 8414, section 3.1, has it.
func discoveryURLs(issuer string) []string {
	urls := []string{strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"}
	if u, err := url.Parse(issuer); err == nil {
		path := strings.TrimSuffix(u.EscapedPath(), "/")
		urls = append(urls, u.Scheme+"://"+u.Host+"/.well-known/oauth-authorization-server"+path)
	}
	return urls
}

// parseDiscovery returns the jwks_uri of an issuer's metadata (RFC 8414, section 2), whose issuer
// must be exactly the one that was asked (section 3.3). What else it says does not matter here.
func parseDiscovery(doc []byte, issuer string) (string, error) {
	var m struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(doc, &m); err != nil {
		return "", authz.Errorf(authz.ErrInvalid, "it is no JSON object of metadata")
	}
	if m.Issuer != issuer {
		return "", authz.Errorf(authz.ErrInvalid, "it is of issuer %.200q", m.Issuer)
	}
	if u, err := url.Parse(m.Keys); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", authz.Errorf(authz.ErrInvalid, "its jwks_uri is missing")
	}
	return m.Keys, nil
}
