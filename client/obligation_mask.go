package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"context"
)

// Bounds of masks, and of what they mask.
const (
	maxFields = 64
	maxField  = 256 // bytes of one
	maxDepth  = 128 // of the result
)

// MeetMask hides fields of the result: "fields" are names, each of which means every member of that name, or
// JSON pointers (RFC 6901), each of which means one place; what stands there becomes the text "with", or
// ***. What is not there needs no hiding. A result that is no JSON, has a name twice in one object, or is nested
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
	return d.Result(m.apply)
}

// A mask is what is hidden: by name, and by place.
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

func (p *place) next(token string) *place {
	if p == nil {
		return nil
	}
	return p.below[token]
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
			m.names[f] = true
			continue
		}
		p := m.root
		for _, token := range tokens {
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
	if !json.Valid(result) {
		return nil, errors.New("the result is no JSON, so that nothing in it can be hidden")
	}
	dec := json.NewDecoder(bytes.NewReader(result))
	dec.UseNumber()
	out, err := m.value(make([]byte, 0, len(result)), dec, m.root, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the result is more than one JSON value")
	}
	return out, nil
}

// value appends the next value, which stands at a place.
func (m *mask) value(b []byte, dec *json.Decoder, at *place, depth int) ([]byte, error) {
	if at != nil && at.hidden {
		return m.hide(b, dec)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("the result is nested deeper than %d", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return m.object(b, dec, at, depth)
		}
		return m.array(b, dec, at, depth)
	case string:
		return appendText(b, t), nil
	case json.Number:
		return append(b, t...), nil
	case bool:
		return strconv.AppendBool(b, t), nil
	}
	return append(b, "null"...), nil
}

func (m *mask) object(b []byte, dec *json.Decoder, at *place, depth int) ([]byte, error) {
	b = append(b, '{')
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, fmt.Errorf("reading the result: %w", err)
		}
		if seen[name] { // readers differ in which of the two counts
			return nil, errors.New("the result has an object with the same name twice")
		}
		if len(seen) > 0 {
			b = append(b, ',')
		}
		seen[name] = true
		b = append(appendText(b, name), ':')
		if m.names[name] {
			b, err = m.hide(b, dec)
		} else {
			b, err = m.value(b, dec, at.next(name), depth+1)
		}
		if err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return append(b, '}'), err
}

func (m *mask) array(b []byte, dec *json.Decoder, at *place, depth int) ([]byte, error) {
	b = append(b, '[')
	for i := 0; dec.More(); i++ {
		if i > 0 {
			b = append(b, ',')
		}
		var below *place
		if at != nil {
			below = at.next(strconv.Itoa(i))
		}
		var err error
		if b, err = m.value(b, dec, below, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return append(b, ']'), err
}

// hide appends what stands for the next value, and passes that over.
func (m *mask) hide(b []byte, dec *json.Decoder) ([]byte, error) {
	var skipped json.RawMessage
	if err := dec.Decode(&skipped); err != nil {
		return nil, err
	}
	return append(b, m.with...), nil
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
