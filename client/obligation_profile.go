package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of the obligations that the AuthZEN profile defines, in bytes.
const (
	maxTo        = 1024 // also of topics, subjects and acr values
	maxMessage   = 32 << 10
	maxAMR       = 64
	perMinute    = 60 // notifications
	bidiControls = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)

// A Notification is a message that is to be sent. All of it may be, or repeat, what a stranger wrote: it is
// one line each without control characters, and the body as many lines as it likes.
type Notification struct {
	ID    string // of the obligation
	To    string // whatever the enforcement point and the policies' authors agreed on
	Topic string // may be empty
	Body  string
}

// A Notifier meets notification: by its method Meet, which is safe for concurrent use. The profile warns of a service
// that makes an enforcement point's mail relay its own ("PEPs SHOULD treat to and body values as
// untrusted input"), hence To and PerMinute.
type Notifier struct {
	// Send sends a message, or returns why it could not, after trying as often as is worthwhile. It must be set.
	Send func(ctx context.Context, n Notification) error
	// To reports whether messages may be sent there; nil stands for everywhere.
	To func(to string) bool
	// PerMinute is how many messages are sent in a minute: 60 by default. Those beyond are not sent, and
	// their acts refused.
	PerMinute int

	mu    sync.Mutex
	since time.Time
	sent  int
}

// Meet sends the message.
func (n *Notifier) Meet(ctx context.Context, d *Duty) error {
	var p struct{ To, Body, Topic string }
	if err := json.Unmarshal(d.Properties, &p); err != nil {
		return fmt.Errorf("it is malformed: %w", err)
	}
	switch {
	case p.To == "" || p.Body == "":
		return errors.New("it is malformed: it lacks to or body")
	case !oneLine(p.To) || !oneLine(p.Topic):
		return errors.New("it is malformed: to or topic is too long, or more than one line")
	case len(p.Body) > maxMessage || !plain(p.Body, "\n\t"):
		return errors.New("it is malformed: body is too long, or has control characters")
	case n.To != nil && !n.To(p.To):
		return fmt.Errorf("nothing is sent to %.64q from here", p.To)
	case !n.take():
		return errors.New("too much has been sent within this minute")
	}
	return n.Send(ctx, Notification{d.ID, p.To, p.Topic, p.Body})
}

// take counts one message, if there is room for it in this minute.
func (n *Notifier) take() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); now.Sub(n.since) >= time.Minute {
		n.since, n.sent = now, 0
	}
	most := n.PerMinute
	if most <= 0 {
		most = perMinute
	}
	if n.sent >= most {
		return false
	}
	n.sent++
	return true
}

// MeetSessionTermination has end end all active sessions of the subject, elsewhere too if there are any.
func MeetSessionTermination(end func(ctx context.Context, subject string) error) Handler {
	return func(ctx context.Context, d *Duty) error {
		var p struct{ Subject string }
		if err := json.Unmarshal(d.Properties, &p); err != nil {
			return fmt.Errorf("it is malformed: %w", err)
		}
		if p.Subject == "" || !oneLine(p.Subject) {
			return errors.New("it is malformed: it lacks subject, or that is no line of text")
		}
		return end(ctx, p.Subject)
	}
}

// A StepUp is the authentication that is demanded.
type StepUp struct {
	ACR string   // the authentication context class that must be reached
	AMR []string // the methods that must be used; none if it does not matter
}

// MeetStepUp has authenticate lead whoever asks through the authentication that is demanded, and return nil only if
// exactly that was reached. After a refusal the question is put once more.
func MeetStepUp(authenticate func(ctx context.Context, s StepUp) error) Handler {
	return func(ctx context.Context, d *Duty) error {
		var p struct {
			ACR string   `json:"acr_value"`
			AMR []string `json:"amr_values"`
		}
		if err := json.Unmarshal(d.Properties, &p); err != nil {
			return fmt.Errorf("it is malformed: %w", err)
		}
		if p.ACR == "" || !oneLine(p.ACR) || len(p.AMR) > maxAMR {
			return errors.New("it is malformed: it lacks acr_value, or has too many amr_values")
		}
		for _, s := range p.AMR {
			if s == "" || !oneLine(s) {
				return errors.New("it is malformed: a method is no line of text")
			}
		}
		return authenticate(ctx, StepUp{p.ACR, p.AMR})
	}
}

// oneLine reports whether s is a short line of plain text, which cannot add a header to a message.
func oneLine(s string) bool { return len(s) <= maxTo && plain(s, "") }

// plain reports whether s has no control characters but some, and nothing that turns the direction of writing.
func plain(s, some string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune(some, r) || strings.ContainsRune(bidiControls, r) || r == '\u2028' || r == '\u2029'
	})
}
