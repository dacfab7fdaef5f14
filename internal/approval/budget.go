package approval

import (
	"slices"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// An account is what is known of one agent's asking, as far as its asks are in memory.
type account struct {
	asks     []made // in the order of their entries
	open     int64  // asks that are pending
	pending  int64  // acts of them that are
	sessions map[string]int64
	share
}

// A made is an ask that counts.
type made struct {
	id  string
	at  time.Time
	n   int64 // what it counts
	sum int64 // what it and those before it count
}

// A share is how much of the memory somebody's asks take.
type share struct{ kept, bytes int64 }

// over reports whether one more ask of that size is more than one of so many parts of the memory.
func (s share) over(size, parts int64) bool {
	return s.kept >= maxKept/parts || s.bytes+size > maxBytes/parts
}

// counts is how many asks the ask counts as: as many as it has acts, which could have been asked for one by
// one; but one question to a person is one.
func (a *Ask) counts() int64 {
	if a.Kind == CIBA {
		return 1
	}
	return int64(len(a.Items))
}

// waiting is how many of them wait for an answer.
func (a *Ask) waiting() (n int64) {
	if a.Kind == CIBA && a.Status == Pending {
		return 1
	} else if a.Kind == CIBA {
		return 0
	}
	for i := range a.Items {
		if a.Items[i].Status == Pending {
			n++
		}
	}
	return n
}

// hour returns how many asks were made within an hour before a moment.
func (c *account) hour(at time.Time) int64 {
	n := len(c.asks)
	if n == 0 {
		return 0
	}
	from, _ := slices.BinarySearchFunc(c.asks, at.Add(-time.Hour), func(m made, t time.Time) int { return m.at.Compare(t) })
	if from == n {
		return 0
	}
	return c.asks[n-1].sum - c.asks[from].sum + c.asks[from].n
}

// keep counts an ask of that size.
func (c *account) keep(a *Ask, size int64) {
	m := made{id: a.ID, at: a.AskedAt, n: a.counts()}
	if m.sum = m.n; len(c.asks) > 0 {
		m.sum += c.asks[len(c.asks)-1].sum
	}
	c.asks = append(c.asks, m)
	c.kept, c.bytes = c.kept+1, c.bytes+size
	if a.Session != "" {
		c.sessions[a.Session] += m.n
	}
}

// leave takes an ask back, but for c.asks.
func (c *account) leave(a *Ask, size int64) {
	c.kept, c.bytes = c.kept-1, c.bytes-size
	if a.Session != "" {
		if c.sessions[a.Session] -= a.counts(); c.sessions[a.Session] <= 0 {
			delete(c.sessions, a.Session)
		}
	}
}

// prune drops from c.asks those that are gone.
func (c *account) prune(gone map[string]bool) {
	c.asks = slices.DeleteFunc(c.asks, func(m made) bool { return gone[m.id] })
	sum := int64(0)
	for i := range c.asks {
		sum += c.asks[i].n
		c.asks[i].sum = sum
	}
}

// Asks returns how much an agent has asked of late: each act counts, and a person who is asked to authorize
// a token counts once. Asks that were joined to another do not count.
func (d *Desk) Asks(agent authz.AgentID, session string, at time.Time) authz.Asks {
	if d.kept.Load() == 0 {
		return authz.Asks{}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.asked(authz.AgentType+":"+string(agent), session, at)
}

// asked is what is asked by an account. The caller holds d.mu.
func (d *Desk) asked(name, session string, at time.Time) authz.Asks {
	c := d.accounts[name]
	if c == nil {
		return authz.Asks{}
	}
	n := authz.Asks{Pending: c.pending, Hour: c.hour(at)}
	if session != "" {
		n.Session = c.sessions[session]
	}
	return n
}

// A booking is an ask that is being recorded. It counts already, so that what is asked at once does not
// pass by a bound that it would not pass one after the other. Whoever asks for the same meanwhile holds it
// too, and will be joined.
type booking struct {
	account, requester, session string
	n, bytes                    int64
	holders                     int
}

// book lets an ask be recorded, or returns authz.ErrForbidden: it passes a bound of who asks, or of the
// desk. done ends the booking. What is booked is known to this process alone, as the bounds are for who
// asks, never for who applies.
func (d *Desk) book(r *record, most catalog.AskBudget, at time.Time) (done func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.booked[r.same]
	if b == nil {
		b = &booking{account: accountOf(r.ask), requester: r.ask.Requester, session: r.ask.Session, n: r.ask.counts(), bytes: r.size}
		if err := d.affords(b, most, at); err != nil {
			return nil, err
		}
		d.booked[r.same] = b
	}
	b.holders++
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if b.holders--; b.holders == 0 && d.booked[r.same] == b {
			delete(d.booked, r.same)
		}
	}), nil
}

// affords returns why an ask is too much, beside what is booked. The caller holds d.mu.
func (d *Desk) affords(b *booking, most catalog.AskBudget, at time.Time) error {
	asked := d.asked(b.account, b.session, at)
	all := share{int64(len(d.records)), d.bytes}
	var own share
	if c := d.accounts[b.account]; c != nil {
		own = c.share
	}
	requester := d.requesters[b.requester]
	for _, o := range d.booked {
		all.kept, all.bytes = all.kept+1, all.bytes+o.bytes
		if o.requester == b.requester {
			requester.kept, requester.bytes = requester.kept+1, requester.bytes+o.bytes
		}
		if o.account != b.account {
			continue
		}
		own.kept, own.bytes = own.kept+1, own.bytes+o.bytes
		asked.Hour += o.n
		asked.Pending += o.n
		if o.session == b.session {
			asked.Session += o.n
		}
	}
	switch {
	case most.Session > 0 && b.session != "" && asked.Session+b.n > most.Session:
		return tooMany("asked in this session", asked.Session, b.n, most.Session)
	case most.Hour > 0 && asked.Hour+b.n > most.Hour:
		return tooMany("asked within an hour", asked.Hour, b.n, most.Hour)
	case most.Pending > 0 && asked.Pending+b.n > most.Pending:
		return tooMany("waiting for an answer", asked.Pending, b.n, most.Pending)
	case all.over(b.bytes, 1):
		return errTooMany
	case own.over(b.bytes, agentShare), requester.over(b.bytes, requesterShare):
		return authz.Errorf(authz.ErrForbidden, "too many asks of the same asker are kept, also ended ones: wait until they are forgotten")
	}
	return nil
}

// tooMany says which bound of the catalog an ask passes.
func tooMany(what string, asked, more, most int64) error {
	return authz.Errorf(authz.ErrForbidden, "too many asks: %d are %s, this is for %d, and at most %d may be", asked, what, more, most)
}
