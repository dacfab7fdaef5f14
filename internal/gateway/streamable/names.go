package streamable

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// What keeps the names of servers apart: a tool is server__name, a resource server+uri.
const (
	nameSep = "__"
	uriSep  = "+"
)

// A glance is what the door itself reads of a request's params.
type glance struct {
	name, uri string
	meta      json.RawMessage // _meta
	version   string          // of the protocol, by _meta
	caps      json.RawMessage // of the client, by _meta
	info      json.RawMessage
}

const (
	metaVersion = "io.modelcontextprotocol/protocolVersion"
	metaCaps    = "io.modelcontextprotocol/clientCapabilities"
	metaInfo    = "io.modelcontextprotocol/clientInfo"
	metaServer  = "io.modelcontextprotocol/serverInfo"
	metaListen  = "io.modelcontextprotocol/subscriptionId"
)

// look reads params, which were read strictly before.
func look(params json.RawMessage) (g glance) {
	want := func(name string) bool { return name == "name" || name == "uri" || name == "_meta" }
	walk(params, want, func(name string, value json.RawMessage) {
		switch name {
		case "name":
			g.name = unquote(value)
		case "uri":
			g.uri = unquote(value)
		case "_meta":
			g.meta = value
		}
	})
	each(g.meta, func(name string, value json.RawMessage) {
		switch name {
		case metaVersion:
			g.version = unquote(value)
		case metaCaps:
			g.caps = value
		case metaInfo:
			g.info = value
		}
	})
	return g
}

// textIn returns the text that is a member of params, "" if there is none.
func textIn(params json.RawMessage, member string) (s string) {
	walk(params, func(name string) bool { return name == member }, func(_ string, value json.RawMessage) { s = unquote(value) })
	return s
}

// each calls f with the members of an object. Of what is none it calls nothing.
func each(object json.RawMessage, f func(name string, value json.RawMessage)) { walk(object, nil, f) }

var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// walk is each of the members that are wanted; nil: of all.
func walk(object json.RawMessage, want func(string) bool, f func(name string, value json.RawMessage)) {
	if len(object) == 0 || object[0] != '{' {
		return
	}
	d, _ := decoders.Get().(*jsontext.Decoder)
	d.Reset(bytes.NewBuffer(object))
	defer func() {
		d.Reset(strings.NewReader("")) // so that it keeps nothing of the object
		decoders.Put(d)
	}()
	if _, err := d.ReadToken(); err != nil {
		return
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return
		}
		name := t.String()
		if want != nil && !want(name) {
			if d.SkipValue() != nil {
				return
			}
			continue
		}
		v, err := d.ReadValue()
		if err != nil {
			return
		}
		f(name, json.RawMessage(bytes.Clone(v)))
	}
}

func unquote(b json.RawMessage) string {
	if len(b) == 0 || b[0] != '"' {
		return ""
	}
	s, err := jsontext.AppendUnquote(nil, b)
	if err != nil {
		return ""
	}
	return string(s)
}

func quote(s string) json.RawMessage {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return json.RawMessage(`""`)
	}
	return b
}

// edit returns object with the value at path made anew by f; as it is if there is no such member.
func edit(object json.RawMessage, f func(json.RawMessage) json.RawMessage, path ...string) json.RawMessage {
	if len(object) == 0 || object[0] != '{' {
		return object
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(object))
	if _, err := d.ReadToken(); err != nil {
		return object
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return object
		}
		found := t.String() == path[0]
		v, err := d.ReadValue()
		if err != nil {
			return object
		}
		if !found {
			continue
		}
		end := int(d.InputOffset())
		start := end - len(v)
		old := json.RawMessage(bytes.Clone(v))
		value := old
		if len(path) > 1 {
			value = edit(old, f, path[1:]...)
		} else {
			value = f(old)
		}
		out := make([]byte, 0, len(object)-len(v)+len(value))
		return append(append(append(out, object[:start]...), value...), object[end:]...)
	}
	return object
}

// set returns object with a member, in the place of one of that name; nil is an empty object.
func set(object json.RawMessage, name string, value json.RawMessage) json.RawMessage {
	out := append([]byte{'{'}, quote(name)...)
	out = append(append(out, ':'), value...)
	each(object, func(n string, v json.RawMessage) {
		if n != name {
			out = append(append(append(append(out, ','), quote(n)...), ':'), v...)
		}
	})
	return append(out, '}')
}

// server returns which server has what clients know by that name, and what it calls it itself.
func (d *Door) server(kind, name string) (*upstream, string) {
	if len(d.ups) == 1 {
		return d.ups[0], name
	}
	sep := nameSep
	if kind == "resource" {
		sep = uriSep
	}
	of, rest, ok := strings.Cut(name, sep)
	if !ok {
		return nil, ""
	}
	for _, u := range d.ups {
		if u.Name == of {
			return u, rest
		}
	}
	return nil, ""
}

// Server returns the name of the server that has a tool, prompt or resource of that name, as clients see the name;
// "" if none has.
func (d *Door) Server(kind, name string) string {
	u, _ := d.server(kind, name)
	if u == nil {
		return ""
	}
	return u.Name
}

// name returns the name by which clients know what u calls so.
func (d *Door) name(u *upstream, name string) string {
	if len(d.ups) == 1 {
		return name
	}
	return u.Name + nameSep + name
}

// uriPrefix is put before the URIs of u, for clients.
func (d *Door) uriPrefix(u *upstream) string {
	if len(d.ups) == 1 {
		return ""
	}
	return u.Name + uriSep
}

// completed returns what a completion is about, and where its name stands: what ref.type says, by which it was decided
// about. It says one of both alone.
func completed(params json.RawMessage) (kind string, path []string, err error) {
	var of string
	var name, uri bool
	each(params, func(member string, ref json.RawMessage) {
		if member != "ref" {
			return
		}
		each(ref, func(member string, v json.RawMessage) {
			switch member {
			case "type":
				of = unquote(v)
			case "name":
				name = true
			case "uri":
				uri = true
			}
		})
	})
	switch {
	case of == "ref/prompt" && name && !uri:
		return "prompt", []string{"ref", "name"}, nil
	case of == "ref/resource" && uri && !name:
		return "resource", []string{"ref", "uri"}, nil
	}
	return "", nil, authz.Errorf(authz.ErrInvalid, "ref is a ref/prompt with a name, or a ref/resource with a uri, and not both")
}

// route returns which server a request goes to, and its params with the name that the server knows.
func (d *Door) route(method string, params json.RawMessage) (*upstream, json.RawMessage, error) {
	var kind string
	var path []string
	if method == "completion/complete" {
		var err error
		if kind, path, err = completed(params); err != nil {
			return nil, nil, err
		}
	}
	if len(d.ups) == 1 {
		return d.ups[0], params, nil
	}
	switch method {
	case "tools/call":
		kind, path = "tool", []string{"name"}
	case "prompts/get":
		kind, path = "prompt", []string{"name"}
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		kind, path = "resource", []string{"uri"}
	case "completion/complete":
	default:
		return nil, nil, authz.Errorf(authz.ErrNotFound, "method %q cannot be told apart between servers", method)
	}
	var u *upstream
	var known bool
	out := edit(params, func(old json.RawMessage) json.RawMessage {
		var rest string
		known = true
		if u, rest = d.server(kind, unquote(old)); u == nil {
			return old
		}
		return quote(rest)
	}, path...)
	switch {
	case !known:
		return nil, nil, authz.Errorf(authz.ErrInvalid, "params have no %s", strings.Join(path, "."))
	case u == nil:
		return nil, nil, authz.Errorf(authz.ErrInvalid, "no server has a %s of that name", kind)
	}
	return u, out, nil
}
