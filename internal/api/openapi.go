package api

import (
	"encoding"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/people"
)

// An operationDoc is what the OpenAPI document says of a route beside its path and summary.
type operationDoc struct {
	params  []parameter
	in, out reflect.Type
	hasBody bool
	open    bool   // unknown members of the body are ignored, as AuthZEN wants it
	media   string // of the answer; "" means application/json

	statuses []string // of an answer that is none of an error, if it is not 200
}

// object is one JSON object of the document.
type object map[string]any

// cookie is the name of the cookie of a session over https (internal/signin).
const cookie = "__Host-safeconduct"

// Document returns the OpenAPI 3.1 document of a service at a public URL, without the service.
func Document(publicURL string) ([]byte, error) {
	s := &Server{Config: Config{PublicURL: publicURL}, limits: Limits{}.withDefaults()}
	return document(s.routes(), publicURL)
}

// document returns the OpenAPI 3.1 document of the routes. It is made from the list of routes and
// the Go types, so it cannot fall behind them.
func document(routes []route, publicURL string) ([]byte, error) {
	g := generator{schemas: object{}}
	errorRef := g.schema(reflect.TypeFor[ErrorBody](), false)
	paths := object{}
	for _, rt := range routes {
		path := strings.ReplaceAll(rt.path, "...}", "}")
		op := object{
			"summary":     rt.summary,
			"operationId": operationID(rt.method, path),
			"responses": object{
				"200":     g.response(&rt),
				"default": object{"description": "What went wrong.", "content": object{"application/json": object{"schema": errorRef}}},
			},
		}
		if responses := op["responses"].(object); rt.problems {
			for _, status := range rt.doc.statuses {
				responses[status] = responses["200"]
			}
			if rt.doc.statuses != nil {
				delete(responses, "200")
			}
			responses["default"] = object{"description": "What went wrong.", "content": object{"application/problem+json": object{"schema": g.schema(reflect.TypeFor[ProblemBody](), false)}}}
		}
		if rt.decides {
			refusal := object{"application/json": object{"schema": g.schema(reflect.TypeFor[RefusalBody](), false)}}
			responses := op["responses"].(object)
			responses["400"] = object{"description": "The request could not be understood, or does not fit the schema: refused, and not recorded.", "content": refusal}
			responses["default"] = object{"description": "What went wrong: refused.", "content": refusal}
		}
		var params []any
		if rt.roles == nil {
			op["security"] = []any{}
		} else {
			names := make([]string, len(rt.roles))
			for i, r := range rt.roles {
				names[i] = string(r)
			}
			op["x-roles"] = names
			if rt.forPersons() {
				op["security"] = []any{object{"bearer": []any{}}, object{"session": []any{}}}
				if rt.method != http.MethodGet {
					params = append(params, object{"name": sessionHeader, "in": "header", "required": false, "schema": object{"type": "string", "enum": []any{"1"}},
						"description": "needed of a person who is signed in: pages of other sites cannot send it"})
				}
			}
			if rt.agents {
				op["security"] = []any{object{"bearer": []any{}}, object{"dpop": []any{}}}
			}
		}
		for _, p := range rt.doc.params {
			where := "query"
			if p.inPath {
				where = "path"
			}
			param := object{"name": p.name, "in": where, "required": p.inPath, "schema": g.schema(p.typ, false)}
			if p.doc != "" {
				param["description"] = p.doc
			}
			params = append(params, param)
		}
		if params != nil {
			op["parameters"] = params
		}
		if rt.doc.hasBody {
			op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": g.schema(rt.doc.in, !rt.doc.open)}}}
		}
		item, ok := paths[path].(object)
		if !ok {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(rt.method)] = op
	}
	return json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "Safeconduct",
			"version":     "1",
			"description": "The AuthZEN Authorization API 1.0, and the administration of the service.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []any{object{"url": strings.TrimRight(publicURL, "/")}},
		"security": []any{object{"bearer": []any{}}},
		"paths":    paths,
		"components": object{
			"schemas": g.schemas,
			"securitySchemes": object{
				"bearer":  object{"type": "http", "scheme": "bearer"},
				"session": object{"type": "apiKey", "in": "cookie", "name": cookie, "description": "A person who is signed in, in a browser. Without https the name has no prefix."},
				"dpop":    object{"type": "http", "scheme": "dpop", "description": "An agent's own passport, with a proof of possession (RFC 9449)."},
			},
		},
	}, json.Deterministic(true))
}

// operationID returns a name such as putAgentsId.
func operationID(method, path string) string {
	id := strings.ToLower(method)
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(path, "/v1"), func(c rune) bool { return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') }) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

// A generator makes JSON Schemas of Go types; named structs become components.
type generator struct{ schemas object }

func (g *generator) response(rt *route) object {
	media := rt.doc.media
	if media == "" {
		media = "application/json"
	}
	content := object{}
	if rt.doc.out != nil {
		content["schema"] = g.schema(rt.doc.out, false)
	}
	return object{"description": "Done.", "content": object{media: content}}
}

// enum returns the schema of a text that is one of values.
func enum[S ~string](values []S) object {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return object{"type": "string", "enum": all}
}

// schema returns the schema of t, or a reference to it. Closed ones refuse unknown members.
func (g *generator) schema(t reflect.Type, closed bool) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix]():
		return object{"type": "string"}
	case reflect.TypeFor[authz.Claimed]():
		return object{"type": "object"}
	case reflect.TypeFor[caller.Role]():
		return enum(caller.Roles())
	case reflect.TypeFor[people.Role]():
		return enum(people.Roles())
	case reflect.TypeFor[authz.AgentState]():
		return object{"type": "string", "enum": []any{authz.AgentActive, authz.AgentSuspended, authz.AgentQuarantined, authz.AgentRetired}}
	case reflect.TypeFor[jsontext.Value]():
		return object{}
	}
	switch {
	case t.Name() == "RawMessage":
		return object{}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.schema(t.Elem(), closed)
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": g.schema(t.Elem(), closed)}
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": g.schema(t.Elem(), closed)}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		name := schemaName(t, closed)
		if _, ok := g.schemas[name]; !ok {
			g.schemas[name] = object{} // its place, should it refer to itself
			g.schemas[name] = g.members(t, closed)
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	panic("api: no schema for " + t.String())
}

// schemaName returns a component's name: the type's, with its package's if that is not this one.
func schemaName(t reflect.Type, closed bool) string {
	name := t.Name()
	if i := strings.IndexByte(name, '['); i >= 0 { // Page[pkg.Agent] is AgentPage
		arg := name[i+1 : len(name)-1]
		name = arg[strings.LastIndexByte(arg, '.')+1:] + name[:i]
	}
	name = strings.ToUpper(name[:1]) + name[1:]
	if pkg := t.PkgPath(); !strings.HasSuffix(pkg, "internal/api") && !strings.HasSuffix(pkg, "/authz") {
		pkg = pkg[strings.LastIndexByte(pkg, '/')+1:]
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	if closed {
		name += "Input"
	}
	return name
}

// members returns the object schema of a struct.
func (g *generator) members(t reflect.Type, closed bool) object {
	props := object{}
	var required []string
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("json")
		if f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct || !f.IsExported() || tag == "-" || !tagged && (f.Tag.Get("path") != "" || f.Tag.Get("query") != "") {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		s := g.schema(f.Type, closed)
		if doc := f.Tag.Get("doc"); doc != "" {
			s["description"] = doc
		}
		props[name] = s
		if options := strings.Split(opts, ","); !slices.Contains(options, "omitempty") && !slices.Contains(options, "omitzero") {
			required = append(required, name)
		}
	}
	s := object{"type": "object", "properties": props}
	if required != nil {
		s["required"] = required
	}
	if closed {
		s["additionalProperties"] = false
	}
	return s
}

func (s *Server) serveOpenAPI(w http.ResponseWriter, r *http.Request, c *call) error {
	w.Header()["Cache-Control"] = []string{"public, max-age=3600"}
	writeBody(w, http.StatusOK, s.openapi)
	return nil
}
