package catalog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

const payments = `
schedules:
  office-hours: {windows: [{days: mon-fri, from: "08:00", to: "18:00"}]}
  month-end: {windows: [{}]}
capabilities:
  look-up:
    class: read
    actions: [read_order, reports]
  refund:
    class: money
    actions: [refund]
    limits:
      class: confidential
      amount: {amount: 99.50}
      regions: [CH, EU]
      schedules: [office-hours, month-end]
  large-refund:
    class: money
    actions: [payments]
    limits: {amount: {amount: 10000, fee: "0.30"}}
  clean-up:
    class: admin
    actions: [refund]
    limits: {class: public}
`

func TestGrant(t *testing.T) {
	c := parse(t, payments)
	agent := func(capabilities string) *authz.Agent {
		return &authz.Agent{ID: "bot", Capabilities: strings.Fields(capabilities)}
	}
	grant := func(capabilities string, act catalog.Act, class, within, exceeded string) {
		t.Helper()
		want := authz.Grant{Within: strings.Fields(within), Exceeded: strings.Fields(exceeded), Class: class}
		if len(want.Exceeded) == 0 {
			want.Exceeded = nil
		}
		if diff := cmp.Diff(want, c.Grant(agent(capabilities), act)); diff != "" {
			t.Errorf("Grant(%s, %+v) (-want +got):\n%s", capabilities, act, diff)
		}
	}
	refund := func(args string) catalog.Act {
		return catalog.Act{
			Action: "refund", Groups: []string{"payments"}, Arguments: authz.Claimed(args),
			Class: authz.Internal, Jurisdiction: "EU", Schedules: []string{"office-hours"},
		}
	}

	// By the action's own name, by a group, by neither.
	grant("look-up", catalog.Act{Action: "read_order"}, "read", "look-up", "")
	grant("look-up", catalog.Act{Action: "count_orders", Groups: []string{"reports"}}, "read", "look-up", "")
	grant("look-up", catalog.Act{Action: "delete_order"}, "", "", "")
	grant("", catalog.Act{Action: "read_order"}, "", "", "")
	grant("withdrawn", catalog.Act{Action: "read_order"}, "", "", "") // not declared any more

	// Within all limits, and over each of them.
	grant("refund", refund(`{"amount": 99.5}`), "money", "refund", "")
	grant("refund", refund(`{"amount": 99.51}`), "money", "", "refund/amount.amount")
	over := refund(`{"amount": 1}`)
	over.Class = authz.Restricted
	grant("refund", over, "money", "", "refund/class")
	over.Class, over.Jurisdiction = authz.Confidential, "US"
	grant("refund", over, "money", "", "refund/region")
	over.Jurisdiction = ""
	grant("refund", over, "money", "", "refund/region")
	over.Jurisdiction, over.Schedules = "CH", nil
	grant("refund", over, "money", "", "refund/schedule")
	over.Schedules = []string{"month-end"}
	grant("refund", over, "money", "refund", "")
	grant("refund", catalog.Act{Action: "refund"}, "money", "", "refund/amount.amount refund/class refund/region refund/schedule")

	// One within is enough; the gravest that covers names the class.
	grant("clean-up large-refund refund", refund(`{"amount": 500, "fee": 0.3}`), "admin", "large-refund", "clean-up/class refund/amount.amount")
	grant("large-refund refund", refund(`{"amount": 50}`), "money", "refund", "large-refund/amount.fee")

	if got := c.Grant(nil, refund(`{}`)); got.Class != "" || len(got.Within) > 0 {
		t.Errorf("Grant of nobody = %+v, want nothing", got)
	}
}

// Amounts are compared digit by digit, and what is not a plain amount is over the limit.
func TestAmounts(t *testing.T) {
	within := func(most, args string, want bool) {
		t.Helper()
		c := parse(t, `capabilities: {pay: {class: money, actions: [pay], limits: {amount: {"amount": `+most+`}}}}`)
		g := c.Grant(&authz.Agent{Capabilities: []string{"pay"}}, catalog.Act{Action: "pay", Arguments: authz.Claimed(args)})
		if got := len(g.Within) == 1; got != want {
			t.Errorf("pay %s with at most %s: within %v, want %v", args, most, got, want)
		}
	}
	ok := func(most, args string) { t.Helper(); within(most, args, true) }
	no := func(most, args string) { t.Helper(); within(most, args, false) }

	ok("100", `{"amount": 100}`)
	ok("100", `{"amount": 100.00}`)
	ok("100", `{"amount": "100.00"}`)
	ok("100", `{"amount": 1e2}`)
	ok("100", `{"amount": 10E+1}`)
	ok("100", `{"amount": 0}`)
	ok("100", `{"amount": 0.000}`)
	ok("0", `{"amount": 0}`)
	ok("0.1", `{"amount": 0.10}`)
	ok("1e3", `{"amount": 999}`)
	ok(`"9007199254740993"`, `{"amount": 9007199254740993}`)
	no(`"9007199254740993"`, `{"amount": 9007199254740994}`) // the same as a float
	no("100", `{"amount": 100.00000000000000000001}`)        // likewise
	no("100", `{"amount": 1e3}`)
	no("100", `{"amount": 1e400}`)
	no("100", `{"amount": 1e99999999999999999999}`)
	no("0", `{"amount": 0.001}`)
	no("0.05", `{"amount": 0.5}`)
	ok("0.5", `{"amount": 0.05}`)

	no("100", ``)
	no("100", `{}`)
	no("100", `{"Amount": 1}`)
	no("100", `{"amount": -1}`)
	no("100", `{"amount": -0}`)
	no("100", `{"amount": null}`)
	no("100", `{"amount": true}`)
	no("100", `{"amount": [1]}`)
	no("100", `{"amount": {"value": 1}}`)
	no("100", `{"amount": ""}`)
	no("100", `{"amount": "ten"}`)
	no("100", `{"amount": "1 "}`)
	no("100", `{"amount": "1,5"}`)
	no("100", `{"amount": "0x1"}`)
	no("100", `{"amount": "."}`)
	no("100", `{"amount": "1."}`)
	no("100", `{"amount": ".5"}`)
	no("100", `{"amount": "1e"}`)
	no("100", `{"amount": 1, "amount": 2}`)
	no("100", `{"amount": 1, "\u0061mount": 2}`) // the same name, written otherwise
	ok("100", `{"\u0061mount": 2}`)
	ok("100", `{"note": "\"amount\": 999, {[", "nested": {"amount": 999}, "list": [{"amount": "]"}], "amount": 2}`)
	no("100", `{"nested": {"amount": 1}}`)
	no("100", `{"amount": 1`)
	no("100", `{"amount" 1}`)
	no("100", `[{"amount": 1}]`)
}

func BenchmarkGrant(b *testing.B) {
	c := parse(b, payments)
	a := &authz.Agent{Capabilities: []string{"large-refund", "look-up", "refund"}}
	act := catalog.Act{
		Action: "refund", Groups: []string{"payments"}, Arguments: authz.Claimed(`{"to": "DE02120300000000202051", "amount": 99.5, "fee": 0.1}`),
		Class: authz.Internal, Jurisdiction: "EU", Schedules: []string{"office-hours"},
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Grant(a, act)
	}
}
