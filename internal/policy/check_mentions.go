package policy

import (
	"fmt"
	"maps"
	"slices"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

// checkMentions refuses the names in the catalog that the schema does not know. A capability whose
// action is misspelled would cover nothing, a signal would be required of no act, and the class of
// a type would classify nothing.
func checkMentions(s *schema, cat *catalog.Catalog, ps *Problems) {
	if cat == nil {
		return
	}
	hints := make(map[catalog.Mention]string)
	groups := s.byGroup()
	for _, m := range cat.Mentions() {
		if m.Kind == catalog.MentionsArgument {
			checkArgument(groups, cat, m, ps)
			continue
		}
		var what string
		var known []string
		name := catalog.Mention{Kind: m.Kind, Name: m.Name}
		_, hinted := hints[name]
		list := func(names func(yield func(string) bool)) {
			if !hinted && len(hints) < maxSuggested {
				known = slices.Collect(names)
			}
		}
		switch {
		case m.Kind == catalog.MentionsGroup && !s.groups[m.Name]:
			what = "action or group of actions"
			list(maps.Keys(s.groups))
		case m.Kind == catalog.MentionsAction && s.actions[m.Name] == nil && s.groups[m.Name]:
			what = "single action"
			hints[name], hinted = "it is a group: name each of its actions", true
		case m.Kind == catalog.MentionsAction && s.actions[m.Name] == nil:
			what = "action"
			list(maps.Keys(s.actions))
		case m.Kind == catalog.MentionsType && s.kinds[m.Name] == nil:
			what = "entity type"
			list(maps.Keys(s.kinds))
		default:
			continue
		}
		if !hinted {
			if hints[name] = suggest(m.Name, known); hints[name] == "" {
				hints[name] = "declare it in the schema"
			}
		}
		ps.add(Problem{
			File: catalogFile, Line: m.Line, Column: m.Column, Hint: hints[name],
			Message: fmt.Sprintf("%s: the schema has no %s %q", m.By, what, m.Name),
		})
	}
}

// maxSuggested bounds the unknown names for which a known one is looked for.
const maxSuggested = 50

// byGroup returns the actions that requests can name by their own name and those of their groups.
func (s *schema) byGroup() map[string][]*action {
	out := make(map[string][]*action)
	for _, name := range slices.Sorted(maps.Keys(s.actions)) {
		for _, group := range s.actions[name].groupNames {
			out[group] = append(out[group], s.actions[name])
		}
	}
	return out
}

// checkArgument warns of a limit on an argument that no action of the capability takes. An argument
// that is missing is over every limit, so that the capability grants nothing.
func checkArgument(groups map[string][]*action, cat *catalog.Catalog, m catalog.Mention, ps *Problems) {
	k, ok := cat.Capability(m.Capability)
	if !ok {
		return
	}
	var names []string
	for _, name := range k.Actions {
		for _, a := range groups[name] {
			if a.args == nil {
				continue
			}
			if a.args.attrs[m.Name].typ != nil {
				return
			}
			if len(names) < maxSuggested {
				names = slices.AppendSeq(names, maps.Keys(a.args.attrs))
			}
		}
	}
	ps.add(Problem{
		File: catalogFile, Line: m.Line, Column: m.Column, Severity: SeverityWarning, Hint: suggest(m.Name, names),
		Message: fmt.Sprintf("%s: the schema has no argument %q of its actions: what lacks the argument is over the limit", m.By, m.Name),
	})
}
