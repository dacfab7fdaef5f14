package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Kind says to what a delivery goes.
type Kind string

// Kinds of deliveries.
const (
	ToChannel   Kind = "channel"   // a channel that a route names
	ToEvaluator Kind = "evaluator" // an external evaluator, which may answer
	ToCallback  Kind = "callback"  // where the enforcement point wants to be told
)

// Events that are told.
const (
	Asked     = "asked"
	Escalated = "escalated"    // nobody has answered: more are asked
	Ended     = "ended"        // whatever the end is
	Broken    = "broken_glass" // somebody approved alone: it must be reviewed
	Revoked   = "revoked"      // approvals were taken back
)

// A State says how far a delivery has come.
type State string

// The states. All but Waiting are ends.
const (
	Waiting State = "waiting" // to be sent, or to be sent again
	Told    State = "told"
	Dead    State = "dead" // given up; an administrator can have it tried again
	Moot    State = "moot" // there was nothing to tell any more, or nobody to tell it to
)

// ParseState returns the state of that name, or authz.ErrInvalid.
func ParseState(s string) (State, error) {
	switch State(s) {
	case Waiting, Told, Dead, Moot:
		return State(s), nil
	}
	return "", authz.Errorf(authz.ErrInvalid, "unknown state %.64q: one of waiting, told, dead, moot", s)
}

// A Delivery is one thing to be told to one receiver.
type Delivery struct {
	ID      string `json:"id"` // follows from Ask, Kind, Channel and Event
	Ask     string `json:"ask"`
	Kind    Kind   `json:"kind"`
	Channel string `json:"channel"` // id of the channel or the evaluator; name of the enforcement point
	Event   string `json:"event"`

	State    State     `json:"state"`
	At       time.Time `json:"at"`    // of the entry that made it
	Since    time.Time `json:"since"` // when trying began: At, or when it was to be tried again
	NextAt   time.Time `json:"next_at"`
	Attempts int64     `json:"attempts"`
	Error    string    `json:"error,omitempty"`   // of the last attempt that failed
	Chosen   bool      `json:"chosen,omitempty"`  // whether Persons is made
	Persons  []string  `json:"persons,omitempty"` // whom it goes to, of a channel that goes to persons
	Reached  []string  `json:"reached,omitempty"` // those of them whom it has reached
	Mailed   []string  `json:"mailed,omitempty"`  // fixed addresses that it has reached, as digests
	EndedAt  time.Time `json:"ended_at,omitzero"`
	AsOf     int64     `json:"as_of"`   // number of the entry that made it or ended it
	Version  int64     `json:"version"` // grows with each change, whoever makes it
}

// deliveryID returns the id of a delivery: everybody makes the same one.
func deliveryID(ask string, k Kind, channel, event string) string {
	h := sha256.New()
	for _, s := range []string{ask, string(k), channel, event} {
		fmt.Fprintf(h, "%d:%s,", len(s), s)
	}
	return "dlv_" + hex.EncodeToString(h.Sum(nil)[:13])
}

// A Query selects deliveries. Its zero value selects all, newest first.
type Query struct {
	Ask   string
	State State
	// Due, if it is not zero, selects those that wait and whose time has come by then, the longest waiting first.
	Due time.Time
	// Before begins behind the delivery of that id.
	Before string
}

// Store is the durable side of a Notifier. *store.DB is one.
type Store interface {
	// AddDeliveries keeps deliveries of which none of the same id is kept.
	AddDeliveries(ctx context.Context, ds []Delivery) error
	// Delivery returns the delivery of that id, or authz.ErrNotFound.
	Delivery(ctx context.Context, id string) (Delivery, error)
	// Deliveries returns up to limit deliveries. It is authz.ErrNotFound if there is none of the id Before.
	Deliveries(ctx context.Context, q Query, limit int) ([]Delivery, error)
	// ChangeDelivery keeps d, whose version is then one more, if the one that is kept is still of d's
	// version; else it returns authz.ErrConflict.
	ChangeDelivery(ctx context.Context, d Delivery) error
	// TellPerson notes that a person is told of an ask by an event, and returns the event by which the person
	// was first told of it. It returns "" and notes nothing if the person was told of that many other asks
	// since that time already; most is 0 for no bound.
	TellPerson(ctx context.Context, person, ask, event string, at, since time.Time, most int64) (string, error)
	// ForgetDeliveries removes what has ended before a time, and who was told before it.
	ForgetDeliveries(ctx context.Context, before time.Time) error
}

// againEnd is how an entry says that a dead delivery is to be tried again. It is no State.
const againEnd = "again"

// end is the body of an approval.delivered entry: how a delivery ended, or that it is to be tried again.
type end struct {
	Delivery string   `json:"delivery"`
	Ask      string   `json:"ask"`
	Kind     Kind     `json:"kind"`
	Channel  string   `json:"channel"`
	Event    string   `json:"event"`
	End      string   `json:"end"` // told, dead or again
	Attempts int64    `json:"attempts"`
	Persons  []string `json:"persons,omitempty"` // who was told
	Error    string   `json:"error,omitempty"`   // of the last attempt, if it is dead: never a secret
	Why      string   `json:"why,omitempty"`     // it is tried again
}

// Bounds of an approval.delivered entry.
const (
	maxError   = 300 // bytes
	maxWhy     = 1000
	maxPersons = 100 // to whom one delivery goes
)

// check returns authz.ErrInvalid and what is wrong with b.
func (b *end) check() error {
	switch {
	case b.End != string(Told) && b.End != string(Dead) && b.End != againEnd:
		return authz.Errorf(authz.ErrInvalid, "a delivery does not end by %.64q", b.End)
	case b.Delivery != deliveryID(b.Ask, b.Kind, b.Channel, b.Event):
		return authz.Errorf(authz.ErrInvalid, "delivery %.64q is not of that id", b.Delivery)
	case len(b.Error) > maxError || len(b.Persons) > maxPersons || b.Attempts < 0:
		return authz.Errorf(authz.ErrInvalid, "the end of a delivery is out of bounds")
	case b.End == againEnd && (b.Why == "" || len(b.Why) > maxWhy):
		return authz.Errorf(authz.ErrInvalid, "say why, in 1 to %d characters", maxWhy)
	}
	return nil
}

// record records how d ended, or that it is tried again, and waits until that is in effect.
func (n *Notifier) record(ctx context.Context, actor, how, why string, d *Delivery) error {
	b := end{Delivery: d.ID, Ask: d.Ask, Kind: d.Kind, Channel: d.Channel, Event: d.Event, End: how, Attempts: d.Attempts, Persons: d.Reached, Why: why}
	if how == string(Dead) {
		b.Error = d.Error
	}
	if err := b.check(); err != nil {
		return err
	}
	body, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encoding the end of delivery %s: %w", d.ID, err)
	}
	if _, err := n.cfg.Log.Commit(ctx, audit.Draft{Kind: audit.ApprovalTold, Actor: actor, Body: body}); err != nil {
		return fmt.Errorf("recording the end of delivery %s: %w", d.ID, err)
	}
	return nil
}

// applyEnd brings an approval.delivered entry into effect. What has ended before is not ended again, and
// only what is dead is tried again: authz.ErrConflict.
func (n *Notifier) applyEnd(ctx context.Context, e audit.Entry) error {
	var b end
	if err := json.Unmarshal(e.Body, &b); err != nil {
		return authz.Errorf(authz.ErrInvalid, "reading %s entry %d: %v", e.Kind, e.Seq, err)
	}
	if err := b.check(); err != nil {
		return err
	}
	for range 100 { // who sends may change it between our two steps, never for long
		d, err := n.cfg.Store.Delivery(ctx, b.Delivery)
		if err != nil {
			return fmt.Errorf("reading delivery %s: %w", b.Delivery, err)
		}
		if d.AsOf >= e.Seq {
			return nil // seen before
		}
		if err := d.end(&b, e.At); err != nil {
			return err
		}
		d.AsOf = e.Seq
		if err = n.cfg.Store.ChangeDelivery(ctx, d); errors.Is(err, authz.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("keeping delivery %s: %w", d.ID, err)
		}
		if b.End == againEnd {
			n.nudge()
		}
		return nil
	}
	return authz.Errorf(authz.ErrUnavailable, "delivery %s changes all the time", b.Delivery)
}

// end makes d what the entry of a time says.
func (d *Delivery) end(b *end, at time.Time) error {
	if b.End == againEnd {
		if d.State != Dead {
			return authz.Errorf(authz.ErrConflict, "delivery %s is %s: only what is dead is tried again", d.ID, d.State)
		}
		d.State, d.Since, d.NextAt, d.EndedAt, d.Attempts = Waiting, at, at, time.Time{}, 0
		return nil
	}
	if d.State != Waiting {
		return authz.Errorf(authz.ErrConflict, "delivery %s is %s already", d.ID, d.State)
	}
	d.State, d.EndedAt, d.Attempts, d.Reached, d.Error = State(b.End), at, b.Attempts, b.Persons, b.Error
	return nil
}

// Delivery returns the delivery of that id, or authz.ErrNotFound.
func (n *Notifier) Delivery(ctx context.Context, id string) (Delivery, error) {
	d, err := n.cfg.Store.Delivery(ctx, id)
	if errors.Is(err, authz.ErrNotFound) {
		return d, authz.Errorf(authz.ErrNotFound, "there is no delivery %.64q", id)
	}
	return d, err
}

// Deliveries returns up to limit deliveries that q selects.
func (n *Notifier) Deliveries(ctx context.Context, q Query, limit int) ([]Delivery, error) {
	return n.cfg.Store.Deliveries(ctx, q, limit)
}

// Retry has a dead delivery tried again, for as long as a new one. It returns authz.ErrNotFound if there is
// none of that id, and authz.ErrConflict if it is not dead.
func (n *Notifier) Retry(ctx context.Context, actor, why, id string) (Delivery, error) {
	d, err := n.Delivery(ctx, id)
	if err != nil {
		return d, err
	}
	if d.State != Dead {
		return d, authz.Errorf(authz.ErrConflict, "delivery %s is %s: only what is dead is tried again", d.ID, d.State)
	}
	if err := n.record(ctx, actor, againEnd, why, &Delivery{ID: d.ID, Ask: d.Ask, Kind: d.Kind, Channel: d.Channel, Event: d.Event}); err != nil {
		return d, err
	}
	return n.Delivery(ctx, id)
}
