package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of one frame.
const (
	// MaxDepth is how deep objects and arrays may be nested, the frame itself included.
	MaxDepth = 128

	maxMethod = 128 // bytes
	maxID     = 256 // bytes, as it is written
	maxDigits = 17  // of an id that is a number, with its sign: more are not exact everywhere
)

// A Frame is one JSON-RPC 2.0 message, strictly read.
type Frame struct {
	// ID is that of a request or response, as it was written: a string or an integer. nil of a notification, and
	// null of an error whose sender could not tell which request it is about.
	ID     json.RawMessage
	Method string          // "" of a response
	Params json.RawMessage // an object, or nil
	Result json.RawMessage // an object, of a response; nil if it is an error
	Error  *Error
}

// An Error is that of a response (JSON-RPC 2.0, section 5.1).
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// ParseFrame reads one frame of at most max bytes. Everything is authz.ErrInvalid that two readers could read
// differently: what is not exactly one object (batches are none), a name twice in one object at any depth, a member
// that JSON-RPC does not have, text that is not UTF-8, nesting deeper than MaxDepth, a version that is not 2.0, an
// id that is neither a short string nor an exact integer, a method that is not printable ASCII, params and
// results that are no objects. The Frame refers to b.
func ParseFrame(b []byte, max int) (*Frame, error) {
	var m members
	f, err := parseFrame(b, max, &m)
	if err == nil {
		return f, nil
	}
	e := &FrameError{code: codeParse, err: err}
	if m.read {
		e.code = codeRequest
		if m.id != nil && m.method != nil && checkID(m.id) == nil {
			e.id = m.id
		}
	}
	return nil, e
}

// A FrameError is why a frame is none. It is authz.ErrInvalid.
type FrameError struct {
	code int
	id   json.RawMessage // nil if it cannot be told
	err  error
}

// Error says what is wrong.
func (e *FrameError) Error() string { return e.err.Error() }

// Unwrap returns the kind.
func (e *FrameError) Unwrap() error { return e.err }

// Frame returns the answer to whoever sent it (JSON-RPC 2.0, section 5.1: parse error or invalid request; the id is
// null if it could not be told).
func (e *FrameError) Frame() *Frame {
	id := e.id
	if id == nil {
		id = json.RawMessage("null")
	}
	return &Frame{ID: id, Error: &Error{Code: e.code, Message: e.err.Error()}}
}

func parseFrame(b []byte, max int, m *members) (*Frame, error) {
	if len(b) > max {
		return nil, authz.Errorf(authz.ErrInvalid, "the frame has more than %d bytes", max)
	}
	if err := shallow(b); err != nil {
		return nil, err
	}
	dec := decoderOf(b)
	defer free(dec)
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, authz.Errorf(authz.ErrInvalid, "the frame is no JSON object")
	}
	for dec.PeekKind() != '}' {
		t, err := dec.ReadToken()
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "the frame is no strict JSON: %v", cause(err))
		}
		name := t.String()
		v, err := dec.ReadValue()
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "the frame is no strict JSON: %v", cause(err))
		}
		field := m.of(name)
		if field == nil {
			return nil, authz.Errorf(authz.ErrInvalid, "the frame has a member %.32q, which JSON-RPC does not have", name)
		}
		// ReadValue's bytes are those of the decoder only until it goes on: take them from b.
		end := dec.InputOffset()
		*field = b[end-int64(len(v)) : end : end]
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the frame is no strict JSON: %v", cause(err))
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, authz.Errorf(authz.ErrInvalid, "the frame is more than one object")
	}
	m.read = true
	return m.frame()
}

// members are those of a frame, as they were written; nil are absent.
type members struct {
	version, id, method, params, result, err json.RawMessage

	read bool // to the end
}

func (m *members) of(name string) *json.RawMessage {
	switch name {
	case "jsonrpc":
		return &m.version
	case "id":
		return &m.id
	case "method":
		return &m.method
	case "params":
		return &m.params
	case "result":
		return &m.result
	case "error":
		return &m.err
	}
	return nil
}

func (m *members) frame() (*Frame, error) {
	if string(m.version) != `"2.0"` {
		return nil, authz.Errorf(authz.ErrInvalid, "the frame is not of JSON-RPC 2.0")
	}
	f := &Frame{ID: m.id}
	if m.method != nil {
		if m.result != nil || m.err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "the frame is a request and a response")
		}
		var err error
		if f.Method, err = method(m.method); err != nil {
			return nil, err
		}
		if m.params != nil && m.params[0] != '{' {
			return nil, authz.Errorf(authz.ErrInvalid, "the frame's params are no object")
		}
		f.Params = m.params
		if f.ID != nil {
			return f, checkID(f.ID)
		}
		return f, nil
	}
	switch {
	case m.params != nil || (m.result != nil) == (m.err != nil):
		return nil, authz.Errorf(authz.ErrInvalid, "the frame is neither a request nor a response")
	case m.result != nil && m.result[0] != '{':
		return nil, authz.Errorf(authz.ErrInvalid, "the frame's result is no object")
	case m.err != nil:
		var err error
		if f.Error, err = parseError(m.err); err != nil {
			return nil, err
		}
		if string(f.ID) == "null" {
			return f, nil
		}
	}
	if f.ID == nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the frame is a response without an id")
	}
	f.Result = m.result
	return f, checkID(f.ID)
}

// method returns the name of a method: short and printable.
func method(b json.RawMessage) (string, error) {
	s, ok := text(b)
	if !ok || s == "" || len(s) > maxMethod {
		return "", authz.Errorf(authz.ErrInvalid, "the frame's method is no text of 1 to %d bytes", maxMethod)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return "", authz.Errorf(authz.ErrInvalid, "the frame's method has a character that is not printable ASCII")
		}
	}
	return s, nil
}

// checkID refuses ids that are neither a short string nor an integer that every reader holds exactly.
func checkID(b json.RawMessage) error {
	if _, ok := text(b); ok {
		if len(b) > maxID {
			return authz.Errorf(authz.ErrInvalid, "the frame's id is longer than %d bytes", maxID)
		}
		return nil
	}
	digits := bytes.TrimPrefix(b, []byte("-"))
	if len(digits) == 0 || len(b) > maxDigits || len(bytes.Trim(digits, "0123456789")) > 0 || string(b) == "-0" {
		return authz.Errorf(authz.ErrInvalid, "the frame's id is neither a string nor an integer")
	}
	return nil
}

func parseError(b json.RawMessage) (*Error, error) {
	var w struct {
		Code    *int            `json:"code"`
		Message *string         `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if b[0] != '{' || json.Unmarshal(b, &w) != nil || w.Code == nil || w.Message == nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the frame's error has no code or no message")
	}
	return &Error{*w.Code, *w.Message, w.Data}, nil
}

// text returns the string that b is as JSON, false if it is none.
func text(b json.RawMessage) (string, bool) {
	if len(b) == 0 || b[0] != '"' {
		return "", false
	}
	s, err := jsontext.AppendUnquote(nil, b)
	return string(s), err == nil
}

// shallow refuses nesting that is too deep, before anybody recurses into it.
func shallow(b []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return authz.Errorf(authz.ErrInvalid, "the frame is nested deeper than %d", MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// cause returns what is wrong with a JSON text, without what it says.
func cause(err error) string {
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		return s.Err.Error()
	}
	return err.Error()
}

// Request reports whether f wants an answer.
func (f *Frame) Request() bool { return f.Method != "" && f.ID != nil }

// Notification reports whether f wants none.
func (f *Frame) Notification() bool { return f.Method != "" && f.ID == nil }

// Response reports whether f is an answer.
func (f *Frame) Response() bool { return f.Method == "" }

// Key returns a text that is the same for ids that are the same, however they are written.
func (f *Frame) Key() string {
	if s, ok := text(f.ID); ok {
		return `"` + s
	}
	return string(f.ID)
}

// Append appends f as one JSON object in one line: line breaks within it are taken out.
func (f *Frame) Append(b []byte) []byte {
	b = append(b, `{"jsonrpc":"2.0"`...)
	if f.ID != nil {
		b = appendCompact(append(b, `,"id":`...), f.ID)
	}
	if f.Method != "" {
		b = appendText(append(b, `,"method":`...), f.Method)
		if f.Params != nil {
			b = appendCompact(append(b, `,"params":`...), f.Params)
		}
	} else if f.Error != nil {
		b = strconv.AppendInt(append(b, `,"error":{"code":`...), int64(f.Error.Code), 10)
		b = appendText(append(b, `,"message":`...), f.Error.Message)
		if len(f.Error.Data) > 0 {
			b = appendCompact(append(b, `,"data":`...), f.Error.Data)
		}
		b = append(b, '}')
	} else {
		b = appendCompact(append(b, `,"result":`...), f.Result)
	}
	return append(b, '}')
}

// appendCompact appends a JSON text without line breaks: those that stand between its tokens are white space, and
// within its texts there are none.
func appendCompact(b []byte, v json.RawMessage) []byte {
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return append(b, v...)
	}
	for _, c := range v {
		if c != '\n' && c != '\r' {
			b = append(b, c)
		}
	}
	return b
}

// appendText appends a text as JSON.
func appendText(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, s)
	if err != nil { // not UTF-8: what is not is replaced
		out, _ = jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\uFFFD"))
	}
	return out
}
