package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

func TestDetailOf(t *testing.T) {
	c := parse(t, payments)
	detail := func(id string, want *authz.Limits) {
		t.Helper()
		got, ok := c.DetailOf(id)
		if diff := cmp.Diff(authz.Detail{Type: "capability", Identifier: id, Limits: want}, got); diff != "" || !ok {
			t.Errorf("DetailOf(%s) = %v (-want +got):\n%s", id, ok, diff)
		}
		if err := catalog.Narrows(&got, &got); err != nil {
			t.Errorf("Narrows(%s, itself): %v", id, err)
		}
	}
	detail("look-up", nil)
	detail("clean-up", &authz.Limits{Class: "public"})
	detail("refund", &authz.Limits{Class: "confidential", Amount: map[string]string{"amount": "99.50"}, Regions: []string{"CH", "EU"},
		Schedules: []string{"month-end", "office-hours"}})
	if got, ok := c.DetailOf("unheard-of"); ok {
		t.Errorf("DetailOf(unheard-of) = %+v, want none", got)
	}
}

func TestNarrows(t *testing.T) {
	parent := authz.Detail{
		Type: "capability", Identifier: "refund", Actions: []string{"pay", "refund"}, Locations: []string{"https://a.example", "https://b.example"},
		Limits: &authz.Limits{Class: "confidential", Amount: map[string]string{"amount": "99.50", "fee": "1"}, Regions: []string{"CH", "EU"},
			Schedules: []string{"month-end", "office-hours"}},
	}
	narrows := func(kind error, f func(child, parent *authz.Detail)) {
		t.Helper()
		c, p := clone(parent), clone(parent)
		f(&c, &p)
		err := catalog.Narrows(&c, &p)
		if kind == nil && err != nil || kind != nil && !errors.Is(err, kind) {
			t.Errorf("Narrows(%+v %+v, %+v %+v) = %v, want %v", c, c.Limits, p, p.Limits, err, kind)
		}
	}
	ok := func(f func(child, parent *authz.Detail)) { t.Helper(); narrows(nil, f) }
	no := func(f func(child, parent *authz.Detail)) { t.Helper(); narrows(authz.ErrForbidden, f) }
	bad := func(f func(child, parent *authz.Detail)) { t.Helper(); narrows(authz.ErrInvalid, f) }

	ok(func(c, p *authz.Detail) {})
	ok(func(c, p *authz.Detail) { c.Actions = []string{"pay"} })
	no(func(c, p *authz.Detail) { c.Actions = []string{"pay", "read"} })
	no(func(c, p *authz.Detail) { c.Actions = nil })
	no(func(c, p *authz.Detail) { c.Actions = []string{} }) // the same, once it has been JSON
	ok(func(c, p *authz.Detail) { p.Actions = nil })
	ok(func(c, p *authz.Detail) { c.Locations = c.Locations[:1] })
	no(func(c, p *authz.Detail) { c.Locations = []string{"https://c.example"} })
	no(func(c, p *authz.Detail) { c.Locations = nil })
	no(func(c, p *authz.Detail) { c.Identifier = "look-up" })
	no(func(c, p *authz.Detail) { c.Limits = nil })
	ok(func(c, p *authz.Detail) { p.Limits = nil })
	ok(func(c, p *authz.Detail) { c.Limits.Class = "internal" })
	no(func(c, p *authz.Detail) { c.Limits.Class = "restricted" })
	no(func(c, p *authz.Detail) { c.Limits.Class = "" })
	ok(func(c, p *authz.Detail) { p.Limits.Class = "" })
	bad(func(c, p *authz.Detail) { c.Limits.Class = "secret" })
	bad(func(c, p *authz.Detail) { p.Limits.Class = "Public" })
	ok(func(c, p *authz.Detail) { c.Limits.Amount["amount"] = "99.5" })
	ok(func(c, p *authz.Detail) { c.Limits.Amount["amount"] = "0.00" })
	no(func(c, p *authz.Detail) { c.Limits.Amount["amount"] = "99.500000000000000000001" })
	no(func(c, p *authz.Detail) { c.Limits.Amount["amount"] = "1e3" })
	no(func(c, p *authz.Detail) { delete(c.Limits.Amount, "fee") })
	ok(func(c, p *authz.Detail) { c.Limits.Amount["tip"] = "1" })
	bad(func(c, p *authz.Detail) { c.Limits.Amount["amount"] = "-1" })
	bad(func(c, p *authz.Detail) { c.Limits.Amount["amount"] = "" })
	bad(func(c, p *authz.Detail) { p.Limits.Amount["amount"] = "NaN" })
	ok(func(c, p *authz.Detail) { c.Limits.Regions = []string{"EU"} })
	no(func(c, p *authz.Detail) { c.Limits.Regions = []string{"EU", "US"} })
	no(func(c, p *authz.Detail) { c.Limits.Regions = nil })
	ok(func(c, p *authz.Detail) { c.Limits.Schedules = []string{"month-end"} })
	no(func(c, p *authz.Detail) { c.Limits.Schedules = []string{"nights"} })
	bad(func(c, p *authz.Detail) { c.Type = "openid" })
	bad(func(c, p *authz.Detail) { p.Type = "" })
}

func clone(d authz.Detail) authz.Detail {
	l := *d.Limits
	l.Amount = map[string]string{}
	for k, v := range d.Limits.Amount {
		l.Amount[k] = v
	}
	d.Limits = &l
	return d
}

func TestGrantWithPassport(t *testing.T) {
	c := parse(t, payments)
	agent := &authz.Agent{ID: "bot", Capabilities: []string{"large-refund", "look-up", "refund"}}
	refund := catalog.Act{
		Action: "refund", Groups: []string{"payments"}, Arguments: authz.Claimed(`{"amount": 50, "fee": 0.1}`),
		Class: authz.Internal, Jurisdiction: "EU", Schedules: []string{"office-hours"},
	}
	grant := func(act catalog.Act, within, exceeded string, details ...authz.Detail) {
		t.Helper()
		for i := range details {
			details[i].Type = authz.DetailType
		}
		act.Passport = &authz.Passport{Details: details}
		g := c.Grant(agent, act)
		if got := strings.Join(g.Within, " "); got != within {
			t.Errorf("Grant(%s with %+v) is within %q, want %q", act.Action, details, got, within)
		}
		if got := strings.Join(g.Exceeded, " "); got != exceeded || g.Class != "money" {
			t.Errorf("Grant(%s with %+v) exceeds %q, class %s, want %q, money", act.Action, details, got, g.Class, exceeded)
		}
	}
	carries := func(id string, l authz.Limits, actions ...string) authz.Detail {
		return authz.Detail{Identifier: id, Actions: actions, Limits: &l}
	}
	grant(refund, "", "large-refund/passport refund/passport")
	grant(refund, "refund", "large-refund/passport", carries("refund", authz.Limits{}))
	grant(refund, "large-refund refund", "", carries("refund", authz.Limits{}), carries("large-refund", authz.Limits{}, "payments"))
	grant(refund, "", "large-refund/passport refund/passport", carries("refund", authz.Limits{}, "read_order"))
	grant(refund, "refund", "large-refund/passport", carries("refund", authz.Limits{}, "read_order", "refund"))
	grant(refund, "", "large-refund/passport refund/passport.amount.amount", carries("refund", authz.Limits{Amount: map[string]string{"amount": "49.99"}}))
	grant(refund, "", "large-refund/passport refund/passport.amount.tip", carries("refund", authz.Limits{Amount: map[string]string{"tip": "1"}}))
	grant(refund, "", "large-refund/passport refund/passport.amount.amount", carries("refund", authz.Limits{Amount: map[string]string{"amount": "lots"}}))
	grant(refund, "", "large-refund/passport refund/passport.class", carries("refund", authz.Limits{Class: "public"}))
	grant(refund, "", "large-refund/passport refund/passport.class", carries("refund", authz.Limits{Class: "any"}))
	grant(refund, "", "large-refund/passport refund/passport.region", carries("refund", authz.Limits{Regions: []string{"CH"}}))
	grant(refund, "", "large-refund/passport refund/passport.schedule", carries("refund", authz.Limits{Schedules: []string{"month-end"}}))
	// Carried twice, once is enough; carried without being granted, it is nothing.
	grant(refund, "refund", "large-refund/passport", carries("refund", authz.Limits{Class: "public"}), carries("refund", authz.Limits{Class: "internal"}))
	grant(refund, "refund", "large-refund/passport", carries("clean-up", authz.Limits{}), carries("refund", authz.Limits{}))
	// The catalog's limits hold besides.
	over := refund
	over.Arguments = authz.Claimed(`{"amount": 100, "fee": 0.1}`)
	grant(over, "", "large-refund/passport refund/amount.amount", carries("refund", authz.Limits{Amount: map[string]string{"amount": "1000"}}))
	// An element of another type carries nothing.
	over = refund
	over.Passport = &authz.Passport{Details: []authz.Detail{{Type: "payment", Identifier: "refund"}}}
	if g := c.Grant(agent, over); len(g.Within) > 0 {
		t.Errorf("Grant with an element of another type = %+v, want nothing within", g)
	}
}

func TestGrantIssue(t *testing.T) {
	c := parse(t, payments)
	agent := &authz.Agent{ID: "bot", Capabilities: []string{"look-up", "refund"}}
	issue := func(id, schedules, class, within, exceeded string, p *authz.Passport) {
		t.Helper()
		g := c.Grant(agent, catalog.Act{
			Action: authz.ActionIssue, Resource: authz.Ref{Type: authz.CapabilityType, ID: id}, Class: authz.Restricted,
			Schedules: strings.Fields(schedules), Passport: p,
		})
		if strings.Join(g.Within, " ") != within || strings.Join(g.Exceeded, " ") != exceeded || g.Class != class {
			t.Errorf("Grant(issue of %s, open %q, %+v) = %+v, want within %q, exceeded %q, class %q", id, schedules, p, g, within, exceeded, class)
		}
	}
	issue("look-up", "", "read", "look-up", "", nil)
	issue("refund", "office-hours", "money", "refund", "", nil)
	issue("refund", "", "money", "", "refund/schedule", nil)
	issue("large-refund", "", "", "", "", nil) // not granted
	issue("unheard-of", "", "", "", "", nil)   // not declared
	carried := func(id string, schedules ...string) *authz.Passport {
		return &authz.Passport{Details: []authz.Detail{{Type: authz.DetailType, Identifier: id, Actions: []string{"refund"},
			Limits: &authz.Limits{Schedules: schedules, Class: "public", Amount: map[string]string{"amount": "1"}}}}}
	}
	issue("refund", "office-hours", "money", "refund", "", carried("refund"))
	issue("refund", "office-hours", "money", "", "refund/passport", carried("look-up"))
	issue("refund", "office-hours", "money", "", "refund/passport.schedule", carried("refund", "month-end"))
	issue("refund", "", "money", "", "refund/passport.schedule refund/schedule", carried("refund", "month-end"))
}

var (
	capabilityIDs = []string{"clean-up", "large-refund", "look-up", "refund", "unheard-of"}
	numbers       = rapid.SampledFrom([]string{"0", "0.3", "50", "99.50", "99.51", "10000", "1e9", "-1", ""})
)

// some draws some of the texts, sorted.
func some(t *rapid.T, label string, of ...string) []string {
	list := rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, len(of), rapid.ID).Draw(t, label)
	slices.Sort(list)
	return list
}

func drawAct(t *rapid.T) catalog.Act {
	return catalog.Act{
		Action:       rapid.SampledFrom([]string{"refund", "read_order", "count_orders", authz.ActionIssue}).Draw(t, "action"),
		Resource:     authz.Ref{Type: authz.CapabilityType, ID: rapid.SampledFrom(capabilityIDs).Draw(t, "id")},
		Groups:       some(t, "groups", "payments", "reports"),
		Arguments:    authz.Claimed(`{"amount": "` + numbers.Draw(t, "amount") + `", "fee": "` + numbers.Draw(t, "fee") + `"}`),
		Class:        authz.DataClass(rapid.IntRange(0, 3).Draw(t, "class")),
		Jurisdiction: rapid.SampledFrom([]string{"", "CH", "EU", "US"}).Draw(t, "region"),
		Schedules:    some(t, "open", "month-end", "office-hours"),
	}
}

func drawDetail(t *rapid.T) authz.Detail {
	return authz.Detail{
		Type:       rapid.SampledFrom([]string{authz.DetailType, "other"}).Draw(t, "type"),
		Identifier: rapid.SampledFrom(capabilityIDs).Draw(t, "carried"),
		Actions:    some(t, "actions", "refund", "payments", "reports"),
		Limits: &authz.Limits{
			Class:   rapid.SampledFrom([]string{"", "public", "restricted", "?"}).Draw(t, "most"),
			Amount:  rapid.MapOfN(rapid.SampledFrom([]string{"amount", "fee"}), numbers, 0, 2).Draw(t, "amounts"),
			Regions: some(t, "regions", "CH", "US"), Schedules: some(t, "schedules", "month-end", "office-hours"),
		},
	}
}

// What Narrows accepts grants nothing that its parent does not.
func TestNarrowsGrantsNoMore(t *testing.T) {
	c := parse(t, payments)
	narrower := 0
	rapid.Check(t, func(t *rapid.T) {
		parent := drawDetail(t)
		parent.Type, parent.Identifier = authz.DetailType, rapid.SampledFrom([]string{"large-refund", "refund"}).Draw(t, "parent")
		child := clone(parent) // a few changes away, so that it often narrows
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			other := drawDetail(t)
			switch rapid.IntRange(0, 5).Draw(t, "change") {
			case 0:
				child.Identifier = other.Identifier
			case 1:
				child.Actions = other.Actions
			case 2:
				child.Limits.Class = other.Limits.Class
			case 3:
				child.Limits.Amount = other.Limits.Amount
			case 4:
				child.Limits.Regions = other.Limits.Regions
			case 5:
				child.Limits.Schedules = other.Limits.Schedules
			}
		}
		if catalog.Narrows(&child, &parent) != nil {
			return
		}
		narrower++
		agent, act := &authz.Agent{ID: "bot", Capabilities: capabilityIDs}, drawAct(t)
		act.Passport = &authz.Passport{Details: []authz.Detail{parent}}
		by := c.Grant(agent, act)
		act.Passport = &authz.Passport{Details: []authz.Detail{child}}
		for _, id := range c.Grant(agent, act).Within {
			if !slices.Contains(by.Within, id) {
				t.Fatalf("%+v %+v narrows %+v %+v and grants %s for %+v, which the other does not", child, child.Limits, parent, parent.Limits, id, act)
			}
		}
	})
	if narrower < 10 && !testing.Short() { // which draws a few only
		t.Errorf("%d details were narrower, which tells little", narrower)
	}
}

// Whatever a passport says, nothing is within that would not be without it, and whatever would be
// exceeded still is.
func TestPassportOnlyNarrows(t *testing.T) {
	c := parse(t, payments)
	rapid.Check(t, func(t *rapid.T) {
		agent := &authz.Agent{ID: "bot", Capabilities: some(t, "granted", capabilityIDs...)}
		act := drawAct(t)
		without := c.Grant(agent, act)
		act.Passport = &authz.Passport{Details: rapid.SliceOfN(rapid.Custom(drawDetail), 0, 4).Draw(t, "details")}
		with := c.Grant(agent, act)
		for _, id := range with.Within {
			if !slices.Contains(without.Within, id) {
				t.Errorf("with %+v, %s is within; without, it is not", act.Passport, id)
			}
		}
		for _, e := range without.Exceeded {
			if !slices.Contains(with.Exceeded, e) {
				t.Errorf("with %+v, %s is not exceeded; without, it is", act.Passport, e)
			}
		}
		if with.Class != without.Class {
			t.Errorf("with %+v, the class is %s, without %s", act.Passport, with.Class, without.Class)
		}
	})
}
