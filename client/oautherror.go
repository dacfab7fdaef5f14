package client

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// Codes of an Error that an authorization server answers with (RFC 6749 section 5.2, RFC 8693,
// RFC 8707, RFC 9396, RFC 9449). Two are ours: CodeInvalidKeyProof, a key that cannot be registered, and
// CodeIssuer, somebody else answers than was asked.
const (
	CodeInvalidRequest       = "invalid_request"
	CodeInvalidClient        = "invalid_client"
	CodeInvalidGrant         = "invalid_grant"
	CodeUnauthorizedClient   = "unauthorized_client"
	CodeUnsupportedGrantType = "unsupported_grant_type"
	CodeInvalidScope         = "invalid_scope"
	CodeInvalidTarget        = "invalid_target"
	CodeInvalidDetails       = "invalid_authorization_details"
	CodeAccessDenied         = "access_denied"
	CodeInvalidProof         = "invalid_dpop_proof"
	CodeUseNonce             = "use_dpop_nonce"
	CodeInvalidKeyProof      = "invalid_proof"
	CodeInvalidToken         = "invalid_token"
	CodeUnavailable          = "temporarily_unavailable"
	CodeServerError          = "server_error"
	CodeIssuer               = "issuer_mismatch"
)

// meanings has for each code the kind of error it is and what to do about it.
var meanings = map[string]struct {
	kind error
	hint string
}{
	CodeInvalidRequest:       {authz.ErrInvalid, ""},
	CodeInvalidClient:        {authz.ErrUnauthenticated, "the server takes this key for no active agent's: the agent may be suspended, the key expired, revoked or replaced, or the clock here wrong; an administrator can tell"},
	CodeInvalidGrant:         {authz.ErrForbidden, "the token that was shown has ended, was revoked, or is not for this agent: begin with a fresh one"},
	CodeUnauthorizedClient:   {authz.ErrForbidden, "this agent may not use this grant"},
	CodeUnsupportedGrantType: {authz.ErrInvalid, "the server's metadata lists the grants it knows"},
	CodeInvalidScope:         {authz.ErrForbidden, "ask for capabilities that the agent is granted, and that the token which was shown carries"},
	CodeInvalidTarget:        {authz.ErrInvalid, "name one resource server as the authorization server knows it"},
	CodeInvalidDetails:       {authz.ErrInvalid, "each of the details has the type capability, an identifier, and limits within those of the grant"},
	CodeAccessDenied:         {authz.ErrForbidden, "policy refuses that the agent carries this now; the record of the decision says why"},
	CodeInvalidProof:         {authz.ErrUnauthenticated, "the clock here may be wrong, or something on the way changes the URL"},
	CodeUseNonce:             {authz.ErrUnavailable, "each server behind a load balancer knows its own nonces only: keep a connection with one of them"},
	CodeInvalidKeyProof:      {authz.ErrInvalid, "a key is registered once, for one agent, and an agent has a few at most: make a new one, or have old ones revoked"},
	CodeInvalidToken:         {authz.ErrUnauthenticated, "the token has ended or was revoked: get another"},
	CodeUnavailable:          {authz.ErrUnavailable, ""},
	CodeServerError:          {authz.ErrUnavailable, ""},
}

// oauthRefusal returns the *Error of an answer of an authorization server that is not a success.
func oauthRefusal(status int, answer []byte) *Error {
	var body struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
	}
	var code string
	if json.Unmarshal(answer, &body) != nil || json.Unmarshal(body.Error, &code) != nil {
		return refusal(status, answer)
	}
	e := &Error{Status: status, Code: printable(code, 80), Message: printable(body.Description, 500), kind: kindOf(status)}
	if m, ok := meanings[code]; ok {
		e.Hint = m.hint
		if status < 500 && status != http.StatusTooManyRequests { // what the status says to try again is tried again
			e.kind = m.kind
		}
	}
	if e.Message == "" {
		e.Message = e.Code
	}
	return e
}

// printable returns at most n bytes of what a server wrote, of the characters RFC 6749 lets it write.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), n)]
}
