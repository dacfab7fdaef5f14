package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

// A reader builds a Catalog out of a document. What refers to other sections is checked last.
type reader struct {
	*document
	c     *Catalog
	later []func()

	mentioned map[string]bool // types
}

// read compiles d. If d has problems afterwards the Catalog is not to be used.
func read(d *document) *Catalog {
	c := &Catalog{
		zone:         time.UTC,
		capabilities: map[string]*Capability{},
		types:        map[string]*Type{},
		obligations:  map[string]authz.Obligation{},
		reasons:      map[string]Reason{},
		approvers:    map[string]*Approvers{},
		routes:       map[string]*Route{},
		asks:         DefaultAskBudget(),
		volatile:     []string{"confidence", "time"},
		assurances:   map[string]*Assurance{},
		entities:     map[authz.Ref]*Stored{},
		byType:       map[string][]*Stored{},
		weights:      DefaultWeights(),
		conduct:      DefaultConduct(),
	}
	c.signals.always = []string{}
	r := &reader{document: d, c: c, mentioned: map[string]bool{}}
	var rules []*rule
	weighed := false
	d.object(d.root, "a catalog", fields{
		"zone":          func(n ast.Node) { c.zone = r.location(n) },
		"capabilities":  r.capabilities,
		"types":         r.types,
		"default_class": func(n ast.Node) { c.classes.setFallback(d.class(n)) },
		"classify":      func(n ast.Node) { rules = r.classify(n) },
		"schedules":     r.schedules,
		"networks":      r.networks,
		"obligations":   r.obligations,
		"reasons":       r.reasons,
		"approvers":     r.approvers,
		"approvals":     r.approvals,
		"assurance":     r.assurance,
		"entities":      r.entities,
		"signals":       r.signals,
		"risk":          func(n ast.Node) { weighed = r.risk(n) },
		"conduct":       r.conduct,
	})
	for _, check := range r.later {
		check()
	}
	slices.SortStableFunc(c.mentions, func(a, b Mention) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	c.classes.compile(c.types, rules)
	if !weighed && len(c.networks.names) > 0 {
		c.weights.UnknownZone = defaultUnknownZone
	}
	for _, s := range c.schedules.all {
		if s.zone == nil {
			s.zone = c.zone
		}
	}
	for _, list := range c.byType {
		slices.SortFunc(list, func(a, b *Stored) int { return compareRefs(a.Ref, b.Ref) })
	}
	return c
}

// texts reads a list of texts, sorted; none may be repeated. It calls f, if any, with each.
func (r *reader) texts(n ast.Node, what string, f func(s string, at ast.Node)) []string {
	all := []string{}
	seen := map[string]bool{}
	r.list(n, what, func(v ast.Node) {
		switch s := r.text(v, what); {
		case s == "":
		case len(s) > maxName:
			r.at(v, "%s: %q is longer than %d bytes", what, shorten(s), maxName)
		case seen[s]:
			r.at(v, "%s lists %q twice", what, s)
		default:
			seen[s] = true
			all = append(all, s)
			if f != nil {
				f(s, v)
			}
		}
	})
	slices.Sort(all)
	return all
}

// builtin are the codes of decisions, which an operator's reason must not be taken for.
var builtin = []string{
	authz.CodeAllowed, authz.CodeNoPermit, authz.CodeForbidden, authz.CodePolicyError, authz.CodeSignalMissing,
	authz.CodeApprovalRequired, authz.CodeStepUpRequired, authz.CodeObligation, authz.CodeAskBudget, authz.CodeAgentUnknown,
	authz.CodeAgentInactive, authz.CodeStopped, authz.CodePassport, authz.CodePassportInvalid, authz.CodeTypeUnknown, authz.CodeInvalid, authz.CodeUnavailable,
}

func (r *reader) reasons(n ast.Node) {
	r.each(n, "reasons", func(id string, at, v ast.Node) {
		if !r.keyName(id, at, "reason") {
			return
		}
		if slices.Contains(builtin, id) {
			r.at(at, "reason %q is the name of a code of ours: choose another", id)
		}
		reason := Reason{ID: id}
		r.object(v, "reason "+id, fields{
			"message": func(n ast.Node) { reason.Message = r.text(n, "message") },
			"detail":  func(n ast.Node) { reason.Detail = r.text(n, "detail") },
		})
		if reason.Message == "" {
			r.at(at, "reason %s has no message for the agent", id)
		}
		r.c.reasons[id] = reason
	})
}

func enumerate(words []string) string { return strings.Join(words, ", ") }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
