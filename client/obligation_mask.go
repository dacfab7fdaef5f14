package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of masks, and of what they mask.
const (
	maxFields = 64
	maxField  = 256 // bytes of one
	maxDepth  = 128 // of the result
)

// MeetMask hides fields of the result: "fields" are names, each of which means every member of that name, or
// JSON pointers (RFC 6901), each of which means one place; names are the same in upper and in lower case. What stands there becomes
// the text "with", or ***. What is not there needs no hiding. A result that is no JSON in UTF-8, has a name twice in one object, or is nested
// deeper than 128 cannot be masked and is withheld. The members keep their order.
func MeetMask(_ context.Context, d *Duty) error {
	var p struct {
		Obligation string   `json:"obligation"`
		Fields     []string `json:"fields"`
		With       *string  `json:"with"`
	}
	if err := d.decode(&p); err != nil {
		return err
	}
	with := "***"
	if p.With != nil {
		with = *p.With
	}
	if len(with) > maxField {
		return fmt.Errorf("it is malformed: with is longer than %d bytes", maxField)
	}
	m, err := newMask(p.Fields, with)
	if err != nil {
		return err
	}
	return d.mask(m.apply)
}

// A mask is what is hidden: by name, and by place. Both are folded.
type mask struct {
	names map[string]bool
	root  *place
	with  []byte // JSON
}

// A place is a value in a document, or one on the way to it. The nil place leads nowhere.
type place struct {
	hidden bool
	below  map[string]*place
}

func (p *place) next(token []byte) *place {
	if p == nil {
		return nil
	}
	return p.below[string(token)]
}

func newMask(fields []string, with string) (*mask, error) {
	if len(fields) == 0 || len(fields) > maxFields {
		return nil, fmt.Errorf("it is malformed: it has %d fields, not 1 to %d", len(fields), maxFields)
	}
	m := &mask{names: map[string]bool{}, root: new(place), with: appendText(nil, with)}
	for _, f := range fields {
		tokens, err := tokens(f)
		if err != nil {
			return nil, err
		}
		if tokens == nil {
			m.names[fold(f)] = true
			continue
		}
		p := m.root
		for _, token := range tokens {
			token = fold(token)
			if p.below == nil {
				p.below = map[string]*place{}
			}
			if p.below[token] == nil {
				p.below[token] = new(place)
			}
			p = p.below[token]
		}
		p.hidden = true
	}
	return m, nil
}

// fold returns a name so that those are the same that differ by upper and lower case only (simple folding of Unicode), as
// encoding/json of Go reads them.
func fold(name string) string { return string(appendFold(nil, []byte(name))) }

func appendFold(b, name []byte) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			b, i = append(b, c), i+1
			continue
		}
		r, n := utf8.DecodeRune(name[i:])
		for next := unicode.SimpleFold(r); ; next = unicode.SimpleFold(r) { // to the least of its kind
			if next <= r {
				r = next
				break
			}
			r = next
		}
		b, i = utf8.AppendRune(b, r), i+n
	}
	return b
}

// tokens returns the reference tokens of a JSON pointer, nil if the field is a name.
func tokens(field string) ([]string, error) {
	if field == "" || len(field) > maxField {
		return nil, fmt.Errorf("it is malformed: a field has %d bytes, not 1 to %d", len(field), maxField)
	}
	rest, ok := strings.CutPrefix(field, "/")
	if !ok {
		return nil, nil
	}
	all := strings.Split(rest, "/")
	for i, s := range all {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(s), "~") {
			return nil, fmt.Errorf("it is malformed: %.64q is no JSON pointer", field)
		}
		all[i] = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
	}
	return all, nil
}

// apply returns the result with everything hidden that is to be.
func (m *mask) apply(result json.RawMessage) (json.RawMessage, error) {
	if len(result) == 0 {
		return result, nil
	}
	if !json.Valid(result) || !utf8.Valid(result) {
		return nil, errors.New("the result is no JSON in UTF-8, so that nothing in it can be hidden")
	}
	s := masking{mask: m, in: result, out: make([]byte, 0, len(result))}
	if err := s.value(m.root, 0); err != nil {
		return nil, err
	}
	return s.out, nil
}

// A masking copies a text that is known to be one JSON value, hides what is to be hidden, and leaves out white space.
type masking struct {
	*mask
	in  []byte
	at  int // in it
	out []byte
}

// next skips white space, and returns the byte that follows.
func (s *masking) next() byte {
	for {
		switch c := s.in[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
}

// value copies the next value, which stands at a place.
func (s *masking) value(p *place, depth int) error {
	if p != nil && p.hidden {
		s.hide()
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("the result is nested deeper than %d", maxDepth)
	}
	switch s.next() {
	case '{':
		return s.object(p, depth)
	case '[':
		return s.array(p, depth)
	}
	s.out = append(s.out, s.scalar()...)
	return nil
}

// scalar passes over a text, a number, true, false or null, and returns it as it is written.
func (s *masking) scalar() []byte {
	begin := s.at
	if s.in[s.at] == '"' {
		for s.at++; s.in[s.at] != '"'; s.at++ {
			if s.in[s.at] == '\\' {
				s.at++
			}
		}
		s.at++
		return s.in[begin:s.at]
	}
	for s.at < len(s.in) {
		switch s.in[s.at] {
		case ',', ']', '}', ' ', '\t', '\n', '\r':
			return s.in[begin:s.at]
		}
		s.at++
	}
	return s.in[begin:]
}

// few is how many names of an object are compared one by one; more of them are looked up.
const few = 16

func (s *masking) object(p *place, depth int) error {
	s.at++
	s.out = append(s.out, '{')
	var first [few][]byte
	names, seen := first[:0], map[string]bool(nil)
	for s.next() != '}' {
		if s.in[s.at] == ',' {
			s.at++
			s.next()
			s.out = append(s.out, ',')
		}
		quoted := s.scalar()
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			var text string
			if err := json.Unmarshal(quoted, &text); err != nil {
				return fmt.Errorf("reading the result: %w", err)
			}
			name, quoted = []byte(text), appendText(nil, text)
		}
		if seen[string(name)] || seen == nil && slices.ContainsFunc(names, func(n []byte) bool { return bytes.Equal(n, name) }) {
			return errors.New("the result has an object with the same name twice") // readers differ in which of the two counts
		}
		switch {
		case seen != nil:
			seen[string(name)] = true
		case len(names) < few:
			names = append(names, name)
		default:
			seen = map[string]bool{string(name): true}
			for _, n := range names {
				seen[string(n)] = true
			}
		}
		s.out = append(append(s.out, quoted...), ':')
		s.next()
		s.at++ // the colon
		var room [64]byte
		folded := appendFold(room[:0], name)
		if s.names[string(folded)] {
			s.hide()
		} else if err := s.value(p.next(folded), depth+1); err != nil {
			return err
		}
	}
	s.at++
	s.out = append(s.out, '}')
	return nil
}

func (s *masking) array(p *place, depth int) error {
	s.at++
	s.out = append(s.out, '[')
	for i := 0; s.next() != ']'; i++ {
		if s.in[s.at] == ',' {
			s.at++
			s.out = append(s.out, ',')
		}
		var below *place
		if p != nil && p.below != nil {
			below = p.next(strconv.AppendInt(nil, int64(i), 10))
		}
		if err := s.value(below, depth+1); err != nil {
			return err
		}
	}
	s.at++
	s.out = append(s.out, ']')
	return nil
}

// hide passes over the next value, and writes what stands for it.
func (s *masking) hide() {
	s.out = append(s.out, s.with...)
	for depth := 0; ; {
		switch s.next() {
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			depth--
			s.at++
		case ',', ':':
			s.at++
			continue
		default:
			s.scalar()
		}
		if depth == 0 {
			return
		}
	}
}

// appendText appends a text as JSON, without making HTML of it.
func appendText(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil { // a text always encodes
		return append(b, `""`...)
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
