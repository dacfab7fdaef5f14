package catalog

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// A Part is one thing that a catalog document declares: a capability, a schedule, an entity, or a
// section that is not divided.
type Part struct {
	Section string
	ID      string // "" of a section that is not divided
	Value   string // as JSON, members in the order of the document
	Line    int
}

// maxParts bounds the parts of a document together, in bytes: aliases can stand for much.
const maxParts = 64 << 20

// Parts takes a document apart, so that two can be compared by what they declare. It reads the form
// only, and not what things mean. The error is a *Problems.
func Parts(name string, text []byte) ([]Part, error) {
	d := parse(name, text)
	if d.root == nil {
		return nil, d.err()
	}
	var out []Part
	total := 0
	d.most = maxParts
	add := func(section, id string, at, v ast.Node) {
		if total > maxParts {
			return
		}
		m := Part{Section: section, ID: id, Value: string(d.json(nil, v, section))}
		if total += len(m.Value); total > maxParts {
			d.at(at, "the document is too large to be compared")
		}
		if t := first(at); t != nil {
			m.Line = t.Position.Line
		}
		out = append(out, m)
	}
	d.each(d.root, "a catalog", func(section string, at, v ast.Node) {
		switch section {
		case "capabilities", "types", "schedules", "networks", "obligations", "reasons", "approvers", "assurance":
			d.each(v, section, func(id string, at, v ast.Node) { add(section, id, at, v) })
		case "approvals":
			d.each(v, section, func(id string, at, v ast.Node) {
				if id != "routes" {
					add(section, id, at, v)
					return
				}
				d.each(v, "routes", func(id string, at, v ast.Node) { add("routes", id, at, v) })
			})
		case "entities":
			d.list(v, section, func(v ast.Node) { add(section, d.refOf(v), v, v) })
		case "classify":
			n := 0
			d.list(v, section, func(v ast.Node) {
				n++
				add(section, fmt.Sprintf("rule %d", n), v, v)
			})
		default:
			add(section, "", at, v)
		}
	})
	if err := d.err(); err != nil {
		return nil, err
	}
	return out, nil
}

// refOf returns type:id of an entity.
func (d *document) refOf(n ast.Node) string {
	var ref [2][]byte
	for _, m := range members(d.value(n)) {
		switch m.Key.GetToken().Value {
		case "type":
			ref[0] = d.json(nil, m.Value, "type")
		case "id":
			ref[1] = d.json(nil, m.Value, "id")
		}
	}
	return string(bytes.Trim(ref[0], `"`)) + ":" + string(bytes.Trim(ref[1], `"`))
}
