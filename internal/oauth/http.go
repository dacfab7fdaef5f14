package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
)

// maxForm is the most bytes of any form.
const maxForm = 64 << 10

// maxParameters is the most parameters of a form.
const maxParameters = 64

// form reads the body: application/x-www-form-urlencoded and nothing else, bounded, every parameter
// at most once (RFC 6749, sections 3.1 and 3.2). Only resource may repeat (RFC 8707, section 2), and
// audience (RFC 8693, section 2.1). Parameters without a value count as left out, as RFC 6749 says.
// The query is not read: what stands there ends in logs.
func (s *Server) form(r *http.Request) (url.Values, error) {
	if typ := r.Header.Get("Content-Type"); typ != formType {
		media, params, err := mime.ParseMediaType(typ)
		if err != nil || media != formType || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
			return nil, &Error{Status: http.StatusBadRequest, Code: invalidRequest, Description: "the body must be application/x-www-form-urlencoded"}
		}
	}
	if r.URL.RawQuery != "" {
		return nil, &Error{Status: http.StatusBadRequest, Code: invalidRequest, Description: "parameters belong into the body, not into the URL"}
	}
	if r.ContentLength > maxForm {
		return nil, errFormTooLarge
	}
	var body []byte
	var err error
	if n := r.ContentLength; n >= 0 {
		body = make([]byte, n) // no more is read, and less is an error
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	}
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: invalidRequest, Description: "the body could not be read", Cause: err}
	}
	if len(body) > maxForm {
		return nil, errFormTooLarge
	}
	return parseForm(string(body))
}

const formType = "application/x-www-form-urlencoded"

var errFormTooLarge = &Error{Status: http.StatusRequestEntityTooLarge, Code: invalidRequest, Description: "the body is larger than allowed"}

// parseForm reads an encoded form strictly.
func parseForm(body string) (url.Values, error) {
	bad := func(what string) (url.Values, error) {
		return nil, &Error{Status: http.StatusBadRequest, Code: invalidRequest, Description: what}
	}
	form := make(url.Values, 12)
	for n := 0; body != ""; n++ {
		if n == maxParameters {
			return bad("too many parameters")
		}
		var pair string
		pair, body, _ = strings.Cut(body, "&")
		rawName, rawValue, ok := strings.Cut(pair, "=")
		if !ok {
			return bad("the body is no form: a parameter without =")
		}
		name, err := unescape(rawName)
		if err != nil || name == "" {
			return bad("the body is no form: a parameter's name cannot be read")
		}
		value, err := unescape(rawValue)
		if err != nil {
			return bad("the body is no form: a parameter's value cannot be read")
		}
		have, repeated := form[name]
		if repeated && name != "resource" && name != "audience" {
			return bad("a parameter is given more than once")
		}
		form[name] = append(have, value)
	}
	for name, values := range form {
		if len(values) == 1 && values[0] == "" {
			delete(form, name)
		}
	}
	return form, nil
}

// unescape decodes one name or value, which must be UTF-8 without control characters.
func unescape(s string) (string, error) {
	if strings.ContainsAny(s, "%+") {
		var err error
		if s, err = url.QueryUnescape(s); err != nil {
			return "", err
		}
	}
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\n' && s[i] != '\r' && s[i] != '\t' || s[i] == 0x7f {
			return "", errNotText
		}
		if s[i] >= utf8.RuneSelf {
			if !utf8.ValidString(s) {
				return "", errNotText
			}
			break
		}
	}
	return s, nil
}

var errNotText = errors.New("not plain UTF-8 text")

// Codes of errors: RFC 6749 5.2, RFC 8693 2.2.2, RFC 8707 2, RFC 9396 5, RFC 9449 5 and 8, RFC 7009 2.2.1.
const (
	invalidRequest       = "invalid_request"
	invalidClient        = "invalid_client"
	invalidGrant         = "invalid_grant"
	unauthorizedClient   = "unauthorized_client"
	unsupportedGrantType = "unsupported_grant_type"
	invalidScope         = "invalid_scope"
	invalidTarget        = "invalid_target"
	invalidDetails       = "invalid_authorization_details"
	invalidProof         = "invalid_dpop_proof"
	useNonce             = "use_dpop_nonce"
	accessDenied         = "access_denied"
	invalidToken         = "invalid_token"
	temporarily          = "temporarily_unavailable"
	serverError          = "server_error"
)

// An Error is an error answer (RFC 6749, section 5.2). The description may be shown to strangers: it
// never tells whether an agent, a key or a token exists. The cause is for our log.
type Error struct {
	Status      int
	Code        string
	Description string
	Nonce       string    // DPoP-Nonce to send along, if any
	Refused     []Refusal // of capabilities, if that is the error
	Cause       error
}

// Error returns code, description and cause.
func (e *Error) Error() string {
	text := e.Code + ": " + e.Description
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// fail writes err as an error answer. What is not an *Error is ours to explain in the log, and tells
// the client no more than whether to try again.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		switch {
		case r.Context().Err() != nil, errors.Is(err, authz.ErrUnavailable):
			s.cfg.Logger.WarnContext(r.Context(), "request refused, service unavailable", "path", r.URL.Path, "err", err)
			e = &Error{Status: http.StatusServiceUnavailable, Code: temporarily, Description: "no answer can be given at present: try again later"}
		default:
			s.cfg.Logger.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "err", err)
			e = &Error{Status: http.StatusInternalServerError, Code: serverError, Description: "internal error"}
		}
	} else if e.Cause != nil {
		s.cfg.Logger.DebugContext(r.Context(), "request refused", "path", r.URL.Path, "code", e.Code, "err", e.Cause)
	}
	h := w.Header()
	if e.Nonce != "" {
		h["Dpop-Nonce"] = []string{e.Nonce}
	}
	switch e.Status {
	case http.StatusUnauthorized:
		h["Www-Authenticate"] = []string{`Bearer error="` + e.Code + `"`}
	case http.StatusServiceUnavailable:
		h["Retry-After"] = []string{"1"}
	}
	b := make([]byte, 0, 160)
	b = append(b, `{"error":`...)
	b = appendString(b, e.Code)
	if e.Description != "" {
		b = append(b, `,"error_description":`...)
		b = appendString(b, plain(e.Description))
	}
	if len(e.Refused) > 0 {
		b = append(b, `,"refused":`...)
		b = appendRefusals(b, e.Refused)
	}
	writeAnswer(w, e.Status, jsonType, append(b, '}'))
}

// plain replaces what an error_description must not hold (RFC 6749, section 5.2). Operators write their
// reasons as they like.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return '?'
		}
		return c
	}, s)
}

const jsonType = "application/json"

// writeAnswer writes an answer that nobody may keep (RFC 6749, section 5.1).
func writeAnswer(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Cache-Control"] = noStore
	h["Pragma"] = noCache
	h["X-Content-Type-Options"] = noSniff
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone; nothing is left to be done
}

var (
	noStore = []string{"no-store"}
	noCache = []string{"no-cache"}
	noSniff = []string{"nosniff"}
)
