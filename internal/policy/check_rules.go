package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// A checker looks for what is wrong with rules that could be parsed and annotated: ids given twice,
// what the schema refuses, and what can never have an effect.
type checker struct {
	files  []File
	ps     *Problems
	now    time.Time
	narrow *narrower // nil if there is no schema to check against
	own    *narrower // by the operator's actions only
	strict *validate.Validator

	required                         []string // signals that the catalog requires of every act
	attributes, entityTypes, actions []string // every name of the schema, for hints
}

// newChecker returns a checker of the files' rules. The schema may be nil.
func newChecker(files []File, s *schema, ps *Problems) *checker {
	c := &checker{files: files, ps: ps}
	if s != nil {
		c.narrow = newNarrower(s, s.resolved)
		c.own = newNarrower(s, s.withoutBase())
		c.learn(s.resolved)
	}
	return c
}

// check reports what is wrong with the rules.
func (c *checker) check(rules []*rule) {
	c.ids(rules)
	if c.narrow != nil {
		c.each(rules, (*checker).types)
	}
	for _, r := range rules {
		c.lint(r)
	}
}

// each calls f with every rule and a checker of its own, which knows the rule's validator, on all
// cores. Problems are told in the order of the rules.
func (c *checker) each(rules []*rule, f func(*checker, *rule)) {
	found := make([]Problems, len(rules))
	inParallel(len(rules), func(i int) {
		own := *c
		own.ps, own.strict = &found[i], c.validator(rules[i].ast)
		f(&own, rules[i])
	})
	for i := range found {
		c.ps.List = append(c.ps.List, found[i].List...)
	}
}

// validator returns the validator of a policy. One that speaks of any action is meant for those of
// the operator, and need not make sense for those of the base schema, unless it can apply to nothing
// else: then, as for every action, what cannot be evaluated permits nothing, or forbids.
func (c *checker) validator(p *cedarast.Policy) *validate.Validator {
	if _, all := p.Action.(cedarast.ScopeTypeAll); all && c.own.reaches(p) {
		return c.own.validator(p)
	}
	return c.narrow.validator(p)
}

// withoutBase returns the schema with the actions of the base schema applying to nothing.
func (s *schema) withoutBase() *resolved.Schema {
	r := *s.resolved
	r.Actions = maps.Clone(r.Actions)
	for uid := range s.base {
		a := r.Actions[uid]
		a.AppliesTo = nil
		r.Actions[uid] = a
	}
	return &r
}

// at returns a problem of r whose place is t.
func (c *checker) at(r *rule, t token, sev Severity, hint, format string, args ...any) {
	c.ps.add(Problem{
		File: c.files[r.file].Name, Line: t.line, Column: t.column, Policy: r.id,
		Severity: sev, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// annotation returns the place of an annotation's key, or that of the policy.
func (r *rule) annotation(key string) token {
	for _, t := range r.statement.annotations {
		if t.text == key {
			return t
		}
	}
	return r.statement.head()
}

// head returns the place of the policy's effect.
func (s statement) head() token {
	for i, t := range s.tokens {
		if (t.text == "permit" || t.text == "forbid") && (i == 0 || s.tokens[i-1].text != "@") {
			return t
		}
	}
	return s.tokens[0]
}

func (c *checker) ids(rules []*rule) {
	first := make(map[string]*rule, len(rules))
	for _, r := range rules {
		o, taken := first[r.id]
		if !taken {
			first[r.id] = r
			continue
		}
		t := r.annotation("id")
		c.at(r, t, SeverityError, "ids name policies in the record, so that each must be given once",
			"policy id %q is already taken at %s:%d", r.id, c.files[o.file].Name, o.annotation("id").line)
	}
}

// types reports what the schema refuses in r, each error at the narrowest place that is known. A
// policy that is in order costs one run of the validator.
func (c *checker) types(r *rule) {
	errs := plainest(validatePolicy(c.strict, r.ast))
	if len(errs) == 0 {
		return
	}
	bare := *r.ast
	bare.Conditions = nil
	seen := make(map[string]bool)
	for _, err := range validatePolicy(c.strict, &bare) {
		seen[err.Error()] = true
	}
	for _, msg := range slices.Sorted(maps.Keys(seen)) {
		if strings.HasPrefix(msg, cannotApply) && len(seen) > 1 {
			continue // it follows from the other
		}
		c.typeError(r, msg, r.statement.scope)
	}
	if len(errs) == len(seen) {
		return
	}
	for u, n := range c.units(r) {
		for _, err := range plainest(validatePolicy(c.strict, n)) {
			if msg := err.Error(); !seen[msg] {
				seen[msg] = true
				c.typeError(r, msg, u.tokens)
			}
		}
	}
	for _, err := range errs { // whatever the parts did not show
		if msg := err.Error(); !seen[msg] {
			seen[msg] = true
			c.typeError(r, msg, nil)
		}
	}
}

// plainest drops errors that follow from others of the list: that two types differ, where one of them
// should not be there at all.
func plainest(list []error) []error {
	wrong := slices.ContainsFunc(list, func(e error) bool { return strings.HasPrefix(e.Error(), "unexpected type: ") })
	return slices.DeleteFunc(list, func(e error) bool { return wrong && strings.HasPrefix(e.Error(), "the types ") })
}

// A unit is a part of a policy that can be judged by itself: a clause, or one of the conditions that
// a when clause joins by &&.
type unit struct{ tokens []token }

// units yields the parts of r's conditions in order, each with the policy that ends with it.
func (c *checker) units(r *rule) func(yield func(unit, *cedarast.Policy) bool) {
	return func(yield func(unit, *cedarast.Policy) bool) {
		p := *r.ast
		p.Conditions = nil
		for i, cl := range r.statement.clauses {
			if i >= len(r.ast.Conditions) {
				return
			}
			cond := r.ast.Conditions[i]
			parts := conjuncts(cl)
			if cond.Condition == cedarast.ConditionUnless || len(parts) < 2 || len(parts) > 64 {
				parts = [][]token{cl.tokens}
			}
			for _, toks := range parts {
				body := cond.Body
				if len(parts) > 1 {
					n, ok := parseExpression(textOf(c.files[r.file].Text, toks))
					if !ok {
						break
					}
					body = n
				}
				p.Conditions = append(p.Conditions[:len(p.Conditions):len(p.Conditions)], cedarast.ConditionType{Condition: cond.Condition, Body: body})
				q := p
				if !yield(unit{toks}, &q) {
					return
				}
			}
		}
	}
}

// conjuncts cuts a clause at the && of its outermost level, or returns nothing if something that
// binds more loosely stands there too.
func conjuncts(cl clause) [][]token {
	var out [][]token
	depth, from := 0, 2
	for i, t := range cl.tokens {
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case "||", "if":
			if depth == 1 {
				return nil
			}
		case "&&":
			if depth == 1 {
				out = append(out, cl.tokens[from:i])
				from = i + 1
			}
		}
	}
	if len(cl.tokens) < from+1 {
		return nil
	}
	out = append(out, cl.tokens[from:len(cl.tokens)-1])
	for _, part := range out {
		if len(part) == 0 {
			return nil
		}
	}
	return out
}

func textOf(src string, toks []token) string {
	return src[toks[0].offset:toks[len(toks)-1].end()]
}

func parseExpression(text string) (cedarast.IsNode, bool) {
	var p cedar.Policy
	if err := p.UnmarshalCedar([]byte("permit(principal, action, resource) when {" + text + "\n};")); err != nil {
		return nil, false
	}
	conds := (*cedarast.Policy)(p.AST()).Conditions
	if len(conds) != 1 {
		return nil, false
	}
	return conds[0].Body, true
}

const cannotApply = "unable to find an applicable action"

var (
	quoted   = regexp.MustCompile("`([^`]*)`")
	lastName = regexp.MustCompile(`[^.\]\["]+"?\]?$`)
)

// typeError reports the validator's msg at the token of toks that it speaks of.
func (c *checker) typeError(r *rule, msg string, toks []token) {
	place := r.statement.head()
	if len(toks) > 0 {
		place = toks[0]
	}
	var name string
	if m := quoted.FindStringSubmatch(msg); m != nil {
		name = m[1]
	}
	hint := ""
	switch {
	case strings.HasPrefix(msg, cannotApply):
		msg = "no action applies to such a principal and resource: the policy can never fire"
		hint = "compare the scope with appliesTo of the actions in the schema"
		place = r.statement.head()
	case strings.HasPrefix(msg, "unrecognized action"):
		id := name[strings.LastIndex(name, "::")+2:]
		place = findToken(toks, place, id)
		hint = suggest(strings.Trim(id, `"`), c.actions)
	case strings.HasPrefix(msg, "unrecognized entity type"):
		place = findToken(toks, place, name[strings.LastIndex(name, ":")+1:])
		hint = suggest(name, c.entityTypes)
	case strings.HasPrefix(msg, "unable to guarantee safety of access to optional attribute"):
		attr := attributeName(name)
		place = findToken(toks, place, attr)
		hint = fmt.Sprintf("the attribute may be absent: ask `... has %s &&` before reading it", attr)
	case strings.HasPrefix(msg, "unable to guarantee safety of access to tag"):
		hint = "the tag may be absent: ask `.hasTag(...) &&` before reading it"
		place = findToken(toks, place, "getTag")
	case strings.HasPrefix(msg, "attribute"):
		attr := attributeName(name)
		place = findToken(toks, place, attr)
		if hint = suggest(attr, c.attributes); slices.Contains(c.attributes, attr) {
			hint = "another value has an attribute of that name: compare what stands before it with the schema"
		}
	case strings.HasPrefix(msg, "unexpected type: expected decimal but saw Long"):
		hint = `write decimals as decimal("0.5") and compare them with lessThan and greaterThan`
	case strings.HasPrefix(msg, "unexpected type: expected datetime, or duration, or Long but saw decimal"),
		strings.Contains(msg, "but saw decimal"):
		hint = "compare decimals with lessThan, lessThanOrEqual, greaterThan and greaterThanOrEqual"
	case strings.HasPrefix(msg, "error during extension function argument validation"):
		if i := strings.LastIndex(msg, "`\""); i >= 0 {
			place = findToken(toks, place, strings.Trim(msg[i:], "`"))
		}
	}
	c.at(r, place, SeverityError, hint, "%s", msg)
}

// attributeName returns the last name of an attribute path as the validator writes it.
func attributeName(path string) string {
	return strings.Trim(lastName.FindString(path), `"]`)
}

// findToken returns the first of toks whose text is word, bare or quoted, else otherwise.
func findToken(toks []token, otherwise token, word string) token {
	for _, t := range toks {
		if t.text == word || strings.Trim(t.text, `"`) == word && word != "" {
			return t
		}
	}
	return otherwise
}

// learn collects the names of the schema.
func (c *checker) learn(s *resolved.Schema) {
	attrs := make(map[string]bool)
	var walk func(t resolved.IsType)
	walk = func(t resolved.IsType) {
		switch t := t.(type) {
		case resolved.SetType:
			walk(t.Element)
		case resolved.RecordType:
			for name, a := range t {
				attrs[string(name)] = true
				walk(a.Type)
			}
		}
	}
	for name, e := range s.Entities {
		c.entityTypes = append(c.entityTypes, string(name))
		walk(e.Shape)
	}
	for name := range s.Enums {
		c.entityTypes = append(c.entityTypes, string(name))
	}
	for uid, a := range s.Actions {
		c.actions = append(c.actions, string(uid.ID))
		if a.AppliesTo != nil {
			walk(a.AppliesTo.Context)
		}
	}
	c.attributes = slices.Collect(maps.Keys(attrs))
}
