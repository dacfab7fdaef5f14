package approval_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// What a passkey signs is the text of docs/log-format.md, letter by letter.
func TestDigest(t *testing.T) {
	a := about(payment(), 1, "one")
	a.ID, a.Bulk = "arq_aaaaaaaaaaaaaaaaaaaaaaaaaa", true
	a.Bound.OnBehalf = []authz.Ref{{Type: "user", ID: "Zoë \"<zoe>\"\n"}}
	second := a.Items[0]
	second.Resource.ID = "de2"
	a.Items = append(a.Items, second)
	s := approval.Scope{
		Uses: 3, Until: time.Date(2026, 11, 27, 18, 0, 0, 0, time.FixedZone("", 3600)), Class: true,
		Amounts: map[string]string{"fee": "1", "amount": "500"},
	}
	const act0, act1 = "Ogt_zY-Wv3rig8LBOGLSWIA3hTpNl0BP5HUU6V2EHtE", "bPsBDCl16rb02ZXVb08hn1QKYuEpKL9A7j6ajsaSLS8"
	is := func(what string, got [32]byte, lines ...string) {
		t.Helper()
		text := strings.Join(lines, "\n") + "\n"
		if want := sha256.Sum256([]byte(text)); got != want {
			t.Errorf("%s: digest %x, want %x of\n%s", what, got, want, text)
		}
	}
	is("a yes to all", approval.Digest(&a, true, nil, s, 41),
		"safeconduct-answer/1", "ask arq_aaaaaaaaaaaaaaaaaaaaaaaaaa", "view 41", "answer yes", "uses 3", "until 2026-11-27T17:00:00Z",
		"class true", "arguments false", `amount "amount" "500"`, `amount "fee" "1"`, `behalf "user" "Zoë \"<zoe>\"\n"`,
		"act 0 "+act0, "act 1 "+act1)
	is("a no to the second", approval.Digest(&a, false, []int{1}, approval.Scope{}, 7),
		"safeconduct-answer/1", "ask arq_aaaaaaaaaaaaaaaaaaaaaaaaaa", "view 7", "answer no", "uses 1", "until -",
		"class false", "arguments false", `behalf "user" "Zoë \"<zoe>\"\n"`, "act 1 "+act1)
	why := sha256.Sum256([]byte("the plant stands still\n"))
	is("broken glass", approval.GlassDigest(&a, "the plant stands still\n", 7),
		"safeconduct-answer/1", "ask arq_aaaaaaaaaaaaaaaaaaaaaaaaaa", "view 7", "answer yes", "break_glass "+hex.EncodeToString(why[:]), "uses 1", "until -",
		"class false", "arguments false", `behalf "user" "Zoë \"<zoe>\"\n"`, "act 0 "+act0, "act 1 "+act1)
	a.Kind, a.Person, a.Message, a.Details, a.Bound.OnBehalf = approval.CIBA, "zoe", "W4SCT", json.RawMessage(`[ {"type": "capability"} ]`), nil
	sum := sha256.Sum256([]byte(`[{"type":"capability"}]`))
	is("a token", approval.Digest(&a, true, []int{0}, approval.Scope{}, 7),
		"safeconduct-answer/1", "ask arq_aaaaaaaaaaaaaaaaaaaaaaaaaa", "view 7", "answer yes", "uses 1", "until -",
		"class false", "arguments false", `person "zoe"`, `message "W4SCT"`, "details "+hex.EncodeToString(sum[:]), "act 0 "+act0)
}

// The digest says everything that an answer does: two answers that differ have two digests.
func TestDigestTellsApart(t *testing.T) {
	a := about(payment(), 1, "one")
	a.ID, a.Bulk, a.Items = "arq_a", true, append(a.Items, a.Items[0])
	seen := map[[32]byte]string{}
	note := func(what string, d [32]byte) {
		t.Helper()
		if other, ok := seen[d]; ok {
			t.Errorf("%s has the digest of %s", what, other)
		}
		seen[d] = what
	}
	add := func(what string, a *approval.Ask, yes bool, items []int, s approval.Scope, view int64) {
		t.Helper()
		note(what, approval.Digest(a, yes, items, s, view))
	}
	add("yes", &a, true, nil, approval.Scope{}, 1)
	add("no", &a, false, nil, approval.Scope{}, 1)
	add("another view", &a, true, nil, approval.Scope{}, 2)
	add("the first", &a, true, []int{0}, approval.Scope{}, 1)
	add("the second", &a, true, []int{1}, approval.Scope{}, 1)
	add("two uses", &a, true, nil, approval.Scope{Uses: 2}, 1)
	add("any uses", &a, true, nil, approval.Scope{Uses: -1}, 1)
	add("a class", &a, true, nil, approval.Scope{Class: true}, 1)
	add("arguments", &a, true, nil, approval.Scope{Arguments: true}, 1)
	add("an amount", &a, true, nil, approval.Scope{Amounts: map[string]string{"a": "1"}}, 1)
	add("another amount", &a, true, nil, approval.Scope{Amounts: map[string]string{"a": "2"}}, 1)
	add("an end", &a, true, nil, approval.Scope{Until: start}, 1)
	note("broken glass", approval.GlassDigest(&a, "fire", 1))
	note("glass broken for another reason", approval.GlassDigest(&a, "flood", 1))
	note("glass broken for no reason", approval.GlassDigest(&a, "", 1))
	note("glass broken after another view", approval.GlassDigest(&a, "fire", 2))
	b := a
	b.ID = "arq_b"
	add("another ask", &b, true, nil, approval.Scope{}, 1)
	note("the glass of another ask", approval.GlassDigest(&b, "fire", 1))
	b = a
	b.Bound.OnBehalf = []authz.Ref{{Type: "user", ID: "x"}}
	add("for somebody", &b, true, nil, approval.Scope{}, 1)
	b = a
	b.Bound.Context = authz.Claimed(`{"purpose":"fun"}`)
	add("for another purpose", &b, true, nil, approval.Scope{}, 1)
}

// The log holds no more of a person's claims than the groups need.
func TestClaimsAreFew(t *testing.T) {
	w := open(t, organisation)
	a := w.ask("one")
	_, err := w.answer(a, who("zoe", "sales", "finance"), yes)
	wantKind(t, "Answer", err, nil)
	last := w.log.entries[len(w.log.entries)-1]
	var body struct {
		Claims map[string][]string `json:"claims"`
	}
	if err := json.Unmarshal(last.Body, &body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"groups": {"finance"}}, body.Claims); diff != "" || last.Kind != audit.ApprovalAnswer {
		t.Errorf("claims in %s (-want +got):\n%s", last.Kind, diff)
	}
}

// An entry that says what its actor may not changes nothing.
func TestForgedEntries(t *testing.T) {
	w := open(t, organisation)
	w.another()
	a := w.ask("key")
	v, err := w.View(ctx, who("anna"), a.ID)
	wantKind(t, "View", err, nil)
	grant := `["apr_aaaaaaaaaaaaaaaaaaaaaaaaaa"]`
	for what, c := range map[string]struct {
		kind  audit.Kind
		actor string
		body  string
		want  error
	}{
		"an answer without a passkey":         {audit.ApprovalAnswer, "person:anna", fmt.Sprintf(`{"ask":%q,"yes":true,"view":%d,"approvals":%s}`, a.ID, v.Seq, grant), authz.ErrConflict},
		"an answer without a view":            {audit.ApprovalAnswer, "person:anna", fmt.Sprintf(`{"ask":%q,"yes":true,"evidence":{},"approvals":%s}`, a.ID, grant), authz.ErrConflict},
		"an answer without an approval":       {audit.ApprovalAnswer, "person:anna", fmt.Sprintf(`{"ask":%q,"yes":true,"view":%d,"evidence":{}}`, a.ID, v.Seq), authz.ErrInvalid},
		"an approval that is no id":           {audit.ApprovalAnswer, "person:anna", fmt.Sprintf(`{"ask":%q,"yes":true,"view":%d,"evidence":{},"approvals":["x"]}`, a.ID, v.Seq), authz.ErrInvalid},
		"an answer by an agent":               {audit.ApprovalAnswer, "agent:payer", fmt.Sprintf(`{"ask":%q,"yes":true,"evidence":{},"approvals":%s}`, a.ID, grant), authz.ErrInvalid},
		"an answer by an administrator":       {audit.ApprovalAnswer, "admin:anna", fmt.Sprintf(`{"ask":%q,"yes":true,"view":%d,"evidence":{},"approvals":%s}`, a.ID, v.Seq, grant), authz.ErrInvalid},
		"an answer to nothing":                {audit.ApprovalAnswer, "person:anna", `{"ask":"arq_x","yes":true}`, authz.ErrNotFound},
		"a view by an agent":                  {audit.ApprovalViewed, "agent:payer", fmt.Sprintf(`{"ask":%q}`, a.ID), authz.ErrInvalid},
		"an early end":                        {audit.ApprovalMoved, "safeconduct", fmt.Sprintf(`{"ask":%q,"to":"expired"}`, a.ID), authz.ErrConflict},
		"an escalation to nobody":             {audit.ApprovalMoved, "safeconduct", fmt.Sprintf(`{"ask":%q,"to":"escalated"}`, a.ID), authz.ErrConflict},
		"a move to where there is nothing":    {audit.ApprovalMoved, "safeconduct", fmt.Sprintf(`{"ask":%q,"to":"approved"}`, a.ID), authz.ErrInvalid},
		"a use of no approval":                {audit.ApprovalUsed, "agent:payer", fmt.Sprintf(`{"ask":%q,"approval":""}`, a.ID), authz.ErrNotFound},
		"a review of nothing":                 {audit.ApprovalReview, "person:dora", fmt.Sprintf(`{"ask":%q,"justified":true,"comment":"x"}`, a.ID), authz.ErrConflict},
		"another's asks joined":               {audit.ApprovalJoined, "pep:other", fmt.Sprintf(`{"ask":%q,"count":1}`, a.ID), authz.ErrConflict},
		"no asks joined":                      {audit.ApprovalJoined, "pep:gate", fmt.Sprintf(`{"ask":%q,"count":0}`, a.ID), authz.ErrInvalid},
		"an ask by somebody else":             {audit.ApprovalAsked, "pep:other", string(w.log.entries[0].Body), authz.ErrInvalid},
		"an absence of oneself for oneself":   {audit.AwayPut, "person:anna", `{"person":"anna","deputy":"anna","until":"2026-11-27T17:00:00Z"}`, authz.ErrInvalid},
		"an absence that would last for ever": {audit.AwayPut, "person:anna", `{"person":"anna","deputy":"ben","until":"2036-11-27T17:00:00Z"}`, authz.ErrInvalid},
	} {
		_, err := w.log.Commit(ctx, audit.Draft{Kind: c.kind, Actor: c.actor, Body: []byte(c.body)})
		wantKind(t, what, err, c.want)
	}
	got, err := w.Get(ctx, a.ID)
	wantKind(t, "Get", err, nil)
	if got.Status != approval.Pending || len(got.Answers) != 0 {
		t.Errorf("ask = %s, want it pending and unanswered", text(got))
	}
	w.agree()
}

// An entry that the store cannot keep is applied again until it can, and not twice.
func TestStoreFails(t *testing.T) {
	s := &spine{t: t, now: start}
	db, breaker := storetest.OpenBreakable(t, storetest.Config(t))
	c := parse(t, organisation)
	cfg := approval.Config{Store: db, Log: s, Now: s.Now, Catalog: func(context.Context, int64) (*catalog.Catalog, error) { return c, nil }}
	d := approval.New(cfg)
	wantKind(t, "Load", d.Load(ctx), nil)
	s.desks = append(s.desks, d)
	w := &world{Desk: d, t: t, log: s, cfg: cfg}
	a, err := w.answer(w.ask("wide"), who("anna"), approval.Reply{Yes: true, Scope: approval.Scope{Uses: 2}})
	wantKind(t, "Answer", err, nil)
	e := audit.Entry{Seq: int64(len(s.entries) + 1), At: start.Add(time.Minute), Kind: audit.ApprovalUsed, Actor: "agent:payer",
		Body: []byte(fmt.Sprintf(`{"ask":%q,"approval":%q,"act":%q}`, a.ID, a.Items[0].Approval.ID, strings.Repeat("x", 43)))}
	breaker.Break()
	for range 3 {
		if err := d.Apply(ctx, e); !errors.Is(err, authz.ErrUnavailable) {
			// A row that is rewritten in place may need no space on SQLite.
			if err == nil {
				break
			}
			t.Fatalf("Apply while the store is broken: %v, want ErrUnavailable", err)
		}
	}
	breaker.Mend()
	for try := 0; d.Apply(ctx, e) != nil && try < 50; try++ { // connections that are dead are found so
	}
	for try := 0; approval.New(cfg).Load(ctx) != nil && try < 50; try++ {
	}
	for range 2 {
		wantKind(t, "Apply", d.Apply(ctx, e), nil)
	}
	s.entries = append(s.entries, e)
	got, err := d.Get(ctx, a.ID)
	wantKind(t, "Get", err, nil)
	if n := got.Items[0].Approval.Used; n != 1 {
		t.Errorf("it was used %d times, want once", n)
	}
	w.agree()
}

func FuzzApply(f *testing.F) {
	w := open(f, organisation)
	a, err := w.answer(w.ask("wide"), who("anna"), approval.Reply{Yes: true, Scope: approval.Scope{Uses: 2}})
	wantKind(f, "Answer", err, nil)
	b := w.ask("two")
	for _, e := range w.log.entries {
		f.Add(string(e.Kind), e.Actor, []byte(e.Body))
	}
	for _, id := range []string{a.ID, b.ID} {
		f.Add(string(audit.ApprovalMoved), "safeconduct", []byte(fmt.Sprintf(`{"ask":%q,"to":"revoked","why":"x"}`, id)))
		f.Add(string(audit.ApprovalUsed), "agent:payer", []byte(fmt.Sprintf(`{"ask":%q,"approval":%q}`, id, a.Items[0].Approval.ID)))
		f.Add(string(audit.ApprovalAnswer), "person:ben", []byte(fmt.Sprintf(`{"ask":%q,"items":[0,-1,99],"view":6,"scope":{"uses":-5}}`, id)))
		f.Add(string(audit.ApprovalReview), "person:emil", []byte(fmt.Sprintf(`{"ask":%q,"comment":"x"}`, id)))
	}
	f.Add(string(audit.AwayPut), "person:anna", []byte(`{"person":"anna","deputy":"ben","until":"2026-11-27T17:00:00Z"}`))
	entries := w.log.entries
	f.Fuzz(func(t *testing.T, kind, actor string, body []byte) {
		cfg := w.cfg
		cfg.Store = none{}
		d, twin := approval.New(cfg), approval.New(cfg)
		for _, d := range []*approval.Desk{d, twin} {
			for _, e := range entries {
				wantKind(t, "Apply", d.Apply(ctx, e), nil)
			}
		}
		e := audit.Entry{Seq: int64(len(entries) + 1), At: w.log.Now(), Kind: audit.Kind(kind), Actor: actor, Body: body}
		err := d.Apply(ctx, e)
		if err != nil && !errors.Is(err, authz.ErrInvalid) && !errors.Is(err, authz.ErrConflict) && !errors.Is(err, authz.ErrNotFound) {
			t.Fatalf("Apply = %v, which is no verdict", err)
		}
		list := func(d *approval.Desk) []*approval.Ask {
			all, err := d.List(ctx, approval.Filter{Limit: 100})
			wantKind(t, "List", err, nil)
			return all
		}
		before := list(twin)
		if again := twin.Apply(ctx, e); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Fatalf("Apply by another desk = %v, want %v", again, err)
		}
		got := list(d)
		if diff := cmp.Diff(got, list(twin)); diff != "" {
			t.Fatalf("two desks (-one +other):\n%s", diff)
		}
		if err != nil {
			if diff := cmp.Diff(before, got); diff != "" {
				t.Fatalf("the refused entry changed (-before +after):\n%s", diff)
			}
		}
		wantKind(t, "Apply again", onlyRefused(d.Apply(ctx, e)), nil)
		if diff := cmp.Diff(got, list(d)); diff != "" {
			t.Fatalf("applied again (-once +twice):\n%s", diff)
		}
		for _, a := range got {
			for _, it := range a.Items {
				if g := it.Approval; g != nil && (g.Used > 2 || g.Until.After(g.At.Add(4*time.Hour))) {
					t.Fatalf("approval = %s, want at most two uses and four hours", text(g))
				}
			}
		}
	})
}

// onlyRefused drops a verdict.
func onlyRefused(err error) error {
	if errors.Is(err, authz.ErrInvalid) || errors.Is(err, authz.ErrConflict) || errors.Is(err, authz.ErrNotFound) {
		return nil
	}
	return err
}
