package notify

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// How deliveries are tried.
const (
	poll     = 5 * time.Second // how often the table is looked at, besides when something was added
	lease    = 3 * time.Minute // how long a claim keeps others off
	sending  = 2 * time.Minute // how long one attempt may take, and one letter more: less than a claim holds
	first    = 10 * time.Second
	longest  = time.Hour
	patience = 24 * time.Hour      // after which a delivery is dead
	memory   = 30 * 24 * time.Hour // for which what has ended can be seen
	batch    = 512                 // deliveries that are looked at together
	atOnce   = 16                  // attempts
	each     = 4                   // of them to one receiver, so that one that hangs does not hold up the others
)

// Run sends what is to be sent until ctx ends. Several processes may run at once: each delivery is claimed
// by one. It may start before the log has been read to its end: what was sent shortly before, and whose end
// is not applied here yet, is kept off by its claim.
func (n *Notifier) Run(ctx context.Context) error {
	w := newWorkers(n)
	defer w.running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		case <-timer.C:
		}
		if err := w.pass(ctx); err != nil && ctx.Err() == nil {
			n.cfg.Logger.WarnContext(ctx, "what is to be told cannot be read", "err", err)
		}
		if now := n.cfg.Now(); now.Sub(swept) > time.Hour {
			if err := n.cfg.Store.ForgetDeliveries(ctx, now.Add(-memory)); err != nil && ctx.Err() == nil {
				n.cfg.Logger.WarnContext(ctx, "what was told cannot be forgotten", "err", err)
			}
			swept = now
		}
		timer.Reset(poll)
	}
}

// workers are the attempts under way.
type workers struct {
	n       *Notifier
	running sync.WaitGroup

	mu   sync.Mutex
	all  int
	busy map[[2]string]int // by kind and channel
}

func newWorkers(n *Notifier) *workers { return &workers{n: n, busy: map[[2]string]int{}} }

// pass begins an attempt at each delivery whose time has come, as far as there is room.
func (w *workers) pass(ctx context.Context) error {
	due, err := w.n.cfg.Store.Deliveries(ctx, Query{Due: w.n.cfg.Now()}, batch)
	if err != nil {
		return err
	}
	for _, d := range due {
		if !w.take(&d) {
			continue
		}
		w.running.Go(func() {
			defer w.give(&d)
			if err := w.n.try(ctx, d); err != nil && ctx.Err() == nil {
				w.n.cfg.Logger.WarnContext(ctx, "delivery held up", "delivery", d.ID, "ask", d.Ask, "channel", d.Channel, "err", err)
			}
		})
	}
	return nil
}

// take makes room for an attempt, if there is some.
func (w *workers) take(d *Delivery) bool {
	key := [2]string{string(d.Kind), d.Channel}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == atOnce || w.busy[key] == each {
		return false
	}
	w.all++
	w.busy[key]++
	return true
}

// give gives the room back. If there was none left, somebody may wait for it.
func (w *workers) give(d *Delivery) {
	key := [2]string{string(d.Kind), d.Channel}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == atOnce || w.busy[key] == each {
		w.n.nudge()
	}
	w.all--
	if w.busy[key]--; w.busy[key] == 0 {
		delete(w.busy, key)
	}
}

// An outcome is what came of an attempt.
type outcome struct {
	State State         // Waiting: it is to be tried again
	Error string        // why, unless it is told
	After time.Duration // for which the receiver asks for patience
}

// claim keeps other processes from d for a while. authz.ErrConflict: another has it.
func (n *Notifier) claim(ctx context.Context, d *Delivery) error {
	d.NextAt = n.cfg.Now().Add(lease)
	if err := n.cfg.Store.ChangeDelivery(ctx, *d); err != nil {
		return err
	}
	d.Version++
	return nil
}

// try makes one attempt at d and keeps what came of it. If it returns an error, nothing did, and the
// delivery is tried again when the claim has ended.
func (n *Notifier) try(ctx context.Context, d Delivery) error {
	tried := d.Attempts
	d.Attempts++
	if err := n.claim(ctx, &d); errors.Is(err, authz.ErrConflict) {
		return nil
	} else if err != nil {
		return err
	}
	if tried == 0 && n.cfg.Now().Sub(d.Since) > patience { // made again from an old log, or long held up
		return n.settle(ctx, &d, outcome{State: Moot})
	}
	if tried > 0 && n.cfg.Now().Sub(d.Since) >= patience { // also if no attempt lived to say how it went
		return n.settle(ctx, &d, outcome{State: Dead, Error: cmp.Or(d.Error, "no attempt came to an end")})
	}
	a, err := n.cfg.Asks.Get(ctx, d.Ask)
	if errors.Is(err, authz.ErrNotFound) {
		return n.settle(ctx, &d, outcome{State: Dead, Error: "the ask is not there any more"})
	}
	if err != nil {
		return err
	}
	if a.Status != approval.Pending && (d.Event == Asked || d.Event == Escalated) {
		if tried == 0 {
			return n.settle(ctx, &d, outcome{State: Moot})
		}
		return n.settle(ctx, &d, outcome{State: Dead, Error: clip("the ask ended before it was told; before: " + d.Error)})
	}
	sendCtx, cancel := context.WithTimeout(ctx, sending)
	o, err := n.send(sendCtx, &d, a)
	cancel()
	if ctx.Err() != nil {
		return ctx.Err() // what came of it is not known: it is sent again
	}
	if err != nil { // authz.ErrConflict: another has it now
		return unless(authz.ErrConflict, err)
	}
	return n.settle(ctx, &d, o)
}

// send makes an attempt. An error says that it could not even be made.
func (n *Notifier) send(ctx context.Context, d *Delivery, a *approval.Ask) (outcome, error) {
	switch d.Kind {
	case ToChannel:
		c, ok := n.cfg.Channels.Channels[d.Channel]
		switch {
		case !ok && slices.Contains(defaultEvents, d.Event):
			return outcome{State: Dead, Error: "no channel of that id is configured"}, nil
		case !ok, !c.hears(d.Event), private(a) && !c.personal(d.Event):
			return outcome{State: Moot}, nil
		case c.Webhook != nil:
			return n.sendWebhook(ctx, &c, d, a)
		case c.Slack != nil:
			return n.sendSlack(ctx, &c, d, a)
		}
		return n.sendMail(ctx, &c, d, a)
	case ToEvaluator:
		e, ok := n.cfg.Channels.Evaluators[d.Channel]
		if !ok {
			return outcome{State: Dead, Error: "no evaluator of that id is configured"}, nil
		}
		return n.evaluate(ctx, &e, d, a)
	case ToCallback:
		return n.callBack(ctx, d, a)
	}
	return outcome{State: Dead, Error: "nobody knows how to deliver it"}, nil
}

// settle keeps what came of an attempt. What was told or given up is recorded; what is moot was not told.
func (n *Notifier) settle(ctx context.Context, d *Delivery, o outcome) error {
	now := n.cfg.Now()
	d.Error = clip(o.Error)
	if o.State == Waiting && now.Sub(d.Since) >= patience {
		o.State = Dead
	}
	switch o.State {
	case Told:
		n.counts.told.Add(1)
	case Dead:
		n.counts.dead.Add(1)
		n.cfg.Logger.ErrorContext(ctx, "delivery given up", "delivery", d.ID, "ask", d.Ask, "channel", d.Channel, "attempts", d.Attempts, "reason", d.Error)
	case Moot:
		d.State, d.EndedAt, d.Error = Moot, now, ""
		return unless(authz.ErrConflict, n.cfg.Store.ChangeDelivery(ctx, *d))
	case Waiting:
		n.counts.failed.Add(1)
		d.NextAt = now.Add(max(pause(d.ID, d.Attempts), min(o.After, longest)))
		return unless(authz.ErrConflict, n.cfg.Store.ChangeDelivery(ctx, *d))
	}
	if len(d.Reached)+len(d.Mailed) > 0 { // if it cannot be recorded, or is tried again, they are not told twice
		if err := n.cfg.Store.ChangeDelivery(ctx, *d); err != nil {
			return unless(authz.ErrConflict, err)
		}
		d.Version++
	}
	// Another process may have sent it as well, after our claim had ended: the first entry counts.
	return unless(authz.ErrConflict, n.record(ctx, "safeconduct", string(o.State), "", d))
}

// unless returns err unless it is of that kind.
func unless(kind, err error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// clip bounds the reason of a failure.
func clip(s string) string {
	s = clean(s, maxError)
	return strings.ToValidUTF8(s[:min(len(s), maxError)], "")
}

// pause returns how long to wait after so many attempts: 10 seconds, doubled with each up to an hour, and a
// quarter more or less, so that what has failed together is not tried together.
func pause(id string, attempts int64) time.Duration {
	p := longest
	if attempts < 10 {
		p = min(longest, first<<max(attempts-1, 0))
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(attempts)))
	return p*3/4 + time.Duration(h.Sum64()%uint64(p/2))
}
