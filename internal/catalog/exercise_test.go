package catalog_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// exercise asks a catalog everything it can be asked, and checks what holds of every catalog.
func exercise(t *testing.T, c *catalog.Catalog) {
	at := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	if !slices.IsSorted(c.Open(at)) {
		t.Errorf("Open = %v, want them sorted", c.Open(at))
	}
	for _, s := range c.Schedules() {
		if next, ok := c.NextOpen(s, at); ok && (next.Before(at) || !slices.Contains(c.Open(next), s)) {
			t.Errorf("NextOpen(%q, %v) = %v, at which it is not open", s, at, next)
		}
	}
	for _, a := range []string{"10.0.0.1", "::1", "::ffff:10.0.0.1", "2001:db8:1::1"} {
		if zones, _ := c.Zones(netip.MustParseAddr(a)); !slices.IsSorted(zones) {
			t.Errorf("Zones(%s) = %v, want them sorted", a, zones)
		}
	}
	for _, typ := range c.EntityTypes() {
		for _, e := range c.Entities(typ) {
			if got, ok := c.Entity(e.Ref); !ok || got != e {
				t.Errorf("Entity(%v) = %v, %v, want the one in the list", e.Ref, got, ok)
			}
			if len(e.Properties) > 0 && !json.Valid(e.Properties) {
				t.Errorf("properties of %v are %s, which is not JSON", e.Ref, e.Properties)
			}
			_, labels, _ := c.Classify(&authz.Entity{Ref: e.Ref, Properties: e.Properties})
			if !slices.IsSorted(labels) {
				t.Errorf("Classify(%v) has labels %v, want them sorted", e.Ref, labels)
			}
		}
	}
	for _, k := range c.Capabilities() {
		if k.Class == "" || len(k.Actions) == 0 {
			t.Errorf("capability %+v has no class or no actions", k)
			continue
		}
		g := c.Grant(&authz.Agent{Capabilities: []string{k.ID}}, catalog.Act{Action: k.Actions[0]})
		if g.Class != k.Class || len(g.Within) == 0 == (len(g.Exceeded) == 0) {
			t.Errorf("Grant of %s = %+v, want it covered, within or exceeded", k.ID, g)
		}
	}
	exerciseConduct(t, c)
	exerciseApprovals(t, c)
	for _, o := range c.Obligations() {
		if o.Properties != nil && !json.Valid(o.Properties) {
			t.Errorf("properties of obligation %s are %s, which is not JSON", o.ID, o.Properties)
		}
	}
	req := &authz.Request{Action: authz.Action{Name: "refund"}}
	if got, want := len(c.Missing(req, &authz.Facts{})), len(c.RequiredSignals("refund")); got != want {
		t.Errorf("an empty request misses %d signals, want all %d", got, want)
	}
}
