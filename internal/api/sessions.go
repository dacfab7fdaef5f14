package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A Picker reads many entries of the log. *audit.Log is one.
type Picker interface {
	// Pick calls f with the entries of some numbers, which are in ascending order, until f returns false.
	Pick(ctx context.Context, seqs []int64, f func(audit.Entry) bool) error
}

type listAgentSessions struct {
	agentID
	Before int64 `query:"before" json:"-" doc:"only sessions whose newest entry is numbered below: next of the page before"`
	Limit  int   `query:"limit" json:"-" doc:"at most so many, 100 by default and 1000 at most"`
}

// An AgentSessions is one page of an agent's sessions. Next, if it is not empty, is the next page's before.
type AgentSessions struct {
	Items []activity.Session `json:"items"`
	Next  string             `json:"next,omitempty"`
	AsOf  int64              `json:"as_of" doc:"number of the newest log entry that was taken in"`
}

func (s *Server) listAgentSessions(r *http.Request, _ *caller.Identity, in listAgentSessions) (AgentSessions, error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return AgentSessions{}, err
	}
	act, err := s.active()
	if err != nil {
		return AgentSessions{}, err
	}
	if _, err := s.Agents.Agent(authz.AgentID(in.ID)); err != nil {
		return AgentSessions{}, err
	}
	items, err := act.Sessions(r.Context(), authz.AgentID(in.ID), in.Before, n)
	if err != nil {
		return AgentSessions{}, err
	}
	out := AgentSessions{Items: items, AsOf: act.Seq()}
	if len(items) == n {
		out.Next = strconv.FormatInt(items[n-1].Seq, 10)
	}
	return out, nil
}

type readSession struct {
	ID    string `path:"id" json:"-"`
	Agent string `query:"agent" json:"-" doc:"only what this agent did in it"`
	After int64  `query:"after" json:"-" doc:"only calls after the entry of this number: next of the page before"`
	Limit int    `query:"limit" json:"-" doc:"at most so many calls, 50 by default and 200 at most"`
}

const (
	defaultCalls = 50
	maxCallsPage = 200
	maxArguments = 8 << 10 // bytes of a call's arguments that are shown
	maxOutcomes  = 16      // of a call
	maxPageBytes = 1 << 20 // of arguments on a page; then it ends
)

// A SessionStory is a session and what was done in it, in the order of the log.
type SessionStory struct {
	ID       string             `json:"id"`
	Agents   []activity.Session `json:"agents" doc:"the session as each agent in it sees it"`
	Calls    []SessionCall      `json:"calls"`
	Next     int64              `json:"next,omitempty" doc:"the next page's after"`
	Earlier  int64              `json:"earlier,omitempty" doc:"entries that are too many to be remembered by session: the log has them"`
	Findings []conduct.Finding  `json:"findings" doc:"of the agents, that were found in this session; of each agent the newest 200 are looked at"`
}

// A SessionCall is one decision, and what came of it.
type SessionCall struct {
	ID           string            `json:"id" doc:"of the decision"`
	Seq          int64             `json:"seq"`
	At           time.Time         `json:"at"`
	Agent        authz.AgentID     `json:"agent"`
	PEP          string            `json:"pep,omitempty"`
	OnBehalf     []authz.Ref       `json:"on_behalf,omitempty" doc:"for whom, nearest first"`
	Action       string            `json:"action"`
	Resource     authz.Ref         `json:"resource"`
	Arguments    authz.Claimed     `json:"arguments,omitempty" doc:"as the enforcement point stated them"`
	ArgumentsCut int               `json:"arguments_cut,omitempty" doc:"how many bytes they have, if they are too many to be shown here"`
	Provenance   *authz.Provenance `json:"provenance,omitempty" doc:"where the arguments came from, by name"`
	Class        string            `json:"class,omitempty" doc:"of the capability: read, write, egress, money, admin"`
	Capabilities []string          `json:"capabilities" doc:"that cover it"`
	Data         string            `json:"data" doc:"class of the data"`
	Effect       authz.Effect      `json:"effect"`
	Code         string            `json:"code"`
	Message      string            `json:"message,omitempty" doc:"what the agent was told, if it was refused"`
	Obligations  []string          `json:"obligations,omitempty" doc:"ids of what must be done with it"`
	Approval     string            `json:"approval,omitempty" doc:"id of the approval that it referred to"`
	Listing      bool              `json:"listing,omitempty" doc:"no act was asked for, only what may be shown"`
	Trust        string            `json:"trust,omitempty" doc:"level of the agent at that moment"`
	Outcomes     []CallOutcome     `json:"outcomes,omitempty"`
}

// A CallOutcome is what somebody said came of a call.
type CallOutcome struct {
	Seq     int64          `json:"seq"`
	At      time.Time      `json:"at"`
	By      string         `json:"by"`
	Result  conduct.Result `json:"result,omitempty"`
	Fault   conduct.Fault  `json:"fault,omitempty"`
	Latency int64          `json:"latency_ms,omitempty"`
	Why     string         `json:"why,omitempty"`
}

func (s *Server) readSession(r *http.Request, _ *caller.Identity, in readSession) (SessionStory, error) {
	switch {
	case in.Limit == 0:
		in.Limit = defaultCalls
	case in.Limit > maxCallsPage:
		return SessionStory{}, invalid("limit is above %d", maxCallsPage)
	}
	act, err := s.active()
	if err != nil {
		return SessionStory{}, err
	}
	parties, err := act.Session(r.Context(), in.ID)
	if err != nil {
		return SessionStory{}, err
	}
	out := SessionStory{ID: in.ID, Agents: []activity.Session{}, Calls: []SessionCall{}, Findings: []conduct.Finding{}}
	var seqs []int64
	for _, p := range parties {
		if in.Agent != "" && string(p.Agent) != in.Agent {
			continue
		}
		out.Agents = append(out.Agents, p)
		out.Earlier += max(0, p.Calls+p.Outcomes-int64(len(p.Entries)))
		seqs = merged(seqs, p.Entries)
	}
	if len(out.Agents) == 0 {
		return out, authz.Errorf(authz.ErrNotFound, "agent %.128q took no part in session %.128q", in.Agent, in.ID)
	}
	if err := s.tellCalls(r, &out, seqs, in.After, in.Limit); err != nil {
		return out, err
	}
	for _, p := range out.Agents[:min(8, len(out.Agents))] {
		fs, err := s.Conduct.Findings(r.Context(), monitor.Filter{Agent: p.Agent}, "", 200)
		if err != nil {
			return out, err
		}
		for _, f := range fs {
			if f.Session == in.ID || len(in.ID) > len(f.Session) && len(f.Session) >= 60 && in.ID[:len(f.Session)] == f.Session {
				out.Findings = append(out.Findings, f)
			}
		}
	}
	return out, nil
}

// merged returns the numbers of both lists, which are in order, in order.
func merged(a, b []int64) []int64 {
	out := make([]int64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] <= b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// tellCalls reads the calls of a page, and on behind the last of them for what came of them: as many entries as four pages have
// at most, so that what is said very late is told nowhere but in the log.
func (s *Server) tellCalls(r *http.Request, out *SessionStory, seqs []int64, after int64, limit int) error {
	i, found := slices.BinarySearch(seqs, after)
	if found {
		i++
	}
	more := len(seqs) > i+4*limit
	seqs = seqs[i:min(len(seqs), i+4*limit)]
	byDecision := map[int64]int{}
	bytes := 0
	err := s.Entries.Pick(r.Context(), seqs, func(e audit.Entry) bool {
		switch e.Kind {
		case audit.DecisionMade:
			if len(out.Calls) >= limit || bytes > maxPageBytes {
				out.Next = out.Calls[len(out.Calls)-1].Seq
				return true
			}
			if c, err := callOf(&e); err == nil { // of a damaged one nothing is known
				byDecision[e.Seq] = len(out.Calls)
				bytes += len(c.Arguments)
				out.Calls = append(out.Calls, c)
			}
		case audit.OutcomeReported:
			var o conduct.Outcome
			if json.Unmarshal(e.Body, &o) != nil {
				return true
			}
			if o.Back > 0 {
				o.Decision = e.Seq - o.Back
			}
			if i, ok := byDecision[o.Decision]; ok && len(out.Calls[i].Outcomes) < maxOutcomes {
				out.Calls[i].Outcomes = append(out.Calls[i].Outcomes, CallOutcome{
					Seq: e.Seq, At: e.At, By: e.Actor, Result: o.Result, Fault: o.Fault, Latency: o.Latency, Why: o.Why,
				})
			}
		}
		return true
	})
	if more && out.Next == 0 {
		if out.Next = seqs[len(seqs)-1]; len(out.Calls) > 0 {
			out.Next = out.Calls[len(out.Calls)-1].Seq
		}
	}
	return err
}

// callOf returns what a decision.made entry says of a call.
func callOf(e *audit.Entry) (SessionCall, error) {
	rec, err := pdp.ParseRecord(e.Body)
	if err != nil {
		return SessionCall{}, err
	}
	req, f, d := &rec.Request, &rec.Facts, &rec.Decision
	c := SessionCall{
		ID: pdp.DecisionID(e.Seq), Seq: e.Seq, At: e.At, Agent: authz.AgentID(req.Subject.ID), PEP: req.Observed.PEP, OnBehalf: req.OnBehalf,
		Action: req.Action.Name, Resource: req.Resource.Ref, Arguments: req.Action.Properties, Provenance: req.Observed.Provenance,
		Class: f.Grant.Class, Capabilities: f.Grant.Within, Data: f.Class.String(), Effect: d.Effect, Code: d.Code, Listing: rec.Listing, Trust: f.Trust.Level,
	}
	if c.Capabilities == nil {
		c.Capabilities = []string{}
	}
	if len(c.Arguments) > maxArguments {
		c.Arguments, c.ArgumentsCut = nil, len(c.Arguments)
	}
	if !d.Allowed() && len(d.Reasons) > 0 {
		c.Message = d.Reasons[0].Message
	}
	for i := range d.Obligations {
		c.Obligations = append(c.Obligations, d.Obligations[i].ID)
	}
	if req.Approval != nil {
		c.Approval = req.Approval.ID
	}
	return c, nil
}
