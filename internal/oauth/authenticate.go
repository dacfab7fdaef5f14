package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
	"github.com/safeconduct/safeconduct/internal/token"
)

// ClientConfig says how agents may authenticate besides by the keys that they registered.
type ClientConfig struct {
	// TokenURLAudience accepts the URL of the token endpoint as the audience of client assertions,
	// which RFC 7523 suggested. A client that is talked into using another server's token endpoint
	// can then be impersonated here, which is why its revision demands the issuer; leave it off.
	TokenURLAudience bool

	// Certificates says that clients are asked for certificates in the TLS handshake. Only then the
	// metadata names what is done by them.
	Certificates bool

	// Workloads are issuers of tokens by which agents may authenticate.
	Workloads []WorkloadIssuer

	// SPIFFE are the trust domains whose SVIDs agents may authenticate with.
	SPIFFE []TrustDomain

	// Authorities sign certificates by which agents may authenticate (RFC 8705, section 2.1).
	Authorities []CertificateAuthority

	// Documents accepts client ID metadata documents that are linked to an agent.
	Documents bool

	// Registration opens dynamic client registration (RFC 7591 and 7592), for who holds an enrolment
	// token and as far as the policies permit the action client.register. See register.go for what
	// it lacks.
	Registration  bool
	Registrations Registrations // must be set if Registration is

	// Pings are the addresses of clients that want to be told when a person has answered (CIBA's ping
	// mode). The others poll, as these may too.
	Pings map[authz.AgentID]string
	// Post tells them. It must be set if Pings is, and nobody is told unless Server.Run runs.
	Post *outbound.Client

	// Fetch fetches metadata documents, key sets and trust bundles. By default a client that reaches
	// public addresses only.
	Fetch *outbound.Client
}

// clients is what authentication keeps between requests.
type clients struct {
	cfg         Config
	audiences   []string // of assertions: one of them must be the only one
	decoys      decoys
	workloads   map[string]*workloadIssuer
	domains     map[spiffeid.TrustDomain]*trustDomain
	authorities []*authority
	documents   documents
}

func newClients(cfg Config) (*clients, error) {
	if cfg.Clients.Fetch == nil {
		cfg.Clients.Fetch = outbound.New(outbound.Config{Now: cfg.Now})
	}
	c := &clients{cfg: cfg, audiences: []string{cfg.Issuer}, workloads: map[string]*workloadIssuer{}, domains: map[spiffeid.TrustDomain]*trustDomain{}}
	if cfg.Clients.TokenURLAudience {
		c.audiences = append(c.audiences, cfg.Issuer+tokenPath)
	}
	if cfg.Clients.Registration && cfg.Clients.Registrations == nil {
		return nil, authz.Errorf(authz.ErrInvalid, "dynamic client registration needs somewhere to keep registrations")
	}
	var err error
	if c.decoys, err = newDecoys(cfg.Rand); err != nil {
		return nil, err
	}
	for _, w := range cfg.Clients.Workloads {
		if c.workloads[w.Issuer] != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "workload issuer %q is named twice", w.Issuer)
		}
		if c.workloads[w.Issuer], err = newWorkloadIssuer(w, cfg); err != nil {
			return nil, err
		}
	}
	for _, d := range cfg.Clients.SPIFFE {
		td, err := newTrustDomain(d, cfg)
		if err != nil {
			return nil, err
		}
		if c.domains[td.name] != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "trust domain %q is named twice", d.Name)
		}
		c.domains[td.name] = td
	}
	for _, a := range cfg.Clients.Authorities {
		authority, err := newAuthority(a)
		if err != nil {
			return nil, err
		}
		c.authorities = append(c.authorities, authority)
	}
	c.documents.fetch = cfg.Clients.Fetch
	return c, nil
}

// tokenPath is where tokens are asked for, below the issuer.
const tokenPath = "/oauth2/token"

// Ways of authenticating: names of the registry of token endpoint authentication methods and, for
// SPIFFE, of draft-ietf-oauth-spiffe-client-auth. Workloads' tokens have no registered name.
const (
	methodKey        = "private_key_jwt"
	methodTLS        = "tls_client_auth"
	methodSelfSigned = "self_signed_tls_client_auth"
	methodSPIFFEJWT  = "spiffe_jwt"
	methodSPIFFEX509 = "spiffe_x509"
	methodWorkload   = "workload"
)

// methods returns the values of token_endpoint_auth_methods_supported (RFC 8414).
func (c *clients) methods() []string {
	m := []string{methodKey}
	if len(c.domains) > 0 {
		m = append(m, methodSPIFFEJWT)
	}
	if !c.cfg.Clients.Certificates {
		return m
	}
	m = append(m, methodSelfSigned)
	if len(c.authorities) > 0 {
		m = append(m, methodTLS)
	}
	if len(c.domains) > 0 {
		m = append(m, methodSPIFFEX509)
	}
	return m
}

// algorithms are the values of token_endpoint_auth_signing_alg_values_supported.
var algorithms = []string{"EdDSA", "Ed25519", "ES256", "PS256", "RS256"}

// Types of client assertions.
const (
	assertionJWT    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523
	assertionSPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
)

// authenticate returns who sent a form. An *Error with the code invalid_client is the one answer for
// every unknown agent, key and signature, and for agents that are not active.
func (s *Server) authenticate(r *http.Request, form url.Values) (*Client, error) {
	return s.clients.authenticate(r, form)
}

// authenticate tells the ways apart by what a request brings along (RFC 6749, section 2.3: one of them).
func (c *clients) authenticate(r *http.Request, form url.Values) (*Client, error) {
	kind, text, id := form.Get("client_assertion_type"), form.Get("client_assertion"), form.Get("client_id")
	if form.Has("client_secret") || strings.HasPrefix(strings.ToLower(r.Header.Get("Authorization")), "basic ") {
		return nil, badClient("client secrets are not accepted: use private_key_jwt or mutual TLS")
	}
	if kind == "" && text == "" {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			return c.certificate(r.Context(), r.TLS.PeerCertificates, id)
		}
		return nil, badClient("the client did not authenticate: client_assertion is missing")
	}
	switch {
	case text == "":
		return nil, badClient("client_assertion is missing")
	case kind == assertionJWT:
		return c.assertion(r.Context(), text, id)
	case kind == assertionSPIFFE:
		return c.svid(r.Context(), text, id)
	}
	return nil, badClient("client_assertion_type must be " + assertionJWT)
}

// badClient returns what is wrong with the form of an authentication. What it says follows from the
// request alone, never from what is registered.
func badClient(description string) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: invalidClient, Description: description}
}

// noClient is the one answer to everybody who is not, or does not prove to be, a registered and
// active agent. Only our log says why.
func noClient(cause string) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: invalidClient, Description: "client authentication failed", Cause: errors.New(cause)}
}

// active returns an agent that may act, or nil.
func (c *clients) active(id authz.AgentID) *authz.Agent {
	a, err := c.cfg.Agents.Agent(id)
	if err != nil || a.State != authz.AgentActive {
		return nil
	}
	return a
}

// workload returns the agent that a trusted workload issuer's assertion speaks of (JWT bearer grant,
// RFC 7523 section 2.1). An *Error has the code invalid_grant.
func (s *Server) workload(ctx context.Context, assertion string) (*Client, error) {
	cl, err := s.clients.bearer(ctx, assertion)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == invalidClient {
		out := &Error{Status: http.StatusBadRequest, Code: invalidGrant, Description: e.Description, Cause: e.Cause}
		if e.Cause != nil {
			out.Description = "the assertion is not accepted"
		}
		return nil, out
	}
	return cl, err
}

// bearer returns the agent of a token that a workload issuer or a SPIFFE trust domain made.
func (c *clients) bearer(ctx context.Context, text string) (*Client, error) {
	if jws, err := token.Parse(text); err == nil {
		a, err := token.ParseAssertion(jws.Payload)
		if err != nil {
			return nil, errUnreadable
		}
		if w := c.workloads[a.Issuer]; w != nil {
			return w.authenticate(ctx, c, jws, a, "")
		}
		if len(c.domains) == 0 || !strings.HasPrefix(a.Subject, "spiffe://") {
			return nil, badClient("the assertion's issuer is not trusted")
		}
	} else if len(c.domains) == 0 {
		return nil, errUnreadable
	}
	return c.svid(ctx, text, "") // may be signed with an algorithm that only SVIDs are
}

// UseOf returns the hash of a single-use assertion.
func UseOf(issuer, jti string) (h [16]byte) {
	var room [512]byte
	b := append(room[:0], issuer...)
	b = append(append(b, 0), jti...)
	sum := sha256.Sum256(b)
	copy(h[:], sum[:])
	return h
}
