package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A SessionPlace is where a decision stands among those of its session.
type SessionPlace struct {
	ID       string          `json:"id"`
	Previous *DecisionGlance `json:"previous,omitempty"`
	Next     *DecisionGlance `json:"next,omitempty" doc:"if it came within a day"`
}

// A DecisionGlance is a decision in few words.
type DecisionGlance struct {
	ID       string    `json:"id"`
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"`
	Effect   string    `json:"effect"`
	Code     string    `json:"code"`
	Action   string    `json:"action"`
	Resource authz.Ref `json:"resource"`
}

// An OutcomeReport is what somebody said came of a decision.
type OutcomeReport struct {
	Seq      int64            `json:"seq" doc:"number of its log entry"`
	At       time.Time        `json:"at"`
	By       string           `json:"by"`
	Reporter conduct.Reporter `json:"reporter"`
	Result   conduct.Result   `json:"result,omitempty"`
	Fault    conduct.Fault    `json:"fault,omitempty"`
	Latency  int64            `json:"latency_ms,omitempty"`
	Size     int64            `json:"size_bytes,omitempty"`
	Met      []string         `json:"met,omitempty"`
	Why      string           `json:"why,omitempty"`
}

// A DecisionAsk is an ask of persons that a decision has to do with, and what came of it.
type DecisionAsk struct {
	ID     string    `json:"id"`
	How    string    `json:"how" doc:"lifted: the decision allowed the act because of it; asked: it was asked after the decision refused the act; referred: the request referred to it, and it did not help"`
	Status string    `json:"status,omitempty"`
	Title  string    `json:"title,omitempty" doc:"what was asked, in a sentence"`
	At     time.Time `json:"at,omitzero"`
	Steps  []Step    `json:"steps" doc:"what happened, oldest first; none if it is not readable"`

	Readable bool `json:"readable" doc:"whether the caller may read the ask itself: who answered, and what they said"`
}

const (
	maxReports  = 50
	maxAsks     = 5
	maxAskSteps = 100
)

// neighbours returns where a decision stands in its session, nil if it has none.
func (s *Server) neighbours(ctx context.Context, d *RecordedDecision) (*SessionPlace, error) {
	id := d.Record.Request.Observed.Session
	if id == "" {
		return nil, nil
	}
	place := &SessionPlace{ID: id}
	// A session is one of an agent's: enforcement points may give two agents the same name of one.
	q := audit.Query{Kind: audit.DecisionMade, Session: id, Agent: string(d.Record.Request.Agent()), Before: d.Seq, Limit: 1}
	found, err := s.Index.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		place.Previous = glanceOf(&found[0])
	}
	// Searches go backwards, so the next one is looked for in ever longer whiles.
	q.Before, q.After, q.Limit = 0, d.Seq, 32
	for _, while := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		q.From, q.To = d.At, d.At.Add(while)
		if found, err = s.Index.Find(ctx, q); err != nil {
			return nil, err
		}
		if len(found) > 0 {
			e, err := s.earliest(ctx, q, found)
			if err != nil {
				return nil, err
			}
			place.Next = glanceOf(&e)
			break
		}
	}
	return place, nil
}

// earliest returns the earliest entry that q finds, whose first page is found. It halves the numbers in which that
// lies, so that of a session with very many decisions few pages are read.
func (s *Server) earliest(ctx context.Context, q audit.Query, found []audit.Entry) (audit.Entry, error) {
	full := len(found) == q.Limit
	q.From, q.To = time.Time{}, time.Time{} // the numbers say it
	e := found[len(found)-1]
	for full && e.Seq-q.After > 1 { // none is numbered up to q.After
		half := q.After + (e.Seq-q.After)/2
		q.Before = half + 1
		found, err := s.Index.Find(ctx, q)
		if err != nil {
			return e, err
		}
		if len(found) == 0 {
			q.After = half
			continue
		}
		e, full = found[len(found)-1], len(found) == q.Limit
	}
	return e, nil
}

// glanceOf returns a recorded decision in few words, nil if it cannot be read.
func glanceOf(e *audit.Entry) *DecisionGlance {
	rec, err := pdp.ParseRecord(e.Body)
	if err != nil {
		return nil
	}
	return &DecisionGlance{
		ID: pdp.DecisionID(e.Seq), Seq: e.Seq, At: e.At, Effect: rec.Decision.Effect.String(), Code: rec.Decision.Code,
		Action: rec.Request.Action.Name, Resource: rec.Request.Resource.Ref,
	}
}

// reports returns what was said of the outcome of a decision, oldest first, and whether it is cut: more was said earlier.
func (s *Server) reports(ctx context.Context, seq int64) (out []OutcomeReport, cut bool, err error) {
	out = []OutcomeReport{}
	found, err := s.Index.Find(ctx, audit.Query{Kind: audit.OutcomeReported, Decision: seq, After: seq, Limit: maxReports + 1})
	if err != nil {
		return nil, false, err
	}
	if cut = len(found) > maxReports; cut {
		found = found[:maxReports]
	}
	for _, e := range slices.Backward(found) {
		var o conduct.Outcome
		if json.Unmarshal(e.Body, &o) != nil {
			continue
		}
		out = append(out, OutcomeReport{Seq: e.Seq, At: e.At, By: o.By, Reporter: o.Reporter, Result: o.Result, Fault: o.Fault,
			Latency: o.Latency, Size: o.Size, Met: o.Met, Why: o.Why})
	}
	return out, cut, nil
}

// asksAbout returns the asks that a decision has to do with, as far as the caller may read them.
func (s *Server) asksAbout(ctx context.Context, c *call, d *RecordedDecision) ([]DecisionAsk, error) {
	out := []DecisionAsk{}
	if s.Approvals == nil {
		return out, nil
	}
	add := func(id, how string) error {
		if len(out) == maxAsks || slices.ContainsFunc(out, func(a DecisionAsk) bool { return a.ID == id }) {
			return nil
		}
		a, err := s.Approvals.Get(ctx, id)
		if errors.Is(err, authz.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		level, _, err := s.reads(ctx, c, a)
		if err != nil || level < outline {
			return err
		}
		v := DecisionAsk{ID: id, How: how, Status: string(statusAt(a, s.Now())), Title: askSentence(a), At: a.AskedAt, Steps: []Step{}, Readable: level >= whole}
		if !v.Readable {
			out = append(out, v)
			return nil
		}
		entries, _, err := s.entriesOf(ctx, a)
		if err != nil {
			return err
		}
		t := teller{ask: a}
		for i := range entries[:min(len(entries), maxAskSteps)] {
			v.Steps = append(v.Steps, t.tell(&entries[i]))
		}
		out = append(out, v)
		return nil
	}
	if a := d.Record.Facts.Approval; a != nil {
		how := "referred"
		if d.Record.Decision.Lifted {
			how = "lifted"
		}
		if err := add(a.Ask, how); err != nil {
			return nil, err
		}
	}
	found, err := s.Index.Find(ctx, audit.Query{Kind: audit.ApprovalAsked, Decision: d.Seq, After: d.Seq, Limit: maxAsks})
	if err != nil {
		return nil, err
	}
	type item struct {
		Decision int64 `json:"decision"`
	}
	for i := range found {
		var b struct {
			ID    string `json:"id"`
			Items []item `json:"items"`
		}
		if json.Unmarshal(found[i].Body, &b) != nil || b.ID == "" {
			continue
		}
		// What was found is not yet what is meant: much of an ask is an agent's word.
		if !slices.ContainsFunc(b.Items, func(it item) bool { return it.Decision == d.Seq }) {
			continue
		}
		if err := add(b.ID, "asked"); err != nil {
			return nil, err
		}
	}
	return out, nil
}
