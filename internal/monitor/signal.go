package monitor

import (
	"context"
	"sync"
	"sync/atomic"
)

// Types of signals.
const (
	SignalFinding    = "finding"
	SignalTrust      = "trust"
	SignalQuarantine = "quarantine"
)

// backlog is how many signals a subscriber may be behind.
const backlog = 256

// Listeners are the subscribers. The zero listeners are none.
type listeners struct {
	some atomic.Bool // whether there are any
	mu   sync.Mutex
	all  map[chan Signal]struct{}
}

// Subscribe returns signals from now on, until ctx ends. A subscriber that does not keep up is cut off: its
// channel is closed.
func (m *Monitor) Subscribe(ctx context.Context) <-chan Signal {
	l, ch := &m.listeners, make(chan Signal, backlog)
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		close(ch)
		return ch
	}
	if l.all == nil {
		l.all = map[chan Signal]struct{}{}
	}
	l.all[ch] = struct{}{}
	l.some.Store(true)
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cut(ch)
	})
	return ch
}

// cut ends a subscription, unless it has ended. The caller holds l.mu.
func (l *listeners) cut(ch chan Signal) {
	if _, ok := l.all[ch]; ok {
		delete(l.all, ch)
		close(ch)
		l.some.Store(len(l.all) > 0)
	}
}

// signal tells subscribers, who do not hold up anything. See sink.
func (m *Monitor) signal(s Signal) {
	l := &m.listeners
	if !l.some.Load() {
		return
	}
	if s.Finding != nil {
		f := *s.Finding // what it points to is never changed in place
		s.Finding = &f
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for ch := range l.all {
		select {
		case ch <- s:
		default:
			l.cut(ch)
		}
	}
}

// changed is told of what decisions may depend on. See sink.
func (m *Monitor) changed() { m.generation.Add(1) }
