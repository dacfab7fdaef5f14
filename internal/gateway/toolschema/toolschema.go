// Package toolschema makes of the tools that an MCP server lists a schema for policies: each tool an action, its
// arguments with their types, in groups by what the server says that they do.
//
// What it makes is a draft for an operator to read. It repeats what the server says of itself, and leaves out what has no
// type that policies know; the notes say what that is.
package toolschema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
)

// A Tool is one of a server's, as tools/list has it, by the name under which clients see it.
type Tool struct {
	Name        string
	Description string
	ReadOnly    bool            // it says that it changes nothing
	Input       json.RawMessage // its JSON schema
}

// Bounds of what a server may list.
const (
	maxTools = 10000
	maxDepth = 6 // of records in records
)

// A Schema is a draft.
type Schema struct {
	Cedar string   // for a file beside one's own schema
	Notes []string // what was left out, and why
}

// Groups are the names of the groups of a server's tools: those that change nothing by their own word, and the others.
func Groups(server string) (read, change string) { return server + "-read", server + "-change" }

// Make returns the schema of a server's tools. authz.ErrInvalid: no schema can be made of them.
func Make(server string, tools []Tool) (*Schema, error) {
	if len(tools) > maxTools {
		return nil, authz.Errorf(authz.ErrInvalid, "the server lists more than %d tools", maxTools)
	}
	m := &maker{}
	read, change := Groups(server)
	m.line("// The tools of the server %s, as it describes them. Types and groups are its word.", comment(server))
	m.line("")
	m.line("action %s, %s;", quote(read), quote(change))
	seen := map[string]bool{}
	for _, t := range tools {
		if seen[t.Name] {
			return nil, authz.Errorf(authz.ErrInvalid, "the server lists the tool %.64q twice", t.Name)
		}
		seen[t.Name] = true
		if !utf8.ValidString(t.Name) || t.Name == "" {
			return nil, authz.Errorf(authz.ErrInvalid, "the server lists a tool whose name is no text")
		}
		m.tool(t, map[bool]string{true: read, false: change}[t.ReadOnly])
	}
	return &Schema{m.b.String(), m.notes}, nil
}

type maker struct {
	b     strings.Builder
	notes []string
}

func (m *maker) line(format string, args ...any) { fmt.Fprintf(&m.b, format+"\n", args...) }

func (m *maker) note(where, format string, args ...any) {
	m.notes = append(m.notes, where+": "+fmt.Sprintf(format, args...))
}

func (m *maker) tool(t Tool, group string) {
	m.line("")
	if first, _, _ := strings.Cut(strings.TrimSpace(t.Description), "\n"); first != "" {
		m.line("// %s", comment(first))
	}
	m.line("action %s in [%s] appliesTo {", quote(t.Name), quote(group))
	m.line("  principal: [Agent, User], resource: [tool],")
	args := "{}"
	var s node
	if err := json.Unmarshal(t.Input, &s); err != nil {
		m.note(t.Name, "its input schema cannot be read, so nothing is known of its arguments")
	} else if r := m.record(t.Name, &s, "    ", 0); r != "" {
		args = r
	}
	m.line("  context: { observed: Observed, claimed: { agent?: String }, args: %s },", args)
	m.line("};")
}

// A node is a JSON schema, as far as it is understood (draft 2020-12).
type node struct {
	Type       types           `json:"type"`
	Properties map[string]node `json:"properties"`
	Required   []string        `json:"required"`
	Items      *node           `json:"items"`
	Enum       []any           `json:"enum"`
	Const      any             `json:"const"`
	AnyOf      []node          `json:"anyOf"`
	OneOf      []node          `json:"oneOf"`
	AllOf      []node          `json:"allOf"`
	Ref        string          `json:"$ref"`
}

// UnmarshalJSON reads a schema; true, false and what is none say nothing.
func (n *node) UnmarshalJSON(b []byte) error {
	type plain node
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		if text := strings.TrimSpace(string(b)); strings.HasPrefix(text, "{") {
			return err
		}
	}
	*n = node(p)
	return nil
}

// types is the member type: a string or a list of them.
type types []string

// UnmarshalJSON reads one type, or several.
func (t *types) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = types{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// record returns the type of an object, "" if it has no members that have a type.
func (m *maker) record(where string, n *node, indent string, depth int) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		p := n.Properties[name]
		typ, optional := m.typ(where+"."+name, &p, indent+"  ", depth+1)
		if typ == "" {
			continue
		}
		mark := "?"
		if slices.Contains(n.Required, name) && !optional {
			mark = ""
		}
		lines = append(lines, indent+attribute(name)+mark+": "+typ+",")
	}
	if len(lines) == 0 {
		return ""
	}
	return "{\n" + strings.Join(lines, "\n") + "\n" + indent[2:] + "}"
}

// typ returns the type that policies know a value by, "" if there is none, and whether it can be missing although
// it is required: because it can be null.
func (m *maker) typ(where string, n *node, indent string, depth int) (typ string, optional bool) {
	kinds := slices.DeleteFunc(slices.Clone(n.Type), func(s string) bool { return s == "null" })
	optional = len(kinds) < len(n.Type)
	switch {
	case depth > maxDepth:
		m.note(where, "it is nested too deeply, and left out")
		return "", false
	case n.Ref != "" || len(n.AllOf) > 0:
		m.note(where, "its type is said elsewhere in the schema, and left out")
		return "", false
	case len(n.AnyOf)+len(n.OneOf) > 0:
		return m.alternatives(where, n, indent, depth)
	case len(kinds) == 0:
		if kinds = enumerated(n); kinds == nil {
			m.note(where, "it can be anything, and is left out")
			return "", false
		}
	case len(kinds) > 1:
		m.note(where, "it can be of several types, and is left out")
		return "", false
	}
	switch kinds[0] {
	case "string":
		return "String", optional
	case "integer":
		return "Long", optional
	case "boolean":
		return "Bool", optional
	case "number":
		m.note(where, "it is a number: policies have those with at most four digits behind the point, and requests with others are refused")
		return "decimal", optional
	case "array":
		if n.Items == nil {
			m.note(where, "its elements can be anything, and it is left out")
			return "", false
		}
		of, _ := m.typ(where+"[]", n.Items, indent, depth+1)
		if of == "" {
			return "", false
		}
		return "Set<" + of + ">", optional
	case "object":
		r := m.record(where, n, indent, depth)
		if r == "" {
			m.note(where, "it is an object of which nothing is known, and is left out")
		}
		return r, optional
	}
	m.note(where, "it is of the type %.40q, which is none, and left out", kinds[0])
	return "", false
}

// alternatives returns the type of what is one of several, if there is one beside null.
func (m *maker) alternatives(where string, n *node, indent string, depth int) (string, bool) {
	var real []node
	for _, a := range slices.Concat(n.AnyOf, n.OneOf) {
		if len(a.Type) != 1 || a.Type[0] != "null" {
			real = append(real, a)
		}
	}
	if len(real) != 1 {
		m.note(where, "it can be of several types, and is left out")
		return "", false
	}
	typ, _ := m.typ(where, &real[0], indent, depth)
	return typ, true
}

// enumerated returns the type of the values that a schema lists.
func enumerated(n *node) []string {
	all := n.Enum
	if n.Const != nil {
		all = []any{n.Const}
	}
	for _, v := range all {
		if _, ok := v.(string); !ok {
			return nil
		}
	}
	if len(all) == 0 {
		return nil
	}
	return []string{"string"}
}

// attribute returns the name of an attribute as a schema has it.
func attribute(name string) string {
	for i, r := range name {
		if !(r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r >= '0' && r <= '9') {
			return quote(name)
		}
	}
	switch name {
	case "", "true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar":
		return quote(name)
	}
	return name
}

// quote returns a string as Cedar has it.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f || r > 0x7e && !strconv.IsPrint(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// comment returns text of a server's in one line that ends no comment.
func comment(s string) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > 100 {
		s = string(runes[:99]) + "…"
	}
	return s
}
