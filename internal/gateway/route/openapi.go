package route

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/goccy/go-yaml"

	"github.com/safeconduct/safeconduct/authz"
)

// An OpenAPI names a document (OpenAPI 3.0 or 3.1, YAML or JSON) whose operations are routes. What the document does not
// say in x-safeconduct, the defaults do: the action is the operationId; the resource is the path, of type Endpoint; the
// arguments are the parameters of path, query and header, and the members of the body that are scalars or lists of them.
type OpenAPI struct {
	File     string `yaml:"file"`
	Host     string `yaml:"host"`
	Upstream string `yaml:"upstream"`
	// Prefix stands before every path: the path of the document's first server by default.
	Prefix *string `yaml:"prefix"`
	// Operations are hints by operationId, which count more than those in the document.
	Operations map[string]Hints `yaml:"operations"`
}

// Hints say of an operation what its document cannot: x-safeconduct.
type Hints struct {
	Skip          bool               `yaml:"skip"` // no route: the operation is refused
	Action        string             `yaml:"action"`
	Resource      Resource           `yaml:"resource"`
	Arguments     map[string]*Source `yaml:"arguments"` // beside the defaults, or in place of one; null leaves one out
	Context       map[string]Source  `yaml:"context"`
	Closed        bool               `yaml:"closed"`
	Task          string             `yaml:"task"`
	OnUnavailable string             `yaml:"on_unavailable"` // not in the document
	MaxBody       Size               `yaml:"max_body"`
	Timeout       time.Duration      `yaml:"timeout"`
	Approval      Approval           `yaml:"approval"`
	Masking       string             `yaml:"masking"`
	MaxResult     Size               `yaml:"max_result"`
	WebSocket     bool               `yaml:"websocket"`
	Recheck       time.Duration      `yaml:"recheck"`
	DryRun        *DryRun            `yaml:"dry_run"`
}

// hintsName is the extension that holds hints.
const hintsName = "x-safeconduct"

type object = map[string]any

// document adds the routes of an OpenAPI document.
func (c *compiler) document(d *OpenAPI, open func(string) ([]byte, error)) {
	if open == nil || d.File == "" {
		c.fail("file", "it names no file that could be read here")
		return
	}
	text, err := open(d.File)
	if err != nil {
		c.fail("file", "%v", err)
		return
	}
	root, err := readTree(text)
	if err != nil {
		c.fail("file", "%s: %v", d.File, err)
		return
	}
	a := &api{c: c, in: d, root: root, used: map[string]bool{}}
	a.read()
	for _, id := range sortedNames(d.Operations) {
		if !a.used[id] {
			c.fail("operations."+id, "%s has no operation of that id", d.File)
		}
	}
}

// readTree reads YAML or JSON, strictly.
func readTree(text []byte) (object, error) {
	var v any
	if t := bytes.TrimLeft(text, " \t\r\n"); len(t) > 0 && t[0] == '{' {
		if len(text) > maxDocument {
			return nil, fmt.Errorf("it has more than %d bytes", maxDocument)
		}
		if err := jsonv2.Unmarshal(text, &v); err != nil {
			return nil, errors.New("it is no JSON, or has a name twice: " + firstLine(err.Error()))
		}
	} else {
		if err := tame(text); err != nil {
			return nil, err
		}
		if err := decodeYAML(text, &v); err != nil {
			return nil, err
		}
	}
	root, ok := v.(object)
	if !ok {
		return nil, errors.New("it is no mapping")
	}
	return root, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), 200)]
}

// An api is a document that is being read.
type api struct {
	c      *compiler
	in     *OpenAPI
	root   object
	prefix string
	common Hints
	used   map[string]bool
}

func (a *api) fail(where, format string, args ...any) {
	a.c.fail("file", "%s: %s: %s", a.in.File, where, fmt.Sprintf(format, args...))
}

// methods that a path item can have, in the order of the specification.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

func (a *api) read() {
	version, _ := a.root["openapi"].(string)
	if !strings.HasPrefix(version, "3.0") && !strings.HasPrefix(version, "3.1") {
		a.fail("openapi", "the version is %.20q, and can be 3.0 or 3.1", version)
		return
	}
	a.prefix = a.serverPath()
	if a.in.Prefix != nil {
		a.prefix = strings.TrimSuffix(*a.in.Prefix, "/")
	}
	if h, err := readHints(a.root[hintsName]); err != nil {
		a.fail(hintsName, "%v", err)
	} else {
		a.common = *h
	}
	paths, ok := a.root["paths"].(object)
	if !ok || len(paths) == 0 {
		a.fail("paths", "there are none")
		return
	}
	if len(paths) > maxRoutes {
		a.fail("paths", "there are more than %d", maxRoutes)
		return
	}
	for _, path := range sortedNames(paths) {
		if strings.HasPrefix(path, "x-") {
			continue
		}
		item, err := a.resolve(paths[path])
		if err != nil {
			a.fail("paths."+path, "%v", err)
			continue
		}
		for _, m := range methods {
			if op, ok := item[m].(object); ok {
				a.operation(path, m, item, op)
			} else if item[m] != nil {
				a.fail("paths."+path+"."+m, "it is no mapping")
			}
		}
	}
}

// serverPath returns the path of the first server.
func (a *api) serverPath() string {
	servers, _ := a.root["servers"].([]any)
	if len(servers) == 0 {
		return ""
	}
	first, _ := servers[0].(object)
	s, _ := first["url"].(string)
	u, err := url.Parse(s)
	if err != nil || strings.ContainsAny(s, "{}") {
		if a.in.Prefix == nil {
			a.fail("servers[0].url", "it has variables, or is no URL; say prefix in its place")
		}
		return ""
	}
	return strings.TrimSuffix(u.EscapedPath(), "/")
}

// resolve returns a mapping, that which it refers to if it is a reference into the same document.
func (a *api) resolve(v any) (object, error) {
	for range 16 {
		m, ok := v.(object)
		if !ok {
			return nil, errors.New("it is no mapping")
		}
		ref, ok := m["$ref"].(string)
		if !ok {
			return m, nil
		}
		pointer, ok := strings.CutPrefix(ref, "#")
		if !ok {
			return nil, fmt.Errorf("it refers to another document (%.64q), which is not read", ref)
		}
		pointer, err := url.PathUnescape(pointer)
		if err != nil {
			return nil, fmt.Errorf("the reference %.64q is malformed", ref)
		}
		tokens, err := parsePointer(pointer)
		if err != nil {
			return nil, fmt.Errorf("the reference %.64q is malformed", ref)
		}
		v = a.root
		for _, t := range tokens {
			m, ok := v.(object)
			if !ok || m[t] == nil {
				return nil, fmt.Errorf("the reference %.64q leads nowhere", ref)
			}
			v = m[t]
		}
	}
	return nil, errors.New("its references go on and on")
}

// readHints reads x-safeconduct, nothing of nil.
func readHints(v any) (*Hints, error) {
	h := new(Hints)
	if v == nil {
		return h, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, errors.New("it is malformed")
	}
	if err := yaml.UnmarshalWithOptions(text, h, yaml.Strict()); err != nil {
		var y yaml.Error
		if errors.As(err, &y) {
			return nil, errors.New(y.GetMessage())
		}
		return nil, errors.New(firstLine(err.Error()))
	}
	if h.OnUnavailable != "" {
		return nil, errors.New("on_unavailable is for the operator to say, in operations")
	}
	return h, nil
}

// operation adds the route of one operation.
func (a *api) operation(path, method string, item, op object) {
	where := "paths." + path + "." + method
	id, _ := op["operationId"].(string)
	own, err := readHints(op[hintsName])
	if err != nil {
		a.fail(where+"."+hintsName, "%v", err)
		return
	}
	operator := a.in.Operations[id]
	if id != "" {
		a.used[id] = true
	}
	h := over(over(a.common, *own), operator)
	if h.Skip {
		return
	}
	verb := strings.ToUpper(method)
	r := Rule{
		Name: cmp.Or(id, verb+" "+a.prefix+path), Match: verb + " " + a.prefix + path, Host: a.in.Host, Upstream: a.in.Upstream,
		Action: cmp.Or(h.Action, id), Closed: h.Closed, Task: h.Task, OnUnavailable: h.OnUnavailable, MaxBody: h.MaxBody, Timeout: h.Timeout,
		Approval: h.Approval, Masking: h.Masking, MaxResult: h.MaxResult, WebSocket: h.WebSocket, Recheck: h.Recheck, DryRun: h.DryRun,
		Resource: h.Resource, Context: h.Context,
	}
	if r.Action == "" {
		a.fail(where, "it has no operationId, and no action in %s", hintsName)
		return
	}
	r.Resource.Type = cmp.Or(r.Resource.Type, "Endpoint")
	if r.Resource.ID.zero() {
		r.Resource.ID = Source{From: "path"}
	}
	if r.Arguments, err = a.arguments(item, op, method); err != nil {
		a.fail(where, "%v", err)
		return
	}
	for name, s := range h.Arguments {
		if s == nil {
			delete(r.Arguments, name)
		} else {
			r.Arguments[name] = *s
		}
	}
	before := len(a.c.problems)
	a.c.rule(&r)
	for _, p := range a.c.problems[before:] { // they are about the operation
		p.Path, p.Message = a.c.origin+".file", fmt.Sprintf("%s: %s: %s: %s", a.in.File, where, strings.TrimPrefix(p.Path, a.c.origin+"."), p.Message)
	}
}

// over returns h with what o says in its place.
func over(h, o Hints) Hints {
	h.Skip, h.Closed, h.WebSocket = h.Skip || o.Skip, h.Closed || o.Closed, h.WebSocket || o.WebSocket
	h.Action, h.Task, h.OnUnavailable, h.Masking = cmp.Or(o.Action, h.Action), cmp.Or(o.Task, h.Task), cmp.Or(o.OnUnavailable, h.OnUnavailable), cmp.Or(o.Masking, h.Masking)
	h.MaxBody, h.MaxResult = cmp.Or(o.MaxBody, h.MaxBody), cmp.Or(o.MaxResult, h.MaxResult)
	h.Timeout, h.Recheck = cmp.Or(o.Timeout, h.Timeout), cmp.Or(o.Recheck, h.Recheck)
	h.Approval, h.DryRun = cmp.Or(o.Approval, h.Approval), cmp.Or(o.DryRun, h.DryRun)
	h.Resource.Type = cmp.Or(o.Resource.Type, h.Resource.Type)
	if !o.Resource.ID.zero() {
		h.Resource.ID = o.Resource.ID
	}
	if o.Resource.Properties != nil {
		h.Resource.Properties = o.Resource.Properties
	}
	if o.Context != nil {
		h.Context = o.Context
	}
	if o.Arguments != nil {
		all := maps.Clone(h.Arguments)
		if all == nil {
			all = map[string]*Source{}
		}
		maps.Copy(all, o.Arguments)
		h.Arguments = all
	}
	return h
}

// arguments returns the default arguments of an operation.
func (a *api) arguments(item, op object, method string) (map[string]Source, error) {
	out := map[string]Source{}
	type key struct{ name, in string }
	params := map[key]object{}
	for _, list := range []any{item["parameters"], op["parameters"]} {
		all, _ := list.([]any)
		for _, p := range all {
			m, err := a.resolve(p)
			if err != nil {
				return nil, fmt.Errorf("parameters: %w", err)
			}
			name, _ := m["name"].(string)
			in, _ := m["in"].(string)
			params[key{name, in}] = m
		}
	}
	keys := slices.SortedFunc(maps.Keys(params), func(x, y key) int { return cmp.Or(cmp.Compare(x.in, y.in), cmp.Compare(x.name, y.name)) })
	for _, k := range keys {
		p := params[k]
		schema, _ := a.resolve(p["schema"]) // without one it is a string
		if hidden(schema) {
			continue
		}
		s := Source{Type: scalarType(schema)}
		required, _ := p["required"].(bool)
		s.Optional = !required
		switch k.in {
		case "path":
			s.From, s.Optional = "{"+k.name+"}", false
		case "query":
			s.From = "query:" + k.name
			switch a.schemaType(schema) {
			case "array":
				s.Type = "strings"
			case "object":
				continue
			}
		case "header":
			if h := canonical(k.name); whyUnmapped(h) != "" || h == "Accept" || h == "Content-Type" {
				continue
			}
			s.From = "header:" + k.name
		default: // cookies are not passed on
			continue
		}
		name := k.name
		if _, taken := out[name]; taken {
			name = k.in + "_" + name
		}
		out[name] = s
	}
	if method == "get" || method == "head" {
		return out, nil
	}
	return out, a.bodyArguments(op, out)
}

// bodyArguments adds the members of the body that are scalars, or lists of them.
func (a *api) bodyArguments(op object, out map[string]Source) error {
	if op["requestBody"] == nil {
		return nil
	}
	b, err := a.resolve(op["requestBody"])
	if err != nil {
		return fmt.Errorf("requestBody: %w", err)
	}
	content, _ := b["content"].(object)
	scheme, media := "", object(nil)
	for _, typ := range sortedNames(content) {
		bare, _, _ := strings.Cut(strings.ToLower(typ), ";")
		m, _ := content[typ].(object)
		switch {
		case isJSON(strings.TrimSpace(bare)):
			scheme, media = "body:/", m
		case bare == "application/x-www-form-urlencoded" && scheme == "":
			scheme, media = "form:", m
		}
	}
	if scheme == "" {
		return nil // it is not read
	}
	must, _ := b["required"].(bool)
	members, required := map[string]object{}, map[string]bool{}
	if err := a.members(media["schema"], members, required, 0); err != nil {
		return fmt.Errorf("requestBody: %w", err)
	}
	for _, name := range sortedNames(members) {
		schema := members[name]
		if hidden(schema) || name == "" || len(name) > 128 || checkText(name) != nil {
			continue
		}
		list := false
		switch a.schemaType(schema) {
		case "object":
			continue
		case "array":
			items, err := a.resolve(schema["items"])
			if err != nil || a.schemaType(items) == "object" || a.schemaType(items) == "array" || hidden(items) {
				continue
			}
			list = true
		}
		s := Source{From: scheme + escapeToken(name, scheme), Optional: !must || !required[name]}
		if scheme == "form:" {
			if s.Type = scalarType(schema); list {
				s.Type = "strings"
			}
		}
		as := name
		if _, taken := out[as]; taken {
			as = "body_" + name
		}
		out[as] = s
	}
	return nil
}

func escapeToken(name, scheme string) string {
	if scheme == "form:" {
		return name
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// members collects the members of an object's schema, also those that allOf adds.
func (a *api) members(schema any, out map[string]object, required map[string]bool, depth int) error {
	if schema == nil || depth > 16 {
		return nil
	}
	s, err := a.resolve(schema)
	if err != nil {
		return err
	}
	all, _ := s["allOf"].([]any)
	for _, part := range all {
		if err := a.members(part, out, required, depth+1); err != nil {
			return err
		}
	}
	properties, _ := s["properties"].(object)
	for name, p := range properties {
		m, err := a.resolve(p)
		if err != nil {
			return err
		}
		if readOnly, _ := m["readOnly"].(bool); !readOnly {
			out[name] = m
		}
		if len(out) > maxMapped/2 {
			return authz.Errorf(authz.ErrInvalid, "the body has more than %d members", maxMapped/2)
		}
	}
	names, _ := s["required"].([]any)
	for _, n := range names {
		if name, ok := n.(string); ok {
			required[name] = true
		}
	}
	return nil
}

// hidden reports whether a schema is that of a secret, which has no place in a question: questions are recorded.
func hidden(schema object) bool {
	format, _ := schema["format"].(string)
	writeOnly, _ := schema["writeOnly"].(bool)
	return format == "password" || writeOnly
}

// schemaType returns the type of a schema, "" if it has none or several. null beside another (OpenAPI 3.1) does not count.
func (a *api) schemaType(schema object) string {
	switch t := schema["type"].(type) {
	case string:
		return t
	case []any:
		var types []string
		for _, v := range t {
			if s, ok := v.(string); ok && s != "null" {
				types = append(types, s)
			}
		}
		if len(types) == 1 {
			return types[0]
		}
	}
	switch {
	case schema["properties"] != nil || schema["allOf"] != nil || schema["oneOf"] != nil || schema["anyOf"] != nil:
		return "object" // it may be one
	case schema["items"] != nil:
		return "array"
	}
	return ""
}

// scalarType returns the type of a text that a schema describes.
func scalarType(schema object) string {
	switch schema["type"] {
	case "integer":
		return "integer"
	case "boolean":
		return "boolean"
	}
	return "" // numbers too: the policies' schema says how exact they are
}
