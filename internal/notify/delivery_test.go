package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// made returns what is to be told of an ask, sorted.
func (h *house) made(ask string) []string { return slices.Sorted(maps.Keys(h.all(ask))) }

func TestWhatIsTold(t *testing.T) {
	h := open(t, notify.Channels{})
	made := func(what, ask string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, h.made(ask)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	h.ask("arq_1", "money")
	made("asked", "arq_1", "channel chat asked", "channel hook asked")
	h.move("arq_1", func(a *approval.Ask) { a.Answers = append(a.Answers, approval.Answer{By: "person:anna", Yes: true}) })
	made("one of two has said yes", "arq_1", "channel chat asked", "channel hook asked")
	h.move("arq_1", func(a *approval.Ask) { a.Escalated = h.clock.now() })
	made("escalated", "arq_1", "channel chat asked", "channel chat escalated", "channel hook asked", "channel hook escalated")
	h.end("arq_1", approval.Denied)
	made("ended", "arq_1", "channel chat asked", "channel chat ended", "channel chat escalated", "channel hook asked", "channel hook ended", "channel hook escalated")

	h.ask("arq_2", "judged")
	made("an evaluator", "arq_2", "evaluator judge asked")
	h.ask("arq_3", "silent")
	made("nobody", "arq_3")
	h.ask("arq_4", "silent", func(a *approval.Ask) { a.Catalog = 99 })
	made("a catalog that is gone", "arq_4")
	h.ask("arq_5", "silent", func(a *approval.Ask) { a.Kind, a.Items[0].Routes = approval.CIBA, nil })
	made("an ask for a token goes by the default route", "arq_5", "channel chat asked", "channel hook asked")
	h.ask("arq_6", "judged", func(a *approval.Ask) { a.Kind = approval.CIBA })
	made("no evaluator answers for a person", "arq_6")
	h.ask("arq_7", "money", func(a *approval.Ask) {
		a.Items = append(a.Items, a.Items[0], a.Items[0])
		a.Items[1].Routes, a.Items[2].Routes = []string{"judged", "mailed", "unknown"}, []string{"money"}
	})
	made("several items", "arq_7", "channel chat asked", "channel hook asked", "channel mail asked", "evaluator judge asked")

	// What the desk has refused made nothing.
	wantKind(t, "asking again", h.commit(audit.ApprovalAsked, newAsk(h.clock.now(), "arq_3", "money")), authz.ErrConflict)
	made("a refused entry", "arq_3")
}

// Applying the log again, or on another replica, changes nothing and makes the same.
func TestReplay(t *testing.T) {
	srv := newReceiver(t)
	cs := notify.Channels{Channels: map[string]notify.Channel{"hook": {Webhook: srv.webhook("/in")}, "chat": {Webhook: srv.webhook("/in")}}}
	h := open(t, cs)
	h.ask("arq_1", "money")
	h.pass()
	h.ask("arq_2", "judged")
	h.pass()
	d := h.wantState("arq_2", "evaluator judge asked", notify.Dead)
	if _, err := h.Retry(t.Context(), "admin:root", "configured now", d.ID); err != nil {
		t.Fatal(err)
	}
	h.ask("arq_3", "lost")
	all := func(h *house) (ds []notify.Delivery) {
		t.Helper()
		ds, err := h.Deliveries(t.Context(), notify.Query{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return ds
	}
	want := all(h)
	replay := func(other *house) {
		t.Helper()
		segs, err := h.db.Segments(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segs {
			es, err := audit.DecodeSegment(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range es {
				_ = other.desk.Apply(t.Context(), e)
				wantKind(t, "Apply", other.Apply(t.Context(), e), nil)
			}
		}
	}
	replay(h)
	if diff := cmp.Diff(want, all(h)); diff != "" {
		t.Errorf("after a replay on the same database (-want +got):\n%s", diff)
	}
	other := open(t, cs)
	replay(other)
	got := all(other)
	for i := range got { // what attempts left behind is not in the log
		got[i].Version, want[i].Version = 0, 0
		got[i].NextAt, want[i].NextAt = time.Time{}, time.Time{}
		got[i].Error, want[i].Error = "", ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after a replay on an empty database (-want +got):\n%s", diff)
	}
}

// Two processes on one database, both awake, send each thing once.
func TestTwoSenders(t *testing.T) {
	srv := newReceiver(t)
	cs := notify.Channels{Channels: map[string]notify.Channel{"hook": {Webhook: srv.webhook("/in")}, "chat": {Webhook: srv.webhook("/in")}}}
	db, at := storetest.Open(t), newClock()
	hs := []*house{openOn(t, db, at, cs), openOn(t, db, at, cs)}
	for _, id := range []string{"arq_1", "arq_2", "arq_3", "arq_4", "arq_5"} {
		hs[0].ask(id, "money")
	}
	for _, h := range hs { // an entry of one's own is applied behind all others
		h.ask("arq_"+h.t.Name()+id(h, hs), "silent")
	}
	for range 5 {
		var wg sync.WaitGroup
		for _, h := range hs {
			wg.Go(h.pass)
		}
		wg.Wait()
	}
	seen := map[string]int{}
	for _, r := range srv.take() {
		seen[r.Header.Get("Webhook-Id")]++
	}
	if len(seen) != 10 {
		t.Errorf("%d different deliveries were sent, want 10", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("delivery %s was sent %d times, want once", id, n)
		}
	}
	if ends := hs[0].ends(); len(ends) != 10 {
		t.Errorf("%d ends are recorded, want 10", len(ends))
	}
}

func id(h *house, hs []*house) string {
	if h == hs[0] {
		return "first"
	}
	return "second"
}

// A process that dies between sending and recording leaves a delivery that is sent again, under the same id,
// when its claim has ended.
func TestSentAndNotRecorded(t *testing.T) {
	srv := newReceiver(t)
	cs := notify.Channels{Channels: map[string]notify.Channel{"hook": {Webhook: srv.webhook("/in")}, "chat": {Webhook: srv.webhook("/in"), Events: []string{"ended"}}}}
	db, at := storetest.Open(t), newClock()
	h := openOn(t, db, at, cs)
	h.log.fail = func(audit.Draft) error { return authz.Errorf(authz.ErrUnavailable, "dead") }
	h.ask("arq_1", "money")
	h.pass()
	first := srv.one(t)
	h.wantState("arq_1", "channel hook asked", notify.Waiting)

	other := openOn(t, db, at, cs)
	other.ask("arq_x", "silent")
	other.pass()
	if got := srv.take(); len(got) != 0 {
		t.Errorf("sent %d times while the claim held", len(got))
	}
	at.advance(notify.Lease)
	other.pass()
	again := srv.one(t)
	if got, want := again.Header.Get("Webhook-Id"), first.Header.Get("Webhook-Id"); got != want {
		t.Errorf("the second message has the id %q, want %q", got, want)
	}
	other.wantState("arq_1", "channel hook asked", notify.Told)

	// The first comes back and records its own end: it is too late, and nothing changes.
	d := other.all("arq_1")["channel hook asked"]
	err := other.commit(audit.ApprovalTold, map[string]any{"delivery": d.ID, "ask": d.Ask, "kind": d.Kind, "channel": d.Channel, "event": d.Event, "end": "dead", "attempts": 1})
	wantKind(t, "a second end", err, authz.ErrConflict)
	if diff := cmp.Diff(d, other.all("arq_1")["channel hook asked"]); diff != "" {
		t.Errorf("a second end changed the delivery (-want +got):\n%s", diff)
	}
}

// Entries that others could have written are refused as what they are, and never stop the log.
func TestForeignEnds(t *testing.T) {
	h := open(t, notify.Channels{})
	h.ask("arq_1", "money")
	d := h.all("arq_1")["channel hook asked"]
	good := func(change func(map[string]any)) map[string]any {
		m := map[string]any{"delivery": d.ID, "ask": d.Ask, "kind": d.Kind, "channel": d.Channel, "event": d.Event, "end": "told", "attempts": 1}
		change(m)
		return m
	}
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   error
	}{
		"another end": {func(m map[string]any) { m["end"] = "waiting" }, authz.ErrInvalid},
		"moot":        {func(m map[string]any) { m["end"] = "moot" }, authz.ErrInvalid},
		"another ask": {func(m map[string]any) { m["ask"] = "arq_2" }, authz.ErrInvalid},
		"no such delivery": {func(m map[string]any) {
			m["event"] = "ended"
			m["delivery"] = notify.DeliveryID("arq_1", notify.ToChannel, "hook", "ended")
		}, authz.ErrNotFound},
		"a number":         {func(m map[string]any) { m["end"] = 3 }, authz.ErrInvalid},
		"negative":         {func(m map[string]any) { m["attempts"] = -1 }, authz.ErrInvalid},
		"a long error":     {func(m map[string]any) { m["error"] = strings.Repeat("x", notify.MaxError+1) }, authz.ErrInvalid},
		"again, and alive": {func(m map[string]any) { m["end"] = "again"; m["why"] = "x" }, authz.ErrConflict},
		"again, no reason": {func(m map[string]any) { m["end"] = "again" }, authz.ErrInvalid},
	} {
		wantKind(t, name, h.commit(audit.ApprovalTold, good(c.change)), c.want)
	}
	h.wantState("arq_1", "channel hook asked", notify.Waiting)
	wantKind(t, "a good one", h.commit(audit.ApprovalTold, good(func(map[string]any) {})), nil)
	h.wantState("arq_1", "channel hook asked", notify.Told)
}

func FuzzApply(f *testing.F) {
	f.Add(`{"delivery":"dlv_00","ask":"arq_1","kind":"channel","channel":"hook","event":"asked","end":"told","attempts":1}`)
	f.Add(`{"end":"again","why":"x"}`)
	f.Fuzz(func(t *testing.T, body string) {
		n, err := notify.New(notify.Config{Store: nothing{}, Asks: &desk{}, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []audit.Kind{audit.ApprovalTold, audit.ApprovalAsked, audit.ApprovalMoved, audit.ApprovalAnswer, audit.DecisionMade} {
			err := n.Apply(t.Context(), audit.Entry{Seq: 1, Kind: k, Body: []byte(body)})
			if err != nil && !errors.Is(err, authz.ErrInvalid) && !errors.Is(err, authz.ErrNotFound) {
				t.Errorf("Apply of %s %q = %v, which would stop the log", k, body, err)
			}
		}
	})
}

// nothing is an empty store.
type nothing struct{ notify.Store }

func (nothing) Delivery(context.Context, string) (notify.Delivery, error) {
	return notify.Delivery{}, authz.Errorf(authz.ErrNotFound, "not found")
}

// When the ask has ended before anybody was told, nobody needs to be; when that was tried in vain, an
// operator must know.
func TestEndedBefore(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, notify.Channels{Channels: map[string]notify.Channel{"hook": {Webhook: srv.webhook("/in")}, "chat": {Webhook: srv.webhook("/in"), Events: []string{"asked"}}}})
	h.ask("arq_1", "money")
	h.end("arq_1", approval.Approved)
	h.pass()
	if got := srv.take(); len(got) != 0 {
		t.Errorf("told %d times of what has ended", len(got))
	}
	h.wantState("arq_1", "channel hook asked", notify.Moot)
	srv.status(http.StatusBadGateway)
	h.ask("arq_2", "money")
	h.pass()
	h.end("arq_2", approval.Expired)
	h.clock.advance(time.Hour)
	h.pass()
	if d := h.wantState("arq_2", "channel hook asked", notify.Dead); !strings.Contains(d.Error, "status 502") {
		t.Errorf("the reason is %q, want what went wrong before", d.Error)
	}
}

// A receiver that hangs holds up nobody else, and Run ends when it is told to.
func TestRun(t *testing.T) {
	hangs, well := newReceiver(t), newReceiver(t)
	release := make(chan struct{})
	hangs.answers(func(http.ResponseWriter, received) { <-release })
	told := make(chan string, 100)
	well.answers(func(_ http.ResponseWriter, r received) {
		var p struct{ Data struct{ Ask string } }
		_ = json.Unmarshal(r.Body, &p)
		told <- p.Data.Ask
	})
	h := open(t, notify.Channels{Channels: map[string]notify.Channel{"hook": {Webhook: hangs.webhook("/in")}, "chat": {Webhook: well.webhook("/in")}}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	want := map[string]bool{}
	for n := range 12 {
		id := "arq_" + string(rune('a'+n))
		want[id] = true
		h.ask(id, "money")
	}
	for len(want) > 0 {
		select {
		case id := <-told:
			delete(want, id)
		case <-time.After(20 * time.Second):
			t.Fatalf("never told of %v", slices.Sorted(maps.Keys(want)))
		}
	}
	stop()
	close(release)
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	srv := newReceiver(t)
	good := srv.webhook("/in")
	short := *good
	short.Secrets = [][]byte{[]byte("short")}
	plain := *good
	plain.URL = "http://example.com/"
	m := func(f func(*notify.Mail)) notify.Channel {
		mail := &notify.Mail{Host: "mail.example", Port: 587, TLS: notify.StartTLS, From: "a@b.example", To: []string{"c@d.example"}}
		f(mail)
		return notify.Channel{Mail: mail}
	}
	channel := func(c notify.Channel) notify.Channels {
		return notify.Channels{Channels: map[string]notify.Channel{"x": c}}
	}
	for name, cs := range map[string]notify.Channels{
		"nothing":            channel(notify.Channel{}),
		"two things":         channel(notify.Channel{Webhook: good, Slack: &notify.Slack{URL: good.URL, Client: good.Client}}),
		"a short secret":     channel(notify.Channel{Webhook: &short}),
		"no secret":          channel(notify.Channel{Webhook: &notify.Webhook{URL: good.URL, Client: good.Client}}),
		"no client":          channel(notify.Channel{Webhook: &notify.Webhook{URL: good.URL, Secrets: good.Secrets}}),
		"plain http":         channel(notify.Channel{Webhook: &plain}),
		"an unknown event":   channel(notify.Channel{Webhook: good, Events: []string{"viewed"}}),
		"a bad id":           {Channels: map[string]notify.Channel{"X Y": {Webhook: good}}},
		"no server":          channel(m(func(m *notify.Mail) { m.Host = "" })),
		"no port":            channel(m(func(m *notify.Mail) { m.Port = 0 })),
		"plain, elsewhere":   channel(m(func(m *notify.Mail) { m.TLS = notify.Plain })),
		"plain, a password":  channel(m(func(m *notify.Mail) { m.TLS, m.Host, m.Username = notify.Plain, "127.0.0.1", "u" })),
		"unknown tls":        channel(m(func(m *notify.Mail) { m.TLS = "opportunistic" })),
		"no sender":          channel(m(func(m *notify.Mail) { m.From = "" })),
		"a header in from":   channel(m(func(m *notify.Mail) { m.From = "a@b.example\r\nBcc: x@y.example" })),
		"nobody":             channel(m(func(m *notify.Mail) { m.To = nil })),
		"no address":         channel(m(func(m *notify.Mail) { m.To = []string{"everybody"} })),
		"a slow evaluator":   {Evaluators: map[string]notify.Evaluator{"x": {Webhook: *good, Timeout: time.Hour}}},
		"a callback nowhere": {Callbacks: map[string]notify.Callback{"gateway": {Secrets: good.Secrets, Client: good.Client}}},
		"a callback, plain":  {Callbacks: map[string]notify.Callback{"gateway": {Allow: []string{"http://a.example/"}, Secrets: good.Secrets, Client: good.Client}}},
		"a callback, query":  {Callbacks: map[string]notify.Callback{"gateway": {Allow: []string{"https://a.example/?x"}, Secrets: good.Secrets, Client: good.Client}}},
		"no callback secret": {Callbacks: map[string]notify.Callback{"gateway": {Allow: []string{"https://a.example/"}, Client: good.Client}}},
	} {
		if _, err := notify.New(notify.Config{Channels: cs}); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("New with %s = %v, want ErrInvalid", name, err)
		}
	}
	if _, err := notify.New(notify.Config{Channels: channel(m(func(*notify.Mail) {}))}); err != nil {
		t.Errorf("New with a good channel = %v", err)
	}
}
