package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// TestARAPTasks has the sentences of the profile about tasks: their handles, states, ends and callbacks.
func TestARAPTasks(t *testing.T) {
	waiting := func(t *testing.T, change ...func(*api.Config)) (*requestDoor, *answered, *approval.Ask) {
		d := openRequests(t, change...)
		sent, ask := d.asked(submission(d.evaluate(paymentRequest)))
		return d, sent, ask
	}
	read := func(d *requestDoor, ask *approval.Ask, headers ...string) *answered {
		return d.call("GET", "/access/v1/requests/"+ask.ID, "", headers...)
	}
	cancel := func(d *requestDoor, ask *approval.Ask, body string, headers ...string) *answered {
		return d.call("POST", "/access/v1/requests/"+ask.ID+"/cancel", body, headers...)
	}
	ends := map[approval.Status]bool{approval.Approved: true, approval.Denied: true, approval.Expired: true, approval.Cancelled: true, approval.Failed: true}

	checkRules(t, []rule{
		{"Access Request Response", "202 with a task handle; Location equals status_endpoint", func(t *testing.T) {
			_, sent, ask := waiting(t)
			if sent.status != http.StatusAccepted || sent.header.Get("Location") != sent.at("task.status_endpoint") {
				t.Errorf("answered %d with the Location %q", sent.status, sent.header.Get("Location"))
			}
			sent.is("task.id", ask.ID)
			sent.is("task.status_endpoint", "https://pdp.example.com/access/v1/requests/"+ask.ID)
			sent.is("task.links.cancel", "https://pdp.example.com/access/v1/requests/"+ask.ID+"/cancel")
			sent.is("task.display.description", "Asked: Finance.")
			sent.is("task.items", nil)
			sent.is("result", nil)
		}},
		{"Access Request Response", "SHOULD return 201 with the result when the end is known already", func(t *testing.T) {
			d := openRequests(t)
			body := submission(d.evaluate(paymentRequest))
			_, ask := d.asked(body, "Idempotency-Key", "k1")
			d.end(ask, approval.Approved)
			a := d.submit(body, "Idempotency-Key", "k1")
			if a.is("result.approval.id", ask.Items[0].Approval.ID); a.status != http.StatusCreated {
				t.Errorf("answered %d %s", a.status, a.text)
			}
		}},
		{"Privacy Considerations", "a handle shows no approver: awaiting and review are left out", func(t *testing.T) {
			d, _, ask := waiting(t)
			ask.Answers = []approval.Answer{{By: "person:anna", Yes: true, Comment: "fine by me"}}
			for status := range ends {
				d.end(ask, status)
				if a := read(d, ask); strings.Contains(a.text, "anna") || strings.Contains(a.text, "fine by me") || a.at("task.links.review") != nil {
					t.Errorf("%s: the task says who answered, or what: %s", status, a.text)
				}
			}
			// The reason of a refusal is for the requester, and approvers know it.
			d.end(ask, approval.Denied)
			ask.Why = "Ask for the cheaper one."
			read(d, ask).is("task.display.description", "The answer was no: Ask for the cheaper one.")
			ask.Why = "\x1b[2Jx"
			read(d, ask).is("task.display.description", "The answer was no.")
		}},
		{"Task Status Endpoint", "a pending task tells when to come again, later and later", func(t *testing.T) {
			d, sent, ask := waiting(t)
			for after, want := range map[time.Duration]string{0: "5", 5 * time.Minute: "30", 50 * time.Minute: "60"} {
				d.now = askedAt.Add(after)
				if got := read(d, ask).header.Get("Retry-After"); got != want {
					t.Errorf("after %v: Retry-After %q, want %s", after, got, want)
				}
			}
			if got := sent.header.Get("Retry-After"); got != "5" {
				t.Errorf("on submission: Retry-After %q, want 5", got)
			}
			d.end(ask, approval.Denied)
			if got := read(d, ask).header.Get("Retry-After"); got != "" {
				t.Errorf("of one that has ended: Retry-After %q", got)
			}
		}},
		{"Task Status Values", "every end is told by its name", func(t *testing.T) {
			d, _, ask := waiting(t)
			for status := range ends {
				d.end(ask, status)
				read(d, ask).is("task.status", status)
			}
		}},
		{"Completed Task Response", "approved MUST include a result with mode and approval; any other end has none", func(t *testing.T) {
			d, _, ask := waiting(t)
			for status := range ends {
				ask.Items[0].Approval = nil
				d.end(ask, status)
				if a := read(d, ask); status == approval.Approved {
					a.is("result.mode", "reevaluate")
					a.is("result.approval.id", ask.Items[0].Approval.ID)
					a.is("result.approval.approved_at", "2026-03-02T12:00:00.25Z")
					a.is("result.approval.approved_until", "2026-03-02T12:15:00.25Z")
				} else {
					a.is("result", nil)
				}
			}
		}},
		{"Completion Semantics", "a state that outlives our keys is left out: the id is looked up", func(t *testing.T) {
			d, _, ask := waiting(t)
			d.end(ask, approval.Approved)
			if a := read(d, ask); a.at("result.approval.state") == nil {
				t.Errorf("no state in %s", a.text)
			}
			ask.Items[0].Approval.Until = d.now.Add(24 * time.Hour)
			read(d, ask).is("result.approval.state", nil)
			d.down = true
			ask.Items[0].Approval.Until = d.now.Add(time.Minute)
			read(d, ask).is("result.approval.state", nil)
		}},
		{"Completed Task Response", "after its time a task MUST be task_expired, and an unknown one unknown_task", func(t *testing.T) {
			d, _, ask := waiting(t)
			d.end(ask, approval.Approved)
			d.now = askedAt.Add(15*time.Minute + approval.Retention) // from the end of the approval
			read(d, ask).is("task.status", "approved")
			d.now = d.now.Add(time.Second)
			read(d, ask).problem(410, "task_expired")
			d.call("GET", "/access/v1/requests/arq_none", "").problem(404, "unknown_task")
			d.call("GET", "/access/v1/requests/"+strings.Repeat("x", 200), "").problem(404, "unknown_task")
		}},
		{"Task Handle Leakage", "a leaked handle MUST NOT be sufficient", func(t *testing.T) {
			d, _, ask := waiting(t, otherPEP)
			read(d, ask, "Authorization", "").problem(401, "")
			read(d, ask, "Authorization", "Bearer other-token").problem(404, "unknown_task")
			for _, who := range []string{"admin-token", "audit-token"} {
				read(d, ask, "Authorization", "Bearer "+who).problem(403, "")
			}
			cancel(d, ask, "", "Authorization", "Bearer other-token").problem(404, "unknown_task")
			ask.Agent = "scout"
			read(d, ask, agentHeaders...).problem(404, "unknown_task")
			ask.Kind = approval.CIBA
			read(d, ask).problem(404, "unknown_task")
		}},
		{"Task Status Endpoint", "a handle is portable to whoever is authorized for the same act", func(t *testing.T) {
			d, _, ask := waiting(t, otherPEP)
			read(d, ask, "Authorization", "Bearer second-token").is("task.id", ask.ID)
			read(d, ask, agentHeaders...).is("task.id", ask.ID)
		}},
		{"Authorization and Authentication", "MUST authorize each operation independently: reading is not cancelling", func(t *testing.T) {
			d, _, ask := waiting(t)
			a := read(d, ask, agentHeaders...)
			a.is("task.links", nil)
			cancel(d, ask, "", agentHeaders...).problem(403, "")
			if ask.Status != approval.Pending {
				t.Errorf("the ask is %s", ask.Status)
			}
		}},
		{"Authorization and Authentication", "an agent may cancel what it asked itself, and so may who was refused", func(t *testing.T) {
			for _, headers := range [][]string{agentHeaders, nil} {
				d := openRequests(t)
				_, ask := d.asked(asAgent(submission(d.evaluate(paymentRequest))), agentHeaders...)
				cancel(d, ask, "", headers...).is("task.status", "cancelled")
			}
		}},
		{"Cancellation", "200 and the task whose status is cancelled; reason and comment are kept", func(t *testing.T) {
			d, _, ask := waiting(t)
			a := cancel(d, ask, `{"reason":"superseded","comment":"It was paid by hand.","more":1}`)
			if a.is("task.status", "cancelled"); a.status != http.StatusOK || ask.Why != "pep:gateway: superseded: It was paid by hand." {
				t.Errorf("answered %d; cancelled because %q", a.status, ask.Why)
			}
		}},
		{"Cancellation", "MAY also accept DELETE", func(t *testing.T) {
			d, _, ask := waiting(t)
			d.call("DELETE", "/access/v1/requests/"+ask.ID+"/cancel", "").is("task.status", "cancelled")
		}},
		{"Cancellation", "of a task that has ended: 409 invalid_task_state", func(t *testing.T) {
			d, _, ask := waiting(t)
			for status := range ends {
				d.end(ask, status)
				cancel(d, ask, "").problem(409, "invalid_task_state")
			}
		}},
		{"Cancellation", "a body that is no cancellation changes nothing", func(t *testing.T) {
			d, _, ask := waiting(t)
			for _, body := range []string{`[]`, `{"reason":7}`, `{"reason":"` + strings.Repeat("x", 200) + `"}`, `{"comment":"` + strings.Repeat("x", 2001) + `"}`, `{"reason":"\u001b[2J"}`, `x`} {
				cancel(d, ask, body).problem(400, "")
			}
			if ask.Status != approval.Pending {
				t.Errorf("the ask is %s", ask.Status)
			}
		}},
		{"Callback Completion", "MUST validate that the endpoint is authorized for the authenticated caller", func(t *testing.T) {
			d := openRequests(t)
			refused := d.evaluate(paymentRequest)
			with := func(callback string) string {
				return submission(refused, `"denial":`, `"callback":`+callback+`,"denial":`)
			}
			d.submit(with(`{"endpoint":"https://pep.example.com/cb"}`)).problem(403, "")
			d.callbacks["gateway https://pep.example.com/cb"] = true
			d.submit(asAgent(with(`{"endpoint":"https://pep.example.com/cb"}`)), agentHeaders...).problem(403, "")
			for _, bad := range []string{`{}`, `"https://pep.example.com/cb"`, `{"endpoint":7}`, `{"endpoint":"https://pep.example.com/cb","events":["started"]}`, `{"endpoint":"https://pep.example.com/cb","state":"` + strings.Repeat("x", 5000) + `"}`} {
				d.submit(with(bad)).problem(400, "")
			}
			_, ask := d.asked(with(`{"endpoint":"https://pep.example.com/cb","state":{"b":1, "a":2},"events":["approved","denied"]}`))
			if cb := ask.Callback; cb.Endpoint != "https://pep.example.com/cb" || string(cb.State) != `{"b":1, "a":2}` || len(cb.Events) != 2 {
				t.Errorf("the callback is %+v with the state %s", cb, cb.State)
			}
			none := openRequests(t, func(c *api.Config) { c.Requests.Callbacks = nil })
			refused = none.evaluate(paymentRequest)
			none.submit(with(`{"endpoint":"https://pep.example.com/cb"}`)).problem(403, "")
		}},
		{"Evaluation Identifier", "SHOULD retain the evaluation_id in the approval record", func(t *testing.T) {
			if _, _, ask := waiting(t); ask.Items[0].Decision != 100 {
				t.Errorf("the ask is about the decision %d, want 100", ask.Items[0].Decision)
			}
		}},
		{"Access Request Service Processing Rules", "MUST bind the task to Subject, Resource, Action, Context, denial, requester and client", func(t *testing.T) {
			d := openRequests(t)
			_, ask := d.asked(submission(d.evaluate(paymentRequest), `"denial":`, `"client":{"id":"app"},"denial":`))
			b, it := ask.Bound, ask.Items[0]
			if b.Subject.ID != "bot" || it.Resource.ID != "7" || it.Action.Name != "pay" || string(b.Context) != `{"tenant":"acme"}` || it.Decision != 100 ||
				ask.Requester != "pep:gateway" || string(ask.Client) != `{"id":"app"}` || ask.Owner != "carol" || it.Data != authz.Confidential {
				t.Errorf("asked %+v", *ask)
			}
		}},
	})
}
