package catalog

import (
	"github.com/goccy/go-yaml/ast"
)

// A Mention is a name in a document that the document itself cannot vouch for: only the schema of
// the policies knows whether there is such an action or type.
type Mention struct {
	Kind         MentionKind
	Name         string
	By           string // what names it, as in "capability pay"
	Capability   string // whose limit names it, if it is an argument
	Line, Column int    // from 1
}

// A MentionKind says what a Mention must be the name of.
type MentionKind uint8

const (
	MentionsGroup    MentionKind = iota // an action or a group of actions
	MentionsAction                      // an action that requests can name
	MentionsType                        // an entity type; only the first place of each is kept
	MentionsArgument                    // an argument of one of the actions of Capability
)

// Mentions returns the names that a schema must know, in the order of the document. The slice is
// shared: do not modify it.
func (c *Catalog) Mentions() []Mention { return c.mentions }

// Place returns the line and the column, from 1, at which the entity is declared.
func (s *Stored) Place() (line, column int) { return int(s.line), int(s.column) }

// mentionArgument notes that a limit of the capability names an argument at a node.
func (r *reader) mentionArgument(name string, k *Capability, at ast.Node) {
	r.mention(MentionsArgument, name, "capability "+k.ID, at)
	r.c.mentions[len(r.c.mentions)-1].Capability = k.ID
}

// mention notes that by names something at a node.
func (r *reader) mention(kind MentionKind, name, by string, at ast.Node) {
	if kind == MentionsType {
		if r.mentioned[name] {
			return
		}
		r.mentioned[name] = true
	}
	m := Mention{Kind: kind, Name: name, By: by}
	if t := first(at); t != nil {
		m.Line, m.Column = t.Position.Line, t.Position.Column
	}
	r.c.mentions = append(r.c.mentions, m)
}
