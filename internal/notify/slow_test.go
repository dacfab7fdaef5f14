package notify_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// readers returns addresses, and the names of their letters as take has them.
func readers(n int) (addresses, names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("r%02d", i))
		addresses = append(addresses, names[i]+"@people.example")
	}
	return addresses, names
}

// onLetter has f called at each letter with how many there were.
func (p *postOffice) onLetter(f func(n int)) {
	var n atomic.Int64
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = func(letter) { f(int(n.Add(1))) }
}

// However long all letters take, another process does not begin with them anew: each reader gets one.
func TestMailSlow(t *testing.T) {
	office := newPostOffice(t, true, false)
	m := office.channel()
	var names []string
	m.To, names = readers(30)
	db, at := storetest.Open(t), newClock()
	h := openOn(t, db, at, mailed(m))
	other := openOn(t, db, at, mailed(m))
	h.ask("arq_1", "mailed")
	other.ask("arq_2", "silent") // it has read what came before
	office.onLetter(func(n int) {
		at.advance(20 * time.Second)
		if n > len(names) { // it is a storm: let it end
			return
		}
		if err := other.Pass(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("another process: Pass: %v", err)
		}
	})
	h.pass()
	if _, got := office.take(); !slices.Equal(got, names) {
		t.Errorf("sent %d letters to %v, want one to each of %d readers", len(got), got, len(names))
	}
	if d := h.wantState("arq_1", "channel mail asked", notify.Told); len(d.Mailed) != len(names) || d.Attempts != 1 {
		t.Errorf("%d readers are known to be reached in %d attempts, want %d in one", len(d.Mailed), d.Attempts, len(names))
	}
}

// When there is no time left no letter is begun, and those that were sent are known: the next attempt, by
// whichever process, sends the others.
func TestMailStopped(t *testing.T) {
	for name, again := range map[string]func(h, other *house){
		"the same process": func(h, _ *house) { h.pass() },
		"another process":  func(_, other *house) { other.pass() },
	} {
		t.Run(name, func(t *testing.T) {
			office := newPostOffice(t, true, false)
			m := office.channel()
			var names []string
			m.To, names = readers(10)
			db, at := storetest.Open(t), newClock()
			h, other := openOn(t, db, at, mailed(m)), openOn(t, db, at, mailed(m))
			ctx, stop := context.WithCancel(t.Context())
			office.onLetter(func(n int) {
				if n == 6 {
					stop()
				}
			})
			h.ask("arq_1", "mailed")
			other.ask("arq_2", "silent") // it has read what came before
			if err := h.Pass(ctx); err != nil {
				t.Fatal(err)
			}
			_, got := office.take()
			if len(got) != 6 {
				t.Errorf("sent to %v, want no more than 6 letters", got)
			}
			if d := h.wantState("arq_1", "channel mail asked", notify.Waiting); len(d.Mailed) != 6 {
				t.Errorf("%d readers are known to be reached, want 6", len(d.Mailed))
			}
			at.advance(notify.Lease)
			again(h, other)
			_, rest := office.take()
			if all := slices.Sorted(slices.Values(slices.Concat(got, rest))); !slices.Equal(all, names) {
				t.Errorf("sent to %v, and then to %v; want each of %v once", got, rest, names)
			}
			other.ask("arq_3", "silent")
			other.wantState("arq_1", "channel mail asked", notify.Told)
		})
	}
}

// A process whose delivery another has taken stops after a few letters.
func TestMailTaken(t *testing.T) {
	office := newPostOffice(t, true, false)
	m := office.channel()
	m.To, _ = readers(40)
	h := open(t, mailed(m))
	office.onLetter(func(n int) {
		if n > 1 {
			return
		}
		d := h.all("arq_1")["channel mail asked"]
		if err := h.db.ChangeDelivery(context.WithoutCancel(t.Context()), d); err != nil {
			t.Errorf("taking the delivery: %v", err)
		}
	})
	h.ask("arq_1", "mailed")
	h.pass()
	if _, got := office.take(); len(got) == 0 || len(got) > 4 {
		t.Errorf("sent %d letters, want a few and then none", len(got))
	}
	if d := h.wantState("arq_1", "channel mail asked", notify.Waiting); len(d.Mailed) != 0 {
		t.Errorf("what another has taken was changed: %+v", d)
	}
}

// A reader at whom the connection breaks each time does not keep the others from their letters.
func TestMailBreaks(t *testing.T) {
	office := newPostOffice(t, true, false)
	m := office.channel()
	var names []string
	m.To, names = readers(5)
	h := open(t, mailed(m))
	office.mu.Lock()
	office.hangUp = "r01@people.example"
	office.mu.Unlock()
	h.ask("arq_1", "mailed")
	for range 6 {
		h.pass()
		h.clock.advance(notify.Longest)
	}
	names = slices.Delete(names, 1, 2)
	if _, got := office.take(); !slices.Equal(got, names) {
		t.Errorf("sent to %v, want one letter to each of %v", got, names)
	}
	if d := h.wantState("arq_1", "channel mail asked", notify.Waiting); d.Error == "" || strings.Contains(d.Error, "r01") {
		t.Errorf("the reason is %q, want one without an address", d.Error)
	}
}

// What could not be told for a day is given up before it is sent once more.
func TestPatience(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, notify.Channels{Channels: map[string]notify.Channel{"hook": {Webhook: srv.webhook("/in")}, "chat": {Webhook: srv.webhook("/in"), Events: []string{"ended"}}}})
	srv.status(http.StatusBadGateway)
	h.ask("arq_1", "money")
	h.pass()
	srv.one(t)
	h.clock.advance(notify.Patience)
	h.pass()
	if got := srv.take(); len(got) != 0 {
		t.Errorf("sent %d times after a day", len(got))
	}
	if d := h.wantState("arq_1", "channel hook asked", notify.Dead); !strings.Contains(d.Error, "status 502") {
		t.Errorf("the reason is %q, want what went wrong before", d.Error)
	}
}

// What an agent asks of one person is told to that person, and not where others read along.
func TestPrivateAsk(t *testing.T) {
	srv := newReceiver(t)
	office := newPostOffice(t, true, false)
	m := office.channel()
	m.To, m.Approvers = []string{"team@people.example"}, true
	all := []string{notify.Asked, notify.Escalated, notify.Ended, notify.Broken, notify.Revoked}
	cs := mailed(m, all...)
	cs.Channels["hook"] = notify.Channel{Webhook: srv.webhook("/hook"), Arguments: true, Events: all}
	cs.Channels["chat"] = notify.Channel{Slack: &notify.Slack{URL: srv.URL + "/chat", Client: srv.client()}, Arguments: true, Events: all}
	h := open(t, cs)
	private := func(a *approval.Ask) {
		a.Kind, a.Person, a.Message, a.Items[0].Routes = approval.CIBA, "ben", "call 555 now", []string{"mailed", "money"}
	}
	h.ask("arq_1", "", private)
	h.ask("arq_2", "", private, func(a *approval.Ask) { a.Items[0].Routes = nil }) // by the default route, which has no mail
	h.pass()
	if _, to := office.take(); !slices.Equal(to, []string{"ben"}) {
		t.Errorf("mailed to %v, want the person only", to)
	}
	h.move("arq_1", func(a *approval.Ask) {
		a.Status, a.ClosedAt, a.Broken = approval.Approved, h.clock.now(), &approval.Broken{By: "person:dora", Due: h.clock.now()}
	})
	h.pass()
	if _, to := office.take(); len(to) != 0 {
		t.Errorf("mailed the end to %v, want nobody", to)
	}
	for _, r := range srv.take() {
		t.Errorf("%s was sent %s", r.Path, r.Body)
	}
	h.wantState("arq_1", "channel mail asked", notify.Told)
	for _, what := range []string{"channel hook asked", "channel chat asked", "channel mail ended", "channel chat ended", "channel mail broken_glass"} {
		h.wantState("arq_1", what, notify.Moot)
	}
	h.wantState("arq_2", "channel chat asked", notify.Moot)
}
