// Package gist has what people are shown of a recorded decision: who asked for what, what was answered, and the first
// reasons. It is read in one pass, and what is not shown is passed over.
//
// It is for showing and counting. Who judges by a record reads all of it: internal/pdp, internal/conduct.
package gist

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Decision is what is shown of one.
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
	Journal string         `json:"-"` // where it was made: into which journal it was written
	Number  int64          `json:"-"` // and as which record of it, from 1; 0 if it was made here
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
		Journal string `json:"journal"`
		Number  int64  `json:"number"`
	} `json:"edge"`
}

// Bounds of texts that are shown. They are names; who wants them whole reads the decision.
const (
	MaxName = 256  // bytes
	MaxText = 1000 // of a reason or a message
)

// Read reads what is shown of the decision that a decision.made entry records. authz.ErrInvalid: it records none.
func Read(e audit.Entry) (*Decision, error) {
	var r record
	if err := json.Unmarshal(e.Body, &r, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "entry %d records no decision: %.200s", e.Seq, err.Error())
	}
	d := &Decision{
		ID: "d" + strconv.FormatInt(e.Seq, 10), Seq: e.Seq, At: e.At, Purpose: Clip(r.Facts.Agent.Purpose, MaxName), Owner: Clip(r.Facts.Agent.Owner, MaxName),
		Action: Clip(r.Request.Action.Name, MaxName), Resource: authz.Ref{Type: Clip(r.Request.Resource.Type, MaxName), ID: Clip(r.Request.Resource.ID, MaxName)},
		Effect: r.Decision.Effect, Code: r.Decision.Code, PEP: Clip(r.Request.Observed.PEP, MaxName), Session: Clip(r.Request.Observed.Session, MaxName),
		Changes: len(r.Decision.Changes), Lifted: r.Decision.Lifted,
		Reasons: r.Decision.Reasons, Made: r.Decision.At, Edge: r.Edge != nil, Listing: r.Listing,
	}
	if r.Edge != nil {
		d.Journal, d.Number = r.Edge.Journal, r.Edge.Number
	}
	if s := r.Request.Subject; s.Type == authz.AgentType {
		d.Agent = Clip(s.ID, MaxName)
	} else {
		d.Subject = Clip(s.String(), MaxName)
	}
	for i, ref := range r.Request.OnBehalf {
		if i < 4 {
			d.OnBehalf = append(d.OnBehalf, Clip(ref.String(), MaxName))
		}
		if ref.Type == authz.AgentType {
			d.Agents = append(d.Agents, Clip(ref.ID, MaxName))
		} else {
			d.Persons = append(d.Persons, Clip(ref.String(), MaxName))
		}
	}
	for i := range d.Reasons {
		d.Reasons[i].Message = Clip(d.Reasons[i].Message, MaxText)
	}
	if len(d.Reasons) > 0 && d.Effect != authz.Allow {
		d.Reason = d.Reasons[0].Message
	}
	for i := range r.Decision.Fired {
		d.Shadow = d.Shadow || r.Decision.Fired[i].Shadow
	}
	return d, nil
}

// Clip returns at most n bytes of s, whole characters.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
