package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// A Severity says whether a Problem stands in the way of publication. The zero Severity does.
type Severity uint8

const (
	SeverityError   Severity = iota // the set cannot be compiled
	SeverityWarning                 // the set can be compiled, and probably does not say what was meant
)

// String returns error or warning.
func (s Severity) String() string {
	if s == SeverityWarning {
		return "warning"
	}
	return "error"
}

// MarshalText returns the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts the name of a severity.
func (s *Severity) UnmarshalText(b []byte) error {
	switch string(b) {
	case "error":
		*s = SeverityError
	case "warning":
		*s = SeverityWarning
	default:
		return authz.Errorf(authz.ErrInvalid, "unknown severity %q", b)
	}
	return nil
}

// A Problem is one thing that is wrong, or looks wrong, with a policy set. Line and Column count
// from 1 and are 0 if the place is not known; columns count characters, as Cedar does.
type Problem struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	// EndColumn is the column just after the word at the place, in the same line; 0 if it is not known.
	EndColumn int `json:"end_column,omitempty"`

	Severity Severity `json:"severity"`
	Policy   string   `json:"policy,omitempty"` // the policy's id, if the problem lies in one
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"` // what would put it right
}

// String returns file:line:column: severity: message, as compilers write it, without the hint.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
			if p.Column > 0 {
				fmt.Fprintf(&b, ":%d", p.Column)
			}
		}
		b.WriteString(": ")
	}
	if p.Severity == SeverityWarning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems lists everything found in one policy set, in the order of the files and of the text.
// As an error it is authz.ErrInvalid.
type Problems struct {
	List []Problem `json:"problems"`
}

// Error returns all problems, one a line, each followed by its hint on a line of its own.
func (ps *Problems) Error() string { return strings.TrimSuffix(ps.String(), "\n") }

// String returns what Error returns, with a newline at the end of every line.
func (ps *Problems) String() string {
	var b strings.Builder
	for _, p := range ps.List {
		b.WriteString(p.String())
		b.WriteByte('\n')
		if p.Hint != "" {
			fmt.Fprintf(&b, "\thint: %s\n", p.Hint)
		}
	}
	return b.String()
}

// Unwrap makes errors.Is(ps, authz.ErrInvalid) true.
func (ps *Problems) Unwrap() error { return authz.ErrInvalid }

// Err returns ps if it holds an error, and nil if it holds warnings only.
func (ps *Problems) Err() error {
	if ps == nil || !ps.HasErrors() {
		return nil
	}
	return ps
}

// HasErrors reports whether any problem stands in the way of publication.
func (ps *Problems) HasErrors() bool {
	return slices.ContainsFunc(ps.List, func(p Problem) bool { return p.Severity == SeverityError })
}

// Errors returns the problems that stand in the way of publication.
func (ps *Problems) Errors() []Problem { return ps.only(SeverityError) }

// Warnings returns the problems that do not.
func (ps *Problems) Warnings() []Problem { return ps.only(SeverityWarning) }

func (ps *Problems) only(s Severity) []Problem {
	var out []Problem
	for _, p := range ps.List {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// add appends p.
func (ps *Problems) add(p Problem) { ps.List = append(ps.List, p) }

// sort puts the problems in the order of the given files, and within a file in that of the text.
// Problems of no known file come first.
func (ps *Problems) sort(files []string) {
	rank := make(map[string]int, len(files))
	for i, f := range files {
		if _, ok := rank[f]; !ok {
			rank[f] = i + 1
		}
	}
	slices.SortStableFunc(ps.List, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(rank[a.File], rank[b.File]),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
}

// Check returns everything that is wrong with src, or looks wrong: what Compile would refuse, and
// warnings besides, those included that depend on the date. The list may be empty and is never nil.
func Check(src Source, cat *catalog.Catalog, now time.Time) *Problems {
	d := compile(src, cat)
	if c := d.checker; c != nil {
		c.now = now
		c.review(d.rules)
		d.problems.sort(fileOrder(src))
	}
	d.problems.mark(src)
	return d.problems
}

// fileOrder returns the names of src's texts in the order in which problems are told.
func fileOrder(src Source) []string {
	names := []string{schemaFile, catalogFile}
	for _, f := range src.Files {
		names = append(names, f.Name)
	}
	return names
}
