package oauth

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/internal/token"
)

// introspect answers what is true of a token now (RFC 7662). Those who may ask are the holders of API
// tokens (resource servers have the role pep), and agents, of their own tokens. For whatever is not an
// active token of ours the answer is the same, and says nothing.
//
// The answer is that of the moment: agents, credentials, revocations, policies, risk and schedules are
// looked at, and a capability that would not be granted now is not in it. If the request accepts
// application/token-introspection+jwt the answer is signed (RFC 9701).
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) error {
	form, err := s.form(r)
	if err != nil {
		return err
	}
	who, err := s.asker(r, form)
	if err != nil {
		return err
	}
	text := form.Get("token")
	if text == "" {
		return badRequest("token is missing", nil)
	}
	answer := inactive
	now := s.cfg.Now()
	if p, err := s.verify(text, now); err == nil && (who.client == nil || who.client.ID == p.claims.ClientID) {
		v, err := s.live(p, now)
		if err != nil {
			return err
		}
		answer = v.answer
	}
	if !acceptsJWT(r.Header) {
		writeAnswer(w, http.StatusOK, jsonType, answer)
		return nil
	}
	signed, err := s.signIntrospection(answer, who.name, now)
	if err != nil {
		return err
	}
	writeAnswer(w, http.StatusOK, introspectionType, []byte(signed))
	return nil
}

// introspectionType is the media type of a signed answer (RFC 9701, section 5).
const introspectionType = "application/token-introspection+jwt"

func acceptsJWT(h http.Header) bool {
	for _, accept := range h["Accept"] {
		for part := range strings.SplitSeq(accept, ",") {
			media, params, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(media), introspectionType) && strings.ReplaceAll(params, " ", "") != "q=0" {
				return true
			}
		}
	}
	return false
}

// signIntrospection returns a signed answer (RFC 9701, section 5). Its type keeps it from being taken for
// an access token.
func (s *Server) signIntrospection(answer []byte, audience string, now time.Time) (string, error) {
	signer, err := s.cfg.Keys.TokenSigner(s.cfg.Algorithm)
	if err != nil {
		return "", err
	}
	b := make([]byte, 0, len(answer)+256)
	b = append(b, `{"iss":`...)
	b = appendString(b, s.cfg.Issuer)
	b = append(b, `,"aud":`...)
	b = appendString(b, audience)
	b = append(b, `,"iat":`...)
	b = strconv.AppendInt(b, now.Unix(), 10)
	b = append(b, `,"token_introspection":`...)
	b = append(append(b, answer...), '}')
	return signer.Sign("token-introspection+jwt", b)
}

// An asker is who sends a form about a token: the holder of an API token, or a client.
type asker struct {
	name   string
	role   string  // of the holder of an API token
	client *Client // nil if it is none
}

var nobody asker

func (s *Server) asker(r *http.Request, form url.Values) (asker, error) {
	if values := r.Header["Authorization"]; len(values) > 0 {
		scheme, text, _ := strings.Cut(values[0], " ")
		if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || form.Has("client_assertion") {
			return nobody, badClient("authenticate by a bearer token of the API, or as a client, and by one of them only")
		}
		who, role, err := s.cfg.Callers.Caller(strings.TrimSpace(text))
		if err != nil {
			return nobody, noClient("the bearer token is unknown or revoked")
		}
		return asker{name: who, role: role}, nil
	}
	client, err := s.authenticate(r, form)
	if err != nil {
		return nobody, err
	}
	if err := s.consume(r.Context(), "agent:"+string(client.Agent.ID), client.Use); err != nil {
		return nobody, err
	}
	return asker{name: client.ID, client: client}, nil
}

// introspected returns the answer for a token that counts (RFC 7662, section 2.2): its claims, but for
// what is reduced now and what is said of trust and conduct, and the epoch of its agents: the number of the newest log entry that changed one
// of them or one of their credentials. Of two answers with the same epoch the later one can differ only
// by what time, policies, risk and revocations have done.
func (s *Server) introspected(p *passport, v *view, conduct *token.Conduct) []byte {
	c := *p.claims
	c.Scope, c.Details = make([]string, len(v.details)), nil
	for i := range v.details {
		c.Scope[i] = v.details[i].Identifier
		if !bare(&v.details[i]) {
			c.Details = append(c.Details, v.details[i])
		}
	}
	c.ACR, c.Conduct, c.Status = v.acr, conduct, nil
	b := make([]byte, 0, 1024)
	b = append(b, `{"active":true,"token_type":"`...)
	b = append(b, tokenType(c.Confirmation)...)
	b = append(b, `","safeconduct_epoch":`...)
	b = strconv.AppendInt(b, slices.Max(v.mark.epochs[:]), 10)
	b = append(b, ',')
	n := len(b)
	b = c.Append(b)
	return slices.Delete(b, n, n+1) // the brace that begins the claims
}
