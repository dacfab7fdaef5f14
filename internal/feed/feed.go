// Package feed has the words in which a control plane tells decision points elsewhere what they decide by,
// and in which they tell it what they decided.
//
// A decision point reads GET /v1/edge/feed, server-sent events. First comes Start, then everything that is
// there, then Ready, and from then on what changes; Head says every second up to which entry of the log all
// has been told. Whatever was told is replaced by what is told later under the same name. A decision point that has heard no
// Head for as long as it may be offline refuses. It writes what it decided into a journal of its own before it answers, and
// sends the journal's records to POST /v1/edge/records, in their order, until they are acknowledged.
//
// It is words only: nothing is sent, kept or decided here.
package feed

import (
	"encoding/json"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Names of events.
const (
	EventStart    = "start"    // Start
	EventPolicies = "policies" // Active: fetch the version at GET /v1/edge/policies/{version}
	EventAgent    = "agent"    // Agent
	EventForget   = "forget"   // Forget
	EventRisk     = "risk"     // Risk
	EventStanding = "standing" // Standing
	EventReady    = "ready"    // Head: the first picture is complete
	EventHead     = "head"     // Head
)

// Start begins a feed.
type Start struct {
	Service string `json:"service"` // the control plane's public URL
	Name    string `json:"name"`    // of the caller: what decisions are recorded under
}

// Head says that everything up to an entry of the log has been told.
type Head struct {
	Seq int64     `json:"seq"`
	At  time.Time `json:"at"` // the control plane's clock
}

// Active says which version of policies, schema and catalog decides.
type Active struct {
	Version int64  `json:"version"`
	Digest  string `json:"digest"`
}

// An Agent is what is known of one agent.
type Agent struct {
	Agent      *authz.Agent           `json:"agent"`
	Credential authz.Credential       `json:"credential,omitzero"`
	Conduct    authz.Conduct          `json:"conduct,omitzero"`
	Trust      map[string]authz.Trust `json:"trust,omitempty"`      // by class of capability; "" is the lowest
	Confidence []Worth                `json:"confidence,omitempty"` // by what is reported, ascending; empty: not known
}

// Worth is what an agent's reported confidence has been worth.
type Worth struct {
	Reported float64 `json:"reported"`
	Worth    float64 `json:"worth"`
}

// Forget says that an agent is not registered any more.
type Forget struct {
	ID authz.AgentID `json:"id"`
}

// Risk is the whole of the live risk: alerts and threat indicators, as the control plane's API lists them.
type Risk struct {
	Alerts     json.RawMessage `json:"alerts"`
	Indicators json.RawMessage `json:"indicators"`
}

// Standing says that a token, key, session or person may count no more: whatever was verified before must be
// verified again.
type Standing struct {
	Seq int64 `json:"seq"`
}

// A Version is one version of policies, schema and catalog.
type Version struct {
	Version  int64             `json:"version"`
	Digest   string            `json:"digest"`
	Policies map[string]string `json:"policies"` // file name to Cedar text
	Schema   string            `json:"schema"`
	Catalog  string            `json:"catalog"`
}

// A Bearer is who presents a token, at POST /v1/edge/passport, and how the token is bound. The proof of
// possession is for the decision point to check.
type Bearer struct {
	Agent    authz.AgentID  `json:"agent"`
	OnBehalf []authz.Ref    `json:"on_behalf,omitempty"`
	Passport authz.Passport `json:"passport"`
	KeyHash  string         `json:"jkt,omitempty"`      // RFC 9449: thumbprint of the key that proofs must be made with
	CertHash string         `json:"x5t#S256,omitempty"` // RFC 8705
}

// Records are decisions and outcomes of one journal, in order and without gaps.
type Records struct {
	Journal string   `json:"journal"` // which: drawn by chance when a journal is begun
	First   int64    `json:"first"`   // number of the first record in its journal; they count from 1
	Records []Record `json:"records"`
}

// A Record is one decision or one outcome.
type Record struct {
	Decision json.RawMessage `json:"decision,omitempty"` // pdp.Record
	Outcome  json.RawMessage `json:"outcome,omitempty"`  // as POST /v1/decisions/{id}/outcome takes it
	Of       int64           `json:"of,omitempty"`       // of which record of the same journal it is the outcome
}

// Acknowledged is the answer: everything up to Last is in the log, and a decision under the entry that Seqs
// names, 0 for an outcome, beginning with record First of the request.
type Acknowledged struct {
	Last int64   `json:"last"`
	Seqs []int64 `json:"seqs"`
}
