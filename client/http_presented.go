package client

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
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
// that it was not shown before; the passport itself is left to the Decider. ErrNoToken: none is presented.
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
	if err := d.Complete(p, r.Header["Authorization"], r.Header["Dpop"]); err != nil {
		return nil, err
	}
	return p, nil
}

// Complete fills in the token and the proof of a passport that was presented by these values of the header fields
// Authorization and DPoP, and checks them as Presented does. Method, URL, Audience and Certificate of p are set.
func (d *Door) Complete(p *authz.Presented, authorization, proofs []string) error {
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
	if err := d.Proofs.take(nameOf(proof), now, 2*skew); err != nil {
		return err
	}
	p.Shown = now // so that it can be asked with again, about the same act
	return nil
}

// nameOf returns by what a proof is remembered.
func nameOf(p *token.Proof) string { return p.Key.ID + "\x00" + p.ID }

// Forget forgets the proof of a passport that turned out to be none: otherwise whoever makes up keys and tokens could
// fill Proofs, and so keep others out. HandlerOptions.Door has it called.
func (d *Door) Forget(p *authz.Presented) {
	if d.Proofs == nil || p == nil || p.Proof == "" {
		return
	}
	if proof, err := token.ParseProof(p.Proof); err == nil {
		d.Proofs.forget(nameOf(proof))
	}
}

// Proofs remembers proofs of possession as long as they could be shown again, in bounded memory: a proof counts
// once (RFC 9449 section 11.1). The zero value is ready for use, and safe for concurrent use. What one process
// has seen another does not know.
type Proofs struct {
	// Max is how many proofs are remembered at most, 200 000 by default (about 16 MB). While there are so many, others
	// are refused: authz.ErrUnavailable.
	Max int

	mu         sync.Mutex
	since      time.Time         // of the younger half
	young, old map[[16]byte]bool // those of one window, and those of the one before
}

func (s *Proofs) forget(name string) {
	sum := sha256.Sum256([]byte(name))
	key := [16]byte(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, key)
	delete(s.old, key)
}

// take notes that a proof was shown. authz.ErrUnauthenticated: it was before.
func (s *Proofs) take(name string, now time.Time, window time.Duration) error {
	sum := sha256.Sum256([]byte(name))
	key := [16]byte(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	switch age := now.Sub(s.since); {
	case s.young == nil || age >= 2*window:
		s.young, s.old, s.since = map[[16]byte]bool{}, nil, now
	case age >= window:
		s.young, s.old, s.since = map[[16]byte]bool{}, s.young, now
	}
	most := s.Max
	if most <= 0 {
		most = 200_000
	}
	switch {
	case s.young[key] || s.old[key]:
		return authz.Errorf(authz.ErrUnauthenticated, "the proof was shown before: it counts once")
	case len(s.young)+len(s.old) >= most:
		return authz.Errorf(authz.ErrUnavailable, "too many proofs were shown of late")
	}
	s.young[key] = true
	return nil
}
