package client

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Question is what is asked before one act. The act may happen only if every request may.
type Question struct {
	// Requests are what is asked, at least one; most acts need one.
	Requests []authz.Request
	// Presented is the passport that came with the act: its bearer is the subject of every request, which may
	// leave it out. nil if the requests say who asks. A proof in it counts once, unless it says when it was Shown; see Guard.Prove.
	Presented *authz.Presented
	// Approval is what persons approved before, if the question is asked again; nil if nothing.
	Approval *Approval
	// Approvals has one for each request, some of them nil, if persons approved several acts of one question. It
	// counts instead of Approval if it is not empty.
	Approvals []*Approval
}

// ApprovalOf returns the approval that request number i, from 0, refers to; nil if it refers to none.
func (q *Question) ApprovalOf(i int) *Approval {
	if len(q.Approvals) == 0 {
		return q.Approval
	}
	if i < 0 || i >= len(q.Approvals) {
		return nil
	}
	return q.Approvals[i]
}

// Approved reports whether any request refers to an approval. Whether that holds is not said.
func (q *Question) Approved() bool {
	for i := range q.Requests {
		if q.ApprovalOf(i) != nil {
			return true
		}
	}
	return false
}

// A Decider answers questions: a Client, which asks a service, or an edge.Point, which decides in this process.
type Decider interface {
	// Answer returns one Answer for each request, none of them nil, in order. They can always be used: with an
	// error all of them refuse. authz.ErrInvalid: a request could not be understood. In a question of several
	// requests one that is not understood may instead have an Answer of its own that says so by its Code.
	Answer(ctx context.Context, q *Question) ([]*Answer, error)
	// Outcome reports what came of a decision, by the ID of its Answer, as Client.Outcome does.
	Outcome(ctx context.Context, decisionID string, o Outcome) error
}

// check returns authz.ErrInvalid for a question that cannot be written: what is claimed is text that goes into a
// message as it is, and must not be able to say more there than it is.
func (q *Question) check() error {
	if len(q.Requests) == 0 {
		return authz.Errorf(authz.ErrInvalid, "a question has at least one request")
	}
	if n := len(q.Approvals); n != 0 && n != len(q.Requests) {
		return authz.Errorf(authz.ErrInvalid, "a question of %d requests has %d approvals", len(q.Requests), n)
	}
	for i := range q.Requests {
		r := &q.Requests[i]
		for _, c := range [...]authz.Claimed{r.Subject.Properties, r.Action.Properties, r.Resource.Properties, r.Context} {
			if len(c) > 0 && (!bytes.HasPrefix(bytes.TrimLeft(c, " \t\r\n"), []byte("{")) || !json.Valid(c)) {
				return authz.Errorf(authz.ErrInvalid, "what request number %d claims is no JSON object", i+1)
			}
		}
	}
	return nil
}

// refuseAll returns an Answer for each request of q that stands for an error.
func (q *Question) refuseAll(err error) []*Answer {
	all := make([]*Answer, len(q.Requests))
	for i := range all {
		all[i] = &Answer{Decision: refused(err)}
	}
	return all
}

// Answer answers a question of one request as Evaluate and EvaluatePresented do, and one of several in one batch
// (AuthZEN 1.0 section 7, execute_all): the service is asked once, and each request has its own Answer, offers
// included. A question is asked again while the service is unavailable, but not with an approval, one use
// of which may have been drawn.
func (c *Client) Answer(ctx context.Context, q *Question) ([]*Answer, error) {
	if err := q.check(); err != nil {
		return q.refuseAll(err), err
	}
	if len(q.Requests) == 1 {
		a, err := c.evaluate(ctx, q.Requests[0], q.Presented, q.ApprovalOf(0))
		return []*Answer{a}, err
	}
	body, approved := c.appendBatch(nil, q)
	answer, err := c.send(ctx, "POST", "/access/v1/evaluations", body, !approved)
	if err != nil {
		return q.refuseAll(err), err
	}
	all, err := parseAnswers(answer, len(q.Requests))
	if err != nil {
		return q.refuseAll(err), err
	}
	return all, nil
}

// parseAnswers reads the answer to a batch of n requests.
func parseAnswers(answer []byte, n int) ([]*Answer, error) {
	var w struct {
		Evaluations []wireDecision `json:"evaluations"`
	}
	if err := json.Unmarshal(answer, &w); err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "the service's answer is no batch of decisions: %w", err)
	}
	if len(w.Evaluations) != n {
		return nil, authz.Errorf(authz.ErrUnavailable, "the service's answer has %d decisions for %d requests", len(w.Evaluations), n)
	}
	all := make([]*Answer, n)
	for i := range all {
		all[i] = w.Evaluations[i].answer()
	}
	return all, nil
}

// appendBatch appends q as a batch, and reports whether a request in it refers to an approval. A context that is the
// same for all is written once, beside the requests, which inherit it: the service then verifies a passport once.
func (c *Client) appendBatch(b []byte, q *Question) (_ []byte, approved bool) {
	moments := make([][]byte, len(q.Requests))
	now, same := time.Now(), true
	for i := range q.Requests {
		var approval json.RawMessage
		if a := q.ApprovalOf(i); a.Usable(now) {
			approval = a.raw
		}
		approved = approved || approval != nil || q.Requests[i].Approval != nil
		moments[i] = c.appendMoment(nil, &q.Requests[i], q.Presented, approval)
		same = same && len(moments[i]) > 0 && bytes.Equal(moments[i], moments[0])
	}
	b = append(b, `{"options":{"evaluations_semantic":"execute_all"}`...)
	if same {
		b = append(b, moments[0]...)
	}
	b = append(b, `,"evaluations":[`...)
	for i := range q.Requests {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.appendEntities(b, &q.Requests[i], q.Presented)
		if !same {
			b = append(b, moments[i]...)
		}
		b = append(b, '}')
	}
	return append(b, `]}`...), approved
}
