package audit

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// A scanner walks through JSON that this package may find in a log. It checks only what it needs to
// find its way, so of text that is not JSON it makes something or stops; it never reads beyond it.
type scanner struct {
	text []byte
	at   int
}

// next skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) next() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// quoted reads the string that comes next and returns it with its quotes, as it is written.
func (s *scanner) quoted() (raw []byte, ok bool) {
	start := s.at
	for end := start + 1; ; end++ {
		n := bytes.IndexByte(s.text[min(end, len(s.text)):], '"')
		if n < 0 {
			s.at = len(s.text)
			return nil, false
		}
		end += n
		slashes := end
		for slashes > start+1 && s.text[slashes-1] == '\\' {
			slashes--
		}
		if (end-slashes)%2 == 0 {
			s.at = end + 1
			return s.text[start:s.at], true
		}
	}
}

// string reads the string that comes next. What it returns is good until the next call with the
// same room, which is needed for strings with escapes only.
func (s *scanner) string(room []byte) (text, _ []byte, ok bool) {
	raw, ok := s.quoted()
	if !ok {
		return nil, room, false
	}
	if text = raw[1 : len(raw)-1]; bytes.IndexByte(text, '\\') < 0 {
		return text, room, true
	}
	room, err := jsontext.AppendUnquote(room[:0], raw)
	return room, room, err == nil
}

// skip passes over the value that comes next.
func (s *scanner) skip() bool {
	for depth := 0; ; {
		switch s.next() {
		case 0:
			return false
		case '"':
			if _, ok := s.quoted(); !ok {
				return false
			}
		case '{', '[':
			depth++
			s.at++
			continue
		case '}', ']':
			depth--
			s.at++
			if depth < 0 {
				return false
			}
		default: // a number or a word
			for s.at++; s.at < len(s.text) && !ends[s.text[s.at]]; s.at++ {
			}
		}
		if depth == 0 {
			return true
		}
	}
}

// ends are the bytes that end a number or a word.
var ends = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, ',': true, ':': true,
	'"': true, '{': true, '}': true, '[': true, ']': true}

// members calls f with the name of each member of the object that comes next; f reads the value. It
// passes over anything else, and returns false when there is nothing more to be read.
func (s *scanner) members(f func(name []byte) bool) bool {
	if s.next() != '{' {
		return s.skip()
	}
	s.at++
	for s.next() == '"' {
		raw, ok := s.quoted()
		if !ok || !f(raw[1:len(raw)-1]) { // names that are escaped are not ours
			return false
		}
	}
	if s.next() != '}' {
		return false
	}
	s.at++
	return true
}

// elements calls f for each element of the list that comes next; f reads it. Otherwise it is like members.
func (s *scanner) elements(f func() bool) bool {
	if s.next() != '[' {
		return s.skip()
	}
	s.at++
	for c := s.next(); c != ']'; c = s.next() {
		if c == 0 || c == '}' || !f() {
			return false
		}
	}
	s.at++
	return true
}
