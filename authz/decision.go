package authz

import (
	"encoding/json"
	"time"
)

// An Effect is the outcome of a Request, strictest first. The zero Effect refuses.
// Allow with obligations is Allow with a Decision's Obligations.
type Effect uint8

const (
	Deny            Effect = iota // refused
	RequireApproval               // refused until a person agrees
	StepUp                        // refused until the agent or person authenticates more strongly
	Allow                         // granted, if every obligation is met
)

var effectNames = [...]string{"deny", "require_approval", "step_up", "allow"}

// String returns the effect's name as it is written in records.
func (e Effect) String() string {
	if int(e) < len(effectNames) {
		return effectNames[e]
	}
	return effectNames[Deny]
}

// MarshalText returns the effect's name.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText accepts the name of an effect.
func (e *Effect) UnmarshalText(b []byte) error {
	for i, n := range effectNames {
		if n == string(b) {
			*e = Effect(i)
			return nil
		}
	}
	return Errorf(ErrInvalid, "unknown effect %q", b)
}

// Stable codes of a Decision. Those of operators' own reasons come beside them, never instead.
const (
	CodeAllowed          = "allowed"
	CodeNoPermit         = "no_permit"         // no policy permits the act
	CodeForbidden        = "forbidden"         // a forbid policy fired
	CodePolicyError      = "policy_error"      // a forbid policy could not be evaluated
	CodeSignalMissing    = "signal_missing"    // a required fact is missing or stale
	CodeApprovalRequired = "approval_required" // a person can lift the refusal
	CodeStepUpRequired   = "step_up_required"  // stronger authentication can lift it
	CodeObligation       = "obligation_unsupported"
	CodeAskBudget        = "ask_budget" // a person could lift the refusal, and too much has been asked already
	CodeAgentUnknown     = "agent_unknown"
	CodeAgentInactive    = "agent_inactive"
	CodeStopped          = "emergency_stop"        // a person has stopped everything, or something that this is part of
	CodePassport         = "passport_insufficient" // the presented token does not carry what the act needs
	CodePassportInvalid  = "passport_invalid"      // the presented token does not count, or not here
	CodeTypeUnknown      = "type_unknown"          // the schema has no such type or action, or they do not go together
	CodeInvalid          = "invalid_request"
	CodeUnavailable      = "unavailable" // no policy loaded, log unwritable, store down
)

// A Reason tells why, in the agent's voice: it never discloses a threshold of risk or conduct.
type Reason struct {
	Code    string `json:"code"`            // stable: one of the codes above, or a reason id of the catalog
	Message string `json:"message"`         // one sentence
	Party   string `json:"party,omitempty"` // agent or person: which of the two is refused
}

// A Change is one thing that, alone or with its companions, would turn a refusal into permission.
type Change struct {
	Who    string          `json:"who"`              // agent, person, operator, time
	Kind   string          `json:"kind"`             // set, raise, lower, wait, approve, step_up, grant
	Target string          `json:"target,omitempty"` // claimed.confidence, action.amount, resource.status, ...
	To     json.RawMessage `json:"to,omitempty"`     // the value that suffices; an RFC 3339 time for wait
	Hint   string          `json:"hint"`             // one sentence
}

// An Obligation is something an enforcement point must do along with the act, if it lets that happen; or
// along with the refusal, where a Decision that refuses carries it.
type Obligation struct {
	ID         string          `json:"id"`   // in the catalog
	Type       string          `json:"type"` // notification, mask, log, ...
	Properties json.RawMessage `json:"properties,omitempty"`
}

// ProfileType is the type under which the AuthZEN obligations profile knows o: its own, if the profile
// registers it, else "custom".
func (o *Obligation) ProfileType() string {
	switch o.Type {
	case "step-up", "notification", "session_termination":
		return o.Type
	}
	return "custom"
}

// A Fired names a policy that took part in a decision.
type Fired struct {
	Policy string `json:"policy"`           // its id
	Effect string `json:"effect"`           // permit or forbid
	Reason string `json:"reason,omitempty"` // its @reason, a catalog id
	Remedy string `json:"remedy,omitempty"` // its @remedy
	Error  string `json:"error,omitempty"`  // why it could not be evaluated
	Shadow bool   `json:"shadow,omitempty"` // evaluated and recorded, never decisive
	Party  string `json:"party,omitempty"`  // agent or person, whose evaluation it was
}

// A Decision answers a Request. The zero Decision refuses.
type Decision struct {
	Seq         int64        `json:"-"` // number of the log entry that records it; 0 if it is not recorded
	At          time.Time    `json:"at"`
	Effect      Effect       `json:"effect"`
	Code        string       `json:"code"`
	Reasons     []Reason     `json:"reasons,omitempty"`     // for the agent
	Changes     []Change     `json:"changes,omitempty"`     // the smallest verified set, for the agent
	Obligations []Obligation `json:"obligations,omitempty"` // all must be met
	Remedies    []string     `json:"remedies,omitempty"`    // approval, step_up: those that together suffice
	Routes      []string     `json:"routes,omitempty"`      // approval routes of the catalog that lead to the approval, sorted; none if nobody can be asked
	Lifted      bool         `json:"lifted,omitempty"`      // whether it is allowed because of Facts.Approval
	Fired       []Fired      `json:"fired,omitempty"`       // for the operator

	Approval   *Approval `json:"-"` // Facts.Approval, with Use, if it was used
	Unapproved string    `json:"-"` // if the request refers to an approval and is refused: why, ApprovalExpired, ...

	Detail    string `json:"detail,omitempty"` // for the operator
	PolicySet int64  `json:"policy_set"`       // version that decided; 0 if none was loaded
	Catalog   int64  `json:"catalog"`          // likewise
}

// Allowed reports whether the act is granted, provided every obligation is met.
func (d *Decision) Allowed() bool { return d.Effect == Allow }

// Refuse makes d a plain refusal with the given code and message, and drops whatever it granted.
func (d *Decision) Refuse(code, message string) {
	d.Effect, d.Code = Deny, code
	d.Reasons = []Reason{{Code: code, Message: message}}
	d.Obligations, d.Remedies, d.Changes, d.Routes, d.Lifted = nil, nil, nil, nil, false
}
