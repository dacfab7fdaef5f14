package client

import (
	"encoding/json"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// keptTask is a Task as it is kept: by a program that does not wait for persons, and asks again another day.
type keptTask struct {
	ID             string          `json:"id"`
	Status         string          `json:"status"`
	ExpiresAt      time.Time       `json:"expires_at,omitzero"`
	Ticket         string          `json:"ticket,omitempty"`
	Display        json.RawMessage `json:"display,omitempty"`
	StatusEndpoint string          `json:"status_endpoint"`
	Cancel         string          `json:"cancel,omitempty"`
	Bulk           bool            `json:"bulk,omitempty"`
	Result         *wireResult     `json:"result,omitempty"`
	Items          []keptItem      `json:"items,omitempty"`
}

type keptItem struct {
	Status string      `json:"status"`
	Result *wireResult `json:"result,omitempty"`
}

// MarshalJSON returns the task with all that is needed to go on with it in another process: Client.Task and
// AwaitApproval take what UnmarshalJSON reads. It holds what was approved: keep it as you keep secrets.
func (t *Task) MarshalJSON() ([]byte, error) {
	k := keptTask{ID: t.ID, Status: t.Status, ExpiresAt: t.ExpiresAt, Ticket: t.Ticket, Display: t.Display,
		StatusEndpoint: t.statusEndpoint, Cancel: t.cancel, Bulk: t.bulk, Result: t.result}
	for _, it := range t.Items {
		k.Items = append(k.Items, keptItem{it.Status, it.result})
	}
	return json.Marshal(k)
}

// UnmarshalJSON reads what MarshalJSON wrote. authz.ErrInvalid: that is not it.
func (t *Task) UnmarshalJSON(b []byte) error {
	var k keptTask
	if err := json.Unmarshal(b, &k); err != nil || k.ID == "" || k.Status == "" {
		return authz.Errorf(authz.ErrInvalid, "this is no task that was kept")
	}
	*t = Task{ID: k.ID, Status: k.Status, ExpiresAt: k.ExpiresAt, Ticket: k.Ticket, Display: k.Display,
		statusEndpoint: k.StatusEndpoint, cancel: k.Cancel, bulk: k.Bulk, result: k.Result}
	for _, it := range k.Items {
		t.Items = append(t.Items, TaskItem{it.Status, it.Result})
	}
	return nil
}

// MarshalJSON returns the approval as it was given out, to be kept until it is used. Keep it as you keep secrets.
func (a *Approval) MarshalJSON() ([]byte, error) {
	if a == nil || a.raw == nil {
		return []byte("null"), nil
	}
	return a.raw, nil
}

// UnmarshalJSON reads what MarshalJSON wrote. authz.ErrInvalid: that is no approval.
func (a *Approval) UnmarshalJSON(b []byte) error {
	got := (&wireResult{Mode: "reevaluate", Approval: append(json.RawMessage(nil), b...)}).approval()
	if got == nil {
		return authz.Errorf(authz.ErrInvalid, "this is no approval that was kept")
	}
	*a = *got
	return nil
}
