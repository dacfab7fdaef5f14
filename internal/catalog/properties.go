package catalog

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/safeconduct/safeconduct/authz"
)

// properties reads an object of any members, as JSON.
func (d *document) properties(n ast.Node, what string) authz.Claimed {
	n = d.value(n)
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		d.at(n, "%s must be an object with named members, not %s", what, kind(n))
		return nil
	}
	b := d.json(nil, n, what)
	if len(b) > maxProperties {
		d.at(n, "%s are longer than %d bytes", what, maxProperties)
		return nil
	}
	return authz.Claimed(b)
}

// json appends the value of n as JSON.
func (d *document) json(b []byte, n ast.Node, what string) []byte {
	if len(b) > max(d.most, maxProperties) {
		return b
	}
	switch n := d.value(n).(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		b = append(b, '{')
		for i, m := range members(n) {
			if i > 0 {
				b = append(b, ',')
			}
			name := m.Key.GetToken().Value
			if s, ok := m.Key.(*ast.StringNode); ok {
				name = s.Value
			}
			b = quote(b, name)
			b = append(b, ':')
			b = d.json(b, m.Value, what)
		}
		return append(b, '}')
	case *ast.SequenceNode:
		b = append(b, '[')
		for i, v := range n.Values {
			if i > 0 {
				b = append(b, ',')
			}
			b = d.json(b, v, what)
		}
		return append(b, ']')
	case *ast.StringNode:
		if n.Token.Type == token.StringType && looksNumeric(n.Value) {
			d.at(n, "%s: %s is not a number that can be kept exactly: write it in quotes", what, n.Value)
		}
		return quote(b, n.Value)
	case *ast.LiteralNode:
		return quote(b, n.Value.Value)
	case *ast.BoolNode:
		return strconv.AppendBool(b, n.Value)
	case *ast.NullNode:
		return append(b, "null"...)
	case *ast.IntegerNode:
		return fmt.Append(b, n.Value)
	case *ast.FloatNode:
		if s := n.Token.Value; json.Valid([]byte(s)) {
			return append(b, s...)
		}
		return strconv.AppendFloat(b, n.Value, 'g', -1, 64)
	default:
		d.at(n, "%s: %s cannot be kept", what, kind(n))
		return append(b, "null"...)
	}
}

// looksNumeric reports whether text that is not in quotes is a JSON number, which the reader of
// YAML left as text because it is too large.
func looksNumeric(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}

// quote appends s as a JSON string.
func quote(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	b, _ = jsontext.AppendQuote(b, s)
	return b
}
