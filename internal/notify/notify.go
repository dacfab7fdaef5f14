// Package notify tells people and programs of asks: webhooks (Standard Webhooks), Slack-compatible ones,
// e-mail, callbacks of enforcement points, and external evaluators that may answer. What could not be
// delivered is tried again with growing pauses, and in the end lies where an operator sees it.
//
// That something is to be told follows from the log alone: whoever applies an entry makes the same
// deliveries, under the same ids. They are sent by whichever process claims them first. One that dies
// between sending and recording leaves a delivery that is sent again: everything is delivered at least
// once, always under the same id, by which whoever receives it can tell.
//
// What agents write is data. It is bounded, what does not print is written out, and it stands where no
// receiver takes it for a link, a mention or a command of ours. A message holds a link to the ask and
// never the id of an approval: whoever reads along can do nothing with it.
//
// The package decides nothing. What an evaluator answers goes to the desk, which judges it.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/people"
)

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// Asks are what is told of. *approval.Desk has them.
type Asks interface {
	Get(ctx context.Context, id string) (*approval.Ask, error)
	Standing(ctx context.Context, a *approval.Ask, p approval.Person) (approval.Standing, error)
	AnswerAs(ctx context.Context, evaluator, id string, r approval.Reply) (*approval.Ask, error)
}

// People are whom messages can go to. *people.Registry knows them.
type People interface {
	Person(id string) (*people.Person, error)
	People() []*people.Person
}

// A Config is what a Notifier needs. All fields are needed unless their comment says otherwise.
type Config struct {
	Store  Store
	Log    Committer
	Asks   Asks // applies entries before the Notifier does
	People People

	// Catalog returns the catalog of a published version. authz.ErrNotFound and authz.ErrInvalid mean for
	// good that there is none: nobody is told then. Other errors hold up the log.
	Catalog func(ctx context.Context, version int64) (*catalog.Catalog, error)

	// Channels say where messages go. The zero Channels reach nobody: what should have been told is dead at
	// once, and an operator sees it.
	Channels Channels

	// Public is the address of the service, without a slash at its end: links begin with it.
	Public string

	Now    func() time.Time // time.Now by default
	Logger *slog.Logger     // silent by default
}

// A Notifier makes deliveries and sends them. It is safe for concurrent use.
type Notifier struct {
	cfg    Config
	wake   chan struct{} // there may be something to send
	counts counts
}

// New returns a notifier, or authz.ErrInvalid if the configuration cannot be used. It starts nothing:
// see Run. There is nothing to load.
func New(cfg Config) (*Notifier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.Channels.check(); err != nil {
		return nil, err
	}
	cfg.Public = strings.TrimRight(cfg.Public, "/")
	return &Notifier{cfg: cfg, wake: make(chan struct{}, 1)}, nil
}

// counts are how many deliveries this process has ended, and attempts it has failed.
type counts struct{ told, failed, dead atomic.Int64 }

// Counts returns how many deliveries this process has brought to their end, how many attempts have failed,
// and how many deliveries it has given up, since it started.
func (n *Notifier) Counts() (told, failed, dead int64) {
	return n.counts.told.Load(), n.counts.failed.Load(), n.counts.dead.Load()
}

// Apply makes the deliveries that follow from an entry, and ends those whose end an entry tells. It is an
// audit.Applier, and stands after that of the desk and that of the people.
func (n *Notifier) Apply(ctx context.Context, e audit.Entry) error {
	switch e.Kind {
	case audit.ApprovalAsked, audit.ApprovalAnswer, audit.ApprovalMoved:
		return n.applyAsk(ctx, e)
	case audit.ApprovalTold:
		return n.applyEnd(ctx, e)
	}
	return nil
}

// applyAsk makes what is to be told of an ask that an entry made or changed. An entry that the desk has
// refused changed nothing, and so nothing follows from it.
func (n *Notifier) applyAsk(ctx context.Context, e audit.Entry) error {
	id, err := askOf(e)
	if err != nil {
		return nil // the desk has said what is wrong with it
	}
	a, err := n.cfg.Asks.Get(ctx, id)
	if errors.Is(err, authz.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading ask %.64q: %w", id, err)
	}
	// A desk that was loaded may be ahead of this entry: what follows from the later ones is made early.
	if a.AsOf < e.Seq || e.Kind == audit.ApprovalAsked && a.Seq != e.Seq {
		return nil
	}
	c, err := n.catalog(ctx, a.Catalog)
	if err != nil {
		return err
	}
	// That it was asked is told by the entry that asked, everything else by those that follow.
	ds := slices.DeleteFunc(deliveries(a, c), func(d Delivery) bool { return (d.Event == Asked) != (e.Kind == audit.ApprovalAsked) })
	for i := range ds {
		ds[i].At, ds[i].Since, ds[i].NextAt, ds[i].AsOf = e.At, e.At, e.At, e.Seq
	}
	if len(ds) == 0 {
		return nil
	}
	if err := n.cfg.Store.AddDeliveries(ctx, ds); err != nil {
		return fmt.Errorf("keeping what is to be told of ask %s: %w", a.ID, err)
	}
	n.nudge()
	return nil
}

// askOf returns the id of the ask that an entry is about.
func askOf(e audit.Entry) (string, error) {
	var body struct {
		ID  string `json:"id"`
		Ask string `json:"ask"`
	}
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return "", authz.Errorf(authz.ErrInvalid, "reading %s entry %d: %v", e.Kind, e.Seq, err)
	}
	if e.Kind == audit.ApprovalAsked {
		return body.ID, nil
	}
	return body.Ask, nil
}

// catalog returns the catalog of a version, nil if there is none.
func (n *Notifier) catalog(ctx context.Context, version int64) (*catalog.Catalog, error) {
	c, err := n.cfg.Catalog(ctx, version)
	switch {
	case errors.Is(err, authz.ErrNotFound), errors.Is(err, authz.ErrInvalid):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the catalog of version %d: %w", version, err)
	}
	return c, nil
}

// deliveries returns what is to be told of an ask that stands as it does, also what was told before.
func deliveries(a *approval.Ask, c *catalog.Catalog) (ds []Delivery) {
	add := func(k Kind, channel, event string) {
		ds = append(ds, Delivery{ID: deliveryID(a.ID, k, channel, event), Ask: a.ID, Kind: k, Channel: channel, Event: event, State: Waiting})
	}
	channels, evaluators := told(a, c)
	for _, id := range evaluators {
		add(ToEvaluator, id, Asked)
	}
	for _, event := range events(a) {
		for _, id := range channels {
			add(ToChannel, id, event)
		}
	}
	if cb := a.Callback; cb != nil && a.Ended != 0 && (len(cb.Events) == 0 || slices.Contains(cb.Events, string(a.Status))) {
		add(ToCallback, a.PEP, Ended)
	}
	return ds
}

// events returns what has happened to an ask.
func events(a *approval.Ask) []string {
	es := []string{Asked}
	if !a.Escalated.IsZero() {
		es = append(es, Escalated)
	}
	if a.Broken != nil {
		es = append(es, Broken)
	}
	if a.Ended != 0 { // by an entry, and not only by the clock
		es = append(es, Ended)
	}
	for i := range a.Items {
		if g := a.Items[i].Approval; g != nil && !g.Revoked.IsZero() {
			return append(es, Revoked)
		}
	}
	return es
}

// told returns the channels and the evaluators of an ask's routes, sorted.
func told(a *approval.Ask, c *catalog.Catalog) (channels, evaluators []string) {
	for _, r := range routes(a, c) {
		channels = append(channels, r.Notify...)
		if r.Evaluator != "" && a.Kind == approval.Access {
			evaluators = append(evaluators, r.Evaluator)
		}
	}
	slices.Sort(channels)
	slices.Sort(evaluators)
	return slices.Compact(channels), slices.Compact(evaluators)
}

// routes returns the routes of an ask, sorted by id. An ask that names none, which is one for a token, is
// told by way of the default route, and to its person only: see private.
func routes(a *approval.Ask, c *catalog.Catalog) (rs []*catalog.Route) {
	if c == nil {
		return nil
	}
	var ids []string
	for i := range a.Items {
		ids = append(ids, a.Items[i].Routes...)
	}
	if len(ids) == 0 && a.Kind == approval.CIBA {
		ids = []string{c.DefaultRoute()}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if r, ok := c.Route(id); ok {
			rs = append(rs, r)
		}
	}
	return rs
}

// nudge wakes who sends.
func (n *Notifier) nudge() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}
