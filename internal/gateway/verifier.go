package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A Verifier says who sent a request. It is the OAuth resource server that the authorization specification of MCP wants: tokens
// come in the Authorization header alone, are for the door's own resource identifier (RFC 8707, RFC 9068 section 4), are bound
// to a key (RFC 9449) or a certificate (RFC 8705) or, if the document permits it, to nothing; and whoever has none is told
// where to get one (RFC 9728 section 5.1). It is safe for concurrent use.
type Verifier struct {
	g       *Gateway
	cfg     *Authorization
	now     func() time.Time
	servers map[string]*server // by issuer
	proofs  proofs
	nonces  nonces
	known   known
}

// A server is an authorization server whose tokens are accepted.
type server struct {
	cfg      AuthServer
	passport bool // it is our own service
	keys     *issuerKeys
}

func newVerifier(g *Gateway, out *outbound.Client) (*Verifier, error) {
	c := g.common
	v := &Verifier{g: g, cfg: &c.Authorization, now: g.now, servers: map[string]*server{}}
	if v.cfg.Type == authNone {
		return v, nil
	}
	v.proofs.init(c.Limits.Proofs)
	v.known.init()
	if err := v.nonces.init(); err != nil {
		return nil, err
	}
	add := func(s AuthServer, passport bool) {
		v.servers[s.Issuer] = &server{s, passport, &issuerKeys{issuer: s.Issuer, url: s.KeySet, out: out, now: g.now}}
	}
	for _, s := range v.cfg.Servers {
		add(s, false)
	}
	if !v.cfg.NoPassports {
		add(AuthServer{Issuer: c.issuer(), Types: []string{token.PassportType}, RequireBound: !v.cfg.Bearer}, true)
	}
	return v, nil
}

// Verify returns who sent r. The error is a *Challenge: write it as the answer. Where no tokens are asked for it returns the
// configured subject, unless a web page of somebody else sends the request.
func (v *Verifier) Verify(r *http.Request) (*Who, error) {
	who, err := v.verify(r)
	var c *Challenge
	if errors.As(err, &c) {
		v.g.Metrics.challenged(c.Status, c.Code)
		return nil, c
	}
	return who, err
}

func (v *Verifier) verify(r *http.Request) (*Who, error) {
	address := addressOf(r)
	if v.cfg.Type == authNone {
		if err := v.local(r, address); err != nil {
			return nil, err
		}
		return v.fixed(address), nil
	}
	path, ok := v.g.resourceOf(r.URL.Path)
	if !ok {
		path = v.g.opts.Paths[0]
	}
	shown, c := v.shown(r, path)
	if c != nil {
		return nil, c
	}
	k, err := v.token(r.Context(), shown.token)
	switch {
	case errors.Is(err, authz.ErrUnavailable):
		return nil, v.challenge(path, authz.ErrUnavailable, http.StatusServiceUnavailable, codeBusy, "the token cannot be verified now", err)
	case err != nil:
		return nil, v.challenge(path, authz.ErrUnauthenticated, http.StatusUnauthorized, codeToken, "the token is not accepted", err)
	}
	audience := v.audience(k, path)
	if audience == "" {
		return nil, v.challenge(path, authz.ErrUnauthenticated, http.StatusUnauthorized, codeToken, "the token is for somebody else than "+v.g.Resource(path), nil)
	}
	now := v.now()
	late := v.cfg.Skew
	if k.server.passport {
		late = 0 // as the service itself has it
	}
	if err := k.claims.current(now, late, v.cfg.Skew); err != nil {
		return nil, v.challenge(path, authz.ErrUnauthenticated, http.StatusUnauthorized, codeToken, err.Error(), nil)
	}
	certificate, c := v.bound(r, path, k, &shown, now)
	if c != nil {
		return nil, c
	}
	if missing := lacking(k.claims.scopes, k.server.cfg.Scopes); len(missing) > 0 {
		return nil, v.insufficient(path, k.claims.scopes, k.server.cfg.Scopes)
	}
	who := &Who{Claims: k.claims.all, Subject: authz.Entity{Ref: k.subject}, OnBehalf: k.onBehalf, Scopes: k.claims.scopes, Address: address, Key: k.key, Expires: k.claims.expires, Token: shown.token, Issuer: k.claims.issuer}
	if k.server.passport {
		who.Presented = &authz.Presented{Token: shown.token, Proof: shown.proof, Method: r.Method, URL: v.target(r), Certificate: certificate, Audience: audience, Shown: now}
		if who.Presented.Proof == "" {
			who.Presented.Method, who.Presented.URL = "", ""
		}
	}
	return who, nil
}

// Scopes returns the challenge that asks for a token with more scopes (RFC 6750 section 3.1: insufficient_scope), nil if
// w has them all. The token is asked for with those that it has, too, so that none is lost.
func (v *Verifier) Scopes(r *http.Request, w *Who, scopes ...string) *Challenge {
	if len(lacking(w.Scopes, scopes)) == 0 {
		return nil
	}
	path, _ := v.g.resourceOf(r.URL.Path)
	c := v.insufficient(path, w.Scopes, scopes)
	v.g.Metrics.challenged(c.Status, c.Code)
	return c
}

func (v *Verifier) insufficient(path string, have, need []string) *Challenge {
	all := slices.Clone(have)
	for _, s := range need {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return v.challengeFor(path, authz.ErrForbidden, http.StatusForbidden, codeScope, "the token lacks a scope that this needs", nil, all)
}

func lacking(have, need []string) (missing []string) {
	for _, s := range need {
		if !slices.Contains(have, s) {
			missing = append(missing, s)
		}
	}
	return missing
}

// fixed returns the caller of a door without tokens.
func (v *Verifier) fixed(address netip.Addr) *Who {
	a := v.cfg
	return &Who{Subject: authz.Entity{Ref: a.Subject}, OnBehalf: a.OnBehalf, Address: address, Key: callerKey("none", a.Subject.Type, a.Subject.ID)}
}

// Fixed returns the caller of a door on standard input (authorization: none), who has to show nothing. It is nil for other doors,
// also without tokens: what comes over the network may come from a page in a browser, and only Verify can tell.
func (g *Gateway) Fixed(address netip.Addr) *Who {
	if !g.opts.Stdio || g.common.Authorization.Type != authNone {
		return nil
	}
	return g.Verifier.fixed(address)
}

// local refuses what does not come from a program on this host to a door without tokens: from another host, through a proxy, or
// from a web page, by a name of its own that resolves to this host, or from another origin. (MCP, transports: servers must validate
// Origin against DNS rebinding.)
func (v *Verifier) local(r *http.Request, from netip.Addr) error {
	refuse := func(message string) error {
		return &Challenge{Status: http.StatusForbidden, Code: codeForeign, Message: message, header: http.Header{}, kind: authz.ErrForbidden}
	}
	if !from.IsLoopback() {
		return refuse("this door is for programs on its own host")
	}
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Real-Ip"} {
		if len(r.Header[name]) > 0 {
			return refuse("this door is for programs on its own host, and the request came through a proxy")
		}
	}
	public, _ := url.Parse(v.g.PublicURL())
	host, _, _ := strings.Cut(r.Host, ":")
	if strings.HasPrefix(r.Host, "[") {
		host = strings.TrimPrefix(r.Host[:max(strings.IndexByte(r.Host, ']'), 1)], "[")
	}
	ours := loopback(host) || public != nil && strings.EqualFold(r.Host, public.Host)
	origin := r.Header.Get("Origin")
	if origin != "" && ours {
		o, err := url.Parse(origin)
		ours = err == nil && (loopback(o.Hostname()) || public != nil && strings.EqualFold(o.Host, public.Host) && o.Scheme == public.Scheme)
	}
	if !ours {
		return refuse("the request names another host or comes from another origin")
	}
	// A page that only has something fetched, an image, sends no Origin. Browsers say then how it stands to this door (Fetch
	// Metadata): none is what a person typed.
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if origin == "" && site != "same-origin" && site != "none" {
			return refuse("the request comes from another origin")
		}
	}
	return nil
}

func addressOf(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// target returns the URL of a request as agents write it: the public one, not what the request says of its host.
func (v *Verifier) target(r *http.Request) string { return v.g.PublicURL() + r.URL.EscapedPath() }

// shown is what a request shows.
type shown struct {
	scheme string // dpop or bearer
	token  string
	proof  string
}

// shown reads the headers of a request.
func (v *Verifier) shown(r *http.Request, path string) (s shown, c *Challenge) {
	bad := func(message string) (shown, *Challenge) {
		return s, v.challenge(path, authz.ErrInvalid, http.StatusBadRequest, codeRequest, message, nil)
	}
	if queryToken(r.URL.RawQuery) {
		return bad("tokens are accepted in the Authorization header alone, not in the URL")
	}
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return s, v.challenge(path, authz.ErrUnauthenticated, http.StatusUnauthorized, "", "a token is needed", nil)
	}
	if len(values) > 1 {
		return bad("there is more than one Authorization header")
	}
	scheme, value, err := parseAuthorization(values[0])
	if err != nil {
		return bad(err.Error())
	}
	if scheme != "bearer" && scheme != "dpop" {
		return s, v.challenge(path, authz.ErrUnauthenticated, http.StatusUnauthorized, "", "a token is needed, by the scheme DPoP or Bearer", nil)
	}
	s.scheme, s.token = scheme, value
	switch proofs := r.Header["Dpop"]; {
	case len(proofs) > 1: // RFC 9449 section 4.3, check 1
		return s, v.challenge(path, authz.ErrUnauthenticated, http.StatusUnauthorized, codeProof, "there is more than one DPoP header", nil)
	case len(proofs) == 1 && len(proofs[0]) > token.MaxToken:
		return s, v.challenge(path, authz.ErrUnauthenticated, http.StatusUnauthorized, codeProof, "the DPoP proof is too long", nil)
	case len(proofs) == 1:
		s.proof = proofs[0]
	}
	return s, nil
}

// parseAuthorization reads an Authorization header of the form "SCHEME TOKEN" (RFC 6750 section 2.1, RFC 9110 section 11.4). The
// scheme is returned in lower case.
func parseAuthorization(value string) (scheme, tok string, err error) {
	scheme, tok, ok := strings.Cut(value, " ")
	if !ok || scheme == "" || len(scheme) > 32 || strings.ContainsFunc(scheme, func(c rune) bool { return !isAlnum(c) && c != '-' }) {
		return "", "", authz.Errorf(authz.ErrInvalid, "the Authorization header is no scheme and a token")
	}
	scheme = strings.ToLower(scheme)
	if scheme != "bearer" && scheme != "dpop" {
		return scheme, "", nil
	}
	if len(tok) > token.MaxToken {
		return "", "", authz.Errorf(authz.ErrInvalid, "the token has more than %d bytes", token.MaxToken)
	}
	body := strings.TrimRight(tok, "=")
	if body == "" || strings.ContainsFunc(body, func(c rune) bool { return !isAlnum(c) && !strings.ContainsRune("-._~+/", c) }) {
		return "", "", authz.Errorf(authz.ErrInvalid, "the Authorization header is no scheme and a token")
	}
	return scheme, tok, nil
}

func isAlnum(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// queryToken reports whether a query has the parameter access_token (RFC 6750 section 2.3), however it is written.
func queryToken(raw string) bool {
	for part := range strings.FieldsFuncSeq(raw, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if strings.EqualFold(name, "access_token") {
			return true
		}
	}
	return false
}

// A knownToken is a token whose signature was verified.
type knownToken struct {
	server   *server
	key      string // of the caller
	claims   *claims
	signedBy string // id of the key
	subject  authz.Ref
	onBehalf []authz.Ref
}

// token returns what a token says whose signature is good. authz.ErrUnavailable: it cannot be verified now.
func (v *Verifier) token(ctx context.Context, text string) (*knownToken, error) {
	sum := sha256.Sum256([]byte(text))
	if k := v.known.get(&sum); k != nil {
		if k.server.keys.has(ctx, k.signedBy) {
			return k, nil
		}
		v.known.drop(&sum)
	}
	jws, err := token.Parse(text)
	if err != nil {
		return nil, err
	}
	if jws.JWK != nil {
		return nil, errors.New("it brings its key along")
	}
	issuer, err := issuerOf(jws.Payload)
	if err != nil {
		return nil, err
	}
	s := v.servers[issuer]
	if s == nil {
		return nil, errors.New("its issuer is none whose tokens are accepted here")
	}
	if !slices.ContainsFunc(s.cfg.Types, jws.Is) {
		return nil, errors.New("its type (typ) is none that is accepted of its issuer")
	}
	signer, err := s.keys.verify(ctx, jws)
	if err != nil {
		return nil, err
	}
	k := &knownToken{server: s, signedBy: signer.ID}
	if s.passport {
		k.claims, err = passportClaims(jws.Payload)
	} else {
		k.claims, err = readClaims(jws.Payload)
	}
	if err != nil {
		return nil, err
	}
	if !s.passport {
		if k.subject, k.onBehalf, err = s.cfg.parties(k.claims); err != nil {
			return nil, err
		}
	}
	k.key = k.caller()
	v.known.put(&sum, k, v.now())
	return k, nil
}

// caller returns the key of whoever shows the token. The parties are in it as well as the claims of the client: where they come of
// other claims, one client may act as several agents.
func (k *knownToken) caller() string {
	key := k.claims.key()
	if k.server.passport { // whose claims say who it is
		return key
	}
	parts := []string{"by", k.subject.Type, k.subject.ID}
	for _, ref := range k.onBehalf {
		parts = append(parts, "for", ref.Type, ref.ID)
	}
	return key + "|" + callerKey(parts...)
}

// issuerOf returns the issuer that a token names, before anything of it is believed.
func issuerOf(payload []byte) (string, error) {
	c, err := readClaims(payload)
	if err != nil {
		return "", err
	}
	return c.issuer, nil
}

// audience returns which name of the door at path a token is for, "" if it is for somebody else. The one URL that has two
// spellings is an origin: with a slash at its end and without (RFC 3986 section 6.2.3).
func (v *Verifier) audience(k *knownToken, path string) string {
	resource := v.g.Resource(path)
	names := []string{resource, k.server.cfg.Audience}
	if strings.Count(resource, "/") == 2 {
		names = append(names, resource+"/")
	}
	for _, n := range names {
		if k.claims.isFor(n) {
			return n
		}
	}
	return ""
}

// bound checks that whoever shows a token holds what it is bound to, and returns the certificate of the connection if the token
// is bound to it.
func (v *Verifier) bound(r *http.Request, path string, k *knownToken, s *shown, now time.Time) (certificate string, c *Challenge) {
	bad := func(code, message string, cause error) (string, *Challenge) {
		return "", v.challenge(path, authz.ErrUnauthenticated, http.StatusUnauthorized, code, message, cause)
	}
	if want := k.claims.certificate; want != "" {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			return bad(codeToken, "the token is bound to a certificate, and the connection has none", nil)
		}
		sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		certificate = base64.RawURLEncoding.EncodeToString(sum[:])
		if subtle.ConstantTimeCompare([]byte(certificate), []byte(want)) != 1 {
			return bad(codeToken, "the token is bound to another certificate", nil)
		}
	}
	jkt := k.claims.jkt
	switch {
	case jkt == "" && s.scheme == "dpop":
		return bad(codeToken, "the token is bound to no key: its scheme is Bearer", nil)
	case jkt == "" && certificate == "" && k.server.cfg.RequireBound:
		return bad(codeToken, "the token is bound to no key, and such tokens are not accepted", nil)
	case jkt == "":
		s.proof = ""
		return certificate, nil
	case s.scheme == "bearer": // RFC 9449 section 7.2: no downgrade
		return bad(codeToken, "the token is bound to a key: its scheme is DPoP", nil)
	case s.proof == "":
		return bad(codeProof, "the token is bound to a key, and no DPoP proof came with it", nil)
	}
	proof, err := token.ParseProof(s.proof)
	if err != nil {
		return bad(codeProof, "the DPoP proof is not accepted", err)
	}
	if subtle.ConstantTimeCompare([]byte(proof.Key.ID), []byte(jkt)) != 1 {
		return bad(codeToken, "the token is bound to another key", nil)
	}
	if v.cfg.Nonce && !v.nonces.good(proof.Nonce, now) {
		return bad(codeNonce, "the DPoP proof needs a nonce of this server", nil)
	}
	if err := proof.Check(r.Method, v.target(r), s.token, now, v.cfg.Skew); err != nil {
		return bad(codeProof, "the DPoP proof is not for this request, or not of this time", err)
	}
	switch v.proofs.accept(proof, k.key, now, v.cfg.Skew) {
	case proofSeen:
		return bad(codeProof, "the DPoP proof was used before", nil)
	case proofFull:
		return "", v.challenge(path, authz.ErrUnavailable, http.StatusServiceUnavailable, codeBusy, "there are too many requests to tell this one from an old one", nil)
	}
	return certificate, nil
}

func (v *Verifier) challenge(path string, kind error, status int, code, message string, cause error) *Challenge {
	return v.challengeFor(path, kind, status, code, message, cause, v.cfg.Scopes)
}

// challengeFor makes a challenge. Bearer comes first, because clients that know one scheme look there for where to get a token;
// then DPoP, by which passports are shown.
func (v *Verifier) challengeFor(path string, kind error, status int, code, message string, cause error, scopes []string) *Challenge {
	c := &Challenge{Status: status, Code: code, Message: message, header: http.Header{}, kind: kind, cause: cause}
	if status == http.StatusServiceUnavailable {
		c.header.Set("Retry-After", "2")
		return c
	}
	ps := params{{"resource_metadata", v.g.metadataURL(path)}, {"scope", strings.Join(scopes, " ")}}
	described := append(slices.Clone(ps), params{{"error", code}, {"error_description", message}}...)
	if code == "" {
		described = ps
	}
	bearer, dpop := described, described
	if code == codeProof || code == codeNonce {
		bearer = ps
	}
	dpop = append(slices.Clone(dpop), params{{"algs", proofsAccept}}...)
	c.header["Www-Authenticate"] = []string{bearer.header("Bearer"), dpop.header("DPoP")}
	if v.cfg.Nonce {
		c.header["Dpop-Nonce"] = []string{v.nonces.mint(v.now())}
	}
	return c
}

// Nonce returns the nonce that answers carry, so that the next proof has it (RFC 9449 section 8.2); "" if none is demanded.
func (v *Verifier) Nonce() string {
	if v.cfg.Type == authNone || !v.cfg.Nonce {
		return ""
	}
	return v.nonces.mint(v.now())
}

// known keeps the tokens that were verified lately, by the SHA-256 of their texts. It saves the cryptography of the token's
// signature and nothing else.
type known struct {
	mu     sync.RWMutex
	tokens map[[32]byte]*knownToken
}

const maxKnown = 16 << 10

func (k *known) init() { k.tokens = map[[32]byte]*knownToken{} }

func (k *known) get(sum *[32]byte) *knownToken {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.tokens[*sum]
}

func (k *known) drop(sum *[32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.tokens, *sum)
}

// put keeps a token. If there is no room, what has expired goes, and else something or other.
func (k *known) put(sum *[32]byte, t *knownToken, now time.Time) {
	if !now.Before(t.claims.expires) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.tokens) >= maxKnown {
		for s, old := range k.tokens {
			if !now.Before(old.claims.expires) {
				delete(k.tokens, s)
			}
		}
		for s := range k.tokens {
			if len(k.tokens) < maxKnown*3/4 {
				break
			}
			delete(k.tokens, s)
		}
	}
	k.tokens[*sum] = t
}
