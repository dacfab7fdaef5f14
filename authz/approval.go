package authz

import (
	"encoding/json"
	"time"
)

// An ApprovalRef is what a request says of an approval that it was given before: the AuthZEN context's
// member "approval" (ARAP, Completion Semantics). It is a reference, never a grant.
type ApprovalRef struct {
	ID    string          `json:"id"`
	State json.RawMessage `json:"state,omitempty"` // as it was given out; "" if none was
}

// An Approval is what persons have approved, as far as it holds for one act. Values are immutable.
type Approval struct {
	ID     string    `json:"id"`
	Ask    string    `json:"ask"`              // of the access request
	Routes []string  `json:"routes"`           // approval routes of the catalog that were gone to their end, sorted
	By     []string  `json:"by"`               // who answered yes: person:ID or evaluator:ID, sorted
	Until  time.Time `json:"until"`            // it ends then at the latest
	Single bool      `json:"single,omitempty"` // whether this use is its last
	Use    int64     `json:"use,omitempty"`    // number of the log entry that drew this use; 0 if none was drawn
}

// Why an approval that a request refers to does not hold for it, and what came of one that does (ARAP,
// re-evaluation denial reasons).
const (
	ApprovalExpired      = "approval_expired"      // over, used up, revoked or cancelled
	ApprovalOutOfScope   = "out_of_scope"          // it is for something else
	ApprovalPending      = "grant_pending"         // it holds, and what it needs is not there yet
	ApprovalPolicyDenied = "policy_denied"         // it holds, and the policies refuse nevertheless
	ApprovalUnverifiable = "approval_unverifiable" // there is none of that name for who asks
)

// Asks says how much an agent has asked persons of late.
type Asks struct {
	Session int64 `json:"session,omitempty"` // in the act's session
	Hour    int64 `json:"hour,omitempty"`    // in the last hour
	Pending int64 `json:"pending,omitempty"` // not answered yet
}

// An Authentication says who authenticated, how and when; levels of assurance follow from it.
type Authentication struct {
	ACR    string    `json:"acr,omitempty"`      // authentication context class of the token
	AMR    []string  `json:"amr,omitempty"`      // authentication methods (RFC 8176)
	Method string    `json:"method,omitempty"`   // how the agent authenticated as a client: private_key_jwt, tls_client_auth, spiffe_jwt, ...
	Bound  string    `json:"bound,omitempty"`    // dpop, mtls, none
	At     time.Time `json:"auth_time,omitzero"` // when; zero if unknown
	Person string    `json:"person,omitempty"`   // who, if it was a person; "" if it was the agent
}
