package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Batcher is a Decider that puts questions which come at the same time into one request to the service, each with
// an answer of its own. It is safe for concurrent use; its fields are set before.
//
// A question goes alone if it presents a passport, refers to an approval, or has more requests than fit. Questions of
// several programs that use one Batcher are in one message, but never in one another: what is claimed must be whole JSON
// objects, and a message that the service does not take is asked again question by question.
type Batcher struct {
	// Client asks.
	Client *Client
	// Window is how long a question waits for others: 1 ms by default. While a request is under way others gather
	// for the next.
	Window time.Duration
	// Most is how many requests go into one message, 64 by default. The service takes 256.
	Most int
	// Waiting is how many questions wait or are asked at once at most, 4096 by default; further ones are refused with
	// authz.ErrUnavailable.
	Waiting int
	// Timeout is how long one message may take with its repetitions, 30 seconds by default.
	Timeout time.Duration

	mu      sync.Mutex // guards what follows
	batch   *batch     // that gathers; nil if none does
	waiting int
}

// A batch is questions that are asked together.
type batch struct {
	questions []*joined
	requests  int
	full      chan struct{} // closed when no more are to come
	left      int           // questions whose askers have gone
	cancel    context.CancelFunc
	ctx       context.Context
}

// joined is one question of a batch. Its answers are set before done is closed.
type joined struct {
	q       *Question
	answers []*Answer
	err     error
	done    chan struct{}
}

// Answer answers q, together with others that are asked now. It does not wait longer than ctx lasts.
func (b *Batcher) Answer(ctx context.Context, q *Question) ([]*Answer, error) {
	if q.Presented != nil || len(q.Requests) > b.most() || b.refers(q) {
		return b.Client.Answer(ctx, q)
	}
	err := q.check()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return q.refuseAll(err), err
	}
	j := &joined{q: &Question{Requests: slices.Clone(q.Requests)}, done: make(chan struct{})}
	for i := range j.q.Requests { // it is asked also if its asker has gone and writes elsewhere
		r := &j.q.Requests[i]
		for _, c := range [...]*authz.Claimed{&r.Subject.Properties, &r.Action.Properties, &r.Resource.Properties, &r.Context} {
			*c = slices.Clone(*c)
		}
	}
	in, err := b.join(j)
	if err != nil {
		return q.refuseAll(err), err
	}
	select {
	case <-j.done:
		return j.answers, j.err
	case <-ctx.Done():
		b.leave(in)
		return q.refuseAll(ctx.Err()), ctx.Err()
	}
}

// Outcome reports what came of a decision.
func (b *Batcher) Outcome(ctx context.Context, decisionID string, o Outcome) error {
	return b.Client.Outcome(ctx, decisionID, o)
}

func (b *Batcher) refers(q *Question) bool {
	for i := range q.Requests {
		if q.Requests[i].Approval != nil {
			return true
		}
	}
	return q.Approved()
}

func (b *Batcher) most() int {
	if b.Most > 0 {
		return b.Most
	}
	return 64
}

// join puts a question into the batch that gathers, or begins one.
func (b *Batcher) join(j *joined) (*batch, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := b.Waiting
	if most <= 0 {
		most = 4096
	}
	if b.waiting >= most {
		return nil, authz.Errorf(authz.ErrUnavailable, "%d questions wait for answers already", b.waiting)
	}
	b.waiting++
	if b.batch != nil && b.batch.requests+len(j.q.Requests) > b.most() {
		close(b.batch.full)
		b.batch = nil
	}
	if b.batch == nil {
		timeout := b.Timeout
		if timeout <= 0 {
			timeout = 30 * time.Second
		}
		in := &batch{full: make(chan struct{})}
		in.ctx, in.cancel = context.WithTimeout(context.Background(), timeout) // of all who wait, so of none of them
		b.batch = in
		go b.run(in)
	}
	in := b.batch
	in.questions = append(in.questions, j)
	in.requests += len(j.q.Requests)
	return in, nil
}

// leave notes that somebody does not wait any more. Once nobody does, nothing is asked.
func (b *Batcher) leave(in *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if in.left++; in.left < len(in.questions) {
		return
	}
	if b.batch == in {
		b.batch = nil // nobody joins what ends
	}
	in.cancel()
}

// run gathers, asks, and answers.
func (b *Batcher) run(in *batch) {
	defer in.cancel()
	window := b.Window
	if window <= 0 {
		window = time.Millisecond
	}
	timer := time.NewTimer(window)
	select {
	case <-timer.C:
	case <-in.full:
	case <-in.ctx.Done():
	}
	timer.Stop()
	b.mu.Lock()
	if b.batch == in {
		b.batch = nil
	}
	questions := in.questions // no more come
	b.mu.Unlock()

	defer func() {
		if v := recover(); v != nil {
			err := authz.Errorf(authz.ErrUnavailable, "asking panicked: %.200v", v)
			for _, j := range questions {
				j.answers, j.err = j.q.refuseAll(err), err
			}
		}
		b.mu.Lock()
		b.waiting -= len(questions)
		b.mu.Unlock()
		for _, j := range questions {
			close(j.done)
		}
	}()
	b.ask(in.ctx, questions)
}

// ask asks the questions together. If the service does not take the message, each is asked alone, so that what is
// wrong with one is no other's concern.
func (b *Batcher) ask(ctx context.Context, questions []*joined) {
	all := &Question{}
	for _, j := range questions {
		all.Requests = append(all.Requests, j.q.Requests...)
	}
	answers, err := b.Client.Answer(ctx, all)
	if err != nil && len(questions) > 1 && (errors.Is(err, authz.ErrInvalid) || errors.Is(err, authz.ErrForbidden)) {
		var each sync.WaitGroup
		for _, j := range questions {
			each.Go(func() { j.answers, j.err = b.Client.Answer(ctx, j.q) })
		}
		each.Wait()
		return
	}
	for _, j := range questions {
		n := len(j.q.Requests)
		j.answers, j.err, answers = answers[:n:n], err, answers[n:]
		if j.err == nil && n == 1 && misunderstood(j.answers[0]) {
			j.err = authz.Errorf(authz.ErrInvalid, "the request is not understood: %s", j.answers[0].message())
		}
	}
}

// misunderstood reports whether an answer says that the request is none, which alone would have been an error.
func misunderstood(a *Answer) bool {
	return a.Code == authz.CodeInvalid || a.Code == authz.CodeTypeUnknown
}

// message returns the first reason.
func (a *Answer) message() string {
	if len(a.Reasons) > 0 {
		return a.Reasons[0].Message
	}
	return a.Code
}

var _ Decider = (*Batcher)(nil)
