package notify_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/notify"
)

// A post office is a real mail server that keeps what it is given.
type postOffice struct {
	t      *testing.T
	port   int
	roots  *x509.CertPool
	mu     sync.Mutex
	got    []letter
	refuse map[string]int // receivers that it refuses, and how
	hangUp string         // at the letter to that receiver it breaks the connection
	taken  func(l letter) // if it is set, called when a letter is there, before the server says so
}

type letter struct {
	From, To string
	TLS      bool
	User     string
	Text     []byte
}

// newPostOffice starts a mail server. With secure it offers STARTTLS, with implicit it speaks TLS from the
// first byte.
func newPostOffice(t *testing.T, secure, implicit bool) *postOffice {
	t.Helper()
	p := &postOffice{t: t, refuse: map[string]int{}}
	cert := newReceiver(t)
	p.roots = cert.pool()
	srv := smtp.NewServer(p)
	srv.Domain = "127.0.0.1"
	srv.AllowInsecureAuth = false
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.port = l.Addr().(*net.TCPAddr).Port
	conf := &tls.Config{Certificates: cert.certificates()}
	if secure {
		srv.TLSConfig = conf
	}
	if implicit {
		l = tls.NewListener(l, conf)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { srv.Close(); running.Wait() })
	return p
}

func (p *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &visit{p: p, conn: c}, nil
}

// A visit is one connection.
type visit struct {
	p    *postOffice
	conn *smtp.Conn
	mail letter
}

func (v *visit) AuthMechanisms() []string { return []string{"PLAIN"} }

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "safeconduct" || password != "open sesame" {
			return smtp.ErrAuthFailed
		}
		v.mail.User = user
		return nil
	}), nil
}

func (v *visit) Mail(from string, _ *smtp.MailOptions) error {
	v.mail.From = from
	return nil
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	if code := v.p.refuse[to]; code != 0 {
		return &smtp.SMTPError{Code: code, Message: "no <" + to + "> here"}
	}
	v.mail.To = to
	return nil
}

func (v *visit) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	v.p.mu.Lock()
	if v.mail.To == v.p.hangUp {
		v.p.mu.Unlock()
		return v.conn.Conn().Close()
	}
	_, v.mail.TLS = v.conn.TLSConnectionState()
	v.mail.Text = text
	v.p.got = append(v.p.got, v.mail)
	taken := v.p.taken
	v.p.mu.Unlock()
	if taken != nil {
		taken(v.mail)
	}
	return nil
}

func (v *visit) Reset()        { v.mail = letter{User: v.mail.User} }
func (v *visit) Logout() error { return nil }

// take returns the letters since it was last asked, by whom they are for.
func (p *postOffice) take() (letters []letter, to []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	letters, p.got = p.got, nil
	for _, l := range letters {
		to = append(to, strings.TrimSuffix(l.To, "@people.example"))
	}
	slices.Sort(to)
	return letters, to
}

// refuses makes it refuse a receiver with a code, or not any more.
func (p *postOffice) refuses(to string, code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse[to] = code
}

func (p *postOffice) channel() *notify.Mail {
	return &notify.Mail{Host: "127.0.0.1", Port: p.port, TLS: notify.StartTLS, Roots: p.roots, From: "Safeconduct <asks@pdp.example.com>"}
}

func mailed(m *notify.Mail, events ...string) notify.Channels {
	return notify.Channels{Channels: map[string]notify.Channel{"mail": {Mail: m, Arguments: true, Events: events}}}
}

func TestMail(t *testing.T) {
	office := newPostOffice(t, true, false)
	m := office.channel()
	m.To, m.Username, m.Password = []string{"Finance <finance@people.example>"}, "safeconduct", "open sesame"
	h := open(t, mailed(m))
	h.ask("arq_1", "mailed", func(a *approval.Ask) {
		a.Justification = "Please.\r\nBcc: all@example.com\r\n\r\nApprove at https://evil.example"
	})
	h.pass()
	letters, to := office.take()
	if len(letters) != 1 {
		t.Fatalf("sent to %v, want one letter: %+v", to, h.all("arq_1"))
	}
	l := letters[0]
	if l.From != "asks@pdp.example.com" || l.To != "finance@people.example" || !l.TLS || l.User != "safeconduct" {
		t.Errorf("sent from %q to %q as %q, TLS %v", l.From, l.To, l.User, l.TLS)
	}
	msg, err := mail.ReadMessage(bytes.NewReader(l.Text))
	if err != nil {
		t.Fatalf("reading the message: %v", err)
	}
	var names []string
	for name := range msg.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}, names); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	d := h.wantState("arq_1", "channel mail asked", notify.Told)
	if got := msg.Header.Get("Message-Id"); !strings.HasPrefix(got, "<"+d.ID+".") || !strings.HasSuffix(got, "@pdp.example.com>") {
		t.Errorf("Message-Id = %q, want one made of %s", got, d.ID)
	}
	body, err := io.ReadAll(msg.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(strings.ReplaceAll(string(body), "=\r\n", ""), "=3D", "=")
	for _, want := range []string{"https://pdp.example.com/asks/arq_1", "pay on account:acme (confidential, financial)", `{"amount":"1200.50","to":"CH93"}`, `  | Please.\u000d\u000aBcc: all@example.com`} {
		if !strings.Contains(text, want) {
			t.Errorf("the text has no %q:\n%s", want, text)
		}
	}
}

func TestMailImplicitTLS(t *testing.T) {
	office := newPostOffice(t, false, true)
	m := office.channel()
	m.To, m.TLS = []string{"finance@people.example"}, notify.Implicit
	h := open(t, mailed(m))
	h.ask("arq_1", "mailed")
	h.pass()
	if letters, _ := office.take(); len(letters) != 1 || !letters[0].TLS {
		t.Errorf("sent %d letters, want one by TLS: %+v", len(letters), h.all("arq_1"))
	}
}

// Nothing is sent to a server that does not offer STARTTLS, that shows another's certificate, or that
// refuses the password; and no reason names a secret.
func TestMailRefused(t *testing.T) {
	for name, c := range map[string]struct {
		secure bool
		change func(*notify.Mail)
	}{
		"no STARTTLS":               {false, func(*notify.Mail) {}},
		"a stranger's certificate":  {true, func(m *notify.Mail) { m.Roots = x509.NewCertPool() }},
		"a certificate of another":  {true, func(m *notify.Mail) { m.Host = "localhost" }},
		"a password that is no use": {true, func(m *notify.Mail) { m.Username, m.Password = "safeconduct", "pst, secret" }},
	} {
		t.Run(name, func(t *testing.T) {
			office := newPostOffice(t, c.secure, false)
			m := office.channel()
			m.To = []string{"finance@people.example"}
			c.change(m)
			h := open(t, mailed(m))
			h.ask("arq_1", "mailed")
			h.pass()
			if letters, _ := office.take(); len(letters) != 0 {
				t.Errorf("sent %d letters, want none", len(letters))
			}
			d := h.wantState("arq_1", "channel mail asked", notify.Waiting)
			if d.Error == "" || strings.Contains(d.Error, "secret") || strings.Contains(d.Error, "finance") {
				t.Errorf("the reason is %q, want one without secrets and addresses", d.Error)
			}
		})
	}
}

// Those who may answer are told, each once, and those only whom it has not reached are told again.
func TestMailApprovers(t *testing.T) {
	office := newPostOffice(t, true, false)
	m := office.channel()
	m.Approvers = true
	h := open(t, mailed(m))
	escalated := map[string]bool{}
	h.desk.may = func(a *approval.Ask, p approval.Person) bool {
		return p.ID == "anna" || p.ID == "ben" || p.ID == "eve" || p.ID == "fay" || p.ID == "dora" && escalated[a.ID]
	}
	sent := func(what string, want ...string) {
		t.Helper()
		if _, got := office.take(); !slices.Equal(got, want) {
			t.Errorf("%s: sent to %v, want %v", what, got, want)
		}
	}

	office.refuses("ben@people.example", 450)
	h.ask("arq_1", "mailed")
	h.pass()
	sent("at first", "anna")
	if d := h.wantState("arq_1", "channel mail asked", notify.Waiting); strings.Contains(d.Error, "ben@") || !strings.Contains(d.Error, "450") {
		t.Errorf("the reason is %q, want the code and no address", d.Error)
	}
	office.refuses("ben@people.example", 0)
	h.clock.advance(time.Minute)
	h.pass()
	sent("again", "ben")
	if d := h.wantState("arq_1", "channel mail asked", notify.Told); !slices.Equal(d.Reached, []string{"anna", "ben"}) {
		t.Errorf("reached %v, want anna and ben", d.Reached)
	}

	// An escalation goes to those who have not been told.
	escalated["arq_1"] = true
	h.move("arq_1", func(a *approval.Ask) { a.Escalated = h.clock.now() })
	h.pass()
	sent("escalated", "dora")

	// The budget is two asks an hour: the third is left to others, and then to the inbox.
	h.ask("arq_2", "mailed")
	h.pass()
	sent("the second", "anna", "ben")
	h.ask("arq_3", "mailed")
	h.pass()
	sent("the third")
	h.wantState("arq_3", "channel mail asked", notify.Moot)
	escalated["arq_3"] = true
	h.move("arq_3", func(a *approval.Ask) { a.Escalated = h.clock.now() })
	h.pass()
	sent("the third, escalated", "dora")
	h.clock.advance(time.Hour)
	h.ask("arq_4", "mailed")
	h.pass()
	sent("an hour later", "anna", "ben")

	// Broken glass is told to who may review it, whatever the budget, and not to who broke it.
	h.ask("arq_5", "mailed")
	h.move("arq_5", func(a *approval.Ask) {
		a.Status, a.Broken = approval.Approved, &approval.Broken{By: "person:ben", Reason: "production is down", Due: h.clock.now().Add(time.Hour)}
	})
	h.pass()
	sent("broken glass", "anna", "cleo")

	// An ask for a token goes to the one who alone may answer it.
	h.ask("arq_6", "silent", func(a *approval.Ask) { a.Kind, a.Person, a.Items[0].Routes = approval.CIBA, "cleo", []string{"mailed"} })
	h.desk.may = func(_ *approval.Ask, p approval.Person) bool { return false }
	h.pass()
	sent("an ask for a token", "cleo")
}

// A refusal for good is not repeated, and who was reached stays so.
func TestMailRefusedForGood(t *testing.T) {
	office := newPostOffice(t, true, false)
	m := office.channel()
	m.To = []string{"gone@people.example", "finance@people.example"}
	office.refuses("gone@people.example", 550)
	h := open(t, mailed(m))
	h.ask("arq_1", "mailed")
	h.pass()
	if _, got := office.take(); !slices.Equal(got, []string{"finance"}) {
		t.Errorf("sent to %v, want finance although another was refused", got)
	}
	d := h.wantState("arq_1", "channel mail asked", notify.Dead)
	if !strings.Contains(d.Error, "550") {
		t.Errorf("the reason is %q, want the code", d.Error)
	}
	office.refuses("gone@people.example", 0)
	if _, err := h.Retry(t.Context(), "admin:root", "the mailbox is there again", d.ID); err != nil {
		t.Fatal(err)
	}
	h.pass()
	if _, got := office.take(); !slices.Equal(got, []string{"gone"}) {
		t.Errorf("sent to %v, want who was not reached before", got)
	}
}
