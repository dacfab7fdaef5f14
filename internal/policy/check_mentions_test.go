package policy_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// What the catalog names and the schema does not know is refused, with its place.
func TestCompileRefusesUnknownNamesOfTheCatalog(t *testing.T) {
	const known = `capabilities:
  pay: {class: money, actions: [pay, money]}
types:
  Account: {class: internal}
  agent: {labels: [bot]}
classify:
  - {type: Card, id: "x*", class: public}
entities:
  - {type: Account, id: a, properties: {balance: 1}}
  - {type: user, id: ann}
approvers:
  desk: {members: [{type: User, id: ann}]}
signals:
  actions: {pay: [session]}
`
	const typos = `capabilities:
  pay:
    class: money
    actions:
      - money
      - pya
types:
  Acount: {class: internal}
  Account: {class: internal}
classify:
  - {type: Crad, class: public}
entities:
  - {type: Planet, id: x}
  - {type: Planet, id: y}
  - {type: Account, id: z, properties: {balance: much}}
approvers:
  desk: {members: [{type: Usr, id: ann}]}
signals:
  actions:
    money: [session]
    paye: [session]
`
	compile := func(text string) error {
		cat, err := catalog.Parse("catalog.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		src := policy.Source{Schema: checkSchema, Files: []policy.File{{Name: "p.cedar", Text: "permit (principal is Agent, action, resource);"}}}
		_, err = policy.Compile(src, cat)
		return err
	}
	cat, err := catalog.Parse("catalog.yaml", []byte("capabilities:\n  pay:\n    class: money\n    actions: [money]\n    limits:\n      amount: {count: 3, amout: 5}\n"))
	if err != nil {
		t.Fatal(err)
	}
	src := policy.Source{Schema: checkSchema, Files: []policy.File{{Name: "p.cedar", Text: "permit (principal is Agent, action, resource);"}}}
	const limit = `catalog:6:26: warning: capability pay: the schema has no argument "amout" of its actions: what lacks the argument is over the limit
	hint: did you mean "amount"?
`
	if d := cmp.Diff(limit, policy.Check(src, cat, checkDay).String()); d != "" {
		t.Errorf("problems of a limit (-want +got):\n%s", d)
	}
	if err := compile(known); err != nil {
		t.Errorf("a catalog that names what the schema knows: %v", err)
	}
	err = compile(typos)
	var ps *policy.Problems
	if !errors.As(err, &ps) || !errors.Is(err, authz.ErrInvalid) {
		t.Fatalf("Compile = %v, want *Problems", err)
	}
	want := `catalog:6:9: capability pay: the schema has no action or group of actions "pya"
	hint: did you mean "pay"?
catalog:8:3: types: the schema has no entity type "Acount"
	hint: did you mean "Account"?
catalog:11:12: classify: the schema has no entity type "Crad"
	hint: did you mean "Card"?
catalog:13:5: entity Planet:x: the schema has no entity type "Planet"
	hint: declare it in the schema
catalog:15:5: Account:z: Account.balance: must be an integer
catalog:17:20: approvers: the schema has no entity type "Usr"
	hint: did you mean "User"?
catalog:20:5: signals: the schema has no single action "money"
	hint: it is a group: name each of its actions
catalog:21:5: signals: the schema has no action "paye"
	hint: did you mean "pay"?
`
	if d := cmp.Diff(want, ps.String()); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}
}
