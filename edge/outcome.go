package edge

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Bounds of an outcome: those of the control plane.
const (
	maxWhy     = 1000
	maxMet     = 64
	maxMeasure = int64(1) << 50 // milliseconds or bytes
)

// outcomeBody returns an outcome as POST /v1/decisions/{id}/outcome takes it. authz.ErrInvalid: it would not be taken.
func outcomeBody(o *client.Outcome) ([]byte, error) {
	w := struct {
		Result  string   `json:"result,omitempty"`
		Fault   string   `json:"fault,omitempty"`
		Latency int64    `json:"latency_ms,omitempty"`
		Size    *int64   `json:"size_bytes,omitempty"`
		Met     []string `json:"met,omitempty"`
		Why     string   `json:"why,omitempty"`
	}{Result: o.Result, Fault: o.Fault, Met: o.Met, Why: o.Why}
	if o.Latency > 0 { // rounded up, so that what was measured is said
		w.Latency = int64((o.Latency + time.Millisecond - 1) / time.Millisecond)
	}
	if o.Size != 0 || o.Result == "" && o.Fault == "" && w.Latency == 0 && len(o.Met) == 0 {
		w.Size = &o.Size
	}
	switch {
	case o.Operator:
		return nil, authz.Errorf(authz.ErrForbidden, "only an administrator may speak for an agent's owner")
	case !slices.Contains([]string{"", client.Right, client.Wrong, client.Harmful, client.Reverted}, o.Result):
		return nil, invalid("unknown result %.32q: one of right, wrong, harmful, reverted", o.Result)
	case !slices.Contains([]string{"", client.FaultTool, client.FaultSchema, client.FaultTimeout}, o.Fault):
		return nil, invalid("unknown fault %.32q: one of tool, schema, timeout", o.Fault)
	case o.Latency < 0 || w.Latency > maxMeasure || o.Size < 0 || o.Size > maxMeasure:
		return nil, invalid("latency and size are from 0 to %d", maxMeasure)
	case len(o.Met) > maxMet:
		return nil, invalid("an outcome names up to %d obligations", maxMet)
	case len(o.Why) > maxWhy || !text(o.Why) || strings.ContainsFunc(o.Why, func(c rune) bool { return !unicode.IsPrint(c) }):
		return nil, invalid("a reason has up to %d bytes of printable text", maxWhy)
	}
	if err := checkNames("met", o.Met); err != nil {
		return nil, err
	}
	return json.Marshal(w)
}
