package catalog

import (
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

func (r *reader) types(n ast.Node) {
	r.each(n, "types", func(name string, at, v ast.Node) {
		if !r.keyName(name, at, "type") {
			return
		}
		r.mention(MentionsType, name, "types", at)
		t := &Type{Name: name}
		r.object(v, "type "+name, fields{
			"class": func(n ast.Node) {
				if c := r.class(n); c != nil {
					t.Class, t.hasClass = *c, true
				}
			},
			"labels":             func(n ast.Node) { t.Labels = r.names(n, "labels", nil) },
			"jurisdiction":       func(n ast.Node) { t.Jurisdiction = r.text(n, "jurisdiction") },
			"request_properties": func(n ast.Node) { t.RequestProperties = r.texts(n, "request_properties", nil) },
		})
		if name == authz.CapabilityType && len(t.RequestProperties) > 0 {
			r.at(at, "no request may state properties of capabilities: remove request_properties")
		}
		r.c.types[name] = t
	})
}

func (r *reader) classify(n ast.Node) (rules []*rule) {
	r.list(n, "classify", func(v ast.Node) {
		q := &rule{}
		r.object(v, "a rule", fields{
			"type": func(n ast.Node) {
				if q.typ = r.ident(n, "type"); q.typ != "" {
					r.mention(MentionsType, q.typ, "classify", n)
				}
			},
			"id": func(n ast.Node) {
				q.id = r.text(n, "id")
				q.prefix = q.id
				if i := strings.IndexAny(q.id, "*?"); i >= 0 {
					q.prefix = q.id[:i]
				}
			},
			"properties": func(n ast.Node) {
				r.each(n, "properties", func(name string, _, v ast.Node) {
					q.properties = append(q.properties, condition{name, r.scalars(v, name)})
				})
			},
			"class":        func(n ast.Node) { q.class = r.class(n) },
			"labels":       func(n ast.Node) { q.labels = r.names(n, "labels", nil) },
			"jurisdiction": func(n ast.Node) { q.jurisdiction = r.text(n, "jurisdiction") },
		})
		if q.typ == "" && q.id == "" && q.properties == nil {
			r.at(v, "the rule matches everything: name a type, an id or properties, or use default_class")
		}
		if q.class == nil && q.labels == nil && q.jurisdiction == "" {
			r.at(v, "the rule says nothing: give it a class, labels or a jurisdiction")
		}
		rules = append(rules, q)
	})
	return rules
}

// scalars reads one text, number or truth value, or a list of them.
func (r *reader) scalars(n ast.Node, name string) (all []scalar) {
	one := func(v ast.Node) {
		switch r.value(v).(type) {
		case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			all = append(all, newScalar(r.json(nil, v, name)))
		default:
			r.at(v, "%s must be a text, a number, true or false, or a list of them, not %s", name, kind(r.value(v)))
		}
	}
	if _, ok := r.value(n).(*ast.SequenceNode); ok {
		r.list(n, name, one)
	} else {
		one(n)
	}
	return all
}

// setFallback keeps the class of what nothing classifies.
func (k *classifier) setFallback(c *authz.DataClass) {
	if c != nil {
		k.fallback = *c
	}
}

// compile sorts the rules by the types they concern.
func (k *classifier) compile(types map[string]*Type, rules []*rule) {
	k.declared = rules
	k.byType = map[string]*typeRules{}
	k.other = typeRules{class: k.fallback, labels: []string{}}
	for _, t := range types {
		tr := &typeRules{class: k.fallback, labels: join(t.Labels, nil), jurisdiction: t.Jurisdiction, claimable: t.RequestProperties}
		if tr.labels == nil {
			tr.labels = []string{}
		}
		if t.hasClass {
			tr.class = t.Class
		} else {
			t.Class = k.fallback
		}
		k.byType[t.Name] = tr
	}
	// A capability is not data. What it reaches is classified when it is used.
	if tr := k.byType[authz.CapabilityType]; tr == nil {
		k.byType[authz.CapabilityType] = &typeRules{class: authz.Internal, labels: []string{}}
	} else if t := types[authz.CapabilityType]; !t.hasClass {
		t.Class, tr.class = authz.Internal, authz.Internal
	}
	for _, q := range rules {
		if q.typ != "" && k.byType[q.typ] == nil {
			k.byType[q.typ] = &typeRules{class: k.fallback, labels: []string{}}
		}
	}
	for _, q := range rules {
		if q.typ != "" {
			k.byType[q.typ].rules = append(k.byType[q.typ].rules, q)
			continue
		}
		k.other.rules = append(k.other.rules, q)
		for _, tr := range k.byType {
			tr.rules = append(tr.rules, q)
		}
	}
}
