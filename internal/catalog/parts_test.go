package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

const partsText = `
zone: Europe/Berlin
capabilities:
  pay: {class: money, actions: [pay], limits: {amount: {amount: "99.50"}, schedules: [office]}}
schedules:
  office: {windows: [{days: mon-fri, from: "08:00", to: "18:00"}], holidays: &days [2026-12-24]}
  late: {windows: [{from: "18:00", to: "20:00"}], holidays: *days}
networks: {office: [10.0.0.0/8, "2001:db8::/32"]}
approvers: {board: {members: [{type: user, id: ann}]}}
approvals: {default: board, routes: {board: {approvers: [board]}}}
classify:
  - {type: invoice, properties: {status: [draft, 3]}, class: internal}
entities:
  - {type: user, id: ann}
  - {type: user, id: ben, parents: [{type: user, id: ann}]}
signals: {always: [session], actions: {pay: [provenance]}}
`

func TestParts(t *testing.T) {
	parts, err := catalog.Parts("c.yaml", []byte(partsText))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range parts {
		got = append(got, p.Section+"/"+p.ID)
		if p.ID == "late" && p.Value != `{"windows":[{"from":"18:00","to":"20:00"}],"holidays":["2026-12-24"]}` {
			t.Errorf("late = %s", p.Value)
		}
		if p.Line == 0 {
			t.Errorf("%s/%s has no line", p.Section, p.ID)
		}
	}
	want := "zone/ capabilities/pay schedules/office schedules/late networks/office approvers/board approvals/default routes/board classify/rule 1 entities/user:ann entities/user:ben signals/"
	if got := strings.Join(got, " "); got != want {
		t.Errorf("parts\ngot  %s\nwant %s", got, want)
	}
	if _, err := catalog.Parts("c.yaml", []byte("a: [")); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("parts of no document: %v", err)
	}
	bomb := "x: &x \"" + strings.Repeat("x", 1<<20) + "\"\nentities:\n" + strings.Repeat("  - *x\n", 1000)
	if _, err := catalog.Parts("c.yaml", []byte(bomb)); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("parts of a document that aliases make huge: %v", err)
	}
}

// What is declared is told as it was declared.
func TestView(t *testing.T) {
	c := parse(t, partsText)
	s, ok := c.Schedule("office")
	if !ok || len(s.Windows) != 1 || strings.Join(s.Windows[0].Days, " ") != "mon tue wed thu fri" || s.Windows[0].From != "08:00" ||
		s.Windows[0].To != "18:00" || s.Zone.String() != "Europe/Berlin" || strings.Join(s.Holidays, " ") != "2026-12-24" {
		t.Errorf("Schedule(office) = %+v, %v", s, ok)
	}
	if got := c.Ranges("office"); len(got) != 2 || got[0].String() != "10.0.0.0/8" || got[1].String() != "2001:db8::/32" {
		t.Errorf("Ranges(office) = %v", got)
	}
	if got := c.Rules(); len(got) != 1 || got[0].Type != "invoice" || strings.Join(got[0].Properties["status"], " ") != `"draft" 3` {
		t.Errorf("Rules() = %+v", got)
	}
	if got := c.SignalActions(); len(got) != 1 || got[0] != "pay" {
		t.Errorf("SignalActions() = %v", got)
	}
}

// Whatever the text is, taking it apart ends with parts or with problems.
func FuzzParts(f *testing.F) {
	f.Add(partsText)
	f.Add("entities: [{id: a}, {type: [b]}, c]\nclassify: {}\n")
	f.Add("a: &a [1]\nb: *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := catalog.Parts("c.yaml", []byte(text)); err != nil && !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Parts: %v, want authz.ErrInvalid", err)
		}
	})
}
