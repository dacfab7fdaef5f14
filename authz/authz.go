// Package authz is the ground floor: the words that every other package speaks.
//
// A [Request] asks whether a subject may do something now. What the caller says of the moment is
// [Claimed]; what our own edge saw or our own store knows is [Observed] and [Facts]. The two are
// different types, so that no policy can mistake one for the other. A [Decision] answers a Request;
// its zero value refuses.
//
// The package imports nothing of ours and does no I/O.
package authz

import (
	"net/netip"
	"time"
)

// An AgentID names a registered agent, unique in one installation.
type AgentID string

// AgentType is the AuthZEN subject type of agents. Subjects of any other type are people or things.
const AgentType = "agent"

// A Ref names an entity by type and id, as AuthZEN does.
type Ref struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// String returns type:id, for messages and logs.
func (r Ref) String() string { return r.Type + ":" + r.ID }

// IsZero reports whether r names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// Claimed is what a caller says: the text of one JSON object, or nothing, which means {}.
// Who decodes a request guarantees valid UTF-8, unique names and bounded depth and size.
type Claimed []byte

// MarshalJSON returns the object as it stands.
func (c Claimed) MarshalJSON() ([]byte, error) {
	if len(c) == 0 {
		return []byte("{}"), nil
	}
	return c, nil
}

// UnmarshalJSON keeps a copy of b.
func (c *Claimed) UnmarshalJSON(b []byte) error {
	*c = append((*c)[:0:0], b...)
	return nil
}

// An Entity is a subject or a resource of a request, with what the caller says of it.
type Entity struct {
	Ref
	Properties Claimed `json:"properties,omitempty"`
}

// An Action is what the subject wants to do; its properties are the arguments of the act.
type Action struct {
	Name       string  `json:"name"`
	Properties Claimed `json:"properties,omitempty"`
}

// A Request asks whether a subject may do something now.
type Request struct {
	Subject  Entity  `json:"subject"`
	OnBehalf []Ref   `json:"on_behalf,omitempty"` // for whom an agent acts, nearest first
	Action   Action  `json:"action"`
	Resource Entity  `json:"resource"`
	Context  Claimed `json:"context,omitempty"`

	// Approval is the approval that the request refers to; nil if it refers to none.
	Approval *ApprovalRef `json:"approval,omitempty"`

	// Observed is what our own edge saw; it is never decoded from what an agent wrote.
	Observed Observed `json:"observed"`
}

// Agent returns the id of the acting agent, or "" if the subject is a person or a thing.
func (r *Request) Agent() AgentID {
	if r.Subject.Type == AgentType {
		return AgentID(r.Subject.ID)
	}
	return ""
}

// Observed is what our own edge saw of a request.
type Observed struct {
	// Address is the agent's network address, as the enforcement point saw it. Invalid if unknown.
	Address netip.Addr `json:"ip,omitzero"`
	// Session is the task the request belongs to, as the enforcement point keeps it. May be empty.
	Session string `json:"session,omitempty"`
	// Task is what kind of task the session is, a name out of few, as the enforcement point keeps it:
	// "monthly-closing", "support-refund". May be empty.
	Task string `json:"task,omitempty"`
	// PEP names the authenticated enforcement point that asks.
	PEP string `json:"pep,omitempty"`
	// RequestID correlates; it is ours or an X-Request-ID that was echoed.
	RequestID string `json:"request_id,omitempty"`
	// Provenance says where arguments came from, if the enforcement point keeps track; nil if not.
	Provenance *Provenance `json:"provenance,omitempty"`
	// Obligations lists the ids or types that the enforcement point says it can meet; nil means it did not say.
	Obligations []string `json:"supported_obligations,omitempty"`
	// Passport is what the agent's token says, verified; nil if no token was presented.
	Passport *Passport `json:"passport,omitempty"`
	// Method is how the agent authenticated, if it did so to ourselves: dpop, private_key_jwt, ...
	Method string `json:"method,omitempty"`
	// Listing is whether the enforcement point asks in order to know what it may show to the agent, which has asked for no
	// act: whatever the answer is, none follows. Records say so in a place of their own.
	Listing bool `json:"-"`
}

// Provenance sorts the names of an act's arguments by where their values came from.
type Provenance struct {
	Prompt    []string `json:"prompt,omitempty"`    // the person's own words
	Operator  []string `json:"operator,omitempty"`  // configuration, system prompt
	Untrusted []string `json:"untrusted,omitempty"` // output of a tool that others can write to
	Unknown   []string `json:"unknown,omitempty"`
}

// A DataClass orders data by sensitivity. The zero DataClass is the strictest.
type DataClass uint8

const (
	Restricted DataClass = iota
	Confidential
	Internal
	Public
)

var classNames = [...]string{"restricted", "confidential", "internal", "public"}

// String returns the class's name in lower case.
func (c DataClass) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return classNames[Restricted]
}

// MarshalText returns the class's name.
func (c DataClass) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText accepts the name of a class.
func (c *DataClass) UnmarshalText(b []byte) (err error) {
	*c, err = ParseDataClass(string(b))
	return err
}

// Rank is 0 for public and 3 for restricted, so that policies can compare with <=.
func (c DataClass) Rank() int64 {
	if c > Public {
		return 3
	}
	return int64(Public - c)
}

// ParseDataClass returns the class of that name, or ErrInvalid.
func ParseDataClass(s string) (DataClass, error) {
	for i, n := range classNames {
		if n == s {
			return DataClass(i), nil
		}
	}
	return Restricted, Errorf(ErrInvalid, "unknown data class %q: one of public, internal, confidential, restricted", s)
}

// Facts are what we know of the moment of a request, never what was said of it.
type Facts struct {
	At         time.Time      `json:"at"`
	Zone       *time.Location `json:"-"`                    // the organisation's; nil means UTC
	Schedules  []string       `json:"schedules"`            // names of the open ones, sorted
	Zones      []string       `json:"zones"`                // network zones of the address, sorted
	Country    string         `json:"country,omitempty"`    // ISO 3166-1 alpha-2, or "" if unknown
	Class      DataClass      `json:"class"`                // of the resource
	Labels     []string       `json:"labels"`               // of the resource, sorted
	Region     string         `json:"region,omitempty"`     // jurisdiction of the resource
	Agent      *Agent         `json:"agent,omitempty"`      // the acting agent; nil if there is none
	Grant      Grant          `json:"grant"`                // how the agent's capabilities cover the act
	Trust      Trust          `json:"trust"`                // in the class of the act: the lowest of the acting agent and of those it acts for
	Risk       Risk           `json:"risk"`                 // live
	Conduct    Conduct        `json:"conduct,omitzero"`     // of the acting agent
	Confidence *float64       `json:"confidence,omitempty"` // what the reported confidence has been worth, 0..1; nil until there is evidence
	Credential Credential     `json:"credential,omitzero"`  // of the acting agent
	Behalf     []Delegator    `json:"behalf,omitempty"`     // the registered agents among those it acts for, nearest first
	Missing    []string       `json:"missing,omitempty"`    // required signals that are missing or stale
	Approval   *Approval      `json:"approval,omitempty"`   // the approval that the request refers to, if it holds for the act
	Unapproved string         `json:"unapproved,omitempty"` // why the one that it refers to does not: ApprovalExpired, ...
	Asks       Asks           `json:"asks,omitzero"`        // of the acting agent
	Assured    []string       `json:"assured,omitempty"`    // levels of assurance of the catalog that were reached, sorted
	Stops      []string       `json:"stops,omitempty"`      // what persons have stopped and the request is part of, sorted: it is refused before policies are asked
}

// Inactive returns the first of the acting agent and of those for which it acts that is not active, nil
// if all are.
func (f *Facts) Inactive() *Agent {
	if f.Agent != nil && f.Agent.State != AgentActive {
		return f.Agent
	}
	for i := range f.Behalf {
		if a := f.Behalf[i].Agent; a.State != AgentActive {
			return a
		}
	}
	return nil
}

// Quarantined returns the first of the acting agent and of those for which it acts from which conduct has
// taken everything, nil if there is none.
func (f *Facts) Quarantined() *Agent {
	if f.Agent != nil && f.Conduct.Quarantined {
		return f.Agent
	}
	for i := range f.Behalf {
		if d := &f.Behalf[i]; d.Conduct.Quarantined {
			return d.Agent
		}
	}
	return nil
}

// A Delegator is an agent for which another acts.
type Delegator struct {
	Agent   *Agent  `json:"agent"`
	Grant   Grant   `json:"grant"`            // how its capabilities cover the act
	Trust   Trust   `json:"trust,omitzero"`   // in it, in the class of the act by its own grant
	Conduct Conduct `json:"conduct,omitzero"` // of it
}

// A Grant says how an agent's capabilities cover one act.
type Grant struct {
	Within   []string `json:"within"`             // granted capabilities that cover the act within their limits, sorted
	Exceeded []string `json:"exceeded,omitempty"` // capability/limit pairs that stand in the way, sorted
	Class    string   `json:"class,omitempty"`    // read, write, egress, money, admin: the gravest of the covering ones
	// Essential is whether one of Within is a function that the organisation calls essential: what an
	// agent may still do when it is trusted with nothing.
	Essential bool `json:"essential,omitempty"`
}

// Trust is how far an agent's conduct has earned authority in one class of capability.
type Trust struct {
	Level string  `json:"level"` // none, low, medium, high
	Score float64 `json:"score"` // lower credible bound, 0..1
}

// NeutralTrust is what is said of an agent of whom nothing has been learned. It is never "high".
var NeutralTrust = Trust{Level: "medium", Score: 0.5}

// Below reports whether t is less trust than other: a lower level or, at the same, a lower score.
func (t Trust) Below(other Trust) bool {
	if a, b := t.Rank(), other.Rank(); a != b {
		return a < b
	}
	return t.Score < other.Score
}

// Rank is 0 for none and 3 for high. An unknown level ranks as none.
func (t Trust) Rank() int64 {
	switch t.Level {
	case "low":
		return 1
	case "medium":
		return 2
	case "high":
		return 3
	}
	return 0
}

// Conduct is how an agent has behaved, as far as the monitors know. The zero Conduct says that nothing
// has been learned.
type Conduct struct {
	// Lowest is the agent's trust in the class of capability in which it is lowest; the zero Trust if
	// nothing has been learned, which policies read as NeutralTrust.
	Lowest Trust `json:"lowest,omitzero"`
	// Judged is how much evidence about right and wrong there is; Accuracy and ErrorRate, 0..1, mean
	// nothing while it is 0.
	Judged    int64    `json:"judged,omitempty"`
	Accuracy  float64  `json:"accuracy,omitempty"`   // lower credible bound of being right
	ErrorRate float64  `json:"error_rate,omitempty"` // of acts that failed
	Findings  []string `json:"findings,omitempty"`   // kinds of the open findings, sorted
	Gravest   int64    `json:"gravest,omitempty"`    // severity of the gravest of them: 0 if there is none, 1 low, 2 medium, 3 high, 4 critical
	// Quarantined is whether conduct has taken everything from the agent until a person restores it.
	Quarantined bool `json:"quarantined,omitempty"`
}

// Risk is the live risk of the installation as it concerns one request.
type Risk struct {
	Level         string         `json:"level"` // low, elevated, high, critical
	Score         int64          `json:"score"` // 0..100
	Alerts        []string       `json:"alerts"`
	Indicators    []string       `json:"indicators"` // threat indicators that match the request, sorted
	Contributions []Contribution `json:"contributions,omitempty"`
}

// Rank is 0 for low and 3 for critical. An unknown level ranks as critical.
func (r Risk) Rank() int64 {
	switch r.Level {
	case "low":
		return 0
	case "elevated":
		return 1
	case "high":
		return 2
	}
	return 3
}

// A Contribution is one reason for a risk score.
type Contribution struct {
	Source string `json:"source"` // alert:ID, indicator:ID, class:confidential, zone:unknown, ...
	Points int64  `json:"points"`
}

// An AgentState says whether an agent may act at all.
type AgentState string

const (
	AgentActive      AgentState = "active"
	AgentSuspended   AgentState = "suspended"   // by an administrator; may be restored
	AgentQuarantined AgentState = "quarantined" // by conduct; may be restored
	AgentRetired     AgentState = "retired"     // for good
)

// An Agent is a registered software principal. Values are immutable once shared.
type Agent struct {
	ID           AgentID           `json:"id"`
	Owner        string            `json:"owner"`
	Purpose      string            `json:"purpose"` // business function
	Version      string            `json:"version"`
	Creator      string            `json:"creator"`
	State        AgentState        `json:"state"`
	StateReason  string            `json:"state_reason,omitempty"`
	Capabilities []string          `json:"capabilities"` // ids of granted capabilities, sorted
	Labels       map[string]string `json:"labels,omitempty"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
	Revision     int64             `json:"revision"` // 1 at creation, then +1 a change
	AsOf         int64             `json:"as_of"`    // number of the log entry that made this revision
}
