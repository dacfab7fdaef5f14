package client

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// An Answer is a decision, with what the AuthZEN Access Request and Approval Profile (ARAP) says beside it. A
// refusal is one, whatever it offers.
type Answer struct {
	authz.Decision

	// ID is by what its Decider knows the decision, for Outcome: "d1042" of the service, "e17" of an embedded
	// decision point; "" of one that was not recorded.
	ID string
	// Offer says how persons can be asked; nil if they cannot be.
	Offer *Offer
	// Reason is a stable code of why the act, or the approval, was refused: approval_expired, out_of_scope, ...
	Reason string
	// NextAction is what the service says to do after it refused in spite of an approval; "" if it says
	// nothing. Next says what to do in every case.
	NextAction string
	// RetryAfter is how long to wait before the very same is asked again; 0 if the service does not say.
	RetryAfter time.Duration
	// Until is when a permission that stands on an approval ends; zero if this one stands on none.
	Until time.Time
}

// DecisionID returns by what its Decider knows the decision: the ID, or what the number of its record says.
func (a *Answer) DecisionID() string {
	if a.ID != "" {
		return a.ID
	}
	return DecisionID(a.Decision)
}

// ACR returns the authentication context classes that the step-up obligations of a refusal demand, with spaces between
// them, "" if it demands none that can be told.
func (a *Answer) ACR() string {
	var all []string
	for i := range a.Obligations {
		var p struct {
			ACR string `json:"acr_value"`
		}
		o := &a.Obligations[i]
		if o.Type == "step-up" && json.Unmarshal(o.Properties, &p) == nil && p.ACR != "" && oneLine(p.ACR) && !slices.Contains(all, p.ACR) {
			all = append(all, p.ACR)
		}
	}
	return strings.Join(all, " ")
}

// What to do after a refusal.
const (
	NextRequest = "request" // ask persons, by the Offer
	NextRetry   = "retry"   // ask for the same decision again, later
	NextNone    = "none"    // nothing will help
)

// Next returns what to do after a refusal (ARAP, Completion Semantics): what the service says, else what
// its reason stands for, else what it offers.
func (a *Answer) Next() string {
	action := a.NextAction
	switch action {
	case NextRequest, NextRetry, NextNone:
	default:
		switch a.Reason {
		case authz.ApprovalExpired, authz.ApprovalOutOfScope:
			action = NextRequest
		case authz.ApprovalPending:
			action = NextRetry
		case authz.ApprovalPolicyDenied, authz.ApprovalUnverifiable:
			action = NextNone
		default:
			action = NextRequest
		}
	}
	if action == NextRequest && a.Offer == nil || a.Allowed() {
		return NextNone
	}
	return action
}

// An Offer says how persons can be asked about one refusal, and until when. It is handed to RequestAccess as
// it is: its binding token is not for us to read.
type Offer struct {
	Endpoint     string          `json:"endpoint,omitempty"`
	Template     string          `json:"template,omitempty"`
	ExpiresAt    time.Time       `json:"expires_at"`
	BindingToken string          `json:"binding_token,omitempty"`
	SchemaURL    string          `json:"request_schema_url,omitempty"`
	CatalogsURL  string          `json:"request_catalogs_url,omitempty"`
	FormURL      string          `json:"form_url,omitempty"`
	Display      json.RawMessage `json:"display,omitempty"`

	expires      string // ExpiresAt as it was written
	evaluationID string
	evaluatedAt  string
	reason       string
}

// wireRequestable is what ARAP adds to the context of a decision.
type wireRequestable struct {
	EvaluatedAt string          `json:"evaluated_at"`
	Reason      string          `json:"reason"`
	NextAction  string          `json:"next_action"`
	RetryAfter  float64         `json:"retry_after"`
	Offer       json.RawMessage `json:"access_request"`
	Approval    *struct {
		ID    string `json:"id"`
		Until string `json:"approved_until"`
	} `json:"approval"`
}

// answer returns w as an Answer.
func (w *wireDecision) answer() *Answer {
	x := &w.Context
	a := &Answer{Decision: w.decision(), Reason: x.Reason, NextAction: x.NextAction}
	a.ID = DecisionID(a.Decision)
	if x.RetryAfter > 0 {
		a.RetryAfter = time.Duration(min(x.RetryAfter, maxLife.Seconds()) * float64(time.Second))
	}
	if x.Approval != nil && w.Decision {
		until, err := time.Parse(time.RFC3339Nano, x.Approval.Until)
		if err != nil && x.Approval.Until != "" {
			// It ends at a time that nobody can tell: it does not hold.
			a.Refuse(authz.CodeUnavailable, "The service's answer says no time until which the approval holds.")
			return a
		}
		a.Until = until
	}
	if !w.Decision {
		a.Offer = w.offer()
	}
	return a
}

// offer returns what the service offers, nil if that is nothing or cannot be used: an offer needs an end, and
// something that binds it to the refusal.
func (w *wireDecision) offer() *Offer {
	x := &w.Context
	if len(x.Offer) == 0 || string(x.Offer) == "null" {
		return nil
	}
	o := &Offer{evaluationID: x.EvaluationID, evaluatedAt: x.EvaluatedAt, reason: x.Reason}
	var written struct {
		ExpiresAt string `json:"expires_at"`
	}
	if json.Unmarshal(x.Offer, o) != nil || json.Unmarshal(x.Offer, &written) != nil || o.ExpiresAt.IsZero() || o.BindingToken == "" && o.evaluationID == "" {
		return nil
	}
	o.expires = written.ExpiresAt
	return o
}

// Evaluate asks whether req may happen, as Decide does, and says as well how persons can be asked, and what
// became of an approval. An approval that is over is not sent: the answer is then as if there were none. The
// Answer is never nil, and can always be used: with an error it refuses.
func (c *Client) Evaluate(ctx context.Context, req authz.Request, a *Approval) (*Answer, error) {
	return c.evaluate(ctx, req, nil, a)
}

// EvaluatePresented is Evaluate for whoever presented the passport p to this enforcement point; see
// DecidePresented. A proof of possession counts once: asking again needs another.
func (c *Client) EvaluatePresented(ctx context.Context, p authz.Presented, req authz.Request, a *Approval) (*Answer, error) {
	return c.evaluate(ctx, req, &p, a)
}

func (c *Client) evaluate(ctx context.Context, req authz.Request, p *authz.Presented, a *Approval) (*Answer, error) {
	var approval json.RawMessage
	if a.Usable(time.Now()) {
		approval = a.raw
	}
	answer, err := c.send(ctx, "POST", "/access/v1/evaluation", c.appendQuestion(nil, &req, p, approval), approval == nil && req.Approval == nil)
	if err != nil {
		return &Answer{Decision: refused(err)}, err
	}
	var w wireDecision
	if err := json.Unmarshal(answer, &w); err != nil {
		err = authz.Errorf(authz.ErrUnavailable, "the service's answer is no decision: %w", err)
		return &Answer{Decision: refused(err)}, err
	}
	return w.answer(), nil
}
