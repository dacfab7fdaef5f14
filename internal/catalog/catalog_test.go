package catalog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

func TestDeclared(t *testing.T) {
	c := parse(t, `{
  "zone": "Europe/Berlin",
  "types": {"document": {"class": "internal", "request_properties": ["status", "owner"]}},
  "obligations": {"mask": {"type": "our-mask", "properties": {"fields": ["a", 1, 2.50, true, null], "q\"": "ü\n"}}, "note": {"type": "our-note"}},
  "reasons": {"embargo": {"message": "Not now.", "detail": "See the runbook."}},
  "approvers": {"finance": {"title": "Finance", "members": [{"type": "user", "id": "anna"}, {"claims": {"department": "finance"}}]}},
  "entities": [
    {"type": "user", "id": "ben", "parents": [{"type": "team", "id": "sales"}]},
    {"type": "user", "id": "anna", "properties": {"limit": 250, "roles": ["editor"]}},
    {"type": "team", "id": "sales"}
  ]
}`)
	same := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(catalog.Stored{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	same("Zone", c.Zone().String(), "Europe/Berlin")
	same("EntityTypes", c.EntityTypes(), []string{"team", "user"})
	same("Entities", c.Entities("user"), []*catalog.Stored{
		{Ref: authz.Ref{Type: "user", ID: "anna"}, Properties: authz.Claimed(`{"limit":250,"roles":["editor"]}`)},
		{Ref: authz.Ref{Type: "user", ID: "ben"}, Parents: []authz.Ref{{Type: "team", ID: "sales"}}},
	})
	same("Entities of no type", len(c.Entities("planet")), 0)
	if _, ok := c.Entity(authz.Ref{Type: "user", ID: "sales"}); ok {
		t.Error("Entity finds a user sales, who is a team")
	}
	typ, ok := c.Type("document")
	if !ok || typ.Class != authz.Internal {
		t.Errorf("Type(document) = %+v, %v, want an internal one", typ, ok)
	}
	same("RequestProperties", typ.RequestProperties, []string{"owner", "status"})
	mask, _ := c.Obligation("mask")
	same("Obligation", string(mask.Properties), `{"fields":["a",1,2.50,true,null],"q\"":"ü\n"}`)
	note, ok := c.Obligation("note")
	if !ok || note.Type != "our-note" || note.Properties != nil {
		t.Errorf("Obligation(note) = %+v, %v, want one without properties", note, ok)
	}
	reason, _ := c.Reason("embargo")
	same("Reason", reason, catalog.Reason{ID: "embargo", Message: "Not now.", Detail: "See the runbook."})
	finance, _ := c.Approvers("finance")
	same("Approvers", finance, &catalog.Approvers{ID: "finance", Title: "Finance", Members: []catalog.Approver{
		{Person: authz.Ref{Type: "user", ID: "anna"}}, {Claims: map[string]string{"department": "finance"}},
	}})
	for what, ok := range map[string]bool{
		"capability": is(c.Capability("x")), "reason": is(c.Reason("x")), "obligation": is(c.Obligation("x")), "type": is(c.Type("x")), "approvers": is(c.Approvers("x")),
	} {
		if ok {
			t.Errorf("there is a %s x, which nobody declared", what)
		}
	}
}

func is[T any](_ T, ok bool) bool { return ok }

// A list is written once and used twice.
func TestAliases(t *testing.T) {
	c := parse(t, `
schedules:
  a: {windows: &w [{days: mon-fri, from: "08:00", to: "18:00"}], holidays: &h [2026-12-25]}
  b: {windows: *w, holidays: *h, zone: Europe/Berlin}
`)
	for day, want := range map[int]int{24: 2, 25: 0} {
		at := time.Date(2026, 12, day, 12, 0, 0, 0, time.UTC)
		if got := c.Open(at); len(got) != want {
			t.Errorf("Open(%v) = %v, want %d", at, got, want)
		}
	}
}

// A large organisation's catalog is read in a few seconds.
func TestLargeCatalog(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 20,000 entities")
	}
	var b strings.Builder
	b.WriteString("entities:\n  - {type: team, id: all}\n")
	for i := range 20000 {
		fmt.Fprintf(&b, "  - {type: user, id: user-%d, properties: {roles: [editor], floor: %d}, parents: [{type: team, id: all}]}\n", i, i%9)
	}
	begin := time.Now()
	c := parse(t, b.String())
	t.Logf("%d bytes with 20,000 entities in %v", b.Len(), time.Since(begin).Round(time.Millisecond))
	if got := len(c.Entities("user")); got != 20000 {
		t.Errorf("%d users, want 20000", got)
	}
}
