package gateway

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Where documents of the gateway stand (RFC 8615).
const (
	resourceWellKnown = "/.well-known/oauth-protected-resource"
	clientWellKnown   = "/.well-known/safeconduct/client"
)

// resourceMetadata says of one protected resource where tokens for it are got, and how they are shown (RFC 9728 section 2). It is
// not signed: it is served from the origin that it describes.
type resourceMetadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	ScopesSupported      []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported"`
	Name                 string   `json:"resource_name,omitempty"`
	ProofAlgorithms      []string `json:"dpop_signing_alg_values_supported,omitempty"`
	ProofsRequired       bool     `json:"dpop_bound_access_tokens_required,omitempty"`
	CertificateBound     bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	DetailTypes          []string `json:"authorization_details_types_supported,omitempty"`
}

// metadataURL returns where the metadata of the resource at a door's path are: the well-known part stands between the host and
// the path (RFC 9728 section 3.1). "" if no tokens are asked for.
func (g *Gateway) metadataURL(path string) string {
	if g.common.Authorization.Type == authNone {
		return ""
	}
	u, err := url.Parse(g.Resource(path))
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + resourceWellKnown + strings.TrimRight(u.EscapedPath(), "/")
}

func (g *Gateway) resourceMetadata(path string) resourceMetadata {
	a := &g.common.Authorization
	m := resourceMetadata{
		Resource: g.Resource(path), ScopesSupported: a.Scopes, BearerMethods: []string{"header"}, Name: g.common.Name,
		ProofAlgorithms: strings.Fields(proofsAccept), CertificateBound: g.common.TLS.ClientCertificates,
	}
	m.ProofsRequired = !m.CertificateBound
	if !a.NoPassports {
		m.AuthorizationServers = append(m.AuthorizationServers, g.common.issuer())
		m.DetailTypes = []string{"capability"}
		m.ProofsRequired = m.ProofsRequired && !a.Bearer
	}
	for _, s := range a.Servers {
		m.AuthorizationServers = append(m.AuthorizationServers, s.Issuer)
		m.ProofsRequired = m.ProofsRequired && s.RequireBound
	}
	return m
}

// serveResource serves the metadata of the door that a path names.
func (g *Gateway) serveResource(w http.ResponseWriter, r *http.Request) {
	if g.common.Authorization.Type == authNone {
		http.NotFound(w, r)
		return
	}
	for _, p := range g.opts.Paths {
		u, err := url.Parse(g.metadataURL(p))
		if err == nil && (r.URL.Path == u.Path || r.URL.Path == resourceWellKnown+p) { // a proxy in front may take the path of public_url away
			serveDocument(w, g.resourceMetadata(p))
			return
		}
	}
	http.NotFound(w, r)
}

// clientDocumentURL returns the URL of the gateway's client ID metadata document, which is its client_id; "" if it has none.
func (g *Gateway) clientDocumentURL() string {
	if !g.common.Client.Metadata {
		return ""
	}
	return g.PublicURL() + clientWellKnown
}

// clientDocument is the gateway as an OAuth client (draft-ietf-oauth-client-id-metadata-document, RFC 7591 section 2). Nobody is
// redirected to it.
type clientDocument struct {
	ClientID     string          `json:"client_id"`
	Name         string          `json:"client_name"`
	URI          string          `json:"client_uri"`
	GrantTypes   []string        `json:"grant_types"`
	Responses    []string        `json:"response_types"`
	RedirectURIs []string        `json:"redirect_uris"`
	AuthMethod   string          `json:"token_endpoint_auth_method"`
	AuthAlg      string          `json:"token_endpoint_auth_signing_alg"`
	Keys         json.RawMessage `json:"jwks"`
}

func (g *Gateway) serveClient(w http.ResponseWriter, r *http.Request) {
	id := g.clientDocumentURL()
	if id == "" || g.client.signer == nil {
		http.NotFound(w, r)
		return
	}
	name := g.common.Client.Name
	if name == "" {
		name = "Safeconduct gateway " + g.common.Name
	}
	keys, err := json.Marshal(map[string]any{"keys": []json.RawMessage{g.client.signer.Key().JWK()}})
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	serveDocument(w, clientDocument{
		ClientID: id, Name: name, URI: g.PublicURL(), GrantTypes: []string{"client_credentials", grantExchange}, Responses: []string{}, RedirectURIs: []string{},
		AuthMethod: byKey, AuthAlg: g.client.signer.Algorithm(), Keys: keys,
	})
}

// serveDocument serves a public document, to web pages of anybody too.
func serveDocument(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "max-age=300")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}
