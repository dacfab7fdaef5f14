package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a document. They keep the parser and us from being made to work for nothing.
const (
	maxSize     = 4 << 20 // bytes
	maxDepth    = 32      // nesting, aliases included
	maxMarks    = 64      // list dashes, tags and anchors in one line
	maxWork     = 1e8     // see crowd; an object written in block style has some 14,000 members at most
	maxAliased  = 100_000 // nodes that aliases add to those that are written
	maxProblems = 100
)

// A document is a YAML text on its way to becoming a Catalog: its tree, and the problems found so far.
// Nothing in it is trusted before check has walked the whole tree.
type document struct {
	name     string
	lines    []string
	root     ast.Node
	anchors  map[string]anchor
	problems []Problem
	more     bool
	aliased  int
	most     int // bytes of one value as JSON; 0: maxProperties
	twice    int // how many of the problems are members written twice, which need not stop a reader
}

// An anchor is a part of the document that has a name. It can be referred to only after its end, so
// that no part contains itself.
type anchor struct {
	node        ast.Node
	size, depth int
}

// parse reads text as one YAML document and checks its form. If it finds problems that forbid to
// read on, root stays nil.
func parse(name string, text []byte) *document {
	d := &document{name: name, anchors: map[string]anchor{}}
	if len(text) > maxSize {
		d.add(0, 0, "the document has %d bytes, more than %d", len(text), maxSize)
		return d
	}
	d.lines = strings.Split(string(text), "\n")
	for i, line := range d.lines {
		if at := badByte(line); at >= 0 {
			d.add(i+1, utf8.RuneCountInString(line[:at])+1, "not UTF-8 text, or a control character")
			return d
		}
		d.lines[i] = strings.TrimSuffix(line, "\r")
	}
	body := d.tree(string(text))
	if len(d.problems) > 0 {
		return d
	}
	if body == nil {
		d.add(0, 0, "the document is empty")
		return d
	}
	d.check(body, 1)
	if len(d.problems) == d.twice {
		d.root = body
	}
	return d
}

// badByte returns the place of the first byte that no YAML document has, or -1.
func badByte(line string) int {
	for i, r := range line {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(line[i:]); n == 1 {
				return i
			}
		}
		if r < ' ' && r != '\t' && r != '\r' || r == 0x7f || r == 0xfeff && i > 0 {
			return i
		}
	}
	return -1
}

// tree returns the body of the only document in text, nil if there is none or a problem was found.
func (d *document) tree(text string) (body ast.Node) {
	// The parser reads bytes that a stranger wrote. A panic in it is one more way to be malformed.
	defer func() {
		if r := recover(); r != nil {
			d.add(0, 0, "the document cannot be read as YAML")
			body = nil
		}
	}()
	tokens := lexer.Tokenize(text)
	if !d.tame(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) && y.GetToken() != nil {
			p := y.GetToken().Position
			d.add(p.Line, p.Column, "%s", y.GetMessage())
		} else {
			d.add(0, 0, "the document cannot be read as YAML: %s", err)
		}
		return nil
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if _, ok := doc.Body.(*ast.DirectiveNode); ok {
			d.at(doc.Body, "directives are not read")
			return nil
		}
		if body != nil {
			d.at(doc.Body, "a second document begins here; a catalog is one")
			return nil
		}
		body = doc.Body
	}
	return body
}

// check walks the tree: keys are plain and unique, aliases refer back and add little, nothing nests
// too deep. It returns how many nodes n has and how deep it is, aliases followed.
func (d *document) check(n ast.Node, level int) (size, depth int) {
	if level > maxDepth {
		d.at(n, "nested deeper than %d levels", maxDepth)
		return 1, 1
	}
	size, depth = 1, 1
	add := func(child ast.Node) {
		if child == nil {
			return
		}
		s, dep := d.check(child, level+1)
		size, depth = size+s, max(depth, dep+1)
	}
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		seen := map[string]int{}
		for _, v := range members(n) {
			if k, ok := d.key(v); ok {
				if line, twice := seen[k]; twice {
					if d.at(v.Key, "%q is written twice; first in line %d", k, line) {
						d.twice++
					}
				} else {
					seen[k] = v.Key.GetToken().Position.Line
				}
			}
			add(v.Value)
		}
	case *ast.SequenceNode:
		for _, v := range n.Values {
			add(v)
		}
	case *ast.AnchorNode:
		name := n.Name.GetToken().Value
		size, depth = d.check(n.Value, level)
		if _, twice := d.anchors[name]; twice {
			d.at(n, "anchor &%s is written twice", name)
		}
		d.anchors[name] = anchor{d.value(n.Value), size, depth}
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		a, ok := d.anchors[name]
		if !ok {
			d.at(n, "alias *%s refers to no anchor before it", name)
			return 1, 1
		}
		d.aliased += a.size
		if d.aliased > maxAliased {
			if d.aliased-a.size <= maxAliased {
				d.at(n, "aliases make the document too large: more than %d nodes", maxAliased)
			}
			d.aliased = maxAliased + 1
			return 1, 1
		}
		if level+a.depth-1 > maxDepth {
			d.at(n, "nested deeper than %d levels, aliases followed", maxDepth)
		}
		return a.size, a.depth
	case *ast.TagNode:
		d.at(n, "tags such as %s are not read", n.Start.Value)
	case *ast.InfinityNode, *ast.NanNode:
		d.at(n, "not a number that can be used")
	}
	return size, depth
}

// resolved returns the node that an anchor names.
func resolved(n ast.Node) ast.Node {
	for {
		a, ok := n.(*ast.AnchorNode)
		if !ok {
			return n
		}
		n = a.Value
	}
}

// key returns the name of a member, or notes why it has none.
func (d *document) key(v *ast.MappingValueNode) (string, bool) {
	switch k := v.Key.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return k.GetToken().Value, true
	case *ast.MergeKeyNode:
		d.at(k, "merge keys are not read: write the members out, or share a whole value with an alias")
	default:
		d.at(v.Key, "a key must be plain text")
	}
	return "", false
}

// members returns the members of a mapping.
func members(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// value returns what n stands for: the part of the document that an anchor or alias names.
func (d *document) value(n ast.Node) ast.Node {
	if a, ok := n.(*ast.AliasNode); ok {
		return d.anchors[a.Value.GetToken().Value].node
	}
	return resolved(n)
}

// at notes a problem at a node, and reports whether there was room for it.
func (d *document) at(n ast.Node, format string, args ...any) bool {
	line, column := 0, 0
	if t := first(n); t != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	return d.add(line, column, format, args...)
}

// first returns the first token of a node.
func first(n ast.Node) *token.Token {
	switch m := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return first(m.Values[0])
		}
	case *ast.MappingValueNode:
		return m.Key.GetToken()
	}
	return n.GetToken()
}

func (d *document) add(line, column int, format string, args ...any) bool {
	if len(d.problems) == maxProblems {
		d.more = true
		return false
	}
	p := Problem{Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
	if line >= 1 && line <= len(d.lines) {
		p.Text = d.lines[line-1]
	}
	d.problems = append(d.problems, p)
	return true
}

// err returns the problems as an error, or nil if there are none.
func (d *document) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return &Problems{Name: d.name, List: d.problems, More: d.more}
}
