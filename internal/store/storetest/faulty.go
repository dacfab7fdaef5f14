package storetest

import (
	"context"
	"sync"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Fault is what happens to one Append.
type Fault int

const (
	None     Fault = iota // it succeeds
	Before                // authz.ErrUnavailable, and nothing is stored
	After                 // authz.ErrUnavailable, although it is stored
	Conflict              // authz.ErrConflict, and nothing is stored; see Faulty.Intrude
	Block                 // it waits until Release is called or its context ends, then goes on
)

// A Faulty is the log of a real database that fails on cue.
type Faulty struct {
	audit.Store

	// Intrude, unless nil, is called before a Conflict is returned, to append what another replica
	// could have appended in between. Without it, the head stays where it was.
	Intrude func(ctx context.Context, old audit.Head) error

	// Blocked is signalled when an Append begins to wait, if somebody receives from it.
	Blocked chan audit.Segment

	mu      sync.Mutex
	next    []Fault
	down    bool
	release chan struct{}
	appends int
}

// NewFaulty returns s with faults at hand.
func NewFaulty(s audit.Store) *Faulty {
	return &Faulty{Store: s, Blocked: make(chan audit.Segment, 1), release: make(chan struct{})}
}

// Next says what happens to the coming Appends, one fault each. Those after them succeed.
func (f *Faulty) Next(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, faults...)
}

// SetDown makes Append, Head, Segments and PutCheckpoint fail with authz.ErrUnavailable and do nothing, until it is unset.
func (f *Faulty) SetDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// Release lets the Appends that wait go on.
func (f *Faulty) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.release)
	f.release = make(chan struct{})
}

// Appends returns how often Append was called.
func (f *Faulty) Appends() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.appends
}

var errFault = authz.Errorf(authz.ErrUnavailable, "the store fails on cue")

// Append fails on cue.
func (f *Faulty) Append(ctx context.Context, old audit.Head, s audit.Segment) error {
	fault, release := f.take()
	switch fault {
	case Before:
		return errFault
	case After:
		if err := f.Store.Append(ctx, old, s); err != nil {
			return err
		}
		return errFault
	case Conflict:
		if f.Intrude != nil {
			if err := f.Intrude(ctx, old); err != nil {
				return err
			}
		}
		return authz.Errorf(authz.ErrConflict, "the store conflicts on cue")
	case Block:
		select {
		case f.Blocked <- s:
		default:
		}
		select {
		case <-release:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.Store.Append(ctx, old, s)
}

func (f *Faulty) take() (Fault, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.appends++
	fault := None
	if len(f.next) > 0 {
		fault, f.next = f.next[0], f.next[1:]
	}
	if f.down {
		fault = Before
	}
	return fault, f.release
}

func (f *Faulty) up() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errFault
	}
	return nil
}

// Head fails on cue.
func (f *Faulty) Head(ctx context.Context) (audit.Head, error) {
	if err := f.up(); err != nil {
		return audit.Head{}, err
	}
	return f.Store.Head(ctx)
}

// Segments fails on cue.
func (f *Faulty) Segments(ctx context.Context, after int64, limit int) ([]audit.Segment, error) {
	if err := f.up(); err != nil {
		return nil, err
	}
	return f.Store.Segments(ctx, after, limit)
}

// PutCheckpoint fails on cue.
func (f *Faulty) PutCheckpoint(ctx context.Context, size int64, note []byte) error {
	if err := f.up(); err != nil {
		return err
	}
	return f.Store.PutCheckpoint(ctx, size, note)
}
