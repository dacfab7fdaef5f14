// Package approval is the desk where persons are asked. An agent that was refused, but not for good, asks
// for an approval; the right persons see the exact act and answer; the answer is bound to that act, and
// the next decision may use it.
//
// Asks, views, answers and uses are entries of the log. Every replica applies them in the same order, so
// that the last yes of a quorum, the only use of an approval, or the end of an ask is the same one
// everywhere: the first entry counts. Tables are there to start sooner and to find what has ended.
//
// The desk judges who may answer and how far, by the catalog that was active when the ask was made. It
// does not judge the act: that is for the policies, when the approval is used.
package approval

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// A Status is how far an ask, or one of its items, has come (ARAP, Task Status Values).
type Status string

// The states. All but Pending are terminal.
const (
	Pending   Status = "pending"
	Approved  Status = "approved"
	Denied    Status = "denied"
	Expired   Status = "expired"
	Cancelled Status = "cancelled"
	Failed    Status = "failed"
	Partial   Status = "partial" // of an ask of several items only
)

// A Kind says what an ask is for.
type Kind string

// Kinds of asks.
const (
	Access Kind = "access" // an approval of refused acts
	CIBA   Kind = "ciba"   // a person authorizes a token (OpenID CIBA): Person alone answers, whatever Routes says
)

// Bounds of an ask.
const (
	MaxItems  = 32
	MaxAlso   = 64
	MaxText   = 2000           // bytes of a justification, reason or comment
	MaxAsk    = 256 << 10      // bytes of an ask's act and context together
	Retention = 24 * time.Hour // how long an ask stays retrievable once it has ended
)

// A Bound is the act that an ask, and so an approval, is bound to.
type Bound struct {
	Subject  authz.Entity  `json:"subject"`
	OnBehalf []authz.Ref   `json:"on_behalf,omitempty"`
	Context  authz.Claimed `json:"context,omitempty"` // the members that count, only
	Members  []string      `json:"members"`           // the names of the members that count, whether present or not; sorted
}

// An Item is one act of an ask.
type Item struct {
	Action   authz.Action    `json:"action"`
	Resource authz.Entity    `json:"resource"`
	Decision int64           `json:"decision"` // number of the entry of the decision that refused it; 0 for CIBA
	Routes   []string        `json:"routes"`   // all of which must be gone to their end
	Data     authz.DataClass `json:"data"`     // class of the resource at the time of the decision
	Labels   []string        `json:"labels,omitempty"`

	Status   Status `json:"status"`
	Approval *Grant `json:"approval,omitempty"` // if Status is Approved
}

// A Scope is how far an approval goes. The zero Scope is one use of the very act.
type Scope struct {
	Uses      int64             `json:"uses,omitempty"`      // 0: one; -1: as many as there are until it ends
	Until     time.Time         `json:"until,omitzero"`      // zero: as the route says
	Class     bool              `json:"class,omitempty"`     // any resource of the same type, data class at most as sensitive, and labels among those
	Arguments bool              `json:"arguments,omitempty"` // any arguments
	Amounts   map[string]string `json:"amounts,omitempty"`   // argument -> largest value, a decimal as text; other arguments as asked
}

// A Grant is an approval that was given. It is a reference, never a bearer grant.
type Grant struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
	Scope   Scope     `json:"scope"`
	Used    int64     `json:"used"`           // how often
	Uses    []int64   `json:"uses,omitempty"` // numbers of the entries that drew uses, the newest 16
	Revoked time.Time `json:"revoked,omitzero"`
	Why     string    `json:"why,omitempty"` // of the revocation
}

// An Answer is what one person, or an evaluator, said.
type Answer struct {
	By       string          `json:"by"`            // person:ID or evaluator:ID
	For      string          `json:"for,omitempty"` // the person whose deputy By is
	Yes      bool            `json:"yes"`
	Routes   []string        `json:"routes"`          // for which By could answer
	Items    []int           `json:"items,omitempty"` // indexes; none: all
	Scope    Scope           `json:"scope"`
	Comment  string          `json:"comment,omitempty"`
	At       time.Time       `json:"at"`
	Seq      int64           `json:"seq"`
	View     int64           `json:"view,omitempty"`     // number of the entry by which By viewed the ask
	Read     int64           `json:"read_ms,omitempty"`  // between view and answer
	Fast     bool            `json:"fast,omitempty"`     // whether that is less than a route's Reading
	Evidence json.RawMessage `json:"evidence,omitempty"` // passkey assertion over the act's digest, and what verified it
	Broke    bool            `json:"broke_glass,omitempty"`
	Close    bool            `json:"close,omitempty"` // whether By or For owns or made the agent, and so does not decide alone
	Void     time.Time       `json:"void,omitzero"`   // since when a yes counts for nothing that was not approved by then: By or For was disabled
}

// A Callback is where the enforcement point wants to be told (ARAP, Callback Completion).
type Callback struct {
	Endpoint string          `json:"endpoint"`
	State    json.RawMessage `json:"state,omitempty"`
	Events   []string        `json:"events,omitempty"`
}

// An Ask is an access request: its task, in the draft's words. Values are immutable once shared.
type Ask struct {
	ID    string `json:"id"` // "arq_" and 26 characters of chance
	Kind  Kind   `json:"kind"`
	Bound Bound  `json:"bound"`
	Items []Item `json:"items"`
	Bulk  bool   `json:"bulk,omitempty"` // whether it was submitted with "items"

	Agent     authz.AgentID `json:"agent,omitempty"`
	Owner     string        `json:"owner,omitempty"`   // of the agent, at the time
	Creator   string        `json:"creator,omitempty"` // of the agent: the actor who registered it
	Owners    []string      `json:"owners,omitempty"`  // owners and creators of the agents on whose behalf it acts; sorted
	Session   string        `json:"session,omitempty"`
	PEP       string        `json:"pep,omitempty"`
	Requester string        `json:"requester"`         // the actor who submitted it: pep:NAME, agent:ID
	Person    string        `json:"person,omitempty"`  // CIBA: who alone may answer
	Message   string        `json:"message,omitempty"` // CIBA: binding_message
	Passkey   bool          `json:"passkey,omitempty"` // CIBA: whether a yes needs a passkey assertion

	// Key is what the requester calls the submission by (Idempotency-Key), as a hash that holds the
	// requester too, and Print a hash of all that was submitted. "" if the requester gave no key.
	Key   string `json:"key,omitempty"`
	Print string `json:"print,omitempty"`
	// Also are the keys of submissions that were joined to it, at most MaxAlso: later ones are not known again.
	Also []Submission `json:"also,omitempty"`

	Justification  string          `json:"justification,omitempty"`
	RequestedUntil time.Time       `json:"requested_until,omitzero"`
	Emergency      bool            `json:"emergency,omitempty"`
	Client         json.RawMessage `json:"client,omitempty"` // as submitted: never an input of a decision
	Callback       *Callback       `json:"callback,omitempty"`
	Details        json.RawMessage `json:"details,omitempty"` // CIBA: authorization_details

	Catalog   int64     `json:"catalog"` // version by which it is judged
	AskedAt   time.Time `json:"asked_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Status    Status    `json:"status"`
	ClosedAt  time.Time `json:"closed_at,omitzero"`
	Why       string    `json:"why,omitempty"`    // of a refusal or an end by hand
	Joined    int64     `json:"joined,omitempty"` // asks for the very same that were joined to it
	Escalated time.Time `json:"escalated_at,omitzero"`
	Answers   []Answer  `json:"answers,omitempty"`
	Views     []Viewed  `json:"views,omitempty"` // the newest, four of each person at most
	Broken    *Broken   `json:"broken_glass,omitempty"`
	Seq       int64     `json:"seq"`             // number of the entry that asked
	Ended     int64     `json:"ended,omitempty"` // number of the entry that ended it; 0 while it is pending
	AsOf      int64     `json:"as_of"`           // number of the entry that made this version
}

// A Submission is what a requester calls one by, and a hash of all that was submitted.
type Submission struct {
	Key   string `json:"key"`
	Print string `json:"print"`
}

// Viewed says that a person looked at an ask.
type Viewed struct {
	By  string    `json:"by"` // person:ID
	Seq int64     `json:"seq"`
	At  time.Time `json:"at"`
}

// Broken says that somebody approved alone, and what became of it.
type Broken struct {
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
	Due      time.Time `json:"due"` // of the review
	Reviewer string    `json:"reviewer,omitempty"`
	Verdict  string    `json:"verdict,omitempty"` // justified, unjustified; "" until it is reviewed
	Comment  string    `json:"comment,omitempty"`
}

// A Person is who answers, as who authenticated them knows them.
type Person struct {
	ID     string              // of internal/people
	Claims map[string][]string // verified
	Names  []string            // by which records may know the person as well: e-mail addresses
}

// Ref is how the catalog names the person.
func (p Person) Ref() authz.Ref { return authz.Ref{Type: "user", ID: p.ID} }

// Store is the durable side of a Desk. *store.DB is one.
type Store interface {
	// OpenAsks returns up to limit asks that are pending, or over (ended, with approvals that hold no more)
	// after the given time, whose ids follow the given one, in the order of ids. If nothing has changed
	// for long, they begin a day and an hour before the newest change at the latest.
	OpenAsks(ctx context.Context, retainedSince time.Time, after string, limit int) ([]Ask, error)
	// EndedAsks returns up to limit asks of an agent that have ended, and that an entry before the given
	// one asked, newest first.
	EndedAsks(ctx context.Context, agent authz.AgentID, before int64, limit int) ([]Ask, error)
	// Ask returns the ask of that id, or authz.ErrNotFound.
	Ask(ctx context.Context, id string) (Ask, error)
	// PutAsk keeps a unless a newer version (by AsOf) is kept already.
	PutAsk(ctx context.Context, a Ask) error
	// AsksAsOf returns the number of the newest entry that made a version of an ask or of an absence that is
	// kept, 0 if none is. What became of the entries before it is kept too, but for what was joined.
	AsksAsOf(ctx context.Context) (int64, error)

	AwayStore
}

// AwayStore keeps who is away.
type AwayStore interface {
	// Aways returns the newest absence of each person, also those that have ended.
	Aways(ctx context.Context) ([]Away, error)
	// PutAway keeps a unless a newer one of that person (by AsOf) is kept already.
	PutAway(ctx context.Context, a Away) error
}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// A Config is what a Desk needs.
type Config struct {
	Store Store
	Log   Committer
	// Catalog returns the catalog of a published version.
	Catalog func(ctx context.Context, version int64) (*catalog.Catalog, error)
	Now     func() time.Time // time.Now by default
	Logger  *slog.Logger     // told of trouble; silent by default
}
