package catalog

import (
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of the properties of obligations.
const (
	maxFields = 64  // fields of a mask or a log, and methods of a step-up
	maxField  = 256 // bytes of one, and of what stands in its place
	maxBody   = 4 << 10
	maxDelay  = day
)

// logLevels are those of a log, quietest first.
var logLevels = []string{"debug", "info", "warn", "error"}

func (r *reader) obligations(n ast.Node) {
	r.each(n, "obligations", func(id string, at, v ast.Node) {
		if !r.keyName(id, at, "obligation") {
			return
		}
		o := authz.Obligation{ID: id}
		where, properties := at, ast.Node(nil)
		r.object(v, "obligation "+id, fields{
			"type":       func(n ast.Node) { o.Type, where = r.named(n, "type"), n },
			"properties": func(n ast.Node) { properties = n },
		})
		if properties != nil {
			o.Properties = []byte(r.document.properties(properties, "properties"))
		}
		if o.Type == "" {
			r.at(at, "obligation %s has no type", id)
		} else {
			r.duty(&o, where, properties)
		}
		r.c.obligations[id] = o
	})
}

// A duty is a type of obligation whose properties are known: those it may have, and those it must.
type duty struct {
	known fields
	needs []string // each is a member, or several of which one suffices, separated by spaces
}

// duty checks the properties of an obligation of a type that the AuthZEN profile or we have given a meaning.
// Other types are the organisation's own, and their properties are between it and its enforcement points.
func (r *reader) duty(o *authz.Obligation, at, properties ast.Node) {
	d, ok := r.duties()[o.Type]
	if !ok || properties != nil && o.Properties == nil { // the latter is complained of already
		return
	}
	has := map[string]bool{}
	if properties != nil {
		at = properties
		known := fields{}
		for name, read := range d.known {
			known[name] = func(n ast.Node) { has[name] = true; read(n) }
		}
		if len(known) == 0 {
			r.each(properties, "properties", func(key string, at, _ ast.Node) {
				r.at(at, "an obligation of the type %s has no properties: leave %q out", o.Type, shorten(key))
			})
			return
		}
		r.object(properties, "an obligation of the type "+o.Type, known)
	}
	for _, need := range d.needs {
		if anyOf := strings.Fields(need); !has[anyOf[0]] && !has[anyOf[len(anyOf)-1]] {
			r.at(at, "obligation %s is of the type %s, which needs the property %s", o.ID, o.Type, strings.Join(anyOf, " or "))
		}
	}
}

// duties returns the types that are known. The first three are those of the AuthZEN obligations profile.
func (r *reader) duties() map[string]duty {
	text := func(what string, most int) func(ast.Node) {
		return func(n ast.Node) {
			if s := r.text(n, what); len(s) > most {
				r.at(n, "%s is longer than %d bytes", what, most)
			}
		}
	}
	return map[string]duty{
		"notification": {fields{"to": text("to", maxField), "topic": text("topic", maxField), "body": text("body", maxBody)}, []string{"to", "body"}},
		"step-up": {fields{"acr_value": text("acr_value", maxField), "amr_values": func(n ast.Node) { r.places(n, "amr_values", false) }},
			[]string{"acr_value"}},
		"session_termination": {fields{"subject": text("subject", maxField)}, []string{"subject"}},

		"mask": {fields{"fields": func(n ast.Node) { r.places(n, "fields", true) }, "with": text("with", maxField)}, []string{"fields"}},
		"cap":  {fields{"argument": func(n ast.Node) { r.place(n, "argument") }, "most": r.most}, []string{"argument", "most"}},
		"log": {fields{"fields": func(n ast.Node) { r.places(n, "fields", true) }, "level": func(n ast.Node) { r.oneOf(n, "level", logLevels) }},
			nil},
		"dry-run": {},
		"delay":   {fields{"for": func(n ast.Node) { r.duration(n, "for", time.Second, maxDelay) }, "until": r.until}, []string{"for until"}},
	}
}

// places reads a list of texts, which are names or pointers into JSON if pointers is true.
func (r *reader) places(n ast.Node, what string, pointers bool) {
	seen := map[string]bool{}
	count := 0
	r.list(n, what, func(v ast.Node) {
		s := ""
		if pointers {
			s = r.place(v, what)
		} else if s = r.text(v, what); len(s) > maxField {
			r.at(v, "%s: %q is longer than %d bytes", what, shorten(s), maxField)
		}
		if count++; count == maxFields+1 {
			r.at(v, "%s has more than %d elements", what, maxFields)
		}
		if s != "" && seen[s] {
			r.at(v, "%s lists %q twice", what, shorten(s))
		}
		seen[s] = true
	})
	if _, ok := r.value(n).(*ast.SequenceNode); ok && count == 0 {
		r.at(n, "%s is empty, so that it says nothing", what)
	}
}

// place reads the name of a member, or a pointer (RFC 6901), which begins with a slash.
func (r *reader) place(n ast.Node, what string) string {
	s := r.text(n, what)
	switch {
	case len(s) > maxField:
		r.at(n, "%s: %q is longer than %d bytes", what, shorten(s), maxField)
	case strings.HasPrefix(s, "/") && badEscape(s):
		r.at(n, "%s: %q is no JSON pointer (RFC 6901): after ~ comes 0, which means ~, or 1, which means /", what, shorten(s))
	case strings.HasPrefix(s, "$."):
		r.at(n, "%s: %q looks like JSONPath: write the name of a member, or a JSON pointer such as /customer/iban", what, shorten(s))
	default:
		return s
	}
	return ""
}

// badEscape reports whether s has a tilde that escapes nothing.
func badEscape(s string) bool {
	for rest := s; ; {
		i := strings.IndexByte(rest, '~')
		if i < 0 {
			return false
		}
		if rest = rest[i+1:]; rest == "" || rest[0] != '0' && rest[0] != '1' {
			return true
		}
	}
}

// most reads the most that a cap allows: text, because a number of JSON may lose digits on its way.
func (r *reader) most(n ast.Node) {
	s := r.text(n, "most")
	if s == "" {
		return
	}
	if _, ok := parseDecimal(s); !ok || len(s) > maxDigits+1 || strings.ContainsAny(s, "eE") {
		r.at(n, "most must be a decimal number that is not negative, such as \"500\" or \"99.50\", not %q", shorten(s))
	}
}

// until reads a moment.
func (r *reader) until(n ast.Node) {
	s := r.text(n, "until")
	if s == "" {
		return
	}
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		r.at(n, "until %q is not a time with a zone, such as 2026-12-24T18:00:00+01:00", shorten(s))
	}
}
