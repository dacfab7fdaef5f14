package oauth

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/internal/token"
)

// requestLife is how far ahead exp of a signed request may be. FAPI-CIBA allows an hour; this is as long
// as a used one is remembered.
const requestLife = maxAssertion

// ofClient are the parameters that stand beside a signed request: those of client authentication.
var ofClient = []string{"request", "client_id", "client_assertion", "client_assertion_type"}

// A signed is what a request says of itself (CIBA Core 1.0, section 7.1.1).
type signed struct {
	issuer, id           string
	audience             []string
	expires, issued, nbf time.Time
	rest                 url.Values // the parameters of the question
}

// signedRequest returns the parameters of a question: those of the form or, if there is a parameter
// request, those in it and no others. A request is signed by the client, counts once, and is good for
// five minutes; uses gets it.
func (s *Server) signedRequest(ctx context.Context, form url.Values, q *inquiry, uses []*Use) (url.Values, []*Use, error) {
	text := form.Get("request")
	if text == "" {
		return form, uses, nil
	}
	bad := func(description string, cause error) (url.Values, []*Use, error) {
		return nil, nil, badRequest("request: "+description, cause)
	}
	for name := range form {
		if !slices.Contains(ofClient, name) {
			return bad("all parameters stand in it, and none beside it", nil)
		}
	}
	jws, err := token.Parse(text)
	if err != nil || jws.JWK != nil {
		return bad("want a compact JWS that a key of the client signed", err)
	}
	r, err := parseSigned(jws.Payload)
	if err != nil {
		return bad("its claims cannot be read", err)
	}
	now, skew := q.now, s.cfg.Skew
	switch {
	case r.issuer != q.client.ID || !slices.Equal(r.audience, []string{s.cfg.Issuer}):
		return bad("iss must be the client_id, and aud "+s.cfg.Issuer, nil)
	case r.id == "" || len(r.id) > maxJTI:
		return bad("jti must have 1 to 256 characters", nil)
	case r.expires.IsZero() || r.issued.IsZero() || r.nbf.IsZero():
		return bad("exp, iat and nbf are needed", nil)
	case !now.Before(r.expires), r.nbf.After(now.Add(skew)), r.issued.After(now.Add(skew)):
		return bad("it has expired, or is not valid yet", nil)
	case r.expires.After(now.Add(requestLife + skew)), r.nbf.Before(now.Add(-requestLife - skew)):
		return bad("nbf and exp must be within five minutes of now", nil)
	}
	if !s.signedBy(ctx, q, jws) {
		return bad("no key of the client made its signature", nil)
	}
	use := &Use{Hash: UseOf("request\x00"+r.issuer, r.id), Until: r.expires}
	if s.used(use) {
		return bad("it was used before", errUsed)
	}
	return r.rest, append(uses, use), nil
}

// signedBy reports whether the client that authenticated has an active key that made a signature.
func (s *Server) signedBy(ctx context.Context, q *inquiry, jws *token.JWS) bool {
	c := s.clients
	if strings.HasPrefix(q.client.ID, "https://") {
		_, key := c.documentKey(ctx, jws, q.client.ID, q.now)
		return key != nil && jws.Verify(key) == nil
	}
	return c.verify(jws, q.client.Agent, c.candidates(jws, q.client.Agent, q.now)) != nil
}

// parseSigned reads the payload of a request. Strings are parameters; so are the number requested_expiry,
// and the arrays resource and authorization_details.
func parseSigned(payload []byte) (*signed, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(payload, &members); err != nil {
		return nil, err
	}
	r := &signed{rest: url.Values{}}
	for name, v := range members {
		var err error
		switch name {
		case "iss":
			err = json.Unmarshal(v, &r.issuer)
		case "jti":
			err = json.Unmarshal(v, &r.id)
		case "aud":
			r.audience, err = oneOrMore(v)
		case "exp":
			r.expires, err = second(v)
		case "iat":
			r.issued, err = second(v)
		case "nbf":
			r.nbf, err = second(v)
		case "authorization_details":
			r.rest.Set(name, string(v))
		case "resource":
			r.rest[name], err = oneOrMore(v)
		case "requested_expiry":
			text, ok := scalar(v)
			if !ok {
				return nil, errNotText
			}
			r.rest.Set(name, text)
		default:
			var text string
			if err = json.Unmarshal(v, &text); err == nil && text != "" {
				r.rest.Set(name, text)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	// What a form could not hold is refused here, too.
	var err error
	r.rest, err = parseForm(r.rest.Encode())
	return r, err
}

// oneOrMore reads a string or an array of strings.
func oneOrMore(v jsontext.Value) (list []string, err error) {
	if v.Kind() == '"' {
		list = make([]string, 1)
		return list, json.Unmarshal(v, &list[0])
	}
	return list, json.Unmarshal(v, &list)
}

// second reads a time in whole seconds since 1970.
func second(v jsontext.Value) (time.Time, error) {
	var n int64
	err := json.Unmarshal(v, &n)
	return time.Unix(n, 0), err
}
