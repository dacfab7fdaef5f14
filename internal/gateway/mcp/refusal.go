package mcp

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Codes of errors (COAZ-MCP, "Error Handling"; JSON-RPC 2.0, section 5.1).
const (
	codeParse    = -32700
	codeRequest  = -32600
	codeParams   = -32602 // a mapping error
	codeInternal = -32603 // nobody can decide
	codeDenied   = -32001 // refused
	codeClosed   = -32000 // the server has gone
)

// What is of use after a refusal.
const (
	retryChanged  = "changed"        // the same with other arguments
	retryApproved = "after_approval" // the same, once a person has said yes
	retryLater    = "later"          // the same, later
	retryNever    = "never"          // nothing that the agent can do
)

// A refusal is why a request does not pass, in words for a program and for a model.
type refusal struct {
	code    int    // of JSON-RPC
	message string // one sentence
	reason  string // a stable code; "" if the request was not judged
	help    string // what to do
	retry   string
	down    bool  // nobody could decide
	cause   error // why

	re   *client.RefusedError
	ans  *client.Answer
	task *client.Task
}

func unavailable() *refusal {
	return &refusal{code: codeInternal, message: "Authorization service unavailable", down: true}
}

func withheld() *Error {
	return &Error{Code: codeInternal, Message: (&client.WithheldError{}).Error()}
}

// reasonOf returns what a decision point says, or what went wrong.
func reasonOf(ans *client.Answer, cause error) string {
	var texts []string
	for _, r := range ans.Reasons {
		if r.Message != "" && len(texts) < 5 {
			texts = append(texts, printable(r.Message, 300))
		}
	}
	switch {
	case len(texts) > 0:
		return strings.Join(texts, " ")
	case cause != nil:
		return printable(cause.Error(), 300)
	}
	return printable(ans.Code, 64)
}

// denied makes a refusal of a decision that is one.
func denied(re *client.RefusedError, ans *client.Answer) *refusal {
	r := &refusal{code: codeDenied, reason: ans.Code, re: re, ans: ans, task: re.Task, retry: retryNever}
	if ans.Allowed() { // and what it obliges to cannot be done here
		r.reason = authz.CodeObligation
		r.message = "Access denied: it would be allowed with an obligation that could not be met here"
		r.help = "Nothing that you can change will help; an operator can."
		return r
	}
	r.message = "Access denied: " + reasonOf(ans, nil)
	for _, c := range ans.Changes {
		switch {
		case c.Kind == "wait":
			r.retry = retryLater
		case c.Who == "agent" && r.retry == retryNever:
			r.retry = retryChanged
		}
	}
	switch {
	case ans.Offer != nil:
		r.retry = retryApproved
		r.help = "A person can allow this. This gateway does not ask by itself: tell the person you work for that this call needs an approval" + byDecision(ans) + "."
	case ans.Effect == authz.RequireApproval:
		r.help = "A person would have to allow this, and nobody can be asked now."
	case ans.Effect == authz.StepUp || ans.Code == authz.CodeStepUpRequired:
		r.help = "Whoever you work for has to sign in again, more strongly."
	}
	return r
}

func byDecision(ans *client.Answer) string {
	if id := ans.DecisionID(); id != "" {
		return " (decision " + id + ")"
	}
	return ""
}

// info is what a program reads: in _meta, or in an error's data.
func (r *refusal) info() json.RawMessage {
	type change struct {
		Who    string          `json:"who"`
		Kind   string          `json:"kind"`
		Target string          `json:"target,omitempty"`
		To     json.RawMessage `json:"to,omitempty"`
		Hint   string          `json:"hint,omitempty"`
	}
	type task struct {
		ID      string `json:"id"`
		Status  string `json:"status"`
		Expires string `json:"expires_at,omitempty"`
		Ticket  string `json:"ticket,omitempty"`
	}
	w := struct {
		Code     string         `json:"code"`
		Decision string         `json:"decision,omitempty"`
		Reasons  []authz.Reason `json:"reasons,omitempty"`
		Changes  []change       `json:"changes,omitempty"`
		Remedies []string       `json:"remedies,omitempty"`
		Retry    string         `json:"retry,omitempty"`
		Offer    *client.Offer  `json:"offer,omitempty"`
		Task     *task          `json:"task,omitempty"`
	}{Code: r.reason, Retry: r.retry}
	if r.ans != nil {
		w.Decision, w.Reasons, w.Remedies = r.ans.DecisionID(), r.ans.Reasons, r.ans.Remedies
		for _, c := range r.ans.Changes {
			w.Changes = append(w.Changes, change(c))
		}
		if r.task == nil {
			w.Offer = r.ans.Offer
		}
	}
	if r.task != nil {
		w.Task = &task{ID: r.task.ID, Status: r.task.Status, Ticket: r.task.Ticket}
		if !r.task.ExpiresAt.IsZero() {
			w.Task.Expires = r.task.ExpiresAt.UTC().Format(time.RFC3339)
		}
	}
	return encode(w)
}

// frame is the refusal as an error.
func (r *refusal) frame(id json.RawMessage) *Frame {
	e := &Error{Code: r.code, Message: r.message}
	if r.reason != "" {
		e.Data = encode(map[string]json.RawMessage{metaRefusal: r.info()})
	}
	return &Frame{ID: id, Error: e}
}

// toolFrame is the refusal of a tools/call: if it was judged, as the result of a tool, which a model reads
// (COAZ-MCP, "Authorization Denial": "a tool result with isError").
func (r *refusal) toolFrame(id json.RawMessage, version string) *Frame {
	if r.code != codeDenied {
		return r.frame(id)
	}
	return &Frame{ID: id, Result: r.toolResult(version)}
}

func (r *refusal) toolResult(version string) json.RawMessage {
	var o object
	if version >= statelessVersion {
		o.set("resultType", json.RawMessage(`"complete"`))
	}
	o.set("content", encode([]any{map[string]any{"type": "text", "text": r.text()}}))
	o.set("isError", json.RawMessage("true"))
	o.set("_meta", encode(map[string]json.RawMessage{metaRefusal: r.info()}))
	return o.json()
}

// text is what a model reads.
func (r *refusal) text() string {
	var b strings.Builder
	b.WriteString(strings.TrimRight(r.message, "."))
	b.WriteString(". Nothing was done.")
	if r.ans != nil && len(r.ans.Changes) > 0 && !r.ans.Allowed() {
		b.WriteString("\nWhat would change that:")
		for i, c := range r.ans.Changes {
			if i == 10 {
				break
			}
			hint := printable(c.Hint, 300)
			if hint == "" {
				hint = printable(c.Kind+" "+c.Target+" "+string(c.To), 300)
			}
			b.WriteString("\n- " + hint)
		}
	}
	if r.help != "" {
		b.WriteString("\n" + r.help)
	}
	switch r.retry {
	case retryNever:
		b.WriteString("\nDo not repeat the call: the answer will be the same.")
	case retryChanged:
		b.WriteString("\nDo not repeat the call unchanged.")
	}
	return b.String()
}
