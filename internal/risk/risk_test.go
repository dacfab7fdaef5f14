package risk_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/risk"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

var start = time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)

// A spine is the log and its follower, in one step. Its clock is set by hand.
type spine struct {
	mu      sync.Mutex
	entries []audit.Entry
	books   []*risk.Book
	now     time.Time
}

func (s *spine) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq := int64(len(s.entries) + 1)
	e := audit.Entry{Seq: seq, At: s.now, Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	s.entries = append(s.entries, e)
	var verdict error
	for i, b := range s.books {
		if err := b.Apply(ctx, e); i == 0 {
			verdict = err
		}
	}
	return seq, verdict
}

// open returns a loaded book on a database of its own.
func open(t testing.TB, weights func() *catalog.Weights) (*risk.Book, *spine, risk.Config) {
	t.Helper()
	s := &spine{now: start}
	cfg := risk.Config{Store: storetest.Open(t), Log: s, Weights: weights, Now: func() time.Time { return s.now }}
	b := risk.NewBook(cfg)
	if err := b.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.books = append(s.books, b)
	return b, s, cfg
}

func wantKind(t testing.TB, what string, err, kind error) {
	t.Helper()
	if kind == nil && err != nil || kind != nil && !errors.Is(err, kind) {
		t.Fatalf("%s: error %v, want %v", what, err, kind)
	}
}

func alert(id, kind string, severity risk.Severity, scope risk.Scope) risk.Alert {
	return risk.Alert{ID: id, Kind: kind, Severity: severity, Scope: scope, ExpiresAt: start.Add(time.Hour)}
}

func indicator(id string, typ risk.IndicatorType, value string, severity risk.Severity) risk.Indicator {
	return risk.Indicator{ID: id, Type: typ, Value: value, Severity: severity, Source: "feed", ExpiresAt: start.Add(time.Hour)}
}

// A moment is a request and its facts: the agent bot, of orders, asks for a document from the office.
func moment() (*authz.Request, *authz.Facts) {
	return &authz.Request{
			Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}},
			Resource: authz.Entity{Ref: authz.Ref{Type: "document", ID: "https://files.example.org/plan"}},
			Observed: authz.Observed{Address: netip.MustParseAddr("10.1.2.3")},
		}, &authz.Facts{
			At: start, Class: authz.Internal, Zones: []string{"building", "office"},
			Agent: &authz.Agent{ID: "bot", Purpose: "orders"},
		}
}

func TestAssess(t *testing.T) {
	ctx := context.Background()
	b, s, _ := open(t, nil)
	is := func(what string, change func(*authz.Request, *authz.Facts), level string, score int64, alerts, indicators, sources string) {
		t.Helper()
		req, f := moment()
		if change != nil {
			change(req, f)
		}
		got := b.Assess(req, f)
		from := []string{}
		total := int64(0)
		for _, c := range got.Contributions {
			from = append(from, c.Source)
			total += c.Points
		}
		if got.Level != level || got.Score != score || min(total, 100) != score {
			t.Errorf("%s: %s, %d, of contributions %v, want %s, %d", what, got.Level, got.Score, got.Contributions, level, score)
		}
		if diff := cmp.Diff([][]string{strings.Fields(alerts), strings.Fields(indicators), strings.Fields(sources)},
			[][]string{got.Alerts, got.Indicators, from}); diff != "" {
			t.Errorf("%s: alerts, indicators, sources (-want +got):\n%s", what, diff)
		}
	}

	// Nothing is open: the class and the zone speak.
	is("a plain moment", nil, "low", 0, "", "", "")
	is("restricted", func(_ *authz.Request, f *authz.Facts) { f.Class = authz.Restricted }, "low", 20, "", "", "class:restricted")
	is("a class that is none", func(_ *authz.Request, f *authz.Facts) { f.Class = 77 }, "low", 0, "", "", "")

	raise := func(a risk.Alert) {
		t.Helper()
		_, err := b.RaiseAlert(ctx, "admin:anna", "why", a)
		wantKind(t, "RaiseAlert "+a.ID, err, nil)
	}
	raise(alert("a1", "outage", "low", risk.Scope{}))
	is("an alert for everything", nil, "low", 5, "outage", "", "alert:a1")
	raise(alert("a0", "leaver", "high", risk.Scope{Agent: "bot"}))
	is("another for the agent, listed by id", nil, "elevated", 40, "leaver outage", "", "alert:a0 alert:a1")
	is("which is not for others", func(r *authz.Request, _ *authz.Facts) { r.Subject.ID = "bob" }, "low", 5, "outage", "", "alert:a1")
	is("nor for a person of that name", func(r *authz.Request, f *authz.Facts) { r.Subject.Type, f.Agent = "user", nil }, "low", 5, "outage", "", "alert:a1")
	wantKind(t, "ClearAlert", b.ClearAlert(ctx, "admin:anna", "over", "a1"), nil)
	wantKind(t, "ClearAlert", b.ClearAlert(ctx, "admin:anna", "over", "a0"), nil)
	is("all is clear", nil, "low", 0, "", "", "")

	raise(alert("p", "purpose", "medium", risk.Scope{Purpose: "orders"}))
	raise(alert("t", "type", "medium", risk.Scope{ResourceType: "document"}))
	raise(alert("z", "zone", "medium", risk.Scope{Zone: "office"}))
	raise(alert("both", "both", "critical", risk.Scope{Zone: "office", Purpose: "payroll"}))
	is("by purpose, type and zone", nil, "elevated", 45, "purpose type zone", "", "alert:p alert:t alert:z")
	is("another purpose", func(_ *authz.Request, f *authz.Facts) { f.Agent = &authz.Agent{Purpose: "payroll"} },
		"critical", 90, "both type zone", "", "alert:both alert:t alert:z")
	is("another type", func(r *authz.Request, _ *authz.Facts) { r.Resource.Type = "mail" }, "elevated", 30, "purpose zone", "", "alert:p alert:z")
	is("another zone", func(_ *authz.Request, f *authz.Facts) { f.Zones = []string{"street"} }, "elevated", 30, "purpose type", "", "alert:p alert:t")
	raise(alert("more", "zone", "critical", risk.Scope{}))
	raise(alert("most", "zone", "critical", risk.Scope{}))
	is("not beyond a hundred, and each kind once", nil, "critical", 100, "purpose type zone", "", "alert:more alert:most alert:p alert:t alert:z")

	// Expiry goes by the time of the request.
	is("just before they expire", func(_ *authz.Request, f *authz.Facts) { f.At = start.Add(time.Hour - 1) },
		"critical", 100, "purpose type zone", "", "alert:more alert:most alert:p alert:t alert:z")
	is("when they expire", func(_ *authz.Request, f *authz.Facts) { f.At = start.Add(time.Hour) }, "low", 0, "", "", "")
	s.now = start.Add(time.Hour)
	if got := b.Alerts(); len(got) != 0 {
		t.Errorf("Alerts = %v, want none after they expired", got)
	}
	wantKind(t, "ClearAlert of one that has expired", b.ClearAlert(ctx, "admin:anna", "over", "p"), authz.ErrNotFound)
}

func TestIndicatorsMatch(t *testing.T) {
	ctx := context.Background()
	b, _, _ := open(t, nil)
	put := func(id string, typ risk.IndicatorType, value string) {
		t.Helper()
		_, err := b.PutIndicator(ctx, "admin:anna", "feed", indicator(id, typ, value, "low"))
		wantKind(t, "PutIndicator "+id, err, nil)
	}
	digest := strings.Repeat("ab", 32)
	put("net", risk.IndicatorIP, "10.1.0.0/16")
	put("net2", risk.IndicatorIP, "::ffff:10.1.0.0/112") // the same
	put("host", risk.IndicatorIP, "10.1.2.3")
	put("v6", risk.IndicatorIP, "2001:db8::/32")
	put("bot", risk.IndicatorAgent, "bot")
	put("doc", risk.IndicatorResource, "DE02120300000000202051")
	put("evil", risk.IndicatorDomain, "Evil.Example.")
	put("deep", risk.IndicatorDomain, "very.evil.example")
	put("file", risk.IndicatorSHA256, "SHA256:"+strings.ToUpper(digest))

	match := func(address, agent, resource, want string) {
		t.Helper()
		req, f := moment()
		req.Subject.ID, req.Resource.ID = agent, resource
		req.Observed.Address = netip.Addr{}
		if address != "" {
			req.Observed.Address = netip.MustParseAddr(address)
		}
		got := b.Assess(req, f)
		if diff := cmp.Diff(strings.Fields(want), got.Indicators); diff != "" || len(got.Contributions) != len(got.Indicators) {
			t.Errorf("indicators of %q, %q, %q (-want +got):\n%s\n%v", address, agent, resource, diff, got.Contributions)
		}
	}
	match("", "x", "y", "")
	match("10.1.2.3", "x", "y", "host net net2")
	match("::ffff:10.1.2.3", "x", "y", "host net net2")
	match("10.1.9.9", "x", "y", "net net2")
	match("10.2.0.1", "x", "y", "")
	match("2001:db8::7%eth0", "x", "y", "v6")
	match("", "bot", "DE02120300000000202051", "bot doc")
	match("", "Bot", "de02120300000000202051", "")
	match("", "x", "evil.example", "evil")
	match("", "x", "https://anna:secret@WWW.Very.Evil.Example:8443/path?q=1#f", "deep evil")
	match("", "x", "anna@evil.example", "evil")
	match("", "x", "https://good.example/evil.example", "")
	match("", "x", "notevil.example", "")
	match("", "x", "evil.example.org", "")
	match("", "x", "https://evil.example@good.example/", "")
	match("", "x", digest, "file")
	match("", "x", "sha256:"+digest, "file")
	match("", "x", digest[:62], "")

	// A changed indicator matches what it says now; a cleared one nothing.
	put("host", risk.IndicatorIP, "192.0.2.1")
	match("10.1.2.3", "x", "y", "net net2")
	match("192.0.2.1", "x", "y", "host")
	for _, id := range []string{"net", "evil", "doc"} {
		wantKind(t, "ClearIndicator", b.ClearIndicator(ctx, "admin:anna", "over", id), nil)
	}
	match("10.1.2.3", "x", "y", "net2")
	match("", "x", "very.evil.example", "deep")
	match("", "x", "DE02120300000000202051", "")
	_, err := b.Indicator("net")
	wantKind(t, "Indicator that was cleared", err, authz.ErrNotFound)

	page := b.Indicators(risk.IndicatorIP, "host", 10)
	if len(page) != 2 || page[0].ID != "net2" || page[1].ID != "v6" || page[0].Value != "10.1.0.0/16" {
		t.Errorf("Indicators(ip, after host) = %+v, want net2 and v6, written plainly", page)
	}
	if got := b.Indicators("", "", 3); len(got) != 3 {
		t.Errorf("Indicators(limit 3) has %d", len(got))
	}
}

func TestWeights(t *testing.T) {
	parse := func(text string) *catalog.Weights {
		t.Helper()
		c, err := catalog.Parse("catalog.yaml", []byte(text))
		wantKind(t, "Parse", err, nil)
		return c.Weights()
	}
	var active *catalog.Weights
	b, _, _ := open(t, func() *catalog.Weights { return active })
	is := func(what, level string, score int64) {
		t.Helper()
		req, f := moment()
		f.Zones, f.Class = nil, authz.Confidential
		if got := b.Assess(req, f); got.Level != level || got.Score != score {
			t.Errorf("%s: %s, %d, want %s, %d", what, got.Level, got.Score, level, score)
		}
	}
	is("no catalog", "low", 10)
	is("no catalog, again", "low", 10)
	active = parse("networks: {office: [10.0.0.0/8]}")
	is("networks are declared", "low", 20)
	active = parse("risk: {class: {confidential: 40}, unknown_zone: 15, levels: {elevated: 10, high: 55, critical: 90}}")
	is("another catalog is published", "high", 55)
	_, err := b.RaiseAlert(context.Background(), "admin:anna", "why", alert("a", "k", "critical", risk.Scope{}))
	wantKind(t, "RaiseAlert", err, nil)
	is("with an alert", "critical", 100)
	active = nil
	is("and none again", "high", 70)
}

func TestRefused(t *testing.T) {
	ctx := context.Background()
	b, s, _ := open(t, nil)
	refuseAlert := func(message string, change func(*risk.Alert)) {
		t.Helper()
		a := alert("a", "k", "low", risk.Scope{})
		change(&a)
		if _, err := b.RaiseAlert(ctx, "admin:anna", "why", a); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), message) {
			t.Errorf("RaiseAlert = %v, want ErrInvalid with %q", err, message)
		}
	}
	refuseAlert("id", func(a *risk.Alert) { a.ID = "" })
	refuseAlert("id", func(a *risk.Alert) { a.ID = "a b" })
	refuseAlert("kind", func(a *risk.Alert) { a.Kind = "/" })
	refuseAlert("severity", func(a *risk.Alert) { a.Severity = "dire" })
	refuseAlert("expires_at is missing", func(a *risk.Alert) { a.ExpiresAt = time.Time{} })
	refuseAlert("expires_at is past", func(a *risk.Alert) { a.ExpiresAt = start })
	refuseAlert("more than a year", func(a *risk.Alert) { a.ExpiresAt = start.AddDate(2, 0, 0) })
	refuseAlert("message", func(a *risk.Alert) { a.Message = "a\x00" })
	refuseAlert("zone of the scope", func(a *risk.Alert) { a.Scope.Zone = "\xff" })

	refuse := func(message string, typ risk.IndicatorType, value string) {
		t.Helper()
		_, err := b.PutIndicator(ctx, "admin:anna", "why", indicator("i", typ, value, "low"))
		if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), message) {
			t.Errorf("PutIndicator(%s, %q) = %v, want ErrInvalid with %q", typ, value, err, message)
		}
	}
	refuse("type", "url", "x")
	refuse("value", risk.IndicatorIP, "10.0.0.0/33")
	refuse("value", risk.IndicatorIP, "localhost")
	refuse("mixes", risk.IndicatorIP, "::ffff:0:0/90")
	refuse("value", risk.IndicatorDomain, "com")
	refuse("value", risk.IndicatorDomain, "https://evil.example")
	refuse("value", risk.IndicatorSHA256, "abc")
	refuse("value", risk.IndicatorSHA256, strings.Repeat("a", 31)+"zz"+strings.Repeat("a", 31))
	refuse("value", risk.IndicatorAgent, "")
	refuse("value", risk.IndicatorResource, strings.Repeat("x", 513))

	if _, err := b.RaiseAlert(ctx, "admin:anna", "", alert("a", "k", "low", risk.Scope{})); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("RaiseAlert without why = %v, want ErrInvalid", err)
	}
	wantKind(t, "ClearAlert of none", b.ClearAlert(ctx, "admin:anna", "why", "a"), authz.ErrNotFound)
	wantKind(t, "ClearIndicator of none", b.ClearIndicator(ctx, "admin:anna", "why", "i"), authz.ErrNotFound)
	if len(s.entries) != 0 {
		t.Errorf("%d entries are recorded of what was refused, want none", len(s.entries))
	}
	for _, body := range []string{``, `{}`, `{"alert": {"id": "a"}, "why": "x"}`, `[]`} {
		err := b.Apply(ctx, audit.Entry{Seq: 9, At: start, Kind: audit.AlertPut, Body: []byte(body)})
		wantKind(t, "Apply of "+body, err, authz.ErrInvalid)
		err = b.Apply(ctx, audit.Entry{Seq: 9, At: start, Kind: audit.IndicatorPut, Body: []byte(body)})
		wantKind(t, "Apply of "+body, err, authz.ErrInvalid)
	}
}

// A replica that starts from the tables and sees all entries again ends where the others are.
func TestReplay(t *testing.T) {
	ctx := context.Background()
	b, s, cfg := open(t, nil)
	raised, err := b.RaiseAlert(ctx, "admin:anna", "why", alert("a", "k", "low", risk.Scope{}))
	wantKind(t, "RaiseAlert", err, nil)
	if raised.RaisedBy != "admin:anna" || !raised.RaisedAt.Equal(start) || raised.AsOf != 1 {
		t.Errorf("raised = %+v, want who, when and the entry's number", raised)
	}
	for _, id := range []string{"b", "c"} {
		_, err := b.RaiseAlert(ctx, "admin:ben", "why", alert(id, "k", "low", risk.Scope{}))
		wantKind(t, "RaiseAlert", err, nil)
		_, err = b.PutIndicator(ctx, "admin:ben", "why", indicator(id, risk.IndicatorAgent, "bot", "high"))
		wantKind(t, "PutIndicator", err, nil)
	}
	wantKind(t, "ClearAlert", b.ClearAlert(ctx, "admin:anna", "over", "b"), nil)
	wantKind(t, "ClearIndicator", b.ClearIndicator(ctx, "admin:anna", "over", "c"), nil)
	_, err = b.RaiseAlert(ctx, "admin:anna", "worse", alert("a", "k", "critical", risk.Scope{}))
	wantKind(t, "RaiseAlert again", err, nil)

	again := risk.NewBook(cfg)
	wantKind(t, "Load", again.Load(ctx), nil)
	same := func(when string) {
		t.Helper()
		if diff := cmp.Diff(b.Alerts(), again.Alerts()); diff != "" {
			t.Errorf("alerts %s (-first +second):\n%s", when, diff)
		}
		if diff := cmp.Diff(b.Indicators("", "", 100), again.Indicators("", "", 100)); diff != "" {
			t.Errorf("indicators %s (-first +second):\n%s", when, diff)
		}
		req, f := moment()
		if diff := cmp.Diff(b.Assess(req, f), again.Assess(req, f)); diff != "" {
			t.Errorf("assessment %s (-first +second):\n%s", when, diff)
		}
	}
	same("after Load")
	for _, e := range s.entries {
		wantKind(t, "Apply", again.Apply(ctx, e), nil)
	}
	same("after a replay")
	if got := len(b.Alerts()); got != 2 {
		t.Errorf("%d alerts are open, want a and c", got)
	}

	// What has long expired is forgotten, and does not come back.
	s.now = start.Add(3 * time.Hour)
	late := alert("late", "k", "low", risk.Scope{})
	late.ExpiresAt = s.now.Add(time.Hour)
	_, err = b.RaiseAlert(ctx, "admin:anna", "why", late)
	wantKind(t, "RaiseAlert", err, nil)
	if got := b.Alerts(); len(got) != 1 || got[0].ID != "late" {
		t.Errorf("Alerts = %v, want only the late one", got)
	}
	again = risk.NewBook(cfg)
	wantKind(t, "Load", again.Load(ctx), nil)
	same("after expiry")
}

// Assessing does not disturb what others were told, and costs next to nothing if nothing is open.
func TestAssessShares(t *testing.T) {
	ctx := context.Background()
	b, _, _ := open(t, nil)
	req, f := moment()
	f.Class = authz.Restricted
	before := b.Assess(req, f)
	if n := testing.AllocsPerRun(100, func() { b.Assess(req, f) }); n != 0 {
		t.Errorf("Assess allocates %v times while nothing is open, want 0", n)
	}
	_, err := b.RaiseAlert(ctx, "admin:anna", "why", alert("a", "k", "low", risk.Scope{}))
	wantKind(t, "RaiseAlert", err, nil)
	with := b.Assess(req, f)
	_, err = b.RaiseAlert(ctx, "admin:anna", "why", alert("b", "k", "low", risk.Scope{}))
	wantKind(t, "RaiseAlert", err, nil)
	b.Assess(req, f)
	if len(before.Contributions) != 1 || len(with.Contributions) != 2 || with.Contributions[1].Source != "alert:a" {
		t.Errorf("earlier answers changed: %+v, %+v", before, with)
	}
}

func BenchmarkAssess(b *testing.B) {
	ctx := context.Background()
	book, _, _ := open(b, nil)
	req, f := moment()
	run := func(name string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				book.Assess(req, f)
			}
		})
	}
	run("nothing-open")
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		if _, err := book.PutIndicator(ctx, "admin:anna", "feed", indicator("i"+a.String(), risk.IndicatorIP, a.String(), "low")); err != nil {
			b.Fatal(err)
		}
	}
	run("1000-indicators-none-matching")
	for _, id := range []string{"a", "b", "c"} {
		if _, err := book.RaiseAlert(ctx, "admin:anna", "why", alert(id, "k", "low", risk.Scope{Agent: "bot"})); err != nil {
			b.Fatal(err)
		}
	}
	run("3-alerts")
}
