package route

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// maxArguments is how many bytes of JSON the properties of an act or a resource can have.
const maxArguments = 48 << 10

// An Input is a request as it will be forwarded: without the headers that belong to its connection.
type Input struct {
	Method   string
	Host     string // without port
	Path     string // as it was sent
	RawQuery string
	Header   http.Header
	Body     []byte         // whole, if the route needs it
	Follows  bool           // a body follows that is not in Body, or may
	Claims   map[string]any // of the access token
}

// An Error is why a request cannot be told to be an act. It is authz.ErrInvalid.
type Error struct {
	Status  int // 400 or 415
	Message string
}

// Error says why, and shows nothing of the request but names.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return authz.ErrInvalid }

func bad(format string, args ...any) error {
	return &Error{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// Request returns what is asked before the request may be forwarded. Errors are *Error.
func (m *Match) Request(in *Input) (authz.Request, error) {
	v := &values{m: m, in: in}
	if err := v.prepare(); err != nil {
		return authz.Request{}, err
	}
	r := m.Route
	req := authz.Request{
		Action:   authz.Action{Name: r.Action},
		Resource: authz.Entity{Ref: authz.Ref{Type: r.Resource.Type}},
		Observed: authz.Observed{Task: r.Task},
	}
	raw, err := v.of(&r.Resource.ID, "the resource's id")
	if err != nil {
		return authz.Request{}, err
	}
	if req.Resource.ID, err = id(raw); err != nil {
		return authz.Request{}, err
	}
	if req.Resource.Properties, err = v.object(r.Resource.Properties, "property"); err != nil {
		return authz.Request{}, err
	}
	if req.Action.Properties, err = v.object(r.Arguments, "argument"); err != nil {
		return authz.Request{}, err
	}
	if req.Context, err = v.object(r.Context, "context"); err != nil {
		return authz.Request{}, err
	}
	return req, nil
}

// id returns a resource's id of its JSON.
func id(raw []byte) (string, error) {
	s := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		text, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return "", bad("the resource's id is no text")
		}
		s = string(text)
	} else if _, err := strconv.ParseInt(s, 10, 64); err != nil {
		return "", bad("the resource's id is neither a text nor an integer")
	}
	if s == "" || len(s) > maxText || checkText(s) != nil {
		return "", bad("the resource's id is empty, too long, or has characters that cannot be printed")
	}
	return s, nil
}

// values finds the values of one request.
type values struct {
	m     *Match
	in    *Input
	query map[string][]string
	form  map[string][]string
	body  map[string]jsontext.Value
}

// prepare reads what the sources need, and refuses what could be read in two ways.
func (v *values) prepare() error {
	r := v.m.Route
	for _, name := range r.headers {
		if len(v.in.Header[name]) > 1 {
			return bad("the header %s is there twice", name)
		}
	}
	if r.query || r.want != nil {
		var err error
		if v.query, err = r.parameters(v.in.RawQuery, "query", false); err != nil {
			return err
		}
	}
	if !r.NeedsBody {
		return v.unread()
	}
	if len(v.in.Body) == 0 {
		return nil
	}
	typ, err := mediaType(v.in.Header)
	if err != nil {
		return err
	}
	switch {
	case isJSON(typ) && (r.want != nil || r.Closed):
		w := r.want
		if w == nil {
			w = &want{below: map[string]*want{}}
		}
		if v.body, err = w.read(v.in.Body, r.Closed, r.folded); err != nil {
			return bad("%v", err)
		}
	case r.form && typ == "application/x-www-form-urlencoded":
		if !utf8.Valid(v.in.Body) {
			return bad("the body is no UTF-8")
		}
		if v.form, err = r.parameters(string(v.in.Body), "body", true); err != nil {
			return err
		}
	default:
		return &Error{http.StatusUnsupportedMediaType, "the body is of a type that the route does not read"}
	}
	return nil
}

// unread refuses a body that is not read here and in which a server could find what is decided about elsewhere: many
// take a parameter from the query or from a form, whichever has it, and some take a body without a type for a form.
func (v *values) unread() error {
	if !v.m.Route.query {
		return nil
	}
	all := v.in.Header["Content-Type"]
	switch {
	case len(all) == 0 && !v.in.Follows:
		return nil
	case len(all) != 1:
		return &Error{http.StatusUnsupportedMediaType, "the body has no type, or two, and could be a form"}
	}
	typ, _, err := mime.ParseMediaType(all[0])
	if err != nil || typ == "application/x-www-form-urlencoded" || strings.HasPrefix(typ, "multipart/") {
		return &Error{http.StatusUnsupportedMediaType, "the body is a form, in which a parameter of the query could stand again"}
	}
	return nil
}

// parameters reads application/x-www-form-urlencoded. Mapped names must be there once, in any spelling, but those of
// type strings.
func (r *Route) parameters(raw, where string, lines bool) (map[string][]string, error) {
	out := map[string][]string{}
	if raw == "" {
		return out, nil
	}
	if strings.Contains(raw, ";") {
		return nil, bad("the %s has a semicolon, at which some servers cut", where)
	}
	seen := map[string]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return nil, bad("the %s is not well encoded", where)
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, bad("the %s is not well encoded", where)
		}
		if err := checkName(name, where); err != nil {
			return nil, bad("%v", err)
		}
		base := fold(strings.TrimSpace(name))
		if i := strings.IndexAny(base, "[."); i > 0 && !r.folded[base] {
			base = base[:i] // a server may make one parameter of name[] or name[x]
		}
		if !r.folded[base] {
			if r.want != nil && r.want.folded[base] { // a server may take it from either place
				return nil, bad("the %s has a parameter by the name of a mapped member of the body", where)
			}
			if r.Closed {
				return nil, bad("the %s has a parameter that the route does not know", where)
			}
			continue
		}
		if before, twice := seen[base]; twice && (before != name || !r.plural(name, where)) {
			return nil, bad("the %s has a mapped parameter twice", where)
		}
		seen[base] = name
		if !utf8.ValidString(value) || strings.IndexFunc(value, func(c rune) bool {
			return c == 0x7f || c < ' ' && !(lines && (c == '\n' || c == '\r' || c == '\t'))
		}) >= 0 {
			return nil, bad("a mapped parameter of the %s has characters that cannot be printed", where)
		}
		if fold(name) != base || !r.maps(name, where) {
			return nil, bad("the %s has a name that differs little from a mapped one", where)
		}
		out[name] = append(out[name], value)
	}
	return out, nil
}

// sources returns all sources of a route.
func (r *Route) sources(yield func(*Source) bool) {
	if !yield(&r.Resource.ID) {
		return
	}
	for _, m := range []map[string]Source{r.Resource.Properties, r.Arguments, r.Context} {
		for _, s := range m {
			if !yield(&s) {
				return
			}
		}
	}
}

// maps reports whether a parameter of exactly that name is mapped, wherever it is said: a name that is mapped
// from the form and stands in the query is none, and refused.
func (r *Route) maps(name, where string) bool {
	for s := range r.sources {
		if s.name == name && (s.origin == fromQuery && where == "query" || s.origin == fromForm && where == "body") {
			return true
		}
	}
	return false
}

// plural reports whether a parameter can be there several times.
func (r *Route) plural(name, where string) bool {
	for s := range r.sources {
		if s.name == name && s.Type == "strings" && (s.origin == fromQuery) == (where == "query") {
			return true
		}
	}
	return false
}

// object returns the members that sources say as one JSON object, nil if there are none.
func (v *values) object(m map[string]Source, what string) (authz.Claimed, error) {
	if len(m) == 0 {
		return nil, nil
	}
	b := []byte{'{'}
	for _, name := range sortedNames(m) {
		s := m[name]
		raw, err := v.of(&s, what+" "+name)
		if err != nil {
			return nil, err
		}
		if raw == nil {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, quote(name)...), ':'), raw...)
	}
	b = append(b, '}')
	if len(b) > maxArguments {
		return nil, bad("what would be asked is too large to be judged")
	}
	return b, nil
}

// of returns the value of a source as JSON, nil if it is optional and not there.
func (v *values) of(s *Source, what string) ([]byte, error) {
	raw, text, found := v.find(s)
	if !found {
		if s.Optional {
			return nil, nil
		}
		return nil, bad("%s is missing: it comes from %s", what, s.From)
	}
	if raw == nil {
		if text == nil {
			text = []string{""}
		}
		if s.Type == "strings" {
			b := []byte{'['}
			for i, t := range text {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, quote(t)...)
			}
			return append(b, ']'), nil
		}
		raw = quote(text[0])
		if !utf8.ValidString(text[0]) {
			return nil, bad("%s is no UTF-8", what)
		}
		if s.Type == "" || s.Type == "string" {
			return raw, nil
		}
		if !scalar(s.Type, text[0]) {
			return nil, bad("%s is no %s", what, s.Type)
		}
		return []byte(text[0]), nil
	}
	if len(raw) > maxValue {
		return nil, bad("%s is too large to be judged", what)
	}
	switch s.Type {
	case "string":
		if raw[0] != '"' {
			return nil, bad("%s is no string", what)
		}
	case "integer", "boolean":
		if !scalar(s.Type, string(raw)) {
			return nil, bad("%s is no %s", what, s.Type)
		}
	case "decimal": // a number, or a text that says one
		text := string(raw)
		if raw[0] == '"' {
			text = strings.Trim(text, `"`)
		}
		if !scalar(s.Type, text) {
			return nil, bad("%s is no decimal", what)
		}
		return []byte(text), nil
	}
	return raw, nil
}

var (
	integers = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,18})$`)
	decimals = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?$`)
)

// scalar reports whether a text is a value of that type, in the one spelling that is also JSON.
func scalar(typ, s string) bool {
	switch typ {
	case "integer":
		_, err := strconv.ParseInt(s, 10, 64)
		return err == nil && integers.MatchString(s) && s != "-0"
	case "decimal":
		return decimals.MatchString(s)
	case "boolean":
		return s == "true" || s == "false"
	}
	return false
}

// find returns a value, as JSON or as texts.
func (v *values) find(s *Source) (raw []byte, text []string, found bool) {
	switch s.origin {
	case fromConstant:
		return s.constant, nil, true
	case fromText:
		var b strings.Builder
		for _, p := range s.parts {
			b.WriteString(p.literal)
			if p.name != "" {
				b.WriteString(v.m.Path[p.name])
			}
		}
		return nil, []string{b.String()}, true
	case fromPath:
		segments, err := split(v.in.Path)
		if err != nil {
			return nil, nil, false
		}
		return nil, []string{"/" + strings.Join(segments, "/")}, true
	case fromMethod:
		return nil, []string{v.in.Method}, true
	case fromHost:
		return nil, []string{strings.ToLower(v.in.Host)}, true
	case fromQuery:
		t, ok := v.query[s.name]
		return nil, t, ok
	case fromForm:
		t, ok := v.form[s.name]
		return nil, t, ok
	case fromHeader:
		t := v.in.Header[s.name]
		return nil, t, len(t) == 1
	case fromBody:
		raw, ok := v.body[key(s.pointer)]
		return raw, nil, ok && string(raw) != "null"
	case fromClaim:
		return v.claim(s.pointer)
	}
	return nil, nil, false
}

// claim returns a member of the token.
func (v *values) claim(pointer []string) ([]byte, []string, bool) {
	var at any = v.in.Claims
	for _, t := range pointer {
		switch x := at.(type) {
		case map[string]any:
			if at = x[t]; at == nil {
				return nil, nil, false
			}
		case []any:
			i, err := strconv.Atoi(t)
			if err != nil || i < 0 || i >= len(x) || strconv.Itoa(i) != t {
				return nil, nil, false
			}
			at = x[i]
		default:
			return nil, nil, false
		}
	}
	raw, err := json.Marshal(at)
	return raw, nil, err == nil && at != nil && v.in.Claims != nil && string(raw) != "null"
}

// Mapped reports whether something is mapped from a header, by its canonical name.
func (r *Route) Mapped(header string) bool { return slices.Contains(r.headers, header) }
