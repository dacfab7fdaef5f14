// Package conduct has the words of watching agents: what one did (an Event), what somebody says came of
// it (an Outcome), and what a monitor concluded (a Finding). Events and outcomes are read from entries of
// the log and from nothing else, so that whoever has the log can conclude the same.
//
// The package draws no conclusions; internal/monitor and the rooms below it do.
package conduct

import (
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Class is a class of capability. Trust is kept for each.
type Class uint8

// The classes, mildest first.
const (
	Read Class = iota
	Write
	Egress
	Money
	Admin

	Classes = 5              // how many there are
	Every   = Class(Classes) // stands for all of them, in a Draft
)

var classNames = [...]string{"read", "write", "egress", "money", "admin", "every"}

// String returns the class's name in lower case.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "admin"
}

// ParseClass returns the class of that name, and whether there is one.
func ParseClass(s string) (Class, bool) {
	for i, n := range classNames[:Classes] {
		if n == s {
			return Class(i), true
		}
	}
	return Admin, false
}

// A Severity says how grave a finding is.
type Severity uint8

// The severities, mildest first.
const (
	Low Severity = iota
	Medium
	High
	Critical
)

var severityNames = [...]string{"low", "medium", "high", "critical"}

// String returns the severity's name in lower case.
func (s Severity) String() string { return severityNames[min(s, Critical)] }

// MarshalText returns the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts the name of a severity.
func (s *Severity) UnmarshalText(b []byte) error {
	for i, n := range severityNames {
		if n == string(b) {
			*s = Severity(i)
			return nil
		}
	}
	return authz.Errorf(authz.ErrInvalid, "unknown severity %.32q: one of low, medium, high, critical", b)
}

// An Event is one recorded decision about an act of a registered agent, as far as monitors look at it.
// Monitors must not keep its slices: the next event may overwrite them.
type Event struct {
	Seq      int64 // number of the log entry
	At       time.Time
	Agent    authz.AgentID
	Owner    string
	Creator  string
	Purpose  string
	Version  string
	Revision int64 // of the agent's registration; it grows with every change

	Session  string // the task that the act belongs to; "" if the enforcement point keeps none
	Task     string // what kind of task that is; "" if unknown
	Action   string
	Resource authz.Ref
	Args     []byte // properties of the action: a JSON object, or nil
	Says     []byte // properties of the resource, as the request stated them: a JSON object, or nil
	PEP      string
	OnBehalf []authz.Ref // for whom it acts, nearest first
	Behalf   []Behalf    // the registered agents among them

	Effect      authz.Effect
	Code        string
	Reasons     []string // codes of what the agent was told: ids of the catalog, or Code
	Obligations []string // ids of what must be done

	Class    Class    // of the act; for one that no capability covers, the gravest that is known of the action
	Classed  bool     // whether a capability of the agent covers the act, within its limits or not
	Within   []string // granted capabilities that cover the act
	Exceeded []string // capability/limit pairs that stand in the way

	Data    authz.DataClass
	Labels  []string
	Region  string // jurisdiction of the resource
	Country string // of the address
	Zones   []string
	Hour    int // 0..23 of the day, and
	Weekday int // 0..6, Sunday first, in the organisation's zone

	Provenance *authz.Provenance
	Confidence float64 // as the agent reported it, 0..1; -1 if it did not
	Risk       int64   // 0..3
	Blamed     bool    // it was refused, and that says something of the agent: what reads events does not know it, monitor says it
	Journal    string  // of the decision point elsewhere that made the decision, and
	Number     int64   // which decision of the journal it is, from 1; "" and 0 if it was made here
	Issuing    bool    // the act is token.issue or client.register: a question of ours, not an act on the world
}

// Allowed reports whether the act was allowed.
func (e *Event) Allowed() bool { return e.Effect == authz.Allow }

// A Behalf is an agent for which another acts.
type Behalf struct {
	Agent  authz.AgentID
	Within []string // its capabilities that cover the act
}

// A Result is what an act turned out to be.
type Result string

// Results. ResultNone says only that the act was done, and how it went technically.
const (
	ResultNone     Result = ""
	ResultRight    Result = "right"
	ResultWrong    Result = "wrong"
	ResultHarmful  Result = "harmful"
	ResultReverted Result = "reverted"
)

// A Fault is how an act failed technically.
type Fault string

// Faults.
const (
	FaultNone   Fault = ""
	FaultTool   Fault = "tool"   // the tool or the resource answered with an error
	FaultSchema Fault = "schema" // the arguments did not fit
	FaultTime   Fault = "timeout"
)

// A Reporter says whose word an outcome is.
type Reporter string

// Reporters.
const (
	ReporterPerson   Reporter = "person"
	ReporterPEP      Reporter = "pep"
	ReporterOperator Reporter = "operator" // the agent's owner
	ReporterAgent    Reporter = "agent"    // the agent itself
)

// An Outcome is what somebody says came of a decision: the body of an outcome.reported entry. What the
// decision was about is copied into it by the server, so that an outcome can be judged without reading
// the decision again.
type Outcome struct {
	Seq int64     `json:"-"` // number of the outcome's own entry
	At  time.Time `json:"-"`

	Decision int64         `json:"decision,omitzero"` // number of the entry of the decision
	Back     int64         `json:"back,omitzero"`     // instead of it, of an outcome that is recorded together with the decision: how many entries before it that stands
	Agent    authz.AgentID `json:"agent"`
	Class    string        `json:"class"`
	Action   string        `json:"action"`
	Session  string        `json:"session,omitempty"`
	Obliged  []string      `json:"obliged,omitempty"`    // ids of the decision's obligations
	Said     *float64      `json:"confidence,omitempty"` // the confidence that the agent reported
	Decided  time.Time     `json:"decided"`
	Allowed  bool          `json:"allowed"`

	Reporter Reporter `json:"reporter"`
	By       string   `json:"by"` // the actor of the entry: pep:NAME, admin:NAME, agent:ID
	Result   Result   `json:"result,omitempty"`
	Fault    Fault    `json:"fault,omitempty"`
	Latency  int64    `json:"latency_ms,omitempty"` // milliseconds; 0 if not said
	Size     int64    `json:"size_bytes,omitempty"` // bytes of the result; 0 if not said
	Met      []string `json:"met,omitempty"`        // ids of obligations that were met
	Why      string   `json:"why,omitempty"`

	Edge *Place `json:"edge,omitempty"` // of one that came out of a journal; nil otherwise
}

// A Place is where something stands in the journal of a decision point elsewhere.
type Place struct {
	Journal string `json:"journal"`
	Number  int64  `json:"number"` // from 1
}

// A Kind of finding is monitor.conclusion. A kind, once released, keeps its meaning.
type Kind string

// A Draft is a finding as a monitor hands it in.
type Draft struct {
	Kind     Kind
	Severity Severity
	Class    Class   // in which trust is concerned; Every for all
	Evidence []int64 // numbers of entries, oldest first, the present one last; at most MaxEvidence
	Sentence string  // one sentence for a person; it quotes at most 64 bytes of any name out of the event
}

// MaxEvidence is how many entries a finding names at most.
const MaxEvidence = 8

// A Verdict is what a person says of a finding.
type Verdict string

// Verdicts. Open findings have none.
const (
	Open         Verdict = "open"
	Acknowledged Verdict = "acknowledged" // seen; still counts
	Dismissed    Verdict = "dismissed"    // a false alarm: its weight is taken back, and what it found is learned
	Confirmed    Verdict = "confirmed"    // true: its weight is doubled and does not fade while it is open
)

// A Finding is what a monitor concluded. Its ID is f and the number of the entry that completed it, and
// how many findings that entry had completed before: f123.0.
type Finding struct {
	ID       string        `json:"id"`
	Agent    authz.AgentID `json:"agent"`            // whom it is about; "" if that is Person or Point
	Person   string        `json:"person,omitempty"` // who answers asks, if it is about a person
	Point    string        `json:"point,omitempty"`  // if it is about an enforcement point: its caller, a slash, and what it calls itself
	Kind     Kind          `json:"kind"`
	Severity Severity      `json:"severity"`
	Class    string        `json:"class"`
	Sentence string        `json:"sentence"`
	Evidence []int64       `json:"evidence"`
	Session  string        `json:"session,omitempty"`
	At       time.Time     `json:"at"`
	LastAt   time.Time     `json:"last_at"` // of the newest repetition
	Count    int64         `json:"count"`   // 1, and its repetitions within the cooldown
	State    Verdict       `json:"state"`
	JudgedBy string        `json:"judged_by,omitempty"`
	JudgedAt time.Time     `json:"judged_at,omitzero"`
	Why      string        `json:"why,omitempty"`
	AsOf     int64         `json:"as_of"` // number of the entry that made this version
}
