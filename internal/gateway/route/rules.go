package route

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds and defaults of tables.
const (
	maxRoutes     = 5000
	maxMapped     = 256 // sources of one route
	maxText       = 1024
	defaultBody   = 1 << 20  // of a body that is read here
	defaultResult = 4 << 20  // of a result that is held
	mostHeld      = 64 << 20 // of either
)

// Rules are the part of a door's document that maps requests to acts. Doors embed it inline.
type Rules struct {
	Routes  []Rule    `yaml:"routes"`
	OpenAPI []OpenAPI `yaml:"openapi"`
}

// A Rule is one route as it is written.
type Rule struct {
	Name string `yaml:"name"` // of the act in logs and reports; Match by default
	// Match is methods and a path template: "POST /accounts/{account}/payments", "GET,HEAD /files/{rest...}", "* /status".
	Match string `yaml:"match"`
	Host  string `yaml:"host"` // any by default; "*.example.com" is one label more

	Action   string   `yaml:"action"`
	Resource Resource `yaml:"resource"`
	// Arguments are the action's properties.
	Arguments map[string]Source `yaml:"arguments"`
	// Context is what the caller says of the moment beside the act, such as its confidence.
	Context map[string]Source `yaml:"context"`
	// Closed refuses requests with parameters of the query, or members of the body, that nothing is mapped from.
	Closed bool   `yaml:"closed"`
	Task   string `yaml:"task"` // what kind of task the act belongs to

	Upstream      string        `yaml:"upstream"`
	OnUnavailable string        `yaml:"on_unavailable"` // refuse (default) or allow
	MaxBody       Size          `yaml:"max_body"`       // 1 MiB if the body is read here, else no bound
	Timeout       time.Duration `yaml:"timeout"`        // until the upstream's response begins
	Approval      Approval      `yaml:"approval"`
	Masking       string        `yaml:"masking"`    // allow (default) or refuse
	MaxResult     Size          `yaml:"max_result"` // 4 MiB
	WebSocket     bool          `yaml:"websocket"`
	Recheck       time.Duration `yaml:"recheck"` // 1m
	DryRun        *DryRun       `yaml:"dry_run"`
}

// A Resource is what an act is done to.
type Resource struct {
	Type       string            `yaml:"type"`
	ID         Source            `yaml:"id"`
	Properties map[string]Source `yaml:"properties"`
}

// An Approval says what happens when persons can be asked about an act that was refused.
type Approval struct {
	// Mode is offer (default): the refusal says how to ask; ask: the gateway asks, and the refusal says where to look;
	// wait: the gateway asks, and holds the request until there is an answer.
	Mode string        `yaml:"mode"`
	Wait time.Duration `yaml:"wait"` // 1m, at most 1h
	// Justification is what persons are told of why.
	Justification string `yaml:"justification"`
}

// A DryRun says how an upstream is told to try an act without doing it.
type DryRun struct {
	Header string `yaml:"header"` // "Name: value"
	Query  string `yaml:"query"`  // "name=value"
}

// A Size is a number of bytes: 65536, 64KiB or 1MiB.
type Size int64

// UnmarshalYAML reads a size.
func (s *Size) UnmarshalYAML(n ast.Node) error {
	text := strings.TrimSpace(n.GetToken().Value)
	unit := int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = strings.TrimSpace(number), u
			break
		}
	}
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil || v <= 0 {
		return &yaml.SyntaxError{Message: "a size is a number of bytes such as 65536, 64KiB or 1MiB", Token: n.GetToken()}
	}
	*s = Size(v * unit)
	return nil
}

// A Problem is something that is wrong with rules.
type Problem struct {
	Path    string // such as routes[2].arguments.amount
	Message string
}

// Error says where and what.
func (p *Problem) Error() string { return p.Path + ": " + p.Message }

// Compile makes a table. Open reads the files that OpenAPI names; nil if there are none. The problems are all that is
// wrong, and the table is nil then.
func (rs *Rules) Compile(open func(name string) ([]byte, error)) (*Table, []*Problem) {
	c := &compiler{}
	for i := range rs.Routes {
		c.origin = "routes[" + strconv.Itoa(i) + "]"
		c.rule(&rs.Routes[i])
	}
	for i := range rs.OpenAPI {
		c.origin = "openapi[" + strconv.Itoa(i) + "]"
		c.document(&rs.OpenAPI[i], open)
	}
	return c.table()
}

type compiler struct {
	origin   string
	routes   []*Route
	problems []*Problem
}

func (c *compiler) fail(path, format string, args ...any) {
	if path != "" {
		path = "." + path
	}
	c.problems = append(c.problems, &Problem{c.origin + path, fmt.Sprintf(format, args...)})
}

// rule adds a route.
func (c *compiler) rule(in *Rule) {
	r := &Route{
		Origin: c.origin, Action: in.Action, Resource: in.Resource, Arguments: in.Arguments, Context: in.Context, Closed: in.Closed, Task: in.Task,
		Upstream: in.Upstream, OnUnavailable: cmp.Or(in.OnUnavailable, "refuse"), MaxBody: int64(in.MaxBody), Timeout: in.Timeout,
		Approval: in.Approval, NoMask: in.Masking == "refuse", MaxResult: int64(cmp.Or(in.MaxResult, defaultResult)),
		WebSocket: in.WebSocket, Recheck: cmp.Or(in.Recheck, time.Minute), DryRun: in.DryRun,
	}
	methods, path, ok := strings.Cut(in.Match, " ")
	if !ok {
		c.fail("match", "it says methods and a path, such as \"POST /accounts/{account}/payments\"")
		return
	}
	path = strings.TrimSpace(path)
	r.Path, r.Name = path, cmp.Or(in.Name, methods+" "+path)
	var err error
	if r.Methods, err = parseMethods(methods); err != nil {
		c.fail("match", "%v", err)
	}
	if r.template, err = parseTemplate(path); err != nil {
		c.fail("match", "%v", err)
		return
	}
	if r.Host, err = parseHost(in.Host); err != nil {
		c.fail("host", "%v", err)
	}
	c.act(r)
	c.terms(r, in)
	c.routes = append(c.routes, r)
}

// act checks what is asked.
func (c *compiler) act(r *Route) {
	text := func(path, s string, must bool) {
		switch {
		case s == "" && must:
			c.fail(path, "it is missing")
		case len(s) > maxText || checkText(s) != nil:
			c.fail(path, "it is too long, or has characters that cannot be printed")
		}
	}
	text("name", r.Name, true)
	text("action", r.Action, true)
	text("resource.type", r.Resource.Type, true)
	text("task", r.Task, false)
	if r.Resource.ID.zero() {
		c.fail("resource.id", "it is missing")
	}
	if r.Resource.ID.Optional {
		c.fail("resource.id", "an act without its resource cannot be judged: it cannot be optional")
	}
	switch r.Resource.ID.Type {
	case "", "string", "integer":
	default:
		c.fail("resource.id", "an id is a string or an integer")
	}
	n := 0
	source := func(path string, s *Source) {
		if n++; n == maxMapped {
			c.fail("", "more than %d values are mapped", maxMapped)
		}
		if s.zero() {
			return
		}
		if err := s.compile(r); err != nil {
			c.fail(path, "%v", err)
		}
	}
	source("resource.id", &r.Resource.ID)
	each := func(path string, m map[string]Source) map[string]Source {
		out := make(map[string]Source, len(m))
		for _, name := range sortedNames(m) {
			text(path+"."+name, name, true)
			s := m[name]
			if s.zero() {
				c.fail(path+"."+name, "it says neither from where nor what")
				continue
			}
			source(path+"."+name, &s)
			out[name] = s
		}
		return out
	}
	r.Resource.Properties = each("resource.properties", r.Resource.Properties)
	r.Arguments = each("arguments", r.Arguments)
	r.Context = each("context", r.Context)
	for _, name := range []string{"observed", "approval", "supported_obligations"} {
		if _, there := r.Context[name]; there {
			c.fail("context."+name, "that is not for callers to say")
		}
	}
	r.query = r.query || r.Closed
	r.NeedsBody = r.NeedsBody || r.Closed && !r.WebSocket
}

// terms checks how the act happens.
func (c *compiler) terms(r *Route, in *Rule) {
	oneOf := func(path, got string, want ...string) {
		if !slices.Contains(want, got) {
			c.fail(path, "it is %q, and can be %s", got, strings.Join(want, " or "))
		}
	}
	oneOf("on_unavailable", r.OnUnavailable, "refuse", "allow")
	oneOf("masking", cmp.Or(in.Masking, "allow"), "refuse", "allow")
	r.Approval.Mode = cmp.Or(r.Approval.Mode, "offer")
	oneOf("approval.mode", r.Approval.Mode, "offer", "ask", "wait")
	r.Approval.Wait = cmp.Or(r.Approval.Wait, time.Minute)
	if r.Approval.Wait < 0 || r.Approval.Wait > time.Hour {
		c.fail("approval.wait", "it can be as long as 1h")
	}
	if r.NeedsBody && r.MaxBody == 0 {
		r.MaxBody = defaultBody
	}
	if r.NeedsBody && r.MaxBody > mostHeld || r.MaxResult > mostHeld {
		c.fail("", "more than %d MiB would have to be held", mostHeld>>20)
	}
	if r.Recheck < time.Second {
		c.fail("recheck", "it can be as short as 1s")
	}
	if r.Timeout < 0 {
		c.fail("timeout", "it is negative")
	}
	if r.WebSocket && r.NeedsBody {
		c.fail("websocket", "a request that opens a WebSocket has no body from which anything could be mapped")
	}
	if r.WebSocket && !r.accepts(http.MethodGet) {
		c.fail("websocket", "a WebSocket is opened by GET (RFC 6455, section 4.1)")
	}
	if d := r.DryRun; d != nil {
		name, value, _ := strings.Cut(d.Header, ":")
		switch {
		case (d.Header == "") == (d.Query == ""):
			c.fail("dry_run", "it says either header or query")
		case d.Header != "" && (!isToken(name) || strings.TrimSpace(value) == "" || checkText(value) != nil):
			c.fail("dry_run.header", "it looks like \"X-Dry-Run: true\"")
		case d.Query != "":
			name, value, ok := strings.Cut(d.Query, "=")
			if !ok || name == "" || !isName(name) || value != "" && !isName(value) {
				c.fail("dry_run.query", "it looks like dry_run=true")
			}
		}
	}
}

// table checks that every request takes at most one most specific route.
func (c *compiler) table() (*Table, []*Problem) {
	if len(c.routes) > maxRoutes {
		c.origin = "routes"
		c.fail("", "there are %d, more than %d", len(c.routes), maxRoutes)
		return nil, c.problems
	}
	names := map[string]*Route{}
	for i, r := range c.routes {
		if other := names[r.Name]; other != nil {
			c.origin = r.Origin
			c.fail("name", "%q is the name of %s too", r.Name, other.Origin)
		}
		names[r.Name] = r
		for _, other := range c.routes[:i] {
			switch r.compare(other) {
			case equal:
				c.origin = r.Origin
				c.fail("match", "it takes the same requests as %s (%s)", other.Origin, other.Name)
			case overlapping:
				c.origin = r.Origin
				c.fail("match", "some requests would take this route and %s (%s), and neither is the more specific one", other.Origin, other.Name)
			}
		}
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	t := &Table{routes: c.routes, exact: map[string]*node{}, wild: map[string]*node{}}
	for _, r := range c.routes {
		var tree *node
		switch {
		case r.Host == "":
			if t.any == nil {
				t.any = new(node)
			}
			tree = t.any
		case strings.HasPrefix(r.Host, "*."):
			tree = at(t.wild, r.Host[1:])
		default:
			tree = at(t.exact, r.Host)
		}
		tree.insert(r.template, r)
		t.slash = t.slash || r.template.slash()
	}
	return t, nil
}

func at(m map[string]*node, host string) *node {
	if m[host] == nil {
		m[host] = new(node)
	}
	return m[host]
}

// parseMethods reads "GET,HEAD", or "*" for anyMethods.
func parseMethods(s string) ([]string, error) {
	if s == "*" {
		return nil, nil
	}
	all := strings.Split(s, ",")
	for _, m := range all {
		if !isToken(m) || m != strings.ToUpper(m) {
			return nil, fmt.Errorf("%.32q is no method: they are in capital letters, with commas between and no space", m)
		}
		if err := CheckMethod(m); err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

func parseHost(s string) (string, error) {
	name := strings.TrimPrefix(s, "*.")
	if s == "" {
		return "", nil
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return "", fmt.Errorf("%.64q is no name of a host: it has no port, and one in another script is written as punycode", s)
		}
	}
	return strings.ToLower(s), nil
}

// checkText refuses control characters and what is no UTF-8.
func checkText(s string) error {
	for i, c := range s {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == 0xfffd && !strings.HasPrefix(s[i:], "\ufffd") {
			return errors.New("it has characters that cannot be printed")
		}
	}
	return nil
}

// Parse reads a document that has nothing but rules, and none from OpenAPI documents. Errors are authz.ErrInvalid and
// show the line.
func Parse(text []byte) (*Table, error) {
	if err := tame(text); err != nil {
		return nil, err
	}
	var rs Rules
	if err := decodeYAML(text, &rs); err != nil {
		return nil, err
	}
	t, problems := rs.Compile(nil)
	if len(problems) == 0 {
		return t, nil
	}
	var errs []error
	for _, p := range problems {
		errs = append(errs, authz.Errorf(authz.ErrInvalid, "%s%s", p.Error(), show(text, p.Path)))
	}
	return nil, errors.Join(errs...)
}

// canonical returns how a header is written.
func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }
