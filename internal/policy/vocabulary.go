package policy

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

// A Vocabulary is what the policies of a set can name: the schema as data, and what the catalog
// declares. It is for those who write policies, and their tools.
type Vocabulary struct {
	Actions     []ActionWord     `json:"actions"`
	Types       []TypeWord       `json:"types"`
	Observed    []Attribute      `json:"observed"` // what context.observed has, of every action
	Annotations []AnnotationWord `json:"annotations"`
	Truncated   bool             `json:"truncated,omitempty" doc:"whether the schema is so large that attributes are missing here"`
}

// An ActionWord is an action, or a group of them.
type ActionWord struct {
	Name       string      `json:"name" doc:"as requests name it"`
	Cedar      string      `json:"cedar" doc:"as policies name it"`
	Group      bool        `json:"group,omitempty" doc:"whether it only groups others"`
	Groups     []string    `json:"groups,omitempty" doc:"those it is in, directly or not, as policies name them"`
	Principals []string    `json:"principals,omitempty"`
	Resources  []string    `json:"resources,omitempty"`
	Claimed    []Attribute `json:"claimed,omitempty"`
	Args       []Attribute `json:"args,omitempty"`
	Base       bool        `json:"base,omitempty" doc:"whether the base schema declares it"`
}

// A TypeWord is a type of entity.
type TypeWord struct {
	Name       string      `json:"name"`
	In         []string    `json:"in,omitempty" doc:"types of entity that it can be in"`
	Attributes []Attribute `json:"attributes,omitempty"`
	Tags       string      `json:"tags,omitempty" doc:"type of its tags"`
	IDs        []string    `json:"ids,omitempty" doc:"of the entities that the schema or the catalog declares, a hundred at most"`
}

// An Attribute is one member of a record or an entity.
type Attribute struct {
	Name       string      `json:"name"`
	Type       string      `json:"type"` // String, Long, Bool, decimal, ..., Set<...>, record, or a type of entity
	Optional   bool        `json:"optional,omitempty" doc:"whether it may be absent, so that has must ask for it"`
	Doc        string      `json:"doc,omitempty"`
	Attributes []Attribute `json:"attributes,omitempty" doc:"of a record"`
	Values     []Word      `json:"values,omitempty" doc:"that it has, or that its elements have, where these are known"`
}

// An AnnotationWord is an annotation of the vocabulary.
type AnnotationWord struct {
	Key    string `json:"key"`
	On     string `json:"on"` // both, forbid
	Doc    string `json:"doc"`
	List   bool   `json:"list,omitempty" doc:"whether several values may stand in it"`
	Values []Word `json:"values,omitempty"`
}

// A Word is a value, and what it means.
type Word struct {
	Value string `json:"value"`
	Doc   string `json:"doc,omitempty"`
}

const (
	maxWords     = 20_000 // attributes of a vocabulary
	maxWordDepth = 6      // records in records
	maxWordIDs   = 100    // entities of a type
)

// Vocabulary returns what policies of the set can name.
func (s *Set) Vocabulary() Vocabulary { return vocabularyOf(s.schema, s.cat) }

// BaseVocabulary returns what policies can name where nothing is published.
func BaseVocabulary() Vocabulary { return vocabularyOf(newSchema("", new(Problems)), nil) }

func vocabularyOf(s *schema, cat *catalog.Catalog) Vocabulary {
	w := wordsmith{schema: s, cat: cat, known: knownValues(cat)}
	v := Vocabulary{Actions: []ActionWord{}, Types: []TypeWord{}, Annotations: annotationWords(cat)}
	v.Observed = w.attributes(s.observed, "context.observed", observedType, 0)
	for uid, ra := range s.resolved.Actions {
		v.Actions = append(v.Actions, w.action(uid, ra))
	}
	slices.SortFunc(v.Actions, func(a, b ActionWord) int { return cmp.Compare(a.Name, b.Name) })
	for _, name := range slices.Sorted(maps.Keys(s.byType)) {
		v.Types = append(v.Types, w.entity(name))
	}
	v.Truncated = w.count > maxWords
	return v
}

// A wordsmith makes a vocabulary.
type wordsmith struct {
	schema *schema
	cat    *catalog.Catalog
	known  map[string][]Word // by path
	count  int
}

func (w *wordsmith) action(uid types.EntityUID, ra resolved.Action) ActionWord {
	a := ActionWord{Name: actionName(uid), Cedar: uid.String(), Group: ra.AppliesTo == nil, Base: w.schema.base[uid]}
	for _, g := range w.schema.groupsOf(uid)[1:] {
		a.Groups = append(a.Groups, g.String())
	}
	slices.Sort(a.Groups)
	if ra.AppliesTo == nil {
		return a
	}
	a.Principals, a.Resources = typeNames(ra.AppliesTo.Principals), typeNames(ra.AppliesTo.Resources)
	if r, ok := ra.AppliesTo.Context["claimed"].Type.(resolved.RecordType); ok {
		a.Claimed = w.attributes(r, "context.claimed", "Claimed", 0)
	}
	if r, ok := ra.AppliesTo.Context["args"].Type.(resolved.RecordType); ok {
		a.Args = w.attributes(r, "context.args", "", 0)
	}
	return a
}

func (w *wordsmith) entity(name types.EntityType) TypeWord {
	t := TypeWord{Name: string(name)}
	if e, ok := w.schema.resolved.Entities[name]; ok {
		t.In = typeNames(e.ParentTypes)
		t.Attributes = w.attributes(e.Shape, string(name), string(name), 0)
		if e.Tags != nil {
			t.Tags = typeName(e.Tags)
		}
	}
	for id := range w.schema.byType[name].values {
		t.IDs = append(t.IDs, string(id))
	}
	if w.cat != nil {
		for _, typ := range w.cat.EntityTypes() {
			if k := w.schema.kinds[typ]; k == nil || k.typ != name {
				continue
			}
			for _, e := range w.cat.Entities(typ) {
				if len(t.IDs) < maxWordIDs {
					t.IDs = append(t.IDs, e.ID)
				}
			}
		}
	}
	slices.Sort(t.IDs)
	t.IDs = slices.Compact(t.IDs)
	t.IDs = t.IDs[:min(len(t.IDs), maxWordIDs)]
	return t
}

// attributes returns the members of a record. Type is its name in the base schema, "" if it has none.
func (w *wordsmith) attributes(r resolved.RecordType, path, typ string, depth int) []Attribute {
	var out []Attribute
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if w.count++; w.count > maxWords {
			return out
		}
		at := r[name]
		a := Attribute{Name: string(name), Type: typeName(at.Type), Optional: at.Optional}
		here := path + "." + a.Name
		doc := baseDocs()[typ+"."+a.Name]
		a.Doc, a.Values = doc.text, w.known[here]
		if a.Values == nil && doc.typ == "Trust" {
			w.known[here+".level"] = trustLevels
		}
		if inner, ok := at.Type.(resolved.RecordType); ok && depth < maxWordDepth {
			a.Attributes = w.attributes(inner, here, doc.typ, depth+1)
		}
		out = append(out, a)
	}
	return out
}

func typeNames(list []types.EntityType) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = string(t)
	}
	slices.Sort(out)
	return out
}

// typeName spells a type as a schema does, but for records.
func typeName(t resolved.IsType) string {
	switch t := t.(type) {
	case resolved.StringType:
		return "String"
	case resolved.LongType:
		return "Long"
	case resolved.BoolType:
		return "Bool"
	case resolved.ExtensionType:
		return string(t)
	case resolved.EntityType:
		return string(t)
	case resolved.SetType:
		return "Set<" + typeName(t.Element) + ">"
	}
	return "record"
}

// A baseDoc is what the base schema says of a member: in the comment behind it, and its type by name.
type baseDoc struct{ typ, text string }

var (
	declared = regexp.MustCompile(`^(?:type|entity) (\w+)[^{]*\{`)
	member   = regexp.MustCompile(`^\s+(\w+)\??: ([^,{]*)([,{])(?:\s*//\s*(.*))?`)
)

// baseDocs are by type and name of the member: Trust.level. A record within a type is named like a
// path: Observed.asks.
var baseDocs = sync.OnceValue(func() map[string]baseDoc {
	docs := make(map[string]baseDoc)
	typ := ""
	for line := range strings.Lines(string(baseSchema)) {
		line = strings.TrimRight(line, "\n")
		if m := declared.FindStringSubmatch(line); m != nil {
			typ = m[1]
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(line), "}") {
			typ, _, _ = strings.Cut(typ, ".")
			if line[0] == '}' {
				typ = ""
			}
			continue
		}
		m := member.FindStringSubmatch(line)
		if m == nil || typ == "" {
			continue
		}
		d := baseDoc{typ: strings.TrimSpace(m[2]), text: m[4]}
		key := typ + "." + m[1]
		if m[3] == "{" {
			d.typ, typ = key, key
		}
		docs[key] = d
	}
	return docs
})

var trustLevels = []Word{{"none", ""}, {"low", ""}, {"medium", ""}, {"high", ""}}

// knownValues returns the values that strings of the context can have, by path, as far as they are known.
func knownValues(cat *catalog.Catalog) map[string][]Word {
	plain := func(list ...string) []Word {
		out := make([]Word, len(list))
		for i, s := range list {
			out[i].Value = s
		}
		return out
	}
	capabilityClasses := plain("read", "write", "egress", "money", "admin")
	known := map[string][]Word{
		"context.observed.trust.level":           trustLevels,
		"context.observed.risk.level":            plain("low", "elevated", "high", "critical"),
		"context.observed.data.class":            plain("public", "internal", "confidential", "restricted"),
		"context.observed.grant.class":           capabilityClasses,
		"context.observed.passport.bound":        plain("dpop", "mtls", "none"),
		"context.observed.time.weekday":          plain("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
		"Agent.state":                            plain("active", "suspended", "quarantined", "retired"),
		"Capability.class":                       capabilityClasses,
		"Agent.conduct.trust.level":              trustLevels,
		"context.observed.risk.indicators":       nil,
		"context.observed.assurance":             nil,
		"context.observed.time.schedules":        nil,
		"context.observed.network.zones":         nil,
		"context.observed.passport.capabilities": nil,
	}
	if cat == nil {
		return known
	}
	var capabilities, routes, levels []Word
	for _, k := range cat.Capabilities() {
		capabilities = append(capabilities, Word{k.ID, k.Title})
	}
	for _, r := range cat.Routes() {
		routes = append(routes, Word{r.ID, r.Title})
	}
	for _, l := range cat.Assurances() {
		levels = append(levels, Word{l.ID, l.Title})
	}
	known["context.observed.time.schedules"] = plain(cat.Schedules()...)
	known["context.observed.network.zones"] = plain(cat.Networks()...)
	known["context.observed.grant.within"] = capabilities
	known["context.observed.passport.capabilities"] = capabilities
	known["Agent.capabilities"] = capabilities
	known["context.observed.approvals"] = routes
	known["context.observed.assurance"] = levels
	var labels []string
	for _, t := range cat.Types() {
		labels = append(labels, t.Labels...)
	}
	for _, r := range cat.Rules() {
		labels = append(labels, r.Labels...)
	}
	slices.Sort(labels)
	known["context.observed.data.labels"] = plain(slices.Compact(labels)...)
	return known
}

// annotationWords returns the vocabulary of annotations, with the values that the catalog declares.
func annotationWords(cat *catalog.Catalog) []AnnotationWord {
	words := map[string]AnnotationWord{
		"id":          {On: "both", Doc: "the policy's name in records"},
		"title":       {On: "both", Doc: "one line for people"},
		"reason":      {On: "both", Doc: "a reason of the catalog, told to the agent when the policy refuses"},
		"remedy":      {On: "forbid", Doc: "what lifts the prohibition", Values: []Word{{approval.String(), "persons are asked"}, {stepUp.String(), "somebody authenticates more strongly"}}},
		"approvers":   {On: "forbid", List: true, Doc: "approval routes of the catalog, all of which must be gone to their end"},
		"assurance":   {On: "forbid", Doc: "the level of the catalog at which somebody must have authenticated"},
		"obligations": {On: "both", List: true, Doc: "obligations of the catalog that the enforcement point must meet"},
		"mode":        {On: "both", Doc: "whether the policy decides", Values: []Word{{"enforce", "it decides"}, {"shadow", "it is evaluated and recorded, and decides nothing"}, {"disabled", "it is not looked at"}}},
		"not_before":  {On: "both", Doc: "the policy holds from this moment on, an RFC 3339 time with a zone"},
		"expires":     {On: "both", Doc: "the policy holds until just before this moment, an RFC 3339 time with a zone"},
	}
	if cat != nil {
		declare := func(key string, values []Word) {
			w := words[key]
			w.Values = values
			words[key] = w
		}
		var reasons, obligations, routes, levels []Word
		for _, r := range cat.Reasons() {
			reasons = append(reasons, Word{r.ID, r.Message})
		}
		for _, o := range cat.Obligations() {
			obligations = append(obligations, Word{o.ID, o.Type})
		}
		for _, r := range cat.Routes() {
			routes = append(routes, Word{r.ID, r.Title})
		}
		for _, l := range cat.Assurances() {
			levels = append(levels, Word{l.ID, l.Title})
		}
		declare("reason", reasons)
		declare("obligations", obligations)
		declare("approvers", routes)
		declare("assurance", levels)
	}
	out := make([]AnnotationWord, 0, len(words))
	for _, key := range annotationKeys {
		w := words[key]
		w.Key = key
		out = append(out, w)
	}
	return out
}
