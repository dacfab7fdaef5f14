package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	yamltoken "github.com/goccy/go-yaml/token"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds on a file of cases.
const (
	maxCaseFile  = 4 << 20
	maxCaseDepth = 40
)

// A branch is a piece of a YAML document with its place. Nothing of YAML but lists, maps and plain
// values is read: no anchors, tags or merge keys.
type branch struct {
	line, column int
	kind         branchKind
	text         string // of a scalar, as written; of a string, its value
	items        []*branch
	fields       []field
}

type branchKind uint8

const (
	nullBranch branchKind = iota
	boolBranch
	numberBranch
	stringBranch
	listBranch
	mapBranch
)

func (k branchKind) String() string {
	return [...]string{"nothing", "true or false", "a number", "a text", "a list", "a map"}[k]
}

type field struct {
	key          string
	line, column int
	value        *branch
}

// readTree reads one YAML document.
func readTree(text []byte) (b *branch, err error) {
	if len(text) > maxCaseFile {
		return nil, caseError(1, 1, "larger than %d bytes", maxCaseFile)
	}
	defer func() { // the parser panics on some malformed texts
		if r := recover(); r != nil {
			b, err = nil, caseError(1, 1, "this cannot be read as YAML")
		}
	}()
	tokens := lexer.Tokenize(string(text))
	if err := shallow(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		var e yaml.Error
		if errors.As(err, &e) && e.GetToken() != nil {
			p := e.GetToken().Position
			return nil, caseError(p.Line, p.Column, "%s", e.GetMessage())
		}
		return nil, caseError(1, 1, "%v", err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, caseError(1, 1, "want one YAML document")
	}
	return grow(file.Docs[0].Body, 0)
}

// shallow returns an error if the tokens nest so deeply, in brackets or in list dashes of one line,
// that the parser should not be made to follow.
func shallow(tokens yamltoken.Tokens) error {
	open, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case yamltoken.MappingStartType, yamltoken.SequenceStartType:
			open++
		case yamltoken.MappingEndType, yamltoken.SequenceEndType:
			open--
		case yamltoken.SequenceEntryType, yamltoken.MappingKeyType, yamltoken.TagType, yamltoken.AnchorType:
			dashes++
		}
		if open > maxCaseDepth || dashes > maxCaseDepth {
			return caseError(t.Position.Line, t.Position.Column, "nested too deeply")
		}
	}
	return nil
}

// A caseFault is an error at a place of a file of cases.
type caseFault struct {
	line, column int
	message      string
}

func (e *caseFault) Error() string { return fmt.Sprintf("%d:%d: %s", e.line, e.column, e.message) }
func (e *caseFault) Unwrap() error { return authz.ErrInvalid }

func caseError(line, column int, format string, args ...any) error {
	return &caseFault{line, column, fmt.Sprintf(format, args...)}
}

func (b *branch) errorf(format string, args ...any) error {
	return caseError(b.line, b.column, format, args...)
}

func (f field) errorf(format string, args ...any) error {
	return caseError(f.line, f.column, format, args...)
}

func grow(n ast.Node, depth int) (*branch, error) {
	b := &branch{line: n.GetToken().Position.Line, column: n.GetToken().Position.Column}
	if depth > maxCaseDepth {
		return nil, b.errorf("nested too deeply")
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		b.kind, b.text = boolBranch, fmt.Sprint(n.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		b.kind, b.text = numberBranch, n.GetToken().Value
		if !json.Valid([]byte(b.text)) {
			return nil, b.errorf("write the number %s as JSON does", b.text)
		}
	case *ast.StringNode:
		b.kind, b.text = stringBranch, n.Value
	case *ast.LiteralNode:
		b.kind, b.text = stringBranch, n.Value.Value
	case *ast.SequenceNode:
		b.kind = listBranch
		for _, v := range n.Values {
			item, err := grow(v, depth+1)
			if err != nil {
				return nil, err
			}
			b.items = append(b.items, item)
		}
	case *ast.MappingNode:
		b.kind = mapBranch
		if len(n.Values) > 0 {
			p := n.Values[0].Key.GetToken().Position
			b.line, b.column = p.Line, p.Column
		}
		for _, v := range n.Values {
			if err := b.plant(v, depth); err != nil {
				return nil, err
			}
		}
	case *ast.MappingValueNode:
		b.kind = mapBranch
		p := n.Key.GetToken().Position
		b.line, b.column = p.Line, p.Column
		return b, b.plant(n, depth)
	default:
		return nil, b.errorf("%s is not allowed here", strings.ToLower(n.Type().String()))
	}
	return b, nil
}

func (b *branch) plant(n *ast.MappingValueNode, depth int) error {
	t := n.Key.GetToken()
	f := field{line: t.Position.Line, column: t.Position.Column}
	switch k := n.Key.(type) {
	case *ast.StringNode:
		f.key = k.Value
	case *ast.IntegerNode, *ast.BoolNode, *ast.NullNode, *ast.FloatNode:
		f.key = t.Value
	default:
		return f.errorf("want a plain name")
	}
	if b.field(f.key) != nil {
		return f.errorf("%q is given twice", f.key)
	}
	v, err := grow(n.Value, depth+1)
	if err != nil {
		return err
	}
	f.value = v
	b.fields = append(b.fields, f)
	return nil
}

// field returns the value of a key of a map, nil if it is not there.
func (b *branch) field(key string) *branch {
	for _, f := range b.fields {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// over returns b laid over base: maps are joined key by key, all else is replaced.
func (b *branch) over(base *branch) *branch {
	if base == nil || b == nil || b.kind != mapBranch || base.kind != mapBranch {
		if b == nil {
			return base
		}
		return b
	}
	out := *b
	out.fields = nil
	for _, f := range base.fields {
		if own := b.field(f.key); own != nil {
			f.value = own.over(f.value)
			for _, o := range b.fields {
				if o.key == f.key {
					f.line, f.column = o.line, o.column
				}
			}
		}
		out.fields = append(out.fields, f)
	}
	for _, f := range b.fields {
		if base.field(f.key) == nil {
			out.fields = append(out.fields, f)
		}
	}
	return &out
}

// unfold returns b with every key of the form a.b.c opened into maps.
func (b *branch) unfold() (*branch, error) {
	out := &branch{line: b.line, column: b.column, kind: mapBranch}
	for _, f := range b.fields {
		steps := strings.Split(f.key, ".")
		value := f.value
		for i := len(steps) - 1; i >= 0; i-- {
			if steps[i] == "" {
				return nil, f.errorf("%q is no path", f.key)
			}
			value = &branch{line: f.line, column: f.column, kind: mapBranch, fields: []field{{steps[i], f.line, f.column, value}}}
		}
		out = value.over(out)
	}
	out.line, out.column = b.line, b.column
	return out, nil
}

// json returns b as JSON.
func (b *branch) json() []byte { return b.appendJSON(nil) }

func (b *branch) appendJSON(out []byte) []byte {
	text := func(s string) []byte {
		t, _ := json.Marshal(s) // a string always can be
		return t
	}
	switch b.kind {
	case nullBranch:
		return append(out, "null"...)
	case boolBranch, numberBranch:
		return append(out, b.text...)
	case stringBranch:
		return append(out, text(b.text)...)
	case listBranch:
		out = append(out, '[')
		for i, v := range b.items {
			if i > 0 {
				out = append(out, ',')
			}
			out = v.appendJSON(out)
		}
		return append(out, ']')
	}
	out = append(out, '{')
	for i, f := range b.fields {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, text(f.key)...), ':')
		out = f.value.appendJSON(out)
	}
	return append(out, '}')
}
