package route

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxValue is how many bytes of JSON one value can have that goes into a question.
const maxValue = 16 << 10

// A want is a value that is looked for in a document, or one on the way to it. The nil want looks for nothing.
type want struct {
	itself bool
	below  map[string]*want
	folded map[string]bool // names in below, folded
}

func (w *want) add(pointer []string) {
	for _, t := range pointer {
		if w.below == nil {
			w.below, w.folded = map[string]*want{}, map[string]bool{}
		}
		if w.below[t] == nil {
			w.below[t] = new(want)
			w.folded[fold(t)] = true
		}
		w = w.below[t]
	}
	w.itself = true
}

// key is how found values are kept: a pointer whose tokens cannot run into each other.
func key(pointer []string) string { return strings.Join(pointer, "\x00") }

// A reader finds what is wanted in one document.
type reader struct {
	found  map[string]jsontext.Value
	closed bool            // nothing may stand at the top that is not wanted
	taken  map[string]bool // names, folded, that are looked for elsewhere, and may not stand at the top unless they are wanted
}

// read reads a whole document: no name twice in any object, valid UTF-8, nothing behind it.
func (w *want) read(body []byte, closed bool, taken map[string]bool) (map[string]jsontext.Value, error) {
	rd := &reader{map[string]jsontext.Value{}, closed, taken}
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	if closed && !w.itself && dec.PeekKind() != '{' {
		return nil, errors.New("the body is no JSON object")
	}
	if err := rd.value(dec, w, nil); err != nil {
		return nil, jsonError(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body is more than one JSON value")
	}
	return rd.found, nil
}

// jsonError tells what is wrong with JSON without showing it.
func jsonError(err error) error {
	var s *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("the body has an object with the same name twice")
	case errors.As(err, &s):
		return fmt.Errorf("the body is no JSON: byte %d", s.ByteOffset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the body is no JSON: it ends too early")
	}
	return err
}

func (rd *reader) value(dec *jsontext.Decoder, w *want, at []string) error {
	switch {
	case w == nil:
		return dec.SkipValue()
	case w.itself:
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		v = slices.Clone(v)
		if w.below != nil {
			if err := rd.inside(jsontext.NewDecoder(bytes.NewReader(v)), w, at); err != nil {
				return err
			}
		}
		if err := v.Compact(); err != nil {
			return err
		}
		rd.found[key(at)] = v
		return nil
	}
	return rd.inside(dec, w, at)
}

// inside reads the next value, of which only parts are wanted.
func (rd *reader) inside(dec *jsontext.Decoder, w *want, at []string) error {
	switch dec.PeekKind() {
	case '{':
		return rd.object(dec, w, at)
	case '[':
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		for i := 0; dec.PeekKind() != ']'; i++ {
			name := strconv.Itoa(i)
			if err := rd.value(dec, w.below[name], append(at, name)); err != nil {
				return err
			}
		}
		_, err := dec.ReadToken()
		return err
	}
	return dec.SkipValue()
}

func (rd *reader) object(dec *jsontext.Decoder, w *want, at []string) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		t, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := t.String()
		below := w.below[name]
		switch {
		case below != nil:
		case w.folded[fold(name)]: // a reader that does not mind case would take it for the one that is judged
			return errors.New("the body has a name that differs from a mapped one only in case")
		case len(at) == 0 && rd.taken[fold(name)]: // a server may take it from either place
			return errors.New("the body has a member by the name of a mapped parameter")
		case rd.closed && len(at) == 0 && w.below != nil:
			return errors.New("the body has a member that the route does not know")
		}
		if err := rd.value(dec, below, append(at, name)); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// mediaType returns the type of a body, "" if the request says none.
func mediaType(h http.Header) (string, error) {
	all := h["Content-Type"]
	if len(all) > 1 {
		return "", &Error{http.StatusBadRequest, "the header Content-Type is there twice"}
	}
	if len(all) == 0 {
		return "", nil
	}
	typ, params, err := mime.ParseMediaType(all[0])
	if err != nil {
		return "", &Error{http.StatusUnsupportedMediaType, "the header Content-Type is malformed"}
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") {
		return "", &Error{http.StatusUnsupportedMediaType, "the body is not in UTF-8"}
	}
	for _, v := range h["Content-Encoding"] {
		if v != "" && !strings.EqualFold(v, "identity") {
			return "", &Error{http.StatusUnsupportedMediaType, "the body is compressed, and cannot be read here"}
		}
	}
	return typ, nil
}

func isJSON(typ string) bool {
	return typ == "application/json" || strings.HasPrefix(typ, "application/") && strings.HasSuffix(typ, "+json")
}
