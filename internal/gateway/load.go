package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/safeconduct/safeconduct/authz"
)

// maxDocument bounds a door's document.
const maxDocument = 1 << 20

// Load reads a door's document, strictly, into a struct that embeds Common. The error is a *Problems with everything that
// was found wrong, each with its line; authz.ErrInvalid also if there is no such file. If into has a method
// Check(*Problems), it is called with what was read, before Common itself is checked.
func Load(path string, into any) error {
	text, err := readBounded(path, maxDocument)
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "reading the configuration: %w", err)
	}
	return Parse(path, text, into)
}

// Parse is Load of a text that stands in a file of that name.
func Parse(path string, text []byte, into any) error {
	holder, ok := into.(interface{ common() *Common })
	if !ok {
		return fmt.Errorf("gateway: a %T does not embed Common", into)
	}
	ps := &Problems{file: path, text: text}
	root := ps.parse()
	if root != nil {
		ps.root = root
		if err := decode(text, into); err != nil {
			ps.yaml(err)
		}
	}
	if err := ps.err(); err != nil {
		return err
	}
	c := holder.common()
	c.file, c.dir = path, filepath.Dir(path)
	c.fill()
	if check, ok := into.(interface{ Check(ps *Problems) }); ok {
		check.Check(ps)
	}
	c.check(ps)
	return ps.err()
}

// DoorOf returns which door a document is for by what only that one's have: "mcp", "http" or "envoy"; "" if it cannot be told.
func DoorOf(path string) string {
	text, err := readBounded(path, maxDocument)
	if err != nil {
		return ""
	}
	ps := &Problems{file: path, text: text}
	if ps.parse(); ps.err() != nil {
		return ""
	}
	var d map[string]any
	if decodeLoosely(text, &d) != nil {
		return ""
	}
	has := func(members ...string) bool {
		return slices.ContainsFunc(members, func(m string) bool { _, ok := d[m]; return ok })
	}
	_, list := d["upstreams"].([]any)
	switch {
	case has(doorEnvoy):
		return doorEnvoy
	case list || has("endpoint", "tools", "methods", "pins"):
		return "mcp"
	case has("routes", "openapi"):
		return "http"
	}
	return ""
}

// readBounded returns what a file says, of at most that many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return b, err
}

// decode decodes the one document in text.
func decode(text []byte, into any) (err error) {
	defer recovered(&err)
	err = yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.DisallowUnknownField()).Decode(into)
	if err == io.EOF { // nothing is said
		return nil
	}
	return err
}

// recovered makes an error of what the YAML library was not made for.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = errors.New("not readable as YAML")
	}
}

// Problems lists everything found wrong with a document. As an error it is authz.ErrInvalid.
type Problems struct {
	List []Problem

	file string
	text []byte
	root ast.Node
}

// A Problem is one thing that is wrong. Line and Column count from 1, and are 0 if it stands nowhere.
type Problem struct {
	Line, Column int
	Message      string
}

// Add adds a problem of the member at a path such as "routes[2].method". If that was left out, the nearest one around
// it is shown.
func (ps *Problems) Add(path, format string, args ...any) {
	p := Problem{Message: strings.TrimSpace(path + " " + fmt.Sprintf(format, args...))}
	if tok := find(ps.root, path); tok != nil {
		p.Line, p.Column = tok.line, tok.column
	}
	ps.List = append(ps.List, p)
}

// Exposed adds a problem unless what is said to the server at an address, and by it, is between it and the gateway: https, this host,
// or the document says that it is meant.
func (ps *Problems) Exposed(path, address string, insecure bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || loopback(u.Hostname()) || insecure {
		return
	}
	ps.Add(path, "is http to another host: whoever is between sees the credential and all else, and can answer in the server's place; use https, or say insecure: true")
}

// Error returns each problem as compilers write it, with the line and a caret below it.
func (ps *Problems) Error() string {
	var b strings.Builder
	lines := bytes.Split(ps.text, []byte("\n"))
	for i, p := range ps.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(ps.file)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, max(p.Column, 1))
		}
		b.WriteString(": " + p.Message)
		if p.Line > 0 && p.Line <= len(lines) {
			line := printable(string(bytes.TrimRight(lines[p.Line-1], "\r")))
			if utf8.RuneCountInString(line) <= 200 {
				fmt.Fprintf(&b, "\n%5d | %s\n      | %s^", p.Line, line, strings.Repeat(" ", max(p.Column-1, 0)))
			}
		}
	}
	return b.String()
}

// printable returns a line that does not steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
}

// Unwrap makes ps authz.ErrInvalid.
func (ps *Problems) Unwrap() error { return authz.ErrInvalid }

// err returns ps, sorted by line, or nil if it is empty.
func (ps *Problems) err() error {
	if len(ps.List) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.List, func(a, b Problem) int { return a.Line - b.Line })
	return ps
}

// parse returns the root of the only document in the text; nil if there is none or it is no YAML.
func (ps *Problems) parse() ast.Node {
	if line := deepLine(ps.text); line > 0 {
		ps.List = append(ps.List, Problem{Line: line, Message: "nested too deeply"})
		return nil
	}
	file, err := parseText(ps.text)
	if err != nil {
		ps.yaml(err)
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			ps.List = append(ps.List, Problem{Line: doc.Body.GetToken().Position.Line, Message: "more than one document"})
			return nil
		}
		root = doc.Body
	}
	return root
}

func parseText(text []byte) (file *ast.File, err error) {
	defer recovered(&err)
	return parser.ParseBytes(text, 0)
}

// yaml adds what the YAML library found.
func (ps *Problems) yaml(err error) {
	p := Problem{Message: err.Error()}
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		p.Message, p.Line, p.Column = y.GetMessage(), y.GetToken().Position.Line, y.GetToken().Position.Column
	} else if i := strings.LastIndex(p.Message, "duration "); i >= 0 { // of time.ParseDuration, which the library passes on
		p.Message = "no duration, such as 30s, 5m or 1h"
		if text, err := strconv.Unquote(err.Error()[i+len("duration "):]); err == nil {
			p.Line, p.Column = ps.scalar(text)
		}
	}
	ps.List = append(ps.List, p)
}

// scalar returns where a value stands first.
func (ps *Problems) scalar(text string) (line, column int) {
	if ps.root == nil {
		return 0, 0
	}
	for _, n := range ast.Filter(ast.StringType, ps.root) {
		if s, ok := n.(*ast.StringNode); ok && s.Value == text && s.GetToken().Position != nil {
			return s.GetToken().Position.Line, s.GetToken().Position.Column
		}
	}
	return 0, 0
}

// deepLine returns the first line that opens more brackets or dashes than any configuration needs, so that the parser,
// which recurses, is not made to.
func deepLine(text []byte) int {
	open, line, marks := 0, 1, 0
	for _, c := range text {
		switch c {
		case '\n':
			line, marks = line+1, 0
		case '[', '{':
			open++
		case ']', '}':
			open--
		case '-', '?', ':', '!', '&', '*':
			marks++
		}
		if open > 32 || marks > 400 {
			return line
		}
	}
	return 0
}

type place struct{ line, column int }

// find returns where the member at a path stands, or what is nearest around it.
func find(n ast.Node, path string) *place {
	var at *place
	for _, step := range steps(path) {
		var next ast.Node
		var key ast.Node
		switch n := bare(n).(type) {
		case *ast.MappingNode:
			for _, v := range n.Values {
				if name(v.Key) == step {
					key, next = v.Key, v.Value
				}
			}
		case *ast.MappingValueNode:
			if name(n.Key) == step {
				key, next = n.Key, n.Value
			}
		case *ast.SequenceNode:
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Values) {
				key, next = n.Values[i], n.Values[i]
			}
		}
		if next == nil {
			return at
		}
		shown := next
		switch bare(next).(type) {
		case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode, *ast.NullNode:
			shown = key // where it begins is told better by its name
		}
		if tok := shown.GetToken(); tok != nil && tok.Position != nil {
			at = &place{tok.Position.Line, tok.Position.Column}
		}
		n = next
	}
	return at
}

func bare(n ast.Node) ast.Node {
	if a, ok := n.(*ast.AnchorNode); ok {
		return a.Value
	}
	return n
}

func name(n ast.Node) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	return n.String()
}

// steps splits a path: routes[2].method is routes, 2, method.
func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}
