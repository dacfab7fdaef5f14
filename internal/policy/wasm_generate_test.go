package policy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// A wasmCase is one line to testdata/wasm/run.mjs.
type wasmCase struct {
	Schema   string            `json:"schema"`
	Policies map[string]string `json:"policies"`
	Entities json.RawMessage   `json:"entities"`
	Requests []wasmRequest     `json:"requests"`
}

type wasmRequest struct {
	Principal wasmUID        `json:"principal"`
	Action    wasmUID        `json:"action"`
	Resource  wasmUID        `json:"resource"`
	Context   map[string]any `json:"context"`
}

type wasmUID struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

func (u wasmUID) cedar() string { return u.Type + "::" + cedarString(u.ID) }

type wasmEntity struct {
	UID     wasmUID        `json:"uid"`
	Attrs   map[string]any `json:"attrs"`
	Parents []wasmUID      `json:"parents"`
	Tags    map[string]any `json:"tags,omitempty"`
}

// A gtype is a type of the generated schema.
type gtype struct {
	kind string // Long, String, Bool, decimal, ipaddr, datetime, duration, Set, Record, Entity
	elem *gtype
	rec  []gattr
	name string
}

type gattr struct {
	name     string
	optional bool
	typ      *gtype
}

type gentity struct {
	name    string
	parents []string
	attrs   []gattr
	tags    *gtype
}

type gaction struct {
	name                  string
	principals, resources []string
	context               []gattr
	group                 string
}

// A generator makes cases that mostly make sense, and now and then do not.
type generator struct {
	r        *rand.Rand
	faults   int // one expression in so many has the wrong type
	entities []gentity
	actions  []gaction
	// the environment of the policy that is being written
	principal, resource string
	action              gaction
}

func newGenerator(seed uint64) *generator {
	return &generator{r: rand.New(rand.NewPCG(seed, 0x5afe)), faults: 60}
}

func (g *generator) one(n int) bool { return g.r.IntN(n) == 0 }

func oneOf[T any](g *generator, list ...T) T { return list[g.r.IntN(len(list))] }

func (g *generator) makeCase() wasmCase {
	g.faults = oneOf(g, 20, 100, 1000)
	g.schema()
	c := wasmCase{Schema: g.schemaText(), Policies: map[string]string{}}
	for i := range 1 + g.r.IntN(6) {
		c.Policies[fmt.Sprintf("p%d", i)] = g.policy()
	}
	c.Entities, _ = json.Marshal(g.store())
	for range 4 {
		c.Requests = append(c.Requests, g.request())
	}
	return c
}

var attrNames = []string{"a", "b", "count", "a b", "if", "naïve", "has", "x_1", "type"}

func (g *generator) attrs(depth int) []gattr {
	var out []gattr
	for _, i := range g.r.Perm(len(attrNames))[:g.r.IntN(5)] {
		out = append(out, gattr{attrNames[i], g.one(3), g.typ(depth)})
	}
	return out
}

func (g *generator) typ(depth int) *gtype {
	if depth > 0 && g.one(3) {
		switch g.r.IntN(3) {
		case 0:
			return &gtype{kind: "Record", rec: g.attrs(depth - 1)}
		default:
			return &gtype{kind: "Set", elem: g.typ(depth - 1)}
		}
	}
	k := oneOf(g, "Long", "Long", "String", "String", "Bool", "decimal", "ipaddr", "datetime", "duration", "Entity")
	if k == "Entity" {
		return &gtype{kind: k, name: g.entities[g.r.IntN(len(g.entities))].name}
	}
	return &gtype{kind: k}
}

func (g *generator) schema() {
	g.entities, g.actions = nil, nil
	for i := range 2 + g.r.IntN(3) {
		g.entities = append(g.entities, gentity{name: oneOf(g, "", "", "N::") + "E" + strconv.Itoa(i)})
	}
	for i := range g.entities {
		e := &g.entities[i]
		for j := i; j < len(g.entities); j++ {
			if g.one(2) {
				e.parents = append(e.parents, g.entities[j].name)
			}
		}
		e.attrs = g.attrs(2)
		if g.one(3) {
			e.tags = g.typ(1)
		}
	}
	for i := range 1 + g.r.IntN(3) {
		a := gaction{name: oneOf(g, "a", "do it ") + strconv.Itoa(i), context: g.attrs(2)}
		if g.one(2) {
			a.group = "group"
		}
		a.principals, a.resources = g.some(), g.some()
		g.actions = append(g.actions, a)
	}
}

func (g *generator) some() []string {
	var out []string
	for _, i := range g.r.Perm(len(g.entities))[:1+g.r.IntN(2)] {
		out = append(out, g.entities[i].name)
	}
	return out
}

func (g *generator) schemaText() string {
	var plain, space strings.Builder
	for _, e := range g.entities {
		b, name := &plain, e.name
		if n, ok := strings.CutPrefix(name, "N::"); ok {
			b, name = &space, n
		}
		fmt.Fprintf(b, "entity %s", name)
		if len(e.parents) > 0 {
			fmt.Fprintf(b, " in [%s]", strings.Join(e.parents, ", "))
		}
		fmt.Fprintf(b, " %s", recordText(e.attrs))
		if e.tags != nil {
			fmt.Fprintf(b, " tags %s", e.tags.text())
		}
		b.WriteString(";\n")
	}
	plain.WriteString("action \"group\";\n")
	for _, a := range g.actions {
		fmt.Fprintf(&plain, "action %s", cedarString(a.name))
		if a.group != "" {
			fmt.Fprintf(&plain, " in [%s]", cedarString(a.group))
		}
		fmt.Fprintf(&plain, " appliesTo { principal: [%s], resource: [%s], context: %s };\n",
			strings.Join(a.principals, ", "), strings.Join(a.resources, ", "), recordText(a.context))
	}
	if space.Len() > 0 {
		return "namespace N {\n" + space.String() + "}\n" + plain.String()
	}
	return plain.String()
}

func recordText(attrs []gattr) string {
	var parts []string
	for _, a := range attrs {
		opt := ""
		if a.optional {
			opt = "?"
		}
		parts = append(parts, cedarString(a.name)+opt+": "+a.typ.text())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (t *gtype) text() string {
	switch t.kind {
	case "Set":
		return "Set<" + t.elem.text() + ">"
	case "Record":
		return recordText(t.rec)
	case "Entity":
		return t.name
	}
	return t.kind
}

func (t *gtype) same(u *gtype) bool {
	if t.kind != u.kind || t.name != u.name || len(t.rec) != len(u.rec) {
		return false
	}
	if t.kind == "Set" {
		return t.elem.same(u.elem)
	}
	for i := range t.rec {
		if t.rec[i].name != u.rec[i].name || t.rec[i].optional != u.rec[i].optional || !t.rec[i].typ.same(u.rec[i].typ) {
			return false
		}
	}
	return true
}

func (g *generator) entity(name string) *gentity {
	for i := range g.entities {
		if g.entities[i].name == name {
			return &g.entities[i]
		}
	}
	return nil
}

var ids = []string{"one", "two", `a "b"`, ""}

func (g *generator) uid(typ string) wasmUID { return wasmUID{typ, oneOf(g, ids...)} }

// store makes entities that conform to the schema, except now and then.
func (g *generator) store() []wasmEntity {
	var out []wasmEntity
	for _, e := range g.entities {
		for n, id := range ids[:1+g.r.IntN(len(ids))] {
			w := wasmEntity{UID: wasmUID{e.name, id}, Parents: []wasmUID{}}
			for _, p := range e.parents {
				if p == e.name {
					if n > 0 && g.one(2) {
						w.Parents = append(w.Parents, wasmUID{p, ids[g.r.IntN(n)]})
					}
				} else if g.one(2) {
					w.Parents = append(w.Parents, g.uid(p))
				}
			}
			w.Attrs = g.record(e.attrs)
			if e.tags != nil {
				w.Tags = map[string]any{}
				for _, k := range []string{"k", "a b"} {
					if g.one(2) {
						w.Tags[k] = g.value(e.tags)
					}
				}
			}
			out = append(out, w)
		}
	}
	return out
}

func (g *generator) record(attrs []gattr) map[string]any {
	m := map[string]any{}
	for _, a := range attrs {
		if a.optional && g.one(2) || g.one(400) {
			continue
		}
		m[a.name] = g.value(a.typ)
	}
	if g.one(400) {
		m["unheard of"] = 1
	}
	return m
}

var (
	longs     = []int64{0, 1, -1, 7, 100, 1 << 53, -(1 << 53)}
	texts     = []string{"", "a", "ab", "a*b", "naïve", "line\nbreak", `"`, "😀"}
	decimals  = []string{"0.0", "0.5", "-0.5", "1.0", "1.0000", "922337203685477.5807", "-922337203685477.5808"}
	addresses = []string{"127.0.0.1", "10.0.0.0/8", "10.1.2.3", "::1", "2001:db8::/32", "224.0.0.1", "0.0.0.0/0"}
	instants  = []string{"2024-01-01", "2024-02-29T23:59:59Z", "1970-01-01T00:00:00.001Z", "2024-01-01T00:00:00+0530"}
	durations = []string{"1d", "1h30m", "-5ms", "0s", "1d2h3m4s5ms"}
)

// value makes a value of type t as Cedar's JSON writes it.
func (g *generator) value(t *gtype) any {
	if g.one(400) {
		return "out of place"
	}
	ext := func(fn string, list []string) any {
		return map[string]any{"__extn": map[string]any{"fn": fn, "arg": oneOf(g, list...)}}
	}
	switch t.kind {
	case "Long":
		return oneOf(g, longs...)
	case "String":
		return oneOf(g, texts...)
	case "Bool":
		return g.one(2)
	case "decimal":
		return ext("decimal", decimals)
	case "ipaddr":
		return ext("ip", addresses)
	case "datetime":
		return ext("datetime", instants)
	case "duration":
		return ext("duration", durations)
	case "Entity":
		return map[string]any{"__entity": g.uid(t.name)}
	case "Set":
		out := []any{}
		for range g.r.IntN(4) {
			out = append(out, g.value(t.elem))
		}
		return out
	}
	return g.record(t.rec)
}

func (g *generator) request() wasmRequest {
	a := g.actions[g.r.IntN(len(g.actions))]
	req := wasmRequest{
		Principal: g.uid(oneOf(g, a.principals...)),
		Action:    wasmUID{"Action", a.name},
		Resource:  g.uid(oneOf(g, a.resources...)),
		Context:   g.record(a.context),
	}
	if g.one(40) {
		req.Principal = g.uid(g.entities[g.r.IntN(len(g.entities))].name)
	}
	return req
}
