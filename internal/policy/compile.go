package policy

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/ast"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Bounds of a policy set.
const (
	maxPolicies    = 100_000
	maxText        = 8 << 20 // bytes of all files together
	maxFiles       = 10_000
	maxPolicyText  = 64 << 10 // bytes of one policy
	maxTokens      = 8192     // of one policy
	maxSchema      = 1 << 20  // bytes of the operator's schema
	maxSchemaDepth = 32
	maxExpansion   = 400_000 // attributes of a schema once its types are written out
)

// A draft is a set on its way: what compiling found, and what a closer look starts from.
type draft struct {
	set      *Set     // can be used only if no problem is an error
	rules    []*rule  // in the order of the source; those that could be parsed
	checker  *checker // nil if the source is beyond the bounds
	problems *Problems
}

// compile checks src and compiles it as far as it can, so that every problem is found at once.
func compile(src Source, cat *catalog.Catalog) *draft {
	ps := new(Problems)
	if !withinBounds(src, ps) {
		return &draft{problems: ps}
	}
	s := &Set{
		source:   Source{Schema: src.Schema, Files: slices.Clone(src.Files)},
		cat:      cat,
		contexts: newMemo(),
		memo:     newMemo(),
		parts:    newMemo(),
		agents:   newAgents(),
	}
	if cat != nil {
		s.asks = cat.AskBudget()
	}
	s.schema = newSchema(src.Schema, ps)
	rules := parsePolicies(src.Files, ps)
	for _, r := range rules {
		annotate(r, src.Files[r.file].Name, cat, ps)
	}
	c := newChecker(src.Files, s.schema, ps)
	if cat != nil {
		c.required = cat.Signals()
	}
	c.check(rules)
	if s.schema != nil {
		s.stored = newStored(s.schema, cat, ps)
		checkMentions(s.schema, cat, ps)
	}
	if !ps.HasErrors() {
		s.arrange(rules)
	}
	ps.sort(fileOrder(src))
	return &draft{set: s, rules: rules, checker: c, problems: ps}
}

// arrange puts the rules in the order in which they are judged and indexes them.
func (s *Set) arrange(rules []*rule) {
	s.rules = slices.Clone(rules)
	slices.SortStableFunc(s.rules, func(a, b *rule) int { return int(a.class()) - int(b.class()) })
	for c := range s.starts {
		s.starts[c], _ = slices.BinarySearchFunc(s.rules, class(c), func(r *rule, c class) int { return int(r.class()) - int(c) })
	}
	for _, r := range s.rules {
		if r.mode == disabled {
			continue
		}
		r.key = cedar.PolicyID(r.id)
		r.body = cedar.NewPolicyFromAST((*cedarast.Policy)(scopeless(r.ast)))
	}
	active := s.rules[:s.starts[disabledRules]]
	actionShapes(s.schema.actions, active)
	s.index = newIndex(active)
	for _, a := range s.schema.actions {
		a.marks = s.index.marks(nil, a.groups)
	}
	for _, e := range s.stored.entities {
		e.marks = s.index.marks(nil, e.ancestors)
	}
}

func withinBounds(src Source, ps *Problems) bool {
	problem := func(file, format string, args ...any) {
		ps.add(Problem{File: file, Message: fmt.Sprintf(format, args...)})
	}
	if len(src.Files) > maxFiles {
		problem("", "more than %d files", maxFiles)
		return false
	}
	total, policies := 0, 0
	seen := make(map[string]bool, len(src.Files))
	for _, f := range src.Files {
		switch {
		case f.Name == "" || len(f.Name) > maxName:
			problem(f.Name, "the name of a file must have 1 to %d characters", maxName)
		case f.Name == schemaFile || f.Name == catalogFile || seen[f.Name]:
			problem(f.Name, "the name of the file is already taken")
		}
		seen[f.Name] = true
		if total += len(f.Text); total > maxText {
			problem("", "policies larger than %d bytes together", maxText)
			return false
		}
		if msg := badText(f.Text); msg != "" {
			problem(f.Name, "%s", msg)
			continue
		}
		for _, c := range []byte(f.Text) {
			if c == ';' { // one in a string counts too: it is a bound
				policies++
			}
		}
	}
	if policies > maxPolicies {
		problem("", "more than %d policies", maxPolicies)
	}
	return !ps.HasErrors()
}

// badText says what makes a text unfit to be parsed, or nothing.
func badText(text string) string {
	if !utf8.ValidString(text) {
		return "not valid UTF-8"
	}
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case 0:
			return "contains a NUL character"
		case '\r': // some implementations of Cedar end a comment there
			if i+1 == len(text) || text[i+1] != '\n' {
				return "contains a carriage return that ends no line"
			}
		}
	}
	return ""
}

// tooDeep reports whether Cedar's parser, validator and evaluator, all of which recurse, may be
// given the tokens: it returns false and the first token that is too much. A chain of operators
// nests as brackets do, and so do the steps of a path.
func tooDeep(tokens []token, depth, limit int) (token, bool) {
	open, chain, asks := 0, 0, 0
	for i, t := range tokens {
		switch t.text {
		case "(", "[", "{":
			open++
		case ")", "]", "}":
			open--
		case ";":
			open, chain, asks = 0, 0, 0
		case "if", "!", "-", "+", "*", "&&", "||", ".", "==", "!=", "<", "<=", ">", ">=", "in", "has", "like", "is":
			chain++
		}
		if t.text == "has" || t.text == "hasTag" {
			asks++
		}
		if open > depth || chain > maxChain || asks > maxAsks || i >= limit {
			return t, false
		}
	}
	return token{}, true
}

const (
	maxChain = 2048 // operators of one policy
	maxAsks  = 128  // of them, has and hasTag: the validator's time grows with the cube of their number
)
