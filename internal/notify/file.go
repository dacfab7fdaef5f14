package notify

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyfile"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

// Bounds of what a file of channels says and names.
const (
	maxFile    = 1 << 20
	maxSecret  = 4 << 10
	maxEntries = 200 // channels, evaluators and callbacks each
)

// A file is what the file of notify.channels says. See docs/notifications.md.
type file struct {
	// PrivateNetworks may be reached although they are not public, by channels and evaluators.
	PrivateNetworks []string `yaml:"private_networks"`

	Channels   map[string]channelFile   `yaml:"channels"`
	Evaluators map[string]evaluatorFile `yaml:"evaluators"`
	Callbacks  []callbackFile           `yaml:"callbacks"`
}

type channelFile struct {
	Type      string   `yaml:"type"` // webhook, slack or smtp
	Events    []string `yaml:"events"`
	Arguments *bool    `yaml:"arguments"` // true by default
	CAFile    string   `yaml:"ca_file"`

	URL        string `yaml:"url"`
	URLFile    string `yaml:"url_file"` // slack: the address is a secret
	SecretFile string `yaml:"secret_file"`

	Server       string   `yaml:"server"` // host:port
	TLS          string   `yaml:"tls"`
	Username     string   `yaml:"username"`
	PasswordFile string   `yaml:"password_file"`
	From         string   `yaml:"from"`
	To           []string `yaml:"to"`
	Approvers    bool     `yaml:"approvers"`
}

type evaluatorFile struct {
	URL        string `yaml:"url"`
	SecretFile string `yaml:"secret_file"`
	CAFile     string `yaml:"ca_file"`
	Timeout    string `yaml:"timeout"`
}

type callbackFile struct {
	PEP             string   `yaml:"pep"`
	Allow           []string `yaml:"allow"`
	SecretFile      string   `yaml:"secret_file"`
	CAFile          string   `yaml:"ca_file"`
	PrivateNetworks []string `yaml:"private_networks"`
}

// Load reads a file of channels, strictly, and the secrets that it names; those are relative to its
// directory and for their owner alone. The error is authz.ErrInvalid.
func Load(path string) (Channels, error) {
	fail := func(err error) (Channels, error) {
		return Channels{}, authz.Errorf(authz.ErrInvalid, "%s: %w", path, err)
	}
	text, err := readFile(path, maxFile)
	if err != nil {
		return Channels{}, authz.Errorf(authz.ErrInvalid, "reading notify.channels: %w", err)
	}
	f, err := parseFile(text)
	if err != nil {
		return fail(err)
	}
	cs, err := f.channels(filepath.Dir(path))
	if err != nil {
		return fail(err)
	}
	if err := cs.check(); err != nil {
		return fail(err)
	}
	return cs, nil
}

// parseFile decodes the text of a file.
func parseFile(text []byte) (f *file, err error) {
	defer func() {
		if v := recover(); v != nil { // the parser met bytes that it was not made for
			f, err = nil, errors.New("not readable as YAML")
		}
	}()
	if deep(text) {
		return nil, errors.New("nested too deeply")
	}
	f = new(file)
	err = yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.DisallowUnknownField()).Decode(f)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return f, nil
}

// deep reports whether a line opens more than any such file needs, so that the parser, which recurses, is
// not made to.
func deep(text []byte) bool {
	open, marks := 0, 0
	for _, c := range text {
		switch c {
		case '\n':
			marks = 0
		case '[', '{':
			open++
		case ']', '}':
			open--
		case '-', '?', ':', '!', '&', '*':
			marks++
		}
		if open > 16 || marks > 200 {
			return true
		}
	}
	return false
}

// channels returns what the file says. Files that it names are relative to dir.
func (f *file) channels(dir string) (Channels, error) {
	cs := Channels{Channels: map[string]Channel{}, Evaluators: map[string]Evaluator{}, Callbacks: map[string]Callback{}}
	if len(f.Channels) > maxEntries || len(f.Evaluators) > maxEntries || len(f.Callbacks) > maxEntries {
		return cs, fmt.Errorf("more than %d channels, evaluators or callbacks", maxEntries)
	}
	private, err := networks(f.PrivateNetworks)
	if err != nil {
		return cs, err
	}
	near := folder(dir)
	for id, in := range f.Channels {
		if cs.Channels[id], err = in.channel(near, private); err != nil {
			return cs, fmt.Errorf("channel %q: %w", id, err)
		}
	}
	for id, in := range f.Evaluators {
		e := Evaluator{Webhook: Webhook{URL: in.URL}, Timeout: usualEvaluation}
		if in.Timeout != "" {
			if e.Timeout, err = time.ParseDuration(in.Timeout); err != nil || e.Timeout <= 0 || e.Timeout > maxEvaluation {
				return cs, fmt.Errorf("evaluator %q: timeout must be a duration up to %v such as 5s, not %.40q", id, maxEvaluation, in.Timeout)
			}
		}
		if e.Secrets, err = near.secrets(in.SecretFile); err != nil {
			return cs, fmt.Errorf("evaluator %q: %w", id, err)
		}
		if e.Client, err = near.client(in.CAFile, private, e.Timeout, maxVerdict); err != nil {
			return cs, fmt.Errorf("evaluator %q: %w", id, err)
		}
		cs.Evaluators[id] = e
	}
	for _, in := range f.Callbacks {
		if in.PEP == "" || len(in.PEP) > 100 {
			return cs, errors.New("callbacks: pep is the name of an enforcement point")
		}
		if _, twice := cs.Callbacks[in.PEP]; twice {
			return cs, fmt.Errorf("callbacks: %q is named twice", in.PEP)
		}
		own, err := networks(in.PrivateNetworks)
		if err != nil {
			return cs, fmt.Errorf("callbacks of %q: %w", in.PEP, err)
		}
		c := Callback{Allow: in.Allow}
		if c.Secrets, err = near.secrets(in.SecretFile); err != nil {
			return cs, fmt.Errorf("callbacks of %q: %w", in.PEP, err)
		}
		if c.Client, err = near.client(in.CAFile, own, 0, maxReply); err != nil {
			return cs, fmt.Errorf("callbacks of %q: %w", in.PEP, err)
		}
		cs.Callbacks[in.PEP] = c
	}
	return cs, nil
}

// maxReply bounds what a receiver may answer whose answer nobody reads, in bytes.
const maxReply = 64 << 10

func (in *channelFile) channel(near folder, private []netip.Prefix) (c Channel, err error) {
	c = Channel{Events: in.Events, Arguments: in.Arguments == nil || *in.Arguments}
	web, post := in.URL != "" || in.URLFile != "" || in.SecretFile != "", in.Server != "" || in.TLS != "" || in.Username != "" ||
		in.PasswordFile != "" || in.From != "" || len(in.To) > 0 || in.Approvers
	switch in.Type {
	case "webhook":
		if post || in.URLFile != "" {
			return c, errors.New("a webhook has url, secret_file and ca_file, and nothing of the other types")
		}
		c.Webhook = &Webhook{URL: in.URL}
		if c.Webhook.Secrets, err = near.secrets(in.SecretFile); err != nil {
			return c, err
		}
		c.Webhook.Client, err = near.client(in.CAFile, private, 0, maxReply)
	case "slack":
		if post || in.SecretFile != "" || (in.URL == "") == (in.URLFile == "") {
			return c, errors.New("slack has url or url_file, and nothing of the other types")
		}
		c.Slack = &Slack{URL: in.URL}
		if in.URLFile != "" {
			b, err := near.secret(in.URLFile)
			if err != nil {
				return c, err
			}
			c.Slack.URL = string(b)
		}
		c.Slack.Client, err = near.client(in.CAFile, private, 0, maxReply)
	case "smtp":
		if web {
			return c, errors.New("smtp has server, from, to and approvers, and no url")
		}
		c.Mail, err = in.mail(near)
	default:
		return c, fmt.Errorf("type is one of webhook, slack, smtp, not %.40q", in.Type)
	}
	return c, err
}

func (in *channelFile) mail(near folder) (*Mail, error) {
	host, port, err := net.SplitHostPort(in.Server)
	if err != nil {
		return nil, fmt.Errorf("server must be host:port, not %.100q", in.Server)
	}
	m := &Mail{Host: host, TLS: TLSMode(in.TLS), Username: in.Username, From: in.From, To: in.To, Approvers: in.Approvers}
	if m.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("server must be host:port, not %.100q", in.Server)
	}
	if m.TLS == "" {
		m.TLS = StartTLS
	}
	if (in.Username == "") != (in.PasswordFile == "") {
		return nil, errors.New("username and password_file are given together")
	}
	if in.PasswordFile != "" {
		b, err := near.secret(in.PasswordFile)
		if err != nil {
			return nil, err
		}
		m.Password = string(b)
	}
	m.Roots, err = near.authorities(in.CAFile)
	return m, err
}

func networks(texts []string) (ps []netip.Prefix, err error) {
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("private_networks: %.100q is no network such as 10.96.0.0/12", text)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// A folder is where files lie that are named without their directory.
type folder string

func (f folder) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(string(f), name)
}

// secret returns what a file says that is for its owner alone.
func (f folder) secret(name string) ([]byte, error) {
	b, err := keyfile.Read(f.path(name), maxSecret)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 || bytes.ContainsAny(b, "\r\n") {
		return nil, fmt.Errorf("%s has not one line", name)
	}
	return b, nil
}

// secretPrefix begins a secret as Standard Webhooks writes one.
const secretPrefix = "whsec_"

// secrets returns the secrets of a file: one a line, the newest first.
func (f folder) secrets(name string) (secrets [][]byte, err error) {
	if name == "" {
		return nil, errors.New("secret_file is missing")
	}
	b, err := keyfile.Read(f.path(name), maxSecret)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		text, ok := strings.CutPrefix(line, secretPrefix)
		secret, err := base64.StdEncoding.Strict().DecodeString(text)
		if !ok || err != nil {
			return nil, fmt.Errorf("%s: a secret is %s and 24 to 64 bytes in base64, one a line", name, secretPrefix)
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}

// authorities returns the certificates of a file, nil if none is named.
func (f folder) authorities(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	text, err := readFile(f.path(name), maxFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca_file: %s has no certificate in PEM form", name)
	}
	return pool, nil
}

// client returns what reaches an address that the file names. 0 leaves the timeout to its default.
func (f folder) client(caFile string, private []netip.Prefix, timeout time.Duration, most int64) (*outbound.Client, error) {
	roots, err := f.authorities(caFile)
	if err != nil {
		return nil, err
	}
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	return outbound.New(outbound.Config{RootCAs: roots, Allow: private, Timeout: timeout, MaxBytes: most}), nil
}

// readFile returns the content of a file of at most that many bytes.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return b, err
}
