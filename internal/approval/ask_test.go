package approval_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
)

func TestAsk(t *testing.T) {
	w := open(t, organisation)
	a, joined, err := w.Ask(ctx, about(payment(), 5, "late", "one"))
	wantKind(t, "Ask", err, nil)
	if joined || a.Status != approval.Pending || a.Seq != 1 || a.AsOf != 1 || !a.AskedAt.Equal(start) || !a.ExpiresAt.Equal(start.Add(30*time.Minute)) {
		t.Errorf("ask = %s, want a new one that is pending until the first route ends", text(a))
	}
	if !strings.HasPrefix(a.ID, "arq_") || len(a.ID) != 30 {
		t.Errorf("id = %q, want arq_ and 26 characters", a.ID)
	}
	b := about(payment(), 0, "one")
	b.Kind, b.Person = approval.CIBA, "zoe"
	b.ExpiresAt = start.Add(2 * time.Minute)
	made, _, err := w.Ask(ctx, b)
	wantKind(t, "Ask of kind ciba", err, nil)
	if !made.ExpiresAt.Equal(b.ExpiresAt) {
		t.Errorf("it expires at %v, want %v", made.ExpiresAt, b.ExpiresAt)
	}
	again, joined, err := w.Ask(ctx, b)
	wantKind(t, "Ask of kind ciba again", err, nil)
	if joined || again.ID == made.ID {
		t.Errorf("it was joined to %s, want that each token is authorized by itself", made.ID)
	}
	w.agree()
}

func TestAskRefuses(t *testing.T) {
	w := open(t, organisation)
	long := strings.Repeat("x", approval.MaxText+1)
	for _, c := range []struct {
		name   string
		change func(*approval.Ask)
	}{
		{"no kind", func(a *approval.Ask) { a.Kind = "" }},
		{"no act", func(a *approval.Ask) { a.Items = nil }},
		{"two acts, not in bulk", func(a *approval.Ask) { a.Items = append(a.Items, a.Items[0]) }},
		{"too many acts", func(a *approval.Ask) { a.Bulk, a.Items = true, make([]approval.Item, approval.MaxItems+1) }},
		{"no route", func(a *approval.Ask) { a.Items[0].Routes = nil }},
		{"an unknown route", func(a *approval.Ask) { a.Items[0].Routes = []string{"one", "none"} }},
		{"no catalog", func(a *approval.Ask) { a.Catalog = 0 }},
		{"no action", func(a *approval.Ask) { a.Items[0].Action.Name = "" }},
		{"no resource", func(a *approval.Ask) { a.Items[0].Resource.Type = "" }},
		{"no subject", func(a *approval.Ask) { a.Bound.Subject.ID = "" }},
		{"another agent", func(a *approval.Ask) { a.Agent = "other" }},
		{"no requester", func(a *approval.Ask) { a.Requester = "" }},
		{"a requester with control characters", func(a *approval.Ask) { a.Requester = "pep:\x1b[2J" }},
		{"too long a justification", func(a *approval.Ask) { a.Justification = long }},
		{"arguments that are no object", func(a *approval.Ask) { a.Items[0].Action.Properties = authz.Claimed(`[1]`) }},
		{"arguments with a member twice", func(a *approval.Ask) { a.Items[0].Action.Properties = authz.Claimed(`{"a":1,"a":2}`) }},
		{"arguments that are too long", func(a *approval.Ask) {
			a.Items[0].Action.Properties = authz.Claimed(fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", approval.MaxAsk)))
		}},
		{"a client that says too much", func(a *approval.Ask) {
			a.Client = json.RawMessage(fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 100_000)))
		}},
		{"members that are not sorted", func(a *approval.Ask) { a.Bound.Members = []string{"b", "a"} }},
		{"what would be over", func(a *approval.Ask) { a.RequestedUntil = start }},
		{"access that a person authorizes", func(a *approval.Ask) { a.Person = "zoe" }},
		{"a token that nobody authorizes", func(a *approval.Ask) { a.Kind = approval.CIBA }},
	} {
		a := about(payment(), 1, "one")
		c.change(&a)
		if _, _, err := w.Ask(ctx, a); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: error %v, want ErrInvalid", c.name, err)
		}
	}
	a := about(payment(), 1, "one")
	a.Catalog = 8
	_, _, err := w.Ask(ctx, a)
	wantKind(t, "Ask by a version that is none", err, authz.ErrNotFound)
	if n := len(w.log.entries); n != 0 {
		t.Errorf("%d entries are recorded of what was refused, want none", n)
	}
}

func TestJoin(t *testing.T) {
	w := open(t, organisation)
	other := w.another()
	first := w.ask("one")
	again := func(d *approval.Desk, decision int64, change func(*approval.Ask)) (*approval.Ask, bool) {
		t.Helper()
		a := about(payment(), decision, "one")
		if change != nil {
			change(&a)
		}
		got, joined, err := d.Ask(ctx, a)
		wantKind(t, "Ask", err, nil)
		return got, joined
	}
	for i, d := range []*approval.Desk{w.Desk, other, w.Desk} {
		got, joined := again(d, int64(i+10), func(a *approval.Ask) {
			a.Session, a.Justification = "s2", "Please!"
			a.Items[0].Action.Properties = authz.Claimed(`{ "to": "de1", "amount": 4e2 }`)
		})
		if !joined || got.ID != first.ID || got.Joined != int64(i+1) {
			t.Errorf("ask %d: %s, joined %v, %d, want it joined to %s", i, got.ID, joined, got.Joined, first.ID)
		}
	}
	for what, change := range map[string]func(*approval.Ask){
		"another requester":  func(a *approval.Ask) { a.Requester = "pep:other" },
		"another amount":     func(a *approval.Ask) { a.Items[0].Action.Properties = authz.Claimed(`{"to":"de1","amount":401}`) },
		"another class":      func(a *approval.Ask) { a.Items[0].Data = authz.Restricted },
		"another purpose":    func(a *approval.Ask) { a.Bound.Context = authz.Claimed(`{"purpose":"fun"}`) },
		"for somebody":       func(a *approval.Ask) { a.Bound.OnBehalf = []authz.Ref{{Type: "user", ID: "x"}} },
		"by another route":   func(a *approval.Ask) { a.Items[0].Routes = []string{"two"} },
		"another callback":   func(a *approval.Ask) { a.Callback = &approval.Callback{Endpoint: "https://x.example"} },
		"another agent asks": func(a *approval.Ask) { a.Agent, a.Bound.Subject.ID = "other", "other" },
	} {
		if got, joined := again(w.Desk, int64(len(w.log.entries)+100), change); joined || got.ID == first.ID {
			t.Errorf("%s: it was joined to %s, want a new ask", what, got.ID)
		}
	}
	// What has ended is not joined to.
	w.approve(first, who("anna"))
	got, joined := again(w.Desk, 50, nil)
	if joined || got.ID == first.ID {
		t.Errorf("after its end it was joined to %s, want a new ask", got.ID)
	}
	w.log.pass(time.Hour)
	late, joined := again(w.Desk, 51, nil)
	if joined || late.ID == got.ID {
		t.Errorf("after its time it was joined to %s, want a new ask", got.ID)
	}
	w.agree()
}

// A replica that has not heard of an ask yet records its own; applied, it is joined.
func TestJoinAcrossReplicas(t *testing.T) {
	w := open(t, organisation)
	slow := w.another()
	w.log.behind = 1
	first := w.ask("one")
	w.log.behind = 0
	// The slow replica draws its entry before it applies the first one's.
	cfg := w.cfg
	cfg.Log = committer(func(ctx context.Context, d audit.Draft) (int64, error) {
		w.log.mu.Lock()
		e := w.log.entries[0]
		w.log.mu.Unlock()
		if err := slow.Apply(ctx, e); err != nil {
			t.Error(err)
		}
		return w.log.Commit(ctx, d)
	})
	*slow = *approval.New(cfg)
	got, joined, err := slow.Ask(ctx, about(payment(), 3, "one"))
	wantKind(t, "Ask", err, nil)
	if !joined || got.ID != first.ID || got.Joined < 1 {
		t.Errorf("ask = %s, joined %v, want it joined to %s", text(got), joined, first.ID)
	}
	w.agree()
}

type committer func(context.Context, audit.Draft) (int64, error)

func (f committer) Commit(ctx context.Context, d audit.Draft) (int64, error) { return f(ctx, d) }

func TestKeysAndDecisions(t *testing.T) {
	w := open(t, organisation)
	w.another()
	key := func(key, print string, decision int64) (*approval.Ask, bool, error) {
		a := about(payment(), decision, "one")
		a.Key, a.Print = key, print
		return w.Ask(ctx, a)
	}
	first, _, err := key("k1", "p1", 1)
	wantKind(t, "Ask", err, nil)
	got, joined, err := key("k1", "p1", 1)
	wantKind(t, "Ask again", err, nil)
	if !joined || got.ID != first.ID || got.Joined != 0 {
		t.Errorf("the same key: %s, joined %v, %d, want the same ask as it is", got.ID, joined, got.Joined)
	}
	_, _, err = key("k1", "p2", 1)
	wantKind(t, "the key of another submission", err, approval.ErrKeyTaken)
	got, joined, err = key("k3", "p3", 2)
	wantKind(t, "the same act by another key", err, nil)
	if !joined || got.ID != first.ID || got.Joined != 1 {
		t.Errorf("another key: %s, joined %v, %d, want it joined", got.ID, joined, got.Joined)
	}
	w.approve(first, who("anna"))
	got, joined, err = key("k3", "p3", 2)
	wantKind(t, "the key of what was joined, after the end", err, nil)
	if !joined || got.ID != first.ID || got.Joined != 1 {
		t.Errorf("the key of what was joined: %s, joined %v, %d, want the same ask as it is", got.ID, joined, got.Joined)
	}
	_, _, err = key("k3", "p4", 2)
	wantKind(t, "that key of another submission", err, approval.ErrKeyTaken)
	if kept, err := w.Keyed("k3"); err != nil || kept.ID != first.ID || kept.Key != "k3" || kept.Print != "p3" {
		t.Errorf("Keyed = %+v, %v, want the ask by that key", kept, err)
	}
	got, joined, err = key("k1", "p1", 1)
	wantKind(t, "Ask after the end", err, nil)
	if !joined || got.ID != first.ID || got.Status != approval.Approved {
		t.Errorf("the same key, after the end: %s, joined %v, %s, want the approved ask", got.ID, joined, got.Status)
	}
	_, _, err = key("k2", "p1", 1)
	wantKind(t, "the decision of an ask that has ended", err, approval.ErrDecisionUsed)
	_, _, err = key("", "", 1)
	wantKind(t, "the same without a key", err, approval.ErrDecisionUsed)

	// What is not retained any more does not count.
	w.log.pass(approval.Retention + time.Hour)
	_, joined, err = key("k1", "p3", 1)
	wantKind(t, "a day later", err, nil)
	if joined {
		t.Errorf("a day later it was joined, want a new ask")
	}
	w.agree()
}

func TestTooManyAsks(t *testing.T) {
	w := open(t, organisation)
	w.another()
	var last *approval.Ask
	one := func(i int, agent string) error {
		req := payment()
		req.Subject.ID = agent
		req.Resource.ID = fmt.Sprint("de", i)
		a, joined, err := w.Ask(ctx, about(req, int64(i), "one"))
		if err == nil && !joined && agent == "payer" {
			last = a
		}
		return err
	}
	for i := range 200 {
		wantKind(t, "Ask", one(i, "payer"), nil)
	}
	wantKind(t, "one more", one(200, "payer"), authz.ErrForbidden)
	wantKind(t, "a joined one", one(199, "payer"), nil)
	wantKind(t, "another agent's", one(201, "other"), nil)
	if got := w.Asks("payer", "s1", start); got != (authz.Asks{Session: 200, Hour: 200, Pending: 200}) {
		t.Errorf("Asks = %+v, want 200 each", got)
	}
	_, err := w.Cancel(ctx, "pep:gate", last.ID, "", "")
	wantKind(t, "Cancel", err, nil)
	wantKind(t, "one more for one that has ended", one(300, "payer"), nil)
	wantKind(t, "and one too many", one(301, "payer"), authz.ErrForbidden)
	w.agree()
}

// A flood of the same ask is one ask, and a trickle in the log.
func TestFlood(t *testing.T) {
	w := open(t, organisation)
	first := w.ask("one")
	var n atomic.Int64
	var asking sync.WaitGroup
	for range 500 {
		asking.Go(func() {
			a, joined, err := w.Ask(ctx, about(payment(), n.Add(1), "one"))
			if err != nil || !joined || a.ID != first.ID {
				t.Errorf("Ask = %v, %v, %v, want it joined", a, joined, err)
			}
		})
	}
	asking.Wait()
	a, err := w.Get(ctx, first.ID)
	wantKind(t, "Get", err, nil)
	if a.Joined != 500 {
		t.Errorf("%d are joined, want 500", a.Joined)
	}
	w.agree()
}

func TestAsks(t *testing.T) {
	w := open(t, organisation)
	asks := func(session string, want authz.Asks) {
		t.Helper()
		if got := w.Asks("payer", session, w.log.Now()); got != want {
			t.Errorf("Asks of session %q = %+v, want %+v", session, got, want)
		}
	}
	asks("s1", authz.Asks{})
	a := w.ask("one")
	asks("s1", authz.Asks{Session: 1, Hour: 1, Pending: 1})
	asks("s2", authz.Asks{Hour: 1, Pending: 1})
	asks("", authz.Asks{Hour: 1, Pending: 1})
	w.approve(a, who("anna"))
	asks("s1", authz.Asks{Session: 1, Hour: 1})
	w.log.pass(time.Hour)
	asks("s1", authz.Asks{Session: 1})
	if got := w.Asks("stranger", "s1", start); got != (authz.Asks{}) {
		t.Errorf("Asks of a stranger = %+v, want none", got)
	}
	w.log.pass(2 * approval.Retention)
	w.ask("two")
	wantKind(t, "Sweep", w.Sweep(ctx), nil)
	asks("s1", authz.Asks{Session: 1, Hour: 1, Pending: 1})
	got, err := w.Get(ctx, a.ID)
	wantKind(t, "Get of an old ask", err, nil)
	if diff := cmp.Diff(approval.Approved, got.Status); diff != "" {
		t.Errorf("status of an old ask (-want +got):\n%s", diff)
	}
	_, err = w.Get(ctx, "arq_none")
	wantKind(t, "Get of none", err, authz.ErrNotFound)
	_, err = w.Revoke(ctx, "admin:anna", a.ID, "why")
	wantKind(t, "Revoke of an old ask", err, authz.ErrConflict)
}
