package pdp

import (
	"bytes"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// reported returns the confidence that a request's context claims, and whether it claims one. It is read
// as policies read context.claimed.confidence, a number or a number as text, and what is beyond 0 or 1
// counts as those: who exaggerates is not thereby out of reach.
func reported(context authz.Claimed) (float64, bool) {
	// A name that is spelt with escapes is the same name.
	if !bytes.Contains(context, []byte(`"confidence"`)) && bytes.IndexByte(context, '\\') < 0 {
		return 0, false
	}
	r := contexts.Get().(*contextReader)
	defer r.free()
	r.src.Reset(context)
	r.dec.Reset(&r.src)
	if r.dec.PeekKind() != '{' {
		return 0, false
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return 0, false
	}
	for r.dec.PeekKind() == '"' {
		name, err := r.dec.ReadValue()
		if err != nil {
			return 0, false
		}
		if !isConfidence(name) {
			if err := r.dec.SkipValue(); err != nil {
				return 0, false
			}
			continue
		}
		kind := r.dec.PeekKind()
		value, err := r.dec.ReadValue()
		switch {
		case err != nil:
			return 0, false
		case kind == '0':
			return number(string(value))
		case kind == '"':
			text, err := jsontext.AppendUnquote(nil, value)
			if err != nil {
				return 0, false
			}
			return number(string(text))
		}
		return 0, false
	}
	return 0, false
}

// isConfidence reports whether a name, as it is written, is confidence.
func isConfidence(name jsontext.Value) bool {
	if bytes.IndexByte(name, '\\') < 0 {
		return string(name) == `"confidence"`
	}
	plain, err := jsontext.AppendUnquote(nil, name)
	return err == nil && string(plain) == "confidence"
}

// A contextReader reads contexts, one after the other.
type contextReader struct {
	dec *jsontext.Decoder
	src bytes.Reader
}

var contexts = sync.Pool{New: func() any { return &contextReader{dec: jsontext.NewDecoder(bytes.NewReader(nil))} }}

func (r *contextReader) free() {
	r.src.Reset(nil)
	contexts.Put(r)
}

// number returns a decimal number, no less than 0 and no more than 1.
func number(s string) (float64, bool) {
	if strings.TrimLeft(s, "-.0123456789") != "" {
		return 0, false
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, false
	}
	return max(0, min(x, 1)), true
}
