package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/safeconduct/safeconduct/authz"
)

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

// Problems lists everything found wrong with a configuration. As an error it is authz.ErrInvalid.
type Problems struct {
	file string
	List []Problem
}

// A Problem is one thing that is wrong. Line is 0 if it stands nowhere.
type Problem struct {
	Line    int
	Message string
}

func (ps *Problems) add(line int, format string, args ...any) {
	ps.List = append(ps.List, Problem{line, fmt.Sprintf(format, args...)})
}

// err returns ps, sorted by line, or nil if it is empty.
func (ps *Problems) err() error {
	if len(ps.List) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.List, func(a, b Problem) int { return a.Line - b.Line })
	return ps
}

// Error returns one line a problem, as compilers write it.
func (ps *Problems) Error() string {
	var b strings.Builder
	for i, p := range ps.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		if ps.file != "" {
			b.WriteString(ps.file)
			if p.Line > 0 {
				fmt.Fprintf(&b, ":%d", p.Line)
			}
			b.WriteString(": ")
		}
		b.WriteString(p.Message)
	}
	return b.String()
}

// Unwrap makes ps authz.ErrInvalid.
func (ps *Problems) Unwrap() error { return authz.ErrInvalid }

// FileName is the name of a configuration in its directory.
const FileName = "safeconduct.yaml"

// Load reads and validates a configuration file, or the one of a directory. Relative paths in it are
// relative to its directory.
func Load(path string) (Config, error) {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		path = filepath.Join(path, FileName)
	}
	f, err := os.Open(path)
	if err != nil {
		return Config{}, authz.Errorf(authz.ErrInvalid, "opening the configuration: %w", err)
	}
	defer f.Close()
	text := make([]byte, maxConfig+1)
	n, err := io.ReadFull(f, text)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, text[:n])
}

// Parse reads and validates the text of a configuration file of that name. The error is a *Problems
// with every problem that could be found. Where the user has no home and the text names no directory,
// Data is empty: Validate will ask for it.
func Parse(path string, text []byte) (Config, error) {
	c := Config{file: path, lines: map[string]int{}}
	ps := &Problems{file: path}
	root := parseYAML(text, ps)
	if err := ps.err(); err != nil {
		return Config{}, err
	}
	members := c.members(filepath.Dir(path))
	if root != nil {
		walk(root, "", 0, members, c.lines, ps)
	}
	if c.Data == "" {
		c.Data = defaultData()
	}
	c.fill()
	for _, p := range c.problems().List { // one problem a line is enough
		if p.Line == 0 || !slices.ContainsFunc(ps.List, func(q Problem) bool { return q.Line == p.Line }) {
			ps.List = append(ps.List, p)
		}
	}
	return c, ps.err()
}

// parseYAML returns the root of the only document in text.
func parseYAML(text []byte, ps *Problems) (root ast.Node) {
	defer func() {
		if v := recover(); v != nil { // the parser met bytes that it was not made for
			ps.add(0, "not readable as YAML")
			root = nil
		}
	}()
	if len(text) > maxConfig {
		ps.add(0, "larger than %d bytes", maxConfig)
		return nil
	}
	if line := deepLine(text); line > 0 {
		ps.add(line, "nested too deeply")
		return nil
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) && y.GetToken() != nil {
			ps.add(y.GetToken().Position.Line, "%s", y.GetMessage())
		} else {
			ps.add(0, "not readable as YAML: %v", err)
		}
		return nil
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			ps.add(doc.Body.GetToken().Position.Line, "more than one document")
			return nil
		}
		root = doc.Body
	}
	return root
}

// deepLine returns the first line that opens more brackets or dashes than any configuration needs,
// so that the parser, which recurses, is not made to.
func deepLine(text []byte) int {
	open, line, dashes := 0, 1, 0
	for _, c := range text {
		switch c {
		case '\n':
			line, dashes = line+1, 0
		case '[', '{':
			open++
		case ']', '}':
			open--
		case '-', '?', ':', '!', '&', '*':
			dashes++
		}
		if open > 16 || dashes > 200 {
			return line
		}
	}
	return 0
}

// A member sets one field from its node.
type member func(n ast.Node) error

// members returns what a configuration may say, by path.
func (c *Config) members(dir string) map[string]member {
	path := func(p *string) member {
		return func(n ast.Node) error {
			s, err := scalar(n)
			if err == nil && s != "" && !filepath.IsAbs(s) {
				s = filepath.Join(dir, s)
			}
			*p = s
			return err
		}
	}
	return map[string]member{
		"listen":                     text(&c.Listen),
		"public_url":                 text(&c.PublicURL),
		"data":                       path(&c.Data),
		"postgres":                   text(&c.Postgres),
		"tls.cert":                   path(&c.TLS.Cert),
		"tls.key":                    path(&c.TLS.Key),
		"tls.client_certificates":    boolean(&c.TLS.ClientCertificates),
		"organisation.catalog":       path(&c.Organisation.Catalog),
		"organisation.schema":        path(&c.Organisation.Schema),
		"organisation.agents":        path(&c.Organisation.Agents),
		"organisation.geoip":         path(&c.Organisation.GeoIP),
		"organisation.policies":      paths(&c.Organisation.Policies, path),
		"log.origin":                 text(&c.Log.Origin),
		"log.key":                    path(&c.Log.Key),
		"log.former_keys":            list(&c.Log.FormerKeys),
		"log.checkpoint_interval":    duration(&c.Log.CheckpointInterval),
		"log.heartbeat":              duration(&c.Log.Heartbeat),
		"log.max_age":                duration(&c.Log.MaxAge),
		"oauth.audiences":            list(&c.OAuth.Audiences),
		"oauth.lifetime":             duration(&c.OAuth.Lifetime),
		"oauth.depth":                number(&c.OAuth.Depth),
		"oauth.algorithm":            text(&c.OAuth.Algorithm),
		"oauth.token_url_audience":   boolean(&c.OAuth.TokenURLAudience),
		"oauth.allow_bearer":         boolean(&c.OAuth.AllowBearer),
		"oauth.documents":            boolean(&c.OAuth.Documents),
		"oauth.registration":         boolean(&c.OAuth.Registration),
		"oauth.workloads":            path(&c.OAuth.Workloads),
		"oauth.key_lifetime":         duration(&c.OAuth.KeyLifetime),
		"oauth.key_overlap":          duration(&c.OAuth.KeyOverlap),
		"keys.seal":                  path(&c.Keys.Seal),
		"keys.former":                paths(&c.Keys.Former, path),
		"keys.kms":                   text(&c.Keys.KMS),
		"keys.kms_key":               text(&c.Keys.KMSKey),
		"keys.slots":                 list(&c.Keys.Slots),
		"keys.external":              list(&c.Keys.External),
		"keys.publish":               duration(&c.Keys.Publish),
		"keys.active":                duration(&c.Keys.Active),
		"keys.verify_only":           duration(&c.Keys.VerifyOnly),
		"keys.replace_lost":          boolean(&c.Keys.ReplaceLost),
		"sign_in.issuer":             text(&c.SignIn.Issuer),
		"sign_in.name":               text(&c.SignIn.Name),
		"sign_in.client_id":          text(&c.SignIn.ClientID),
		"sign_in.client_secret_file": path(&c.SignIn.ClientSecretFile),
		"sign_in.scopes":             list(&c.SignIn.Scopes),
		"sign_in.claims":             list(&c.SignIn.Claims),
		"sign_in.provision":          boolean(&c.SignIn.Provision),
		"sign_in.session":            duration(&c.SignIn.Session),
		"sign_in.idle":               duration(&c.SignIn.Idle),
		"sign_in.roles":              list(&c.SignIn.Roles),
		"notify.channels":            path(&c.Notify.Channels),
		"stops.second_person":        boolean(&c.Stops.SecondPerson),
		"telemetry.endpoint":         text(&c.Telemetry.Endpoint),
		"telemetry.sample":           share(&c.Telemetry.Sample),
		"limits.body":                number(&c.Limits.Body),
		"limits.object":              number(&c.Limits.Object),
		"limits.depth":               number(&c.Limits.Depth),
		"limits.batch":               number(&c.Limits.Batch),
		"limits.results":             number(&c.Limits.Results),
		"limits.feeds":               number(&c.Limits.Feeds),
		"limits.feeds_per_caller":    number(&c.Limits.FeedsEach),
	}
}

// walk sets what the mapping n says and notes what it may not say.
func walk(n ast.Node, prefix string, depth int, members map[string]member, lines map[string]int, ps *Problems) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return
	default:
		ps.add(n.GetToken().Position.Line, "%s must be a mapping of names to values", orFile(prefix))
		return
	}
	for _, v := range values {
		line := v.Key.GetToken().Position.Line
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			ps.add(line, "%q is no name", v.Key.String())
			continue
		}
		path := strings.TrimPrefix(prefix+"."+key.Value, ".")
		if _, twice := lines[path]; twice {
			ps.add(line, "%s is set twice", path)
			continue
		}
		set, leaf := members[path]
		switch {
		case leaf:
			lines[path] = line
			if err := set(v.Value); err != nil {
				ps.add(line, "%s %v", path, err)
			}
		case depth == 0 && isSection(path, members):
			lines[path] = line
			walk(v.Value, path, depth+1, members, lines, ps)
		default:
			ps.add(line, "%s is unknown%s", path, didYouMean(path, members))
		}
	}
}

func orFile(prefix string) string {
	if prefix == "" {
		return "the configuration"
	}
	return prefix
}

func isSection(path string, members map[string]member) bool {
	for p := range members {
		if strings.HasPrefix(p, path+".") {
			return true
		}
	}
	return false
}

// didYouMean names the member whose name is nearest, if it is near.
func didYouMean(path string, members map[string]member) string {
	best, at := "", 3
	for p := range members {
		for _, name := range []string{p, strings.SplitN(p, ".", 2)[0]} {
			if d := distance(path, name); d < at || d == at && name < best {
				best, at = name, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of letters to change, add or drop between two names.
func distance(a, b string) int {
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur := []int{i}
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur = append(cur, min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost))
		}
		prev = cur
	}
	return prev[len(b)]
}

// scalar returns the text of a string, a number or a boolean.
func scalar(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	case *ast.NullNode:
		return "", nil
	}
	return "", errors.New("must be one value")
}

func text(p *string) member {
	return func(n ast.Node) (err error) {
		*p, err = scalar(n)
		return err
	}
}

func boolean(p *bool) member {
	return func(n ast.Node) error {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return errors.New("must be true or false")
		}
		*p = b.Value
		return nil
	}
}

func duration(p *time.Duration) member {
	return func(n ast.Node) error {
		s, err := scalar(n)
		if err != nil {
			return err
		}
		if *p, err = time.ParseDuration(s); err != nil {
			return fmt.Errorf("must be a duration such as 500ms or 10s, not %.40q", s)
		}
		return nil
	}
}

func share(p *float64) member {
	return func(n ast.Node) error {
		s, err := scalar(n)
		if err != nil {
			return err
		}
		if *p, err = strconv.ParseFloat(s, 64); err != nil || *p != *p {
			*p = 0
			return fmt.Errorf("must be a number, not %.40q", s)
		}
		return nil
	}
}

func number[T int | int64](p *T) member {
	return func(n ast.Node) error {
		s, err := scalar(n)
		if err != nil {
			return err
		}
		v, err := strconv.ParseInt(s, 10, 32)
		if err != nil || v < 1 {
			return fmt.Errorf("must be a whole number above 0, not %.40q", s)
		}
		*p = T(v)
		return nil
	}
}

func paths(p *[]string, path func(*string) member) member {
	return func(n ast.Node) error {
		list := []ast.Node{n}
		if seq, ok := n.(*ast.SequenceNode); ok {
			list = seq.Values
		}
		for _, v := range list {
			var s string
			if err := path(&s)(v); err != nil || s == "" {
				return errors.New("must be a list of file patterns")
			}
			if _, err := filepath.Match(s, ""); err != nil {
				return fmt.Errorf("has a pattern that cannot be read: %.100q", s)
			}
			*p = append(*p, s)
		}
		return nil
	}
}

// list reads one text, or several.
func list(p *[]string) member {
	return func(n ast.Node) error {
		values := []ast.Node{n}
		if seq, ok := n.(*ast.SequenceNode); ok {
			values = seq.Values
		}
		for _, v := range values {
			s, err := scalar(v)
			if err != nil || s == "" {
				return errors.New("must be a list of texts")
			}
			*p = append(*p, s)
		}
		return nil
	}
}
