package api

import (
	"context"
	"errors"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/caller"
)

// A reading is how much of an ask somebody may read. The zero reading is nothing.
type reading uint8

const (
	unread   reading = iota // not even that it is there
	outline                 // what is asked, and how it ended: whoever reads decisions knows the acts anyhow
	whole                   // also who asked, looked and answered, what they said, and how far a yes goes
	verbatim                // and the bodies of the log's entries
)

// reads says how much of an ask the caller may read, and what the caller may do with it if it is a person who
// answers. Whatever tells of one ask goes by it: the ask's own routes, decisions, and the stream. A list asks the desk,
// which knows as well what concerns a person.
func (s *Server) reads(ctx context.Context, c *call, a *approval.Ask) (reading, *approval.Standing, error) {
	st, concerned, err := s.standing(ctx, c, a)
	switch {
	case err != nil:
		return unread, nil, err
	case c.readsAll():
		return verbatim, st, nil
	case concerned:
		return whole, st, nil
	case c.who.Can(readers...):
		return outline, nil, nil
	}
	return unread, nil, nil
}

// readsWhole reports whether the caller may read the whole of the ask of that id. Of one that is not there any more
// nobody knows whom it concerned.
func (s *Server) readsWhole(ctx context.Context, c *call, id string) (bool, error) {
	if s.Approvals == nil {
		return c.readsAll(), nil
	}
	a, err := s.Approvals.Get(ctx, id)
	if errors.Is(err, authz.ErrNotFound) {
		return c.readsAll(), nil
	} else if err != nil {
		return false, err
	}
	level, _, err := s.reads(ctx, c, a)
	return level >= whole, err
}

// readsAll reports whether the caller reads every ask, and not only what concerns a person.
func (c *call) readsAll() bool { return c.who.Can(caller.Administrator, caller.Auditor) }

// readableAsk returns an ask that the caller may read the whole of, how much more of it, and what the caller may do with
// it if it is a person who answers. To others it is not there.
func (s *Server) readableAsk(ctx context.Context, c *call, id string) (*approval.Ask, reading, *approval.Standing, error) {
	a, err := s.Approvals.Get(ctx, id)
	if err != nil {
		return nil, unread, nil, err
	}
	level, st, err := s.reads(ctx, c, a)
	if err == nil && level < whole {
		err = noAsk(id)
	}
	return a, level, st, err
}

// askOf returns an ask that the caller may do something about. To a person whom it does not concern it is not
// there, also if they may read it: who has looked at an ask may take back what was approved.
func (s *Server) askOf(ctx context.Context, c *call, id string) (*approval.Ask, error) {
	a, err := s.Approvals.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	st, concerned, err := s.standing(ctx, c, a)
	if err == nil && st != nil && !concerned {
		err = noAsk(id)
	}
	return a, err
}

func noAsk(id string) error { return authz.Errorf(authz.ErrNotFound, "no ask %.64q", id) }
