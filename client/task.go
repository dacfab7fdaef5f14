package client

import (
	"context"
	"encoding/json"
	mrand "math/rand/v2"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Statuses of a task. One that is none of these is not approved.
const (
	TaskPending   = "pending"
	TaskApproved  = "approved"
	TaskDenied    = "denied"
	TaskExpired   = "expired"
	TaskCancelled = "cancelled"
	TaskFailed    = "failed"
	TaskPartial   = "partial" // of several acts, some are approved
)

// A Task is an access request under way. It says nothing about access: Approval does, and the service's next
// decision.
type Task struct {
	ID        string
	Status    string
	ExpiresAt time.Time // zero if the service does not say
	Ticket    string    // where the requester can follow it, for a person; "" if nowhere
	Display   json.RawMessage
	Items     []TaskItem // of several acts, in their order

	statusEndpoint, cancel string
	bulk                   bool
	wait                   time.Duration // until the next question at least
	result                 *wireResult
}

// A TaskItem is how far one of several acts has come.
type TaskItem struct {
	Status string
	result *wireResult
}

// An Approval is a reference to what persons approved. It permits nothing by itself: it is carried, as it was
// given out, into the next Evaluate. Show it to nobody but the service.
type Approval struct {
	ID         string
	ApprovedAt time.Time // zero if the service does not say
	Until      time.Time // it must not be used after
	raw        json.RawMessage
}

// Usable reports whether an approval is there and not over.
func (a *Approval) Usable(now time.Time) bool { return a != nil && a.raw != nil && now.Before(a.Until) }

// String tells of the approval without its state.
func (a *Approval) String() string {
	return "approval until " + a.Until.UTC().Format(time.RFC3339)
}

type wireResult struct {
	Mode     string          `json:"mode"`
	Approval json.RawMessage `json:"approval"`
}

// approval returns the approval of a result that is enforced by asking again, nil of any other.
func (r *wireResult) approval() *Approval {
	if r == nil || r.Mode != "reevaluate" {
		return nil
	}
	var w struct {
		ID    string    `json:"id"`
		At    time.Time `json:"approved_at"`
		Until time.Time `json:"approved_until"`
	}
	if json.Unmarshal(r.Approval, &w) != nil || w.ID == "" || w.Until.IsZero() {
		return nil
	}
	return &Approval{ID: w.ID, ApprovedAt: w.At, Until: w.Until, raw: r.Approval}
}

// Done reports whether a task has come to its end.
func (t *Task) Done() bool {
	switch t.Status {
	case TaskApproved, TaskDenied, TaskExpired, TaskCancelled, TaskFailed, TaskPartial:
		return true
	}
	return false
}

// Approval returns what was approved of act number i, from 0; nil if it was not, or not in a way that we
// know how to enforce. Of several acts each has its own.
func (t *Task) Approval(i int) *Approval {
	switch {
	case i < 0:
		return nil
	case t.bulk:
		if i < len(t.Items) && t.Items[i].Status == TaskApproved {
			return t.Items[i].result.approval()
		}
		return nil
	case i == 0 && t.Status == TaskApproved:
		return t.result.approval()
	}
	return nil
}

// parseTask reads a task out of an answer.
func (c *Client) parseTask(r *response, bulk bool) (*Task, error) {
	var w struct {
		Task *struct {
			ID             string            `json:"id"`
			Status         string            `json:"status"`
			StatusEndpoint string            `json:"status_endpoint"`
			ExpiresAt      time.Time         `json:"expires_at"`
			Display        json.RawMessage   `json:"display"`
			Links          map[string]string `json:"links"`
			Items          []struct {
				Status string      `json:"status"`
				Result *wireResult `json:"result"`
			} `json:"items"`
		} `json:"task"`
		Result *wireResult `json:"result"`
	}
	if err := json.Unmarshal(r.body, &w); err != nil || w.Task == nil || w.Task.Status == "" {
		return nil, authz.Errorf(authz.ErrUnavailable, "the service's answer is no task")
	}
	t := &Task{
		ID: w.Task.ID, Status: w.Task.Status, ExpiresAt: w.Task.ExpiresAt, Display: w.Task.Display, Ticket: w.Task.Links["ticket"],
		statusEndpoint: w.Task.StatusEndpoint, cancel: w.Task.Links["cancel"],
		bulk: bulk || len(w.Task.Items) > 0, wait: retryAfter(r.header, time.Now()), result: w.Result,
	}
	for _, it := range w.Task.Items {
		t.Items = append(t.Items, TaskItem{it.Status, it.Result})
	}
	return t, nil
}

// Task asks how far a task has come.
func (c *Client) Task(ctx context.Context, t *Task) (*Task, error) {
	resp, err := c.exchange(ctx, http.MethodGet, t.statusEndpoint, nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, err
	}
	now, err := c.parseTask(resp, t.bulk)
	if err != nil {
		return nil, err
	}
	if now.statusEndpoint == "" {
		now.statusEndpoint = t.statusEndpoint
	}
	return now, nil
}

// How often a task is asked for, if the service does not say: a little longer each time.
const (
	firstPoll = 3 * time.Second
	maxPoll   = time.Minute
)

// AwaitApproval asks how far a task has come, until it has come to its end, its time is over, or ctx ends. It
// waits as long between as the service wants, and longer each time. While the service is unavailable it goes on.
// The task that it returns is the newest that is known, also with an error; what is approved of it,
// Approval says.
func (c *Client) AwaitApproval(ctx context.Context, t *Task) (*Task, error) {
	pause := firstPoll
	for !t.Done() {
		now := time.Now()
		if !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
			return t, authz.Errorf(authz.ErrNotFound, "the access request has expired unanswered")
		}
		wait := max(t.wait, pause/2+mrand.N(pause/2))
		if !t.ExpiresAt.IsZero() {
			wait = min(wait, t.ExpiresAt.Sub(now)+time.Second)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return t, authz.Errorf(authz.ErrUnavailable, "waiting for an answer: %w", ctx.Err())
		}
		pause = min(pause*3/2, maxPoll)
		next, err := c.Task(ctx, t)
		if gone(err) {
			return t, err
		}
		if err == nil {
			t = next
		} else {
			t.wait = 0
		}
	}
	return t, nil
}

// Cancel ends a task that waits. authz.ErrConflict: it has ended; authz.ErrInvalid: the service does not
// let us.
func (c *Client) Cancel(ctx context.Context, t *Task, comment string) (*Task, error) {
	if t.cancel == "" {
		return nil, authz.Errorf(authz.ErrInvalid, "the service does not let access requests be cancelled")
	}
	body, err := json.Marshal(map[string]string{"reason": "cancelled", "comment": comment})
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "encoding the reason: %w", err)
	}
	resp, err := c.exchange(ctx, http.MethodPost, t.cancel, body, nil)
	if err != nil {
		return nil, err
	}
	return c.parseTask(resp, t.bulk)
}
