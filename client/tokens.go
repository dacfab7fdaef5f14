package client

import (
	"context"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Tokens is a source of tokens for one purpose. It keeps the newest, gets another one in the
// background before that ends, and asks the server once however many callers wait. It is safe for
// concurrent use.
type Tokens struct {
	agent   *Agent
	fetch   func(context.Context) (*Token, error)
	current atomic.Pointer[Token]

	mu     sync.Mutex // guards what follows
	flight *flight    // under way; nil if none is
	paused time.Time  // no getting in the background before
}

// A flight is one asking of the server. Its result is set before done is closed.
type flight struct {
	done  chan struct{}
	token *Token
	err   error
}

const (
	fetchTime   = 30 * time.Second // of a flight, at most
	fetchPause  = 2 * time.Second  // between flights in the background that fail
	renewalRest = 30 * time.Second // of a token got because the one before was refused, before it is renewed
)

// Tokens returns a source of tokens by client credentials.
func (a *Agent) Tokens(r TokenRequest) *Tokens {
	return &Tokens{agent: a, fetch: func(ctx context.Context) (*Token, error) { return a.Token(ctx, r) }}
}

// Delegated returns a source of tokens by which the agent acts for the subject of another token. It
// fails once that token has ended.
func (a *Agent) Delegated(subjectToken string, r TokenRequest) *Tokens {
	return &Tokens{agent: a, fetch: func(ctx context.Context) (*Token, error) { return a.Exchange(ctx, subjectToken, r) }}
}

// Token returns a token that can be used now. Mostly it is at hand; otherwise the call waits for the
// server, for as long as ctx allows.
func (s *Tokens) Token(ctx context.Context) (*Token, error) {
	t, now := s.current.Load(), s.agent.now()
	switch {
	case t != nil && now.Before(t.refreshAt):
		return t, nil
	case t != nil && now.Before(t.useUntil):
		s.refresh(ctx, now)
		return t, nil
	}
	s.mu.Lock()
	if t := s.current.Load(); t != nil && now.Before(t.useUntil) { // somebody was first
		s.mu.Unlock()
		return t, nil
	}
	f := s.begin(ctx, false)
	s.mu.Unlock()
	return f.wait(ctx)
}

// Renew returns another token than the one that a resource server refused. To a token that was
// renewed just now it does no more: that one is returned again.
func (s *Tokens) Renew(ctx context.Context, refused *Token) (*Token, error) {
	s.mu.Lock()
	now := s.agent.now()
	if t := s.current.Load(); t != nil && t != refused && now.Before(t.useUntil) {
		s.mu.Unlock()
		return t, nil
	}
	if refused.renewed && now.Sub(refused.at) < renewalRest {
		s.mu.Unlock()
		return refused, nil
	}
	s.current.CompareAndSwap(refused, nil)
	f := s.begin(ctx, true)
	s.mu.Unlock()
	return f.wait(ctx)
}

// refresh gets another token in the background, unless that is under way or failed just now.
func (s *Tokens) refresh(ctx context.Context, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil && !now.Before(s.paused) {
		s.begin(ctx, false)
	}
}

// begin returns the flight under way, or begins one. It outlives the caller that began it, since
// others may wait for it. s.mu is held.
func (s *Tokens) begin(ctx context.Context, renewed bool) *flight {
	if s.flight != nil {
		return s.flight
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	go func() {
		defer cancel()
		f.token, f.err = s.fetch(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.err == nil {
			f.token.renewed = renewed
			s.current.Store(f.token)
		} else {
			s.paused = s.agent.now().Add(fetchPause)
		}
		s.flight = nil
		close(f.done)
	}()
	return f
}

func (f *flight) wait(ctx context.Context) (*Token, error) {
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Client returns a client by which the agent asks the service that knows it for decisions about
// itself. A subject may be left out of its questions and is the agent; what was observed is not the
// agent's to say.
func (a *Agent) Client(r TokenRequest) (*Client, error) {
	if r.Resource == "" {
		r.Resource = a.issuer
	}
	c, err := New(a.issuer, "")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(a.issuer)
	if err != nil {
		return nil, err
	}
	t, err := NewTransport(u.Scheme+"://"+u.Host, a.Tokens(r))
	if err != nil {
		return nil, err
	}
	t.Base = a.HTTP.Transport
	c.HTTP.Transport, c.self, c.agent = t, true, authz.Ref{Type: authz.AgentType, ID: a.ID()}
	return c, nil
}
