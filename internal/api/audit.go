package api

import (
	"context"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
)

// LogReader reads the audit log. *audit.Log is one.
type LogReader interface {
	// Entry returns the entry of that number, authz.ErrNotFound if there is none.
	Entry(ctx context.Context, seq int64) (audit.Entry, error)
	// Prove returns the proof that an entry is in the log, authz.ErrNotFound if there is none.
	Prove(ctx context.Context, seq int64) (*audit.EntryProof, error)
	// ProveGrowth returns the proof that the log only grew since it had that many batches.
	ProveGrowth(ctx context.Context, old int64) (*audit.GrowthProof, error)
}

// Finder finds entries of the log by what they say. *audit.Index is one.
type Finder interface {
	// Find returns the entries that match q, newest first.
	Find(ctx context.Context, q audit.Query) ([]audit.Entry, error)
}

type searchEntries struct {
	Kind     string    `query:"kind" json:"-" doc:"decision.made, agent.put, policy.publish, ..."`
	Actor    string    `query:"actor" json:"-" doc:"who did it: pep:NAME, admin:NAME, safeconduct"`
	Agent    string    `query:"agent" json:"-" doc:"id of an agent that acted, or whose record was changed"`
	Action   string    `query:"action" json:"-" doc:"name of a decision's action"`
	Resource string    `query:"resource" json:"-" doc:"type:id of a decision's resource"`
	Outcome  string    `query:"outcome" json:"-" doc:"effect of a decision: deny, require_approval, step_up, allow"`
	Code     string    `query:"code" json:"-" doc:"code of a decision"`
	Text     string    `query:"text" json:"-" doc:"words that all occur"`
	From     time.Time `query:"from" json:"-" doc:"not earlier than"`
	To       time.Time `query:"to" json:"-" doc:"not later than"`
	Before   int64     `query:"before" json:"-" doc:"only entries numbered below"`
	Limit    int       `query:"limit" json:"-" doc:"at most so many, 100 by default and 1000 at most"`
}

// An EntryList is one page of entries, newest first. Next, if it is not 0, is the next page's before.
type EntryList struct {
	Items []audit.Entry `json:"items"`
	Next  int64         `json:"next,omitempty"`
}

func (s *Server) searchEntries(r *http.Request, _ *caller.Caller, in searchEntries) (EntryList, error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return EntryList{}, err
	}
	items, err := s.Index.Find(r.Context(), audit.Query{
		Kind: audit.Kind(in.Kind), Actor: in.Actor, Agent: in.Agent, Action: in.Action, Resource: in.Resource,
		Outcome: in.Outcome, Code: in.Code, Text: in.Text, From: in.From, To: in.To, Before: in.Before, Limit: n,
	})
	if err != nil {
		return EntryList{}, err
	}
	list := EntryList{Items: items}
	if len(items) == n {
		list.Next = items[n-1].Seq
	}
	return list, nil
}

type entrySeq struct {
	Seq int64 `path:"seq" json:"-"`
}

func (s *Server) readEntry(r *http.Request, _ *caller.Caller, in entrySeq) (audit.Entry, error) {
	return s.Log.Entry(r.Context(), in.Seq)
}

func (s *Server) proveEntry(r *http.Request, _ *caller.Caller, in entrySeq) (*audit.EntryProof, error) {
	return s.Log.Prove(r.Context(), in.Seq)
}

type oldSize struct {
	Old int64 `query:"old" json:"-" doc:"how many batches the log had"`
}

func (s *Server) proveGrowth(r *http.Request, _ *caller.Caller, in oldSize) (*audit.GrowthProof, error) {
	if in.Old < 1 {
		return nil, invalid("old is missing: say how many batches the log had")
	}
	return s.Log.ProveGrowth(r.Context(), in.Old)
}
