// Package policy judges requests by Cedar policies, and refuses when it cannot.
//
// A [Set] is a compiled pair: policies with their schema, and the catalog they were checked against.
// It is immutable, answers from memory only, and is indexed, so that the cost of an answer follows
// the number of policies that could apply and not the number there are. A [Library] keeps the
// published versions and says which one is active.
//
// The invariant of the package: nothing that is missing, malformed or in error ever permits. Plain
// Cedar leaves out a policy whose evaluation errs, so that a forbid which reads an absent value
// forbids nothing; here it refuses. See [Set.Evaluate] for the rules.
//
// Cedar's own types never leave the package.
//
// What is not solved: Cedar evaluates without a budget. Who may publish policies can make decisions
// slow, within the limits on a set's size; he cannot make them wrong.
package policy

import (
	_ "embed"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

//go:embed base.cedarschema
var baseSchema []byte

// BaseSchema returns the text of the base schema.
func BaseSchema() string { return string(baseSchema) }

// A Source is the text of a policy set before it is compiled. It is what is stored and published.
type Source struct {
	Schema string `json:"schema"` // the operator's Cedar schema, without the base schema
	Files  []File `json:"files"`  // Cedar policies, in order
}

// A File is one named policy text.
type File struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// A Set is a compiled, indexed, immutable set of policies together with the catalog it was checked
// against. It is safe for concurrent use.
type Set struct {
	source  Source
	version int64
	cat     *catalog.Catalog // may be nil, which is a catalog that declares nothing
	asks    catalog.AskBudget
	schema  *schema

	// rules in the order in which they are judged: forbids, permits, shadow forbids, shadow permits,
	// and last the disabled ones; within each the order of the source. starts are the indexes at
	// which each of these begins.
	rules  []*rule
	starts [classes]int

	index    *index
	stored   *stored
	contexts *memo   // contexts that repeat
	memo     *memo   // what is observed in them
	parts    *memo   // the records within that, and what callers say
	agents   *agents // entities of agents
}

// Compile checks src against its schema and the catalog and compiles it. A nil catalog declares
// nothing. The error, if any, is authz.ErrInvalid and a *Problems with every problem found.
func Compile(src Source, cat *catalog.Catalog) (*Set, error) {
	d := compile(src, cat)
	if err := d.problems.Err(); err != nil {
		return nil, err
	}
	return d.set, nil
}

// Version returns the number under which the set was published, 0 if it never was.
func (s *Set) Version() int64 { return s.version }

// Catalog returns the catalog the set was compiled against.
func (s *Set) Catalog() *catalog.Catalog { return s.cat }

// Source returns the text the set was compiled from.
func (s *Set) Source() Source { return s.source }

// Len returns how many policies the set has, disabled ones included.
func (s *Set) Len() int { return len(s.rules) }

// At returns a copy of s that bears the number of a published version. It shares all else with s.
func (s *Set) At(version int64) *Set {
	c := *s
	c.version = version
	return &c
}
