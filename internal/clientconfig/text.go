package clientconfig

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// maxText is the most bytes of a configuration: Claude Code keeps its history in the same file.
const maxText = 32 << 20

// A span is a part of a text.
type span struct{ begin, end int }

// A node is a JSON value, and where it stands.
type node struct {
	span
	kind     jsontext.Kind
	raw      []byte  // as it stands in the text
	text     *string // of a string
	members  []member
	elements []*node
}

type member struct {
	name  string
	value *node
}

// member returns the value of a member of an object, nil if there is none.
func (n *node) member(name string) *node {
	if n == nil {
		return nil
	}
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// string returns a string, "" of anything else.
func (n *node) string() string {
	if n == nil || n.text == nil {
		return ""
	}
	return *n.text
}

// parse reads JSON, with comments and commas at the ends of lists and objects, as editors have it.
func parse(text []byte) (*node, error) {
	if len(text) > maxText {
		return nil, authz.Errorf(authz.ErrInvalid, "it has more than %d bytes", maxText)
	}
	plain := blank(text)
	p := reader{dec: jsontext.NewDecoder(bytes.NewReader(plain)), text: plain}
	n, err := p.value(0)
	if err == nil && p.dec.PeekKind() != 0 {
		err = authz.Errorf(authz.ErrInvalid, "something stands behind the JSON document")
	}
	if err == nil && n.kind != '{' {
		err = authz.Errorf(authz.ErrInvalid, "it is no JSON object")
	}
	return n, err
}

// blank returns text with spaces in place of comments, of commas before a closing bracket, and of a byte order
// mark. Every byte stays where it is.
func blank(text []byte) []byte {
	out := slices.Clone(text)
	erase := func(from, to int) {
		for i := from; i < to; i++ {
			if out[i] != '\n' && out[i] != '\r' {
				out[i] = ' '
			}
		}
	}
	if bytes.HasPrefix(out, []byte("\ufeff")) {
		erase(0, 3)
	}
	comma := -1
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '"':
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
			comma = -1
		case c == '/' && i+1 < len(out) && out[i+1] == '/':
			end := bytes.IndexByte(out[i:], '\n')
			if end < 0 {
				end = len(out) - i
			}
			erase(i, i+end)
			i += end - 1
		case c == '/' && i+1 < len(out) && out[i+1] == '*':
			end := bytes.Index(out[i+2:], []byte("*/"))
			if end < 0 {
				return out // the decoder will not like it
			}
			erase(i, i+end+4)
			i += end + 3
		case c == ',':
			comma = i
		case c == ']' || c == '}':
			if comma >= 0 {
				out[comma] = ' '
			}
			comma = -1
		case c != ' ' && c != '\t' && c != '\n' && c != '\r':
			comma = -1
		}
	}
	return out
}

// A reader reads nodes.
type reader struct {
	dec  *jsontext.Decoder
	text []byte
}

const maxDepth = 64

func (r *reader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, authz.Errorf(authz.ErrInvalid, "it is nested more than %d deep", maxDepth)
	}
	tok, err := r.token()
	if err != nil {
		return nil, err
	}
	n := &node{kind: tok.Kind(), span: span{end: int(r.dec.InputOffset())}}
	switch n.kind {
	case '{':
		n.begin = n.end - 1
		for r.dec.PeekKind() != '}' {
			name, err := r.token()
			if err != nil {
				return nil, err
			}
			key := name.String()
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.members = append(n.members, member{key, v})
		}
		_, err = r.token()
	case '[':
		n.begin = n.end - 1
		for r.dec.PeekKind() != ']' {
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.elements = append(n.elements, v)
		}
		_, err = r.token()
	case '"':
		s := tok.String()
		n.text = &s
		n.begin = r.opening(n.end)
	default:
		n.begin = n.end - len(tok.String())
	}
	n.end = int(r.dec.InputOffset())
	n.raw = r.text[n.begin:n.end]
	return n, err
}

// opening returns where the string begins that ends before end.
func (r *reader) opening(end int) int {
	for i := end - 2; i >= 0; i-- {
		if r.text[i] != '"' {
			continue
		}
		slashes := 0
		for j := i - 1; j >= 0 && r.text[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
	return 0
}

func (r *reader) token() (jsontext.Token, error) {
	tok, err := r.dec.ReadToken()
	if err != nil {
		line := 1 + bytes.Count(r.text[:min(int(r.dec.InputOffset()), len(r.text))], []byte("\n"))
		return tok, authz.Errorf(authz.ErrInvalid, "line %d: it is not JSON, or a name stands twice in an object", line)
	}
	return tok, nil
}

// edits are replacements of parts of a text.
type edits []edit

type edit struct {
	span
	with string
}

func (e *edits) replace(s span, with string) { *e = append(*e, edit{s, with}) }

// apply returns text with the replacements made.
func (e edits) apply(text []byte) []byte {
	sorted := slices.Clone(e)
	slices.SortFunc(sorted, func(a, b edit) int { return a.begin - b.begin })
	var out []byte
	at := 0
	for _, c := range sorted {
		out = append(append(out, text[at:c.begin]...), c.with...)
		at = c.end
	}
	return append(out, text[at:]...)
}

// quote returns a string as JSON has it.
func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // a string always encodes
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}
