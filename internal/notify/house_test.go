package notify_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/outbound"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// catalogText has a route for each way to be told.
const catalogText = `
approvers:
  finance:
    title: Finance
    members: [{type: user, id: anna}, {type: user, id: ben}, {type: user, id: cleo}]
  heads:
    title: Heads
    members: [{type: user, id: dora}]
approvals:
  default: money
  asks: {approver: 2}
  routes:
    money: {title: Money, approvers: [finance], escalate: [heads], after: 10m, break_glass: [heads], notify: [hook, chat]}
    judged: {title: Judged by a program, approvers: [finance], evaluator: judge}
    mailed: {title: By mail, approvers: [finance], escalate: [heads], after: 10m, notify: [mail]}
    silent: {title: Inbox only, approvers: [finance]}
    lost: {title: A channel that nobody configured, approvers: [finance], notify: [nowhere]}
`

// A desk keeps asks as the test says they are. As an applier it stands before the notifier.
type desk struct {
	mu      sync.Mutex
	asks    map[string]*approval.Ask
	next    map[string]func(*approval.Ask) // what the next entry about an ask does to it
	replies []reply
	answer  func(evaluator, id string, r approval.Reply) error
	may     func(a *approval.Ask, p approval.Person) bool
}

type reply struct {
	By, Ask string
	Reply   approval.Reply
}

func (d *desk) Apply(_ context.Context, e audit.Entry) error {
	var body struct{ ID, Ask string }
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return authz.Errorf(authz.ErrInvalid, "%v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e.Kind {
	case audit.ApprovalAsked:
		var a approval.Ask
		if err := json.Unmarshal(e.Body, &a); err != nil {
			return authz.Errorf(authz.ErrInvalid, "%v", err)
		}
		if d.asks[a.ID] != nil {
			return authz.Errorf(authz.ErrConflict, "there is such an ask")
		}
		a.Seq, a.AsOf, a.AskedAt = e.Seq, e.Seq, e.At
		if a.Status != approval.Pending {
			a.Ended = e.Seq
		}
		d.asks[a.ID] = &a
	case audit.ApprovalMoved, audit.ApprovalAnswer:
		a := d.asks[body.Ask]
		if a == nil {
			return authz.Errorf(authz.ErrNotFound, "no such ask")
		}
		b := *a
		b.Items = slices.Clone(a.Items)
		d.next[body.Ask](&b)
		b.AsOf = e.Seq
		if b.Status != approval.Pending && b.Ended == 0 {
			b.Ended = e.Seq
		}
		d.asks[body.Ask] = &b
	}
	return nil
}

func (d *desk) Get(_ context.Context, id string) (*approval.Ask, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.asks[id]; a != nil {
		return a, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no such ask")
}

func (d *desk) Standing(_ context.Context, a *approval.Ask, p approval.Person) (s approval.Standing, err error) {
	if d.may == nil || d.may(a, p) {
		s.Routes = a.Items[0].Routes
	}
	return s, nil
}

func (d *desk) AnswerAs(_ context.Context, evaluator, id string, r approval.Reply) (*approval.Ask, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replies = append(d.replies, reply{evaluator, id, r})
	if d.answer != nil {
		return nil, d.answer(evaluator, id, r)
	}
	return d.asks[id], nil
}

// persons are whom messages can go to.
type persons []*people.Person

func (ps persons) People() []*people.Person { return ps }
func (ps persons) Person(id string) (*people.Person, error) {
	for _, p := range ps {
		if p.ID == id {
			return p, nil
		}
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no such person")
}

// commits hands drafts to a follower that is made later, and fails if the test says so.
type commits struct {
	*audit.Follower
	fail func(audit.Draft) error
}

func (c *commits) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	if c.fail != nil {
		if err := c.fail(d); err != nil {
			return 0, err
		}
	}
	return c.Follower.Commit(ctx, d)
}

// A house is one process on a database and a log.
type house struct {
	*notify.Notifier
	t     *testing.T
	db    *store.DB
	desk  *desk
	log   *commits
	clock *clock
}

// A clock is moved by the test.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// open returns a process on a new database.
func open(t *testing.T, cs notify.Channels) *house {
	t.Helper()
	return openOn(t, storetest.Open(t), newClock(), cs)
}

// openOn returns one more process on a database.
func openOn(t *testing.T, db *store.DB, at *clock, cs notify.Channels) *house {
	t.Helper()
	key, err := audit.NewKey(bytes.NewReader(bytes.Repeat([]byte{7}, 1024)), "asks.example") // that of all processes
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.New(db, audit.Config{Key: key, Now: at.now, Heartbeat: -1, CheckpointEvery: time.Hour, Poll: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Parse("catalog.yaml", []byte(catalogText))
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, db: db, log: &commits{}, clock: at, desk: &desk{asks: map[string]*approval.Ask{}, next: map[string]func(*approval.Ask){}}}
	var who persons
	for _, id := range []string{"anna", "ben", "cleo", "dora"} {
		who = append(who, &people.Person{ID: id, Name: strings.ToUpper(id), Email: id + "@people.example"})
	}
	who = append(who, &people.Person{ID: "eve", Email: "eve@people.example", Disabled: true}, &people.Person{ID: "fay"})
	h.Notifier, err = notify.New(notify.Config{Store: db, Log: h.log, Asks: h.desk, People: who, Channels: cs, Now: at.now, Public: "https://pdp.example.com/",
		Catalog: func(_ context.Context, version int64) (*catalog.Catalog, error) {
			if version != 1 {
				return nil, authz.Errorf(authz.ErrNotFound, "no version %d", version)
			}
			return c, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	h.log.Follower = audit.NewFollower(l, audit.FollowerConfig{Appliers: []audit.Applier{h.desk, h.Notifier}})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Errorf("Log.Run: %v", err)
		}
	})
	running.Go(func() {
		if err := h.log.Run(ctx); err != nil {
			t.Errorf("Follower.Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return h
}

// commit records an entry and waits until it is applied.
func (h *house) commit(kind audit.Kind, body any) error {
	h.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = h.log.Follower.Commit(h.t.Context(), audit.Draft{Kind: kind, Actor: "pep:gateway", Body: b})
	return err
}

// ask records an ask by a route.
func (h *house) ask(id, route string, change ...func(*approval.Ask)) {
	h.t.Helper()
	if err := h.commit(audit.ApprovalAsked, newAsk(h.clock.now(), id, route, change...)); err != nil {
		h.t.Fatalf("asking %s: %v", id, err)
	}
}

// newAsk returns what an agent asks.
func newAsk(at time.Time, id, route string, change ...func(*approval.Ask)) *approval.Ask {
	a := &approval.Ask{
		ID: id, Kind: approval.Access, Agent: "invoice-bot", Owner: "olga", Session: "s1", PEP: "gateway", Requester: "pep:gateway", Catalog: 1,
		Bound: approval.Bound{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "invoice-bot"}}, Context: authz.Claimed(`{"purpose":"month end"}`)},
		Items: []approval.Item{{
			Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount":"1200.50","to":"CH93"}`)},
			Resource: authz.Entity{Ref: authz.Ref{Type: "account", ID: "acme"}}, Routes: []string{route}, Data: authz.Confidential, Labels: []string{"financial"}, Status: approval.Pending,
		}},
		Justification: "The invoice is due today.", AskedAt: at, ExpiresAt: at.Add(48 * time.Hour), Status: approval.Pending,
	}
	for _, f := range change {
		f(a)
	}
	return a
}

// move records that something happened to an ask.
func (h *house) move(id string, f func(*approval.Ask)) {
	h.t.Helper()
	h.desk.mu.Lock()
	h.desk.next[id] = f
	h.desk.mu.Unlock()
	if err := h.commit(audit.ApprovalMoved, map[string]string{"ask": id, "to": "x"}); err != nil {
		h.t.Fatalf("moving %s: %v", id, err)
	}
}

// end ends an ask.
func (h *house) end(id string, s approval.Status) {
	h.t.Helper()
	h.move(id, func(a *approval.Ask) { a.Status, a.ClosedAt = s, h.clock.now() })
}

// pass makes one attempt at what is due.
func (h *house) pass() {
	h.t.Helper()
	if err := h.Pass(h.t.Context()); err != nil {
		h.t.Fatalf("Pass: %v", err)
	}
}

// all returns the deliveries of an ask, by kind, channel and event.
func (h *house) all(ask string) map[string]notify.Delivery {
	h.t.Helper()
	ds, err := h.Deliveries(h.t.Context(), notify.Query{Ask: ask}, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	m := map[string]notify.Delivery{}
	for _, d := range ds {
		m[string(d.Kind)+" "+d.Channel+" "+d.Event] = d
	}
	return m
}

// wantState fails unless the delivery is in that state.
func (h *house) wantState(ask, what string, want notify.State) notify.Delivery {
	h.t.Helper()
	d, ok := h.all(ask)[what]
	if !ok {
		h.t.Fatalf("ask %s has no delivery %q: %v", ask, what, h.all(ask))
	}
	if d.State != want {
		h.t.Errorf("%s of %s is %s (%q), want %s", what, ask, d.State, d.Error, want)
	}
	return d
}

// ends returns the bodies of the approval.delivered entries.
func (h *house) ends() (all []map[string]any) {
	h.t.Helper()
	segs, err := h.db.Segments(h.t.Context(), 0, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range segs {
		es, err := audit.DecodeSegment(s)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, e := range es {
			if e.Kind != audit.ApprovalTold {
				continue
			}
			var m map[string]any
			if err := json.Unmarshal(e.Body, &m); err != nil {
				h.t.Fatal(err)
			}
			all = append(all, m)
		}
	}
	return all
}

// A receiver is a server that keeps what it is sent.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	answer func(w http.ResponseWriter, r received)
}

type received struct {
	Path   string
	Header http.Header
	Body   []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("reading what was sent: %v", err)
		}
		got := received{req.URL.Path, req.Header.Clone(), body}
		r.mu.Lock()
		r.got = append(r.got, got)
		answer := r.answer
		r.mu.Unlock()
		if answer != nil {
			answer(w, got)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// answers sets what it answers from now on.
func (r *receiver) answers(f func(w http.ResponseWriter, got received)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// status makes it answer with a status only.
func (r *receiver) status(code int) {
	r.answers(func(w http.ResponseWriter, _ received) { w.WriteHeader(code) })
}

// take returns what it was sent since it was last asked.
func (r *receiver) take() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// one fails unless it was sent just one thing, and returns that.
func (r *receiver) one(t *testing.T) received {
	t.Helper()
	got := r.take()
	if len(got) != 1 {
		t.Fatalf("received %d messages, want 1", len(got))
	}
	return got[0]
}

func (r *receiver) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(r.Certificate())
	return pool
}

// client reaches the receiver although it is on loopback.
func (r *receiver) client() *outbound.Client {
	return outbound.New(outbound.Config{RootCAs: r.pool(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: 5 * time.Second, MaxBytes: 64 << 10})
}

func (r *receiver) certificates() []tls.Certificate { return r.Server.TLS.Certificates }

// secret is what is shared with receivers.
var secret = []byte("0123456789abcdef0123456789abcdef")

func (r *receiver) webhook(path string) *notify.Webhook {
	return &notify.Webhook{URL: r.URL + path, Secrets: [][]byte{secret}, Client: r.client()}
}

func wantKind(t *testing.T, what string, err, want error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}
