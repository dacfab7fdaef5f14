package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Realm is how an enforcement point names itself in challenges (RFC 9110 section 11.6.1).
type Realm struct {
	// Name is the realm; it may be empty.
	Name string
	// Scheme is how tokens are to be presented: "DPoP" by default, or "Bearer".
	Scheme string
	// TellRequests says that problems have the member requests: what was asked, so that whoever was refused can ask persons
	// about exactly that (ParseRefusal). It tells what the enforcement point says of resources and context.
	TellRequests bool
	// Metadata is the URL of the protected resource's metadata (RFC 9728 section 5.1); "" if there is none.
	Metadata string
}

// An HTTPRefusal is how it is told over HTTP that an act did not happen: a problem (RFC 9457), and a challenge if
// another token or a stronger authentication would help (RFC 6750, RFC 9449, RFC 9470).
//
// The members of the problem beside those of RFC 9457 are those that AuthZEN and ARAP have in the context of a
// refusal, so that whoever asked can ask persons by itself: code, reasons, changes, remedies, evaluation_id,
// evaluated_at, reason, access_request, next_action, retry_after.
type HTTPRefusal struct {
	Status int
	Header http.Header
	Body   []byte
}

// WriteTo answers with the refusal.
func (h *HTTPRefusal) WriteTo(w http.ResponseWriter) {
	for name, values := range h.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(h.Status)
	_, _ = w.Write(h.Body) // whoever asked may have gone
}

// problemBody is what the body of an HTTPRefusal says.
type problemBody struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	Code         string         `json:"code"`
	Reasons      []authz.Reason `json:"reasons,omitempty"`
	Changes      []authz.Change `json:"changes,omitempty"`
	Remedies     []string       `json:"remedies,omitempty"`
	EvaluationID string         `json:"evaluation_id,omitempty"`
	EvaluatedAt  string         `json:"evaluated_at,omitempty"`
	Reason       string         `json:"reason,omitempty"`
	NextAction   string         `json:"next_action,omitempty"`
	RetryAfter   int64          `json:"retry_after,omitempty"`
	Offer        *toldOffer     `json:"access_request,omitempty"`

	Requests []toldRequest `json:"requests,omitempty"`
}

// A toldOffer is an offer with its end as it was written, which binds it too.
type toldOffer struct {
	*Offer
	ExpiresAt string `json:"expires_at"`
}

// A toldRequest is a request as problems tell it: without what was observed.
type toldRequest struct {
	Subject  *authz.Entity `json:"subject,omitempty"`
	Action   authz.Action  `json:"action"`
	Resource authz.Entity  `json:"resource"`
	Context  authz.Claimed `json:"context,omitempty"`
	OnBehalf []authz.Ref   `json:"on_behalf_of,omitempty"`
}

// Codes of problems that no decision has.
const (
	CodeUnmet    = "obligation_unmet" // it was allowed, and what the decision demands could not be carried out
	CodeWithheld = "result_withheld"  // it happened or failed, and what came of it cannot be shown
	CodeInternal = "internal"
)

// RefuseHTTP returns how err is told: a *RefusedError, a *WithheldError, or one of the kinds of package authz. What
// went wrong inside is not told; log it.
func RefuseHTTP(err error, realm Realm) *HTTPRefusal {
	b := problemBody{Type: "about:blank", Code: CodeInternal, Status: http.StatusInternalServerError}
	h := &HTTPRefusal{Header: http.Header{"Cache-Control": {"no-store"}, "Content-Type": {"application/problem+json"}}}
	refused, isRefusal := errors.AsType[*RefusedError](err)
	_, withheld := errors.AsType[*WithheldError](err)
	switch {
	case withheld:
		b.Code, b.Detail = CodeWithheld, "What came of it cannot be shown."
	case isRefusal && refused.Answer != nil:
		b.refuse(h, refused, realm)
	default:
		b.fail(h, err, realm)
	}
	if b.Status == http.StatusServiceUnavailable && h.Header["Retry-After"] == nil {
		wait := time.Second
		if e, ok := errors.AsType[*Error](err); ok {
			wait = max(wait, min(e.RetryAfter, time.Hour))
		}
		h.Header.Set("Retry-After", seconds(wait))
	}
	b.Title = http.StatusText(b.Status)
	h.Status = b.Status
	if h.Body, err = json.Marshal(b); err != nil { // what the service said is no JSON
		h.Body = []byte(`{"type":"about:blank","title":"` + b.Title + `","status":` + strconv.Itoa(b.Status) + `,"code":"` + CodeInternal + `"}`)
	}
	h.Body = append(h.Body, '\n')
	return h
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// refuse fills in what a refusal says.
func (b *problemBody) refuse(h *HTTPRefusal, e *RefusedError, realm Realm) {
	a := e.Answer
	b.EvaluationID = a.DecisionID()
	if a.Allowed() {
		b.Status, b.Code, b.Detail = http.StatusForbidden, CodeUnmet, "It is allowed only with obligations that cannot be met here."
		if errors.Is(e.Cause, authz.ErrUnavailable) {
			b.Status = http.StatusServiceUnavailable
		}
		return
	}
	b.Code, b.Reasons, b.Changes, b.Remedies, b.Reason = a.Code, a.Reasons, a.Changes, a.Remedies, a.Reason
	if len(a.Reasons) > 0 {
		b.Detail = a.Reasons[0].Message
	}
	if realm.TellRequests && a.Offer != nil {
		for i := range e.Requests {
			r := &e.Requests[i]
			told := toldRequest{Action: r.Action, Resource: r.Resource, Context: r.Context, OnBehalf: r.OnBehalf}
			if i < len(e.Answers) && e.Answers[i].Offer == a.Offer {
				if !r.Subject.IsZero() {
					told.Subject = &r.Subject
				}
				b.Requests = append(b.Requests, told)
			}
		}
	}
	if a.Offer != nil {
		b.Offer, b.EvaluatedAt, b.Reason = &toldOffer{a.Offer, a.Offer.expires}, a.Offer.evaluatedAt, a.Offer.reason
		if a.Offer.evaluationID != "" {
			b.EvaluationID = a.Offer.evaluationID
		}
	}
	b.NextAction = a.NextAction
	if a.RetryAfter > 0 {
		b.RetryAfter = int64((a.RetryAfter + time.Second - 1) / time.Second)
		h.Header.Set("Retry-After", seconds(a.RetryAfter))
	}
	b.Status = http.StatusForbidden
	switch a.Code {
	case authz.CodeInvalid, authz.CodeTypeUnknown:
		b.Status = http.StatusBadRequest
	case authz.CodeUnavailable:
		b.Status = http.StatusServiceUnavailable
	case authz.CodePassportInvalid:
		b.Status = http.StatusUnauthorized
		h.challenge(realm, CodeInvalidToken, "")
	case authz.CodePassport:
		h.challenge(realm, "insufficient_scope", "")
	case authz.CodeStepUpRequired:
		b.Status = http.StatusUnauthorized
		h.challenge(realm, "insufficient_user_authentication", a.ACR())
	}
}

// fail fills in what an error says that is no refusal.
func (b *problemBody) fail(h *HTTPRefusal, err error, realm Realm) {
	for _, k := range [...]struct {
		kind   error
		status int
		code   string
	}{
		{authz.ErrUnavailable, http.StatusServiceUnavailable, authz.CodeUnavailable},
		{authz.ErrInvalid, http.StatusBadRequest, authz.CodeInvalid},
		{authz.ErrUnauthenticated, http.StatusUnauthorized, "unauthenticated"},
		{authz.ErrNotFound, http.StatusNotFound, "not_found"},
		{authz.ErrConflict, http.StatusConflict, "conflict"},
		{authz.ErrForbidden, http.StatusForbidden, authz.CodeForbidden},
	} {
		if !errors.Is(err, k.kind) {
			continue
		}
		b.Status, b.Code = k.status, k.code
		switch k.status {
		case http.StatusServiceUnavailable:
			b.Detail = "No decision could be had."
		case http.StatusUnauthorized:
			b.Detail = err.Error()
			code := CodeInvalidToken
			if errors.Is(err, ErrNoToken) {
				code = "" // RFC 6750 section 3.1: no error code if there was no token
			}
			h.challenge(realm, code, "")
		default:
			b.Detail = err.Error()
		}
		return
	}
}

// challenge sets the challenge.
func (h *HTTPRefusal) challenge(realm Realm, code, acr string) {
	scheme := realm.Scheme
	if scheme == "" {
		scheme = "DPoP"
	}
	var params []string
	add := func(name, value string) {
		if value = quotable(value); value != "" {
			params = append(params, name+`="`+value+`"`)
		}
	}
	add("realm", realm.Name)
	add("error", code)
	add("acr_values", acr)
	add("resource_metadata", realm.Metadata)
	if scheme == "DPoP" {
		add("algs", "EdDSA ES256")
	}
	h.Header.Set("WWW-Authenticate", strings.TrimSpace(scheme+" "+strings.Join(params, ", ")))
}

// quotable returns s without what a quoted string of a header cannot have (RFC 6750 section 3).
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// ParseRefusal reads of a response that a server of this SDK, or a gateway, refused: its Answer has the Offer, and
// Requests what was asked if the server tells that. An agent then asks persons by itself, with a client of its own:
//
//	task, err := service.RequestAccess(ctx, client.AccessRequest{Acts: refused.Acts(), Justification: "..."})
//
// and shows what was approved when it tries again, by the header ApprovalHeader. The body is read, and closed. It returns nil
// if the response is no such refusal. Everything in it is the server's word: an offer is taken up only where the
// client's Trusted lets it.
func ParseRefusal(resp *http.Response) *RefusedError {
	if typ, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode < 400 || typ != "application/problem+json" {
		return nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem+1))
	if err != nil || len(text) > maxProblem {
		return nil
	}
	var b problemBody
	if json.Unmarshal(text, &b) != nil || b.Code == "" {
		return nil
	}
	var w wireDecision
	if json.Unmarshal(fmt.Appendf(nil, `{"context":%s}`, text), &w) != nil {
		return nil
	}
	a := w.answer()
	if a.ID == "" {
		a.ID = b.EvaluationID
	}
	e := &RefusedError{Answer: a}
	for i := range b.Requests {
		r := &b.Requests[i]
		req := authz.Request{Action: r.Action, Resource: r.Resource, Context: r.Context, OnBehalf: r.OnBehalf}
		if r.Subject != nil {
			req.Subject = *r.Subject
		}
		e.Requests, e.Answers = append(e.Requests, req), append(e.Answers, a)
	}
	return e
}

const maxProblem = 256 << 10 // bytes

// Acts returns what was refused and persons can be asked about, for an AccessRequest; none if nothing can.
func (e *RefusedError) Acts() []Refused {
	var acts []Refused
	for i, a := range e.Answers {
		if i < len(e.Requests) && !a.Allowed() && a.Next() == NextRequest {
			acts = append(acts, Refused{e.Requests[i], a.Offer})
		}
	}
	return acts
}

// ApprovalHeader is the header by which whoever was refused says on the next try which approval persons have given: its
// id. It is a reference, and permits nothing.
const ApprovalHeader = "Safeconduct-Approval"

// PresentedApproval returns the approval that a request refers to, for the Approval of the request that is asked; nil if it
// refers to none. authz.ErrInvalid: it does not look like a reference to one.
func PresentedApproval(r *http.Request) (*authz.ApprovalRef, error) {
	switch ids := r.Header.Values(ApprovalHeader); {
	case len(ids) == 0:
		return nil, nil
	case len(ids) > 1 || ids[0] == "" || len(ids[0]) > maxApprovalID || quotable(ids[0]) != ids[0] || strings.Contains(ids[0], " "):
		return nil, authz.Errorf(authz.ErrInvalid, "the header %s is the id of one approval", ApprovalHeader)
	default:
		return &authz.ApprovalRef{ID: ids[0]}, nil
	}
}

const maxApprovalID = 128
