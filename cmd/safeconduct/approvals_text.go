package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

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

// writeOut writes a character by its number.
func writeOut(b *strings.Builder, r rune) {
	if r > 0xffff {
		fmt.Fprintf(b, `\U%08x`, r)
	} else {
		fmt.Fprintf(b, `\u%04x`, r)
	}
}

// exact prints JSON, and sentences that quote, as they are, but for characters that do not show, which are
// written out: a person must see what is there.
func exact(v []byte) string {
	var b strings.Builder
	for _, r := range string(v) {
		switch {
		case visible(r):
			b.WriteRune(r)
		case r == '\n' || r == '\t' || r == '\r': // between the members
			b.WriteByte(' ')
		default:
			writeOut(&b, r)
		}
	}
	return b.String()
}

// brief is exact in at most n characters.
func brief(s string, n int) string { return cut(exact([]byte(s)), n) }

// quote puts what somebody wrote between quotation marks, in at most n characters of it: what is between
// them is theirs, and nothing outside of them is. All that does not show is written out.
func quote(s string, n int) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case visible(r):
			b.WriteRune(r)
		default:
			writeOut(&b, r)
		}
	}
	return `"` + cut(b.String(), n) + `"`
}

// cut returns the first n characters of a text that shows; the last of them says so if there are more.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
