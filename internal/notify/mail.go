package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/safeconduct/safeconduct/internal/approval"
)

// How letters are sent.
const (
	// mailTimeout bounds each step of making a connection to a mail server, and one letter from its first
	// command to the last. It stays, with sending, below lease.
	mailTimeout = 20 * time.Second
	// keepEvery is after how many letters it is kept whom they have reached.
	keepEvery = 4
	// keeping bounds how long that may take, also when we are told to stop.
	keeping = 5 * time.Second
)

// A reader is who gets a letter.
type reader struct{ person, address string } // person is "" for a fixed address

// sendMail sends one letter to each reader, until ctx ends or the server does not answer: what is left is
// tried again. Whom one has reached gets none then. authz.ErrConflict: the delivery is not ours any more.
func (n *Notifier) sendMail(ctx context.Context, c *Channel, d *Delivery, a *approval.Ask) (outcome, error) {
	if c.Mail.Approvers && !d.Chosen {
		persons, err := n.choose(ctx, d, a)
		if err != nil {
			return outcome{}, err
		}
		d.Persons, d.Chosen = persons, true
		if err := n.claim(ctx, d); err != nil { // kept before anybody is told
			return outcome{}, err
		}
	}
	to := n.readers(c.Mail, d, a)
	if len(to) == 0 {
		if len(d.Reached)+len(d.Mailed) > 0 {
			return outcome{State: Told}, nil
		}
		return outcome{State: Moot}, nil
	}
	client, err := n.mailClient(c.Mail)
	if err != nil {
		return outcome{State: Dead, Error: err.Error()}, nil
	}
	server, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return mailOutcome(err), nil
	}
	defer func() {
		if client.CloseWithSMTPClient(server) != nil {
			server.Close()
		}
	}()
	o, text, lost := outcome{State: Told}, n.mailText(c, d, a), false
	for i, r := range to {
		if ctx.Err() != nil || lost {
			if o.State != Waiting {
				o = outcome{State: Waiting, Error: fmt.Sprintf("the mail server was through with %d of %d letters", i, len(to))}
			}
			break
		}
		if i > 0 && i%keepEvery == 0 {
			if err := n.keep(ctx, d); err != nil {
				return outcome{}, err
			}
		}
		m, err := n.mailMessage(c.Mail, d, a, r.address, text)
		if err != nil {
			if o.State != Waiting {
				o = outcome{State: Dead, Error: "an address cannot be used"} // the address itself stays here
			}
			continue
		}
		err = client.SendWithSMTPClient(server, m)
		lost = err != nil && !answered(err) // what the server says next could be said of this letter
		switch {
		case !m.IsDelivered():
			// One that may yet succeed has all that are left tried again.
			if again := mailOutcome(err); o.State != Waiting {
				o = again
			}
		case r.person != "":
			d.Reached = append(d.Reached, r.person)
		default:
			d.Mailed = append(d.Mailed, mailedKey(r.address))
		}
	}
	if ctx.Err() != nil {
		return o, n.keep(ctx, d) // nobody else may do so if we are told to stop
	}
	return o, nil
}

// readers returns who is to get a letter, and has not got one. Each attempt begins with another of them, so
// that one at whom the server hangs does not keep the others from theirs.
func (n *Notifier) readers(m *Mail, d *Delivery, a *approval.Ask) (to []reader) {
	if !private(a) {
		for _, address := range m.To {
			to = append(to, reader{"", address})
		}
	}
	for _, id := range d.Persons {
		if p, err := n.cfg.People.Person(id); err == nil && p.Email != "" && !p.Disabled {
			to = append(to, reader{id, p.Email})
		}
	}
	to = slices.DeleteFunc(to, func(r reader) bool {
		return slices.Contains(d.Reached, r.person) || r.person == "" && slices.Contains(d.Mailed, mailedKey(r.address))
	})
	if len(to) == 0 {
		return nil
	}
	k := int(max(d.Attempts-1, 0) % int64(len(to)))
	return slices.Concat(to[k:], to[:k])
}

// keep keeps whom letters have reached, and renews the claim.
func (n *Notifier) keep(ctx context.Context, d *Delivery) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keeping)
	defer cancel()
	return n.claim(ctx, d)
}

// answered reports whether a letter was refused by the server, or by the library before the server was
// asked. Otherwise the connection is of no use any more.
func answered(err error) bool {
	e, ok := errors.AsType[*mail.SendError](err)
	return ok && (e.ErrorCode() > 0 || e.Reason == mail.ErrGetSender || e.Reason == mail.ErrGetRcpts || e.Reason == mail.ErrNoUnencoded)
}

// mailedKey is how it is kept that a fixed address was told.
func mailedKey(address string) string {
	h := sha256.Sum256([]byte(address))
	return hex.EncodeToString(h[:8])
}

// mailOutcome says what becomes of a message that was not delivered. What the server said stays out of it,
// for it repeats addresses.
func mailOutcome(err error) outcome {
	if e, ok := errors.AsType[*mail.SendError](err); ok {
		text := "the mail server refused: " + e.Reason.String()
		if e.ErrorCode() > 0 {
			text = fmt.Sprintf("%s (%d)", text, e.ErrorCode())
		}
		if !e.IsTemp() && e.ErrorCode() >= 500 {
			return outcome{State: Dead, Error: text}
		}
		return outcome{State: Waiting, Error: text}
	}
	if err == nil {
		return outcome{State: Waiting, Error: "the mail server said nothing of it"}
	}
	return outcome{State: Waiting, Error: "speaking with the mail server: " + err.Error()}
}

func (n *Notifier) mailClient(m *Mail) (*mail.Client, error) {
	opts := []mail.Option{
		mail.WithPort(m.Port), mail.WithTimeout(mailTimeout), mail.WithoutNoop(),
		mail.WithTLSConfig(&tls.Config{ServerName: m.Host, RootCAs: m.Roots, MinVersion: tls.VersionTLS12}),
	}
	switch m.TLS {
	case StartTLS:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	case Implicit:
		opts = append(opts, mail.WithSSL(), mail.WithTLSPolicy(mail.NoTLS))
	case Plain:
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	}
	if m.Username != "" {
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.Username), mail.WithPassword(m.Password))
	}
	if u, err := url.Parse(n.cfg.Public); err == nil { // instead of this machine's own name
		if _, err := netip.ParseAddr(u.Hostname()); err != nil && u.Hostname() != "" {
			opts = append(opts, mail.WithHELO(u.Hostname()))
		}
	}
	return mail.NewClient(m.Host, opts...)
}

// mailMessage returns the message to one address. Its id follows from the delivery, so that a mailbox can
// tell a message that it gets twice.
func (n *Notifier) mailMessage(m *Mail, d *Delivery, a *approval.Ask, to, text string) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := msg.From(m.From); err != nil {
		return nil, err
	}
	if err := msg.To(to); err != nil {
		return nil, err
	}
	msg.Subject(title(d.Event, a)) // no word of a stranger
	msg.SetDateWithValue(n.cfg.Now())
	host := "safeconduct.invalid"
	if u, err := url.Parse(n.cfg.Public); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	msg.SetMessageIDWithValue(d.ID + "." + mailedKey(to) + "@" + host)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834
	msg.SetBodyString(mail.TypeTextPlain, text)
	return msg, nil
}

// mailText returns the text of a message. It is plain text: nothing in it is markup. What agents wrote
// stands behind a bar, so that it cannot pass for a word of ours.
func (n *Notifier) mailText(c *Channel, d *Delivery, a *approval.Ask) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nSee everything and answer here:\n%s\n\n", title(d.Event, a), n.link(a))
	for _, l := range lines(d.Event, a, c.Arguments) {
		fmt.Fprintf(&b, "%s:\n  | %s\n", l.Label, l.Text)
	}
	b.WriteString("\nWhat stands behind a bar was written by the agent or by whoever spoke to it. Follow no\nlink and no instruction in it. This message was sent by a program: do not answer it.\n")
	return b.String()
}
