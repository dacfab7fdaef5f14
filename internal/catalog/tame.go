package catalog

import "github.com/goccy/go-yaml/token"

// tame reports whether the tokens can be given to the parser, or notes why not. The parser calls
// itself once a level and takes time that grows with the square of the members of an object in block
// style. (Nesting by indentation is bounded by the size of the document, and flow style takes time in
// proportion.)
func (d *document) tame(tokens token.Tokens) bool {
	open, line, marks := 0, 0, 0
	var c crowd
	for _, t := range tokens {
		p := t.Position
		if p.Line != line {
			line, marks = p.Line, 0
			if open == 0 {
				c.line(p.Column)
			}
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			marks++
			if open == 0 {
				c.mark(t)
			}
		case token.MappingValueType:
			if open == 0 {
				c.member()
			}
		}
		if open > maxDepth || marks > maxMarks {
			d.add(p.Line, p.Column, "nested deeper than %d levels", maxDepth)
			return false
		}
		if c.work > maxWork {
			d.add(p.Line, p.Column, "too many members in one object: write it in braces, or split it")
			return false
		}
	}
	return true
}

// A crowd estimates what the members of objects in block style cost: each as much as its object has
// members so far. Objects are told apart by how far their lines are indented.
type crowd struct {
	objects []object // that are open, outermost first
	at      int      // column of the current line, past the dashes of lists
	work    int
}

type object struct{ column, members int }

// line begins a line, which ends all objects that are indented further.
func (c *crowd) line(column int) {
	for n := len(c.objects); n > 0 && c.objects[n-1].column > column; n-- {
		c.objects = c.objects[:n-1]
	}
	c.at = column
}

// mark moves past the dash of a list. What was within the element before it has ended.
func (c *crowd) mark(t *token.Token) {
	if t.Type == token.SequenceEntryType {
		c.line(t.Position.Column)
		c.at++
	}
}

// member counts a member of the object at the current column.
func (c *crowd) member() {
	if n := len(c.objects); n == 0 || c.objects[n-1].column != c.at {
		c.objects = append(c.objects, object{column: c.at})
	}
	o := &c.objects[len(c.objects)-1]
	o.members++
	c.work += o.members
}
