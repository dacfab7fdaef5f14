package client_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A task is kept, gone on with in another process, and what was approved is kept and used in a third.
func TestTasksAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {task("pending", "")}, statusLine: {task("pending", ""), task("approved", reevaluate)},
		}}
		c := enforcer(t, s, nil).Guard.Client
		a, err := c.Evaluate(t.Context(), act, nil)
		if err != nil {
			t.Fatal(err)
		}
		pending, err := c.RequestAccess(t.Context(), client.AccessRequest{Acts: []client.Refused{{Request: act, Offer: a.Offer}}})
		if err != nil {
			t.Fatal(err)
		}
		keep := func(from, to any) {
			t.Helper()
			text, err := json.Marshal(from)
			if err == nil {
				err = json.Unmarshal(text, to)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		var second client.Task
		keep(pending, &second)
		if second.ID != pending.ID || second.Status != client.TaskPending || !second.ExpiresAt.Equal(pending.ExpiresAt) {
			t.Errorf("kept as %+v", second)
		}
		done, err := c.AwaitApproval(t.Context(), &second)
		if err != nil || done.Approval(0) == nil {
			t.Fatalf("%+v, %v", done, err)
		}
		var third client.Task
		keep(done, &third)
		var approval client.Approval
		keep(third.Approval(0), &approval)
		if a, err := c.Evaluate(t.Context(), act, &approval); err != nil || !a.Allowed() {
			t.Errorf("%+v, %v", a, err)
		}
		var sent struct {
			Context struct{ Approval json.RawMessage }
		}
		if err := json.Unmarshal([]byte(s.last(evaluateLine).body), &sent); err != nil {
			t.Fatal(err)
		}
		sameText(t, string(sent.Context.Approval), approvalObject)
	})
	for _, text := range []string{`{}`, `[]`, `{"id":"x"}`, `null`} {
		var k client.Task
		var a client.Approval
		if err := json.Unmarshal([]byte(`[`+text+`]`), &[]*client.Task{&k}); text != "null" && !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("a task of %s: %+v, %v", text, k, err)
		}
		if err := json.Unmarshal([]byte(text), &a); text != "null" && !errors.Is(err, authz.ErrInvalid) || a.Usable(a.Until) {
			t.Errorf("an approval of %s: %+v, %v", text, a, err)
		}
	}
	if text, err := json.Marshal(client.Approval{ID: "made-up"}); err != nil || strings.Contains(string(text), "state") {
		t.Errorf("%s, %v", text, err)
	}
}
