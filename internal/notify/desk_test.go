package notify_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
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
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// At the real desk: an evaluator approves what its route lets it approve, persons are told who may answer,
// and the enforcement point is called back.
func TestAtTheDesk(t *testing.T) {
	ctx := t.Context()
	srv := newReceiver(t)
	office := newPostOffice(t, true, false)
	m := office.channel()
	m.Approvers = true
	at := newClock()
	db := storetest.Open(t)
	c, err := catalog.Parse("catalog.yaml", []byte(`
approvers:
  finance: {title: Finance, members: [{type: user, id: anna}, {type: user, id: ben}]}
  heads: {title: Heads, members: [{type: user, id: dora}]}
approvals:
  routes:
    judged: {title: A program first, approvers: [finance], evaluator: judge, notify: [mail], pending: 1h, escalate: [heads], after: 10m}
`))
	if err != nil {
		t.Fatal(err)
	}
	catalogs := func(context.Context, int64) (*catalog.Catalog, error) { return c, nil }
	log := &commits{}
	d := approval.New(approval.Config{Store: db, Log: log, Catalog: catalogs, Now: at.now})
	if err := d.Load(ctx); err != nil {
		t.Fatal(err)
	}
	var who persons
	for _, id := range []string{"anna", "ben", "cleo", "dora"} {
		who = append(who, &people.Person{ID: id, Email: id + "@people.example"})
	}
	n, err := notify.New(notify.Config{Store: db, Log: log, Asks: d, People: who, Catalog: catalogs, Now: at.now, Public: "https://pdp.example.com", Channels: notify.Channels{
		Channels:   map[string]notify.Channel{"mail": {Mail: m}},
		Evaluators: map[string]notify.Evaluator{"judge": {Webhook: *srv.webhook("/judge")}},
		Callbacks:  map[string]notify.Callback{"gateway": {Allow: []string{srv.URL + "/done"}, Secrets: [][]byte{secret}, Client: srv.client()}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.NewKey(bytes.NewReader(bytes.Repeat([]byte{7}, 1024)), "asks.example")
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.New(db, audit.Config{Key: key, Now: at.now, Heartbeat: -1, CheckpointEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	log.Follower = audit.NewFollower(l, audit.FollowerConfig{Appliers: []audit.Applier{d, n}})
	runCtx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = l.Run(runCtx) })
	running.Go(func() { _ = log.Run(runCtx) })
	t.Cleanup(func() { stop(); running.Wait() })

	ask := func(payee string) *approval.Ask {
		t.Helper()
		a := newAsk(at.now(), "", "judged")
		a.Items[0].Action.Properties = authz.Claimed(`{"to":"` + payee + `"}`)
		a.Callback = &approval.Callback{Endpoint: srv.URL + "/done"}
		got, _, err := d.Ask(ctx, *a)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	pass := func() {
		t.Helper()
		if err := n.Pass(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// paths returns where messages went.
	paths := func() (ps []string) {
		for _, r := range srv.take() {
			ps = append(ps, r.Path)
		}
		slices.Sort(ps)
		return ps
	}
	srv.answers(func(w http.ResponseWriter, r received) {
		if r.Path == "/judge" {
			verdict := "abstain"
			if bytes.Contains(r.Body, []byte(`"to":"known"`)) {
				verdict = "approve"
			}
			id := between(string(r.Body), `"ask":"`, `"`)
			sign(w, secret, r.Header.Get("Webhook-Id"), at.now(), `{"ask":"`+id+`","verdict":"`+verdict+`"}`)
		}
	})

	known := ask("known")
	pass()
	pass()
	if got := paths(); !slices.Equal(got, []string{"/done", "/judge"}) {
		t.Errorf("sent to %v, want the evaluator, and then a callback", got)
	}
	if a, err := d.Get(ctx, known.ID); err != nil || a.Status != approval.Approved || a.Answers[0].By != "evaluator:judge" {
		t.Errorf("the ask is %+v, %v; want it approved by the evaluator", a, err)
	}
	office.take()

	strange := ask("stranger")
	pass()
	if got := paths(); !slices.Equal(got, []string{"/judge"}) {
		t.Errorf("sent to %v, want the evaluator only", got)
	}
	if _, to := office.take(); !slices.Equal(to, []string{"anna", "ben"}) {
		t.Errorf("mailed to %v, want those who may answer", to)
	}
	if a, err := d.Get(ctx, strange.ID); err != nil || a.Status != approval.Pending {
		t.Errorf("the ask is %+v, %v; want it left to people", a, err)
	}
	view, err := d.View(ctx, approval.Person{ID: "anna"}, strange.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Answer(ctx, approval.Person{ID: "anna"}, strange.ID, approval.Reply{View: view.Seq}); err != nil {
		t.Fatal(err)
	}
	pass()
	if got := srv.take(); len(got) != 1 || !bytes.Contains(got[0].Body, []byte(`"status":"denied"`)) {
		t.Errorf("called back %d times, want once that it was denied", len(got))
	}
	for _, id := range []string{known.ID, strange.ID} {
		ds, err := n.Deliveries(ctx, notify.Query{Ask: id, State: notify.Waiting}, 10)
		if err != nil || len(ds) != 0 {
			t.Errorf("of ask %s there wait %+v, %v; want nothing", id, ds, err)
		}
	}
	if _, err := n.Delivery(ctx, "dlv_none"); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("Delivery of none = %v, want ErrNotFound", err)
	}
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}
