package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of what stands in a document.
const (
	maxName       = 128
	maxText       = 4096
	maxProperties = 16 << 10 // of one entity or obligation, as JSON
	maxParents    = 256
)

// members that an object may have, by name.
type fields map[string]func(ast.Node)

// object reads a mapping whose members are known. Unknown ones are problems.
func (d *document) object(n ast.Node, what string, known fields) {
	d.each(n, what, func(key string, at, v ast.Node) {
		read, ok := known[key]
		if !ok {
			names := slices.DeleteFunc(slices.Sorted(maps.Keys(known)), func(s string) bool { return s == unserved })
			if hint := d.suggest(key, names); hint != "" {
				d.at(at, "%s has no member %q%s", what, key, hint)
			} else {
				d.at(at, "%s has no member %q: it may have %s", what, key, strings.Join(names, ", "))
			}
			return
		}
		read(v)
	})
}

// each calls f with every member of a mapping, in the order of the document.
func (d *document) each(n ast.Node, what string, f func(key string, at, v ast.Node)) {
	n = d.value(n)
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		d.at(n, "%s must be an object with named members, not %s", what, kind(n))
		return
	}
	for _, m := range members(n) {
		switch k := m.Key.(type) {
		case *ast.StringNode:
			f(k.Value, k, m.Value)
		default:
			f(m.Key.GetToken().Value, m.Key, m.Value)
		}
	}
}

// list calls f with every element of a list.
func (d *document) list(n ast.Node, what string, f func(v ast.Node)) {
	n = d.value(n)
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.at(n, "%s must be a list, not %s", what, kind(n))
		return
	}
	for _, v := range s.Values {
		f(v)
	}
}

// text reads one piece of text. It is "" if there is a problem.
func (d *document) text(n ast.Node, what string) string {
	n = d.value(n)
	s := ""
	switch n := n.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.LiteralNode:
		s = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		d.at(n, "%s must be text, not %s: write it in quotes", what, kind(n))
		return ""
	default:
		d.at(n, "%s must be text, not %s", what, kind(n))
		return ""
	}
	switch {
	case strings.TrimSpace(s) == "":
		d.at(n, "%s must not be empty", what)
	case len(s) > maxText:
		d.at(n, "%s is longer than %d bytes", what, maxText)
	default:
		return s
	}
	return ""
}

// ident reads an identifier: of a capability, a schedule, a network and so on.
func (d *document) ident(n ast.Node, what string) string {
	s := d.text(n, what)
	if s != "" && !validName(s) {
		d.at(n, "%s %q is not a name: use letters, digits and . _ : -, beginning with a letter or digit, at most %d of them", what, s, maxName)
		return ""
	}
	return s
}

// keyName checks an identifier that is the key of a member.
func (d *document) keyName(s string, at ast.Node, what string) bool {
	if !validName(s) {
		d.at(at, "%s %q is not a name: use letters, digits and . _ : -, beginning with a letter or digit, at most %d of them", what, s, maxName)
		return false
	}
	return true
}

// validName reports whether s is an identifier. A slash is never in one, so that
// "capability/limit" can be taken apart.
func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == ':' || c == '-'):
		default:
			return false
		}
	}
	return true
}

// names reads a list of identifiers, sorted and without duplicates. f, if it is not nil, is called
// with each and the place where it stands.
func (d *document) names(n ast.Node, what string, f func(s string, at ast.Node)) []string {
	var all []string
	seen := map[string]bool{}
	d.list(n, what, func(v ast.Node) {
		s := d.ident(v, what)
		if s == "" {
			return
		}
		if seen[s] {
			d.at(v, "%s lists %q twice", what, s)
			return
		}
		seen[s] = true
		all = append(all, s)
		if f != nil {
			f(s, v)
		}
	})
	slices.Sort(all)
	return all
}

// oneOf reads a word out of a closed list and returns its index, or -1.
func (d *document) oneOf(n ast.Node, what string, words []string) int {
	s := d.text(n, what)
	if s == "" {
		return -1
	}
	i := slices.Index(words, s)
	if i < 0 {
		d.at(n, "%s %q is not known%s: one of %s", what, s, d.suggest(s, words), strings.Join(words, ", "))
	}
	return i
}

// class reads a data class.
func (d *document) class(n ast.Node) *authz.DataClass {
	s := d.text(n, "class")
	if s == "" {
		return nil
	}
	c, err := authz.ParseDataClass(s)
	if err != nil {
		d.at(n, "%s", err)
		return nil
	}
	return &c
}

// number reads a whole number from lowest to highest.
func (d *document) number(n ast.Node, what string, lowest, highest int64) int64 {
	i, ok := d.value(n).(*ast.IntegerNode)
	if !ok {
		d.at(n, "%s must be a whole number, not %s", what, kind(d.value(n)))
		return lowest
	}
	v, err := strconv.ParseInt(i.Token.Value, 10, 64)
	if err != nil || v < lowest || v > highest {
		d.at(n, "%s must be a whole number from %d to %d", what, lowest, highest)
		return lowest
	}
	return v
}

// decimal reads a number from lowest to highest. If there is a problem, x stays as it is.
func (d *document) decimal(n ast.Node, what string, lowest, highest float64, x *float64) {
	switch v := d.value(n).(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		f, err := strconv.ParseFloat(v.GetToken().Value, 64)
		if err != nil || !(f >= lowest && f <= highest) {
			d.at(n, "%s must be a number from %v to %v", what, lowest, highest)
			return
		}
		*x = f
	default:
		d.at(n, "%s must be a number, not %s", what, kind(v))
	}
}

// truth reads true or false.
func (d *document) truth(n ast.Node, what string) bool {
	b, ok := d.value(n).(*ast.BoolNode)
	if !ok {
		d.at(n, "%s must be true or false, not %s", what, kind(d.value(n)))
		return false
	}
	return b.Value
}

// duration reads a length of time from shortest to longest: 90s, 15m, 1h30m, or whole days of 24 hours, 30d.
func (d *document) duration(n ast.Node, what string, shortest, longest time.Duration) time.Duration {
	s := d.text(n, what)
	if s == "" {
		return shortest
	}
	t, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var whole int64
		whole, err = strconv.ParseInt(days, 10, 64)
		t = time.Duration(max(-1, min(whole, int64(longest/day)+1))) * day // too long is enough, and must not overflow
	}
	switch {
	case err != nil:
		d.at(n, "%s %q is not a length of time: write it as 90s, 15m, 1h30m or 30d", what, shorten(s))
	case t < shortest || t > longest:
		d.at(n, "%s must be from %s to %s", what, spell(shortest), spell(longest))
	default:
		return t
	}
	return shortest
}

// spell writes a length of time as it is read.
func spell(t time.Duration) string {
	if t >= day && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := t.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// named reads a text that names something, of at most maxName bytes.
func (d *document) named(n ast.Node, what string) string {
	s := d.text(n, what)
	if len(s) > maxName {
		d.at(n, "%s is longer than %d bytes", what, maxName)
		return ""
	}
	return s
}

// written returns the text of a scalar as it stands in the document, for numbers that must not pass
// through a float.
func (d *document) written(n ast.Node) (string, bool) {
	switch n := d.value(n).(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// kind names what a node is, for messages.
func kind(n ast.Node) string {
	switch n := n.(type) {
	case nil:
		return "nothing"
	case *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "an object"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", shorten(n.Value))
	case *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode:
		return "the number " + shorten(n.GetToken().Value)
	case *ast.BoolNode:
		return n.GetToken().Value
	}
	return "this"
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 32 {
		return string(r[:32]) + "..."
	}
	return s
}
