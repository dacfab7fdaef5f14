package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

// A Comparison is how two pairs of policies and catalog differ in what they say, whatever way it is
// written and wherever it stands.
type Comparison struct {
	Policies []PolicyChange `json:"policies" doc:"by id: those that were changed first, then added, removed and rewritten"`
	Schema   []Change       `json:"schema"`
	Catalog  []Change       `json:"catalog"`
	Same     int            `json:"same"` // policies that neither changed nor were rewritten
}

// A ChangeKind says what became of something.
type ChangeKind string

const (
	Changed   ChangeKind = "changed"
	Added     ChangeKind = "added"
	Removed   ChangeKind = "removed"
	Rewritten ChangeKind = "rewritten" // written otherwise, or in another file; it says the same
)

// A PolicyChange is what became of a policy.
type PolicyChange struct {
	ID     string      `json:"id"`
	Change ChangeKind  `json:"change"`
	Parts  []string    `json:"parts,omitempty" doc:"of one that was changed: effect, scope, conditions, and annotations as @reason"`
	Before *PolicyText `json:"before,omitempty"`
	After  *PolicyText `json:"after,omitempty"`
}

// A PolicyText is a policy as it stands in its file.
type PolicyText struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Effect string `json:"effect"`
	Mode   string `json:"mode"`
	Title  string `json:"title,omitempty"`
	Text   string `json:"text"`
}

// A Change is what became of something that a schema or a catalog declares.
type Change struct {
	Section string     `json:"section"` // action, type; capabilities, schedules, ...
	ID      string     `json:"id,omitempty"`
	Change  ChangeKind `json:"change"`
	Before  string     `json:"before,omitempty" doc:"as JSON; of a long one the beginning"`
	After   string     `json:"after,omitempty"`
}

// maxShown bounds the text of a declaration in a Change, in bytes.
const maxShown = 4096

// Compare returns how after differs from before. The error is authz.ErrInvalid and a *Problems or a
// *catalog.Problems if one of them cannot be read.
func Compare(before, after Texts) (Comparison, error) {
	c := Comparison{Policies: []PolicyChange{}, Schema: []Change{}, Catalog: []Change{}}
	a, err := readTexts(before)
	if err != nil {
		return c, err
	}
	b, err := readTexts(after)
	if err != nil {
		return c, err
	}
	c.policies(a, b)
	c.Schema = changes(a.schema, b.schema)
	c.Catalog = changes(a.catalog, b.catalog)
	return c, nil
}

// A comparand is one side of a comparison.
type comparand struct {
	source          Source
	rules           []*rule
	schema, catalog []catalog.Part
}

func readTexts(t Texts) (*comparand, error) {
	ps := new(Problems)
	if !withinBounds(t.Source, ps) {
		return nil, ps
	}
	c := &comparand{source: t.Source, rules: parsePolicies(t.Source.Files, ps)}
	s := newSchema(t.Source.Schema, ps)
	if err := ps.Err(); err != nil {
		return nil, err
	}
	for _, r := range c.rules {
		annotate(r, "", nil, new(Problems)) // what the catalog declares is not asked for here
	}
	text := t.Catalog
	if text == "" {
		text = emptyCatalog
	}
	var err error
	if c.catalog, err = catalog.Parts(catalogFile, []byte(text)); err != nil {
		return nil, err
	}
	v := vocabularyOf(s, nil)
	part := func(section, id string, v any) {
		value, _ := json.Marshal(v) // plain structs of texts
		c.schema = append(c.schema, catalog.Part{Section: section, ID: id, Value: string(value)})
	}
	for _, a := range v.Actions {
		part("action", a.Name, a)
	}
	for _, t := range v.Types {
		part("type", t.Name, t)
	}
	return c, nil
}

// changes compares what two documents declare, by section and id, in the order of the later one.
func changes(before, after []catalog.Part) []Change {
	type key struct{ section, id string }
	was := make(map[key]string, len(before))
	for _, p := range before {
		was[key{p.Section, p.ID}] = p.Value
	}
	out := []Change{}
	is := make(map[key]bool, len(after))
	for _, p := range after {
		k := key{p.Section, p.ID}
		is[k] = true
		switch value, ok := was[k]; {
		case !ok:
			out = append(out, Change{Section: p.Section, ID: p.ID, Change: Added, After: shown(p.Value)})
		case value != p.Value && !sameJSON(value, p.Value):
			out = append(out, Change{Section: p.Section, ID: p.ID, Change: Changed, Before: shown(value), After: shown(p.Value)})
		}
	}
	for _, p := range before {
		if !is[key{p.Section, p.ID}] {
			out = append(out, Change{Section: p.Section, ID: p.ID, Change: Removed, Before: shown(p.Value)})
		}
	}
	return out
}

// sameJSON reports whether two values are the same but for the order of members.
func sameJSON(a, b string) bool {
	order := func(s string) []byte {
		d := json.NewDecoder(bytes.NewReader([]byte(s)))
		d.UseNumber()
		var v any
		if d.Decode(&v) != nil {
			return nil
		}
		out, _ := json.Marshal(v)
		return out
	}
	x := order(a)
	return x != nil && bytes.Equal(x, order(b))
}

func shown(s string) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut]
}

// policies compares the policies of both sides by their ids.
func (c *Comparison) policies(a, b *comparand) {
	was := make(map[string]*rule, len(a.rules))
	for _, r := range a.rules {
		was[r.id] = r
	}
	is := make(map[string]bool, len(b.rules))
	for _, r := range b.rules {
		is[r.id] = true
		before, ok := was[r.id]
		if !ok {
			c.Policies = append(c.Policies, PolicyChange{ID: r.id, Change: Added, After: b.text(r)})
			continue
		}
		change := PolicyChange{ID: r.id, Change: Rewritten, Parts: differing(before, r), Before: a.text(before), After: b.text(r)}
		if len(change.Parts) > 0 {
			change.Change = Changed
		} else if change.Before.File == change.After.File && change.Before.Text == change.After.Text {
			c.Same++
			continue
		}
		c.Policies = append(c.Policies, change)
	}
	for _, r := range a.rules {
		if !is[r.id] {
			c.Policies = append(c.Policies, PolicyChange{ID: r.id, Change: Removed, Before: a.text(r)})
		}
	}
	order := []ChangeKind{Changed, Added, Removed, Rewritten}
	slices.SortStableFunc(c.Policies, func(a, b PolicyChange) int {
		return cmp.Compare(slices.Index(order, a.Change), slices.Index(order, b.Change))
	})
}

func (c *comparand) text(r *rule) *PolicyText {
	f := c.source.Files[r.file]
	start := r.statement.start()
	return &PolicyText{
		File: f.Name, Line: start.line, Effect: r.effect(), Mode: r.mode.String(), Title: r.title,
		Text: f.Text[start.offset:r.statement.end()],
	}
}

// differing returns the parts in which two policies of one id differ.
func differing(a, b *rule) []string {
	var out []string
	if a.forbid != b.forbid {
		out = append(out, "effect")
	}
	scope := func(r *rule) []byte {
		p := *r.ast
		p.Annotations, p.Conditions, p.Effect = nil, nil, ast.EffectPermit
		return canonical(&p)
	}
	if !bytes.Equal(scope(a), scope(b)) {
		out = append(out, "scope")
	}
	conditions := func(r *rule) []byte {
		p := ast.Policy{Effect: ast.EffectPermit, Principal: ast.ScopeTypeAll{}, Action: ast.ScopeTypeAll{}, Resource: ast.ScopeTypeAll{}, Conditions: r.ast.Conditions}
		return canonical(&p)
	}
	if !bytes.Equal(conditions(a), conditions(b)) {
		out = append(out, "conditions")
	}
	annotations := func(r *rule) map[string]string {
		m := make(map[string]string, len(r.ast.Annotations))
		for _, n := range r.ast.Annotations {
			m[string(n.Key)] = string(n.Value)
		}
		return m
	}
	x, y := annotations(a), annotations(b)
	keys := slices.AppendSeq(slices.Collect(maps.Keys(x)), maps.Keys(y))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if x[key] != y[key] {
			out = append(out, "@"+key)
		}
	}
	return out
}

// canonical returns the one way in which cedar-go writes a policy.
func canonical(p *ast.Policy) []byte {
	return cedar.NewPolicyFromAST((*cedarast.Policy)(p)).MarshalCedar()
}
