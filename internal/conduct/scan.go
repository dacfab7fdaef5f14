package conduct

import (
	"hash/maphash"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
)

// A scan walks once through one JSON text (RFC 8259) and checks it on the way, without making anything
// of what nobody asks for. After the first fault it finds nothing more. That the text is UTF-8 was seen
// to when it was recorded.
type scan struct {
	text []byte
	at   int
	bad  bool
	room []byte // of the newest string that has escapes
}

// maxDepth is how deep values may be nested. Requests are let in with far less.
const maxDepth = 512

func (s *scan) fail() { s.bad, s.at = true, len(s.text) }

// space skips white space and returns the byte that follows, 0 at the end.
func (s *scan) space() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// open enters an object or an array, of which c is the first byte. At null it enters nothing.
func (s *scan) open(c byte) bool {
	switch s.space() {
	case c:
		s.at++
		return true
	case 'n':
		s.word("null")
	default:
		s.fail()
	}
	return false
}

// more reports whether the object or array that ends with c goes on, and stands at what follows.
func (s *scan) more(first *bool, c byte) bool {
	next := s.space()
	switch {
	case next == c:
		s.at++
		return false
	case next == 0:
	case *first:
		*first = false
		return true
	case next == ',':
		s.at++
		s.space()
		return true
	}
	s.fail()
	return false
}

// member returns the name of an object's next member and stands at its value. The name is good until
// the next string is read.
func (s *scan) member(first *bool) (name []byte, ok bool) {
	if !s.more(first, '}') {
		return nil, false
	}
	name = s.string()
	if s.space() != ':' {
		s.fail()
		return nil, false
	}
	s.at++
	return name, !s.bad
}

// other is what the reader of a member says of a name that it does not know.
const other = -1

// members reads an object, or null, whose members read reads: it returns a number for each name that it
// knows, which may come once, or other, and the value is passed over.
func (s *scan) members(read func(name []byte) int) {
	if !s.open('{') {
		return
	}
	var seen uint32
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return
		}
		n := read(name)
		if n == other {
			s.skip(0)
			continue
		}
		if seen&(1<<n) != 0 {
			s.fail()
		}
		seen |= 1 << n
	}
}

// elements reads an array, or null, whose elements read reads.
func (s *scan) elements(read func()) {
	if s.open('[') {
		for first := true; s.more(&first, ']'); {
			read()
		}
	}
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// string reads a string. What it returns is good until the next one is read.
func (s *scan) string() []byte {
	if s.space() != '"' {
		s.fail()
		return nil
	}
	start := s.at + 1
	i := start
	for i < len(s.text) && plain[s.text[i]] {
		i++
	}
	if i < len(s.text) && s.text[i] == '"' {
		s.at = i + 1
		return s.text[start:i]
	}
	return s.escaped(start, i)
}

// escaped reads on in a string that began at start and has its first escape at i.
func (s *scan) escaped(start, i int) []byte {
	out := append(s.room[:0], s.text[start:i]...)
	for i < len(s.text) {
		c := s.text[i]
		if plain[c] {
			out = append(out, c)
			i++
			continue
		}
		if c == '"' {
			s.at, s.room = i+1, out
			return out
		}
		if c != '\\' || i+1 >= len(s.text) {
			break
		}
		i += 2
		switch c = s.text[i-1]; c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := s.hex(i)
			if !ok {
				s.fail()
				return nil
			}
			i += 4
			if utf16.IsSurrogate(r) { // half a pair is U+FFFD, as encoding/json has it
				pair := rune(utf8.RuneError)
				if i+1 < len(s.text) && s.text[i] == '\\' && s.text[i+1] == 'u' {
					if low, ok := s.hex(i + 2); ok {
						if pair = utf16.DecodeRune(r, low); pair != utf8.RuneError {
							i += 6
						}
					}
				}
				r = pair
			}
			out = utf8.AppendRune(out, r)
		default:
			s.fail()
			return nil
		}
	}
	s.fail()
	return nil
}

// hex returns the four hexadecimal digits at i.
func (s *scan) hex(i int) (r rune, ok bool) {
	if i+4 > len(s.text) {
		return 0, false
	}
	for _, c := range s.text[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// word reads a literal.
func (s *scan) word(w string) {
	if len(s.text)-s.at < len(w) || string(s.text[s.at:s.at+len(w)]) != w {
		s.fail()
		return
	}
	s.at += len(w)
}

// null reads null, if that is what comes next.
func (s *scan) null() bool {
	if s.space() != 'n' {
		return false
	}
	s.word("null")
	return true
}

// isTrue reads true or false.
func (s *scan) isTrue() bool {
	if s.space() == 't' {
		s.word("true")
		return true
	}
	s.word("false")
	return false
}

// number reads a number and returns its text.
func (s *scan) number() []byte {
	start := s.at
	digits := func() bool {
		from := s.at
		for s.at < len(s.text) && s.text[s.at]-'0' <= 9 {
			s.at++
		}
		return s.at > from
	}
	if s.at < len(s.text) && s.text[s.at] == '-' {
		s.at++
	}
	if s.at < len(s.text) && s.text[s.at] == '0' {
		s.at++
	} else if !digits() {
		s.fail()
		return nil
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		if s.at++; !digits() {
			s.fail()
			return nil
		}
	}
	if s.at < len(s.text) && s.text[s.at]|0x20 == 'e' {
		if s.at++; s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		if !digits() {
			s.fail()
			return nil
		}
	}
	return s.text[start:s.at]
}

// skip passes over a value of any kind.
func (s *scan) skip(depth int) {
	if depth > maxDepth {
		s.fail()
		return
	}
	switch c := s.space(); c {
	case '"':
		s.string()
	case '{':
		s.at++
		for first := true; ; {
			if _, ok := s.member(&first); !ok {
				return
			}
			s.skip(depth + 1)
		}
	case '[':
		s.at++
		for first := true; s.more(&first, ']'); {
			s.skip(depth + 1)
		}
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
	}
}

// object reads an object, or null, and returns its text; nil for null.
func (s *scan) object() []byte {
	if s.null() {
		return nil
	}
	if s.space() != '{' {
		s.fail()
		return nil
	}
	start := s.at
	s.skip(0)
	if s.bad {
		return nil
	}
	return s.text[start:s.at:s.at]
}

// done reports whether the text was read to its end without fault.
func (s *scan) done() bool { return s.space() == 0 && s.at == len(s.text) && !s.bad }

// A pool keeps the strings that were seen lately, so that those which come again are made once. One
// that takes the place of another costs an allocation and nothing else. Every string is a copy.
type pool struct {
	seed maphash.Seed
	kept [4096]string
}

const maxPooled = 96 // bytes of a string

func (p *pool) string(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > maxPooled {
		return string(b)
	}
	slot := &p.kept[maphash.Bytes(p.seed, b)%uint64(len(p.kept))]
	if *slot != string(b) { // does not allocate
		*slot = string(b)
	}
	return *slot
}

var errDamaged = authz.Errorf(authz.ErrInvalid, "the record of a decision is damaged")
