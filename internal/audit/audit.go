// Package audit is the spine: an append-only log of everything that happens.
//
// Callers of [Log.Record] join a batch and wait for its one commit. A batch is one compressed segment
// in a [Store] and one leaf of an RFC 6962 Merkle tree, whose root is signed in checkpoints that public
// tools read; docs/log-format.md says how, so exactly that a stranger can verify a log. Everything
// that reacts to an entry follows the log: a [Follower] applies entries to the state of this process.
//
// Two things hold whatever fails. An entry whose number was returned by Record is in the log for
// good, under that number only. And a log that does not continue what was signed or read before is
// not written to any more.
//
// The package is not a store, and it does not know what the bodies of entries mean, except for the
// few members of a decision that the search index looks at.
package audit

import (
	"context"
	"encoding/json"
	"time"
)

// A Kind says what happened; it selects the type of an entry's body.
type Kind string

// Kinds of entries. A kind, once released, keeps its meaning.
const (
	DecisionMade    Kind = "decision.made"
	SearchMade      Kind = "search.made"
	AgentPut        Kind = "agent.put"      // registered or changed: the whole record
	PolicyPublish   Kind = "policy.publish" // the digests of a stored policy source and catalog; a rollback names older ones
	AlertPut        Kind = "alert.put"      // raised, changed or cleared: the whole record
	IndicatorPut    Kind = "indicator.put"  // threat indicator, likewise
	StopPut         Kind = "stop.put"       // everything in a scope was stopped
	StopLifted      Kind = "stop.lifted"    // and goes on
	CallerPut       Kind = "caller.put"     // an API caller's token was created or revoked
	EnrolmentPut    Kind = "enrolment.put"  // an agent may register a key with a single-use token, of which only the hash is here
	CredentialPut   Kind = "credential.put" // how an agent authenticates: registered, rotated or revoked; public parts only
	KeyPut          Kind = "key.put"        // one of our own signing keys changed its state; public parts only
	TokenIssued     Kind = "token.issued"   // what was granted, under which conditions; the digest of the token, never the token
	TokenRevoked    Kind = "token.revoked"
	AssertionUsed   Kind = "assertion.used"       // a single-use assertion was good for something else than a token
	StatusBlock     Kind = "status.block"         // a process draws the next block of status list indexes
	OutcomeReported Kind = "outcome.reported"     // what somebody says came of a decision
	FindingJudged   Kind = "finding.judged"       // a person acknowledged, dismissed or confirmed a finding
	TrustPut        Kind = "trust.put"            // an agent's trust was set by hand, or left to its conduct again
	ApprovalAsked   Kind = "approval.asked"       // somebody asks persons to approve refused acts: the whole ask
	ApprovalJoined  Kind = "approval.joined"      // the very same was asked again while it waited
	ApprovalViewed  Kind = "approval.viewed"      // a person looked at it
	ApprovalAnswer  Kind = "approval.answered"    // a person or an evaluator said yes or no, how far, and by which evidence
	ApprovalMoved   Kind = "approval.moved"       // it was escalated, expired, cancelled, failed or revoked
	ApprovalReview  Kind = "approval.reviewed"    // what another person says of broken glass
	ApprovalUsed    Kind = "approval.used"        // one use was drawn for an act
	ApprovalTold    Kind = "approval.delivered"   // somebody was told of it, or could not be
	AwayPut         Kind = "away.put"             // a person's asks go to a deputy for a while
	PersonPut       Kind = "person.put"           // a person who answers: made, changed or disabled
	PersonLink      Kind = "person.link"          // a person may sign in by a single-use link, of which only the hash is here
	PersonEnrolment Kind = "person.enrolment"     // a person may register a passkey by a single-use link, of which only the hash is here
	PasskeyPut      Kind = "passkey.put"          // a passkey was registered, used or revoked; public parts only
	SessionPut      Kind = "session.put"          // a person signed in or out; the hash of the session's token, never the token
	EnforcementTold Kind = "enforcement.reported" // what an enforcement point says of itself
	EdgeRefused     Kind = "edge.refused"         // a record out of the journal of a decision point elsewhere was not understood
	LogExported     Kind = "log.exported"         // somebody took entries out of the log as evidence: what, and why
	ServiceStarted  Kind = "service.started"
	ServiceStopping Kind = "service.stopping"
	Heartbeat       Kind = "log.heartbeat"
)

// A Draft is an entry before it has a number.
type Draft struct {
	Kind  Kind
	Actor string          // who did it: agent:ID, pep:NAME, admin:NAME, safeconduct
	Body  json.RawMessage // one JSON object; its form is the kind's
}

// An Entry is one thing that happened. Entries are numbered from 1 without gaps.
type Entry struct {
	Seq   int64           `json:"seq"`
	At    time.Time       `json:"at"` // UTC, microseconds; never before the entry that precedes it
	Kind  Kind            `json:"kind"`
	Actor string          `json:"actor"`
	Body  json.RawMessage `json:"body"`
}

// An Applier brings recorded changes into effect.
type Applier interface {
	// Apply is called with every entry, in order, also with those it has no interest in. It must be
	// deterministic, and idempotent: after a restart it sees some entries again.
	// authz.ErrInvalid, ErrNotFound, ErrConflict, ErrForbidden, ErrUnauthenticated: the entry changes
	// nothing, and whoever recorded it is told. Any other error: it is called again until it succeeds, and until then decisions refuse.
	Apply(ctx context.Context, e Entry) error
}
