package oauth

import (
	"errors"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A question asks whether a token may carry capabilities: of the agent that acts, for those it acts
// for. Whether it still may is the same question asked again.
type question struct {
	chain    []authz.AgentID
	person   string // for whom the last of the chain acts, "" if for nobody
	origin   origin
	audience []string
	passport *authz.Passport // the token itself
}

// requests returns the question as requests: for each capability one for each audience.
func (q *question) requests(details []authz.Detail) []authz.Request {
	agent := string(q.chain[0])
	behalf := behalfOf(q.chain, q.person)
	observed := authz.Observed{
		Address: q.origin.address, PEP: "agent:" + agent, RequestID: q.passport.ID, Passport: q.passport, Method: q.origin.method,
		// Nobody meets obligations here: where one comes along, the answer is no.
		Obligations: []string{},
	}
	args := make([]authz.Claimed, len(q.audience))
	for i, audience := range q.audience {
		b := append(make([]byte, 0, 128), `{"audience":`...)
		b = appendString(b, audience)
		b = append(b, `,"grant_type":`...)
		args[i] = append(appendString(b, q.origin.grant), '}')
	}
	reqs := make([]authz.Request, 0, len(details)*len(args))
	for i := range details {
		for _, a := range args {
			reqs = append(reqs, authz.Request{
				Subject:  authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: agent}},
				OnBehalf: behalf,
				Action:   authz.Action{Name: authz.ActionIssue, Properties: a},
				Resource: authz.Entity{Ref: authz.Ref{Type: authz.CapabilityType, ID: details[i].Identifier}},
				Observed: observed,
			})
		}
	}
	return reqs
}

// behalfOf returns for whom the first of a chain acts, nearest first.
func behalfOf(chain []authz.AgentID, person string) (out []authz.Ref) {
	for _, id := range chain[1:] {
		out = append(out, authz.Ref{Type: authz.AgentType, ID: string(id)})
	}
	if person != "" {
		out = append(out, authz.Ref{Type: personType, ID: person})
	}
	return out
}

// A verdict is what the judge said of a question.
type verdict struct {
	granted  []authz.Detail
	refused  []Refusal
	liftable []authz.Detail // of those refused: what stronger authentication would grant
	drafts   []audit.Draft
}

// judge answers a question of some capabilities as of a moment. A capability is granted if it is for
// every audience.
func (s *Server) judge(q *question, details []authz.Detail, at time.Time) (verdict, error) {
	decisions, drafts, err := s.cfg.Judge.Judge(q.requests(details), at)
	if err != nil {
		return verdict{}, err
	}
	each := len(q.audience)
	if len(decisions) != len(details)*each {
		return verdict{}, errors.New("the judge has not answered every question")
	}
	v := verdict{granted: make([]authz.Detail, 0, len(details)), drafts: drafts}
	for i := range details {
		of := decisions[i*each : (i+1)*each]
		no := slices.IndexFunc(of, func(d authz.Decision) bool { return !d.Allowed() || len(d.Obligations) > 0 })
		if no < 0 {
			v.granted = append(v.granted, details[i])
		} else {
			v.refused = append(v.refused, refusal(details[i].Identifier, &of[no]))
			if !slices.ContainsFunc(of, func(d authz.Decision) bool {
				return !d.Allowed() && d.Effect != authz.StepUp || d.Allowed() && len(d.Obligations) > 0
			}) {
				v.liftable = append(v.liftable, details[i])
			}
		}
	}
	return v, nil
}

// refusal returns what the agent may know of why a capability was refused.
func refusal(id string, d *authz.Decision) Refusal {
	r := Refusal{Identifier: id, Code: d.Code, Message: "This capability is not granted now."}
	if len(d.Reasons) > 0 {
		r.Code, r.Message = d.Reasons[0].Code, d.Reasons[0].Message
	}
	if r.Code == "" || d.Allowed() {
		r.Code = authz.CodeObligation
	}
	return r
}

// clip returns until when a token may carry all the granted capabilities, which they all may now:
// the first moment, up to exp, at which the same question would be refused. What would be refused
// so soon that the token were not worth having is left out instead.
//
// It asks again at the moments at which open schedules close, and at exp, and looks for the second
// between the last moment that was fine and the first that was not.
func (s *Server) clip(q *question, granted []authz.Detail, now, exp time.Time) (time.Time, []authz.Detail, []Refusal, error) {
	var late []Refusal
	fine := now
	for _, at := range s.turns(now, exp) {
		for len(granted) > 0 {
			v, err := s.judge(q, granted, at)
			if err != nil {
				return exp, nil, nil, err
			}
			if len(v.refused) == 0 {
				break
			}
			end, err := s.edge(q, granted, fine, at)
			if err != nil {
				return exp, nil, nil, err
			}
			if end.Sub(now) >= shortest {
				return end, granted, late, nil
			}
			if v, err = s.judge(q, granted, end); err != nil {
				return exp, nil, nil, err
			}
			if len(v.refused) == 0 {
				return exp, nil, nil, authz.Errorf(authz.ErrUnavailable, "what the judge says changes from one moment to the next")
			}
			granted, late = v.granted, append(late, v.refused...)
		}
		fine = at
	}
	if exp.Sub(now) < shortest {
		for i := range granted {
			late = append(late, Refusal{granted[i].Identifier, "expires_too_soon", "What this token would be exchanged from expires too soon."})
		}
		granted = nil
	}
	return exp, granted, late, nil
}

// turns returns the moments after now and up to exp at which something may change, in order.
func (s *Server) turns(now, exp time.Time) []time.Time {
	list := make([]time.Time, 0, 4)
	if cat := s.cfg.Catalog(); cat != nil {
		for _, name := range cat.Open(now) {
			if at, ok := cat.Closes(name, now); ok && at.Before(exp) {
				list = append(list, at)
			}
		}
		slices.SortFunc(list, time.Time.Compare)
	}
	return append(list, exp)
}

// edge returns the first whole second after fine at which something is refused, which it is at end.
func (s *Server) edge(q *question, details []authz.Detail, fine, end time.Time) (time.Time, error) {
	for end.Sub(fine) > time.Second {
		mid := fine.Add(end.Sub(fine) / 2).Truncate(time.Second)
		if !mid.After(fine) {
			mid = mid.Add(time.Second)
		}
		if !mid.Before(end) {
			break
		}
		v, err := s.judge(q, details, mid)
		if err != nil {
			return end, err
		}
		if len(v.refused) > 0 {
			end = mid
		} else {
			fine = mid
		}
	}
	return end.Truncate(time.Second), nil
}
