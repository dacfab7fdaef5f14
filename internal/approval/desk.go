package approval

import (
	"context"
	"encoding/json"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Desk keeps the asks. It is safe for concurrent use once loaded.
type Desk struct{ cfg Config }

// New returns an empty desk, to be loaded.
func New(cfg Config) *Desk { return &Desk{cfg: cfg} }

// Load reads the stored asks.
func (d *Desk) Load(ctx context.Context) error { return nil }

// Apply brings an entry into effect. It is an audit.Applier.
func (d *Desk) Apply(ctx context.Context, e audit.Entry) error { return nil }

// Run ends asks whose time is over, and escalates those that nobody answers, until ctx ends.
func (d *Desk) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Ask records an ask, or joins it to a pending one for the very same by the same requester. It sets ID,
// AskedAt, ExpiresAt, Status and the numbers. authz.ErrInvalid, authz.ErrForbidden: a bound was passed.
//
// Asks that are still retained count, whatever became of them: one of the same Key and Print is returned as
// it is, as one that was joined; one of the same Key and another Print is ErrKeyTaken; and one that names
// the decision of one of a's items already, and that a cannot be joined to, is ErrDecisionUsed, so that
// nobody is asked twice about one refusal. Apply judges so too, for replicas that are asked at once.
func (d *Desk) Ask(ctx context.Context, a Ask) (*Ask, bool, error) { return nil, false, errMissing }

// Get returns the ask of that id, also an ended one, or authz.ErrNotFound.
func (d *Desk) Get(ctx context.Context, id string) (*Ask, error) { return nil, errMissing }

// Keyed returns the retained ask of that Key, whatever became of it, or authz.ErrNotFound. It touches memory
// only, and serves clients that repeat a submission whose answer they lost.
func (d *Desk) Keyed(key string) (*Ask, error) { return nil, errMissing }

// A Filter selects asks.
type Filter struct {
	Person  *Person // only those that the person may answer, or has answered
	Mine    bool    // with Person: only those that wait for the person's answer
	Status  Status
	Agent   authz.AgentID
	Session string
	Review  bool   // only broken glass that waits for a review
	After   string // id of the last ask of the page before
	Limit   int    // 1..1000
}

// List returns asks, newest first.
func (d *Desk) List(ctx context.Context, f Filter) ([]*Ask, error) { return nil, errMissing }

// Similar returns up to limit ended asks of the same agent, action and type of resource, newest first.
func (d *Desk) Similar(ctx context.Context, a *Ask, limit int) ([]*Ask, error) { return nil, nil }

// A Standing says whether a person may answer an ask, and for which of its routes.
type Standing struct {
	Routes     []string `json:"routes"`        // for which the person's yes would count
	For        string   `json:"for,omitempty"` // as deputy of
	BreakGlass bool     `json:"break_glass"`   // may approve alone, with a reason
	Passkey    bool     `json:"passkey"`       // a yes needs a passkey assertion
	Why        string   `json:"why,omitempty"` // why there are no routes
	Most       Scope    `json:"most"`          // the widest scope that the person may choose
}

// Standing returns what the person may do with an ask.
func (d *Desk) Standing(ctx context.Context, a *Ask, p Person) (Standing, error) {
	return Standing{}, errMissing
}

// A View is that somebody looked at an ask.
type View struct {
	Seq int64
	At  time.Time
}

// View records that the person looks at the ask.
func (d *Desk) View(ctx context.Context, p Person, id string) (View, error) {
	return View{}, errMissing
}

// Digest is what a passkey assertion is made over: SHA-256 of the ask's act, the answer, its scope and the
// number of the view, in a form that docs/log-format.md tells.
func Digest(a *Ask, yes bool, items []int, s Scope, view int64) [32]byte { return [32]byte{} }

// A Reply is an answer as it is given.
type Reply struct {
	Yes      bool
	Items    []int
	Scope    Scope
	Comment  string
	View     int64
	Evidence json.RawMessage // verified by the caller over Digest
}

// Answer records a person's answer. authz.ErrForbidden: who may not answer; authz.ErrConflict: it has ended.
func (d *Desk) Answer(ctx context.Context, p Person, id string, r Reply) (*Ask, error) {
	return nil, errMissing
}

// AnswerAs records the answer of an external evaluator.
func (d *Desk) AnswerAs(ctx context.Context, evaluator, id string, r Reply) (*Ask, error) {
	return nil, errMissing
}

// BreakGlass approves alone and at once: one use of the very act.
func (d *Desk) BreakGlass(ctx context.Context, p Person, id, reason string, r Reply) (*Ask, error) {
	return nil, errMissing
}

// Review says afterwards whether breaking the glass was justified. Not by who broke it.
func (d *Desk) Review(ctx context.Context, p Person, id string, justified bool, comment string) (*Ask, error) {
	return nil, errMissing
}

// Cancel ends a pending ask. authz.ErrConflict: it has ended.
func (d *Desk) Cancel(ctx context.Context, actor, id, reason, comment string) (*Ask, error) {
	return nil, errMissing
}

// Revoke takes the approvals of an ask back.
func (d *Desk) Revoke(ctx context.Context, actor, id, why string) (*Ask, error) {
	return nil, errMissing
}

// An Away says that a person's asks go to a deputy for a while.
type Away struct {
	Person string    `json:"person"`
	Deputy string    `json:"deputy"`
	Until  time.Time `json:"until"`
	Why    string    `json:"why,omitempty"`
	AsOf   int64     `json:"as_of"`
}

// PutAway records an absence; a zero Until ends it.
func (d *Desk) PutAway(ctx context.Context, actor string, a Away) error { return errMissing }

// Aways returns the absences that have not ended.
func (d *Desk) Aways() []Away { return nil }

// Holds returns the approval that req refers to, if it holds for the act as of a moment; else nil and
// why not: authz.ApprovalExpired, ApprovalOutOfScope or ApprovalUnverifiable. data and labels are those of
// the resource. It touches memory only.
func (d *Desk) Holds(req *authz.Request, data authz.DataClass, labels []string, at time.Time) (*authz.Approval, string) {
	return nil, authz.ApprovalUnverifiable
}

// Use draws one use of an approval for the act, and returns the number of the entry. The first that draws
// the last use wins in the whole installation; the others get authz.ErrConflict.
func (d *Desk) Use(ctx context.Context, a *authz.Approval, req *authz.Request) (int64, error) {
	return 0, errMissing
}

// Asks returns how much an agent has asked of late.
func (d *Desk) Asks(agent authz.AgentID, session string, at time.Time) authz.Asks {
	return authz.Asks{}
}

// Stats are the desk's numbers over a window.
type Stats struct {
	Since, Until time.Time
	Asks         int64         `json:"asks"`
	Joined       int64         `json:"joined"`
	Pending      int64         `json:"pending"`
	Approved     int64         `json:"approved"`
	Denied       int64         `json:"denied"`
	Expired      int64         `json:"expired"`
	Median       time.Duration `json:"median"` // from ask to end, of those that a person ended
	P90          time.Duration `json:"p90"`
	Persons      []PersonStats `json:"persons"`
}

// PersonStats are one approver's.
type PersonStats struct {
	Person     string        `json:"person"`
	Answers    int64         `json:"answers"`
	Yes        int64         `json:"yes"`
	Fast       int64         `json:"fast"` // answered faster than the route's Reading
	MedianRead time.Duration `json:"median_read"`
}

// Stats returns the numbers of the last while (at most Retention).
func (d *Desk) Stats(window time.Duration) Stats { return Stats{} }

// Why an ask that is well formed is not taken. Both are authz.ErrConflict.
var (
	ErrKeyTaken     = authz.Errorf(authz.ErrConflict, "this Idempotency-Key was used for another submission")
	ErrDecisionUsed = authz.Errorf(authz.ErrConflict, "somebody has been asked about this refusal already: evaluate again, and ask about the new one")
)

var errMissing = authz.Errorf(authz.ErrUnavailable, "approvals are not there yet")
