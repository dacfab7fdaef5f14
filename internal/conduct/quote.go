package conduct

import (
	"unicode"
	"unicode/utf8"
)

// MaxQuoted is how many bytes Quote returns at most.
const MaxQuoted = 64

// Quote returns a name out of an event as a sentence of a finding quotes it: in quotation marks, on one
// line, printable, and cut so that it has at most MaxQuoted bytes. What cannot be printed is a question mark.
func Quote(name string) string {
	const mark, more = '"', "..."
	var buf [MaxQuoted + utf8.UTFMax]byte
	b := append(buf[:0], mark)
	cut := 1 // where there is room for more
	for _, r := range name {
		switch {
		case r == mark:
			r = '\''
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			r = '?'
		}
		if len(b) <= MaxQuoted-len(more)-1 {
			cut = len(b)
		}
		if b = utf8.AppendRune(b, r); len(b) > MaxQuoted-1 {
			b = append(b[:cut], more...)
			break
		}
	}
	return string(append(b, mark))
}
