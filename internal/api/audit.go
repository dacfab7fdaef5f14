package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// LogReader reads the audit log. *audit.Log is one.
type LogReader interface {
	// Entry returns the entry of that number, authz.ErrNotFound if there is none.
	Entry(ctx context.Context, seq int64) (audit.Entry, error)
	// Prove returns the proof that an entry is in the log, authz.ErrNotFound if there is none.
	Prove(ctx context.Context, seq int64) (*audit.EntryProof, error)
	// ProveGrowth returns the proof that the log only grew since it had that many batches.
	ProveGrowth(ctx context.Context, old int64) (*audit.GrowthProof, error)
	// Checkpoints returns signed checkpoints of fewer than before batches, newest first.
	Checkpoints(ctx context.Context, before int64, limit int) ([]audit.PastCheckpoint, error)
	// Stats returns how far the log has come.
	Stats() audit.Stats
	// Bundle records that entries are exported, and returns what is then written of them.
	Bundle(ctx context.Context, m audit.Manifest) (*audit.Bundle, error)
}

// Finder finds entries of the log by what they say. *audit.Index is one.
type Finder interface {
	// Find returns the entries that match q, newest first.
	Find(ctx context.Context, q audit.Query) ([]audit.Entry, error)
	// Search does so for a while.
	Search(ctx context.Context, q audit.Query) (audit.Found, error)
}

// An EntryQuery says which entries of the log are looked for: those of which all holds.
type EntryQuery struct {
	Kind     string    `query:"kind" json:"kind,omitempty" doc:"decision.made, agent.put, policy.publish, ..."`
	Actor    string    `query:"actor" json:"actor,omitempty" doc:"who did it: pep:NAME, admin:NAME, safeconduct"`
	Agent    string    `query:"agent" json:"agent,omitempty" doc:"id of an agent that acted, or that the entry is about"`
	Action   string    `query:"action" json:"action,omitempty" doc:"name of a decision's action"`
	Resource string    `query:"resource" json:"resource,omitempty" doc:"type:id of a decision's resource"`
	Outcome  string    `query:"outcome" json:"outcome,omitempty" doc:"effect of a decision: deny, require_approval, step_up, allow"`
	Code     string    `query:"code" json:"code,omitempty" doc:"code of a decision"`
	Session  string    `query:"session" json:"session,omitempty" doc:"session of a decision, as its enforcement point keeps it"`
	Behalf   string    `query:"behalf" json:"behalf,omitempty" doc:"type:id of somebody for whom the agent of a decision acts"`
	Decision string    `query:"decision" json:"decision,omitempty" doc:"id of a decision that the entry is about: reports of its outcome, asks for approval"`
	Text     string    `query:"text" json:"text,omitempty" doc:"words that all occur"`
	From     time.Time `query:"from" json:"from,omitzero" doc:"not earlier than"`
	To       time.Time `query:"to" json:"to,omitzero" doc:"not later than"`
	Before   int64     `query:"before" json:"before,omitzero" doc:"only entries numbered below"`
	After    int64     `query:"after" json:"after,omitzero" doc:"only entries numbered above"`
}

func (q *EntryQuery) audit(limit int) (audit.Query, error) {
	out := audit.Query{
		Kind: audit.Kind(q.Kind), Actor: q.Actor, Agent: q.Agent, Action: q.Action, Resource: q.Resource,
		Outcome: q.Outcome, Code: q.Code, Session: q.Session, Behalf: q.Behalf, Text: q.Text, From: q.From, To: q.To,
		Before: q.Before, After: q.After, Limit: limit,
	}
	if q.Decision != "" {
		var err error
		if out.Decision, err = pdp.ParseDecisionID(q.Decision); err != nil {
			return out, err
		}
	}
	return out, nil
}

type searchEntries struct {
	EntryQuery
	Limit    int `query:"limit" json:"-" doc:"at most so many, 100 by default and 1000 at most"`
	Patience int `query:"patience_ms" json:"-" doc:"how long to search before it stops where it is, for people who wait; without it, to the end"`
}

// An EntryList is one page of entries, newest first. Next, if it is not 0, is the next page's before.
type EntryList struct {
	Items   []audit.Entry `json:"items"`
	Next    int64         `json:"next,omitempty"`
	Stopped bool          `json:"stopped,omitempty" doc:"the search stopped because it had taken long enough: entries numbered below next were not looked at"`
}

func (s *Server) searchEntries(r *http.Request, _ *caller.Identity, in searchEntries) (EntryList, error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return EntryList{}, err
	}
	q, err := in.audit(n)
	if err != nil {
		return EntryList{}, err
	}
	q.Patience = time.Duration(min(in.Patience, 60_000)) * time.Millisecond
	f, err := s.Index.Search(r.Context(), q)
	if err != nil {
		return EntryList{}, err
	}
	return EntryList{Items: f.Entries, Next: f.Next, Stopped: f.Stopped}, nil
}

type entrySeq struct {
	Seq int64 `path:"seq" json:"-"`
}

func (s *Server) readEntry(r *http.Request, _ *caller.Identity, in entrySeq) (audit.Entry, error) {
	return s.Log.Entry(r.Context(), in.Seq)
}

func (s *Server) proveEntry(r *http.Request, _ *caller.Identity, in entrySeq) (*audit.EntryProof, error) {
	return s.Log.Prove(r.Context(), in.Seq)
}

type oldSize struct {
	Old int64 `query:"old" json:"-" doc:"how many batches the log had"`
}

func (s *Server) proveGrowth(r *http.Request, _ *caller.Identity, in oldSize) (*audit.GrowthProof, error) {
	if in.Old < 1 {
		return nil, invalid("old is missing: say how many batches the log had")
	}
	return s.Log.ProveGrowth(r.Context(), in.Old)
}

type listCheckpoints struct {
	Before int64 `query:"before" json:"-" doc:"only of trees of fewer batches"`
	Limit  int   `query:"limit" json:"-" doc:"at most so many, 50 by default and 200 at most"`
}

// A CheckpointList is one page of signed checkpoints, newest first: of each minute in which one was signed, for
// thirty days, the last one. Next, if it is not 0, is the next page's before.
type CheckpointList struct {
	Origin  string           `json:"origin"`
	Key     string           `json:"key" doc:"that verifies the log's own signatures"`
	Entries int64            `json:"entries" doc:"number of the newest entry"`
	Batches int64            `json:"batches" doc:"how many batches the log has"`
	Items   []CheckpointView `json:"items"`
	Next    int64            `json:"next,omitempty"`
}

// A CheckpointView is a signed checkpoint.
type CheckpointView struct {
	Size       int64           `json:"size" doc:"how many batches it covers"`
	Entries    int64           `json:"entries" doc:"number of the last entry that it covers"`
	Root       string          `json:"root"`
	At         time.Time       `json:"at,omitzero" doc:"when it was signed, by the clock of who signed it"`
	Note       string          `json:"note" doc:"the signed note"`
	Signatures []NoteSignature `json:"signatures"`
}

// A NoteSignature is one line of a signed note.
type NoteSignature struct {
	Name string `json:"name"`
	Key  string `json:"key" doc:"id of the key"`
	By   string `json:"by" doc:"log: by the log's own key, or one that it had before, and verified; other: a cosignature, by a witness for instance, whose key is not known here"`
}

func (s *Server) listCheckpoints(r *http.Request, _ *caller.Identity, in listCheckpoints) (CheckpointList, error) {
	n := cmp.Or(in.Limit, 50)
	if n > audit.MaxCheckpoints {
		return CheckpointList{}, invalid("limit is 1 to %d", audit.MaxCheckpoints)
	}
	past, err := s.Log.Checkpoints(r.Context(), in.Before, n)
	if err != nil {
		return CheckpointList{}, err
	}
	st := s.Log.Stats()
	list := CheckpointList{Origin: s.Key.Origin, Key: s.Key.Key, Entries: st.Entries, Batches: st.Batches, Items: make([]CheckpointView, 0, len(past))}
	for _, p := range past {
		v := CheckpointView{Size: p.Size, Entries: p.Entries, Root: p.Root.String(), At: p.At, Note: string(p.Note), Signatures: []NoteSignature{}}
		for _, sig := range p.Signatures {
			by := "other"
			if sig.Ours {
				by = "log"
			}
			v.Signatures = append(v.Signatures, NoteSignature{sig.Name, sig.Key, by})
		}
		list.Items = append(list.Items, v)
	}
	if len(past) == n && past[n-1].Size > 1 {
		list.Next = past[n-1].Size
	}
	return list, nil
}
