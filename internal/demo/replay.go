package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Ask puts one question to a decision point.
type Ask func(ctx context.Context, req authz.Request) (Answer, error)

// Person is whom the recorded agents act for.
var Person = authz.Ref{Type: "user", ID: "emma"}

// address is where the example organisation runs its assistants.
var address = netip.MustParseAddr("10.20.0.7")

// obligations are those that the replaying enforcement point can meet.
var obligations = []string{"notify-person"}

// AgentID returns the id under which the example organisation registers the agent of a trace.
func AgentID(t *Trace) authz.AgentID {
	return authz.AgentID(strings.ToLower(t.Suite + "." + t.Model))
}

// lanes is how many traces are played at once.
const lanes = 4

// A Replay plays traces to a decision point.
type Replay struct {
	Traces *Selection
	Ask    Ask              // called from several goroutines
	Now    func() time.Time // likewise

	// Progress, if not nil, is called after each call, from several goroutines.
	Progress func()

	tools map[string]Tool // by suite and name
}

// Run plays every trace, a few at a time and the calls of each in order, and returns the score.
func (r *Replay) Run(ctx context.Context) (*Score, error) {
	all, err := Tools()
	if err != nil {
		return nil, err
	}
	r.tools = map[string]Tool{}
	for _, t := range all {
		r.tools[t.Suite+" "+t.Name] = t
	}
	begin := r.Now()
	answers := make([][]Answer, len(r.Traces.Traces))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			for i := range next {
				t := r.Traces.Traces[i]
				var err error
				if answers[i], err = r.trace(ctx, t); err != nil {
					cancel(fmt.Errorf("replaying trace %s: %w", t.ID, err))
				}
			}
		})
	}
	for i := range answers {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	score := NewScore()
	for i, t := range r.Traces.Traces {
		score.Add(t, answers[i])
	}
	score.Finish(r.Now().Sub(begin))
	return score, nil
}

func (r *Replay) trace(ctx context.Context, t *Trace) ([]Answer, error) {
	m := NewMemory(t.Prompt)
	answers := make([]Answer, 0, len(t.Calls))
	for i, c := range t.Calls {
		tool, ok := r.tools[t.Suite+" "+c.Tool]
		if !ok {
			return nil, fmt.Errorf("call %d: no tool %q", i+1, c.Tool)
		}
		act, err := newAct(c, tool)
		if err != nil {
			return nil, fmt.Errorf("call %d: %w", i+1, err)
		}
		req, err := act.request(t, m)
		if err != nil {
			return nil, fmt.Errorf("call %d: %w", i+1, err)
		}
		begin := r.Now()
		a, err := r.Ask(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("call %d, %s: %w", i+1, c.Tool, err)
		}
		a.Took = r.Now().Sub(begin)
		answers = append(answers, a)
		switch result := r.Traces.Results[c.Result]; {
		case act.register:
			m.Knows(result)
		case act.untrusty:
			m.Saw(result)
		}
		if r.Progress != nil {
			r.Progress()
		}
	}
	return answers, nil
}

// request is the question about a, in a session with the memory m.
func (a *act) request(t *Trace, m *Memory) (authz.Request, error) {
	args, err := json.Marshal(a.args)
	if err != nil {
		return authz.Request{}, err
	}
	return authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: string(AgentID(t))}},
		OnBehalf: []authz.Ref{Person},
		Action:   authz.Action{Name: a.action, Properties: args},
		Resource: authz.Entity{Ref: authz.Ref{Type: a.typ, ID: a.id}},
		Observed: authz.Observed{
			Address:     address,
			Session:     t.ID,
			Task:        t.Task,
			Provenance:  m.Provenance(a.args),
			Obligations: obligations,
		},
	}, nil
}
