package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// What an act turned out to be, and how it failed.
const (
	Right    = "right"
	Wrong    = "wrong"
	Harmful  = "harmful"
	Reverted = "reverted" // somebody took it back

	FaultTool    = "tool"    // the tool or the resource answered with an error
	FaultSchema  = "schema"  // the arguments did not fit
	FaultTimeout = "timeout" // there was no answer in time
)

// An Outcome is what came of a decision. The zero Outcome says that the act was done, and nothing more.
type Outcome struct {
	// Result is Right, Wrong, Harmful or Reverted, if that is known. An agent may not say of itself
	// that it was right.
	Result string
	// Fault is FaultTool, FaultSchema or FaultTimeout if the act failed technically.
	Fault string
	// Latency is how long the act took, and Size how many bytes its result has; 0 if that is not known.
	Latency time.Duration
	Size    int64
	// Met lists the ids of the decision's obligations that were met. Agents may not say.
	Met []string
	// Operator is whether an administrator speaks for the agent's owner, whose word counts less.
	Operator bool
	// Why is recorded. Administrators must say.
	Why string
}

// DecisionID returns the id by which the service knows a decision: "d123", or "" of one that it has not
// recorded.
func DecisionID(d authz.Decision) string {
	if d.Seq <= 0 {
		return ""
	}
	return "d" + strconv.FormatInt(d.Seq, 10)
}

// Outcome reports what came of a decision: an enforcement point of one that it asked for, an agent of
// one about itself, an administrator of any. It is sent again while the service is unavailable, for it
// counts once: authz.ErrConflict says that this caller has reported the decision before, or that it is
// too old; authz.ErrForbidden that it is not the caller's to report.
func (c *Client) Outcome(ctx context.Context, decisionID string, o Outcome) error {
	if n, ok := strings.CutPrefix(decisionID, "d"); !ok || n == "" || strings.Trim(n, "0123456789") != "" {
		return authz.Errorf(authz.ErrInvalid, "%.32q is no decision id: it looks like d123", decisionID)
	}
	w := struct {
		Result   string   `json:"result,omitempty"`
		Fault    string   `json:"fault,omitempty"`
		Latency  int64    `json:"latency_ms,omitempty"`
		Size     *int64   `json:"size_bytes,omitempty"`
		Met      []string `json:"met,omitempty"`
		Reporter string   `json:"reporter,omitempty"`
		Why      string   `json:"why,omitempty"`
	}{Result: o.Result, Fault: o.Fault, Met: o.Met, Why: o.Why}
	if o.Latency > 0 { // rounded up, so that what was measured is said
		w.Latency = int64((o.Latency + time.Millisecond - 1) / time.Millisecond)
	}
	if o.Size != 0 || o.Result == "" && o.Fault == "" && w.Latency == 0 && len(o.Met) == 0 {
		w.Size = &o.Size
	}
	if o.Operator {
		w.Reporter = "operator"
	}
	body, err := json.Marshal(w)
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "encoding the outcome: %w", err)
	}
	tried := false
	return retry(ctx, c.Attempts, func() error {
		_, err := c.once(ctx, http.MethodPost, "/v1/decisions/"+decisionID+"/outcome", body)
		if tried && errors.Is(err, authz.ErrConflict) {
			return nil // it is recorded, and the answer to that was lost
		}
		tried = true
		return err
	})
}
