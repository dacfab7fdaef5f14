package api

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// An AskView is an ask as those who judge it and look after it see it. What is between the enforcement point
// and the service is not in it: the callback, the reference of an approval, and what a client added.
// Everything that agents wrote is as they wrote it: who shows it, escapes it.
type AskView struct {
	ID       string          `json:"id"`
	Kind     approval.Kind   `json:"kind" doc:"access, or ciba: a person authorizes a token"`
	Status   approval.Status `json:"status" doc:"pending, approved, denied, expired, cancelled, failed, partial"`
	Revoked  bool            `json:"revoked,omitzero" doc:"whether what was approved was taken back; the status stays what it was"`
	Sentence string          `json:"sentence" doc:"who asks for what, in one sentence; names in it are quoted and clipped"`
	Items    []ItemView      `json:"items" doc:"the exact acts"`

	Subject   authz.Ref       `json:"subject" doc:"who acts"`
	OnBehalf  []authz.Ref     `json:"on_behalf,omitempty" doc:"for whom, nearest first"`
	Context   authz.Claimed   `json:"context,omitempty" doc:"what the approval is bound to besides the acts"`
	Agent     authz.AgentID   `json:"agent,omitempty"`
	Owner     string          `json:"owner,omitempty" doc:"of the agent, when it asked"`
	Owners    []string        `json:"owners,omitempty" doc:"who owned or made the agents on whose behalf it asks, when it asked"`
	Session   string          `json:"session,omitempty"`
	PEP       string          `json:"pep,omitempty"`
	Requester string          `json:"requester"`
	Person    string          `json:"person,omitempty" doc:"who alone may answer, if it is a ciba ask"`
	Message   string          `json:"message,omitempty" doc:"binding message of a ciba ask"`
	Details   json.RawMessage `json:"details,omitempty" doc:"authorization_details of a ciba ask"`

	Justification  string    `json:"justification,omitempty" doc:"what the requester says; nobody has checked it"`
	RequestedUntil time.Time `json:"requested_until,omitzero" doc:"until when the requester wishes it: an approval ends then at the latest"`
	Emergency      bool      `json:"emergency,omitzero" doc:"whether the requester says it is one"`

	AskedAt   time.Time        `json:"asked_at"`
	ExpiresAt time.Time        `json:"expires_at"`
	Escalated time.Time        `json:"escalated_at,omitzero"`
	ClosedAt  time.Time        `json:"closed_at,omitzero"`
	Why       string           `json:"why,omitempty" doc:"why it was refused or ended"`
	Joined    int64            `json:"joined,omitzero" doc:"how often the very same was asked again"`
	Answers   []AnswerView     `json:"answers,omitempty"`
	Broken    *approval.Broken `json:"broken_glass,omitempty"`
	Seq       int64            `json:"seq" doc:"number of the entry that asked"`
	AsOf      int64            `json:"as_of"`
}

// An ItemView is one act of an ask.
type ItemView struct {
	Action    string          `json:"action"`
	Arguments authz.Claimed   `json:"arguments,omitempty"`
	Resource  authz.Entity    `json:"resource"`
	Data      authz.DataClass `json:"data"`
	Labels    []string        `json:"labels,omitempty"`
	Routes    []string        `json:"routes,omitempty" doc:"all of which must be gone to their end"`
	Decision  string          `json:"decision,omitempty" doc:"the decision that refused it"`
	Status    approval.Status `json:"status"`
	Grant     *GrantView      `json:"grant,omitempty" doc:"what was approved"`
}

// A GrantView is how far an approval goes, and how far it was used.
type GrantView struct {
	At      time.Time      `json:"at"`
	Until   time.Time      `json:"until"`
	Scope   approval.Scope `json:"scope"`
	Used    int64          `json:"used"`
	Uses    []int64        `json:"uses,omitempty" doc:"numbers of the entries that drew the newest uses"`
	Revoked time.Time      `json:"revoked_at,omitzero"`
	Why     string         `json:"why,omitempty" doc:"it was revoked"`
}

// An AnswerView is what one person, or an evaluator, said.
type AnswerView struct {
	By      string         `json:"by"`
	For     string         `json:"for,omitempty" doc:"whose deputy that was"`
	Yes     bool           `json:"yes"`
	Routes  []string       `json:"routes"`
	Items   []int          `json:"items,omitempty" doc:"which acts; all, if left out"`
	Scope   approval.Scope `json:"scope"`
	Comment string         `json:"comment,omitempty"`
	At      time.Time      `json:"at"`
	Seq     int64          `json:"seq"`
	Viewed  int64          `json:"view,omitzero" doc:"number of the entry by which it was looked at before"`
	Read    int64          `json:"read_ms,omitzero" doc:"between looking and answering"`
	Passkey bool           `json:"passkey" doc:"whether it was signed with a passkey"`
	Broke   bool           `json:"broke_glass,omitzero"`
	Void    time.Time      `json:"void_at,omitzero" doc:"since when it counts no more for acts that are not approved: who gave it, or in whose stead, was disabled"`
}

// viewOf returns an ask as it is shown.
func viewOf(a *approval.Ask) AskView {
	v := AskView{
		ID: a.ID, Kind: a.Kind, Status: a.Status, Revoked: revoked(a), Sentence: askSentence(a), Items: make([]ItemView, len(a.Items)),
		Subject: a.Bound.Subject.Ref, OnBehalf: a.Bound.OnBehalf, Context: a.Bound.Context,
		Agent: a.Agent, Owner: a.Owner, Owners: a.Owners, Session: a.Session, PEP: a.PEP, Requester: a.Requester,
		Person: a.Person, Message: a.Message, Details: a.Details,
		Justification: a.Justification, RequestedUntil: a.RequestedUntil, Emergency: a.Emergency,
		AskedAt: a.AskedAt, ExpiresAt: a.ExpiresAt, Escalated: a.Escalated, ClosedAt: a.ClosedAt,
		Why: a.Why, Joined: a.Joined, Broken: a.Broken, Seq: a.Seq, AsOf: a.AsOf,
	}
	for i := range a.Items {
		it := &a.Items[i]
		v.Items[i] = ItemView{
			Action: it.Action.Name, Arguments: it.Action.Properties, Resource: it.Resource, Data: it.Data,
			Labels: it.Labels, Routes: it.Routes, Status: it.Status,
		}
		if it.Decision > 0 {
			v.Items[i].Decision = pdp.DecisionID(it.Decision)
		}
		if g := it.Approval; g != nil {
			v.Items[i].Grant = &GrantView{At: g.At, Until: g.Until, Scope: g.Scope, Used: g.Used, Uses: slices.Clone(g.Uses), Revoked: g.Revoked, Why: g.Why}
		}
	}
	for i := range a.Answers {
		n := &a.Answers[i]
		v.Answers = append(v.Answers, AnswerView{
			By: n.By, For: n.For, Yes: n.Yes, Routes: n.Routes, Items: n.Items, Scope: n.Scope, Comment: n.Comment,
			At: n.At, Seq: n.Seq, Viewed: n.View, Read: n.Read, Passkey: len(n.Evidence) > 0, Broke: n.Broke, Void: n.Void,
		})
	}
	return v
}

// revoked reports whether what was approved was taken back.
func revoked(a *approval.Ask) bool {
	return slices.ContainsFunc(a.Items, func(it approval.Item) bool { return it.Approval != nil && !it.Approval.Revoked.IsZero() })
}

// statusAt returns how far an ask has come at a moment: one that waits past its end has expired, also before
// the log says so.
func statusAt(a *approval.Ask, at time.Time) approval.Status {
	if a.Status == approval.Pending && !a.ExpiresAt.IsZero() && !at.Before(a.ExpiresAt) {
		return approval.Expired
	}
	return a.Status
}
