package notify_test

import (
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/notify"
)

const whsec = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"

// folder returns a directory with files, all for their owner alone.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// example returns the file of docs/notifications.md.
func example(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "```yaml\n# channels.yaml\n")
	text, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("docs/notifications.md has no block of YAML that begins with # channels.yaml")
	}
	return text
}

// The file of docs/notifications.md is read.
func TestLoadExample(t *testing.T) {
	srv := newReceiver(t)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	dir := folder(t, map[string]string{
		"channels.yaml": example(t), "siem.secret": whsec + "\n" + whsec, "slack.url": "https://hooks.slack.com/services/T/B/x\n",
		"mail.password": "open sesame\n", "internal-ca.pem": ca, "judge.secret": whsec, "gateway.secret": whsec,
	})
	cs, err := notify.Load(filepath.Join(dir, "channels.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	siem, chat, mail := cs.Channels["siem"], cs.Channels["finance-chat"], cs.Channels["mail"]
	if siem.Webhook == nil || len(siem.Webhook.Secrets) != 2 || len(siem.Webhook.Secrets[0]) != 32 || !siem.Arguments || len(siem.Events) != 5 {
		t.Errorf("siem = %+v, want a webhook with two secrets and all events", siem)
	}
	if chat.Slack == nil || chat.Slack.URL != "https://hooks.slack.com/services/T/B/x" || chat.Arguments {
		t.Errorf("finance-chat = %+v, want slack without arguments", chat)
	}
	if m := mail.Mail; m == nil || m.Host != "mail.example.com" || m.Port != 587 || m.TLS != notify.StartTLS || m.Password != "open sesame" || !m.Approvers {
		t.Errorf("mail = %+v, want a mail server with STARTTLS", mail.Mail)
	}
	if e := cs.Evaluators["risk-engine"]; e.Timeout != 5*time.Second || len(e.Secrets) != 1 {
		t.Errorf("risk-engine = %+v, want a timeout of 5s", e)
	}
	if c := cs.Callbacks["gateway-1"]; len(c.Allow) != 1 || len(c.Secrets) != 1 {
		t.Errorf("callbacks of gateway-1 = %+v, want one address", c)
	}
}

func TestLoadRefused(t *testing.T) {
	files := map[string]string{"s": whsec, "short": "whsec_AAAA\n", "bare": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n", "empty": "\n", "two": "a\nb\n", "ca": "no PEM"}
	hook := func(rest string) string {
		return "channels:\n  x: {type: webhook, url: \"https://a.example/\"" + rest + "}\n"
	}
	post := func(rest string) string {
		return "channels:\n  x: {type: smtp, from: a@b.example, to: [c@d.example]" + rest + "}\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"a list":                 {"- a\n", "channels.yaml"},
		"an unknown member":      {"channel: {}\n", "unknown"},
		"a member twice":         {"channels: {}\nchannels: {}\n", "already defined"},
		"nested":                 {strings.Repeat("[", 50), "nested too deeply"},
		"no type":                {"channels:\n  x: {url: \"https://a.example/\"}\n", "type is one of"},
		"another type":           {"channels:\n  x: {type: pager}\n", "type is one of"},
		"no secret":              {hook(""), "secret_file is missing"},
		"a secret that is gone":  {hook(", secret_file: gone"), "no such file"},
		"a short secret":         {hook(", secret_file: short"), "24 to 64 bytes"},
		"a secret without whsec": {hook(", secret_file: bare"), "whsec_"},
		"an empty secret":        {hook(", secret_file: empty"), "1 to 4 secrets"},
		"a webhook with to":      {hook(", secret_file: s, to: [a@b.example]"), "nothing of the other types"},
		"plain http":             {"channels:\n  x: {type: webhook, url: \"http://a.example/\", secret_file: s}\n", "https://"},
		"an unknown event":       {hook(", secret_file: s, events: [viewed]"), "unknown event"},
		"slack, two addresses":   {"channels:\n  x: {type: slack, url: \"https://a.example/\", url_file: two}\n", "url or url_file"},
		"slack, no address":      {"channels:\n  x: {type: slack}\n", "url or url_file"},
		"slack, two lines":       {"channels:\n  x: {type: slack, url_file: two}\n", "not one line"},
		"smtp, no port":          {post(", server: mail.example"), "host:port"},
		"smtp, a url":            {post(", server: \"mail.example:25\", url: \"https://a.example/\""), "no url"},
		"smtp, half a password":  {post(", server: \"mail.example:25\", username: u"), "together"},
		"smtp, plain":            {post(", server: \"mail.example:25\", tls: none"), "loopback only"},
		"a ca without PEM":       {hook(", secret_file: s, ca_file: ca"), "no certificate"},
		"no network":             {"private_networks: [10.0.0.1]\n", "no network"},
		"a timeout":              {"evaluators:\n  e: {url: \"https://a.example/\", secret_file: s, timeout: 2h}\n", "timeout must be"},
		"a callback, no pep":     {"callbacks:\n  - {allow: [\"https://a.example/\"], secret_file: s}\n", "pep is the name"},
		"a callback, nowhere":    {"callbacks:\n  - {pep: g, secret_file: s}\n", "1 to 32 addresses"},
		"a pep twice":            {"callbacks:\n  - {pep: g, allow: [\"https://a.example/\"], secret_file: s}\n  - {pep: g, allow: [\"https://a.example/\"], secret_file: s}\n", "named twice"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, files)
			path := filepath.Join(dir, "channels.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := notify.Load(path); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Load of %q = %v, want ErrInvalid with %q", c.text, err, c.want)
			}
		})
	}
	if _, err := notify.Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Load of no file = %v, want ErrInvalid", err)
	}
	if cs, err := notify.Load(filepath.Join(folder(t, map[string]string{"f": ""}), "f")); err != nil || len(cs.Channels) != 0 {
		t.Errorf("Load of an empty file = %+v, %v; want nothing", cs, err)
	}
}

// An address of Slack's is a secret, also one with a mistake.
func TestLoadSlackSecret(t *testing.T) {
	for _, address := range []string{"http://hooks.slack.com/services/T/B/secret", "hooks.slack.com/services/T/B/secret", "https://hooks.slack.com/services/T/B/secret#", "https://hooks.slack.com/T B/secret",
		"https:///T/secret", "https://hooks.slack.com:x/secret", "https://secret:x@hooks.slack.com/", "https://hooks.slack.com/secret" + strings.Repeat("x", 3000)} {
		dir := folder(t, map[string]string{"f": "channels:\n  x: {type: slack, url_file: u}\n", "u": address + "\n"})
		if _, err := notify.Load(filepath.Join(dir, "f")); !errors.Is(err, authz.ErrInvalid) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), `channel "x"`) {
			t.Errorf("Load with the address %.60q = %v, want ErrInvalid, the channel, and no secret", address, err)
		}
	}
}

// Secrets that others can read are refused.
func TestLoadExposed(t *testing.T) {
	if runtime.GOOS == "windows" { // it has no such permissions
		return
	}
	dir := folder(t, map[string]string{"f": "channels:\n  x: {type: webhook, url: \"https://a.example/\", secret_file: s}\n", "s": whsec})
	if err := os.Chmod(filepath.Join(dir, "s"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := notify.Load(filepath.Join(dir, "f")); !errors.Is(err, authz.ErrInvalid) || strings.Contains(err.Error(), "MDEy") {
		t.Errorf("Load with a secret that others can read = %v, want ErrInvalid and no secret", err)
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte("channels:\n  x: {type: webhook, url: \"https://a.example/\", secret_file: s}\n"))
	f.Add([]byte("callbacks:\n  - pep: g\n    allow: [a]\n"))
	f.Add([]byte("evaluators: {e: {timeout: 5s}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_ = notify.ParseFile(text) // it does not panic, and it ends
	})
}
