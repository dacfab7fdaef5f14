package gateway

import (
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// claims are those of an access token (RFC 7519, RFC 9068), strictly read.
type claims struct {
	all               map[string]any
	issuer, id        string
	subject, clientID string
	audience          []string
	expires           time.Time
	notBefore, issued time.Time
	scopes            []string
	jkt, certificate  string           // how it is bound (RFC 7800)
	actors            []map[string]any // RFC 8693 section 4.1, the current one first
}

const (
	maxActors  = 8
	maxSubject = 256 // bytes of what becomes an id
	maxScopes  = 500
)

func badClaims(format string, args ...any) error {
	return authz.Errorf(authz.ErrInvalid, format, args...)
}

// strictObject returns authz.ErrInvalid unless text is one JSON object in which no name is twice.
func strictObject(text []byte) error {
	v := jsontext.Value(text)
	if len(text) > 1<<20 || !v.IsValid() || v.Kind() != '{' {
		return badClaims("this is no JSON object, or has a member twice")
	}
	return nil
}

// readClaims reads the payload of a JWS that token.Parse has read: an object without duplicate names.
func readClaims(payload []byte) (*claims, error) {
	c := &claims{}
	if err := json.Unmarshal(payload, &c.all); err != nil {
		return nil, badClaims("the claims are no JSON object")
	}
	var err error
	text := func(name string) (s string) {
		v, ok := c.all[name]
		if s, _ = v.(string); ok && (s == "" || len(s) > 1024) && err == nil {
			err = badClaims("the claim %s is no text, or too long", name)
		}
		return s
	}
	date := func(name string) (t time.Time) {
		v, ok := c.all[name]
		if !ok {
			return t
		}
		f, isNumber := v.(float64)
		if !isNumber || !(f >= 0 && f < 253402300800) {
			if err == nil {
				err = badClaims("the claim %s is no time", name)
			}
			return t
		}
		whole, part := math.Modf(f)
		return time.Unix(int64(whole), int64(part*1e9))
	}
	c.issuer, c.subject, c.clientID, c.id = text("iss"), text("sub"), text("client_id"), text("jti")
	c.expires, c.notBefore, c.issued = date("exp"), date("nbf"), date("iat")
	if err != nil {
		return nil, err
	}
	if c.issuer == "" || c.expires.IsZero() {
		return nil, badClaims("the token lacks iss or exp")
	}
	if c.audience, err = texts(c.all["aud"], "aud"); err != nil {
		return nil, err
	}
	if len(c.audience) == 0 {
		return nil, badClaims("the token lacks aud")
	}
	if c.scopes, err = scopesOf(c.all); err != nil {
		return nil, err
	}
	if err := c.confirmation(); err != nil {
		return nil, err
	}
	return c, c.actorChain()
}

// texts returns a text or a list of them.
func texts(v any, name string) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		out := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok || i >= 100 {
				return nil, badClaims("the claim %s is no list of texts, or too long", name)
			}
			out[i] = s
		}
		return out, nil
	}
	return nil, badClaims("the claim %s is neither a text nor a list of them", name)
}

// scopesOf returns the scopes of a token: "scope" as RFC 8693 section 4.2 has it, or "scp", a list or text, as some servers do.
func scopesOf(all map[string]any) ([]string, error) {
	v, ok := all["scope"]
	if !ok {
		v = all["scp"]
	}
	list, err := texts(v, "scope")
	if err != nil {
		return nil, err
	}
	if len(list) == 1 {
		list = strings.Fields(list[0])
	}
	if len(list) > maxScopes {
		return nil, badClaims("the token has more than %d scopes", maxScopes)
	}
	return list, nil
}

// confirmation reads cnf (RFC 7800): a binding that is not known cannot be checked, so the token is refused.
func (c *claims) confirmation() error {
	v, ok := c.all["cnf"]
	if !ok {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		return badClaims("the claim cnf binds to nothing")
	}
	for name, v := range m {
		s, _ := v.(string)
		switch {
		case len(s) != 43:
			return badClaims("the claim cnf binds in a way that is not known")
		case name == "jkt":
			c.jkt = s
		case name == "x5t#S256":
			c.certificate = s
		default:
			return badClaims("the claim cnf binds in a way that is not known")
		}
	}
	return nil
}

func (c *claims) actorChain() error {
	v, ok := c.all["act"]
	for ok {
		m, isObject := v.(map[string]any)
		if !isObject || len(c.actors) >= maxActors {
			return badClaims("the claim act is no chain of at most %d actors", maxActors)
		}
		if s, _ := m["sub"].(string); s == "" {
			return badClaims("an actor in the claim act has no sub")
		}
		c.actors = append(c.actors, m)
		v, ok = m["act"]
	}
	return nil
}

// isFor reports whether the token is for one of those.
func (c *claims) isFor(audiences ...string) bool {
	return slices.ContainsFunc(audiences, func(a string) bool { return a != "" && slices.Contains(c.audience, a) })
}

// current returns an error unless the token counts at that time. For as long as late it counts after its end, and skew is how
// far clocks may be apart otherwise.
func (c *claims) current(now time.Time, late, skew time.Duration) error {
	switch {
	case !now.Before(c.expires.Add(late)):
		return badClaims("the token has expired")
	case now.Add(skew).Before(c.notBefore):
		return badClaims("the token is not valid yet")
	case now.Add(skew).Before(c.issued):
		return badClaims("the token was issued in the future")
	}
	return nil
}

// entity makes a claim an entity. from is the token's claims, or those of an actor, who may have no other claim than sub.
func (r *ClaimRef) entity(from map[string]any, claim string) (authz.Ref, error) {
	v, _ := from[claim].(string)
	if v == "" || len(v) > maxSubject || !utf8.ValidString(v) || strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return authz.Ref{}, badClaims("the claim %s names nobody", claim)
	}
	if r.Names != nil {
		id, ok := r.Names[v]
		if !ok {
			return authz.Ref{}, authz.Errorf(authz.ErrForbidden, "the claim %s names nobody who is known here", claim)
		}
		return authz.Ref{Type: r.Type, ID: r.Prefix + id}, nil
	}
	return authz.Ref{Type: r.Type, ID: r.Prefix + v}, nil
}

// parties returns who acts by a token and for whom, nearest first (RFC 8693 section 4.1: the outermost actor acts, and the
// subject is whom all of them act for).
func (s *AuthServer) parties(c *claims) (subject authz.Ref, onBehalf []authz.Ref, err error) {
	if len(c.actors) == 0 {
		if subject, err = s.Subject.entity(c.all, s.Subject.Claim); err != nil {
			return subject, nil, err
		}
		if s.OnBehalf.Claim == "-" || c.all[s.OnBehalf.Claim] == nil || c.all[s.OnBehalf.Claim] == c.all[s.Subject.Claim] {
			return subject, nil, nil
		}
		person, err := s.OnBehalf.entity(c.all, s.OnBehalf.Claim)
		if err != nil {
			return subject, nil, err
		}
		return subject, []authz.Ref{person}, nil
	}
	for i, a := range c.actors {
		claim := s.Subject.Claim
		if _, ok := a[claim]; !ok {
			claim = "sub"
		}
		ref, err := s.Subject.entity(a, claim)
		if err != nil {
			return subject, nil, err
		}
		if i == 0 {
			subject = ref
		} else {
			onBehalf = append(onBehalf, ref)
		}
	}
	if s.OnBehalf.Claim == "-" {
		return subject, onBehalf, nil
	}
	person, err := s.OnBehalf.entity(c.all, s.OnBehalf.Claim)
	if err != nil {
		return subject, nil, err
	}
	return subject, append(onBehalf, person), nil
}

// callerKey tells callers apart. Each part is escaped, so that no two lists of parts make one key.
func callerKey(parts ...string) string {
	for i := range parts {
		parts[i] = url.QueryEscape(parts[i])
	}
	return strings.Join(parts, "|")
}

// key is that of whoever shows a token with these claims.
func (c *claims) key() string {
	parts := []string{c.issuer, c.subject, c.clientID}
	if azp, _ := c.all["azp"].(string); azp != "" {
		parts = append(parts, "azp", azp)
	}
	for _, a := range c.actors {
		sub, _ := a["sub"].(string)
		client, _ := a["client_id"].(string)
		parts = append(parts, "act", sub, client)
	}
	return callerKey(parts...)
}

// passportClaims reads a passport's claims as those of any token. What token.ParsePassport demands beyond them it checks.
func passportClaims(payload []byte) (*claims, error) {
	if _, err := token.ParsePassport(payload); err != nil {
		return nil, err
	}
	return readClaims(payload)
}
