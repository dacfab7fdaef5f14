package notify

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// clean returns what strangers wrote, for people to read: in one line, at most so many characters, and
// with everything that does not print, or that prints as nothing, written out. Line breaks, control
// characters, escape sequences and what turns the direction of writing can do nothing then.
func clean(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == most {
			b.WriteRune('…')
			break
		}
		if n++; visible(r) {
			b.WriteRune(r)
		} else {
			writeOut(&b, r)
		}
	}
	return b.String()
}

// visible reports whether a character shows as itself and nothing else.
func visible(r rune) bool {
	switch {
	case r == utf8.RuneError:
		return false
	case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
		return false
	case r == '\u2800', r == '\U0001d159': // a pattern without dots, a note without a head
		return false
	}
	return unicode.IsPrint(r)
}

// writeOut writes a character as JSON does.
func writeOut(b *strings.Builder, r rune) {
	if r > 0xffff {
		r -= 0x10000
		fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}

// plainJSON returns the same JSON with everything written out that does not print. What does not print can
// stand in strings only, but for white space between them.
func plainJSON(text []byte) []byte {
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range string(text) {
		if visible(r) || r == '\n' || r == '\t' || r == '\r' {
			b.WriteRune(r)
		} else {
			writeOut(&b, r)
		}
	}
	return []byte(b.String())
}

// object returns a JSON object in one line for people to read, "" if it has no members. Numbers and the
// order of members stay as they are; characters that the log has written out for the sake of HTML do not.
func object(text []byte, most int) string {
	v := jsontext.Value(slices.Clone(text))
	if err := v.Format(jsontext.PreserveRawStrings(false), jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false)); err != nil || string(v) == "{}" {
		return ""
	}
	return clean(string(v), most)
}
