package enforcement

import (
	jsonv1 "encoding/json"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// Kinds of report. Others are recorded, and mean nothing to the service. What is told of each stands behind it: members of Detail.
const (
	Hello              = "hello"               // it serves: decide (local, remote), doors, fail_open (names of routes, all of them)
	Bye                = "bye"                 // it stops
	FailOpen           = "fail_open"           // a route lets through what cannot be decided: route
	AllowedUnavailable = "allowed_unavailable" // it let something through that could not be decided: route, count, error
	ToolChanged        = "tool_changed"        // a tool is not as it was pinned: server, tool, was, now (digests)
	ToolApproved       = "tool_approved"       // a tool was pinned anew: server, tool, now
	MappingWarning     = "mapping_warning"     // what a server says of its tools is not followed: server, tool, warning
)

// DecideLocal is what a hello says in decide if the point decides by itself.
const DecideLocal = "local"

// A Report is what an enforcement point says of itself: the body of an enforcement.reported entry.
type Report struct {
	Kind    string            `json:"kind"`
	Gateway string            `json:"gateway"`           // what the point calls itself
	Version string            `json:"version,omitempty"` // of its program
	Detail  jsonv1.RawMessage `json:"detail,omitempty"`  // a JSON object of at most MaxDetail bytes

	told detail
}

// A detail is what is read of Detail.
type detail struct {
	Decide   string   `json:"decide"`
	Doors    []string `json:"doors"`
	FailOpen []string `json:"fail_open"`
	Route    string   `json:"route"`
	Count    int64    `json:"count"`
	Server   string   `json:"server"`
	Tool     string   `json:"tool"`
	Was      string   `json:"was"`
	Now      string   `json:"now"`
}

// Bounds of a report.
const (
	MaxDetail = 16 << 10 // bytes
	maxKind   = 40
	maxName   = 256 // bytes of any name
	maxDepth  = 8
)

// ParseReport reads the body of an entry. It returns authz.ErrInvalid for one that Check refuses.
func ParseReport(body []byte) (*Report, error) {
	r := new(Report)
	if err := json.Unmarshal(body, r, json.RejectUnknownMembers(true)); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the report: %.200s", err.Error())
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return r, nil
}

// Check returns authz.ErrInvalid and what is wrong with r.
func (r *Report) Check() error {
	if n := len(r.Kind); n == 0 || n > maxKind {
		return authz.Errorf(authz.ErrInvalid, "the kind of a report has 1 to %d characters", maxKind)
	}
	for _, c := range []byte(r.Kind) {
		if (c < 'a' || c > 'z') && c != '_' {
			return authz.Errorf(authz.ErrInvalid, "the kind of a report has small letters and underscores: %.40q", r.Kind)
		}
	}
	if err := printable(r.Gateway, maxName); err != nil {
		return authz.Errorf(authz.ErrInvalid, "gateway %w", err)
	}
	if r.Version != "" {
		if err := printable(r.Version, maxName); err != nil {
			return authz.Errorf(authz.ErrInvalid, "version %w", err)
		}
	}
	r.told = detail{}
	if len(r.Detail) == 0 {
		return r.lacks()
	}
	if len(r.Detail) > MaxDetail {
		return authz.Errorf(authz.ErrInvalid, "detail has more than %d bytes", MaxDetail)
	}
	v := jsontext.Value(r.Detail)
	if !v.IsValid() || v.Kind() != '{' || deep(v) {
		return authz.Errorf(authz.ErrInvalid, "detail is a JSON object, at most %d deep", maxDepth)
	}
	if err := json.Unmarshal(r.Detail, &r.told); err != nil {
		return authz.Errorf(authz.ErrInvalid, "detail: %.200s", err.Error())
	}
	return r.lacks()
}

// lacks returns what a report of its kind must say and does not.
func (r *Report) lacks() error {
	d := &r.told
	names := append(append([]string{d.Route, d.Server, d.Tool, d.Decide}, d.Doors...), d.FailOpen...)
	if len(names) > 2*maxList {
		return authz.Errorf(authz.ErrInvalid, "detail names more than %d routes or doors", maxList)
	}
	for _, name := range names {
		if name != "" && printable(name, maxName) != nil {
			return authz.Errorf(authz.ErrInvalid, "a name in detail has up to %d bytes of printable text", maxName)
		}
	}
	switch {
	case d.Count < 0 || d.Count > 1<<40:
		return authz.Errorf(authz.ErrInvalid, "count is from 0 on")
	case (r.Kind == FailOpen || r.Kind == AllowedUnavailable) && d.Route == "":
		return authz.Errorf(authz.ErrInvalid, "a report of the kind %s names its route in detail", r.Kind)
	case (r.Kind == ToolChanged || r.Kind == ToolApproved) && d.Tool == "":
		return authz.Errorf(authz.ErrInvalid, "a report of the kind %s names its tool in detail", r.Kind)
	}
	return nil
}

// FailOpen returns the routes that a report says let through what cannot be decided.
func (r *Report) FailOpen() []string {
	switch r.Kind {
	case Hello:
		return r.told.FailOpen
	case FailOpen, AllowedUnavailable:
		return []string{r.told.Route}
	}
	return nil
}

// Tool returns the server and the tool that a report is about.
func (r *Report) Tool() (server, tool string) { return r.told.Server, r.told.Tool }

// deep reports whether a valid text is nested deeper than maxDepth.
func deep(v jsontext.Value) bool {
	depth, text := 0, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
