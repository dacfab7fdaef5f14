package oauth

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
	"github.com/safeconduct/safeconduct/internal/token"
)

// documents are the client ID metadata documents (draft-ietf-oauth-client-id-metadata-document) that
// agents authenticate with. Only those that an administrator linked to an agent are fetched: nobody
// else can make us ask an address. How long an answer takes can tell that a URL, which is public, is
// linked.
type documents struct {
	fetch *outbound.Client

	mu   sync.Mutex
	read map[string]*document // by URL; no more than there are linked ones
}

// A document is what a metadata document says, as far as it matters.
type document struct {
	from    *outbound.Document // that it was read from
	keys    []*token.Key       // jwks
	keysURL string             // jwks_uri; then keys are read from there
	keysDoc *outbound.Document
}

// document authenticates by a key of a metadata document. jws is an assertion of the client with that URL.
func (c *clients) document(ctx context.Context, jws *token.JWS, address string, use *Use, now time.Time) (*Client, error) {
	agent, key := c.documentKey(ctx, jws, address, now)
	for i := range tries { // as much work as for whoever is not known
		k := key
		if i > 0 || k == nil {
			k = c.decoys.key(jws.Algorithm)
		}
		if err := jws.Verify(k); err == nil && key != nil {
			return &Client{Agent: agent, ID: address, Method: methodKey, Key: key.ID, Use: use}, nil
		}
	}
	return nil, noClient("no active agent has a metadata document of that URL with a key that made this signature")
}

// documentKey returns the active agent that a document is linked to, and the key in it that a JWS
// names; nil if anything is amiss.
func (c *clients) documentKey(ctx context.Context, jws *token.JWS, address string, now time.Time) (*authz.Agent, *token.Key) {
	if !c.cfg.Clients.Documents || checkDocumentURL(address) != nil {
		return nil, nil
	}
	cred, err := c.cfg.Agents.Credential(address)
	if err != nil || cred.Key != nil || !cred.Active(now) {
		return nil, nil
	}
	agent := c.active(cred.Agent)
	if agent == nil {
		return nil, nil
	}
	for _, get := range []func(context.Context, string) (*outbound.Document, error){c.documents.fetch.Get, c.documents.fetch.Renew} {
		keys, err := c.documents.keys(ctx, address, get)
		if err != nil {
			c.cfg.Logger.WarnContext(ctx, "client id metadata document refused", "url", address, "agent", agent.ID, "err", err)
			return nil, nil
		}
		if k := pick(keys, jws); k != nil {
			// A key that was registered stays what it is there: revoked, or another agent's.
			if have, err := c.cfg.Agents.Credential(k.ID); err == nil && (have.Agent != agent.ID || !have.Active(now)) {
				return nil, nil
			}
			return agent, k
		}
	}
	return nil, nil
}

// keys returns the keys of a document.
func (d *documents) keys(ctx context.Context, address string, get func(context.Context, string) (*outbound.Document, error)) ([]*token.Key, error) {
	from, err := get(ctx, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	doc := d.read[address]
	d.mu.Unlock()
	if doc == nil || doc.from != from {
		if doc, err = parseDocument(from.Body, address); err != nil {
			return nil, err
		}
		doc.from = from
		d.keep(address, doc)
	}
	if doc.keysURL == "" {
		return doc.keys, nil
	}
	set, err := get(ctx, doc.keysURL)
	if err != nil || set == doc.keysDoc {
		return doc.keys, err
	}
	keys, err := token.ParseKeySet(set.Body)
	if err != nil {
		return nil, err
	}
	d.keep(address, &document{from: from, keys: keys, keysURL: doc.keysURL, keysDoc: set})
	return keys, nil
}

func (d *documents) keep(address string, doc *document) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.read == nil {
		d.read = map[string]*document{}
	}
	d.read[address] = doc
}

// checkDocumentURL returns authz.ErrInvalid unless a URL can be a client_id (section 3 of the draft):
// https, with a path, without dot segments, fragment and user.
func checkDocumentURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(address, "#\\") {
		return authz.Errorf(authz.ErrInvalid, "want an https URL without user and fragment")
	}
	if u.Path == "" || slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }) {
		return authz.Errorf(authz.ErrInvalid, "want a path without dot segments")
	}
	return nil
}

// maxDocument is the most bytes of a metadata document; the draft suggests 5 KB, without key sets.
const maxDocument = 64 << 10

// parseDocument reads a metadata document (section 4 of the draft). What concerns redirecting people
// does not matter here.
func parseDocument(text []byte, address string) (*document, error) {
	bad := func(what string) (*document, error) {
		return nil, authz.Errorf(authz.ErrInvalid, "the metadata document: %s", what)
	}
	if len(text) > maxDocument {
		return bad("it is too large")
	}
	var m struct {
		ClientID string         `json:"client_id"`
		Method   string         `json:"token_endpoint_auth_method"`
		Keys     jsontext.Value `json:"jwks"`
		KeysURL  string         `json:"jwks_uri"`
		Secret   jsontext.Value `json:"client_secret"`
		Expires  jsontext.Value `json:"client_secret_expires_at"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return bad("it is no JSON object of metadata")
	}
	switch {
	case m.ClientID != address:
		return bad("its client_id is not the URL that it was fetched from")
	case m.Method != methodKey:
		return bad("its token_endpoint_auth_method is not " + methodKey)
	case m.Secret != nil || m.Expires != nil:
		return bad("it holds a secret")
	case (m.Keys == nil) == (m.KeysURL == ""):
		return bad("want one of jwks and jwks_uri")
	case m.KeysURL != "":
		if u, err := url.Parse(m.KeysURL); err != nil || u.Scheme != "https" || u.Host == "" {
			return bad("its jwks_uri is no https URL")
		}
		return &document{keysURL: m.KeysURL}, nil
	}
	keys, err := token.ParseKeySet(m.Keys)
	if err != nil {
		return nil, err
	}
	return &document{keys: keys}, nil
}
