package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Kinds of EnforcementReport that the service understands, with what it reads of their Detail. Others are recorded
// and mean nothing to it.
const (
	// ReportHello says that the point serves: "decide" is "remote" or "local", "doors" a list of what it guards ("mcp",
	// "http"), and "fail_open" a list of all routes that let through what cannot be decided. It replaces what was said before.
	ReportHello = "hello"
	// ReportBye says that it stops.
	ReportBye = "bye"
	// ReportFailOpen says that a "route" is configured to let through what cannot be decided.
	ReportFailOpen = "fail_open"
	// ReportAllowedUnavailable says that by a "route" it let through what could not be decided, "count" times (1 by default).
	ReportAllowedUnavailable = "allowed_unavailable"
	// ReportToolChanged says that a "tool" of a "server" is not as it was pinned; "was" and "now" are digests.
	ReportToolChanged = "tool_changed"
	// ReportToolApproved says that a "tool" of a "server" was pinned anew.
	ReportToolApproved = "tool_approved"
	// ReportMappingWarning says that what a "server" says of a "tool" is not followed, and in "warning" why.
	ReportMappingWarning = "mapping_warning"
)

// An EnforcementReport is what an enforcement point says of itself.
type EnforcementReport struct {
	Kind    string         // ReportHello and so on, or another of small letters and underscores
	Gateway string         // what the point calls itself, 1 to 256 bytes; one caller may be several points
	Version string         // of its program; may be empty
	Detail  map[string]any // at most 16 KiB of JSON, 8 deep
}

// Report tells the service what an enforcement point says of itself (roles pep and edge). It is not tried again:
// what could not be told may have been. authz.ErrInvalid: the service does not take such a report.
func (c *Client) Report(ctx context.Context, r EnforcementReport) error {
	in := struct {
		Kind    string          `json:"kind"`
		Gateway string          `json:"gateway"`
		Version string          `json:"version,omitempty"`
		Detail  json.RawMessage `json:"detail,omitempty"`
	}{Kind: r.Kind, Gateway: r.Gateway, Version: r.Version}
	if len(r.Detail) > 0 {
		var err error
		if in.Detail, err = json.Marshal(r.Detail); err != nil {
			return authz.Errorf(authz.ErrInvalid, "encoding the report: %w", err)
		}
	}
	return c.Do(ctx, http.MethodPost, "/v1/enforcement/reports", in, nil)
}

// An EnforcementPoint is an enforcement point as it has described itself.
type EnforcementPoint struct {
	Caller    string        `json:"caller"`              // by whose token it reports: pep:NAME, edge:NAME
	Gateway   string        `json:"gateway"`             // what it calls itself
	Version   string        `json:"version,omitempty"`   // of its program
	Doors     []string      `json:"doors"`               // what it guards
	Embedded  bool          `json:"embedded"`            // it decides by itself
	FailOpen  []FailingOpen `json:"fail_open"`           // routes that let through what cannot be decided
	Allowed   int64         `json:"allowed"`             // acts that it let through without a decision
	AllowedAt time.Time     `json:"allowed_at,omitzero"` // when last
	Tools     []ChangedTool `json:"tools"`               // that are not as they were pinned
	HelloAt   time.Time     `json:"hello_at,omitzero"`   // when it last said that it serves
	LastAt    time.Time     `json:"last_at"`             // of its newest report
	Stopped   bool          `json:"stopped,omitempty"`   // it said that it stops
	AsOf      int64         `json:"as_of"`               // number of the log entry that says so
}

// FailingOpen is a route that fails open.
type FailingOpen struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}

// A ChangedTool is a tool whose descriptor is not the one that was pinned.
type ChangedTool struct {
	Server string    `json:"server"`
	Tool   string    `json:"tool"`
	Since  time.Time `json:"since"`
}

// EnforcementPoints lists the enforcement points that have described themselves, sorted by caller and what they call
// themselves.
func (c *Client) EnforcementPoints(ctx context.Context) ([]EnforcementPoint, error) {
	var page struct {
		Items []EnforcementPoint `json:"items"`
	}
	if err := c.Do(ctx, http.MethodGet, "/v1/enforcement/points", nil, &page); err != nil {
		return nil, err
	}
	return page.Items, nil
}
