package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// How long an evaluator may take to answer.
const (
	usualEvaluation = 10 * time.Second
	maxEvaluation   = time.Minute
)

// Verdicts of an evaluator.
const (
	approve = "approve"
	refuse  = "refuse"
	abstain = "abstain" // it is left to people
)

// A verdict is what an evaluator answers. Its signature is under the id of our own message, so that it
// cannot be one for another ask; Ask says so to whoever reads it.
type verdict struct {
	Ask     string         `json:"ask"`
	Verdict string         `json:"verdict"`
	Reason  string         `json:"reason"`
	Scope   approval.Scope `json:"scope"` // none of a refusal
}

// evaluate asks an evaluator, and gives its answer to the desk. If it abstains, is silent until the ask has
// ended, or answers what nobody may answer, the ask is left to people.
func (n *Notifier) evaluate(ctx context.Context, e *Evaluator, d *Delivery, a *approval.Ask) (outcome, error) {
	// It is asked again only if we were stopped before its answer was recorded.
	if slices.ContainsFunc(a.Answers, func(x approval.Answer) bool { return x.By == "evaluator:"+d.Channel }) {
		return outcome{State: Told}, nil
	}
	body, err := n.payload("evaluate", d, a, approval.MaxAsk) // all of it: who judges must see what
	if err != nil {
		return outcome{}, fmt.Errorf("encoding a message: %w", err)
	}
	sendCtx, cancel := context.WithTimeout(ctx, cmp.Or(e.Timeout, usualEvaluation))
	defer cancel()
	r, o := n.post(sendCtx, e.Client, e.URL, signed(e.Secrets, d.ID, n.cfg.Now(), body), body)
	if o.State != Told {
		return o, nil
	}
	if err := verify(e.Secrets, d.ID, n.cfg.Now(), r.Header, r.Body); err != nil {
		return outcome{State: Waiting, Error: err.Error()}, nil
	}
	v, err := parseVerdict(r.Body)
	if err != nil {
		return outcome{State: Dead, Error: err.Error()}, nil
	}
	if v.Ask != a.ID {
		return outcome{State: Dead, Error: "the answer is for another ask"}, nil
	}
	if v.Verdict == abstain {
		return o, nil
	}
	_, err = n.cfg.Asks.AnswerAs(ctx, d.Channel, a.ID, approval.Reply{Yes: v.Verdict == approve, Scope: v.Scope, Comment: v.Reason})
	switch {
	case errors.Is(err, authz.ErrForbidden), errors.Is(err, authz.ErrInvalid):
		return outcome{State: Dead, Error: "its answer was refused: " + err.Error()}, nil
	case errors.Is(err, authz.ErrConflict): // the ask has ended meanwhile
		return o, nil
	case err != nil:
		return outcome{State: Waiting, Error: "its answer could not be recorded"}, nil
	}
	return o, nil
}

// maxVerdict bounds an evaluator's answer, in bytes.
const maxVerdict = 16 << 10

// parseVerdict reads what an evaluator answers, strictly: what is not understood must not become a yes. A no
// must not get lost: see parseRefusal.
func parseVerdict(b []byte) (v verdict, err error) {
	if len(b) > maxVerdict {
		return v, authz.Errorf(authz.ErrInvalid, "the answer has %d bytes: at most %d", len(b), maxVerdict)
	}
	if no, ok := parseRefusal(b); ok {
		return no, nil
	}
	if err := json.Unmarshal(b, &v, json.RejectUnknownMembers(true)); err != nil {
		return v, authz.Errorf(authz.ErrInvalid, "the answer: %.200s", err.Error())
	}
	switch {
	case v.Verdict != approve && v.Verdict != refuse && v.Verdict != abstain:
		return v, authz.Errorf(authz.ErrInvalid, "the answer's verdict is %.40q: one of approve, refuse, abstain", v.Verdict)
	case len(v.Reason) > approval.MaxText:
		return v, authz.Errorf(authz.ErrInvalid, "the answer's reason has more than %d bytes", approval.MaxText)
	}
	return v, nil
}

// parseRefusal reads an answer as a refusal, if it is one. What stands beside the ask and the verdict is
// trimmings: a reason that is too long is cut, one that is no text is left out, and so is all else.
func parseRefusal(b []byte) (verdict, bool) {
	var v struct {
		Ask     string         `json:"ask"`
		Verdict string         `json:"verdict"`
		Reason  jsontext.Value `json:"reason"`
	}
	if json.Unmarshal(b, &v, jsontext.AllowInvalidUTF8(true)) != nil || v.Verdict != refuse {
		return verdict{}, false
	}
	no := verdict{Ask: v.Ask, Verdict: refuse}
	var reason string
	if json.Unmarshal(v.Reason, &reason, jsontext.AllowInvalidUTF8(true)) == nil {
		reason = strings.ToValidUTF8(reason, "\ufffd")
		no.Reason = strings.ToValidUTF8(reason[:min(len(reason), approval.MaxText)], "")
	}
	return no, true
}
