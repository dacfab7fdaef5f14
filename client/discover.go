package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// Metadata is what an authorization server says of itself (RFC 8414), as far as agents need it.
type Metadata struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgorithms        []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	ProofAlgorithms       []string `json:"dpop_signing_alg_values_supported"`
}

const wellKnown = "/.well-known/oauth-authorization-server"

// Discover asks the authorization server for its metadata, where RFC 8414 (section 3) has it: the
// well-known part stands before the issuer's path. The issuer that it names must be the one that was
// asked for, letter for letter (section 3.3): an agent that took another's word would show its
// assertions to a stranger. Without a hc the same default is used as New's.
func Discover(ctx context.Context, issuer string, hc *http.Client) (*Metadata, error) {
	u, err := parseIssuer(issuer)
	if err != nil {
		return nil, err
	}
	where := u.Scheme + "://" + u.Host + wellKnown + strings.TrimSuffix(u.EscapedPath(), "/")
	if hc == nil {
		hc = newHTTP()
		defer hc.CloseIdleConnections()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "making the request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	_, answer, err := roundTrip(hc, req, maxOAuth)
	if err != nil {
		return nil, fmt.Errorf("discovering %s: %w", issuer, err)
	}
	var m Metadata
	if err := json.Unmarshal(answer, &m); err != nil {
		return nil, &Error{Status: http.StatusOK, Message: where + " is no metadata of an authorization server",
			Hint: "the issuer is the URL under which the server knows itself, its public_url", kind: authz.ErrInvalid}
	}
	if m.Issuer != issuer {
		return nil, &Error{Status: http.StatusOK, Code: CodeIssuer, Message: fmt.Sprintf("asked for %s, the server says that it is %.200q", issuer, m.Issuer),
			Hint: "give the issuer exactly as the server writes it, if that is the server you mean", kind: authz.ErrForbidden}
	}
	for _, e := range []struct{ name, url string }{
		{"token_endpoint", m.TokenEndpoint}, {"introspection_endpoint", m.IntrospectionEndpoint},
		{"revocation_endpoint", m.RevocationEndpoint}, {"jwks_uri", m.JWKSURI},
	} {
		if e.url == "" && e.name != "token_endpoint" {
			continue
		}
		if p, err := url.Parse(e.url); err != nil || !sameSecurity(u, p) {
			return nil, &Error{Status: http.StatusOK, Message: fmt.Sprintf("the server's %s is %.200q, not a URL as safe as %s", e.name, e.url, issuer), kind: authz.ErrInvalid}
		}
	}
	return &m, nil
}

// KeySet returns the JWK set (RFC 7517) by which the server's tokens are verified.
func (m *Metadata) KeySet(ctx context.Context, hc *http.Client) ([]byte, error) {
	if m.JWKSURI == "" {
		return nil, authz.Errorf(authz.ErrNotFound, "%s does not say where its keys are", m.Issuer)
	}
	if hc == nil {
		hc = newHTTP()
		defer hc.CloseIdleConnections()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.JWKSURI, nil)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "making the request: %w", err)
	}
	_, set, err := roundTrip(hc, req, maxOAuth)
	return set, err
}

// parseIssuer returns the URL of an issuer: https, or http to this host alone.
func parseIssuer(issuer string) (*url.URL, error) {
	u, err := url.Parse(issuer)
	if err != nil || !safe(u) || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(issuer, "#") {
		return nil, authz.Errorf(authz.ErrInvalid, "%.200q is no issuer: an https URL without query and fragment (http only on loopback)", issuer)
	}
	return u, nil
}

// safe reports whether what is said to u stays between us and it.
func safe(u *url.URL) bool {
	if u.Host == "" || u.User != nil || u.Opaque != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

// sameSecurity reports whether the endpoint p may stand in the metadata of the issuer u.
func sameSecurity(u, p *url.URL) bool {
	return safe(p) && p.Fragment == "" && (p.Scheme == "https" || u.Scheme == "http")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// accepts says what is missing for an agent with a key of that algorithm. A list that the server
// left out excludes nothing.
func (m *Metadata) accepts(algorithm string) error {
	names := []string{algorithm}
	if algorithm == "EdDSA" || algorithm == "Ed25519" {
		names = []string{"EdDSA", "Ed25519"} // RFC 9864 renamed it
	}
	for _, l := range []struct {
		what string
		list []string
		any  []string
	}{
		{"client authentication by private_key_jwt", m.AuthMethods, []string{"private_key_jwt"}},
		{"client assertions signed with " + algorithm, m.AuthAlgorithms, names},
		{"DPoP proofs signed with " + algorithm, m.ProofAlgorithms, names},
	} {
		if l.list != nil && !slices.ContainsFunc(l.any, func(s string) bool { return slices.Contains(l.list, s) }) {
			return authz.Errorf(authz.ErrInvalid, "%s does not support %s", m.Issuer, l.what)
		}
	}
	return nil
}
