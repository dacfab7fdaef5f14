package oauth

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// A Rule maps tokens to an agent: those whose claims meet every condition.
type Rule struct {
	Agent      authz.AgentID
	Conditions []Condition
}

// A Condition is met by one claim. Exactly one of Is, In and Has must be set. Strings are compared
// exactly; a number, true and false are compared as they stand in the token.
type Condition struct {
	// Claim is the claim's name, or a path into it: names with dots between them. A name may hold
	// dots itself, as kubernetes.io does; a path that can be read in two ways is met by neither.
	Claim string

	Is  string   // the claim's value
	In  []string // one of them is the claim's value
	Has string   // the claim is a list that this is in
}

// maxPath bounds the names of a path, and with them the ways to read it.
const maxPath = 8

// check returns authz.ErrInvalid and what is wrong with a rule.
func (r *Rule) check() error {
	if r.Agent == "" {
		return authz.Errorf(authz.ErrInvalid, "a rule names no agent")
	}
	if len(r.Conditions) == 0 {
		return authz.Errorf(authz.ErrInvalid, "rule for agent %q: without conditions everybody with a token of the issuer would be the agent", r.Agent)
	}
	for _, c := range r.Conditions {
		set := 0
		for _, is := range []bool{c.Is != "", len(c.In) > 0, c.Has != ""} {
			if is {
				set++
			}
		}
		switch {
		case c.Claim == "" || strings.Count(c.Claim, ".") >= maxPath:
			return authz.Errorf(authz.ErrInvalid, "rule for agent %q: claim %q: want 1 to %d names with dots between them", r.Agent, c.Claim, maxPath)
		case set != 1:
			return authz.Errorf(authz.ErrInvalid, "rule for agent %q, claim %q: want one of is, in and has", r.Agent, c.Claim)
		case slices.Contains(c.In, ""):
			return authz.Errorf(authz.ErrInvalid, "rule for agent %q, claim %q: in has an empty value", r.Agent, c.Claim)
		}
	}
	return nil
}

// met reports whether claims, one JSON object, meet every condition of the rule.
func (r *Rule) met(claims jsontext.Value) bool {
	for i := range r.Conditions {
		if !r.Conditions[i].met(claims) {
			return false
		}
	}
	return len(r.Conditions) > 0
}

func (c *Condition) met(claims jsontext.Value) bool {
	found := find(claims, c.Claim, nil)
	if len(found) != 1 {
		return false
	}
	if c.Has != "" {
		var list []jsontext.Value
		if found[0].Kind() != '[' || json.Unmarshal(found[0], &list) != nil {
			return false
		}
		return slices.ContainsFunc(list, func(v jsontext.Value) bool {
			s, ok := scalar(v)
			return ok && s == c.Has
		})
	}
	s, ok := scalar(found[0])
	return ok && (c.Is != "" && s == c.Is || slices.Contains(c.In, s))
}

// find appends every value that a path leads to.
func find(v jsontext.Value, path string, found []jsontext.Value) []jsontext.Value {
	var members map[string]jsontext.Value
	if v.Kind() != '{' || json.Unmarshal(v, &members) != nil {
		return found
	}
	for end := 0; end < len(path); end++ {
		if path[end] == '.' {
			if inner, ok := members[path[:end]]; ok {
				found = find(inner, path[end+1:], found)
			}
		}
	}
	if inner, ok := members[path]; ok {
		found = append(found, inner)
	}
	return found
}

// scalar returns the text of a string, of a number, of true or of false.
func scalar(v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case '"':
		var s string
		return s, json.Unmarshal(v, &s) == nil
	case '0', 't', 'f':
		return string(v), true
	}
	return "", false
}
