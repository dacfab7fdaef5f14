package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/server"
)

func TestParse(t *testing.T) {
	dir := t.TempDir()
	cfg, err := server.Parse(filepath.Join(dir, "safeconduct.yaml"), []byte(`
listen: ":9443"
public_url: https://pdp.example.com/tenant
data: state
tls: {cert: cert.pem, key: /etc/key.pem}
organisation:
  catalog: catalog.yaml
  schema: schema.cedarschema
  policies:
    - policies/*.cedar
    - more.cedar
  agents: agents.yaml
log:
  origin: example.com/log
  checkpoint_interval: 500ms
  max_age: 2s
telemetry: {endpoint: http://localhost:4318, sample: 0.5}
limits: {batch: 10, body: 2048}
`))
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct{ what, got, want string }{
		{"listen", cfg.Listen, ":9443"},
		{"public_url", cfg.PublicURL, "https://pdp.example.com/tenant"},
		{"data", cfg.Data, in("state")},
		{"tls.cert", cfg.TLS.Cert, in("cert.pem")},
		{"tls.key", cfg.TLS.Key, "/etc/key.pem"},
		{"catalog", cfg.Organisation.Catalog, in("catalog.yaml")},
		{"schema", cfg.Organisation.Schema, in("schema.cedarschema")},
		{"policies", strings.Join(cfg.Organisation.Policies, " "), in("policies/*.cedar") + " " + in("more.cedar")},
		{"agents", cfg.Organisation.Agents, in("agents.yaml")},
		{"log.key", cfg.Log.Key, in("state/log.key")},
		{"log.origin", cfg.Log.Origin, "example.com/log"},
	} {
		if c.got != c.want {
			t.Errorf("%s = %q, want %q", c.what, c.got, c.want)
		}
	}
	if cfg.Log.CheckpointInterval != 500*time.Millisecond || cfg.Log.MaxAge != 2*time.Second || cfg.Log.Heartbeat != 10*time.Second {
		t.Errorf("log times: %+v", cfg.Log)
	}
	if diff := cmp.Diff(api.Limits{Batch: 10, Body: 2048}, cfg.Limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	if cfg.Telemetry != (server.Telemetry{Endpoint: "http://localhost:4318", Sample: 0.5}) {
		t.Errorf("telemetry: %+v", cfg.Telemetry)
	}
}

// Every problem is reported at once, with its line.
func TestProblems(t *testing.T) {
	for text, want := range map[string][]string{
		"listen: nowhere\npublic_url: ftp://x\nlgo:\n  origin: a\nlog:\n  origin: 'a b'\n  heartbeat: soon\n  nonsense: 1\n": {
			"f:1: listen must be HOST:PORT",
			"f:2: public_url must be an absolute https URL",
			"f:3: lgo is unknown; did you mean log?",
			"f:6: log.origin must be a host",
			"f:7: log.heartbeat must be a duration",
			"f:8: log.nonsense is unknown",
		},
		"listen: a:1\nlisten: b:2\n":           {"f:2: "},
		"public_url: http://pdp.example.com\n": {"f:1: public_url"},
		"tls: {cert: a}\n":                     {"f:1: tls needs both"},
		"organisation: {policies: ['[']}\n":    {"f:1: organisation.policies has a pattern"},
		"organisation:\n  policies: [a]\n":     {"f:1: organisation.schema is needed"},
		"organisation: catalog.yaml\n":         {"f:1: organisation must be a mapping"},
		"- a\n":                                {"f:1: the configuration must be a mapping"},
		"limits:\n  depth: 0\n":                {"f:2: limits.depth must be a whole number"},
		"limits:\n  depth: 5000\n":             {"f:2: limits.depth must be from 1"},
		"telemetry:\n  sample: 2\n":            {"f:2: telemetry.sample must be from 0 to 1"},
		"telemetry:\n  sample: NaN\n":          {"f:2: telemetry.sample must be a number"},
		"sign_in:\n  issuer: http://idp.example\n": {
			"f:2: sign_in.issuer must be an absolute https URL",
			"f:1: sign_in.client_id is needed",
		},
		"sign_in:\n  provision: true\n": {"f:1: sign_in.issuer is needed"},
		"sign_in:\n  session: 25h\n":    {"f:2: sign_in.session must be from 1m to 24h"},
		"sign_in:\n  idle: 30s\n":       {"f:2: sign_in.idle must be from 1m to 24h"},
		"sign_in:\n  roles: [a/b=c]\n":  {"f:2: sign_in.roles needs sign_in.issuer"},
		"sign_in:\n  issuer: https://idp.example\n  client_id: a\n  roles: [king/groups=a]\n":    {"f:4: sign_in.roles must be ROLE/CLAIM=VALUE"},
		"sign_in:\n  issuer: https://idp.example\n  client_id: a\n  roles: [operator/groups=]\n": {"f:4: sign_in.roles must be ROLE/CLAIM=VALUE"},
		"sign_in:\n  issuer: https://idp.example\n  client_id: a\n  roles: {operator: groups}\n": {"f:4: sign_in.roles must be a list"},
		"listen: [a]\n":                   {"f:1: listen must be one value"},
		"log:\n  former_keys: [a+b+c]\n":  {"f:2: log.former_keys must be verifier keys"},
		"log:\n  former_keys: {a: b}\n":   {"f:2: log.former_keys must be a list"},
		"listen: a:1\n---\nlisten: b:2\n": {"f:3: more than one document"},
		"a: b: c\n":                       {"f:1: "},
		"x: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000): {"f:1: nested too deeply"},
		strings.Repeat("- ", 500) + "a\n":                             {"f:1: nested too deeply"},
	} {
		_, err := server.Parse("f", []byte(text))
		if err == nil {
			t.Errorf("%.60q: no error", text)
			continue
		}
		if !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%.60q: %v is not authz.ErrInvalid", text, err)
		}
		for _, w := range want {
			found := false
			for line := range strings.Lines(err.Error()) {
				found = found || strings.HasPrefix(line, w)
			}
			if !found {
				t.Errorf("%.60q: no line begins with %q in:\n%v", text, w, err)
			}
		}
		if n := strings.Count(err.Error(), "\n") + 1; len(want) > 1 && n != len(want) {
			t.Errorf("%.60q: %d problems, want %d:\n%v", text, n, len(want), err)
		}
	}
}

func TestEmptyConfigurationServes(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	for _, text := range []string{"", "# nothing\n", "{}\n", "log:\n"} {
		cfg, err := server.Parse("f", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if cfg.Data != "/state/safeconduct" || cfg.Listen != "127.0.0.1:8180" {
			t.Errorf("%q: %+v", text, cfg)
		}
	}
}

func TestOriginCannotChange(t *testing.T) {
	cfg := load(t, "")
	s := start(t, cfg)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Log.Origin = "other.example.com/log"
	if _, err := server.New(t.Context(), cfg, "test", discardLogger); err == nil || !strings.Contains(err.Error(), "origin cannot change") {
		t.Errorf("another origin: %v", err)
	}
}

// What the configuration names and what is wrong there stops the start, and says which file.
func TestBadOrganisation(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := organisation(t, testdata("search")).Organisation
	for says, change := range map[string]func(*server.Organisation){
		"no policy file matches": func(o *server.Organisation) { o.Policies = []string{filepath.Join(dir, "none-*.cedar")} },
		"missing.yaml":           func(o *server.Organisation) { o.Catalog = filepath.Join(dir, "missing.yaml") },
		"bad.cedar":              func(o *server.Organisation) { o.Policies = []string{write("bad.cedar", "permit (")} },
		"colour":                 func(o *server.Organisation) { o.Agents = write("agents.yaml", "agents:\n  - {id: a, colour: red}\n") },
	} {
		cfg := load(t, "")
		cfg.Organisation = good
		change(&cfg.Organisation)
		s, err := server.New(t.Context(), cfg, "test", discardLogger)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); err == nil || !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error that says %q, got %v", says, err)
		}
	}
}

// Agents that the configuration declares are registered, changed when the file changes, and keep
// the state that an administrator gave them.
func TestDeclaredAgents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agents.yaml")
	write := func(version string) {
		text := "agents:\n  - id: bot\n    owner: ops\n    purpose: billing\n    version: '" + version + "'\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := organisation(t, testdata("search"))
	cfg.Organisation.Agents = file
	agent := func(s *running) (a authz.Agent) {
		s.into(s.do("GET", "/v1/agents/bot", adminToken, ""), &a)
		return a
	}
	write("1")
	s := start(t, cfg)
	if a := agent(s); a.Revision != 1 || a.Creator != "config" || a.State != authz.AgentActive {
		t.Errorf("declared: %+v", a)
	}
	s.do("POST", "/v1/agents/bot/state", adminToken, `{"state":"suspended","why":"test"}`)
	for _, c := range []struct {
		version  string
		revision int64
	}{{"1", 2}, {"2", 3}} {
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		write(c.version)
		s = start(t, cfg)
		if a := agent(s); a.Revision != c.revision || a.Version != c.version || a.State != authz.AgentSuspended {
			t.Errorf("after version %s: %+v, want revision %d, suspended", c.version, a, c.revision)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("listen: 127.0.0.1:0\norganisation:\n  policies: [a, b]\nlimits: {body: 1}\n")
	f.Add("log: {heartbeat: 1s}\n&a listen: *a\n")
	f.Add("? [a]\n: {b: c}\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := server.Parse("f", []byte(text))
		if err != nil && !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%q: %v is not authz.ErrInvalid", text, err)
		}
	})
}
