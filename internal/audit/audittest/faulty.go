package audittest

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/internal/audit"
)

// ErrDown is what a store that fails on cue returns.
var ErrDown = errors.New("store is down")

// A Cue says how a call of a Faulty store goes wrong.
type Cue int

// The ways to go wrong.
const (
	Fine   Cue = iota
	Before     // the call fails and nothing was done
	After      // the call fails, but what it asked for was done
	Late       // the call fails, and what it asked for is done later, at Land; a read just fails
	Hang       // the call does nothing until its context ends
)

// A Faulty store is one whose calls fail as On says.
type Faulty struct {
	audit.Store

	mu   sync.Mutex
	on   func(method string) Cue
	late []func()
}

// On sets what decides how calls go: f is called with "Head", "Append", "Segments", "Hashes",
// "Checkpoint" or "PutCheckpoint", one call at a time. Nil means that all is fine.
func (s *Faulty) On(f func(method string) Cue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = f
}

// Land does now what calls with the cue Late asked for.
func (s *Faulty) Land() {
	s.mu.Lock()
	late := s.late
	s.late = nil
	s.mu.Unlock()
	for _, f := range late {
		f()
	}
}

func (s *Faulty) do(ctx context.Context, method string, f func(context.Context) error) error {
	s.mu.Lock()
	cue := Fine
	if s.on != nil {
		cue = s.on(method)
	}
	if cue == Late && (method == "Append" || method == "PutCheckpoint") {
		s.late = append(s.late, func() { _ = f(context.WithoutCancel(ctx)) })
	}
	s.mu.Unlock()
	switch cue {
	case Before, Late:
		return ErrDown
	case After:
		return errors.Join(f(ctx), ErrDown)
	case Hang:
		<-ctx.Done()
		return ctx.Err()
	}
	return f(ctx)
}

// Head implements audit.Store.
func (s *Faulty) Head(ctx context.Context) (h audit.Head, err error) {
	err = s.do(ctx, "Head", func(ctx context.Context) (err error) { h, err = s.Store.Head(ctx); return err })
	return h, err
}

// Append implements audit.Store.
func (s *Faulty) Append(ctx context.Context, old audit.Head, seg audit.Segment) error {
	return s.do(ctx, "Append", func(ctx context.Context) error { return s.Store.Append(ctx, old, seg) })
}

// Segments implements audit.Store.
func (s *Faulty) Segments(ctx context.Context, after int64, limit int) (segs []audit.Segment, err error) {
	err = s.do(ctx, "Segments", func(ctx context.Context) (err error) {
		segs, err = s.Store.Segments(ctx, after, limit)
		return err
	})
	return segs, err
}

// Hashes implements audit.Store.
func (s *Faulty) Hashes(ctx context.Context, indexes []int64) (hs []tlog.Hash, err error) {
	err = s.do(ctx, "Hashes", func(ctx context.Context) (err error) { hs, err = s.Store.Hashes(ctx, indexes); return err })
	return hs, err
}

// Checkpoint implements audit.Store.
func (s *Faulty) Checkpoint(ctx context.Context) (b []byte, err error) {
	err = s.do(ctx, "Checkpoint", func(ctx context.Context) (err error) { b, err = s.Store.Checkpoint(ctx); return err })
	return b, err
}

// PutCheckpoint implements audit.Store.
func (s *Faulty) PutCheckpoint(ctx context.Context, size int64, note []byte) error {
	return s.do(ctx, "PutCheckpoint", func(ctx context.Context) error { return s.Store.PutCheckpoint(ctx, size, note) })
}
