package live

import (
	"context"
	jsonv1 "encoding/json"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Decision is what is told of one.
type Decision struct {
	ID       string       `json:"id"`
	Seq      int64        `json:"seq"`
	At       time.Time    `json:"at"`
	Agent    string       `json:"agent,omitempty" doc:"who asked; empty if that is no agent"`
	Subject  string       `json:"subject,omitempty" doc:"who asked, type:id, if that is no agent"`
	Purpose  string       `json:"purpose,omitempty"`
	Owner    string       `json:"owner,omitempty"`
	OnBehalf []string     `json:"on_behalf,omitempty" doc:"for whom, type:id, nearest first; at most four"`
	Action   string       `json:"action"`
	Resource authz.Ref    `json:"resource"`
	Effect   authz.Effect `json:"effect" doc:"deny, require_approval, step_up or allow"`
	Code     string       `json:"code"`
	Reason   string       `json:"reason,omitempty" doc:"the first one that the agent was told"`
	PEP      string       `json:"pep,omitempty" doc:"by whose door"`
	Session  string       `json:"session,omitempty"`
	Changes  int          `json:"changes,omitempty" doc:"how many changes were found that would turn the refusal into permission"`
	Shadow   bool         `json:"shadow,omitempty" doc:"whether a policy took part that is tried out and does not decide"`
	Lifted   bool         `json:"lifted,omitempty" doc:"whether it is allowed because persons approved"`

	Reasons []authz.Reason `json:"-"` // all of them
	Made    time.Time      `json:"-"` // when it was judged; At is when it was recorded
	Edge    bool           `json:"-"` // it was made elsewhere, and recorded later
	Listing bool           `json:"-"` // no act was asked for
	Agents  []string       `json:"-"` // of whom it is on behalf and who are agents
	Persons []string       `json:"-"` // likewise, who are none
}

// record is what is read of a recorded decision; the rest is passed over.
type record struct {
	Listing bool `json:"listing"`
	Request struct {
		Subject  authz.Ref   `json:"subject"`
		OnBehalf []authz.Ref `json:"on_behalf"`
		Action   struct {
			Name string `json:"name"`
		} `json:"action"`
		Resource authz.Ref `json:"resource"`
		Observed struct {
			Session string `json:"session"`
			PEP     string `json:"pep"`
		} `json:"observed"`
	} `json:"request"`
	Facts struct {
		Agent struct {
			Owner   string `json:"owner"`
			Purpose string `json:"purpose"`
		} `json:"agent"`
	} `json:"facts"`
	Decision struct {
		At      time.Time        `json:"at"`
		Effect  authz.Effect     `json:"effect"`
		Code    string           `json:"code"`
		Reasons []authz.Reason   `json:"reasons"`
		Changes []jsontext.Value `json:"changes"`
		Fired   []struct {
			Shadow bool `json:"shadow"`
		} `json:"fired"`
		Lifted bool `json:"lifted"`
	} `json:"decision"`
	Edge *struct {
		Number int64 `json:"number"`
	} `json:"edge"`
}

// Bounds of texts that are told. They are names; who wants them whole reads the decision.
const (
	maxName = 256  // bytes
	maxText = 1000 // of a reason or a message
)

// ReadDecision reads what is told of the decision that a decision.made entry records. authz.ErrInvalid: it records none.
func ReadDecision(e audit.Entry) (*Decision, error) {
	var r record
	if err := json.Unmarshal(e.Body, &r, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "entry %d records no decision: %.200s", e.Seq, err.Error())
	}
	d := &Decision{
		ID: "d" + itoa(e.Seq), Seq: e.Seq, At: e.At, Purpose: clip(r.Facts.Agent.Purpose, maxName), Owner: clip(r.Facts.Agent.Owner, maxName),
		Action: clip(r.Request.Action.Name, maxName), Resource: authz.Ref{Type: clip(r.Request.Resource.Type, maxName), ID: clip(r.Request.Resource.ID, maxName)},
		Effect: r.Decision.Effect, Code: r.Decision.Code, PEP: clip(r.Request.Observed.PEP, maxName), Session: clip(r.Request.Observed.Session, maxName),
		Changes: len(r.Decision.Changes), Lifted: r.Decision.Lifted,
		Reasons: r.Decision.Reasons, Made: r.Decision.At, Edge: r.Edge != nil, Listing: r.Listing,
	}
	if s := r.Request.Subject; s.Type == authz.AgentType {
		d.Agent = clip(s.ID, maxName)
	} else {
		d.Subject = clip(s.String(), maxName)
	}
	for i, ref := range r.Request.OnBehalf {
		if i < 4 {
			d.OnBehalf = append(d.OnBehalf, clip(ref.String(), maxName))
		}
		if ref.Type == authz.AgentType {
			d.Agents = append(d.Agents, clip(ref.ID, maxName))
		} else {
			d.Persons = append(d.Persons, clip(ref.String(), maxName))
		}
	}
	for i := range d.Reasons {
		d.Reasons[i].Message = clip(d.Reasons[i].Message, maxText)
	}
	if len(d.Reasons) > 0 && d.Effect != authz.Allow {
		d.Reason = d.Reasons[0].Message
	}
	for i := range r.Decision.Fired {
		d.Shadow = d.Shadow || r.Decision.Fired[i].Shadow
	}
	return d, nil
}

// An Approval is what is told of an ask when it is made, answered or over.
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
	By       string    `json:"by" doc:"who asked, answered or ended it"`
	Yes      *bool     `json:"yes,omitempty" doc:"what was answered"`
	WaitedS  int64     `json:"waited_seconds,omitempty" doc:"from ask to end, of one that has ended"`
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
		d, err := ReadDecision(e)
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
		if jsonv1.Unmarshal(e.Body, &body) != nil {
			return nil
		}
		a := &Alert{Seq: e.Seq, At: e.At, What: "raised", ID: clip(body.Alert.ID, maxName), Kind: clip(body.Alert.Kind, maxName),
			Severity: clip(body.Alert.Severity, maxName), Message: clip(body.Alert.Message, maxText), By: e.Actor, Why: clip(body.Why, maxText)}
		if body.Alert.Cleared {
			a.What = "cleared"
		}
		return &Event{Seq: e.Seq, Type: TypeAlert, Data: a}
	case audit.PolicyPublish:
		var body struct {
			Version, Restores int64
			Message           string
		}
		if jsonv1.Unmarshal(e.Body, &body) != nil {
			return nil
		}
		return &Event{Seq: e.Seq, Type: TypePolicy, Data: &Policy{Seq: e.Seq, At: e.At, Version: body.Version, Message: clip(body.Message, maxText), Restores: body.Restores, By: e.Actor}}
	case audit.AgentPut:
		var body struct {
			Agent struct {
				ID, Purpose, Owner, State string
			} `json:"agent"`
			IfRevision int64  `json:"if_revision"`
			Why        string `json:"why"`
		}
		if jsonv1.Unmarshal(e.Body, &body) != nil {
			return nil
		}
		a := &AgentChange{Seq: e.Seq, At: e.At, What: "registered", Agent: clip(body.Agent.ID, maxName), Purpose: clip(body.Agent.Purpose, maxName),
			Owner: clip(body.Agent.Owner, maxName), State: clip(body.Agent.State, maxName), By: e.Actor, Why: clip(body.Why, maxText)}
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
	if asks == nil || jsonv1.Unmarshal(e.Body, &body) != nil {
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
		t.Action, t.Resource = clip(it.Action.Name, maxName), authz.Ref{Type: clip(it.Resource.Type, maxName), ID: clip(it.Resource.ID, maxName)}
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

// clip returns at most n bytes of s, whole characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
