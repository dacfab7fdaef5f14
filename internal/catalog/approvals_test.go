package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

const groups = "approvers: {finance: {members: [{type: user, id: anna}, {type: user, id: ben}]}, board: {members: [{claims: {office: board}}]}}\n"

// A route has the defaults of what it does not say, and all that it says.
func TestRoutes(t *testing.T) {
	route := func(text string, want catalog.Route) {
		t.Helper()
		want.ID = "r"
		c := parse(t, groups+"approvals: {routes: {r: "+text+"}}")
		got, ok := c.Route("r")
		if !ok {
			t.Fatalf("there is no route r in %s", text)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("route %s (-want +got):\n%s", text, diff)
		}
	}
	route(`{approvers: [finance]}`, catalog.Route{
		Title: "r", Approvers: []string{"finance"}, Quorum: 1, Pending: time.Hour, Lasts: 15 * time.Minute, ClassFor: 15 * time.Minute, Reading: 3 * time.Second,
	})
	route(`{approvers: [finance], break_glass: [board], reading: 0s}`, catalog.Route{
		Title: "r", Approvers: []string{"finance"}, Quorum: 1, Pending: time.Hour, Lasts: 15 * time.Minute, ClassFor: 15 * time.Minute,
		BreakGlass: []string{"board"}, Review: 24 * time.Hour,
	})
	route(`{approvers: [finance], uses: unlimited, class_for: 1h}`, catalog.Route{
		Title: "r", Approvers: []string{"finance"}, Quorum: 1, Pending: time.Hour, Lasts: 15 * time.Minute, ClassFor: time.Hour, Reading: 3 * time.Second, Uses: -1,
	})
	route(`{title: Pay, approvers: [finance, board], quorum: 2, passkey: true, escalate: [board], after: 10m, pending: 2h, lasts: 5m, uses: 9,
	  class: true, class_for: 4h, arguments: true, amounts: {amount: 99.50, fee: "5"}, evaluator: fraud, break_glass: [board], review: 12h,
	  notify: [mail, chat], reading: 10s}`, catalog.Route{
		Title: "Pay", Approvers: []string{"board", "finance"}, Quorum: 2, Passkey: true,
		Escalate: []string{"board"}, After: 10 * time.Minute, Pending: 2 * time.Hour, Lasts: 5 * time.Minute,
		Uses: 9, Class: true, ClassFor: 4 * time.Hour, Arguments: true, Amounts: map[string]string{"amount": "99.50", "fee": "5"},
		Evaluator: "fraud", BreakGlass: []string{"board"}, Review: 12 * time.Hour, Notify: []string{"chat", "mail"}, Reading: 10 * time.Second,
	})
}

// A catalog that says nothing of approvals leads nowhere, and bounds what is asked nevertheless.
func TestApprovals(t *testing.T) {
	c := parse(t, "{}")
	if _, ok := c.Route(""); ok || c.DefaultRoute() != "" || len(c.Routes()) > 0 || len(c.Assurances()) > 0 {
		t.Errorf("a catalog of nothing has the default route %q, routes %v and levels %v", c.DefaultRoute(), c.Routes(), c.Assurances())
	}
	if got, want := c.AskBudget(), catalog.DefaultAskBudget(); got != want {
		t.Errorf("AskBudget = %+v, want %+v", got, want)
	}
	if got, want := c.Volatile(), []string{"confidence", "time"}; !slices.Equal(got, want) {
		t.Errorf("Volatile = %q, want %q", got, want)
	}
	c = parse(t, groups+`approvals: {default: b, volatile: [], asks: {session: 3, hour: 0}, routes: {b: {approvers: [finance]}, a: {approvers: [board]}}}`)
	if got, want := c.AskBudget(), (catalog.AskBudget{Session: 3, Pending: 30, Approver: 30}); got != want {
		t.Errorf("AskBudget = %+v, want %+v", got, want)
	}
	if len(c.Volatile()) != 0 || c.DefaultRoute() != "b" {
		t.Errorf("Volatile = %q and DefaultRoute = %q, want none and b", c.Volatile(), c.DefaultRoute())
	}
	var ids []string
	for _, r := range c.Routes() {
		ids = append(ids, r.ID)
	}
	if !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("Routes = %q, want them sorted", ids)
	}
}

// What is declared of asking is bounded, so that nobody reads or remembers more than that.
func TestApprovalsAreBounded(t *testing.T) {
	many := func(n int, each string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(each, i))
		}
		return strings.Join(all, ", ")
	}
	refuse := func(text, message string) {
		t.Helper()
		if _, err := catalog.Parse("c", []byte(text)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("Parse(%.60s...) = %.300v, want a problem with %q", text, err, message)
		}
	}
	one := "approvers: {g: {members: [{type: user, id: anna}]}}\n"
	parse(t, "approvers: {"+many(256, "g%d: {members: [{type: user, id: anna}]}")+"}")
	refuse("approvers: {"+many(257, "g%d: {members: [{type: user, id: anna}]}")+"}", "more than 256 approver groups")
	refuse("approvers: {g: {members: ["+many(1001, "{type: user, id: u%d}")+"]}}", "more than 1000 members")
	refuse("approvers: {g: {members: [{claims: {"+many(17, "c%d: x")+"}}]}}", "at most 16 claims")
	parse(t, one+"approvals: {routes: {"+many(256, "r%d: {approvers: [g]}")+"}}")
	refuse(one+"approvals: {routes: {"+many(257, "r%d: {approvers: [g]}")+"}}", "more than 256 routes")
	refuse(one+"approvals: {routes: {r: {approvers: [g], notify: ["+many(33, "c%d")+"]}}}", "more than 32 elements")
	refuse(one+"approvals: {routes: {r: {approvers: [g], amounts: {"+many(33, "a%d: 1")+"}}}}", "more than 32 arguments")
	refuse("approvals: {volatile: ["+many(65, "v%d")+"]}", "more than 64 members")
	refuse("assurance: {"+many(33, "l%d: {max_age: 1m}")+"}", "more than 32 assurance levels")
	refuse("assurance: {l: {amr: ["+many(17, "m%d")+"]}}", "more than 16 elements")
}

// Whoever is named, or has all the claims, is in a group, while on call.
func TestHas(t *testing.T) {
	c := parse(t, `
schedules: {nights: {windows: [{from: "20:00", to: "06:00"}]}}
approvers:
  g:
    members:
      - {type: user, id: anna}
      - {type: user, id: ben, during: nights}
      - {claims: {department: finance, level: lead}}
      - {claims: {on-call: "yes"}, during: nights}
`)
	g, _ := c.Approvers("g")
	at := func(clock string) []string {
		when, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		return c.Open(when.AddDate(2026, 10, 26))
	}
	has := func(ref authz.Ref, claims, clock string, want bool) {
		t.Helper()
		m := map[string][]string{}
		for _, pair := range strings.Fields(claims) {
			k, v, _ := strings.Cut(pair, "=")
			m[k] = append(m[k], v)
		}
		if got := g.Has(ref, m, at(clock)); got != want {
			t.Errorf("Has(%v, %q) at %s = %v, want %v", ref, claims, clock, got, want)
		}
	}
	user := func(id string) authz.Ref { return authz.Ref{Type: "user", ID: id} }
	has(user("anna"), "", "12:00", true)
	has(user("anna"), "", "22:00", true)
	has(user("Anna"), "", "12:00", false)
	has(authz.Ref{Type: "User", ID: "anna"}, "", "12:00", true)
	has(authz.Ref{Type: "agent", ID: "anna"}, "", "12:00", false)
	has(user("ben"), "", "12:00", false)
	has(user("ben"), "", "22:00", true)
	has(user("cem"), "department=finance", "12:00", false)
	has(user("cem"), "department=finance level=lead", "12:00", true)
	has(user("cem"), "department=sales department=finance level=lead level=staff", "12:00", true)
	has(user("cem"), "department=financeteam level=lead", "12:00", false)
	has(user("cem"), "on-call=yes", "12:00", false)
	has(user("cem"), "on-call=yes", "05:59", true)
	has(user(""), "", "12:00", false)
	has(authz.Ref{}, "", "22:00", false)
	var nobody catalog.Approvers
	if nobody.Has(user("anna"), map[string][]string{"": {""}}, nil) {
		t.Error("a group without members has somebody")
	}
	if (&catalog.Approvers{Members: []catalog.Approver{{}}}).Has(authz.Ref{}, nil, nil) {
		t.Error("a member that says nothing is somebody")
	}
}

// Levels are reached by what an authentication was, not by what it calls itself.
func TestAssured(t *testing.T) {
	c := parse(t, `
assurance:
  attested: {methods: [spiffe_jwt, tls_client_auth], bound: [dpop, mtls], max_age: 10m}
  bound: {bound: [mtls]}
  person: {title: A person, acr: "urn:example:person", amr: [user, mfa], person: true, max_age: 5m}
  somebody: {person: true}
`)
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	assured := func(what string, a *authz.Authentication, want ...string) {
		t.Helper()
		if got := c.Assured(a, now); !slices.Equal(got, want) {
			t.Errorf("%s: Assured(%+v) = %q, want %q", what, a, got, want)
		}
	}
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	assured("nobody", nil)
	assured("nothing known", &authz.Authentication{})
	assured("what it calls itself", &authz.Authentication{ACR: "urn:example:person", At: now})
	assured("a key", &authz.Authentication{Method: "private_key_jwt", Bound: "dpop", At: now})
	assured("an attestation", &authz.Authentication{Method: "spiffe_jwt", Bound: "dpop", At: ago(10 * time.Minute)}, "attested")
	assured("an old one", &authz.Authentication{Method: "spiffe_jwt", Bound: "dpop", At: ago(10*time.Minute + time.Second)})
	assured("one of an unknown time", &authz.Authentication{Method: "spiffe_jwt", Bound: "dpop"})
	assured("one of the future", &authz.Authentication{Method: "spiffe_jwt", Bound: "dpop", At: ago(-2 * time.Minute)})
	assured("one by a clock that is ahead", &authz.Authentication{Method: "spiffe_jwt", Bound: "dpop", At: ago(-time.Minute)}, "attested")
	assured("one that is not bound", &authz.Authentication{Method: "spiffe_jwt", Bound: "none", At: now})
	assured("a certificate", &authz.Authentication{Method: "tls_client_auth", Bound: "mtls", At: now}, "attested", "bound")
	assured("a passkey", &authz.Authentication{Person: "anna", AMR: []string{"mfa", "pop", "user"}, At: ago(time.Minute)}, "person", "somebody")
	assured("a passkey, long ago", &authz.Authentication{Person: "anna", AMR: []string{"mfa", "pop", "user"}, At: ago(time.Hour)}, "somebody")
	assured("a person of whom nobody knows how", &authz.Authentication{Person: "anna", At: now})
	assured("a password", &authz.Authentication{Person: "anna", AMR: []string{"pwd", "user"}, At: now}, "somebody")
	assured("an agent's own key", &authz.Authentication{AMR: []string{"mfa", "user"}, At: now})
	level, ok := c.Assurance("attested")
	if !ok || level.ACR != "urn:safeconduct:assurance:attested" || level.Title != "attested" {
		t.Errorf("Assurance(attested) = %+v, %v, want the acr and the title by default", level, ok)
	}
}

// More of everything never takes a level away, and less never gives one.
func TestAssuredIsMonotone(t *testing.T) {
	c := parse(t, `assurance: {a: {amr: [mfa, pop]}, b: {amr: [mfa], methods: [workload], max_age: 1m}, c: {bound: [dpop], person: true}, d: {max_age: 1h}}`)
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	reached := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		a := authz.Authentication{
			AMR:    rapid.SliceOfDistinct(rapid.SampledFrom([]string{"mfa", "pop", "z"}), rapid.ID[string]).Draw(t, "amr"),
			Method: rapid.SampledFrom([]string{"", "workload", "spiffe_jwt"}).Draw(t, "method"),
			Bound:  rapid.SampledFrom([]string{"", "none", "dpop"}).Draw(t, "bound"),
			Person: rapid.SampledFrom([]string{"", "anna"}).Draw(t, "person"),
			At:     now.Add(-time.Duration(rapid.IntRange(0, 7200).Draw(t, "age")) * time.Second),
		}
		less := a
		switch rapid.IntRange(0, 4).Draw(t, "less") {
		case 0:
			less.AMR = less.AMR[:len(less.AMR)/2]
		case 1:
			less.Method = ""
		case 2:
			less.Bound = ""
		case 3:
			less.Person = ""
		case 4:
			less.At = less.At.Add(-time.Hour)
		}
		more := c.Assured(&a, now)
		for _, id := range c.Assured(&less, now) {
			if !slices.Contains(more, id) {
				t.Fatalf("%+v reaches %s, and %+v does not", less, id, a)
			}
		}
		for _, id := range more {
			reached[id] = true
		}
	})
	if len(reached) < 4 && !testing.Short() {
		t.Errorf("only the levels %v were ever reached", reached)
	}
}

// exerciseApprovals checks what holds of the routes and levels of every catalog.
func exerciseApprovals(t *testing.T, c *catalog.Catalog) {
	for _, r := range c.Routes() {
		if len(r.Approvers) == 0 || r.Quorum < 1 || r.Pending <= 0 || r.Lasts <= 0 || r.ClassFor <= 0 || r.Title == "" {
			t.Errorf("route %+v is not whole", r)
		}
		if (r.After > 0) != (len(r.Escalate) > 0) || r.After >= r.Pending || (r.Review > 0) != (len(r.BreakGlass) > 0) {
			t.Errorf("route %+v has half of what belongs together", r)
		}
		for _, g := range slices.Concat(r.Approvers, r.Escalate, r.BreakGlass) {
			if _, ok := c.Approvers(g); !ok {
				t.Errorf("route %s names the group %q, which is not declared", r.ID, g)
			}
		}
	}
	if id := c.DefaultRoute(); id != "" {
		if _, ok := c.Route(id); !ok {
			t.Errorf("the default route %q is not declared", id)
		}
	}
	if !slices.IsSorted(c.Volatile()) {
		t.Errorf("Volatile = %q, want them sorted", c.Volatile())
	}
	if got := c.Assured(&authz.Authentication{}, time.Time{}); len(got) > 0 {
		t.Errorf("an authentication of which nothing is known reaches %q", got)
	}
	acrs := map[string]string{}
	for _, a := range c.Assurances() {
		if other, twice := acrs[a.ACR]; twice || a.ACR == "" {
			t.Errorf("levels %s and %s have the acr %q", a.ID, other, a.ACR)
		}
		acrs[a.ACR] = a.ID
	}
}
