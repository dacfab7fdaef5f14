package clientconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// A server is one in the text.
type server struct {
	name    string
	project string
	node    *node
	indent  string // of the line in which it ends
}

// key tells servers apart.
func (s *server) key() string { return s.project + "\x00" + s.name }

// servers returns the servers of a document, in order.
func (c Client) servers(doc *node, text []byte) []*server {
	var out []*server
	add := func(project string, in *node) {
		if in == nil {
			return
		}
		for _, m := range in.members {
			line := text[bytes.LastIndexByte(text[:m.value.end], '\n')+1 : m.value.end]
			indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
			out = append(out, &server{m.name, project, m.value, string(indent)})
		}
	}
	add("", doc.member(c.container))
	if c.projects != "" {
		if all := doc.member(c.projects); all != nil {
			for _, p := range all.members {
				add(p.name, p.value.member(c.container))
			}
		}
	}
	return out
}

// args returns the arguments of a server's command, false if they are not strings.
func (s *server) args() ([]string, bool) {
	list := s.node.member("args")
	if list == nil {
		return nil, true
	}
	if list.kind != '[' {
		return nil, false
	}
	var out []string
	for _, e := range list.elements {
		if e.text == nil {
			return nil, false
		}
		out = append(out, *e.text)
	}
	return out, true
}

// gateway reports whether a server is started by a command of the gateway's form, and by which program.
func (s *server) gateway() (program string, ok bool) {
	args, ok := s.args()
	return s.node.member("command").string(), ok && len(args) > 1 && args[0] == "gateway" && args[1] == "mcp"
}

// address returns where a remote server is, by whatever name the client has for that.
func (s *server) address() (name, url string) {
	for _, name := range []string{"url", "serverUrl", "httpUrl"} {
		if u := s.node.member(name).string(); u != "" {
			return name, u
		}
	}
	return "", ""
}

// wrap rewrites one server.
func (g *Gateway) wrap(s *server, out *Server, ch *Change, after, before *edits) error {
	if s.node.kind != '{' {
		return authz.Errorf(authz.ErrInvalid, "server %.64q is no object", s.name)
	}
	if program, ok := s.gateway(); ok {
		if out.Why = "it is behind the gateway already"; program != g.Command {
			out.Why = "it is started as a gateway by another program: " + program
		}
		return nil
	}
	args, ok := s.args()
	command := s.node.member("command").string()
	_, url := s.address()
	switch {
	case !ok:
		out.Why = "its args are no list of strings"
		return nil
	case command == "" && url == "":
		out.Why = "it has neither a command nor a URL"
		return nil
	case command == "" && !plainURL(url):
		out.Why = "its URL holds what may be a key, and the gateway is told URLs on its command line"
		return nil
	case command == "" && strings.HasSuffix(strings.TrimRight(url, "/"), "/sse") || s.node.member("type").string() == "sse":
		out.Why = "it speaks the HTTP+SSE transport, which was replaced in 2025"
		return nil
	}
	w := wrapped{Command: g.Command, Args: slices.Clone(g.Args), Type: s.node.member("type").string()}
	w.Args = append(w.Args, "--name", s.name)
	keep := map[string]*node{}
	for _, m := range s.node.members {
		switch m.name {
		case "command", "args", "env", "type", "headers", "url", "serverUrl", "httpUrl":
		default:
			keep[m.name] = m.value
		}
	}
	w.Env = g.environment(s, &w, out, ch, before)
	if command == "" {
		if w.Type != "" {
			w.Type = "stdio"
		}
		w.Args = append(w.Args, "--url", url)
		g.headers(s, &w, out, ch, before)
		out.Notes = append(out.Notes, "it is remote: the gateway connects to it")
	} else {
		w.Args = append(append(w.Args, "--", command), args...)
		for _, a := range args {
			if looksSecret("", a) {
				out.Notes = append(out.Notes, "one of its arguments looks like a key; arguments stay as they are: let the server read it from its environment")
			}
		}
	}
	text, err := w.text(s, keep)
	if err != nil {
		return err
	}
	out.Wrapped = true
	after.replace(s.node.span, text)
	return nil
}

// environment returns the variables of a server that are no secrets. Those that are go to the secrets, are named on the
// command line, and become references in the backup.
func (g *Gateway) environment(s *server, w *wrapped, out *Server, ch *Change, before *edits) map[string]json.RawMessage {
	in := s.node.member("env")
	if in == nil {
		return nil
	}
	rest := map[string]json.RawMessage{}
	for _, m := range in.members {
		value := m.value.string()
		if m.value.text == nil || variable.MatchString(value) || !looksSecret(m.name, value) {
			rest[m.name] = json.RawMessage(m.value.json())
			continue
		}
		name := g.keep(s, m, value, "", out, ch, before)
		w.Args = append(w.Args, "--secret", m.name+"="+name)
	}
	return rest
}

// headers passes the headers of a remote server on, and none of their values on the command line: they go to the
// secrets, but for those that the client fills in, which come in the environment.
func (g *Gateway) headers(s *server, w *wrapped, out *Server, ch *Change, before *edits) {
	in := s.node.member("headers")
	if in == nil {
		return
	}
	for _, m := range in.members {
		if m.value.text == nil {
			continue
		}
		scheme, value := "", *m.value.text
		if name, rest, ok := strings.Cut(value, " "); ok && strings.EqualFold(m.name, "Authorization") {
			scheme, value = name+" ", rest
		}
		if strings.Contains(value, "$") { // perhaps something is to be filled in
			name := fmt.Sprintf("SAFECONDUCT_HEADER_%d", len(w.Env)+1)
			if w.Env == nil {
				w.Env = map[string]json.RawMessage{}
			}
			w.Env[name] = json.RawMessage(quote(value))
			w.Args = append(w.Args, "--header", m.name+"="+scheme+"env:"+name)
			continue
		}
		w.Args = append(w.Args, "--header", m.name+"="+scheme+"secret:"+g.keep(s, m, value, scheme, out, ch, before))
	}
}

// keep takes a value out of the text, and returns under which name it is kept.
func (g *Gateway) keep(s *server, m member, value, scheme string, out *Server, ch *Change, before *edits) string {
	name := ch.free(g.Secret(s.name, m.name, value), value)
	ch.Secrets = append(ch.Secrets, Secret{name, value})
	before.replace(m.value.span, quote(scheme+reference+name))
	out.Notes = append(out.Notes, m.name+" is moved into the secret store")
	return name
}

// plainURL reports whether a URL can stand where others see it: it has no user, and no query.
func plainURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.User == nil && u.RawQuery == "" && !strings.Contains(text, "$")
}

// free returns name, or one like it if another value has it: servers of two projects may have the same name.
func (c *Change) free(name, value string) string {
	for n, base := 2, name; ; n++ {
		i := slices.IndexFunc(c.Secrets, func(s Secret) bool { return s.Name == name })
		if i < 0 || c.Secrets[i].Value == value {
			return name
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
}

var (
	// variable is a value that the client fills in: ${input:key}, ${env:KEY}, $KEY.
	variable = regexp.MustCompile(`^\$(\{[^}]*\}|[A-Za-z_][A-Za-z0-9_]*)$`)
	// secretName is a name that says that its value is a secret.
	secretName = regexp.MustCompile(`(?i)(^|[_-])(api[_-]?key|key|token|secret|password|passwd|pwd|credentials?|pat|dsn|auth|authorization|cookie)$|apikey$|[a-z](Key|Token|Secret|Password)$`)
	// secretValue is a value that looks like a key of a well-known service, or like a password in a URL.
	secretValue = regexp.MustCompile(`^(sk|pk|rk)[-_][A-Za-z0-9_-]{16,}$|^(ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{20,}$|^github_pat_[A-Za-z0-9_]{20,}$|^glpat-[A-Za-z0-9_-]{16,}$|^xox[abpers]-[A-Za-z0-9-]{10,}$|^AKIA[A-Z0-9]{16}$|^AIza[A-Za-z0-9_-]{30,}$|^eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$|^[a-z][a-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@`)
)

// looksSecret reports whether a variable or header is a key that stands in the text.
func looksSecret(name, value string) bool {
	if value == "" {
		return false
	}
	return secretName.MatchString(name) || secretValue.MatchString(value)
}

// wrapped is a server behind the gateway, as clients have it.
type wrapped struct {
	Type    string                     `json:"type,omitempty"`
	Command string                     `json:"command"`
	Args    []string                   `json:"args"`
	Env     map[string]json.RawMessage `json:"env,omitempty"`
}

// text returns w as JSON, indented as s is, with the members that stay.
func (w *wrapped) text(s *server, keep map[string]*node) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(w); err != nil {
		return "", authz.Errorf(authz.ErrInvalid, "writing server %.64q: %w", s.name, err)
	}
	object := strings.TrimSuffix(strings.TrimSpace(b.String()), "}")
	names := make([]string, 0, len(keep))
	for name := range keep {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		object += "," + quote(name) + ":" + keep[name].json()
	}
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(object+"}"), s.indent, "  "); err != nil {
		return "", authz.Errorf(authz.ErrInvalid, "writing server %.64q: %w", s.name, err)
	}
	return out.String(), nil
}

// json returns a value that stays, without comments.
func (n *node) json() string {
	switch n.kind {
	case '{':
		parts := make([]string, len(n.members))
		for i, m := range n.members {
			parts[i] = quote(m.name) + ":" + m.value.json()
		}
		return "{" + strings.Join(parts, ",") + "}"
	case '[':
		parts := make([]string, len(n.elements))
		for i, e := range n.elements {
			parts[i] = e.json()
		}
		return "[" + strings.Join(parts, ",") + "]"
	case '"':
		return quote(*n.text)
	}
	return string(n.raw)
}
