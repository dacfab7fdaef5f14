package gateway_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
)

// A door has a document of its own.
type door struct {
	gateway.Common `yaml:",inline"`
	Routes         []struct {
		Name   string `yaml:"name"`
		Method string `yaml:"method"`
	} `yaml:"routes"`
}

func (d *door) Check(ps *gateway.Problems) {
	for i, r := range d.Routes {
		if r.Method != "GET" {
			ps.Add("routes["+string(rune('0'+i))+"].method", "must be GET")
		}
	}
}

func parse(text string) (*door, error) {
	d := new(door)
	return d, gateway.Parse("dir/gateway.yaml", []byte(text), d)
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	text := lines(
		"listen: 127.0.0.1:8190",
		"service:",
		"  url: https://pdp.example.com/",
		"  token_file: pep.token",
		"decide: local",
		"journal: journal",
		"max_stale: 30s",
		"authorization:",
		"  scopes: [read-mail]",
		"  servers:",
		"    - issuer: https://login.example.com/tenant",
		"      types: [at+jwt, JWT]",
		"      subject: {claim: azp, names: {abc: travel-bot}}",
		"credentials:",
		"  github: {type: header, value: secret:github}",
		"routes:",
		"  - {name: a, method: GET}",
	)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var d door
	if err := gateway.Load(file, &d); err != nil {
		t.Fatal(err)
	}
	if d.PublicURL != "http://127.0.0.1:8190" || d.Service.URL != "https://pdp.example.com" || d.MaxStale != 30*time.Second || len(d.Routes) != 1 {
		t.Errorf("%+v", d)
	}
	if got, want := d.Path(d.Journal), filepath.Join(filepath.Dir(file), "journal"); got != want {
		t.Errorf("Path = %q, want %q", got, want)
	}
	s := d.Authorization.Servers[0]
	if diff := cmp.Diff(gateway.ClaimRef{Type: "agent", Claim: "azp", Names: map[string]string{"abc": "travel-bot"}}, s.Subject); diff != "" {
		t.Errorf("subject (-want +got):\n%s", diff)
	}
	if c := d.Credentials["github"]; c.Header != "Authorization" || *c.Prefix != "Bearer " {
		t.Errorf("credential %+v", c)
	}
}

// Everything that is wrong is told at once, with its line and a caret below it.
func TestProblems(t *testing.T) {
	_, err := parse(lines(
		"listen: 0.0.0.0:8190",
		"service: {url: http://pdp.example.com}",
		"authorization:",
		"  servers:",
		"    - issuer: login.example.com",
		"credentials:",
		"  github:",
		"    type: header",
		"    value: ghp_0123",
		"routes:",
		"  - name: a",
		"    method: PUT",
	))
	want := lines(
		"dir/gateway.yaml: public_url is needed: agents reach this from elsewhere, and their tokens name it",
		"dir/gateway.yaml:2:16: service.url must be an absolute https URL without query or fragment (http only on loopback)",
		"    2 | service: {url: http://pdp.example.com}",
		"      |                ^",
		"dir/gateway.yaml:5:15: authorization.servers[0].issuer must be an absolute https URL without query or fragment (http only on loopback), letter for letter as tokens have it",
		"    5 |     - issuer: login.example.com",
		"      |               ^",
		"dir/gateway.yaml:9:12: credentials.github.value must be secret:NAME; put the value there with `safeconduct secret put NAME`",
		"    9 |     value: ghp_0123",
		"      |            ^",
		"dir/gateway.yaml:12:13: routes[0].method must be GET",
		"   12 |     method: PUT",
		"      |             ^",
	)
	if diff := cmp.Diff(strings.TrimSuffix(want, "\n"), err.Error()); diff != "" || !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBadDocuments(t *testing.T) {
	const base = "listen: 127.0.0.1:8190\nservice: {url: http://127.0.0.1:8180}\n"
	if _, err := parse(base); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"unknown member", base + "lisen: x\n", ":3:1: unknown field \"lisen\""},
		{"unknown member deep down", base + "authorization: {servers: [{isuer: x}]}\n", "unknown field \"isuer\""},
		{"twice", base + "decide: local\ndecide: remote\n", ":4:1: mapping key \"decide\" already defined"},
		{"no duration", base + "max_stale: soon\n", ":3:12: no duration"},
		{"no number", base + "limits: {header: much}\n", ":3:18: "},
		{"no YAML", base + "a: [\n", ":3:"},
		{"two documents", base + "---\nlisten: x\n", "more than one document"},
		{"nested", base + "routes: " + strings.Repeat("[", 100) + "\n", "nested too deeply"},
		{"decides nowhere", base + "decide: elsewhere\n", "decide must be remote or local"},
		{"local without a journal", base + "decide: local\n", "journal is needed"},
		{"none without a subject", base + "authorization: {type: none}\n", "authorization.subject is needed"},
		{"none for everybody", "listen: 0.0.0.0:80\npublic_url: https://x.example\nservice: {url: http://127.0.0.1:1}\nauthorization: {type: none, subject: {type: agent, id: a}}\n", "loopback and standard input only"},
		{"none behind a proxy", base + "public_url: https://bank.example.com\nauthorization: {type: none, subject: {type: agent, id: a}}\n", "public_url says that others come"},
		{"none for an address of the host", "listen: 192.0.2.1:80\npublic_url: https://x.example\nauthorization: {type: none, subject: {type: agent, id: a}}\n", "loopback and standard input only"},
		{"nobody", base + "authorization: {no_passports: true}\n", "leaves nobody"},
		{"the service twice", base + "authorization: {servers: [{issuer: http://127.0.0.1:8180}]}\n", "is there already"},
		{"certificates without TLS", base + "tls: {client_certificates: true}\n", "needs tls.cert"},
		{"a metadata document by http", base + "client: {key: k, metadata: true}\n", "needs a public_url that is https"},
		{"http elsewhere", base + "public_url: http://gw.example.com\n", "public_url must be"},
		{"a query", base + "public_url: https://gw.example.com?x\n", "public_url must be"},
		{"a fragment", base + "public_url: \"https://gw.example.com#\"\n", "public_url must be"},
		{"unknown credential", base + "credentials: {a: {type: magic}}\n", "credentials.a.type must be"},
		{"a name that is none", base + "credentials: {\"a b\": {}}\n", "has a name that is none"},
		{"for nobody", base + "credentials: {a: {type: client_credentials, token_url: https://x.example, client_id: a, auth: none}}\n", "needs resource or audience"},
		{"nowhere", base + "credentials: {a: {type: client_credentials, client_id: a, auth: none, audience: a}}\n", "needs issuer or token_url"},
		{"both", base + "credentials: {a: {type: client_credentials, issuer: https://x.example, token_url: https://x.example/t, client_id: a, auth: none, audience: a}}\n", "needs issuer or token_url"},
		{"no way to authenticate", base + "credentials: {a: {type: client_credentials, issuer: https://x.example, client_id: a, audience: a}}\n", "auth must be"},
		{"no key", base + "credentials: {a: {type: client_credentials, issuer: https://x.example, client_id: a, auth: private_key_jwt, audience: a}}\n", "needs client.key"},
		{"a secret in the open", base + "credentials: {a: {type: client_credentials, issuer: https://x.example, client_id: a, secret: hunter2, audience: a}}\n", "secret must be secret:NAME"},
		{"exchange of nothing", base + "authorization: {type: none, subject: {type: agent, id: a}}\ncredentials: {a: {type: token_exchange, issuer: https://x.example, client_id: a, auth: none, audience: a}}\n", "here no agent shows one"},
		{"exchange of anybody's", base + "authorization: {servers: [{issuer: https://x.example}]}\ncredentials: {a: {type: token_exchange, token_url: https://x.example/t, client_id: a, auth: none, audience: a}}\n", "subject_issuers is needed beside token_url"},
		{"exchange of a stranger's", base + "authorization: {servers: [{issuer: https://x.example/}]}\ncredentials: {a: {type: token_exchange, issuer: https://x.example, client_id: a, auth: none, audience: a}}\n", "names nobody whose tokens are accepted here"},
		{"exchange by an agent of others'", base + "authorization: {servers: [{issuer: https://x.example}]}\ncredentials: {a: {type: token_exchange, agent: k, resource: https://y.example, subject_issuers: [https://x.example]}}\n", "can only be the service"},
		{"issuers of no exchange", base + "credentials: {a: {type: none, subject_issuers: [https://x.example]}}\n", "is only of token_exchange"},
		{"keeps a token", base + "credentials: {a: {keep: [Authorization]}}\n", "can only keep"},
		{"more of one address than of all", base + "limits: {connections: 100, per_address: 101}\n", "limits.per_address must be"},
		{"no time to write", base + "limits: {write_time: 1ms}\n", "limits.write_time must be"},
		{"keeps a certificate", base + "credentials: {a: {keep: [x-forwarded-client-cert]}}\n", "can only keep"},
		{"keeps who came", base + "credentials: {a: {keep: [Remote-User]}}\n", "can only keep"},
		{"keeps everything", base + "credentials: {a: {keep: [\"*\"]}}\n", "can only keep"},
		{"a header that steers", base + "credentials: {a: {type: header, header: Transfer-Encoding, value: secret:a}}\n", "must be the name of a header"},
		{"a header that is none", base + "credentials: {a: {type: header, header: \"A\\r\\nB\", value: secret:a}}\n", "must be the name of a header"},
		{"an agent and more", base + "credentials: {a: {type: token_exchange, agent: k, issuer: https://x.example, resource: https://y.example}}\n", "has an agent's key file"},
		{"scope with a quote", base + "authorization: {scopes: ['a\"b']}\n", "authorization.scopes must be"},
	} {
		_, err := parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := parse(base + "credentials: {a: {type: header, value: secret:a}}\nroutes: [{name: a, method: GET}]\n"); err != nil {
		t.Errorf("a good one: %v", err)
	}
	var none struct{ A int }
	if err := gateway.Parse("x", nil, &none); err == nil {
		t.Error("a document without Common is read")
	}
	if err := gateway.Load(filepath.Join(t.TempDir(), "none"), new(door)); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Whatever stands in a document, it is read or refused with a line, and never a crash.
func FuzzParse(f *testing.F) {
	f.Add("listen: 127.0.0.1:8190\nservice: {url: http://127.0.0.1:8180}\n")
	f.Add("credentials:\n  a: &x {type: header, value: secret:a}\n  b: *x\n")
	f.Add("authorization:\n  servers:\n    - issuer: https://x\n      subject: {names: {a: b}}\n")
	f.Add("a: [\n- b: {c\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := parse(text)
		if err == nil {
			return
		}
		if !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
		if strings.ContainsAny(strings.ReplaceAll(err.Error(), "\n", ""), "\x1b\r") && !strings.ContainsAny(text, "\x1b\r") {
			t.Errorf("%q: the message steers terminals: %q", text, err)
		}
	})
}

// The commands that keep secrets write where the gateway reads.
func TestSecretsOf(t *testing.T) {
	for _, line := range []string{"", "secrets: {}\n", "secrets: {key: other.key}\n", "secrets: {key: /etc/other.key}\n", "secrets: {file: s}\n", "secrets: {file: /etc/s, key: k/s.key}\n"} {
		path := filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(path, []byte("listen: 127.0.0.1:8190\n"+line), 0o600); err != nil {
			t.Fatal(err)
		}
		d := new(door)
		if err := gateway.Load(path, d); err != nil {
			t.Fatal(err)
		}
		file, key, err := gateway.SecretsOf(path)
		if err != nil || file == "" || file != d.Path(d.Secrets.File) || key != d.Path(d.Secrets.Key) {
			t.Errorf("%q: SecretsOf = %q, %q, %v; the gateway reads %q, %q", line, file, key, err, d.Path(d.Secrets.File), d.Path(d.Secrets.Key))
		}
	}
}
