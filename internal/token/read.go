package token

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// A reader reads one JSON text by its members. The first error stays, and everything after it
// returns nothing, so that who reads looks at the error once. Duplicate members and invalid UTF-8
// are refused wherever they are.
type reader struct {
	dec  *jsontext.Decoder
	what string // the whole text, for messages
	name string // the member that is being read, likewise
	err  error
}

// readObject calls f with the name of each member of the object that text is; f must consume its
// value. What is returned wraps authz.ErrInvalid.
func readObject(what string, text []byte, f func(r *reader, name string)) error {
	if err := checkDepth(what, text); err != nil {
		return err
	}
	r := &reader{dec: jsontext.NewDecoder(bytes.NewBuffer(text)), what: what}
	r.members(func(name string) {
		r.name = name
		f(r, name)
	})
	r.end()
	return r.err
}

// checkDepth refuses text that is nested more than MaxDepth deep, valid JSON or not.
func checkDepth(what string, text []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return authz.Errorf(authz.ErrInvalid, "%s is nested more than %d deep", what, MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// fail keeps the first error.
func (r *reader) fail(format string, args ...any) {
	if r.err != nil {
		return
	}
	if r.name != "" {
		format, args = "%s, member %.40q: "+format, append([]any{r.what, r.name}, args...)
	} else {
		format, args = "%s "+format, append([]any{r.what}, args...)
	}
	r.err = authz.Errorf(authz.ErrInvalid, format, args...)
}

// syntax keeps an error of the decoder.
func (r *reader) syntax(err error) {
	switch {
	case err == nil:
	case errors.Is(err, jsontext.ErrDuplicateName):
		r.fail("has a member twice")
	default:
		r.fail("is not valid JSON")
	}
}

// take returns the next token, which must be of the kind.
func (r *reader) take(kind jsontext.Kind, want string) (jsontext.Token, bool) {
	if r.err != nil {
		return jsontext.Token{}, false
	}
	if k := r.dec.PeekKind(); k != kind && k > 0 {
		r.fail("must be %s", want)
		return jsontext.Token{}, false
	}
	tok, err := r.dec.ReadToken()
	r.syntax(err)
	return tok, r.err == nil
}

// members calls f with the name of each member of the object that comes next.
func (r *reader) members(f func(name string)) {
	if _, ok := r.take('{', "an object"); !ok {
		return
	}
	for r.dec.PeekKind() != '}' {
		name, ok := r.take('"', "an object")
		if !ok {
			return
		}
		if f(name.String()); r.err != nil {
			return
		}
	}
	r.take('}', "an object")
}

// elements calls f before each element of the array that comes next.
func (r *reader) elements(f func()) {
	if _, ok := r.take('[', "an array"); !ok {
		return
	}
	for r.err == nil && r.dec.PeekKind() != ']' {
		if r.dec.PeekKind() == 0 {
			_, err := r.dec.ReadToken()
			r.syntax(err)
			return
		}
		f()
	}
	r.take(']', "an array")
}

// end refuses whatever follows the value.
func (r *reader) end() {
	if r.err != nil {
		return
	}
	if _, err := r.dec.ReadToken(); err != io.EOF {
		r.name = ""
		r.fail("is followed by something")
	}
}

func (r *reader) skip() {
	if r.err == nil {
		r.syntax(r.dec.SkipValue())
	}
}

// raw returns the next value as it stands in the text.
func (r *reader) raw() []byte {
	if r.err != nil {
		return nil
	}
	v, err := r.dec.ReadValue()
	if r.syntax(err); r.err != nil {
		return nil
	}
	return bytes.Clone(v)
}

// text returns the string that comes next. No string of ours is empty or holds a NUL.
func (r *reader) text() string {
	tok, ok := r.take('"', "a string")
	if !ok {
		return ""
	}
	s := tok.String()
	if s == "" || strings.IndexByte(s, 0) >= 0 {
		r.fail("must not be empty or hold a NUL")
		return ""
	}
	return s
}

// texts returns the array of strings that comes next. An empty one is refused: where a list narrows,
// no list narrows nothing, and the two must not be mixed up.
func (r *reader) texts() []string {
	var list []string
	r.elements(func() { list = append(list, r.text()) })
	if r.err == nil && len(list) == 0 {
		r.fail("must not be empty")
	}
	return list
}

// oneOrMore returns the string or the array of strings that comes next (RFC 7519, section 4.1.3).
func (r *reader) oneOrMore() []string {
	if r.err == nil && r.dec.PeekKind() == '"' {
		return []string{r.text()}
	}
	return r.texts()
}

// integer returns the number that comes next, which must be whole and not negative.
func (r *reader) integer() int64 {
	tok, ok := r.take('0', "a number")
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(tok.String(), 10, 64)
	if err != nil || n < 0 {
		r.fail("must be a whole number, and not negative")
		return 0
	}
	return n
}

// number returns the number that comes next.
func (r *reader) number() float64 {
	tok, ok := r.take('0', "a number")
	if !ok {
		return 0
	}
	f, err := strconv.ParseFloat(tok.String(), 64)
	if err != nil {
		r.fail("must be a number of double precision")
	}
	return f
}

// lastSecond is the end of the year 9999.
const lastSecond = 253402300799

// second returns the time that comes next, in whole seconds, as we write it.
func (r *reader) second() time.Time {
	n := r.integer()
	if n > lastSecond {
		r.fail("must be a time before the year 10000")
	}
	if r.err != nil {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// date returns the NumericDate (RFC 7519, section 2) that comes next, in others' tokens, which may
// have a fraction.
func (r *reader) date() time.Time {
	f := r.number()
	if !(f >= 0 && f <= lastSecond) {
		r.fail("must be a time between 1970 and the year 10000")
	}
	if r.err != nil {
		return time.Time{}
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e6)*1e3).UTC()
}
