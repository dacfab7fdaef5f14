package notify

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// Names of the headers of Standard Webhooks 1.0.0, "Webhook Headers (Metadata)".
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// tolerance is how far the clock of whoever signs may be from ours.
const tolerance = 5 * time.Minute

// Sign returns the value of webhook-signature: one signature by each secret, the newest first. "The content
// to sign ... msg_id.timestamp.payload", by HMAC-SHA256 in base64 behind "v1,".
func Sign(secrets [][]byte, id string, at time.Time, body []byte) string {
	sigs := make([]string, len(secrets))
	for i, secret := range secrets {
		sigs[i] = "v1," + base64.StdEncoding.EncodeToString(mac(secret, id, strconv.FormatInt(at.Unix(), 10), body))
	}
	return strings.Join(sigs, " ")
}

func mac(secret []byte, id, at string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(id + "." + at + "."))
	h.Write(body)
	return h.Sum(nil)
}

// verify returns authz.ErrUnauthenticated unless a body was signed by one of the secrets, under that id and
// about now.
func verify(secrets [][]byte, id string, now time.Time, h http.Header, body []byte) error {
	refuse := func(why string) error { return authz.Errorf(authz.ErrUnauthenticated, "the answer %s", why) }
	for _, name := range []string{headerID, headerTimestamp, headerSignature} {
		if len(h.Values(name)) != 1 {
			return refuse("has not one header " + strings.ToLower(name))
		}
	}
	if h.Get(headerID) != id {
		return refuse("is signed for another message")
	}
	stamp := h.Get(headerTimestamp)
	sec, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || strconv.FormatInt(sec, 10) != stamp {
		return refuse("has no time")
	}
	if d := now.Unix() - sec; d > int64(tolerance/time.Second) || d < -int64(tolerance/time.Second) {
		return refuse("is not signed now")
	}
	for i, sig := range strings.Fields(h.Get(headerSignature)) {
		if i == 2*maxSecrets {
			break
		}
		version, text, _ := strings.Cut(sig, ",")
		got, err := base64.StdEncoding.Strict().DecodeString(text)
		if version != "v1" || err != nil {
			continue
		}
		for _, secret := range secrets {
			if hmac.Equal(got, mac(secret, id, stamp, body)) {
				return nil
			}
		}
	}
	return refuse("is not signed by a secret that is known")
}

// signed returns the header of a message of ours.
func signed(secrets [][]byte, id string, at time.Time, body []byte) http.Header {
	return http.Header{
		"Content-Type":  {"application/json"},
		headerID:        {id},
		headerTimestamp: {strconv.FormatInt(at.Unix(), 10)},
		headerSignature: {Sign(secrets, id, at, body)},
	}
}

// A payload is what webhooks are told, in the form that Standard Webhooks recommends.
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // of what happened
	Data      askData   `json:"data"`
}

// askData is an ask as programs are told of it: never an approval, never the evidence of an answer.
type askData struct {
	Ask       string          `json:"ask"`
	Link      string          `json:"link"`
	Kind      approval.Kind   `json:"kind"`
	Status    approval.Status `json:"status"`
	Why       string          `json:"why,omitempty"` // of the end
	Agent     authz.AgentID   `json:"agent,omitempty"`
	Owner     string          `json:"owner,omitempty"`
	Subject   authz.Ref       `json:"subject"`
	OnBehalf  []authz.Ref     `json:"on_behalf,omitempty"`
	Session   string          `json:"session,omitempty"`
	PEP       string          `json:"pep,omitempty"`
	Requester string          `json:"requester"`
	Acts      []actData       `json:"acts"`
	Context   authz.Claimed   `json:"context,omitempty"`
	Truncated bool            `json:"truncated,omitempty"` // arguments were left out for their size

	Justification string      `json:"justification,omitempty"`
	Message       string      `json:"message,omitempty"`
	Emergency     bool        `json:"emergency,omitempty"`
	AskedAt       time.Time   `json:"asked_at"`
	ExpiresAt     time.Time   `json:"expires_at"`
	ClosedAt      time.Time   `json:"closed_at,omitzero"`
	EscalatedAt   time.Time   `json:"escalated_at,omitzero"`
	Broken        *brokenData `json:"broken_glass,omitempty"`
}

type actData struct {
	Action   authz.Action    `json:"action"`
	Resource authz.Entity    `json:"resource"`
	Data     string          `json:"data"`
	Labels   []string        `json:"labels,omitempty"`
	Routes   []string        `json:"routes,omitempty"`
	Status   approval.Status `json:"status"`
}

type brokenData struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Due    time.Time `json:"review_due"`
}

// maxObject bounds one object of arguments in the payload of a channel, in bytes.
const maxObject = 8 << 10

// payload returns what programs are told of an ask, as JSON that does nothing on a terminal. Objects of
// arguments of more bytes than most are left out, and all of them if it is 0.
func (n *Notifier) payload(typ string, d *Delivery, a *approval.Ask, most int) ([]byte, error) {
	p := payload{Type: "approval." + typ, Timestamp: d.At, Data: askData{
		Ask: a.ID, Link: n.link(a), Kind: a.Kind, Status: a.Status, Why: a.Why, Agent: a.Agent, Owner: a.Owner,
		Subject: a.Bound.Subject.Ref, OnBehalf: a.Bound.OnBehalf, Session: a.Session, PEP: a.PEP, Requester: a.Requester,
		Acts: []actData{}, Justification: a.Justification, Message: a.Message, Emergency: a.Emergency,
		AskedAt: a.AskedAt, ExpiresAt: a.ExpiresAt, ClosedAt: a.ClosedAt, EscalatedAt: a.Escalated,
	}}
	keep := func(c authz.Claimed) authz.Claimed {
		if len(c) <= most {
			return c
		}
		p.Data.Truncated = p.Data.Truncated || most > 0
		return nil
	}
	for i := range a.Items {
		it := &a.Items[i]
		act := actData{Action: it.Action, Resource: it.Resource, Data: it.Data.String(), Labels: it.Labels, Routes: it.Routes, Status: it.Status}
		act.Action.Properties, act.Resource.Properties = keep(act.Action.Properties), keep(act.Resource.Properties)
		p.Data.Acts = append(p.Data.Acts, act)
	}
	p.Data.Context = keep(a.Bound.Context)
	if b := a.Broken; b != nil {
		p.Data.Broken = &brokenData{b.By, b.Reason, b.Due}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b) // its Marshal would write <, > and & out: this is no HTML
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&p); err != nil {
		return nil, err
	}
	return plainJSON(bytes.TrimSpace(b.Bytes())), nil
}
