package oauth

import (
	"slices"
	"strconv"
	"strings"

	"github.com/safeconduct/safeconduct/internal/token"
)

// Persons in tokens and requests. No id of an agent has a colon, so no agent is taken for a person
// (RFC 9068, section 5).
const (
	personType   = "user"
	personPrefix = personType + ":"
)

// idTokenType keeps ID tokens apart from access tokens, whose type is token.PassportType.
const idTokenType = "JWT"

// idToken returns the ID token that goes along with a token (OpenID Connect Core 1.0, section 2): who was
// asked, and how the person authenticated. It opens nothing.
func (s *Server) idToken(signer *token.Signer, o *order, p *token.Passport) (string, error) {
	b := append(make([]byte, 0, 512), `{"iss":`...)
	b = appendString(b, p.Issuer)
	b = append(b, `,"sub":`...)
	b = appendString(b, p.Subject)
	b = append(b, `,"aud":`...)
	b = appendString(b, p.ClientID)
	b = append(b, `,"iat":`...)
	b = strconv.AppendInt(b, p.IssuedAt.Unix(), 10)
	b = append(b, `,"exp":`...)
	b = strconv.AppendInt(b, p.Expires.Unix(), 10)
	if !p.AuthTime.IsZero() {
		b = append(b, `,"auth_time":`...)
		b = strconv.AppendInt(b, p.AuthTime.Unix(), 10)
	}
	b = append(b, `,"acr":`...)
	b = appendString(b, p.ACR)
	if len(p.AMR) > 0 {
		b = append(b, `,"amr":`...)
		b = appendStrings(b, p.AMR)
	}
	b = append(b, `,"urn:openid:params:jwt:claim:auth_req_id":`...)
	b = appendString(b, o.ask)
	return signer.Sign(idTokenType, append(b, '}'))
}

// hinted returns the person of an ID token of ours that was issued to the client (id_token_hint: CIBA
// Core 1.0, section 7.1), however old it is: it says who is meant and nothing else.
func (s *Server) hinted(text string, c *Client) (person string, ok bool) {
	jws, err := token.Parse(text)
	if err != nil || jws.Type != idTokenType || jws.JWK != nil || jws.KeyID == "" {
		return "", false
	}
	key, err := s.cfg.Keys.TokenKey(jws.KeyID)
	if err != nil || jws.Verify(key) != nil {
		return "", false
	}
	a, err := token.ParseAssertion(jws.Payload)
	if err != nil || a.Issuer != s.cfg.Issuer || !slices.Equal(a.Audience, []string{c.ID}) {
		return "", false
	}
	return cutPerson(a.Subject)
}

// cutPerson returns the id of a person out of the subject of a token.
func cutPerson(subject string) (id string, ok bool) {
	id, ok = strings.CutPrefix(subject, personPrefix)
	return id, ok && id != ""
}
