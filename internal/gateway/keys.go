package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
	"github.com/safeconduct/safeconduct/internal/token"
)

// issuerKeys are the keys of one authorization server. They are fetched when they are needed, kept as long as the server
// says within a minute and an hour, and fetched anew for a key that is not among them, at most once a minute.
type issuerKeys struct {
	issuer string
	url    string // of the key set; "" if it has to be discovered
	out    *outbound.Client
	now    func() time.Time

	mu   sync.Mutex
	doc  *outbound.Document // that keys was read from
	keys []*token.Key
}

// staleKeys is for how long keys count, after the time for which they may be kept, that cannot be had again: a server that is down for a while stops nobody, and one
// that takes a key back is heard before long.
const staleKeys = 15 * time.Minute

// errNoKey says that no key of the issuer fits.
var errNoKey = authz.Errorf(authz.ErrUnauthenticated, "it is signed by no key of its issuer")

// verify verifies a token by the issuer's keys and returns which key it was. authz.ErrUnauthenticated: it is not signed by
// any; authz.ErrUnavailable: the keys cannot be had.
func (k *issuerKeys) verify(ctx context.Context, jws *token.JWS) (*token.Key, error) {
	for _, renew := range []bool{false, true} {
		keys, err := k.set(ctx, renew)
		if err != nil {
			return nil, err
		}
		if found := candidates(keys, jws); len(found) > 0 {
			for _, key := range found {
				if jws.Verify(key) == nil {
					return key, nil
				}
			}
			return nil, errNoKey
		}
	}
	return nil, errNoKey
}

// has reports whether a key is still the issuer's.
func (k *issuerKeys) has(ctx context.Context, id string) bool {
	keys, err := k.set(ctx, false)
	return err == nil && slices.ContainsFunc(keys, func(key *token.Key) bool { return key.ID == id })
}

// candidates returns the keys that a token may have been signed by: those of its kid, or the only one that fits its
// algorithm if it names none.
func candidates(keys []*token.Key, jws *token.JWS) (found []*token.Key) {
	for _, key := range keys {
		if slices.Contains(key.Algorithms(), jws.Algorithm) && (jws.KeyID == "" || key.Name == jws.KeyID) {
			found = append(found, key)
		}
	}
	if jws.KeyID == "" && len(found) > 1 || len(found) > 4 {
		return nil
	}
	return found
}

// set returns the keys; with renew those that the server has now, if they were not asked for just before.
func (k *issuerKeys) set(ctx context.Context, renew bool) ([]*token.Key, error) {
	now := k.now()
	if !renew {
		k.mu.Lock()
		if k.doc != nil && now.Before(k.doc.Until) {
			defer k.mu.Unlock()
			return k.keys, nil
		}
		k.mu.Unlock()
	}
	get := k.out.Get
	if renew {
		get = k.out.Renew
	}
	doc, err := k.fetch(ctx, get)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && doc != k.doc {
		keys, perr := token.ParseKeySet(doc.Body)
		if perr == nil {
			k.doc, k.keys = doc, keys
		}
		err = perr
	}
	if err == nil {
		return k.keys, nil
	}
	if k.doc != nil && now.Before(k.doc.Until.Add(staleKeys)) {
		return k.keys, nil
	}
	return nil, authz.Errorf(authz.ErrUnavailable, "the keys of %s cannot be had: %v", k.issuer, err)
}

func (k *issuerKeys) fetch(ctx context.Context, get func(context.Context, string) (*outbound.Document, error)) (*outbound.Document, error) {
	where := k.url
	if where == "" {
		m, err := discover(ctx, k.out, k.issuer)
		if err != nil {
			return nil, err
		}
		if where = m.KeySet; where == "" {
			return nil, errors.New("its metadata names no jwks_uri")
		}
	}
	return get(ctx, where)
}

// serverMetadata is what an authorization server says of itself, as far as it matters here (RFC 8414 section 2).
type serverMetadata struct {
	Issuer   string `json:"issuer"`
	TokenURL string `json:"token_endpoint"`
	KeySet   string `json:"jwks_uri"`
}

// discover returns what the issuer says of itself. Whoever says to be another one is not heard (RFC 8414 section 3.3, OpenID
// Connect Discovery section 4.3).
func discover(ctx context.Context, out *outbound.Client, issuer string) (*serverMetadata, error) {
	var first error
	for _, where := range wellKnown(issuer) {
		doc, err := out.Get(ctx, where)
		if err == nil {
			var m *serverMetadata
			if m, err = readMetadata(doc.Body, issuer); err == nil {
				return m, nil
			}
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if first == nil || errors.Is(err, authz.ErrForbidden) {
			first = err
		}
	}
	return nil, fmt.Errorf("discovering %s: %w", issuer, first)
}

// wellKnown returns where the metadata of an issuer may be: RFC 8414 section 3.1 (and section 5 for OpenID Connect), and OpenID
// Connect Discovery section 4.1, in the order that the authorization specification of MCP has.
func wellKnown(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimRight(u.EscapedPath(), "/")
	list := []string{origin + "/.well-known/oauth-authorization-server" + path, origin + "/.well-known/openid-configuration" + path}
	if path != "" {
		list = append(list, origin+path+"/.well-known/openid-configuration")
	}
	return list
}

func readMetadata(text []byte, issuer string) (*serverMetadata, error) {
	if err := strictObject(text); err != nil {
		return nil, fmt.Errorf("its metadata: %w", err)
	}
	var m serverMetadata
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, errors.New("its metadata is no JSON object of that form")
	}
	if m.Issuer != issuer {
		return nil, authz.Errorf(authz.ErrForbidden, "it says that it is %.200q", m.Issuer)
	}
	for _, e := range []string{m.TokenURL, m.KeySet} {
		if e != "" && (!validEndpoint(e) || strings.HasPrefix(issuer, "https://") && !strings.HasPrefix(e, "https://")) {
			return nil, fmt.Errorf("its metadata names %.200q, which is not as safe as the issuer", e)
		}
	}
	return &m, nil
}
