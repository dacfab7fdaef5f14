package policy_test

import (
	"fmt"
	"strconv"
	"strings"
)

// cedarString writes s as a Cedar string literal.
func cedarString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch r {
		case '"', '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case '\n':
			b.WriteString(`\n`)
		case '\t':
			b.WriteString(`\t`)
		case '\r':
			b.WriteString(`\r`)
		case 0:
			b.WriteString(`\0`)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (g *generator) policy() string {
	g.action = g.actions[g.r.IntN(len(g.actions))]
	g.principal, g.resource = oneOf(g, g.action.principals...), oneOf(g, g.action.resources...)
	var b strings.Builder
	b.WriteString(oneOf(g, "permit", "permit", "forbid"))
	fmt.Fprintf(&b, " (%s, %s, %s)", g.scope("principal", g.principal), g.actionScope(), g.scope("resource", g.resource))
	for range g.r.IntN(3) {
		fmt.Fprintf(&b, "\n%s { %s }", oneOf(g, "when", "when", "unless"), g.expr(&gtype{kind: "Bool"}, 4))
	}
	return b.String() + ";"
}

func (g *generator) scope(name, typ string) string {
	switch g.r.IntN(10) {
	case 0:
		return name
	case 1:
		return name + " == " + g.uid(typ).cedar()
	case 2:
		return name + " in " + g.uid(g.entities[g.r.IntN(len(g.entities))].name).cedar()
	case 3:
		return name + " is " + typ + " in " + g.uid(g.entities[g.r.IntN(len(g.entities))].name).cedar()
	}
	return name + " is " + typ
}

func (g *generator) actionScope() string {
	self := wasmUID{"Action", g.action.name}.cedar()
	switch g.r.IntN(8) {
	case 0:
		return "action"
	case 1:
		return `action in Action::"group"`
	case 2:
		return "action in [" + self + ", " + wasmUID{"Action", g.actions[0].name}.cedar() + "]"
	case 3:
		if g.one(10) {
			return `action == Action::"unheard of"`
		}
	}
	return "action == " + self
}

// expr writes an expression of type t, or now and then of another.
func (g *generator) expr(t *gtype, depth int) string {
	if g.one(g.faults) {
		t = g.typ(1)
	}
	if depth <= 0 {
		return g.leaf(t)
	}
	if g.one(12) {
		return fmt.Sprintf("(if %s then %s else %s)", g.expr(&gtype{kind: "Bool"}, depth-1), g.expr(t, depth-1), g.expr(t, depth-1))
	}
	if g.one(12) { // through a record of our own
		name := oneOf(g, attrNames...)
		return fmt.Sprintf("{%s: %s}[%s]", cedarString(name), g.expr(t, depth-1), cedarString(name))
	}
	if s, ok := g.path(t); ok && g.one(2) {
		return s
	}
	switch t.kind {
	case "Bool":
		return g.boolean(depth)
	case "Long":
		l := &gtype{kind: "Long"}
		switch g.r.IntN(6) {
		case 0:
			return "(" + g.expr(l, depth-1) + oneOf(g, " + ", " - ", " * ") + g.expr(l, depth-1) + ")"
		case 1:
			return "(-" + g.expr(l, depth-1) + ")"
		case 2:
			return g.expr(&gtype{kind: "duration"}, depth-1) + oneOf(g, ".toMilliseconds()", ".toSeconds()", ".toMinutes()", ".toHours()", ".toDays()")
		}
	case "datetime":
		switch g.r.IntN(3) {
		case 0:
			return g.expr(t, depth-1) + ".offset(" + g.expr(&gtype{kind: "duration"}, depth-1) + ")"
		case 1:
			return g.recent() + ".toDate()"
		}
	case "duration":
		d := &gtype{kind: "datetime"}
		switch g.r.IntN(3) {
		case 0:
			return g.expr(d, depth-1) + ".durationSince(" + g.expr(d, depth-1) + ")"
		case 1:
			return g.recent() + ".toTime()"
		}
	case "Set":
		var parts []string
		for range 1 + g.r.IntN(3) {
			parts = append(parts, g.expr(t.elem, depth-1))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case "Record":
		var parts []string
		for _, a := range t.rec {
			if !a.optional || g.one(2) {
				parts = append(parts, cedarString(a.name)+": "+g.expr(a.typ, depth-1))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return g.leaf(t)
}

// recent writes a datetime after 1970: see TestWasmDifferences.
func (g *generator) recent() string {
	d := &gtype{kind: "datetime"}
	if s, ok := g.path(d); ok {
		return s
	}
	return g.leaf(d)
}

func (g *generator) boolean(depth int) string {
	b := &gtype{kind: "Bool"}
	pair := func(t *gtype, op string) string {
		return "(" + g.expr(t, depth-1) + " " + op + " " + g.expr(t, depth-1) + ")"
	}
	method := func(t *gtype, name string) string {
		return g.expr(t, depth-1) + "." + name + "(" + g.expr(t, depth-1) + ")"
	}
	ordered := &gtype{kind: oneOf(g, "Long", "Long", "datetime", "duration")}
	entity := &gtype{kind: "Entity", name: oneOf(g, g.principal, g.resource)}
	set := &gtype{kind: "Set", elem: g.typ(1)}
	dec, ip := &gtype{kind: "decimal"}, &gtype{kind: "ipaddr"}
	switch g.r.IntN(20) {
	case 0, 1:
		return pair(g.typ(1), oneOf(g, "==", "!="))
	case 2, 3:
		return pair(ordered, oneOf(g, "<", "<=", ">", ">="))
	case 4, 5:
		return pair(b, "&&")
	case 6, 7:
		return pair(b, "||")
	case 8:
		return "(!" + g.expr(b, depth-1) + ")"
	case 9:
		return "(" + g.expr(entity, depth-1) + " in " + g.expr(&gtype{kind: "Entity", name: g.entities[g.r.IntN(len(g.entities))].name}, depth-1) + ")"
	case 10:
		return "(" + g.expr(entity, depth-1) + " is " + g.entities[g.r.IntN(len(g.entities))].name + ")"
	case 11:
		return "(" + g.expr(&gtype{kind: "String"}, depth-1) + " like " + oneOf(g, `"*"`, `"a*"`, `"a\*b"`, `"*b*"`, `""`, `"na*e"`) + ")"
	case 12:
		return g.expr(set, depth-1) + ".contains(" + g.expr(set.elem, depth-1) + ")"
	case 13:
		return method(set, oneOf(g, "containsAll", "containsAny"))
	case 14:
		return g.expr(set, depth-1) + ".isEmpty()"
	case 15:
		return method(dec, oneOf(g, "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"))
	case 16:
		if g.one(2) {
			return method(ip, "isInRange")
		}
		return g.expr(ip, depth-1) + oneOf(g, ".isIpv4()", ".isIpv6()", ".isLoopback()", ".isMulticast()")
	case 17, 18:
		return g.guarded(depth)
	}
	return g.tagged(depth)
}

// guarded asks for an optional attribute and then reads it.
func (g *generator) guarded(depth int) string {
	for _, root := range g.roots() {
		for _, a := range root.attrs {
			if a.optional && g.one(2) {
				read := root.text + "[" + cedarString(a.name) + "]"
				if a.typ.kind == "Bool" {
					return fmt.Sprintf("(%s has %s && %s)", root.text, cedarString(a.name), read)
				}
				return fmt.Sprintf("(%s has %s && %s == %s)", root.text, cedarString(a.name), read, g.expr(a.typ, depth-1))
			}
		}
	}
	return "(context has " + cedarString(oneOf(g, attrNames...)) + ")"
}

func (g *generator) tagged(depth int) string {
	for _, who := range []string{"principal", "resource"} {
		e := g.entity(map[string]string{"principal": g.principal, "resource": g.resource}[who])
		if e.tags != nil {
			k := cedarString(oneOf(g, "k", "a b"))
			if g.one(8) {
				return fmt.Sprintf("(%s.getTag(%s) == %s)", who, k, g.expr(e.tags, depth-1))
			}
			return fmt.Sprintf("(%s.hasTag(%s) && %s.getTag(%s) == %s)", who, k, who, k, g.expr(e.tags, depth-1))
		}
	}
	return oneOf(g, "true", "false")
}

type groot struct {
	text  string
	attrs []gattr
}

func (g *generator) roots() []groot {
	return []groot{
		{"principal", g.entity(g.principal).attrs},
		{"resource", g.entity(g.resource).attrs},
		{"context", g.action.context},
	}
}

// path finds a way to a value of type t from the variables, if there is one.
func (g *generator) path(t *gtype) (string, bool) {
	var found []string
	if t.kind == "Entity" {
		if t.name == g.principal {
			found = append(found, "principal")
		}
		if t.name == g.resource {
			found = append(found, "resource")
		}
	}
	var walk func(r groot, depth int)
	walk = func(r groot, depth int) {
		for _, a := range r.attrs {
			if a.optional && !g.one(10) {
				continue
			}
			text := r.text + "[" + cedarString(a.name) + "]"
			if a.typ.same(t) {
				found = append(found, text)
			}
			if depth > 0 && a.typ.kind == "Record" {
				walk(groot{text, a.typ.rec}, depth-1)
			}
			if depth > 0 && a.typ.kind == "Entity" {
				walk(groot{text, g.entity(a.typ.name).attrs}, depth-1)
			}
		}
	}
	for _, r := range g.roots() {
		walk(r, 2)
	}
	if len(found) == 0 {
		return "", false
	}
	return oneOf(g, found...), true
}

func (g *generator) leaf(t *gtype) string {
	switch t.kind {
	case "Long":
		if g.one(20) {
			return oneOf(g, "9223372036854775807", "(-9223372036854775808)")
		}
		n := oneOf(g, longs...)
		if n < 0 {
			return "(" + strconv.FormatInt(n, 10) + ")"
		}
		return strconv.FormatInt(n, 10)
	case "String":
		return cedarString(oneOf(g, texts...))
	case "Bool":
		return oneOf(g, "true", "false")
	case "decimal":
		return `decimal("` + oneOf(g, decimals...) + `")`
	case "ipaddr":
		return `ip("` + oneOf(g, addresses...) + `")`
	case "datetime":
		return `datetime("` + oneOf(g, instants...) + `")`
	case "duration":
		return `duration("` + oneOf(g, durations...) + `")`
	case "Entity":
		return g.uid(t.name).cedar()
	case "Set":
		return "[" + g.leaf(t.elem) + "]"
	}
	var parts []string
	for _, a := range t.rec {
		parts = append(parts, cedarString(a.name)+": "+g.leaf(a.typ))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
