package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// errTooLarge is a body over its bound.
var errTooLarge = authz.Errorf(authz.ErrInvalid, "the body is larger than allowed")

// statuses is the one table from a kind of error to its code and status. The first that matches counts.
var statuses = []struct {
	kind   error
	code   string
	status int
}{
	{errTooLarge, "too_large", http.StatusRequestEntityTooLarge},
	{authz.ErrInvalid, "invalid", http.StatusBadRequest},
	{authz.ErrUnauthenticated, "unauthenticated", http.StatusUnauthorized},
	{authz.ErrForbidden, "forbidden", http.StatusForbidden},
	{authz.ErrNotFound, "not_found", http.StatusNotFound},
	{authz.ErrConflict, "conflict", http.StatusConflict},
	{authz.ErrUnavailable, "unavailable", http.StatusServiceUnavailable},
	{context.Canceled, "canceled", 499}, // the caller is gone; nobody reads this
	{context.DeadlineExceeded, "unavailable", http.StatusServiceUnavailable},
}

// An ErrorBody is what every refusal of the API itself looks like.
type ErrorBody struct {
	Error ErrorDetail `json:"error"`
}

// A RefusalBody is what an error of an evaluation route looks like: it refuses, and nothing is recorded.
type RefusalBody struct {
	Decision bool        `json:"decision" doc:"always false"`
	Error    ErrorDetail `json:"error"`
}

// An ErrorDetail says what went wrong, for programs (Code) and for people (Message).
type ErrorDetail struct {
	Code      string           `json:"code"`
	Message   string           `json:"message"`
	RequestID string           `json:"request_id"`
	Problems  []policy.Problem `json:"problems,omitempty"`
	Next      int64            `json:"next,omitzero" doc:"of records that were uploaded after a gap: the number that is expected"`
}

// describe returns what the caller may know of err. A known kind shows its message, everything else
// is an internal error whose cause is in our log under the request's id.
func describe(err error, requestID string) (status int, d ErrorDetail) {
	for _, s := range statuses {
		if errors.Is(err, s.kind) {
			d = ErrorDetail{Code: s.code, Message: discreet(err), RequestID: requestID}
			if p, ok := errors.AsType[*policy.Problems](err); ok {
				d.Message, d.Problems = "the policies have problems", p.List
			}
			if g, ok := errors.AsType[*gap](err); ok {
				d.Next = g.next
			}
			if p, ok := errors.AsType[*catalog.Problems](err); ok {
				d.Message = "the catalog has problems"
				d.Problems = catalogProblems(p)
			}
			return s.status, d
		}
	}
	return http.StatusInternalServerError, ErrorDetail{Code: "internal", Message: "internal error", RequestID: requestID}
}

// discreet returns what err says, without what the database's driver says of where it is and as whom
// we connect. That is in our log.
func discreet(err error) string {
	const cut = "database unavailable"
	before, _, found := strings.Cut(err.Error(), cut+": ")
	if found {
		return before + cut
	}
	return before
}

// catalogProblems returns the problems of a catalog in the form of those of policies.
func catalogProblems(ps *catalog.Problems) []policy.Problem {
	out := make([]policy.Problem, len(ps.List))
	for i, p := range ps.List {
		out[i] = policy.Problem{File: ps.Name, Line: p.Line, Column: p.Column, EndColumn: wordEnd(p.Text, p.Column), Message: p.Message}
	}
	return out
}

// fail writes err. The answer of an evaluation endpoint says decision:false besides, so that an
// enforcement point which reads nothing but the decision still refuses.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, c *call, err error, decides bool) {
	status, d := describe(err, c.id)
	switch {
	case status == http.StatusInternalServerError:
		s.Logger.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "request_id", c.id, "err", err)
	case status == http.StatusServiceUnavailable:
		s.Logger.WarnContext(r.Context(), "request refused, service unavailable", "path", r.URL.Path, "request_id", c.id, "err", err)
	}
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		challenge(h, err)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	detail, encErr := json.Marshal(d)
	if encErr != nil { // cannot be: a struct of strings
		detail = []byte(`{"code":"internal","message":"internal error","request_id":""}`)
	}
	body := make([]byte, 0, len(detail)+64)
	body = append(body, '{')
	if decides {
		body = append(body, `"decision":false,`...)
	}
	body = append(body, `"error":`...)
	body = append(append(body, detail...), '}')
	writeBody(w, status, body)
}
