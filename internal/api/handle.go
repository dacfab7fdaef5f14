package api

import (
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
)

// read makes a route of f that changes nothing. In's fields are filled by their tags: `path:"id"`
// from the path, `query:"limit"` from the query; parameters that In does not name are refused.
func read[In, Out any](path string, roles []caller.Role, summary string, f func(*http.Request, *caller.Identity, In) (Out, error)) route {
	return operation("GET", path, roles, summary, 0, f, nil)
}

// A reasoned input says why a change is made. Embed reason to be one.
type reasoned interface{ why() string }

// reason is why a change is made. It is recorded with the change and the caller.
type reason struct {
	Why string `json:"why" doc:"why the change is made, 1 to 1000 characters; it is recorded"`
}

func (r reason) why() string { return r.Why }

// change makes a route of f that changes something, and needs to say why.
func change[In reasoned, Out any](method, path string, roles []caller.Role, summary string, f func(*http.Request, *caller.Identity, In) (Out, error)) route {
	return operation(method, path, roles, summary, 1<<20, f, func(in In) error { return checkWhy(in) })
}

func checkWhy(in reasoned) error {
	if w := in.why(); w == "" || len(w) > 1000 {
		return invalid("why is missing: say why, in 1 to 1000 characters")
	}
	return nil
}

// operation makes a route of f: it decodes and checks the input, calls f, and writes the output.
func operation[In, Out any](method, path string, roles []caller.Role, summary string, limit int64,
	f func(*http.Request, *caller.Identity, In) (Out, error), check func(In) error) route {
	return serving(method, path, roles, summary, limit, func(r *http.Request, c *call, in In) (Out, error) { return f(r, c.who, in) }, check)
}

// serving is operation, for an f that wants to know all of the call.
func serving[In, Out any](method, path string, roles []caller.Role, summary string, limit int64,
	f func(*http.Request, *call, In) (Out, error), check func(In) error) route {
	params := parameters(reflect.TypeFor[In]())
	rt := route{method: method, path: path, roles: roles, summary: summary, limit: limit}
	rt.doc = operationDoc{params: params, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), hasBody: limit > 0}
	rt.serve = func(w http.ResponseWriter, r *http.Request, c *call) error {
		var in In
		if err := decode(r, c, params, &in); err != nil {
			return err
		}
		if check != nil {
			if err := check(in); err != nil {
				return err
			}
		}
		out, err := f(r, c, in)
		if err != nil {
			return err
		}
		body, err := json.Marshal(out)
		if err != nil {
			return err
		}
		writeBody(w, http.StatusOK, body)
		return nil
	}
	return rt
}

// maxAdminDepth bounds the nesting of what the administration API reads.
const maxAdminDepth = 32

// decode fills in from the body, strictly, and then from the path and the query.
func decode(r *http.Request, c *call, params []parameter, in any) error {
	if c.body != nil {
		if err := checkText(c.body, maxAdminDepth); err != nil {
			return err
		}
		if err := json.Unmarshal(c.body, in, json.RejectUnknownMembers(true)); err != nil {
			msg := err.Error()
			if len(msg) > 500 {
				msg = msg[:500]
			}
			return invalid("the body: %s", msg)
		}
	}
	query := r.URL.Query()
	for name, values := range query {
		known := false
		for _, p := range params {
			known = known || !p.inPath && p.name == name
		}
		if !known {
			return invalid("unknown query parameter %.64q", name)
		}
		if len(values) > 1 {
			return invalid("query parameter %s is given more than once", name)
		}
	}
	v := reflect.ValueOf(in).Elem()
	for _, p := range params {
		text := query.Get(p.name)
		if p.inPath {
			text = r.PathValue(p.name)
		}
		if text == "" {
			continue
		}
		if err := p.set(v.FieldByIndex(p.index), text); err != nil {
			return err
		}
	}
	return nil
}

// A parameter is a field of an input that the path or the query fills.
type parameter struct {
	name   string
	doc    string
	inPath bool
	index  []int
	typ    reflect.Type
}

// parameters returns the parameters of an input type. It panics on a field of a type that it cannot
// fill, which is a mistake of whoever wrote the type.
func parameters(t reflect.Type) []parameter {
	var out []parameter
	for _, f := range reflect.VisibleFields(t) {
		p := parameter{doc: f.Tag.Get("doc"), index: f.Index, typ: f.Type}
		if name, ok := f.Tag.Lookup("path"); ok {
			p.name, p.inPath = name, true
		} else if name, ok := f.Tag.Lookup("query"); ok {
			p.name = name
		} else {
			continue
		}
		switch {
		case f.Type == reflect.TypeFor[time.Time]():
		case f.Type.Kind() == reflect.String, f.Type.Kind() == reflect.Int, f.Type.Kind() == reflect.Int64, f.Type.Kind() == reflect.Bool:
		default:
			panic("api: parameter " + p.name + " of " + t.String() + " has a type that no text fills")
		}
		out = append(out, p)
	}
	return out
}

// set fills v from text.
func (p *parameter) set(v reflect.Value, text string) error {
	if len(text) > maxID {
		return invalid("parameter %s is too long", p.name)
	}
	if err := checkPlain(text); err != nil {
		return invalid("parameter %s: %v", p.name, err)
	}
	if p.typ == reflect.TypeFor[time.Time]() {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return invalid("parameter %s is no RFC 3339 time: %.64q", p.name, text)
		}
		v.Set(reflect.ValueOf(t))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return invalid("parameter %s is neither true nor false: %.64q", p.name, text)
		}
		v.SetBool(b)
	default:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil || n < 0 {
			return invalid("parameter %s is no number: %.64q", p.name, text)
		}
		v.SetInt(n)
	}
	return nil
}

// checkPlain refuses invalid UTF-8 and control characters.
func checkPlain(s string) error {
	for _, c := range s {
		if c < ' ' || c == 0x7f || c == '\ufffd' {
			return authz.Errorf(authz.ErrInvalid, "not plain UTF-8 text")
		}
	}
	return nil
}

// none is the input of an operation that takes none.
type none struct{}
