package notify

import (
	"context"
	"time"

	"github.com/safeconduct/safeconduct/internal/approval"
)

// Pass makes one attempt at each delivery whose time has come, and waits for them.
func (n *Notifier) Pass(ctx context.Context) error {
	w := newWorkers(n)
	err := w.pass(ctx)
	w.running.Wait()
	return err
}

// What tests of strict reading and of writing out need.
var (
	Clean      = clean
	PlainJSON  = plainJSON
	Object     = object
	Pause      = pause
	Below      = below
	DeliveryID = deliveryID
)

// Limits that tests move the clock by.
const (
	Lease    = lease
	Patience = patience
	Longest  = longest
	MaxError = maxError
)

// ParseVerdict reads an evaluator's answer.
func ParseVerdict(b []byte) (ask, verdict string, scope approval.Scope, err error) {
	v, err := parseVerdict(b)
	return v.Ask, v.Verdict, v.Scope, err
}

// ParseFile reads the text of a file of channels, without what it names.
func ParseFile(text []byte) error {
	_, err := parseFile(text)
	return err
}

// SlackMessage returns what is sent to a channel of Slack.
func (n *Notifier) SlackMessage(c *Channel, event string, a *approval.Ask) ([]byte, error) {
	return n.slackMessage(c, &Delivery{Event: event, At: time.Unix(1, 0)}, a)
}

// MailText returns what is sent by e-mail.
func (n *Notifier) MailText(c *Channel, event string, a *approval.Ask) string {
	return n.mailText(c, &Delivery{Event: event}, a)
}

// Payload returns what is sent to a webhook.
func (n *Notifier) Payload(event string, a *approval.Ask) ([]byte, error) {
	return n.payload(event, &Delivery{Event: event, At: time.Unix(1, 0)}, a, maxObject)
}
