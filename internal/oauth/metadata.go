package oauth

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Paths below the issuer.
const (
	authorizePath  = "/oauth2/authorize"
	introspectPath = "/oauth2/introspect"
	revokePath     = "/oauth2/revoke"
	keySetPath     = "/.well-known/jwks.json"
	historicalPath = "/oauth2/keys/historical"

	serverMetadata   = "/.well-known/oauth-authorization-server"
	openIDMetadata   = "/.well-known/openid-configuration"
	resourceMetadata = "/.well-known/oauth-protected-resource"
)

// proofAlgs are the algorithms of DPoP proofs, as a challenge names them.
var proofAlgs = strings.Join(algorithms, " ")

// metadata is RFC 8414's document, with what OpenID Connect Discovery demands besides. The members of
// ours begin with safeconduct_.
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"` // of no use; some clients read no metadata without it
	TokenEndpoint         string   `json:"token_endpoint"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	RegistrationEndpoint  string   `json:"registration_endpoint,omitempty"`
	Backchannel           string   `json:"backchannel_authentication_endpoint,omitempty"`
	DeliveryModes         []string `json:"backchannel_token_delivery_modes_supported,omitempty"`
	BackchannelAlgorithms []string `json:"backchannel_authentication_request_signing_alg_values_supported,omitempty"`
	UserCodes             *bool    `json:"backchannel_user_code_parameter_supported,omitempty"`
	KeySet                string   `json:"jwks_uri"`
	Enrolment             string   `json:"safeconduct_enrollment_endpoint"`
	KeyRotation           string   `json:"safeconduct_key_rotation_endpoint"`
	HistoricalKeys        string   `json:"safeconduct_historical_keys_endpoint"`
	ResponseTypes         []string `json:"response_types_supported"`
	CodeChallenges        []string `json:"code_challenge_methods_supported"` // MCP clients trust no server that names none
	GrantTypes            []string `json:"grant_types_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgorithms        []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	IntrospectionMethods  []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAuthAlgs []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAlgs     []string `json:"introspection_signing_alg_values_supported"`
	RevocationMethods     []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthAlgs    []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	ProofAlgorithms       []string `json:"dpop_signing_alg_values_supported"`
	DetailsTypes          []string `json:"authorization_details_types_supported"`
	ACRValues             []string `json:"acr_values_supported,omitempty"` // RFC 9470, section 7
	CertificateBound      bool     `json:"tls_client_certificate_bound_access_tokens"`
	ClientDocuments       bool     `json:"client_id_metadata_document_supported"`
	ProtectedResources    []string `json:"protected_resources"`
	SubjectTypes          []string `json:"subject_types_supported"`
	IDTokenAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
	AccessTokenAlgorithms []string `json:"safeconduct_access_token_signing_alg_values_supported"`
}

// resource is the document of RFC 9728 about our own API.
type resource struct {
	Resource         string   `json:"resource"`
	Servers          []string `json:"authorization_servers"`
	Name             string   `json:"resource_name"`
	KeySet           string   `json:"jwks_uri"`
	Methods          []string `json:"bearer_methods_supported"`
	DetailsTypes     []string `json:"authorization_details_types_supported"`
	ProofAlgorithms  []string `json:"dpop_signing_alg_values_supported"`
	ProofRequired    bool     `json:"dpop_bound_access_tokens_required"`
	CertificateBound bool     `json:"tls_client_certificate_bound_access_tokens"`
}

// metadata returns the document as it is with a catalog, whose levels of assurance it names; nil is none.
func (s *Server) metadata(cat *catalog.Catalog) ([]byte, error) {
	at := func(path string) string { return s.cfg.Issuer + path }
	methods := s.clients.methods()
	m := metadata{
		Issuer: s.cfg.Issuer, AuthorizationEndpoint: at(authorizePath), TokenEndpoint: at(tokenPath), IntrospectionEndpoint: at(introspectPath), RevocationEndpoint: at(revokePath),
		KeySet: at(keySetPath), Enrolment: at("/oauth2/enroll"), KeyRotation: at("/oauth2/keys"), HistoricalKeys: at(historicalPath),
		ResponseTypes: []string{}, CodeChallenges: []string{"S256"}, GrantTypes: s.grantTypes(),
		AuthMethods: methods, AuthAlgorithms: algorithms,
		IntrospectionMethods: append(slices.Clip(methods), "Bearer"), IntrospectionAuthAlgs: algorithms, IntrospectionAlgs: ourAlgorithms,
		RevocationMethods: append(slices.Clip(methods), "Bearer"), RevocationAuthAlgs: algorithms,
		ProofAlgorithms: algorithms, DetailsTypes: []string{authz.DetailType}, CertificateBound: s.cfg.Clients.Certificates,
		ClientDocuments: s.cfg.Clients.Documents, ProtectedResources: s.audience,
		SubjectTypes: []string{"public"}, IDTokenAlgorithms: ourAlgorithms, AccessTokenAlgorithms: ourAlgorithms,
	}
	if cat != nil {
		for _, l := range cat.Assurances() {
			m.ACRValues = append(m.ACRValues, l.ACR)
		}
	}
	if s.cfg.Desk != nil { // CIBA Core 1.0, section 4
		m.Backchannel, m.DeliveryModes, m.BackchannelAlgorithms, m.UserCodes = at(backchannelPath), []string{"poll"}, algorithms, new(bool)
		if len(s.cfg.Clients.Pings) > 0 {
			m.DeliveryModes = append(m.DeliveryModes, "ping")
		}
	}
	if s.cfg.Clients.Registration {
		m.RegistrationEndpoint = at("/oauth2/register")
	}
	return json.Marshal(m)
}

// authorize refuses whoever was sent here. There is no response type, so no client may send anybody (RFC 6749, section 3.1.1),
// and nobody is sent back: nothing of the request is read, redirect_uri least of all (section 4.1.2.1).
func (s *Server) authorize(http.ResponseWriter, *http.Request) error { return errNoRedirect }

var errNoRedirect = &Error{Status: http.StatusBadRequest, Code: "unsupported_response_type",
	Description: "nobody is redirected here: programs use the token endpoint, and persons are asked by CIBA, the backchannel authentication endpoint"}

// ourAlgorithms are those we sign with.
var ourAlgorithms = []string{"EdDSA", "ES256"}

func (s *Server) resource() ([]byte, error) {
	return json.Marshal(resource{
		Resource: s.cfg.Issuer, Servers: []string{s.cfg.Issuer}, Name: "Safeconduct", KeySet: s.cfg.Issuer + keySetPath, Methods: []string{"header"},
		DetailsTypes: []string{authz.DetailType}, ProofAlgorithms: algorithms, ProofRequired: !s.cfg.AllowBearer, CertificateBound: s.cfg.Clients.Certificates,
	})
}

// metadataRoutes are the documents that say how we can be used. If the issuer has a path, they stand at
// the well-known path followed by the issuer's (RFC 8414, section 3.1, and RFC 9728, section 3.1) and at
// the issuer's followed by the well-known one (OpenID Connect Discovery, section 4); Handler sees to
// the second.
func (s *Server) metadataRoutes() ([]route, error) {
	u, err := url.Parse(s.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	if _, err := s.metadata(nil); err != nil {
		return nil, err
	}
	own, err := s.resource()
	if err != nil {
		return nil, err
	}
	var out []route
	fixed := func() ([]byte, error) { return own, nil }
	for _, d := range []struct {
		path string
		body func() ([]byte, error)
	}{{serverMetadata, s.document}, {openIDMetadata, s.document}, {resourceMetadata, fixed}} {
		serve := func(w http.ResponseWriter, r *http.Request) error {
			body, err := d.body()
			if err != nil {
				return err
			}
			writePublic(w, r, jsonType, "public, max-age=300", "", body)
			return nil
		}
		out = append(out, route{"GET", d.path, serve})
		if u.Path != "" {
			out = append(out, route{"GET", d.path + u.EscapedPath(), serve})
		}
	}
	return out, nil
}

// A described is a document, and the catalog that it was made with.
type described struct {
	catalog *catalog.Catalog
	body    []byte
}

// document returns the server's metadata with the catalog of now.
func (s *Server) document() ([]byte, error) {
	cat := s.cfg.Catalog()
	if d := s.described.Load(); d != nil && d.catalog == cat {
		return d.body, nil
	}
	body, err := s.metadata(cat)
	if err != nil {
		return nil, err
	}
	s.described.Store(&described{cat, body})
	return body, nil
}

// keySet answers with the keys whose signatures count (RFC 7517, section 5). A key is published a day
// before it signs, so that copies may be kept for five minutes.
func (s *Server) keySet(w http.ResponseWriter, r *http.Request) error {
	doc, tag := s.cfg.Keys.Set()
	writePublic(w, r, "application/jwk-set+json", "public, max-age=300", tag, doc)
	return nil
}

// historical answers with all keys there ever were, for verifying what was signed in the past.
func (s *Server) historical(w http.ResponseWriter, r *http.Request) error {
	doc, err := s.cfg.Keys.Historical()
	if err != nil {
		return err
	}
	writePublic(w, r, jsonType, "public, max-age=300", "", doc)
	return nil
}

// writePublic writes a document that everybody may have and keep for a while.
func writePublic(w http.ResponseWriter, r *http.Request, contentType, cache, tag string, body []byte) {
	h := w.Header()
	h["Cache-Control"] = []string{cache}
	h["Access-Control-Allow-Origin"] = []string{"*"}
	h["X-Content-Type-Options"] = noSniff
	if tag != "" {
		if !strings.HasPrefix(tag, `"`) {
			tag = `"` + tag + `"`
		}
		h["Etag"] = []string{tag}
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h["Content-Type"] = []string{contentType}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}
