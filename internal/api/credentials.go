package api

import (
	"context"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/caller"
)

// CredentialAdmin knows and changes how agents authenticate. *agent.Registry is one.
type CredentialAdmin interface {
	Credentials(id authz.AgentID) []*agent.Credential
	Enrolment(id authz.AgentID, at time.Time) (agent.Enrolment, bool)
	RegisteredSince(id authz.AgentID) (at time.Time, asOf int64, ok bool)
	Due(within time.Duration, at time.Time) []*agent.Credential
	Enrol(ctx context.Context, actor, why string, id authz.AgentID, ttl time.Duration) (agent.Enrolment, error)
	RevokeCredential(ctx context.Context, actor, why string, id authz.AgentID, credential string) (*agent.Credential, error)
	LinkDocument(ctx context.Context, actor, why string, id authz.AgentID, url string) (*agent.Credential, error)
}

// An AgentKey is a credential of an agent, a key or a document, as those who watch see it.
type AgentKey struct {
	agent.Credential
	State string `json:"state" doc:"active, expired or revoked"`
}

func agentKeys(cs []*agent.Credential, at time.Time) []AgentKey {
	out := make([]AgentKey, len(cs))
	for i, c := range cs {
		out[i] = AgentKey{Credential: *c, State: "active"}
		switch {
		case !c.RevokedAt.IsZero():
			out[i].State = "revoked"
		case !c.Active(at):
			out[i].State = "expired"
		}
	}
	return out
}

// AgentKeys is what an agent authenticates with, and did in the past.
type AgentKeys struct {
	Items        []AgentKey         `json:"items" doc:"the oldest first"`
	Enrolment    *PendingEnrolment  `json:"enrolment,omitempty" doc:"a token that was made and not used yet"`
	Registration *RegistrationToken `json:"registration,omitempty" doc:"a token with which a client replaces its key (RFC 7592)"`
}

// A PendingEnrolment is an enrolment token that can still be used. The token itself is not known here.
type PendingEnrolment struct {
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	AsOf      int64     `json:"as_of"`
}

// A RegistrationToken is a registration access token that is good. The token itself is not known here.
type RegistrationToken struct {
	CreatedAt time.Time `json:"created_at"`
	AsOf      int64     `json:"as_of"`
}

func (s *Server) listAgentKeys(_ *http.Request, _ *caller.Identity, in agentID) (AgentKeys, error) {
	id := authz.AgentID(in.ID)
	if _, err := s.Agents.Agent(id); err != nil {
		return AgentKeys{}, err
	}
	return s.keysOf(id), nil
}

func (s *Server) keysOf(id authz.AgentID) AgentKeys {
	now := s.Now()
	out := AgentKeys{Items: agentKeys(s.Agents.Credentials(id), now)}
	if e, ok := s.Agents.Enrolment(id, now); ok {
		out.Enrolment = &PendingEnrolment{CreatedAt: e.CreatedAt, ExpiresAt: e.ExpiresAt, AsOf: e.AsOf}
	}
	if at, asOf, ok := s.Agents.RegisteredSince(id); ok {
		out.Registration = &RegistrationToken{CreatedAt: at, AsOf: asOf}
	}
	return out
}

type enrolAgent struct {
	agentID `json:"-"`
	TTL     int64 `json:"ttl_seconds,omitempty" doc:"how long the token can be used: a day if left out, a minute to 30 days"`
	reason
}

// An EnrolmentToken registers one key for an agent, once. It is never shown again.
type EnrolmentToken struct {
	Agent     authz.AgentID `json:"agent"`
	Token     string        `json:"token"`
	ExpiresAt time.Time     `json:"expires_at"`
	AsOf      int64         `json:"as_of"`
}

func (s *Server) enrolAgent(r *http.Request, who *caller.Identity, in enrolAgent) (EnrolmentToken, error) {
	const most = int64(agent.MaxEnrolment / time.Second) // and no overflow
	if in.TTL < 0 || in.TTL > most {
		return EnrolmentToken{}, invalid("ttl_seconds is %d: 60 to %d", in.TTL, most)
	}
	e, err := s.Agents.Enrol(r.Context(), who.Actor(), in.Why, authz.AgentID(in.ID), time.Duration(in.TTL)*time.Second)
	if err != nil {
		return EnrolmentToken{}, err
	}
	return EnrolmentToken{Agent: e.Agent, Token: e.Token, ExpiresAt: e.ExpiresAt, AsOf: e.AsOf}, nil
}

type revokeAgentKeys struct {
	agentID `json:"-"`
	Key     string `json:"key,omitempty" doc:"the key or document that is revoked"`
	All     bool   `json:"all,omitempty" doc:"revoke everything active instead, and withdraw an enrolment token that is not used yet and a registration access token"`
	reason
}

func (s *Server) revokeAgentKeys(r *http.Request, who *caller.Identity, in revokeAgentKeys) (AgentKeys, error) {
	if in.All == (in.Key != "") {
		return AgentKeys{}, invalid("say which key is revoked, or all: exactly one of the two")
	}
	id := authz.AgentID(in.ID)
	if _, err := s.Agents.RevokeCredential(r.Context(), who.Actor(), in.Why, id, in.Key); err != nil {
		return AgentKeys{}, err
	}
	return s.keysOf(id), nil
}

type linkDocument struct {
	agentID `json:"-"`
	URL     string `json:"url" doc:"https URL of the agent's client ID metadata document; whoever can write it can act as the agent"`
	reason
}

func (s *Server) linkDocument(r *http.Request, who *caller.Identity, in linkDocument) (AgentKey, error) {
	c, err := s.Agents.LinkDocument(r.Context(), who.Actor(), in.Why, authz.AgentID(in.ID), in.URL)
	if err != nil {
		return AgentKey{}, err
	}
	return agentKeys([]*agent.Credential{c}, s.Now())[0], nil
}

type dueAgentKeys struct {
	Days  int `query:"within_days" doc:"keys that expire within so many days: 14 if left out, 3650 at most"`
	Limit int `query:"limit" doc:"at most so many, 100 by default and 1000 at most"`
}

// DueAgentKeys are the keys that expire soon.
type DueAgentKeys struct {
	Items []AgentKey `json:"items" doc:"the soonest first"`
	Total int        `json:"total" doc:"how many there are, also those beyond the limit"`
}

func (s *Server) dueAgentKeys(_ *http.Request, _ *caller.Identity, in dueAgentKeys) (DueAgentKeys, error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return DueAgentKeys{}, err
	}
	switch {
	case in.Days == 0:
		in.Days = 14
	case in.Days > 3650:
		return DueAgentKeys{}, invalid("within_days is above 3650")
	}
	now := s.Now()
	due := s.Agents.Due(time.Duration(in.Days)*24*time.Hour, now)
	return DueAgentKeys{Items: agentKeys(due[:min(n, len(due))], now), Total: len(due)}, nil
}
