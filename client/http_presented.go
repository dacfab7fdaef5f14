package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A Door is an HTTP server, seen by those who present passports to it.
type Door struct {
	// URL is how callers reach the server: scheme, host and perhaps the beginning of the path, as it is outside,
	// before whatever stands in front of it. Proofs name it. What a request says in Host does not count.
	URL string
	// Audience is the server's own name, for which passports must be: the URL by default.
	Audience string
	// Bearer lets passports in that are shown as Bearer without a certificate of the connection: whoever finds one can
	// use it. Whether one that is bound to no key counts, the service's policies say.
	Bearer bool
	// Proofs remembers which proofs were shown. nil remembers none: a proof can then be shown again within its two
	// minutes by whoever overheard it.
	Proofs *Proofs
	// Skew is how far the clocks of agents may be from ours, 1 minute by default.
	Skew time.Duration
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

const maxHeader = 8 << 10 // bytes of a token, or of a proof

// Presented returns the passport that a request presents in its Authorization header, with its proof (RFC 9449) or
// the certificate of its connection (RFC 8705). The proof's signature, request, time and token are checked here, and
// that it was not shown before; the passport itself is left to the Decider. Until it has judged the passport anybody may
// have made it up: Enforcer.Handler gives back the proofs of those that do not count, and who calls Presented elsewhere does
// so by HoldProofs. ErrNoToken: none is presented.
// authz.ErrUnauthenticated: it is presented wrongly. Without a URL of the Door it fails always.
func (d *Door) Presented(r *http.Request) (*authz.Presented, error) {
	base := strings.TrimRight(d.URL, "/")
	if u, err := url.Parse(base); err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the door has no URL by which it is reached")
	}
	p := &authz.Presented{Method: r.Method, URL: base + r.URL.EscapedPath(), Audience: d.Audience}
	if p.Audience == "" {
		p.Audience = base
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		p.Certificate = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if err := d.Complete(r.Context(), p, r.Header["Authorization"], r.Header["Dpop"]); err != nil {
		return nil, err
	}
	return p, nil
}

// Complete fills in the token and the proof of a passport that was presented by these values of the header fields
// Authorization and DPoP, and checks them as Presented does. Method, URL, Audience and Certificate of p are set. Ctx is
// the request's, or one of HoldProofs.
func (d *Door) Complete(ctx context.Context, p *authz.Presented, authorization, proofs []string) error {
	switch {
	case len(authorization) == 0:
		return ErrNoToken
	case len(authorization) > 1:
		return authz.Errorf(authz.ErrUnauthenticated, "the request presents more than one token")
	}
	scheme, value, ok := strings.Cut(authorization[0], " ")
	scheme = strings.ToLower(scheme)
	switch {
	case !ok || value == "" || scheme != "dpop" && scheme != "bearer":
		return ErrNoToken
	case len(value) > maxHeader || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c > '~' }):
		return authz.Errorf(authz.ErrUnauthenticated, "the token is larger than %d bytes, or has characters that no token has", maxHeader)
	case scheme == "bearer" && len(proofs) > 0: // RFC 9449 section 7.2
		return authz.Errorf(authz.ErrUnauthenticated, "a token that comes with a DPoP proof is presented by the scheme DPoP")
	case scheme == "dpop" && len(proofs) != 1: // RFC 9449 section 4.3
		return authz.Errorf(authz.ErrUnauthenticated, "there are %d DPoP proofs, not one", len(proofs))
	case scheme == "bearer" && p.Certificate == "" && !d.Bearer:
		return authz.Errorf(authz.ErrUnauthenticated, "the token comes without a proof that whoever shows it is its bearer")
	}
	p.Token = value
	if len(proofs) == 0 {
		return nil
	}
	if p.Proof = proofs[0]; len(p.Proof) > maxHeader {
		return authz.Errorf(authz.ErrUnauthenticated, "the proof is larger than %d bytes", maxHeader)
	}
	skew, now := d.Skew, time.Now()
	if skew <= 0 {
		skew = time.Minute
	}
	if d.Now != nil {
		now = d.Now()
	}
	proof, err := token.ParseProof(p.Proof)
	if err != nil {
		return authz.Errorf(authz.ErrUnauthenticated, "reading the proof: %w", err)
	}
	if err := proof.Check(p.Method, p.URL, p.Token, now, skew); err != nil {
		return err
	}
	if d.Proofs == nil {
		return nil
	}
	id, err := d.Proofs.take(proof, now, skew)
	if err != nil {
		return err
	}
	if c, ok := ctx.Value(heldKey{}).(*heldProofs); ok {
		c.add(d.Proofs, id, proof.IssuedAt)
	}
	p.Shown = now // so that it can be asked with again, about the same act
	return nil
}
