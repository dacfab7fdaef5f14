package authz

import "time"

// Names in requests that everybody knows because the base schema declares them.
const (
	// CapabilityType is the type of the resources that are the catalog's capabilities.
	CapabilityType = "Capability"
	// ActionIssue is the action of letting an agent carry a capability in a passport.
	ActionIssue = "token.issue"
	// ActionRegister is the action of registering a client (RFC 7591).
	ActionRegister = "client.register"
)

// A Detail is one element of authorization_details (RFC 9396) of the type "capability": a capability
// and how far it goes. What is left out, or is an empty list, is not narrowed beyond what the catalog
// says; whoever narrows to nothing leaves the element out.
type Detail struct {
	Type       string   `json:"type"`                // DetailType
	Identifier string   `json:"identifier"`          // id of the capability
	Actions    []string `json:"actions,omitempty"`   // of the capability's, the only ones; sorted
	Locations  []string `json:"locations,omitempty"` // resource servers (audiences); sorted
	Limits     *Limits  `json:"limits,omitempty"`
}

// DetailType is the only type of authorization details that is granted.
const DetailType = "capability"

// Limits narrow a capability.
type Limits struct {
	Class     string            `json:"class,omitempty"`     // most sensitive data class: public, internal, confidential, restricted
	Amount    map[string]string `json:"amount,omitempty"`    // argument -> largest value, a decimal as text
	Regions   []string          `json:"regions,omitempty"`   // jurisdictions; sorted
	Schedules []string          `json:"schedules,omitempty"` // one of them must be open; sorted
}

// A Passport is what a verified token says of an act's bearer, as far as decisions read it. It can
// only narrow what the agent is granted. Values are immutable once shared.
type Passport struct {
	ID      string    `json:"jti"`
	Details []Detail  `json:"details"` // the capabilities it carries where it was presented, by identifier
	Bound   string    `json:"bound"`   // how the token is bound to its bearer: dpop, mtls, none
	Depth   int       `json:"depth"`   // how often it was delegated
	Expires time.Time `json:"expires"`
	// Auth says who authenticated when the token was issued, and how.
	Auth Authentication `json:"auth,omitzero"`
}

// A Bearer is who presents a valid token.
type Bearer struct {
	Agent    AgentID // who acts: the outermost actor, or the subject if nobody acts for it
	OnBehalf []Ref   // for whom, nearest first
	Passport Passport
}

// Presented is a token as it was presented to an enforcement point or to ourselves.
type Presented struct {
	Token       string
	Scheme      string // of the Authorization header, in lower case: dpop or bearer; "" if an enforcement point forwards it
	Proof       string // DPoP proof (RFC 9449); "" if there is none
	Method, URL string // of the request that the proof is for
	Certificate string // x5t#S256 of the client's certificate (RFC 8705); "" if there is none
	Audience    string // who must be among the token's audiences
	OwnNonce    bool   // the proof must carry a nonce of ours: it was presented to us

	// Shown is when the enforcement point that forwards it took it, and found that the proof had not been used before. The
	// proof is judged as of then, so that it can be forwarded again while the act goes on: persons are asked about it. Zero
	// if nobody says so: the proof is then judged as of now.
	Shown time.Time
}

// MaxShown is how long ago a passport can have been shown that is forwarded: as long as one lives, and what clocks differ.
const MaxShown = 6 * time.Minute

// ProofTime returns as of when the proof is judged, at a moment, by somebody whose clock may differ by skew. It reports
// false if Shown is no time at which it can have been shown.
func (p *Presented) ProofTime(now time.Time, skew time.Duration) (time.Time, bool) {
	switch {
	case p.Shown.IsZero():
		return now, true
	case p.Shown.After(now.Add(skew)), p.Shown.Before(now.Add(-MaxShown)):
		return now, false
	}
	return p.Shown, true
}

// A Credential says how an agent proves who it is, as our registry knows it.
type Credential struct {
	Method    string    `json:"method,omitempty"`    // how it authenticated for this request; "" if it did not here
	Keys      int       `json:"keys"`                // active keys
	Since     time.Time `json:"since,omitzero"`      // registration of the newest active key
	ExpiresAt time.Time `json:"expires_at,omitzero"` // of the newest active key
}
