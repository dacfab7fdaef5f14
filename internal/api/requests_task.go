package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A TaskResponse is a task and what came of it (ARAP, Access Request Response).
type TaskResponse struct {
	Task   Task        `json:"task"`
	Result *TaskResult `json:"result,omitempty" doc:"of one act that was approved"`
}

// A Task is how far an access request has come.
type Task struct {
	ID             string          `json:"id"`
	Status         approval.Status `json:"status" doc:"pending, approved, denied, expired, cancelled, failed, partial"`
	StatusEndpoint string          `json:"status_endpoint"`
	ExpiresAt      time.Time       `json:"expires_at" doc:"until when the task can be read; while it is pending: until when an answer is waited for"`
	Display        Display         `json:"display"`
	Links          *TaskLinks      `json:"links,omitempty"`
	Items          []TaskItem      `json:"items,omitempty" doc:"if it was submitted with items, in their order"`
}

// TaskLinks are the addresses of what can be done with a task.
type TaskLinks struct {
	Cancel string `json:"cancel"`
}

// A TaskItem is one act of several.
type TaskItem struct {
	Resource EntityForm      `json:"resource"`
	Action   ActionForm      `json:"action"`
	Status   approval.Status `json:"status"`
	Result   *TaskResult     `json:"result,omitempty"`
}

// A TaskResult says to evaluate again, with the approval as context.approval.
type TaskResult struct {
	Mode     string       `json:"mode" doc:"reevaluate"`
	Approval ApprovalForm `json:"approval"`
}

// A rights says what a caller may do with a task. Each is judged by itself.
type rights struct{ read, cancel bool }

// rightsTo returns what the caller may do with a task. It is readable to who submitted it, to the enforcement
// point that was refused, and to the agent that it is about; only the first two may end it. A handle is good
// from any process that is one of these, and alone it is worth nothing.
func rightsTo(c *call, a *approval.Ask) rights {
	mine := a.Requester == c.who.Actor()
	refused := c.who.Enforces() && a.PEP == c.who.Point()
	about := c.who.Can(agentRole) && string(a.Agent) == c.who.Name
	return rights{read: mine || refused || about, cancel: mine || refused}
}

// taskOf returns the ask of that id. To callers whom it does not concern it is not there.
func (s *Server) taskOf(ctx context.Context, c *call, id string) (*approval.Ask, rights, error) {
	if s.Requests == nil {
		return nil, rights{}, errNobodyAsked
	}
	none := unknownTask.because("there is no such task, or it is none of this caller's")
	if len(id) > maxApproval {
		return nil, rights{}, none
	}
	a, err := s.Requests.Desk.Get(ctx, id)
	if errors.Is(err, authz.ErrNotFound) {
		return nil, rights{}, none
	} else if err != nil {
		return nil, rights{}, err
	}
	may := rightsTo(c, a)
	switch {
	case !may.read || a.Kind != approval.Access:
		return nil, may, none
	case a.Status != approval.Pending && s.Now().After(readableUntil(a)):
		return nil, may, taskExpired.because("the task has ended, and can be read no longer")
	}
	return a, may, nil
}

// readableUntil returns the task's expires_at.
func readableUntil(a *approval.Ask) time.Time {
	if a.Status == approval.Pending {
		return a.ExpiresAt
	}
	end := a.ClosedAt
	for i := range a.Items {
		if g := a.Items[i].Approval; g != nil && g.Until.After(end) {
			end = g.Until
		}
	}
	return end.Add(approval.Retention)
}

// readTask is the Task Status Endpoint.
func (s *Server) readTask(w http.ResponseWriter, r *http.Request, c *call) error {
	a, _, err := s.taskOf(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.answerTask(w, r, c, a, false)
}

// cancelTask is the cancellation endpoint, by POST, with a reason if there is one, or by DELETE.
func (s *Server) cancelTask(w http.ResponseWriter, r *http.Request, c *call) error {
	a, may, err := s.taskOf(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return err
	}
	if !may.cancel {
		return authz.Errorf(authz.ErrForbidden, "only who submitted a request, or was refused, may cancel it")
	}
	in, err := readCancellation(r)
	if err != nil {
		return err
	}
	done, err := s.Requests.Desk.Cancel(r.Context(), c.who.Actor(), a.ID, in.Reason, in.Comment)
	if errors.Is(err, authz.ErrConflict) {
		return invalidTaskState.because("the task has ended: it cannot be cancelled")
	} else if err != nil {
		return err
	}
	return s.answerTask(w, r, c, done, false)
}

// A Cancellation is the body of a cancellation; there need not be one.
type Cancellation struct {
	Reason  string `json:"reason,omitempty"`
	Comment string `json:"comment,omitempty"`
}

func readCancellation(r *http.Request) (in Cancellation, err error) {
	if r.Method != http.MethodPost || r.ContentLength == 0 {
		return in, nil
	}
	body, err := readBody(r, 16<<10)
	if err != nil {
		return in, err
	}
	if err := checkText(body, maxAdminDepth); err != nil {
		return in, err
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, invalid("the body is no cancellation: reason and comment, both text")
	}
	if len(in.Reason) > maxTask || len(in.Comment) > approval.MaxText || checkPlain(in.Reason) != nil {
		return in, invalid("reason has up to %d bytes without control characters, comment up to %d", maxTask, approval.MaxText)
	}
	return in, nil
}

// answerTask writes a task as the caller may see it. submitted says that it answers a submission.
func (s *Server) answerTask(w http.ResponseWriter, r *http.Request, c *call, a *approval.Ask, submitted bool) error {
	out := s.task(r.Context(), a, rightsTo(c, a))
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	status, h := http.StatusOK, w.Header()
	if out.Task.Status == approval.Pending {
		h.Set("Retry-After", strconv.Itoa(s.pollAfter(a)))
	}
	if submitted {
		h.Set("Location", out.Task.StatusEndpoint)
		if status = http.StatusCreated; out.Task.Status == approval.Pending {
			status = http.StatusAccepted
		}
	}
	writeBody(w, status, body)
	return nil
}

// pollAfter returns in how many seconds it is worth to look again: a tenth of how long the ask has waited, from 5 seconds
// to a minute.
func (s *Server) pollAfter(a *approval.Ask) int {
	return int(min(max(s.Now().Sub(a.AskedAt)/10, 5*time.Second), time.Minute) / time.Second)
}

// task returns a task as one may see it who has the rights. Who approves is not in it; of what they said only the
// reason of a refusal, of which they know that the requester is told.
func (s *Server) task(ctx context.Context, a *approval.Ask, may rights) *TaskResponse {
	endpoint := s.public() + requestsPath + "/" + a.ID
	out := &TaskResponse{Task: Task{ID: a.ID, Status: a.Status, StatusEndpoint: endpoint, ExpiresAt: readableUntil(a).UTC(), Display: s.display(a)}}
	if may.cancel && a.Status == approval.Pending {
		out.Task.Links = &TaskLinks{Cancel: endpoint + "/cancel"}
	}
	if !a.Bulk {
		out.Result = s.result(ctx, a, &a.Items[0])
		return out
	}
	for i := range a.Items {
		it := &a.Items[i]
		out.Task.Items = append(out.Task.Items, TaskItem{
			Resource: EntityForm{Type: it.Resource.Type, ID: it.Resource.ID, Properties: it.Resource.Properties},
			Action:   ActionForm{Name: it.Action.Name, Properties: it.Action.Properties},
			Status:   it.Status,
			Result:   s.result(ctx, a, it),
		})
	}
	return out
}

func (s *Server) display(a *approval.Ask) Display {
	var routes []string
	for i := range a.Items {
		for _, id := range a.Items[i].Routes {
			if !strings.Contains("+"+template(routes)+"+", "+"+id+"+") {
				routes = append(routes, id)
			}
		}
	}
	switch a.Status {
	case approval.Pending:
		return Display{"Waiting for approval", "Asked: " + s.routeTitles(routes) + "."}
	case approval.Approved:
		return Display{"Approved", "Evaluate again, with the approval."}
	case approval.Denied:
		if a.Why != "" && checkPlain(a.Why) == nil {
			return Display{"Not approved", "The answer was no: " + a.Why}
		}
		return Display{"Not approved", "The answer was no."}
	case approval.Expired:
		return Display{"Not approved", "Nobody answered in time."}
	case approval.Cancelled:
		return Display{"Cancelled", "The request was withdrawn."}
	case approval.Partial:
		return Display{"Partly approved", "Look at each act."}
	}
	return Display{"Not approved", "The request could not be completed."}
}

// stateLasts is the longest that an approval may last whose state is signed: our keys verify what they signed for
// an hour at least after they stopped signing. Beyond, the approval is known by its id alone.
const stateLasts = 50 * time.Minute

// result returns what an approved act's completion is, nil if it is not approved.
func (s *Server) result(ctx context.Context, a *approval.Ask, it *approval.Item) *TaskResult {
	g := it.Approval
	if it.Status != approval.Approved || g == nil {
		return nil
	}
	out := &TaskResult{Mode: "reevaluate", Approval: ApprovalForm{ID: g.ID, ApprovedAt: g.At.UTC(), ApprovedUntil: g.Until.UTC()}}
	now := s.Now()
	if s.Requests.Signer == nil || g.Until.Sub(now) > stateLasts || !g.Until.After(now) {
		return out
	}
	hash, err := token.BindingHash(a.Bound.Subject, it.Action, it.Resource, a.Bound.Context, a.Bound.Members)
	if err == nil {
		out.Approval.State, err = s.Requests.Signer.SignState(ctx, &token.ApprovalState{
			Issuer: s.public(), Audience: []string{s.public()}, IssuedAt: now, Expires: g.Until.Add(time.Second - 1),
			Approval: g.ID, Task: a.ID, Evaluation: pdp.DecisionID(it.Decision), Members: a.Bound.Members, Hash: hash,
		})
	}
	if err != nil {
		s.Logger.WarnContext(ctx, "approval state not signed", "ask", a.ID, "err", err)
	}
	return out
}
