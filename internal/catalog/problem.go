package catalog

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
)

// A Problem is one thing that is wrong with a document.
type Problem struct {
	Line    int    `json:"line"`   // from 1; 0 if the whole document is meant
	Column  int    `json:"column"` // in characters, from 1
	Message string `json:"message"`
	Text    string `json:"text,omitempty"` // the line itself
}

// Problems is everything that is wrong with a document, in the order of its lines. It is an error of
// the kind authz.ErrInvalid.
type Problems struct {
	Name string    `json:"name"` // of the document
	List []Problem `json:"problems"`
	More bool      `json:"more,omitempty"` // there were too many to list
}

// Error returns one paragraph a problem: where, what, and the line with a caret below the place.
func (p *Problems) Error() string {
	var b strings.Builder
	for i, q := range p.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		if q.Line == 0 {
			fmt.Fprintf(&b, "%s: %s", p.Name, q.Message)
			continue
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s", p.Name, q.Line, q.Column, q.Message)
		if line, at, ok := excerpt(q.Text, q.Column); ok {
			fmt.Fprintf(&b, "\n    %s\n    %s^", line, strings.Repeat(" ", at))
		}
	}
	if p.More {
		fmt.Fprintf(&b, "\n%s: there are more problems than these %d", p.Name, len(p.List))
	}
	return b.String()
}

// Unwrap returns the kind of the error.
func (p *Problems) Unwrap() error { return authz.ErrInvalid }

// excerpt returns the part of a line that shows the column, and how far in the column is.
func excerpt(line string, column int) (string, int, bool) {
	const before, after = 60, 40
	r := []rune(line)
	at := column - 1
	if len(r) == 0 || at < 0 || at > len(r) {
		return "", 0, false
	}
	for i, c := range r {
		if c < ' ' || c == utf8.RuneError || c == 0x7f {
			r[i] = ' '
		}
	}
	lead, tail := "", ""
	if end := at + after; end < len(r) {
		r, tail = r[:end], "..."
	}
	if start := at - before; start > 0 {
		r, at, lead = r[start:], before, "..."
	}
	return lead + string(r) + tail, at + len(lead), true
}

// nearest returns the candidate that name was probably meant to be, or "".
func nearest(name string, candidates []string) string {
	best, dist := "", 3
	for _, c := range candidates {
		if d := distance(name, c, dist); d < dist && d < len(c) {
			best, dist = c, d
		}
	}
	return best
}

// distance is the number of letters to change, insert or drop between a and b, or limit if it is
// that many or more.
func distance(a, b string, limit int) int {
	if abs(len(a)-len(b)) >= limit || len(a) > 128 {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
		if slices.Min(row) >= limit {
			return limit
		}
	}
	return row[len(b)]
}

func abs(n int) int { return max(n, -n) }

// suggest returns " (did you mean "x"?)" if one of the candidates is close to name.
func (d *document) suggest(name string, candidates []string) string {
	if len(d.problems) >= maxProblems || len(candidates) > 256 {
		return "" // nobody would read it, and it is not for nothing
	}
	if c := nearest(name, candidates); c != "" {
		return fmt.Sprintf(" (did you mean %q?)", c)
	}
	return ""
}
