package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// A Source is where a value of a question comes from. It is written as From alone or as a mapping.
type Source struct {
	// From is "{name} and {other}": path parameters in a text; path, method or host of the request; query:NAME,
	// header:NAME, form:NAME (a field of a form), body:/POINTER (RFC 6901; body: is all of it), or claim:NAME and
	// claim:/POINTER of the access token.
	From string `yaml:"from"`
	// Type is string, integer, decimal, boolean, strings (a parameter of the query or form that can be there several
	// times) or json (as it stands). By default json of a body and a token, and string of everything else.
	Type string `yaml:"type"`
	// Optional leaves the value out if it is not there. Otherwise the request is refused.
	Optional bool `yaml:"optional"`
	// Value is a constant, in place of From.
	Value any `yaml:"value"`

	origin   origin
	name     string   // of a parameter, header or field
	parts    []part   // of a text
	pointer  []string // into a body or a token
	constant []byte   // JSON
}

type origin uint8

const (
	fromNowhere origin = iota
	fromConstant
	fromText // path parameters
	fromPath
	fromMethod
	fromHost
	fromQuery
	fromHeader
	fromForm
	fromBody
	fromClaim
)

// A part is a piece of a text: literal, or the value of a path parameter.
type part struct{ literal, name string }

// UnmarshalYAML reads a source.
func (s *Source) UnmarshalYAML(n ast.Node) error {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) == 1 {
		if _, empty := m.Values[0].Value.(*ast.NullNode); empty {
			return &yaml.SyntaxError{Message: fmt.Sprintf(`YAML reads this as a mapping; write it in quotes: "{%s}"`, m.Values[0].Key.GetToken().Value), Token: n.GetToken()}
		}
	}
	switch n := n.(type) {
	case *ast.StringNode:
		s.From = n.Value
		return nil
	case *ast.MappingNode, *ast.MappingValueNode:
		type plain Source
		return yaml.NodeToValue(n, (*plain)(s), yaml.Strict())
	}
	return &yaml.SyntaxError{Message: "a source is a text such as query:page, or a mapping with from or value", Token: n.GetToken()}
}

func (s *Source) zero() bool { return s.From == "" && s.Value == nil && s.origin == fromNowhere }

// String returns the source in one line.
func (s *Source) String() string {
	if s.Value != nil {
		return string(s.constant)
	}
	text := s.From
	if s.Type != "" {
		text += " " + s.Type
	}
	if s.Optional {
		text += "?"
	}
	return text
}

// compile reads what is written, and tells the route what it needs.
func (s *Source) compile(r *Route) error {
	if s.Value != nil {
		if s.From != "" || s.Optional || s.Type != "" {
			return errors.New("value stands alone")
		}
		text, err := json.Marshal(s.Value)
		if err != nil {
			return errors.New("the value has no form in JSON")
		}
		s.origin, s.constant = fromConstant, text
		return nil
	}
	if len(s.From) > maxText {
		return errors.New("it is too long")
	}
	scheme, name, ok := strings.Cut(s.From, ":")
	switch {
	case s.From == "path":
		s.origin = fromPath
	case s.From == "method":
		s.origin = fromMethod
	case s.From == "host":
		s.origin = fromHost
	case ok && slices.Contains([]string{"query", "header", "form", "body", "claim"}, scheme):
		if err := s.named(r, scheme, name); err != nil {
			return err
		}
	case strings.ContainsAny(s.From, "{}"):
		s.origin = fromText
		var err error
		if s.parts, err = parseText(s.From, r.template); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%.64q says no place: it is {name}, path, method, host, query:NAME, header:NAME, form:NAME, body:/POINTER or claim:NAME; a constant is {value: ...}", s.From)
	}
	return s.compileType()
}

func (s *Source) compileType() error {
	switch s.Type {
	case "", "string", "integer", "decimal", "boolean":
		return nil
	case "strings":
		if s.origin != fromQuery && s.origin != fromForm {
			return errors.New("strings are of query:NAME and form:NAME")
		}
		return nil
	case "json":
		if s.origin != fromBody && s.origin != fromClaim {
			return errors.New("json is what body: and claim: say")
		}
		return nil
	}
	return fmt.Errorf("there is no type %.32q: string, integer, decimal, boolean, strings, json", s.Type)
}

func (s *Source) named(r *Route, scheme, name string) error {
	switch scheme {
	case "query", "form":
		if name == "" || checkText(name) != nil {
			return fmt.Errorf("%s: it names no parameter", scheme)
		}
		s.name = name
		if r.folded == nil {
			r.folded = map[string]bool{}
		}
		r.folded[fold(name)] = true
		s.origin, r.query = fromQuery, true
		if scheme == "form" {
			s.origin, r.form, r.NeedsBody = fromForm, true, true
		}
	case "header":
		if !isToken(name) || strings.Contains(name, "_") {
			return fmt.Errorf("header: %.64q is no name of a header", name)
		}
		s.origin, s.name = fromHeader, canonical(name)
		if why := whyUnmapped(s.name); why != "" {
			return fmt.Errorf("header: %s %s", s.name, why)
		}
		r.headers = append(r.headers, s.name)
	case "body":
		tokens, err := parsePointer(name)
		if err != nil {
			return err
		}
		s.origin, s.pointer, r.NeedsBody = fromBody, tokens, true
		if r.want == nil {
			r.want = new(want)
		}
		r.want.add(tokens)
	case "claim":
		s.origin, s.pointer = fromClaim, []string{name}
		if name == "" {
			return errors.New("claim: it names no claim")
		}
		if strings.HasPrefix(name, "/") {
			tokens, err := parsePointer(name)
			if err != nil {
				return err
			}
			s.pointer = tokens
		}
	}
	return nil
}

// unmapped are headers from which nothing can be mapped, because they do not arrive at the server as they were sent. Those
// that begin with X-Forwarded- are written by proxies too.
var unmapped = func() map[string]string {
	m := map[string]string{}
	for why, names := range map[string][]string{
		"is a credential, and not passed on": {"Authorization", "Proxy-Authorization", "Cookie", "Cookie2", "Dpop", "Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Ssl-Client-Cert"},
		"belongs to the connection":          {"Connection", "Proxy-Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Keep-Alive", "Host", "Content-Length", "Expect"},
		"is written by proxies":              {"Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip"},
	} {
		for _, name := range names {
			m[name] = why
		}
	}
	return m
}()

// whyUnmapped returns why nothing can be mapped from a header, "" if something can.
func whyUnmapped(name string) string {
	if strings.HasPrefix(name, "X-Forwarded-") {
		return "is written by proxies"
	}
	return unmapped[name]
}

// parseText reads a text with path parameters in it.
func parseText(s string, t template) (parts []part, err error) {
	for s != "" {
		before, after, ok := strings.Cut(s, "{")
		if strings.Contains(before, "}") {
			return nil, errors.New("a } has no {")
		}
		if before != "" {
			parts = append(parts, part{literal: before})
		}
		if !ok {
			break
		}
		name, behind, ok := strings.Cut(after, "}")
		if !ok {
			return nil, errors.New("a { has no }")
		}
		if !t.has(name) {
			return nil, fmt.Errorf("the path has no parameter {%.64s}", name)
		}
		if n := len(parts); n > 0 && parts[n-1].name != "" {
			return nil, errors.New("two parameters touch, and nobody could tell where one ends")
		}
		parts, s = append(parts, part{name: name}), behind
	}
	return parts, nil
}

// parsePointer reads a JSON pointer (RFC 6901) or nothing, which is the whole document.
func parsePointer(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	if s[0] != '/' {
		return nil, fmt.Errorf("%.64q is no JSON pointer: it begins with / (RFC 6901)", s)
	}
	all := strings.Split(s[1:], "/")
	if len(all) > 32 {
		return nil, errors.New("the pointer has more than 32 tokens")
	}
	for i, t := range all {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(t), "~") {
			return nil, fmt.Errorf("%.64q is no JSON pointer: ~ is written ~0 (RFC 6901)", s)
		}
		all[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	return all, nil
}

// quote returns a text as JSON.
func quote(s string) []byte {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil { // only of what is no UTF-8, which is checked before
		return []byte(`""`)
	}
	return b
}
