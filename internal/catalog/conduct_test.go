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

// A catalog that says nothing of conduct has the defaults; one that says something keeps the others.
func TestConduct(t *testing.T) {
	const day = 24 * time.Hour
	conduct := func(text string, change func(*catalog.Conduct)) {
		t.Helper()
		want := catalog.DefaultConduct()
		change(&want)
		if diff := cmp.Diff(&want, parse(t, text).Conduct()); diff != "" {
			t.Errorf("Conduct of %s (-want +got):\n%s", text, diff)
		}
	}
	conduct(`{}`, func(*catalog.Conduct) {})
	conduct(`conduct: {}`, func(*catalog.Conduct) {})
	conduct(`conduct: {mode: enforce}`, func(*catalog.Conduct) {})
	conduct(`conduct: {mode: shadow, cooldown: 0s, keep: 30d}`, func(c *catalog.Conduct) {
		c.Shadow, c.Cooldown, c.Keep = true, 0, 30*day
	})
	conduct(`conduct: {deviation: off, escalation: off, performance: off, compliance: "off", asking: off}`, func(c *catalog.Conduct) {
		c.Deviation.Off, c.Escalation.Off, c.Performance.Off, c.Compliance.Off, c.Asking.Off = true, true, true, true, true
	})
	conduct(`conduct: {asking: {many: 20, fast: 1, least: 8}}`, func(c *catalog.Conduct) {
		c.Asking.Many, c.Asking.Fast, c.Asking.Least = 20, 1, 8
	})
	conduct(`conduct: {trust: {levels: {enter: {high: 0.95}, leave: {high: 0.9}}, half_life: {bad: 1h30m}, severity: {critical: 50}}}`, func(c *catalog.Conduct) {
		c.Trust.Enter[2], c.Trust.Leave[2], c.Trust.BadHalfLife, c.Trust.Severity[3] = 0.95, 0.9, 90*time.Minute, 50
	})
	conduct(`conduct: {trust: {quarantine: false, bounds: [{agent: bot, ceiling: low}, {purpose: billing, class: money, floor: low, ceiling: medium}]}}`, func(c *catalog.Conduct) {
		c.Trust.Quarantine = false
		c.Trust.Bounds = []catalog.TrustBound{
			{Agent: "bot", Ceiling: "low"}, {Purpose: "billing", Class: "money", Floor: "low", Ceiling: "medium"},
		}
	})
	conduct(`conduct: {deviation: {alpha: 0.01}, escalation: {window: 1h, protected: [vault, Agent]}, performance: {least: 20}}`, func(c *catalog.Conduct) {
		c.Deviation.Alpha, c.Escalation.Window, c.Performance.Least = 0.01, time.Hour, 20
		c.Escalation.Protected = []string{"Agent", "vault"}
	})
	conduct(`{capabilities: {refund: {class: money, actions: [refund]}}, conduct: {compliance: {
	  receipts: {within: 15m, classes: [money, egress], obligations: true}, purposes: {customer service: [refund]},
	  regions: [{labels: [pii], jurisdictions: [EU], countries: [DE, CH]}], retention: [{type: ticket, property: closed, keep: 3650d}]}}}`, func(c *catalog.Conduct) {
		c.Compliance = catalog.ComplianceRules{
			Receipt: 15 * time.Minute, ReceiptFor: []string{"egress", "money"}, ReceiptObliged: true,
			Purposes:  map[string][]string{"customer service": {"refund"}},
			Regions:   []catalog.RegionRule{{Labels: []string{"pii"}, Jurisdictions: []string{"EU"}, Countries: []string{"CH", "DE"}}},
			Retention: []catalog.RetentionRule{{Type: "ticket", Property: "closed", Keep: 3650 * day}},
		}
	})
}

// Two catalogs do not share what one of them could change.
func TestConductIsItsOwn(t *testing.T) {
	parse(t, "{}").Conduct().Escalation.Protected[0] = "nothing"
	if got := parse(t, "{}").Conduct().Escalation.Protected[0]; got != "Agent" {
		t.Errorf("the first protected type of another catalog is %q, want Agent", got)
	}
}

// Types that rules of conduct name must be in the schema; our own are protected in any case.
func TestConductMentions(t *testing.T) {
	c := parse(t, `conduct: {escalation: {protected: [Agent, Policy, vault]}, compliance: {retention: [{type: ticket, property: at, keep: 1d}]}}`)
	var got []string
	for _, m := range c.Mentions() {
		if m.Kind == catalog.MentionsType {
			got = append(got, m.By+" "+m.Name)
		}
	}
	if want := []string{"protected vault", "retention ticket"}; !slices.Equal(got, want) {
		t.Errorf("Mentions = %q, want %q", got, want)
	}
}

// A grant is essential if a capability that covers the act within its limits is.
func TestEssentialGrants(t *testing.T) {
	c := parse(t, `capabilities:
  report: {class: write, actions: [note], essential: true, limits: {amount: {n: 5}}}
  work: {class: write, actions: [note, change]}
`)
	essential := func(capabilities, action, resource, args string, want bool) {
		t.Helper()
		g := c.Grant(&authz.Agent{Capabilities: strings.Fields(capabilities)}, catalog.Act{
			Action: action, Resource: authz.Ref{Type: authz.CapabilityType, ID: resource}, Arguments: authz.Claimed(args),
		})
		if g.Essential != want {
			t.Errorf("Grant(%s, %s %s %s) = %+v, want essential %v", capabilities, action, resource, args, g, want)
		}
	}
	essential("report", "note", "", `{"n": 5}`, true)
	essential("report work", "note", "", `{"n": 5}`, true)
	essential("report work", "note", "", `{"n": 6}`, false) // covered, by what is not essential
	essential("report", "note", "", `{"n": 6}`, false)
	essential("work", "note", "", `{"n": 5}`, false)
	essential("report work", "change", "", "", false)
	essential("report", authz.ActionIssue, "report", "", true)
	essential("work", authz.ActionIssue, "report", "", false)
	essential("work", authz.ActionIssue, "work", "", false)
}

// A length of time is read as it is written, whichever way that is, up to the longest.
func TestDurationsAreReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		days := rapid.Int64Range(0, 40).Draw(t, "days")
		want := time.Duration(days) * 24 * time.Hour
		for _, text := range []string{fmt.Sprintf("%dd", days), fmt.Sprintf("%dh", 24*days), want.String()} {
			c, err := catalog.Parse("c", []byte("conduct: {cooldown: "+text+"}"))
			if (err == nil) != (days <= 30) {
				t.Fatalf("cooldown %s: %v, want it accepted up to 30 days", text, err)
			}
			if err == nil && c.Conduct().Cooldown != want {
				t.Fatalf("cooldown %s is read as %v, want %v", text, c.Conduct().Cooldown, want)
			}
		}
	})
}

// exerciseConduct checks what holds of the rules of conduct of every catalog.
func exerciseConduct(t *testing.T, cat *catalog.Catalog) {
	c := cat.Conduct()
	if !slices.IsSorted(c.Trust.Enter[:]) || !slices.IsSorted(c.Trust.Leave[:]) || !slices.IsSorted(c.Trust.Severity[:]) {
		t.Errorf("levels %v, %v or severities %v do not rise", c.Trust.Enter, c.Trust.Leave, c.Trust.Severity)
	}
	for i := range c.Trust.Enter {
		if c.Trust.Leave[i] >= c.Trust.Enter[i] {
			t.Errorf("a level is entered at %v and left at %v", c.Trust.Enter[i], c.Trust.Leave[i])
		}
	}
	for _, w := range []float64{
		c.Trust.PriorAlpha, c.Trust.PriorBeta, c.Trust.Quantile, c.Trust.Session, c.Trust.Daily, c.Deviation.Alpha, c.Deviation.Drift,
		c.Trust.GoodHalfLife.Seconds(), c.Trust.BadHalfLife.Seconds(), c.Keep.Seconds(), c.Deviation.Remember.Seconds(), c.Escalation.Window.Seconds(),
	} {
		if !(w > 0) {
			t.Errorf("Conduct = %+v has a %v where something positive must be", c, w)
		}
	}
	for _, b := range c.Trust.Bounds {
		if b.Floor == "" && b.Ceiling == "" {
			t.Errorf("bound %+v says nothing", b)
		}
	}
	for purpose, ids := range c.Compliance.Purposes {
		for _, id := range ids {
			if _, ok := cat.Capability(id); !ok {
				t.Errorf("purpose %q has capability %q, which is not declared", purpose, id)
			}
		}
	}
	for _, q := range c.Compliance.Regions {
		if len(q.Countries) == 0 {
			t.Errorf("rule of regions %+v lets nobody use the data", q)
		}
	}
	for _, q := range c.Compliance.Retention {
		if q.Type == "" || q.Property == "" || q.Keep <= 0 {
			t.Errorf("rule of retention %+v is not whole", q)
		}
	}
}
