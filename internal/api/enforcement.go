package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/enforcement"
)

// Enforcement takes in what enforcement points say of themselves, and knows it.
type Enforcement interface {
	// Tell records a report, waits until it is in effect, and returns the number of its entry. authz.ErrInvalid: it is none.
	Tell(ctx context.Context, actor string, r enforcement.Report) (int64, error)
	// Points returns the enforcement points, sorted.
	Points() []enforcement.Point
}

const maxReport = enforcement.MaxDetail + 4096 // bytes of the body

type enforcementReport struct {
	Kind    string          `json:"kind" doc:"hello, bye, fail_open, allowed_unavailable, tool_changed, tool_approved, mapping_warning, or another of small letters and underscores, which means nothing to the service"`
	Gateway string          `json:"gateway" doc:"what the enforcement point calls itself"`
	Version string          `json:"version,omitempty" doc:"of its program"`
	Detail  json.RawMessage `json:"detail,omitempty" doc:"an object, up to 16 KiB: hello has decide (local or remote), doors and fail_open (routes); fail_open has route; allowed_unavailable has route and count; tool_changed and tool_approved have server, tool, was and now"`
}

// A ReportReceipt says where a report is recorded.
type ReportReceipt struct {
	Entry int64 `json:"entry" doc:"number of the log entry"`
}

var errNoEnforcement = authz.Errorf(authz.ErrUnavailable, "nobody takes in reports of enforcement points here")

func (s *Server) reportEnforcement(r *http.Request, who *caller.Identity, in enforcementReport) (receipt ReportReceipt, err error) {
	if s.Enforcement == nil {
		return receipt, errNoEnforcement
	}
	receipt.Entry, err = s.Enforcement.Tell(r.Context(), who.Actor(), enforcement.Report{Kind: in.Kind, Gateway: in.Gateway, Version: in.Version, Detail: in.Detail})
	return receipt, err
}

type listEnforcementPoints struct {
	After string `query:"after" doc:"begin after this point: next of the page before"`
	Limit int    `query:"limit" doc:"at most so many, 100 by default and 1000 at most"`
}

// maxListed is after how many routes and tools a page ends.
const maxListed = 4096

func (s *Server) listEnforcementPoints(_ *http.Request, _ *caller.Identity, in listEnforcementPoints) (page List[enforcement.Point], err error) {
	if s.Enforcement == nil {
		return page, errNoEnforcement
	}
	n, err := pageSize(in.Limit)
	if err != nil {
		return page, err
	}
	of, gateway, _ := strings.Cut(in.After, " ") // no caller's name has a space
	page.Items = []enforcement.Point{}
	listed := 0
	for _, p := range s.Enforcement.Points() {
		if c := strings.Compare(p.Caller, of); in.After != "" && (c < 0 || c == 0 && p.Gateway <= gateway) {
			continue
		}
		if listed += len(p.FailOpen) + len(p.Tools); len(page.Items) > 0 && (len(page.Items) == n || listed > maxListed) {
			last := &page.Items[len(page.Items)-1]
			page.Next = last.Caller + " " + last.Gateway
			break
		}
		page.Items = append(page.Items, p)
	}
	return page, nil
}
