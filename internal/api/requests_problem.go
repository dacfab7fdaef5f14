package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// A problemType is one of the draft's (ARAP, Error Responses).
type problemType struct {
	name, title string
	status      int
	kind        error
}

const problemPrefix = "urn:openid:authzen:access-request:error:"

var (
	notRequestable   = &problemType{"not_requestable", "Access is not requestable", http.StatusBadRequest, authz.ErrInvalid}
	expiredDenial    = &problemType{"expired_denial", "The refusal is too old to be asked about", http.StatusGone, authz.ErrConflict}
	invalidBinding   = &problemType{"invalid_denial_binding", "The request does not belong to a refusal", http.StatusBadRequest, authz.ErrInvalid}
	duplicateRequest = &problemType{"duplicate_request", "The Idempotency-Key was used for another submission", http.StatusConflict, authz.ErrConflict}
	unknownTask      = &problemType{"unknown_task", "There is no such task for this caller", http.StatusNotFound, authz.ErrNotFound}
	taskExpired      = &problemType{"task_expired", "The task handle has expired", http.StatusGone, authz.ErrNotFound}
	invalidTaskState = &problemType{"invalid_task_state", "The task is not in a state for this", http.StatusConflict, authz.ErrConflict}
)

// A taskProblem is an error of one of the draft's types.
type taskProblem struct {
	*problemType
	detail string
}

func (p *taskProblem) Error() string { return p.detail }
func (p *taskProblem) Unwrap() error { return p.kind }

func (t *problemType) because(detail string) error { return &taskProblem{t, detail} }

// errTooMany is why an ask was not taken: the agent, or everybody, asks too much.
type errTooMany struct{ error }

func (e errTooMany) Unwrap() error { return e.error }

// A ProblemBody is an error of the access request service (RFC 9457).
type ProblemBody struct {
	Type      string `json:"type" doc:"about:blank, or urn:openid:authzen:access-request:error: and one of not_requestable, expired_denial, invalid_denial_binding, duplicate_request, unknown_task, task_expired, invalid_task_state"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	RequestID string `json:"request_id"`
}

// failProblem writes err as application/problem+json.
func (s *Server) failProblem(w http.ResponseWriter, r *http.Request, c *call, err error) {
	status, d := describe(err, c.id)
	body := ProblemBody{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: d.Message, RequestID: c.id}
	if p, ok := errors.AsType[*taskProblem](err); ok {
		body.Type, body.Title, body.Status = problemPrefix+p.name, p.title, p.status
	} else if _, ok := errors.AsType[errTooMany](err); ok {
		body.Status, body.Title = http.StatusTooManyRequests, http.StatusText(http.StatusTooManyRequests)
	}
	h := w.Header()
	switch body.Status {
	case http.StatusInternalServerError:
		s.Logger.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "request_id", c.id, "err", err)
	case http.StatusUnauthorized:
		challenge(h, err)
	case http.StatusServiceUnavailable:
		s.Logger.WarnContext(r.Context(), "request refused, service unavailable", "path", r.URL.Path, "request_id", c.id, "err", err)
		h.Set("Retry-After", "1")
	case http.StatusTooManyRequests:
		h.Set("Retry-After", strconv.Itoa(int(retryTooMany/time.Second)))
	}
	text, encErr := json.Marshal(body)
	if encErr != nil { // cannot be: a struct of strings
		text = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500}`)
	}
	writeAs(w, body.Status, "application/problem+json", text)
}

// retryTooMany is how long whoever asks too much is told to wait.
const retryTooMany = time.Minute

// askProblem returns what the desk says of an ask that it did not take.
func askProblem(err error) error {
	switch {
	case errors.Is(err, approval.ErrKeyTaken):
		return duplicateRequest.because("this Idempotency-Key was used for another submission")
	case errors.Is(err, approval.ErrDecisionUsed):
		return invalidBinding.because("somebody has been asked about this refusal already: evaluate again, and ask about the new one")
	case errors.Is(err, authz.ErrForbidden):
		return errTooMany{err}
	}
	return err
}

// writeAs is writeBody for another media type.
func writeAs(w http.ResponseWriter, status int, media string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
