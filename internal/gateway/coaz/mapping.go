package coaz

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// A Mapping is a compiled mapping. It is safe for concurrent use.
type Mapping struct {
	many    bool
	shared  parts    // of the evaluation, or the defaults of the evaluations
	entries []parts  // of evaluations
	reads   []string // see Reads
	all     bool     // it may read any of them
}

// Reads returns the names of the message's params that the mapping reads. All: it may read any of them, or compute with them.
func (m *Mapping) Reads() (names []string, all bool) { return m.reads, m.all }

// look finds out what the mapping reads.
func (m *Mapping) look() {
	note := func(t any) {
		e, ok := t.(*expression)
		switch {
		case !ok:
		case e.path == nil:
			m.all = true
		case e.path[0] == "params" && !slices.Contains(m.reads, e.path[1]):
			m.reads = append(m.reads, e.path[1])
		}
	}
	for _, p := range append([]parts{m.shared}, m.entries...) {
		for _, o := range []*object{p.subject, p.action, p.resource, p.context} {
			if o != nil {
				leaves(o, note)
			}
		}
	}
}

// leaves calls f with what stands at the leaves of a template.
func leaves(t any, f func(any)) {
	switch t := t.(type) {
	case *object:
		for _, m := range t.members {
			leaves(m, f)
		}
	case *list:
		for _, e := range t.elements {
			leaves(e, f)
		}
	default:
		f(t)
	}
}

// parts are the members of one evaluation; nil where the mapping has none.
type parts struct {
	subject, action, resource, context *object
}

// An object is a template of a JSON object, in the order of its names.
type object struct {
	where   string
	names   []string
	members []any // a literal, an *expression, *object or *list
}

type list struct {
	where    string
	elements []any
}

// Bounds of declared mappings.
const (
	maxMapping = 64 << 10 // bytes
	maxEntries = 32       // of evaluations

	maxExpressions = 100 // which together may cost
	maxMappingCost = 200_000
)

// Parse compiles a mapping that a server declares: the value of x-authzen-mapping in a tool's inputSchema. The error is
// an *Error.
func Parse(text []byte) (*Mapping, error) {
	if len(text) > maxMapping {
		return nil, &Error{Detail: fmt.Sprintf("the mapping has more than %d bytes", maxMapping)}
	}
	v, err := read(text)
	if err != nil {
		return nil, err
	}
	n := expressions(v)
	if n > maxExpressions {
		return nil, &Error{Detail: fmt.Sprintf("the mapping has more than %d expressions", maxExpressions)}
	}
	cost := uint64(min(maxCost, maxMappingCost/max(n, 1)))
	top, ok := v.(map[string]any)
	if !ok || len(top) != 1 {
		return nil, &Error{Detail: "a mapping is an object with one member, evaluation or evaluations"}
	}
	m := new(Mapping)
	for envelope, template := range top {
		body, ok := template.(map[string]any)
		switch {
		case envelope != "evaluation" && envelope != "evaluations":
			return nil, &Error{Detail: fmt.Sprintf("a mapping's envelope is evaluation or evaluations, not %.40q", envelope)}
		case !ok:
			return nil, &Error{Where: envelope, Detail: "it is no object"}
		}
		m.many = envelope == "evaluations"
		if m.shared, err = readParts(cost, envelope, body, m.many); err != nil {
			return nil, err
		}
		if m.many {
			if err := m.readEntries(cost, body); err != nil {
				return nil, err
			}
		}
	}
	m.look()
	return m, nil
}

// expressions counts the expressions of a mapping.
func expressions(v any) (n int) {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "$") && !strings.HasPrefix(v, "$$") {
			return 1
		}
	case map[string]any:
		for _, m := range v {
			n += expressions(m)
		}
	case []any:
		for _, e := range v {
			n += expressions(e)
		}
	}
	return n
}

// readEntries reads the members of evaluations that evaluation does not have.
func (m *Mapping) readEntries(cost uint64, body map[string]any) error {
	entries, ok := body["evaluations"].([]any)
	if !ok || len(entries) == 0 || len(entries) > maxEntries {
		return &Error{Where: "evaluations.evaluations", Detail: fmt.Sprintf("it has to be a list of 1 to %d evaluations", maxEntries)}
	}
	for i, e := range entries {
		where := fmt.Sprintf("evaluations.evaluations[%d]", i)
		entry, ok := e.(map[string]any)
		if !ok {
			return &Error{Where: where, Detail: "it is no object"}
		}
		if _, ok := entry["subject"]; ok { // "To close off identity smuggling"
			return &Error{Where: where, Detail: "an evaluation among several has no subject of its own"}
		}
		p, err := readParts(cost, where, entry, false)
		if err != nil {
			return err
		}
		m.entries = append(m.entries, p)
	}
	return nil
}

// readParts reads the four parts of a template, each of whose expressions may cost so much.
func readParts(cost uint64, where string, body map[string]any, many bool) (p parts, err error) {
	for name, v := range body {
		at := where + "." + name
		var allowed []string
		var part **object
		switch name {
		case "subject":
			part, allowed = &p.subject, []string{"type", "id", "properties"}
		case "action":
			part, allowed = &p.action, []string{"name", "properties"}
		case "resource":
			part, allowed = &p.resource, []string{"type", "id", "properties"}
		case "context":
			part = &p.context
		case "evaluations":
			if many {
				continue
			}
		case "options":
			if many {
				if err := checkOptions(v); err != nil {
					return p, err
				}
				continue
			}
		}
		if part == nil {
			return p, &Error{Where: at, Detail: "no request has such a member"}
		}
		members, ok := v.(map[string]any)
		if !ok {
			return p, &Error{Where: at, Detail: "it is no object"}
		}
		for member := range members {
			if allowed != nil && !slices.Contains(allowed, member) {
				return p, &Error{Where: at, Detail: fmt.Sprintf("it has no member %.40q: further attributes stand in properties", member)}
			}
		}
		t, err := template(cost, at, members, 0)
		if err != nil {
			return p, err
		}
		*part = t.(*object)
	}
	return p, nil
}

// checkOptions lets those semantics pass by which every evaluation is needed, as the binding has it anyway.
func checkOptions(v any) error {
	options, ok := v.(map[string]any)
	for name, value := range options {
		if name != "evaluations_semantic" || value != "execute_all" && value != "deny_on_first_deny" {
			ok = false
		}
	}
	if !ok {
		return &Error{Where: "evaluations.options", Detail: "every evaluation has to permit: its only member is evaluations_semantic, execute_all or deny_on_first_deny"}
	}
	return nil
}

// template compiles a value of a mapping.
func template(cost uint64, where string, v any, depth int) (any, error) {
	if depth > maxNesting {
		return nil, &Error{Where: where, Detail: "it is nested too deeply"}
	}
	switch v := v.(type) {
	case string:
		switch {
		case strings.HasPrefix(v, "$$"):
			return v[1:], nil
		case strings.HasPrefix(v, "$"):
			return compile(cost, where, v)
		}
		return v, nil
	case map[string]any:
		o := &object{where: where}
		for name := range v {
			o.names = append(o.names, name)
		}
		slices.Sort(o.names)
		for _, name := range o.names {
			m, err := template(cost, where+"."+name, v[name], depth+1)
			if err != nil {
				return nil, err
			}
			o.members = append(o.members, m)
		}
		return o, nil
	case []any:
		l := &list{where: where}
		for _, e := range v {
			m, err := template(cost, where, e, depth+1)
			if err != nil {
				return nil, err
			}
			l.elements = append(l.elements, m)
		}
		return l, nil
	}
	return v, nil
}

// resolve returns the value of a template, or absent.
func resolve(where string, t any, vars map[string]any) (any, error) {
	switch t := t.(type) {
	case *expression:
		return t.evaluate(where, vars)
	case *object:
		out := make(map[string]any, len(t.names))
		for i, name := range t.names {
			v, err := resolve(t.where+"."+name, t.members[i], vars)
			if err != nil {
				return nil, err
			}
			if v != (any)(absent{}) {
				out[name] = v
			}
		}
		return out, nil
	case *list:
		out := make([]any, 0, len(t.elements))
		for _, e := range t.elements {
			v, err := resolve(t.where, e, vars)
			if err != nil {
				return nil, err
			}
			if v != (any)(absent{}) {
				out = append(out, v)
			}
		}
		return out, nil
	}
	return t, nil
}

// member returns the template of a member, nil if there is none.
func (o *object) member(name string) any {
	if o == nil {
		return nil
	}
	if i := slices.Index(o.names, name); i >= 0 {
		return o.members[i]
	}
	return nil
}

// Resolve makes the requests that a decision point is asked about a message. The error is an *Error.
func (m *Mapping) Resolve(in Input) (*Resolved, error) {
	vars, err := m.variables(&in)
	if err != nil {
		return nil, err
	}
	out := &Resolved{Many: m.many}
	subject, err := m.subject(&in, vars, out)
	if err != nil {
		return nil, err
	}
	all := m.entries
	if !m.many {
		all = []parts{m.shared}
	}
	for i := range all {
		p := all[i]
		if p.action == nil {
			p.action = m.shared.action
		}
		if p.resource == nil {
			p.resource = m.shared.resource
		}
		if p.context == nil {
			p.context = m.shared.context
		}
		req, err := p.request(&in, vars)
		if err != nil {
			return nil, err
		}
		req.Subject = subject
		out.Requests = append(out.Requests, req)
	}
	return out, nil
}

// variables returns what expressions see. In the binding's own mappings token.aud is what identifies this
// server, and token.sub the subject-identity claim, where they are asked for.
func (m *Mapping) variables(in *Input) (map[string]any, error) {
	token, params := in.Token, in.Params
	if token == nil {
		token = map[string]any{}
	}
	if params == nil {
		params = map[string]any{}
	}
	return map[string]any{"params": params, "token": token}, nil
}

// subject returns who asks ("Declared Mappings", and "PEP Behavior", 5).
func (m *Mapping) subject(in *Input, vars map[string]any, out *Resolved) (authz.Entity, error) {
	const where = "subject.id"
	claim, err := in.subject()
	t := m.shared.subject.member("id")
	e, _ := t.(*expression)
	s := authz.Entity{Ref: authz.Ref{Type: "identity", ID: claim}}
	switch {
	case t == nil, e != nil && anchored(e.text, in.claim()):
		if err != nil {
			return s, err
		}
		out.Anchored = true
	default:
		v, err := resolve(where, t, vars)
		if err != nil {
			return s, err
		}
		id, err := text(where, v)
		if err != nil {
			return s, err
		}
		if s.ID, out.Anchored = id, id == claim; !out.Anchored {
			out.Warnings = append(out.Warnings, "the mapping says who the subject is, and it is not the one that the access token names")
		}
	}
	if t := m.shared.subject.member("type"); t != nil {
		v, err := resolve("subject.type", t, vars)
		if err != nil {
			return s, err
		}
		if v != (any)(absent{}) && v != nil {
			if s.Type, err = text("subject.type", v); err != nil {
				return s, err
			}
		}
	}
	s.Properties, err = claimed("subject.properties", m.shared.subject.member("properties"), vars)
	return s, err
}

// anchored reports whether an expression is the subject-identity claim. token.sub is read as that claim, whichever
// it is ("The Subject-Identity Claim").
func anchored(text, claim string) bool {
	text = strings.TrimSpace(strings.TrimPrefix(text, "$"))
	for _, name := range []string{"sub", claim} {
		if text == "token."+name || text == `token["`+name+`"]` || text == "token['"+name+"']" {
			return true
		}
	}
	return false
}

// request makes one request, but for its subject.
func (p *parts) request(in *Input, vars map[string]any) (req authz.Request, err error) {
	need := func(part *object, where, name string) (string, error) {
		t := part.member(name)
		if t == nil {
			return "", &Error{Where: where, Detail: "it is missing"}
		}
		if t == ownServer {
			return in.audience()
		}
		v, err := resolve(where, t, vars)
		if err != nil {
			return "", err
		}
		return text(where, v)
	}
	if req.Action.Name, err = need(p.action, "action.name", "name"); err != nil {
		return req, err
	}
	if req.Resource.Type, err = need(p.resource, "resource.type", "type"); err != nil {
		return req, err
	}
	if req.Resource.ID, err = need(p.resource, "resource.id", "id"); err != nil {
		return req, err
	}
	if req.Action.Properties, err = claimed("action.properties", p.action.member("properties"), vars); err != nil {
		return req, err
	}
	if req.Resource.Properties, err = claimed("resource.properties", p.resource.member("properties"), vars); err != nil {
		return req, err
	}
	context := map[string]any{}
	if p.context != nil {
		v, err := resolve("context", p.context, vars)
		if err != nil {
			return req, err
		}
		context = v.(map[string]any)
	}
	// "For autonomous-agent use cases the context MUST include the agent identity".
	if agent, ok := in.Token["client_id"].(string); ok && context["agent"] == nil {
		context["agent"] = agent
	}
	req.Context, err = encode("context", context)
	return req, err
}

// claimed returns the properties that a template has.
func claimed(where string, t any, vars map[string]any) (authz.Claimed, error) {
	if t == nil {
		return nil, nil
	}
	v, err := resolve(where, t, vars)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case absent, nil:
		return nil, nil
	case map[string]any:
		return encode(where, v)
	}
	return nil, &Error{Where: where, Detail: "it is no object"}
}

func encode(where string, v map[string]any) (authz.Claimed, error) {
	if len(v) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, &Error{Where: where, Detail: err.Error()}
	}
	if len(b) > maxValue {
		return nil, &Error{Where: where, Detail: fmt.Sprintf("it has more than %d bytes", maxValue)}
	}
	return b, nil
}

// text returns a member that has to be there and a string.
func text(where string, v any) (string, error) {
	const most = 1024 // bytes
	s, ok := v.(string)
	switch {
	case v == nil, v == (any)(absent{}):
		return "", &Error{Where: where, Detail: "it is required, and has no value"}
	case !ok:
		return "", &Error{Where: where, Detail: "it has to be a string"}
	case s == "" || len(s) > most:
		return "", &Error{Where: where, Detail: fmt.Sprintf("it has to have 1 to %d bytes", most)}
	}
	return s, nil
}
