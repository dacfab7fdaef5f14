package client

import (
	"encoding/json"
	"errors"
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
	Offer        *Offer         `json:"access_request,omitempty"`
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
	if a.Offer != nil {
		b.Offer, b.EvaluatedAt, b.Reason = a.Offer, a.Offer.evaluatedAt, a.Offer.reason
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
