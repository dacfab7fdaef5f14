package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// An askInfo is an ask as the API shows it, as far as it is printed.
type askInfo struct {
	ID             string          `json:"id"`
	Kind           string          `json:"kind"`
	Status         string          `json:"status"`
	Items          []itemInfo      `json:"items"`
	Subject        authz.Ref       `json:"subject"`
	Agent          string          `json:"agent"`
	Session        string          `json:"session"`
	PEP            string          `json:"pep"`
	Requester      string          `json:"requester"`
	Person         string          `json:"person"`
	Message        string          `json:"message"`
	Details        json.RawMessage `json:"details"`
	Justification  string          `json:"justification"`
	RequestedUntil time.Time       `json:"requested_until"`
	AskedAt        time.Time       `json:"asked_at"`
	ExpiresAt      time.Time       `json:"expires_at"`
	ClosedAt       time.Time       `json:"closed_at"`
	Why            string          `json:"why"`
	Answers        []struct {
		By      string    `json:"by"`
		For     string    `json:"for"`
		Yes     bool      `json:"yes"`
		Scope   scopeInfo `json:"scope"`
		Comment string    `json:"comment"`
		At      time.Time `json:"at"`
		Broke   bool      `json:"broke_glass"`
		Void    time.Time `json:"void_at"`
	} `json:"answers"`
	Broken *struct {
		By       string    `json:"by"`
		Reason   string    `json:"reason"`
		Due      time.Time `json:"due"`
		Reviewer string    `json:"reviewer"`
		Verdict  string    `json:"verdict"`
		Comment  string    `json:"comment"`
	} `json:"broken_glass"`
}

type itemInfo struct {
	Action    string          `json:"action"`
	Arguments json.RawMessage `json:"arguments"`
	Resource  struct {
		authz.Ref
		Properties json.RawMessage `json:"properties"`
	} `json:"resource"`
	Data   string     `json:"data"`
	Labels []string   `json:"labels"`
	Status string     `json:"status"`
	Grant  *grantInfo `json:"grant"`
}

// A grantInfo is what was approved of an act.
type grantInfo struct {
	Until   time.Time `json:"until"`
	Scope   scopeInfo `json:"scope"`
	Used    int64     `json:"used"`
	Revoked time.Time `json:"revoked_at"`
	Why     string    `json:"why"`
}

// A scopeInfo is how far a yes, or an approval, goes.
type scopeInfo struct {
	Uses      int64             `json:"uses"`
	Until     time.Time         `json:"until"`
	Class     bool              `json:"class"`
	Arguments bool              `json:"arguments"`
	Amounts   map[string]string `json:"amounts"`
}

// String says it in words, but for its end.
func (s *scopeInfo) String() string {
	parts := []string{"once"}
	switch {
	case s.Uses < 0:
		parts[0] = "as often as it likes"
	case s.Uses > 1:
		parts[0] = fmt.Sprintf("%d times at most", s.Uses)
	}
	if s.Class {
		parts = append(parts, "any resource of its type and class of data")
	}
	if s.Arguments {
		parts = append(parts, "any arguments")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Amounts)) {
		parts = append(parts, quote(name, 60)+" up to "+brief(s.Amounts[name], 60))
	}
	if len(parts) == 1 {
		parts = append(parts, "this very act")
	}
	return strings.Join(parts, ", ")
}

// plain reports whether a scope is that of a plain yes.
func (s *scopeInfo) plain() bool {
	return s.Uses == 0 && s.Until.IsZero() && !s.Class && !s.Arguments && len(s.Amounts) == 0
}

// holds says until when an approval holds, and how far it goes.
func (g *grantInfo) holds() string { return "until " + when(g.Until) + ": " + g.Scope.String() }

// String says that, and what became of it.
func (g *grantInfo) String() string {
	text := g.holds()
	switch most := max(g.Scope.Uses, 1); {
	case !g.Revoked.IsZero():
		text += "; revoked " + when(g.Revoked)
		if g.Why != "" {
			text += ": " + quote(g.Why, 400)
		}
	case g.Scope.Uses >= 0 && g.Used >= most:
		text += "; used up"
	default:
		text += fmt.Sprintf("; used %s", plural(int(g.Used), "time", "times"))
	}
	return text
}

// grants returns what was approved of the acts, and by which places among them.
func (a *askInfo) grants() (granted []*grantInfo, places []int) {
	for i := range a.Items {
		if g := a.Items[i].Grant; g != nil {
			granted, places = append(granted, g), append(places, i)
		}
	}
	return granted, places
}

// state is the status of an ask; "revoked", if all that was approved of it was taken back.
func (a *askInfo) state() string {
	granted, _ := a.grants()
	if len(granted) > 0 && !slices.ContainsFunc(granted, func(g *grantInfo) bool { return g.Revoked.IsZero() }) {
		return "revoked"
	}
	return a.Status
}

// until is how long an ask waits, or how long what was approved of it holds at most. It is zero of all others.
func (a *askInfo) until() (t time.Time) {
	if a.Status == "pending" {
		return a.ExpiresAt
	}
	granted, _ := a.grants()
	for _, g := range granted {
		if g.Revoked.IsZero() && g.Until.After(t) {
			t = g.Until
		}
	}
	return t
}

// what says in few words what is asked for, with its arguments.
func (a *askInfo) what() string {
	if len(a.Items) == 0 {
		return brief(a.Kind, 20)
	}
	it := &a.Items[0]
	text := brief(it.Action, 40) + " on " + brief(it.Resource.String(), 60)
	if args := arguments(it.Arguments, 80); args != "" {
		text += ", " + args
	}
	if a.Message != "" {
		text += ": " + quote(a.Message, 40)
	}
	if n := len(a.Items) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}

// arguments tells an act's arguments in at most n characters or the first of them: NAME=VALUE, by name.
func arguments(object json.RawMessage, n int) string {
	var members map[string]json.RawMessage
	if len(object) == 0 || json.Unmarshal(object, &members) != nil {
		return ""
	}
	text := ""
	for i, name := range slices.Sorted(maps.Keys(members)) {
		part := brief(name, 24) + "=" + brief(string(members[name]), 40)
		if i > 0 {
			if len(text)+len(part) >= n {
				return text + " …"
			}
			text += " "
		}
		text += part
	}
	return text
}
