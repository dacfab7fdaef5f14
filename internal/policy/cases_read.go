package policy

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A reader turns a tree into values. It keeps every fault, so that all are told at once.
type reader struct{ faults []error }

func (r *reader) fail(err error) { r.faults = append(r.faults, err) }

// members calls the function named by each key of a map, and faults every other key.
func (r *reader) members(b *branch, what string, known map[string]func(*branch)) {
	if b == nil {
		return
	}
	if b.kind != mapBranch {
		r.fail(b.errorf("%s is %s, want a map", what, b.kind))
		return
	}
	for _, f := range b.fields {
		read, ok := known[f.key]
		if !ok {
			names := make([]string, 0, len(known))
			for k := range known {
				names = append(names, k)
			}
			slices.Sort(names)
			hint := suggest(f.key, names)
			if hint == "" {
				hint = "one of " + strings.Join(names, ", ")
			}
			r.fail(f.errorf("%s has no member %q: %s", what, f.key, hint))
			continue
		}
		read(f.value)
	}
}

func (r *reader) text(b *branch, what string) string {
	if b.kind != stringBranch && b.kind != numberBranch {
		r.fail(b.errorf("%s is %s, want a text", what, b.kind))
	}
	return b.text
}

// oneOf reads a text that is one of the given ones.
func (r *reader) oneOf(b *branch, what string, known ...string) string {
	s := r.text(b, what)
	if !slices.Contains(known, s) {
		hint := suggest(s, known)
		if hint == "" {
			hint = "one of " + strings.Join(known, ", ")
		}
		r.fail(b.errorf("%s %q is unknown: %s", what, s, hint))
	}
	return s
}

// texts reads a list of texts, or one text; an empty list is not nil.
func (r *reader) texts(b *branch, what string) []string {
	out := []string{}
	switch b.kind {
	case stringBranch, numberBranch:
		return append(out, b.text)
	case listBranch:
		for _, v := range b.items {
			out = append(out, r.text(v, what))
		}
	default:
		r.fail(b.errorf("%s is %s, want a list of texts", what, b.kind))
	}
	return out
}

// set reads a list of texts and sorts it.
func (r *reader) set(b *branch, what string) []string {
	out := r.texts(b, what)
	slices.Sort(out)
	return slices.Compact(out)
}

func (r *reader) number(b *branch, what string) float64 {
	n, err := strconv.ParseFloat(b.text, 64)
	if b.kind != numberBranch || err != nil {
		r.fail(b.errorf("%s is %s, want a number", what, b.kind))
	}
	return n
}

// share reads a number from 0 to 1.
func (r *reader) share(b *branch, what string) float64 {
	n := r.number(b, what)
	if !(n >= 0 && n <= 1) {
		r.fail(b.errorf("%s is not between 0 and 1", what))
		return 0
	}
	return n
}

func (r *reader) truth(b *branch, what string) bool {
	if b.kind != boolBranch {
		r.fail(b.errorf("%s is %s, want true or false", what, b.kind))
	}
	return b.text == "true"
}

func (r *reader) time(b *branch, what string) time.Time {
	t, err := time.Parse(time.RFC3339, b.text)
	if err != nil {
		r.fail(b.errorf("%s %q is no time: write it as 2026-01-31T09:00:00Z", what, b.text))
	}
	return t
}

func (r *reader) address(b *branch, what string) netip.Addr {
	if b.kind == nullBranch || b.kind == stringBranch && b.text == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(b.text)
	if err != nil {
		r.fail(b.errorf("%s %q is no IP address", what, b.text))
	}
	return a
}

// object reads a map as the caller's words.
func (r *reader) object(b *branch, what string) authz.Claimed {
	if b.kind == nullBranch {
		return nil
	}
	if b.kind != mapBranch {
		r.fail(b.errorf("%s is %s, want a map", what, b.kind))
		return nil
	}
	return b.json()
}

// ref reads type:id, or a map of type and id.
func (r *reader) ref(b *branch, what string) authz.Ref {
	e := r.entity(b, what)
	if len(e.Properties) > 0 {
		r.fail(b.errorf("%s takes no properties", what))
	}
	return e.Ref
}

// entity reads type:id, or a map of type, id and properties.
func (r *reader) entity(b *branch, what string) authz.Entity {
	var e authz.Entity
	if b.kind == stringBranch {
		typ, id, ok := cutRef(b.text)
		if !ok {
			r.fail(b.errorf("%s %q is not type:id", what, b.text))
		}
		e.Type, e.ID = typ, id
		return e
	}
	r.members(b, what, map[string]func(*branch){
		"type":       func(v *branch) { e.Type = r.text(v, what+".type") },
		"id":         func(v *branch) { e.ID = r.text(v, what+".id") },
		"properties": func(v *branch) { e.Properties = r.object(v, what+".properties") },
	})
	if b.kind == mapBranch && (e.Type == "" || b.field("id") == nil) {
		r.fail(b.errorf("%s needs a type and an id", what))
	}
	return e
}

// cutRef splits type:id at the first colon that is no part of a Cedar path.
func cutRef(s string) (typ, id string, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] != ':' {
			continue
		}
		if i+1 < len(s) && s[i+1] == ':' {
			i++
			continue
		}
		return s[:i], s[i+1:], i > 0
	}
	return "", "", false
}

func (r *reader) request(b *branch) authz.Request {
	var req authz.Request
	r.members(b, "request", map[string]func(*branch){
		"subject":  func(v *branch) { req.Subject = r.entity(v, "subject") },
		"resource": func(v *branch) { req.Resource = r.entity(v, "resource") },
		"context":  func(v *branch) { req.Context = r.object(v, "context") },
		"action": func(v *branch) {
			if v.kind == stringBranch {
				req.Action.Name = v.text
				return
			}
			r.members(v, "action", map[string]func(*branch){
				"name":       func(v *branch) { req.Action.Name = r.text(v, "action.name") },
				"properties": func(v *branch) { req.Action.Properties = r.object(v, "action.properties") },
			})
		},
		"on_behalf": func(v *branch) {
			if v.kind != listBranch {
				req.OnBehalf = []authz.Ref{r.ref(v, "on_behalf")}
				return
			}
			for _, p := range v.items {
				req.OnBehalf = append(req.OnBehalf, r.ref(p, "on_behalf"))
			}
		},
	})
	return req
}

// agent reads one registered agent, and how it has behaved.
func (r *reader) agent(id string, b *branch) (*authz.Agent, authz.Conduct) {
	var conduct authz.Conduct
	a := &authz.Agent{ID: authz.AgentID(id), State: authz.AgentActive, Capabilities: []string{}, Revision: 1}
	if b.kind == nullBranch {
		return a, conduct
	}
	r.members(b, "agent "+id, map[string]func(*branch){
		"owner":        func(v *branch) { a.Owner = r.text(v, "owner") },
		"purpose":      func(v *branch) { a.Purpose = r.text(v, "purpose") },
		"version":      func(v *branch) { a.Version = r.text(v, "version") },
		"creator":      func(v *branch) { a.Creator = r.text(v, "creator") },
		"capabilities": func(v *branch) { a.Capabilities = r.set(v, "capabilities") },
		"state": func(v *branch) {
			a.State = authz.AgentState(r.oneOf(v, "state", "active", "suspended", "quarantined", "retired"))
		},
		"conduct": func(v *branch) { conduct = r.conduct(v) },
		"labels": func(v *branch) {
			a.Labels = make(map[string]string)
			if v.kind != mapBranch {
				r.fail(v.errorf("labels is %s, want a map", v.kind))
			}
			for _, f := range v.fields {
				a.Labels[f.key] = r.text(f.value, "labels."+f.key)
			}
		},
	})
	return a, conduct
}

// err returns all faults, or nil.
func (r *reader) err() error { return errors.Join(r.faults...) }
