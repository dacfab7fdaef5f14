package streamable

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// A scanner reads one JSON-RPC message of a server as its bytes come. The result of the response that is waited for goes
// on at once, written anew around its bytes: version, the client's id, result. Every other message is held, read
// strictly, and handed over whole.
//
// The whole text is checked against the grammar of JSON, and the message's own members against JSON-RPC: none twice, none
// that is not known, the id that was waited for. What does not hold is an error, after which nothing more is written:
// what went out until then is no complete message, since the closing brace is written last.
type scanner struct {
	want, as json.RawMessage        // the response's id: as the server has it, and as the client does
	begin    func() error           // before the first byte of the result
	out      io.Writer              // where the result goes
	frame    func(*mcp.Frame) error // every other message
	max      int                    // bytes that are held of one message

	uris    string   // is put before URIs of the result
	private bool     // the result's cacheScope becomes private
	add     []member // members that the result gets if it has none of that name

	answered bool // the response was read to its end
	written  int64

	state   state
	next    []byte // of a literal: what is still missing
	need    int    // of a UTF-8 sequence: bytes missing, the next of them between lo and hi
	lo, hi  byte
	hex     int // of \u: digits missing
	isKey   bool
	key     []byte // of the member that is being read, as written, at most maxKey bytes
	meta    []byte // of a member of the result's _meta, whole, while it is read
	inMeta  bool   // such a key is being read
	cut     bool   // key is longer
	stack   []level
	from    int // the first byte of the chunk that was not copied
	dst     dst
	skip    bool // the value is left out
	held    []byte
	top     string // the message's member that is being read
	version []byte
	parts   members
	result  bool
	added   uint // which of add the result has
	started bool
}

// A member of an object.
type member struct{ name, value string }

// members are those of a message, as written; nil are absent.
type members struct{ id, method, params, err json.RawMessage }

type level struct {
	object bool
	some   bool // has a member
	uris   bool // stands where MCP has contents
	meta   bool // is the result's _meta
}

type state uint8

const (
	atStart state = iota // of the message
	atFirstKey
	atKey
	atColon
	atFirst // element of an array
	atValue
	atAfter // a value
	atEnd   // of the message
	inString
	inEscape
	inHex
	inLiteral
	inMinus // numbers: what was read last
	inZero
	inInt
	inDot
	inFrac
	inExp
	inSign
	inDigits
)

type dst uint8

const (
	nowhere dst = iota
	toHeld
	toOut
)

const (
	maxKey     = 128
	maxMetaKey = 1024
)

// forged is put before names in a result's _meta that only the gateway uses.
const forged = "unverified-"

var (
	errGrammar = errors.New("the server's message is not JSON")
	errMessage = errors.New("the server's message is not of JSON-RPC 2.0")
	errID      = errors.New("the server's response has the id of no request that waits")
	errLarge   = errors.New("the server's message is too large")
)

// reset makes s ready for the next message.
func (s *scanner) reset() {
	s.inMeta = false
	s.state, s.need, s.isKey, s.cut, s.dst, s.skip, s.result, s.added, s.started = atStart, 0, false, false, nowhere, false, false, 0, false
	s.key, s.stack, s.held, s.version, s.parts, s.top = s.key[:0], s.stack[:0], nil, s.version[:0], members{}, ""
}

// Write reads the next bytes of the message.
func (s *scanner) Write(p []byte) (int, error) {
	s.from = 0
	for i := 0; i < len(p); {
		n, err := s.step(p, i)
		if err != nil {
			return i, err
		}
		i = n
	}
	return len(p), s.flush(p, len(p))
}

// step reads what begins at p[i], and returns where to go on.
func (s *scanner) step(p []byte, i int) (int, error) {
	c := p[i]
	switch s.state {
	case inString:
		return s.text(p, i)
	case inEscape:
		switch c {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			s.state = inString
		case 'u':
			s.state, s.hex = inHex, 4
		default:
			return i, errGrammar
		}
		s.remember(p[i : i+1])
		return i + 1, nil
	case inHex:
		if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			return i, errGrammar
		}
		s.remember(p[i : i+1])
		if s.hex--; s.hex == 0 {
			s.state = inString
		}
		return i + 1, nil
	case inLiteral:
		if c != s.next[0] {
			return i, errGrammar
		}
		if s.next = s.next[1:]; len(s.next) == 0 {
			return i + 1, s.ended(p, i+1)
		}
		return i + 1, nil
	case inMinus, inZero, inInt, inDot, inFrac, inExp, inSign, inDigits:
		return s.number(p, i)
	}
	switch c {
	case ' ', '\t':
		return i + 1, nil
	case '\n', '\r': // would end a line of the stream to the client
		err := s.flush(p, i)
		s.from = i + 1
		return i + 1, err
	}
	switch s.state {
	case atStart:
		if c != '{' {
			return i, errMessage
		}
		s.started = true
		s.stack = append(s.stack, level{object: true})
		s.state = atFirstKey
		return i + 1, nil
	case atFirstKey, atKey:
		if c == '}' && s.state == atFirstKey {
			return s.pop(p, i)
		}
		if c != '"' {
			return i, errGrammar
		}
		l := &s.stack[len(s.stack)-1]
		l.some = true
		if l.meta && s.dst == toOut { // it goes on once it is known
			if err := s.flush(p, i); err != nil {
				return i, err
			}
			s.inMeta, s.meta, s.dst = true, s.meta[:0], nowhere
		}
		s.state, s.isKey, s.key, s.cut = inString, true, s.key[:0], false
		return i + 1, nil
	case atColon:
		if c != ':' {
			return i, errGrammar
		}
		s.state = atValue
		return i + 1, nil
	case atFirst:
		if c == ']' {
			return s.pop(p, i)
		}
		return s.value(p, i)
	case atValue:
		return s.value(p, i)
	case atAfter:
		switch l := s.stack[len(s.stack)-1]; {
		case c == ',' && l.object:
			s.state = atKey
		case c == ',':
			s.state = atValue
		case c == '}' && l.object, c == ']' && !l.object:
			return s.pop(p, i)
		default:
			return i, errGrammar
		}
		return i + 1, nil
	}
	return i, errMessage // something after the message
}

// value reads the first byte of a value.
func (s *scanner) value(p []byte, i int) (int, error) {
	c := p[i]
	depth := len(s.stack)
	if depth == 1 {
		if err := s.member(p, i); err != nil {
			return i, err
		}
	}
	l := &s.stack[depth-1]
	switch c {
	case '{', '[':
		if depth >= mcp.MaxDepth {
			return i, errGrammar
		}
		inner := level{object: c == '{', meta: c == '{' && depth == 2 && s.result && strings.EqualFold(s.name(), "_meta")}
		switch {
		case depth == 1:
			inner.uris = s.result
		case l.uris && !l.object:
			inner.uris = true
		case l.uris:
			switch s.name() {
			case "content", "contents", "messages", "resource":
				inner.uris = true
			}
		}
		s.stack = append(s.stack, inner)
		s.state = atFirst
		if inner.object {
			s.state = atFirstKey
		}
		return i + 1, nil
	case '"':
		s.state, s.isKey = inString, false
		if s.result && l.object && s.dst == toOut {
			switch {
			case s.uris != "" && l.uris && depth > 2 && s.name() == "uri":
				if err := s.flush(p, i+1); err != nil {
					return i, err
				}
				s.from = i + 1
				return i + 1, s.emit([]byte(s.uris))
			case s.private && depth == 2 && s.name() == "cacheScope":
				if err := s.flush(p, i); err != nil {
					return i, err
				}
				s.skip, s.dst = true, nowhere
				return i + 1, s.emit([]byte(`"private"`))
			}
		}
		return i + 1, nil
	case 't':
		s.state, s.next = inLiteral, []byte("rue")
	case 'f':
		s.state, s.next = inLiteral, []byte("alse")
	case 'n':
		s.state, s.next = inLiteral, []byte("ull")
	case '-':
		s.state = inMinus
	case '0':
		s.state = inZero
	default:
		if c < '1' || c > '9' {
			return i, errGrammar
		}
		s.state = inInt
	}
	return i + 1, nil
}

// member begins the value of a member of the message itself.
func (s *scanner) member(p []byte, i int) error {
	s.top = s.name()
	switch s.top {
	case "result":
		if s.result || s.parts.method != nil || s.parts.params != nil || s.parts.err != nil || p[i] != '{' {
			return errMessage
		}
		if s.answered || s.want == nil {
			return errID
		}
		if s.parts.id != nil && !sameID(s.parts.id, s.want) {
			return errID
		}
		s.result = true
		if err := s.begin(); err != nil {
			return err
		}
		head := append([]byte(`{"jsonrpc":"2.0","id":`), s.as...)
		if err := s.emit(append(head, `,"result":`...)); err != nil {
			return err
		}
		s.dst, s.from = toOut, i
		return nil
	case "jsonrpc", "id", "method", "params", "error":
		if s.result && s.top != "jsonrpc" && s.top != "id" {
			return errMessage
		}
		s.dst, s.from, s.held = toHeld, i, nil
		return nil
	}
	return errMessage
}

// ended is called when a value has been read, up to p[i].
func (s *scanner) ended(p []byte, i int) error {
	s.state = atAfter
	depth := len(s.stack)
	if s.skip && depth == 2 {
		s.skip, s.dst, s.from = false, toOut, i
		return nil
	}
	if depth != 1 {
		return nil
	}
	if err := s.flush(p, i); err != nil {
		return err
	}
	s.dst, s.from = nowhere, i
	var at *json.RawMessage
	switch s.top {
	case "jsonrpc":
		if len(s.version) > 0 || string(s.held) != `"2.0"` {
			return errMessage
		}
		s.version = append(s.version, s.held...)
		return nil
	case "id":
		at = &s.parts.id
	case "method":
		at = &s.parts.method
	case "params":
		at = &s.parts.params
	case "error":
		at = &s.parts.err
	default:
		return nil
	}
	if *at != nil {
		return errMessage
	}
	*at = bytes.Clone(s.held)
	return nil
}

// pop closes the object or array that is open.
func (s *scanner) pop(p []byte, i int) (int, error) {
	depth := len(s.stack)
	l := s.stack[depth-1]
	if depth == 2 && s.result && s.dst == toOut {
		if err := s.flush(p, i); err != nil {
			return i, err
		}
		s.from = i
		for n, m := range s.add {
			if s.added&(1<<n) != 0 {
				continue
			}
			text := `"` + m.name + `":` + m.value
			if l.some {
				text = "," + text
			}
			l.some = true
			if err := s.emit([]byte(text)); err != nil {
				return i, err
			}
		}
	}
	s.stack = s.stack[:depth-1]
	if depth == 1 {
		s.state = atEnd
		return i + 1, nil
	}
	return i + 1, s.ended(p, i+1)
}

// plain are the bytes of a text that mean nothing but themselves.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text reads on within a text.
func (s *scanner) text(p []byte, i int) (int, error) {
	from := i
	for i < len(p) {
		c := p[i]
		switch {
		case s.need > 0:
			if c < s.lo || c > s.hi {
				return i, errGrammar
			}
			s.need, s.lo, s.hi = s.need-1, 0x80, 0xBF
		case plain[c]:
			for i+1 < len(p) && plain[p[i+1]] {
				i++
			}
		case c == '"':
			s.remember(p[from:i])
			if s.isKey {
				s.state = atColon
				s.note()
				if s.inMeta {
					return i + 1, s.named(i + 1)
				}
				return i + 1, nil
			}
			return i + 1, s.ended(p, i+1)
		case c == '\\':
			s.state = inEscape
			s.remember(p[from : i+1])
			return i + 1, nil
		case c < 0x20:
			return i, errGrammar
		case c >= 0xC2 && c <= 0xDF:
			s.need, s.lo, s.hi = 1, 0x80, 0xBF
		case c >= 0xE0 && c <= 0xEF:
			s.need, s.lo, s.hi = 2, 0x80, 0xBF
			if c == 0xE0 {
				s.lo = 0xA0
			} else if c == 0xED {
				s.hi = 0x9F
			}
		case c >= 0xF0 && c <= 0xF4:
			s.need, s.lo, s.hi = 3, 0x80, 0xBF
			if c == 0xF0 {
				s.lo = 0x90
			} else if c == 0xF4 {
				s.hi = 0x8F
			}
		default:
			return i, errGrammar
		}
		i++
	}
	s.remember(p[from:i])
	return i, nil
}

// remember keeps the bytes of a key.
func (s *scanner) remember(b []byte) {
	if s.inMeta && len(s.meta) <= maxMetaKey {
		s.meta = append(s.meta, b[:min(len(b), maxMetaKey+1-len(s.meta))]...)
	}
	if !s.isKey || s.cut {
		return
	}
	if len(s.key)+len(b) > maxKey {
		s.cut = true
		return
	}
	s.key = append(s.key, b...)
}

// named lets the key of a member of the result's _meta go on. The bytes after it begin at p[i].
func (s *scanner) named(i int) error {
	s.inMeta, s.dst, s.from = false, toOut, i
	if len(s.meta) > maxMetaKey {
		return errLarge
	}
	quoted := append(append([]byte{'"'}, s.meta...), '"')
	name, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return errGrammar
	}
	if ours(string(name)) {
		quoted = append([]byte(`"`+forged), quoted[1:]...)
	}
	return s.emit(quoted)
}

// ours reports whether only the gateway uses a name in _meta.
func ours(name string) bool { return strings.HasPrefix(strings.ToLower(name), mcp.MetaPrefix) }

// note looks whether the result has a member that would be added.
func (s *scanner) note() {
	if !s.result || len(s.stack) != 2 {
		return
	}
	for n, m := range s.add {
		if s.name() == m.name {
			s.added |= 1 << n
		}
	}
}

// name returns the key of the member that is being read, "" if it is none that matters.
func (s *scanner) name() string {
	if s.cut {
		return ""
	}
	if bytes.IndexByte(s.key, '\\') < 0 {
		return string(s.key)
	}
	quoted := append(append([]byte{'"'}, s.key...), '"')
	b, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return ""
	}
	return string(b)
}

// number reads on within a number.
func (s *scanner) number(p []byte, i int) (int, error) {
	c := p[i]
	digit := c >= '0' && c <= '9'
	switch s.state {
	case inMinus:
		if !digit {
			return i, errGrammar
		}
		s.state = inInt
		if c == '0' {
			s.state = inZero
		}
		return i + 1, nil
	case inDot, inExp, inSign:
		switch {
		case digit && s.state == inDot:
			s.state = inFrac
		case digit:
			s.state = inDigits
		case s.state == inExp && (c == '+' || c == '-'):
			s.state = inSign
		default:
			return i, errGrammar
		}
		return i + 1, nil
	}
	switch {
	case digit && s.state != inZero:
		return i + 1, nil
	case c == '.' && (s.state == inZero || s.state == inInt):
		s.state = inDot
		return i + 1, nil
	case (c == 'e' || c == 'E') && s.state != inDigits:
		s.state = inExp
		return i + 1, nil
	}
	return i, s.ended(p, i)
}

// flush copies what was read of the chunk, up to p[i], to where it belongs.
func (s *scanner) flush(p []byte, i int) error {
	b := p[min(s.from, i):i]
	s.from = i
	switch s.dst {
	case toOut:
		return s.emit(b)
	case toHeld:
		if len(s.held)+len(s.parts.params)+len(s.parts.err)+len(b) > s.max {
			return errLarge
		}
		s.held = append(s.held, b...)
	}
	return nil
}

func (s *scanner) emit(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := s.out.Write(b)
	s.written += int64(n)
	return err
}

// end says that the message's bytes have ended.
func (s *scanner) end() error {
	if s.state != atEnd || len(s.version) == 0 {
		return errMessage
	}
	if s.result {
		if s.parts.id == nil || !sameID(s.parts.id, s.want) {
			return errID
		}
		s.answered = true
		return s.emit([]byte("}"))
	}
	b := []byte(`{"jsonrpc":"2.0"`)
	for _, m := range []struct {
		name  string
		value json.RawMessage
	}{{"id", s.parts.id}, {"method", s.parts.method}, {"params", s.parts.params}, {"error", s.parts.err}} {
		if m.value != nil {
			b = append(append(append(append(b, `,"`...), m.name...), `":`...), m.value...)
		}
	}
	b = append(b, '}')
	f, err := mcp.ParseFrame(b, len(b))
	if err != nil {
		return errMessage
	}
	if f.Response() {
		if s.want == nil || s.answered || string(f.ID) != "null" && !sameID(f.ID, s.want) {
			return errID
		}
		f.ID, s.answered = s.as, true
	}
	return s.frame(f)
}

// sameID reports whether two ids are the same, however they are written.
func sameID(a, b json.RawMessage) bool {
	return bytes.Equal(a, b) || (&mcp.Frame{ID: a}).Key() == (&mcp.Frame{ID: b}).Key()
}
