package catalog_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
)

func TestClassify(t *testing.T) {
	c := parse(t, `
types:
  document:
    class: internal
    labels: [business]
    jurisdiction: EU
    request_properties: [status]
  account: {labels: [financial]}
classify:
  - {type: document, id: "public/*", class: public}
  - {type: document, id: "*payroll*", class: restricted, labels: [pii, financial]}
  - {type: document, properties: {status: [draft, embargoed]}, class: confidential, labels: [unfinished]}
  - {type: document, properties: {status: released}, class: public}
  - {type: document, properties: {tags: leaked}, class: restricted}
  - {type: document, properties: {level: 3}, class: confidential}
  - {type: document, properties: {sealed: true}, labels: [sealed], jurisdiction: CH}
  - {type: mail, id: "?@example.org", class: internal, jurisdiction: CH}
  - {id: "us-*", jurisdiction: US}
entities:
  - {type: document, id: plan, properties: {status: draft}}
  - {type: document, id: flyer, properties: {status: released}}
  - {type: document, id: leak, properties: {tags: [old, leaked], level: 3.0}}
  - {type: document, id: level, properties: {level: 3.00}}
  - {type: document, id: sealed, properties: {sealed: true}}
`)
	is := func(typ, id, properties, class, jurisdiction string, labels ...string) {
		t.Helper()
		r := &authz.Entity{Ref: authz.Ref{Type: typ, ID: id}, Properties: authz.Claimed(properties)}
		gotClass, gotLabels, gotJurisdiction := c.Classify(r)
		if gotClass.String() != class || gotJurisdiction != jurisdiction {
			t.Errorf("Classify(%s:%s %s) = %v, %q, want %s, %q", typ, id, properties, gotClass, gotJurisdiction, class, jurisdiction)
		}
		if diff := cmp.Diff(append([]string{}, labels...), gotLabels); diff != "" {
			t.Errorf("Classify(%s:%s %s): labels (-want +got):\n%s", typ, id, properties, diff)
		}
	}

	// What nothing classifies is restricted.
	is("unheard-of", "x", "", "restricted", "")
	is("account", "7", "", "restricted", "", "financial")

	// The type speaks where no rule does; a rule may be less strict than the type.
	is("document", "x", "", "internal", "EU", "business")
	is("document", "public/x", "", "public", "EU", "business")

	// The strictest of the rules wins, and labels are joined.
	is("document", "public/payroll-2026", "", "restricted", "EU", "business", "financial", "pii")

	// A stored property counts as it is.
	is("document", "plan", "", "confidential", "EU", "business", "unfinished")
	is("document", "flyer", "", "public", "EU", "business")
	is("document", "leak", "", "restricted", "EU", "business")
	is("document", "level", "", "confidential", "EU", "business")
	is("document", "sealed", "", "internal", "CH", "business", "sealed")

	// What a request states can make the class stricter, and never less strict.
	is("document", "x", `{"status": "draft"}`, "confidential", "EU", "business", "unfinished")
	is("document", "x", `{"status": "released"}`, "internal", "EU", "business")
	is("document", "plan", `{"status": "released"}`, "confidential", "EU", "business", "unfinished")
	is("document", "flyer", `{"status": "draft"}`, "confidential", "EU", "business", "unfinished")

	// What a request states without leave does not count at all.
	is("document", "x", `{"tags": ["leaked"], "sealed": true}`, "internal", "EU", "business")

	// Rules without a type are for every type, also for those of which nothing else is declared.
	is("mail", "a@example.org", "", "internal", "CH")
	is("mail", "é@example.org", "", "internal", "CH")
	is("mail", "anna@example.org", "", "restricted", "")
	is("unheard-of", "us-1", "", "restricted", "US")
	is("document", "us-1", "", "internal", "US", "business")

	// A default is for what nothing classifies, and for types without a class.
	c = parse(t, "default_class: internal\ntypes: {account: {}, vault: {class: restricted}}")
	is("unheard-of", "x", "", "internal", "")
	is("account", "x", "", "internal", "")
	is("vault", "x", "", "restricted", "")
}

func TestClassifyPatterns(t *testing.T) {
	match := func(pattern, id string, want bool) {
		t.Helper()
		c := parse(t, `classify: [{type: t, id: "`+pattern+`", class: public}]`)
		class, _, _ := c.Classify(&authz.Entity{Ref: authz.Ref{Type: "t", ID: id}})
		if got := class == authz.Public; got != want {
			t.Errorf("pattern %q matches %q: %v, want %v", pattern, id, got, want)
		}
	}
	match("a", "a", true)
	match("a", "ab", false)
	match("*", "", true)
	match("*", "a/b/c", true)
	match("a*", "a", true)
	match("*c", "abc", true)
	match("*c", "abcd", false)
	match("a*b*c", "a-b-b-c", true)
	match("a*b*c", "a-c-b", false)
	match("?", "ß", true)
	match("??", "ß", false)
	match("*??", "ß", false)
	match("?*?", "€x", true)
	match("*x?", "axxb", true)
	match("**", "", true)
	match("?", "", false)
}
