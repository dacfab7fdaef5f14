package pdp

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// maxScan bounds how many candidates one search judges; a page that reaches it ends early and
// names where to go on.
const maxScan = 20_000

// A Page says which part of a search's results is wanted. Results come in the order of their names.
type Page struct {
	After string // the id, or the action's name, after which to begin
	Limit int    // at least 1
}

// A Found is one page of a search's results.
type Found[T any] struct {
	Results     []T
	Obligations [][]authz.Obligation // of each result: what has to be met with it; nil if nothing of any
	Next        string               // the next Page's After; "" if there is no more
}

// SearchSubjects returns subjects of req.Subject's type that may do req's action on req's resource
// now. An id of the subject is ignored. Nothing is found for a type or an action that nobody knows.
func (p *PDP) SearchSubjects(ctx context.Context, req authz.Request, page Page) (Found[authz.Ref], error) {
	s, err := p.search(req)
	if err != nil {
		return Found[authz.Ref]{}, err
	}
	next := s.stored(req.Subject.Type, page.After)
	if req.Subject.Type == authz.AgentType {
		next = s.agents(page.After)
	}
	found, err := scan(ctx, page, next, func(r authz.Ref) (authz.Ref, string, authz.Decision) {
		q := req
		q.Subject.Ref = r
		return r, r.ID, s.decide(&q)
	})
	if err != nil {
		return found, err
	}
	return found, s.record(ctx, "subject", &req, len(found.Results))
}

// SearchResources returns resources of req.Resource's type on which req's subject may do req's
// action now. An id of the resource is ignored.
func (p *PDP) SearchResources(ctx context.Context, req authz.Request, page Page) (Found[authz.Ref], error) {
	s, err := p.search(req)
	if err != nil {
		return Found[authz.Ref]{}, err
	}
	found, err := scan(ctx, page, s.stored(req.Resource.Type, page.After), func(r authz.Ref) (authz.Ref, string, authz.Decision) {
		q := req
		q.Resource.Ref = r
		return r, r.ID, s.decide(&q)
	})
	if err != nil {
		return found, err
	}
	return found, s.record(ctx, "resource", &req, len(found.Results))
}

// SearchActions returns the names of the actions that req's subject may do on req's resource now,
// without arguments.
func (p *PDP) SearchActions(ctx context.Context, req authz.Request, page Page) (Found[string], error) {
	s, err := p.search(req)
	if err != nil {
		return Found[string]{}, err
	}
	names := s.set.Actions()
	i := 0
	for i < len(names) && names[i] <= page.After {
		i++
	}
	next := func() (string, bool) {
		if i >= len(names) {
			return "", false
		}
		i++
		return names[i-1], true
	}
	found, err := scan(ctx, page, next, func(name string) (string, string, authz.Decision) {
		q := req
		q.Action = authz.Action{Name: name}
		return name, name, s.decide(&q)
	})
	if err != nil {
		return found, err
	}
	return found, s.record(ctx, "action", &req, len(found.Results))
}

// A search judges many requests by one set of policies at one moment.
type search struct {
	p   *PDP
	set *policy.Set
	at  time.Time
}

func (p *PDP) search(req authz.Request) (*search, error) {
	set, err := p.ready()
	if err != nil {
		return nil, err
	}
	return &search{p: p, set: set, at: p.Now().UTC().Truncate(time.Microsecond)}, nil
}

// decide judges req as Decide would, without recording it, and draws no use of the approval that it may
// refer to: who finds something by it asks again.
func (s *search) decide(req *authz.Request) authz.Decision {
	var who *authz.Agent
	if id := req.Agent(); id != "" {
		a, err := s.p.Agents.Agent(id)
		if err != nil || a.State != authz.AgentActive {
			return authz.Decision{}
		}
		who = a
	}
	var f authz.Facts
	s.p.assemble(&f, s.set, req, who, s.at)
	if len(f.Stops) > 0 || f.Inactive() != nil || f.Quarantined() != nil {
		return authz.Decision{}
	}
	return s.set.EvaluateAll(req, &f)
}

// stored walks the catalog's entities of a type, in the order of their ids, after one of them.
func (s *search) stored(typ, after string) func() (authz.Ref, bool) {
	list := s.set.Catalog().Entities(typ)
	i := 0
	for i < len(list) && list[i].ID <= after && after != "" {
		i++
	}
	return func() (authz.Ref, bool) {
		if i >= len(list) {
			return authz.Ref{}, false
		}
		i++
		return list[i-1].Ref, true
	}
}

// agents walks the registry, in the order of ids, after one of them.
func (s *search) agents(after string) func() (authz.Ref, bool) {
	var page []*authz.Agent
	return func() (authz.Ref, bool) {
		if len(page) == 0 {
			if page = s.p.Agents.After(authz.AgentID(after), 256); len(page) == 0 {
				return authz.Ref{}, false
			}
		}
		a := page[0]
		page, after = page[1:], string(a.ID)
		return authz.Ref{Type: authz.AgentType, ID: string(a.ID)}, true
	}
}

// scan collects a page of what next yields and test allows. test returns the result and its name.
func scan[C, T any](ctx context.Context, page Page, next func() (C, bool), test func(C) (T, string, authz.Decision)) (Found[T], error) {
	found := Found[T]{Results: []T{}}
	last := ""
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		c, ok := next()
		if !ok {
			return found, nil
		}
		if n == maxScan || len(found.Results) == page.Limit {
			found.Next = last
			return found, nil
		}
		r, name, d := test(c)
		last = name
		if !d.Allowed() {
			continue
		}
		if len(d.Obligations) > 0 && found.Obligations == nil {
			found.Obligations = make([][]authz.Obligation, len(found.Results))
		}
		found.Results = append(found.Results, r)
		if found.Obligations != nil {
			found.Obligations = append(found.Obligations, d.Obligations)
		}
	}
}

// record puts the search into the log: what was asked and how much was found.
func (s *search) record(ctx context.Context, target string, req *authz.Request, results int) error {
	body, err := json.Marshal(struct {
		Target    string         `json:"target"`
		Request   *authz.Request `json:"request"`
		At        time.Time      `json:"at"`
		Results   int            `json:"results"`
		PolicySet int64          `json:"policy_set"`
	}{target, req, s.at, results, s.set.Version()})
	if err != nil {
		return fmt.Errorf("recording the search: %w", err)
	}
	if _, err := s.p.Log.Record(ctx, audit.Draft{Kind: audit.SearchMade, Actor: actor(req), Body: body}); err != nil {
		return fmt.Errorf("recording the search: %w", err)
	}
	return nil
}
