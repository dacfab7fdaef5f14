package live

import (
	"context"
	"encoding/json"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/gist"
)

// An Approval is what is told of an ask when it is made, answered or over. By and Yes are for who may read the ask.
type Approval struct {
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"`
	What     string    `json:"what" doc:"asked, answered (others must still answer), escalated, revoked, or how it ended: approved, denied, partial, expired, cancelled, failed"`
	Ask      string    `json:"ask"`
	Agent    string    `json:"agent,omitempty"`
	Owner    string    `json:"owner,omitempty"`
	Action   string    `json:"action,omitempty" doc:"of the first act"`
	Resource authz.Ref `json:"resource,omitzero" doc:"of the first act"`
	Acts     int       `json:"acts" doc:"how many are asked about"`
	By       string    `json:"by,omitempty" doc:"who asked, answered or ended it; left out for whoever may not read the ask"`
	Yes      *bool     `json:"yes,omitempty" doc:"what was answered; likewise"`
	WaitedS  int64     `json:"waited_seconds,omitempty" doc:"from ask to end, of one that has ended"`
}

// outline is what whoever may not read the ask is told: that it was asked, and how it ended.
func (a *Approval) outline() *Approval {
	o := *a
	o.By, o.Yes = "", nil
	return &o
}

// An Alert is what is told of one that is raised, changed or cleared.
type Alert struct {
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"`
	What     string    `json:"what" doc:"raised (or changed), cleared"`
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	Severity string    `json:"severity"`
	Message  string    `json:"message,omitempty"`
	By       string    `json:"by"`
	Why      string    `json:"why,omitempty"`
}

// A Policy is what is told of a version that is published.
type Policy struct {
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"`
	Version  int64     `json:"version"`
	Message  string    `json:"message"`
	Restores int64     `json:"restores,omitempty" doc:"the older version that was published again"`
	By       string    `json:"by"`
}

// An AgentChange is what is told of an agent that is registered or changed.
type AgentChange struct {
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	What    string    `json:"what" doc:"registered, or changed"`
	Agent   string    `json:"agent"`
	Purpose string    `json:"purpose"`
	Owner   string    `json:"owner"`
	State   string    `json:"state"`
	By      string    `json:"by"`
	Why     string    `json:"why,omitempty"`
}

// eventOf returns what there is to tell of an entry, nil if that is nothing.
func eventOf(e audit.Entry, asks interface {
	Get(ctx context.Context, id string) (*approval.Ask, error)
}) *Event {
	switch e.Kind {
	case audit.DecisionMade:
		d, err := gist.Read(e)
		if err != nil || d.Listing {
			return nil
		}
		return &Event{Seq: e.Seq, Type: TypeDecision, Agent: d.Agent, Effect: d.Effect.String(), Data: d}
	case audit.ApprovalAsked, audit.ApprovalAnswer, audit.ApprovalMoved:
		if a := approvalOf(e, asks); a != nil {
			return &Event{Seq: e.Seq, Type: TypeApproval, Agent: a.Agent, Data: a}
		}
	case audit.AlertPut:
		var body struct {
			Alert struct {
				ID, Kind, Severity, Message string
				Cleared                     bool
			} `json:"alert"`
			Why string `json:"why"`
		}
		if json.Unmarshal(e.Body, &body) != nil {
			return nil
		}
		a := &Alert{Seq: e.Seq, At: e.At, What: "raised", ID: gist.Clip(body.Alert.ID, gist.MaxName), Kind: gist.Clip(body.Alert.Kind, gist.MaxName),
			Severity: gist.Clip(body.Alert.Severity, gist.MaxName), Message: gist.Clip(body.Alert.Message, gist.MaxText), By: e.Actor, Why: gist.Clip(body.Why, gist.MaxText)}
		if body.Alert.Cleared {
			a.What = "cleared"
		}
		return &Event{Seq: e.Seq, Type: TypeAlert, Data: a}
	case audit.PolicyPublish:
		var body struct {
			Version, Restores int64
			Message           string
		}
		if json.Unmarshal(e.Body, &body) != nil {
			return nil
		}
		return &Event{Seq: e.Seq, Type: TypePolicy, Data: &Policy{Seq: e.Seq, At: e.At, Version: body.Version, Message: gist.Clip(body.Message, gist.MaxText), Restores: body.Restores, By: e.Actor}}
	case audit.AgentPut:
		var body struct {
			Agent struct {
				ID, Purpose, Owner, State string
			} `json:"agent"`
			IfRevision int64  `json:"if_revision"`
			Why        string `json:"why"`
		}
		if json.Unmarshal(e.Body, &body) != nil {
			return nil
		}
		a := &AgentChange{Seq: e.Seq, At: e.At, What: "registered", Agent: gist.Clip(body.Agent.ID, gist.MaxName), Purpose: gist.Clip(body.Agent.Purpose, gist.MaxName),
			Owner: gist.Clip(body.Agent.Owner, gist.MaxName), State: gist.Clip(body.Agent.State, gist.MaxName), By: e.Actor, Why: gist.Clip(body.Why, gist.MaxText)}
		if body.IfRevision > 0 {
			a.What = "changed"
		}
		return &Event{Seq: e.Seq, Type: TypeAgent, Agent: a.Agent, Data: a}
	}
	return nil
}

// approvalOf returns what an entry did to an ask, nil if that is nothing worth telling. What it did stands in
// the ask, also when others have followed.
func approvalOf(e audit.Entry, asks interface {
	Get(ctx context.Context, id string) (*approval.Ask, error)
}) *Approval {
	var body struct {
		ID  string `json:"id"`
		Ask string `json:"ask"`
		Yes bool   `json:"yes"`
		To  string `json:"to"`
	}
	if asks == nil || json.Unmarshal(e.Body, &body) != nil {
		return nil
	}
	id := body.Ask
	if e.Kind == audit.ApprovalAsked {
		id = body.ID
	}
	a, err := asks.Get(context.Background(), id)
	if err != nil {
		return nil
	}
	t := &Approval{Seq: e.Seq, At: e.At, Ask: a.ID, Agent: string(a.Agent), Owner: a.Owner, Acts: len(a.Items), By: e.Actor}
	if len(a.Items) > 0 {
		it := &a.Items[0]
		t.Action, t.Resource = gist.Clip(it.Action.Name, gist.MaxName), authz.Ref{Type: gist.Clip(it.Resource.Type, gist.MaxName), ID: gist.Clip(it.Resource.ID, gist.MaxName)}
	}
	if e.Kind == audit.ApprovalAnswer {
		t.Yes = &body.Yes
	}
	switch {
	case a.Ended == e.Seq:
		t.What, t.WaitedS = string(a.Status), int64(a.ClosedAt.Sub(a.AskedAt)/time.Second)
	case e.Kind == audit.ApprovalAsked && a.Seq == e.Seq:
		t.What = "asked"
	case e.Kind == audit.ApprovalAnswer:
		t.What = "answered"
	case e.Kind == audit.ApprovalMoved && (body.To == "escalated" || body.To == "revoked"):
		t.What = body.To
	default:
		return nil
	}
	return t
}
