// Package coaz is the COAZ binding for the Model Context Protocol (OpenID AuthZEN, COAZ-MCP draft 1 over the COAZ
// framework, draft 1): by a mapping it makes of an MCP message the requests that a decision point is asked.
//
// A mapping is the binding's own, one for each method (Default), or the one that a server declares for a tool
// in x-authzen-mapping (Parse). Its values are literals, or expressions of the Common Expression Language over the
// message's params and the claims of the validated access token. Whatever cannot be resolved is an *Error, which refuses
// the message; there is no mapping that asks nothing.
//
// Everything that a declared mapping says comes from the server whose act is to be decided. Only the subject's id is checked
// against the token, and a Resolved says if it is not the token's.
//
// Where the draft leaves a choice: expressions are looked for at every leaf, in lists too; the default mapping of
// completion/complete, which as printed is not CEL (a $ stands inside the expression), is read as it is meant;
// server/discover and subscriptions/listen, which MCP has had since 2026-07-28, after the draft, have mappings of the shape of
// initialize, and tasks/update, of the extension for tasks, that of tasks/get. What a client subscribes to is further decided about
// as resources/subscribe, by the doors.
package coaz

import (
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
)

// An Error is a mapping error (COAZ-MCP, "Mapping Errors"): no request can be made. It is authz.ErrInvalid.
type Error struct {
	Where      string // the member of the mapping, such as evaluation.resource.id; "" of the mapping as a whole
	Expression string // with its $; "" if the member is no expression
	Detail     string
}

// Error says what is wrong, in words that may be told to whoever sent the message.
func (e *Error) Error() string {
	switch {
	case e.Expression != "":
		return fmt.Sprintf("COAZ mapping error: expression '%s' failed: %s", clip(e.Expression), clip(e.Detail))
	case e.Where != "":
		return fmt.Sprintf("COAZ mapping error: %s: %s", e.Where, clip(e.Detail))
	}
	return "COAZ mapping error: " + clip(e.Detail)
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return authz.ErrInvalid }

// clip bounds what others wrote.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// An Input is what a mapping is resolved against (COAZ-MCP, "Information Model").
type Input struct {
	// Params are the message's, as Variables reads them.
	Params map[string]any
	// Token are the claims of the validated access token, as Variables reads them.
	Token map[string]any
	// Server is this MCP server's own resource identifier (RFC 8707). It stands for token.aud in default mappings. If
	// it is "" the token's aud does, which must then be one string.
	Server string
	// Claim is the subject-identity claim: sub if it is "".
	Claim string
}

// A Resolved is what a decision point is asked.
type Resolved struct {
	// Requests are one or more; the message may pass only if all of them may.
	Requests []authz.Request
	// Many is whether the mapping's envelope was evaluations.
	Many bool
	// Anchored is whether the subject's id is the token's subject-identity claim. If not, it is what the author of the mapping says.
	Anchored bool
	// Warnings are for the operator.
	Warnings []string
}

// claim returns the name of the subject-identity claim.
func (in *Input) claim() string {
	if in.Claim != "" {
		return in.Claim
	}
	return "sub"
}

// subject returns the value of the subject-identity claim.
func (in *Input) subject() (string, error) {
	id, ok := in.Token[in.claim()].(string)
	if !ok || id == "" {
		return "", &Error{Where: "subject.id", Detail: fmt.Sprintf("the access token has no claim %q that is a string", in.claim())}
	}
	return id, nil
}

// audience returns what identifies this server ("Default Mappings").
func (in *Input) audience() (string, error) {
	if in.Server != "" {
		return in.Server, nil
	}
	if aud, ok := in.Token["aud"].(string); ok && aud != "" {
		return aud, nil
	}
	return "", &Error{Where: "resource.id", Detail: "the access token's aud does not name exactly one server"}
}
