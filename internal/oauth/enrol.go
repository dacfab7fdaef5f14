package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
)

// clientRoutes are the endpoints at which agents enrol and register.
func (s *Server) clientRoutes() []route {
	rs := []route{
		{"POST", "/oauth2/enroll", s.enrol},
		{"POST", "/oauth2/keys", s.rotate},
	}
	if s.cfg.Clients.Registration {
		rs = append(rs,
			route{"POST", registerPath, s.register},
			route{"GET", registerPath + "/{client}", s.registration},
			route{"PUT", registerPath + "/{client}", s.updateRegistration},
			route{"DELETE", registerPath + "/{client}", s.deleteRegistration},
		)
	}
	return rs
}

// An enrolment is the body of a request to register an agent's first key.
type enrolment struct {
	Token string `json:"token"` // that an administrator made for the agent
	Proof string `json:"proof"` // that the sender holds the key; see keyProof
}

// An enrolled is the answer: all that the agent needs to configure itself.
type enrolled struct {
	ClientID      string `json:"client_id"`
	KeyID         string `json:"kid"`
	Issuer        string `json:"issuer"`
	TokenEndpoint string `json:"token_endpoint"`
	ExpiresAt     string `json:"expires_at,omitempty"` // of the key, RFC 3339; missing if it does not expire
}

// enrol registers the key of an agent that holds an enrolment token.
//
// First comes the proof, which anybody can make; then the token, of which there is one answer
// whatever is wrong with it or with its agent.
func (s *Server) enrol(w http.ResponseWriter, r *http.Request) error {
	var in enrolment
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if in.Token == "" {
		return &Error{Status: http.StatusBadRequest, Code: invalidRequest, Description: "token is missing"}
	}
	key, err := s.clients.keyProof(in.Proof, enrolmentNonce(in.Token), "")
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	if id, err := s.cfg.Enrolment.PendingEnrolment(in.Token, now); err != nil {
		// Whoever holds a registered key may hear so again: an answer may have been lost on its way.
		if cred, err := s.cfg.Agents.Credential(key.ID); err == nil && cred.Active(now) && s.clients.active(cred.Agent) != nil {
			return s.writeEnrolled(w, http.StatusOK, cred)
		}
		return errEnrolment
	} else if s.clients.active(id) == nil {
		return errEnrolment
	}
	cred, err := s.cfg.Enrolment.Register(r.Context(), in.Token, key)
	if err != nil {
		return unregistered(err)
	}
	return s.writeEnrolled(w, http.StatusCreated, cred)
}

// errEnrolment is the one answer to an enrolment token that is no good.
var errEnrolment = &Error{Status: http.StatusUnauthorized, Code: invalidToken, Description: "the enrolment token is unknown, used or expired"}

// unregistered returns the answer to somebody whose key could not be registered.
func unregistered(err error) error {
	switch {
	case errors.Is(err, authz.ErrUnauthenticated):
		return errEnrolment
	case errors.Is(err, authz.ErrConflict), errors.Is(err, authz.ErrNotFound), errors.Is(err, authz.ErrInvalid):
		return &Error{Status: http.StatusBadRequest, Code: invalidKeyProof, Description: "the key cannot be registered: it was registered before, or the agent has as many as it can have, or the key that it replaces was replaced already", Cause: err}
	}
	return err
}

// writeEnrolled answers with a registered key.
func (s *Server) writeEnrolled(w http.ResponseWriter, status int, cred *Credential) error {
	return writeJSON(w, status, enrolled{
		ClientID: string(cred.Agent), KeyID: cred.ID, Issuer: s.cfg.Issuer, TokenEndpoint: s.cfg.Issuer + tokenPath, ExpiresAt: rfc3339(cred.ExpiresAt),
	})
}

// rotate registers a new key of an agent that authenticated with a registered one, which goes on for
// a while. The form has a proof of the new key beside the client authentication.
func (s *Server) rotate(w http.ResponseWriter, r *http.Request) error {
	form, err := s.form(r)
	if err != nil {
		return err
	}
	cl, err := s.authenticate(r, form)
	if err != nil {
		return err
	}
	if err := s.consume(r.Context(), "agent:"+string(cl.Agent.ID), cl.Use); err != nil { // before anything is said to who only seems to be the agent
		return err
	}
	if cl.Since.IsZero() {
		return &Error{Status: http.StatusForbidden, Code: unauthorizedClient, Description: "who authenticates by something else than a registered key has no key to replace"}
	}
	key, err := s.clients.keyProof(form.Get("proof"), "", string(cl.Agent.ID))
	if err != nil {
		return err
	}
	if key.ID == cl.Key {
		return badProof("the proof is of the key that authenticated: make a new one")
	}
	cred, err := s.cfg.Enrolment.Rotate(r.Context(), "agent:"+string(cl.Agent.ID), cl.Agent.ID, cl.Key, key)
	if err != nil {
		return unregistered(err)
	}
	return s.writeEnrolled(w, http.StatusOK, cred)
}

// maxJSON is the most bytes of a JSON body.
const maxJSON = 32 << 10

// readJSON reads a JSON body strictly: a member twice or unknown is refused, as is anything after it.
func readJSON(r *http.Request, in any, opts ...json.Options) error {
	bad := func(what string) error {
		return &Error{Status: http.StatusBadRequest, Code: invalidRequest, Description: what}
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != jsonType {
		return bad("the body must be " + jsonType)
	}
	if r.URL.RawQuery != "" {
		return bad("parameters belong into the body, not into the URL")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxJSON+1))
	if err != nil {
		return &Error{Status: http.StatusBadRequest, Code: invalidRequest, Description: "the body could not be read", Cause: err}
	}
	if len(body) > maxJSON {
		return errFormTooLarge
	}
	if len(opts) == 0 {
		opts = []json.Options{json.RejectUnknownMembers(true)}
	}
	if err := json.Unmarshal(body, in, opts...); err != nil {
		return bad("the body is not the JSON object that is expected here")
	}
	return nil
}

// writeJSON answers with a JSON object.
func writeJSON(w http.ResponseWriter, status int, out any) error {
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	writeAnswer(w, status, jsonType, body)
	return nil
}
