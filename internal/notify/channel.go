package notify

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net/mail"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

// Channels are all that messages can go to: what the file of notify.channels says.
type Channels struct {
	Channels   map[string]Channel   // by the ids that routes of the catalog name
	Evaluators map[string]Evaluator // likewise
	Callbacks  map[string]Callback  // by the names of enforcement points
}

// A Channel is where people are told. Exactly one of Webhook, Slack and Mail is set.
type Channel struct {
	// Events are those that it is told of. By default: asked, escalated, broken_glass.
	Events []string
	// Arguments is whether messages hold the arguments of acts. Whoever reads the channel sees them.
	Arguments bool

	Webhook *Webhook
	Slack   *Slack
	Mail    *Mail
}

// A Webhook is an address that is told by signed JSON (Standard Webhooks).
type Webhook struct {
	URL     string
	Secrets [][]byte // each signs: the newest, and those that receivers may still verify by
	Client  *outbound.Client
}

// A Slack is an incoming webhook of Slack, or of something that understands the same. Whoever knows its URL
// can write there.
type Slack struct {
	URL    string
	Client *outbound.Client
}

// An Evaluator is a program that may answer asks.
type Evaluator struct {
	Webhook
	// Timeout bounds how long it may take to answer: 10 seconds by default, at most a minute.
	Timeout time.Duration
}

// A Callback is what one enforcement point may ask to be told at.
type Callback struct {
	Allow   []string // what a callback's endpoint must begin with: one of these
	Secrets [][]byte // each signs
	Client  *outbound.Client
}

var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// defaultEvents are what a channel is told of that does not say.
var defaultEvents = []string{Asked, Escalated, Broken}

// hears reports whether the channel is told of an event.
func (c *Channel) hears(event string) bool {
	if len(c.Events) == 0 {
		return slices.Contains(defaultEvents, event)
	}
	return slices.Contains(c.Events, event)
}

// private reports whether an ask is one person's own affair. A channel that others read is not told of it.
func private(a *approval.Ask) bool { return a.Kind == approval.CIBA }

// personal reports whether the channel tells of an event the one person whom a private ask is for.
func (c *Channel) personal(event string) bool {
	return c.Mail != nil && c.Mail.Approvers && (event == Asked || event == Escalated)
}

// check returns authz.ErrInvalid and what is wrong.
func (cs *Channels) check() error {
	for _, id := range slices.Sorted(maps.Keys(cs.Channels)) {
		c := cs.Channels[id]
		if err := c.check(); err != nil {
			return authz.Errorf(authz.ErrInvalid, "channel %q: %w", id, err)
		}
		if !idForm.MatchString(id) {
			return authz.Errorf(authz.ErrInvalid, "channel %.64q: an id has 1 to 64 of a-z, 0-9, dot, hyphen and underscore", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(cs.Evaluators)) {
		e := cs.Evaluators[id]
		if err := e.Webhook.check(); err != nil {
			return authz.Errorf(authz.ErrInvalid, "evaluator %q: %w", id, err)
		}
		if e.Timeout < 0 || e.Timeout > maxEvaluation {
			return authz.Errorf(authz.ErrInvalid, "evaluator %q: timeout is at most %v", id, maxEvaluation)
		}
		if !idForm.MatchString(id) {
			return authz.Errorf(authz.ErrInvalid, "evaluator %.64q: an id has 1 to 64 of a-z, 0-9, dot, hyphen and underscore", id)
		}
	}
	for _, pep := range slices.Sorted(maps.Keys(cs.Callbacks)) {
		c := cs.Callbacks[pep]
		if err := c.check(); err != nil {
			return authz.Errorf(authz.ErrInvalid, "callbacks of %q: %w", pep, err)
		}
	}
	return nil
}

func (c *Channel) check() error {
	n := 0
	var err error
	if c.Webhook != nil {
		n, err = n+1, c.Webhook.check()
	}
	if c.Slack != nil {
		n, err = n+1, c.Slack.check()
	}
	if c.Mail != nil {
		n, err = n+1, c.Mail.check()
	}
	if n != 1 {
		return fmt.Errorf("it is one of webhook, slack and smtp")
	}
	for _, e := range c.Events {
		if !slices.Contains([]string{Asked, Escalated, Broken, Ended, Revoked}, e) {
			return fmt.Errorf("unknown event %.64q: one of %s, %s, %s, %s, %s", e, Asked, Escalated, Broken, Ended, Revoked)
		}
	}
	return err
}

// check says nothing of the address: it is a secret.
func (s *Slack) check() error {
	if checkAddress(s.Client, s.URL) != nil {
		return fmt.Errorf("its address cannot be used: it begins with https://, names a host, and has no user, fragment or space")
	}
	return nil
}

func (w *Webhook) check() error {
	if err := checkSecrets(w.Secrets); err != nil {
		return err
	}
	return checkAddress(w.Client, w.URL)
}

func checkAddress(c *outbound.Client, address string) error {
	if c == nil {
		return fmt.Errorf("there is no client to reach it by")
	}
	return c.Check(address)
}

// maxSecrets are as many as sign one message.
const maxSecrets = 4

func checkSecrets(secrets [][]byte) error {
	if len(secrets) == 0 || len(secrets) > maxSecrets {
		return fmt.Errorf("it needs 1 to %d secrets", maxSecrets)
	}
	for _, s := range secrets {
		if len(s) < 24 || len(s) > 64 {
			return fmt.Errorf("a secret has 24 to 64 bytes, not %d", len(s))
		}
	}
	return nil
}

// Mail is a server that takes e-mail for persons.
type Mail struct {
	Host     string
	Port     int
	TLS      TLSMode
	Roots    *x509.CertPool // who its certificate must come from: by default those whom the system trusts
	Username string         // "" if the server does not ask
	Password string

	From string   // address, with or without a name
	To   []string // addresses
	// Approvers is whether each person is told who may answer, has an address, and was not told of too much.
	Approvers bool
}

// A TLSMode says how a connection to a mail server is protected.
type TLSMode string

// Ways to protect a connection.
const (
	StartTLS TLSMode = "starttls" // demanded: without it nothing is sent
	Implicit TLSMode = "implicit" // from the first byte
	Plain    TLSMode = "none"     // not at all: on loopback only
)

func (m *Mail) check() error {
	if m.Host == "" || len(m.Host) > 253 || m.Port < 1 || m.Port > 65535 {
		return fmt.Errorf("the server is host:port")
	}
	switch m.TLS {
	case StartTLS, Implicit:
	case Plain:
		if !loopbackHost(m.Host) {
			return fmt.Errorf("tls: none is for a server on loopback only")
		}
		if m.Username != "" {
			return fmt.Errorf("a password is not sent without TLS")
		}
	default:
		return fmt.Errorf("tls is one of starttls, implicit, none")
	}
	if _, err := mail.ParseAddress(m.From); err != nil {
		return fmt.Errorf("from: %.100q is no address", m.From)
	}
	if len(m.To) == 0 && !m.Approvers {
		return fmt.Errorf("it goes to nobody: say to, or approvers: true")
	}
	if len(m.To) > maxPersons {
		return fmt.Errorf("to has at most %d addresses", maxPersons)
	}
	for _, to := range m.To {
		if _, err := mail.ParseAddress(to); err != nil {
			return fmt.Errorf("to: %.100q is no address", to)
		}
	}
	return nil
}

// loopbackHost reports whether a host is this machine without asking anybody.
func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
