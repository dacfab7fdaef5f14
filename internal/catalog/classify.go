package catalog

import (
	"bytes"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// A classifier says how sensitive a resource is.
type classifier struct {
	fallback authz.DataClass       // where nothing else speaks
	byType   map[string]*typeRules // of declared types and of types that a rule names
	other    typeRules             // of all others
	declared []*rule               // in the order of the document
}

// typeRules are what concerns the resources of one type.
type typeRules struct {
	class        authz.DataClass
	labels       []string
	jurisdiction string
	claimable    []string // properties that a request may state
	rules        []*rule  // in the order of the document
}

// A rule classifies the resources that match all it names.
type rule struct {
	typ          string // "" is every type
	id           string // a pattern; "" is every id
	prefix       string // what the pattern has before its first * or ?
	properties   []condition
	class        *authz.DataClass
	labels       []string
	jurisdiction string
}

// A condition holds if a property is, or as a list has, one of the values.
type condition struct {
	property string
	values   []scalar
}

// Classify returns the class, the labels (sorted) and the jurisdiction of a resource. The slice is
// shared: do not modify it.
//
// Of the rules that match, the strictest class wins and the labels are joined with those of the
// type; the first that names a jurisdiction settles it. Where no rule names a class, it is the
// type's, else the catalog's default, else restricted. A rule that matches only because of what the
// request itself states can make the class stricter, never less strict.
func (c *Catalog) Classify(r *authz.Entity) (class authz.DataClass, labels []string, jurisdiction string) {
	t := c.classes.byType[r.Type]
	if t == nil {
		t = &c.classes.other
	}
	labels, jurisdiction = t.labels, ""
	if len(t.rules) == 0 {
		return t.class, labels, t.jurisdiction
	}
	class = authz.Public
	var stated authz.DataClass = authz.Public
	known, owned := false, false
	var stored authz.Claimed
	if e := c.entities[r.Ref]; e != nil {
		stored = e.Properties
	}
	claimed := ""
	for _, q := range t.rules {
		match, byClaim := q.match(r, stored, t.claimable)
		if !match {
			continue
		}
		switch {
		case q.class == nil:
		case byClaim:
			stated = min(stated, *q.class)
		default:
			class, known = min(class, *q.class), true
		}
		if byClaim && claimed == "" {
			claimed = q.jurisdiction
		} else if !byClaim && jurisdiction == "" {
			jurisdiction = q.jurisdiction
		}
		if len(q.labels) > 0 {
			if len(labels) == 0 {
				labels = q.labels
			} else {
				if !owned {
					labels, owned = slices.Clone(labels), true
				}
				labels = append(labels, q.labels...)
			}
		}
	}
	if owned {
		slices.Sort(labels)
		labels = slices.Compact(labels)
	}
	if !known {
		class = t.class
	}
	for _, j := range []string{t.jurisdiction, claimed} {
		if jurisdiction == "" {
			jurisdiction = j
		}
	}
	return min(class, stated), labels, jurisdiction
}

// match reports whether the rule matches, and whether it does so only because of what the request
// states. Of a property that a request may state, the stored value counts as well, so that a request
// cannot talk its way out of a rule.
func (q *rule) match(r *authz.Entity, stored authz.Claimed, claimable []string) (match, byClaim bool) {
	if !strings.HasPrefix(r.ID, q.prefix) || q.id != "" && !glob(q.id, r.ID) {
		return false, false
	}
	for i := range q.properties {
		p := &q.properties[i]
		if v, ok := member(stored, p.property); ok && p.holds(v) {
			continue
		}
		if _, may := slices.BinarySearch(claimable, p.property); !may {
			return false, false
		}
		if v, ok := member(r.Properties, p.property); !ok || !p.holds(v) {
			return false, false
		}
		byClaim = true
	}
	return true, byClaim
}

// holds reports whether a JSON value is, or as a list has, one of the values.
func (p *condition) holds(v []byte) bool {
	one := func(v []byte) bool {
		return slices.ContainsFunc(p.values, func(s scalar) bool { return s.is(v) })
	}
	return one(v) || elements(v, one)
}

// A scalar is a text, a number or a truth value out of the document, as JSON.
type scalar struct {
	json   []byte
	text   string
	number decimal
	kind   byte // '"' text, '0' number that is not negative, else compared as it is written
}

func newScalar(json []byte) scalar {
	s := scalar{json: json}
	if json[0] == '"' {
		s.kind, s.text = '"', unquote(json)
	} else if n, ok := parseDecimal(json); ok {
		s.kind, s.number = '0', n
	}
	return s
}

// is reports whether a JSON value is the same.
func (s *scalar) is(v []byte) bool {
	switch s.kind {
	case '"':
		return len(v) > 0 && v[0] == '"' && same(v, s.text)
	case '0':
		n, ok := parseDecimal(v)
		return ok && n.compare(&s.number) == 0
	}
	return bytes.Equal(s.json, v)
}

// glob reports whether s matches a pattern in which * stands for any text, also none, and ? for any
// one character.
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0 // the last star, and how far it has eaten
	for i < len(s) {
		n := 1
		for i+n < len(s) && s[i+n]&0xC0 == 0x80 {
			n++ // the rest of one character
		}
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == '?':
			p, i = p+1, i+n
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
