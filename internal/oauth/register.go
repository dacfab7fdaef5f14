package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Dynamic client registration (RFC 7591) and its management (RFC 7592), for clients that know nothing
// else. An agent is not made here: an administrator made it, with an enrolment token, which is the
// initial access token. The policies must permit the agent the action client.register besides.
//
// What it lacks: the standard has no proof of possession, so an agent can register a public key whose
// private key it does not hold. It harms itself: the key's holder can act as the agent. Whoever can
// use /oauth2/enroll should.

// Registrations keeps who may manage a registration: of the registration access token only the
// SHA-256, recorded and stored with the agent's credentials, and withdrawn with them.
type Registrations interface {
	// Registration returns the hash of an agent's registration access token, or authz.ErrNotFound.
	Registration(id authz.AgentID) (hash [sha256.Size]byte, err error)
	// KeepRegistration records the hash of a token that takes the place of the one before.
	KeepRegistration(ctx context.Context, actor string, id authz.AgentID, hash [sha256.Size]byte) error
}

const (
	registerPath = "/oauth2/register"

	// registrationPrefix begins every registration access token.
	registrationPrefix = "sc_reg_"

	// actionRegister is the action that the policies judge.
	actionRegister = "client.register"

	// Codes of RFC 7591, section 3.2.2.
	invalidRedirect = "invalid_redirect_uri"
	invalidMetadata = "invalid_client_metadata"
)

// clientMetadata is what matters of client metadata (RFC 7591, section 2). What else a client says is
// not kept, as the standard has it.
type clientMetadata struct {
	ClientID      string         `json:"client_id"` // only when a registration is updated
	Method        string         `json:"token_endpoint_auth_method"`
	Grants        []string       `json:"grant_types"`
	ResponseTypes []string       `json:"response_types"`
	RedirectURIs  []string       `json:"redirect_uris"`
	Keys          jsontext.Value `json:"jwks"`
	KeysURL       string         `json:"jwks_uri"`
	Delivery      string         `json:"backchannel_token_delivery_mode"`
}

// registered is the answer (RFC 7591, section 3.2.1; RFC 7592, section 3).
type registered struct {
	ClientID        string   `json:"client_id"`
	IssuedAt        int64    `json:"client_id_issued_at"`
	Method          string   `json:"token_endpoint_auth_method"`
	Grants          []string `json:"grant_types"`
	Keys            keySet   `json:"jwks"`
	URI             string   `json:"registration_client_uri"`
	RegistrationKey string   `json:"registration_access_token,omitempty"`
}

type keySet struct {
	Keys []jsontext.Value `json:"keys"`
}

// key returns the one key of client metadata.
func (m *clientMetadata) key(grants []string) (*token.Key, error) {
	bad := func(what string) (*token.Key, error) {
		return nil, &Error{Status: http.StatusBadRequest, Code: invalidMetadata, Description: what}
	}
	switch {
	case len(m.RedirectURIs) > 0:
		return nil, &Error{Status: http.StatusBadRequest, Code: invalidRedirect, Description: "nobody is redirected here: leave redirect_uris out"}
	case len(m.ResponseTypes) > 0:
		return bad("there is no authorization endpoint: leave response_types out")
	case m.Method != methodKey && m.Method != methodSelfSigned:
		return bad("token_endpoint_auth_method must be " + methodKey + " or " + methodSelfSigned)
	case m.Delivery != "" && m.Delivery != "poll":
		return bad("backchannel_token_delivery_mode must be poll: whom to tell is the administrator's to say")
	case m.KeysURL != "" || m.Keys == nil:
		return bad("want jwks, with one key, and no jwks_uri")
	}
	for _, g := range m.Grants {
		if !slices.Contains(grants, g) {
			return bad("grant_types has one that is not supported")
		}
	}
	var set keySet
	if err := json.Unmarshal(m.Keys, &set); err != nil || len(set.Keys) != 1 {
		return bad("want jwks, with one key, and no jwks_uri")
	}
	key, err := token.ParseKey(set.Keys[0])
	if err != nil {
		return bad("the key in jwks is no public key of Ed25519, P-256 or RSA of 2048 to 4096 bits")
	}
	return key, nil
}

// grantTypes returns the grants that there are.
func (s *Server) grantTypes() []string {
	all := []string{grantClient, grantAssertion, grantExchange}
	if s.cfg.Desk != nil {
		all = append(all, grantCIBA)
	}
	return all
}

// register registers the key of an agent that holds an enrolment token.
func (s *Server) register(w http.ResponseWriter, r *http.Request) error {
	var in clientMetadata
	if err := readMetadata(r, &in); err != nil {
		return err
	}
	key, err := in.key(s.grantTypes())
	if err != nil {
		return err
	}
	if in.ClientID != "" {
		return &Error{Status: http.StatusBadRequest, Code: invalidMetadata, Description: "client_id is not the client's to choose"}
	}
	initial, now := bearer(r), s.cfg.Now()
	id, err := s.cfg.Enrolment.PendingEnrolment(initial, now)
	agent := s.clients.active(id)
	if err != nil || agent == nil {
		return errEnrolment
	}
	if err := s.judgeRegistration(r, agent); err != nil {
		return err
	}
	var secret [32]byte
	if _, err := io.ReadFull(s.cfg.Rand, secret[:]); err != nil {
		return err
	}
	access := registrationPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	cred, err := s.cfg.Enrolment.Register(r.Context(), initial, key)
	if err != nil {
		return unregistered(err)
	}
	// If this is not reached the key is registered all the same, and cannot be managed from here.
	if err := s.cfg.Clients.Registrations.KeepRegistration(r.Context(), "agent:"+string(id), id, sha256.Sum256([]byte(access))); err != nil {
		return err
	}
	return s.writeRegistered(w, http.StatusCreated, cred.Agent, access)
}

// judgeRegistration asks the policies, and records what they said.
func (s *Server) judgeRegistration(r *http.Request, agent *authz.Agent) error {
	ref := authz.Ref{Type: authz.AgentType, ID: string(agent.ID)}
	req := authz.Request{
		Subject: authz.Entity{Ref: ref}, Action: authz.Action{Name: actionRegister}, Resource: authz.Entity{Ref: ref},
		Observed: authz.Observed{Address: s.cfg.Address(r), PEP: "agent:" + ref.ID, Method: "enrolment"},
	}
	decisions, drafts, err := s.cfg.Judge.Judge([]authz.Request{req}, s.cfg.Now())
	if err != nil {
		return err
	}
	if _, err := s.cfg.Log.CommitAll(r.Context(), drafts...); err != nil {
		return err
	}
	// Nobody meets obligations here, so a permission that has some is none.
	if len(decisions) != 1 || !decisions[0].Allowed() || len(decisions[0].Obligations) > 0 {
		return &Error{Status: http.StatusForbidden, Code: accessDenied, Description: "policy does not permit that the agent registers itself"}
	}
	return nil
}

// registration answers with a registration as it stands.
func (s *Server) registration(w http.ResponseWriter, r *http.Request) error {
	agent, err := s.registrant(r)
	if err != nil {
		return err
	}
	return s.writeRegistered(w, http.StatusOK, agent.ID, "")
}

// updateRegistration replaces the key, as a rotation does: the old one goes on for a while.
func (s *Server) updateRegistration(w http.ResponseWriter, r *http.Request) error {
	agent, err := s.registrant(r)
	if err != nil {
		return err
	}
	var in clientMetadata
	if err := readMetadata(r, &in); err != nil {
		return err
	}
	key, err := in.key(s.grantTypes())
	if err != nil {
		return err
	}
	if in.ClientID != string(agent.ID) {
		return &Error{Status: http.StatusBadRequest, Code: invalidMetadata, Description: "client_id is another than the registration's"}
	}
	newest := ""
	for _, cred := range s.activeKeys(agent.ID) {
		if newest = cred.ID; newest == key.ID {
			return s.writeRegistered(w, http.StatusOK, agent.ID, "")
		}
	}
	if err := s.judgeRegistration(r, agent); err != nil {
		return err
	}
	if _, err := s.cfg.Enrolment.Rotate(r.Context(), "agent:"+string(agent.ID), agent.ID, newest, key); err != nil {
		return unregistered(err)
	}
	return s.writeRegistered(w, http.StatusOK, agent.ID, "")
}

// deleteRegistration refuses every credential of the agent from now on, the registration access token too.
func (s *Server) deleteRegistration(w http.ResponseWriter, r *http.Request) error {
	agent, err := s.registrant(r)
	if err != nil {
		return err
	}
	const why = "the client deleted its registration"
	if _, err := s.cfg.Enrolment.RevokeCredential(r.Context(), "agent:"+string(agent.ID), why, agent.ID, ""); err != nil {
		return err
	}
	w.Header()["Cache-Control"] = noStore
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// registrant returns the active agent whose registration access token a request carries. Whatever is
// amiss has one answer (RFC 7592, section 2.1).
func (s *Server) registrant(r *http.Request) (*authz.Agent, error) {
	h := sha256.Sum256([]byte(bearer(r)))
	id := authz.AgentID(r.PathValue("client"))
	want, err := s.cfg.Clients.Registrations.Registration(id)
	agent := s.clients.active(id)
	if same := subtle.ConstantTimeCompare(h[:], want[:]) == 1; err != nil || agent == nil || !same {
		return nil, &Error{Status: http.StatusUnauthorized, Code: invalidToken, Description: "the registration access token is unknown or withdrawn"}
	}
	return agent, nil
}

// activeKeys returns the keys that an agent can authenticate with now, oldest first.
func (s *Server) activeKeys(id authz.AgentID) (keys []*Credential) {
	now := s.cfg.Now()
	for _, cred := range s.cfg.Agents.Credentials(id) {
		if cred.Key != nil && cred.Active(now) {
			keys = append(keys, cred)
		}
	}
	return keys
}

// writeRegistered answers with a registration. access is the registration access token, "" if the
// client has it already: we have not.
func (s *Server) writeRegistered(w http.ResponseWriter, status int, id authz.AgentID, access string) error {
	out := registered{
		ClientID: string(id), Method: methodKey, Grants: s.grantTypes(), Keys: keySet{Keys: []jsontext.Value{}},
		URI: s.cfg.Issuer + registerPath + "/" + string(id), RegistrationKey: access,
	}
	for i, cred := range s.activeKeys(id) {
		if i == 0 {
			out.IssuedAt = cred.CreatedAt.Unix()
		}
		out.Keys.Keys = append(out.Keys.Keys, jsontext.Value(cred.Key.JWK()))
	}
	return writeJSON(w, status, out)
}

// readMetadata reads client metadata, in which unknown members are not minded (RFC 7591, section 2).
// token_endpoint_auth_method, which the standard would have be a secret by default, is private_key_jwt.
func readMetadata(r *http.Request, in *clientMetadata) error {
	if err := readJSON(r, in, json.RejectUnknownMembers(false)); err != nil {
		return err
	}
	if in.Method == "" {
		in.Method = methodKey
	}
	return nil
}

// bearer returns the bearer token of a request (RFC 6750, section 2.1), "" if there is none.
func bearer(r *http.Request) string {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(text)
}
