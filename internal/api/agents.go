package api

import (
	"context"
	"net/http"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/caller"
)

// defaultPage and maxPage bound lists.
const (
	defaultPage = 100
	maxPage     = 1000
)

// pageSize returns the number of rows to list.
func pageSize(asked int) (int, error) {
	switch {
	case asked == 0:
		return defaultPage, nil
	case asked > maxPage:
		return 0, invalid("limit is above %d", maxPage)
	}
	return asked, nil
}

type listAgents struct {
	State      string `query:"state" doc:"only agents in this state"`
	Owner      string `query:"owner" doc:"only agents of this owner"`
	Purpose    string `query:"purpose" doc:"only agents with this purpose"`
	Capability string `query:"capability" doc:"only agents that are granted this capability"`
	Text       string `query:"text" doc:"only agents with this text in their id, owner, purpose or version"`
	After      string `query:"after" doc:"begin after this id"`
	Limit      int    `query:"limit" doc:"at most so many, 100 by default and 1000 at most"`
}

// A List is one page of something. Next, if it is not empty, is where the next page begins.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

func (s *Server) listAgents(r *http.Request, _ *caller.Identity, in listAgents) (List[*authz.Agent], error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return List[*authz.Agent]{}, err
	}
	state, err := parseState(in.State)
	if err != nil && in.State != "" {
		return List[*authz.Agent]{}, err
	}
	f := agent.Filter{State: state, Owner: in.Owner, Purpose: in.Purpose, Capability: in.Capability, Text: in.Text}
	list := List[*authz.Agent]{Items: s.Agents.Agents(f, authz.AgentID(in.After), n)}
	if len(list.Items) == n {
		list.Next = string(list.Items[n-1].ID)
	}
	return list, nil
}

type agentID struct {
	ID string `path:"id" json:"-"`
}

func (s *Server) readAgent(_ *http.Request, _ *caller.Identity, in agentID) (*authz.Agent, error) {
	return s.Agents.Agent(authz.AgentID(in.ID))
}

// putAgent is an agent as an administrator writes it. The rest of the record is ours to fill in.
type putAgent struct {
	agentID      `json:"-"`
	Owner        string            `json:"owner"`
	Purpose      string            `json:"purpose"`
	Version      string            `json:"version"`
	Creator      string            `json:"creator,omitempty" doc:"the caller, if left out at registration"`
	Capabilities []string          `json:"capabilities,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	IfRevision   int64             `json:"if_revision" doc:"the revision that is changed; 0 registers a new agent"`
	reason
}

func (s *Server) putAgent(r *http.Request, who *caller.Identity, in putAgent) (*authz.Agent, error) {
	a := authz.Agent{
		ID:           authz.AgentID(in.ID),
		Owner:        in.Owner,
		Purpose:      in.Purpose,
		Version:      in.Version,
		Creator:      in.Creator,
		State:        authz.AgentActive,
		Capabilities: in.Capabilities,
		Labels:       in.Labels,
	}
	if in.IfRevision != 0 {
		have, err := s.Agents.Agent(a.ID)
		if err != nil {
			return nil, err
		}
		a.State, a.StateReason = have.State, have.StateReason // states change by their own route
		if a.Creator == "" {
			a.Creator = have.Creator
		}
	}
	if a.Creator == "" {
		a.Creator = who.Name
	}
	return s.Agents.Put(r.Context(), who.Actor(), in.Why, a, in.IfRevision)
}

type setAgentState struct {
	agentID    `json:"-"`
	State      authz.AgentState `json:"state"`
	IfRevision int64            `json:"if_revision,omitempty" doc:"the revision that is changed; 0 changes whichever stands"`
	reason
}

func (s *Server) setAgentState(r *http.Request, who *caller.Identity, in setAgentState) (*authz.Agent, error) {
	state, err := parseState(string(in.State))
	if err != nil {
		return nil, err
	}
	return s.Agents.SetState(r.Context(), who.Actor(), in.Why, authz.AgentID(in.ID), state, in.IfRevision)
}

func parseState(text string) (authz.AgentState, error) {
	switch st := authz.AgentState(text); st {
	case authz.AgentActive, authz.AgentSuspended, authz.AgentQuarantined, authz.AgentRetired:
		return st, nil
	}
	return "", invalid("unknown state %.64q: one of active, suspended, quarantined, retired", text)
}

// AgentAdmin knows and changes the registered agents. *agent.Registry is one.
type AgentAdmin interface {
	CredentialAdmin
	Agent(id authz.AgentID) (*authz.Agent, error)
	Agents(f agent.Filter, after authz.AgentID, limit int) []*authz.Agent
	Put(ctx context.Context, actor, why string, a authz.Agent, ifRevision int64) (*authz.Agent, error)
	SetState(ctx context.Context, actor, why string, id authz.AgentID, state authz.AgentState, ifRevision int64) (*authz.Agent, error)
}
