// Package feed has the words in which a control plane tells decision points elsewhere what they decide by,
// and in which they tell it what they decided.
//
// A decision point reads GET /v1/edge/feed, server-sent events. First comes Start, then everything that is
// there, then Ready, and from then on what changes; Head says every second up to which entry of the log all
// has been told. What was told before Start is void; whatever is told after it is replaced by what is told later
// under the same name. A decision point that has heard no Head for as long as it may be offline refuses. A reader that
// is too slow is cut off, and comes back for a new first picture. It writes what it decided into a journal of its own
// before it answers, and sends the journal's records to POST /v1/edge/records, in their order, until they are acknowledged.
//
// It is words only: nothing is sent, kept or decided here.
package feed

import (
	"encoding/json"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Names of events. Those that a reader does not know it passes over.
const (
	EventStart    = "start"    // Start
	EventPolicies = "policies" // Active: fetch the version at GET /v1/edge/policies/{version}
	EventAgent    = "agent"    // Agent
	EventForget   = "forget"   // Forget
	EventRisk     = "risk"     // Risk
	EventStops    = "stops"    // Stops: a reader that was not told refuses
	EventStanding = "standing" // Standing
	EventReady    = "ready"    // Head: the first picture is complete
	EventHead     = "head"     // Head
)

// Bounds of an upload. More is refused as a whole.
const (
	MaxRecords = 1000    // records of one request
	MaxUpload  = 8 << 20 // bytes of its body
	MaxJournal = 64      // bytes of a journal's name: letters, digits, '-' and '_'
)

// Start begins a feed.
type Start struct {
	Service string `json:"service"` // the control plane's public URL
	Name    string `json:"name"`    // what decisions of the caller are recorded under, observed.pep: "edge:NAME"
	Seq     int64  `json:"seq"`     // number of the entry that was the newest when the feed began
	Limits  Limits `json:"limits,omitzero"`
}

// Limits bound a request, as the API does: what is beyond them would not be recorded. A member that is 0 is not told, and has
// the API's default.
type Limits struct {
	Object int `json:"object,omitempty"` // bytes of one properties or context object
	Depth  int `json:"depth,omitempty"`  // nesting of arrays and objects in the body of a request
}

// Head says that everything up to an entry of the log has been told. It is told only while the control plane
// itself knows where the log ends.
type Head struct {
	Seq int64     `json:"seq"`
	At  time.Time `json:"at"` // the control plane's clock
}

// Active says which version of policies, schema and catalog decides. Version 0: none does yet.
type Active struct {
	Version int64  `json:"version"`
	Digest  string `json:"digest"` // of Version, as the log's policy.publish entry has it
}

// An Agent is what is known of one agent at present. It is told anew when any of it changes, also by time alone; a score
// when it has moved by a hundredth.
type Agent struct {
	Agent      *authz.Agent           `json:"agent"`
	Credential authz.Credential       `json:"credential,omitzero"` // without Method
	Conduct    authz.Conduct          `json:"conduct,omitzero"`
	Trust      map[string]authz.Trust `json:"trust,omitempty"`      // by class of capability, and "" for a class that is not known; none: neutral
	Confidence []Worth                `json:"confidence,omitempty"` // by tenths: of what is reported r, that at min(9, int(10*r)) counts; empty: not known
}

// Worth is what an agent's reported confidence has been worth.
type Worth struct {
	Reported float64 `json:"reported"` // where the tenth begins
	Worth    float64 `json:"worth"`
}

// Forget says that an agent is not registered any more.
type Forget struct {
	ID authz.AgentID `json:"id"`
}

// Risk is some of the live risk: alerts and threat indicators, as the control plane's API lists them. Each replaces the one
// of its id; one that is cleared is gone, and so is, without a word, one that has expired. Of the first picture there may be
// many of these, at most 500 in each.
type Risk struct {
	Alerts     json.RawMessage `json:"alerts,omitempty"`     // a list
	Indicators json.RawMessage `json:"indicators,omitempty"` // a list
}

// Stops is everything that persons have stopped, as the control plane's API lists it. It is always told whole: what is not
// in it is not stopped any more.
type Stops struct {
	Stops json.RawMessage `json:"stops"` // a list
}

// Standing says that a token, key, session or person may count no more: whatever was verified before must be
// verified again.
type Standing struct {
	Seq int64 `json:"seq"`
}

// Digest is the digest of a version: of its policies and schema, and of its catalog.
func Digest(source, catalog string) string { return source + "." + catalog }

// A Version is one version of policies, schema and catalog.
type Version struct {
	Version  int64  `json:"version"`
	Digest   string `json:"digest"`
	Policies []File `json:"policies"` // in the order in which they were published
	Schema   string `json:"schema"`   // "" if there is none beside the base schema
	Catalog  string `json:"catalog"`
}

// A File is a named text of Cedar policies.
type File struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Presented is a token to be looked at: the body of POST /v1/edge/passport.
type Presented struct {
	Token    string `json:"token"`
	Audience string `json:"audience"` // who must be among the token's audiences
}

// A Bearer is who presents a token, at POST /v1/edge/passport, and how the token is bound. The proof of
// possession is for the decision point to check.
type Bearer struct {
	Active   bool           `json:"active"`         // whether the token counts; if not, only Code and Why are set
	Code     string         `json:"code,omitempty"` // of RFC 6750, section 3.1: invalid_token
	Why      string         `json:"why,omitempty"`
	Agent    authz.AgentID  `json:"agent,omitempty"`
	OnBehalf []authz.Ref    `json:"on_behalf,omitempty"`
	Passport authz.Passport `json:"passport,omitzero"`
	KeyHash  string         `json:"jkt,omitempty"`      // RFC 9449: thumbprint of the key that proofs must be made with
	CertHash string         `json:"x5t#S256,omitempty"` // RFC 8705
}

// Records are decisions and outcomes of one journal, in order and without gaps.
type Records struct {
	Journal string   `json:"journal"` // which: drawn by chance when a journal is begun
	First   int64    `json:"first"`   // number of the first record in its journal; they count from 1
	Records []Record `json:"records"` // at most MaxRecords
}

// A Record is one decision or one outcome.
type Record struct {
	Decision json.RawMessage `json:"decision,omitempty"` // pdp.Record
	Outcome  json.RawMessage `json:"outcome,omitempty"`  // as POST /v1/decisions/{id}/outcome takes it
	Of       int64           `json:"of,omitempty"`       // of which record of the same journal it is the outcome: an earlier one
}

// Acknowledged is the answer: everything up to Last is in the log, and each record under the entry that Seqs
// names, beginning with record First of the request; 0 where that is not known any more. What was acknowledged before may be sent again.
type Acknowledged struct {
	Last    int64     `json:"last"` // also of records that this request did not bring
	Seqs    []int64   `json:"seqs"`
	Refused []Refusal `json:"refused,omitempty"` // records that were not understood: their numbers are taken, and the log says why
}

// A Refusal is why a record was not taken.
type Refusal struct {
	Number int64  `json:"number"`
	Why    string `json:"why"`
}

// A Gap is the answer of status 409 if First is beyond the next number: records are missing before it. If those are gone
// for good, as when a journal was not heard of for so long that it was forgotten, another journal must be begun.
type Gap struct {
	Error struct {
		Next int64 `json:"next"` // the number that is expected
	} `json:"error"` // beside the members that every error has
}
