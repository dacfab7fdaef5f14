package stop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A PutBody is the body of a stop.put entry.
type PutBody struct {
	ID    string    `json:"id"`
	Scope Scope     `json:"scope"`
	Until time.Time `json:"until,omitzero"`
	Why   string    `json:"why"`
}

// A LiftBody is the body of a stop.lifted entry.
type LiftBody struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// Put stops everything in the scope, and returns once that is in effect here. Whoever says the very same again while it stands
// gets the stop that is there. authz.ErrInvalid: every problem; authz.ErrConflict: the id was used before, or too many
// stops stand.
func (b *Board) Put(ctx context.Context, actor string, s Stop) (Stop, error) {
	now := b.cfg.Now()
	problems := s.problems()
	switch {
	case s.Until.IsZero():
	case !s.Until.After(now):
		problems = append(problems, "until is past: leave it out for a stop that stands until somebody lifts it")
	case s.Until.Sub(now) > maxLife:
		problems = append(problems, "until is more than a year ahead: leave it out for a stop that stands until somebody lifts it")
	}
	if len(problems) > 0 {
		return Stop{}, authz.Errorf(authz.ErrInvalid, "stop %.128q: %s", s.ID, strings.Join(problems, "; "))
	}
	s.Until = s.Until.UTC().Truncate(time.Microsecond)
	if have, ok := b.standing(s.ID, now); ok && have.Scope == s.Scope && have.Until.Equal(s.Until) {
		return have, nil
	}
	most := maxStanding
	if s.Scope.Everything {
		most += spare
	}
	if len(b.Standing()) >= most {
		return Stop{}, authz.Errorf(authz.ErrConflict, "%d stops stand already: stop everything, or lift some", maxStanding)
	}
	if err := b.commit(ctx, audit.StopPut, actor, PutBody{s.ID, s.Scope, s.Until, s.Why}); err != nil {
		return Stop{}, err
	}
	return b.cfg.Store.Stop(ctx, s.ID)
}

// Lift lifts a stop, also one whose time is over, and returns it once that is in effect here. authz.ErrNotFound: there is none of that
// id; authz.ErrConflict: it was lifted before; authz.ErrForbidden: somebody else must lift it.
func (b *Board) Lift(ctx context.Context, actor, why, id string) (Stop, error) {
	if problems := whyProblems(why); len(problems) > 0 {
		return Stop{}, authz.Errorf(authz.ErrInvalid, "lifting stop %.128q: %s", id, strings.Join(problems, "; "))
	}
	s, err := b.cfg.Store.Stop(ctx, id)
	switch {
	case err != nil:
		return Stop{}, err
	case s.Lifted():
		return s, authz.Errorf(authz.ErrConflict, "stop %q was lifted by %s at %s", id, s.LiftedBy, s.LiftedAt.Format(time.RFC3339))
	case b.cfg.Two && s.PutBy == actor:
		return s, authz.Errorf(authz.ErrForbidden, "somebody else must lift stop %q: whoever stops does not lift it alone here", id)
	}
	if err := b.commit(ctx, audit.StopLifted, actor, LiftBody{id, why}); err != nil {
		return Stop{}, err
	}
	return b.cfg.Store.Stop(ctx, id)
}

// standing returns the stop of that id, if it stands.
func (b *Board) standing(id string, at time.Time) (Stop, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if s := b.stops[id]; s != nil && s.Stands(at) {
		return *s, true
	}
	return Stop{}, false
}

// commit records a change and waits until it is in effect.
func (b *Board) commit(ctx context.Context, kind audit.Kind, actor string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", kind, err)
	}
	if _, err := b.cfg.Log.Commit(ctx, audit.Draft{Kind: kind, Actor: actor, Body: text}); err != nil {
		return fmt.Errorf("recording %s: %w", kind, err)
	}
	return nil
}

// Apply brings stop.put and stop.lifted entries into effect. See audit.Applier. Of an id the first of each counts.
func (b *Board) Apply(ctx context.Context, e audit.Entry) error {
	switch e.Kind {
	case audit.StopPut:
		s, err := readPut(e)
		if err != nil {
			return err
		}
		if problems := append(nameProblems(s.ID), whyProblems(s.Why)...); len(problems) > 0 {
			return authz.Errorf(authz.ErrInvalid, "stop %.128q: %s", s.ID, strings.Join(problems, "; "))
		}
		if err := b.cfg.Store.PutStop(ctx, s); errors.Is(err, authz.ErrConflict) {
			return authz.Errorf(authz.ErrConflict, "there was a stop %q before: a stop is not changed, and an id not used again; choose another", s.ID)
		} else if err != nil {
			return fmt.Errorf("keeping stop %q: %w", s.ID, err)
		}
		// The table may be ahead of this entry: the stop is lifted there, by one that follows.
		kept, err := b.cfg.Store.Stop(ctx, s.ID)
		if err != nil {
			return fmt.Errorf("reading stop %q: %w", s.ID, err)
		}
		if !kept.Lifted() {
			b.put(&s)
		}
	case audit.StopLifted:
		var l LiftBody
		if err := json.Unmarshal(e.Body, &l); err != nil {
			return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
		}
		if problems := whyProblems(l.Why); len(problems) > 0 {
			return authz.Errorf(authz.ErrInvalid, "lifting stop %.128q: %s", l.ID, strings.Join(problems, "; "))
		}
		s, err := b.cfg.Store.Stop(ctx, l.ID)
		if errors.Is(err, authz.ErrNotFound) {
			return err
		} else if err != nil {
			return fmt.Errorf("reading stop %q: %w", l.ID, err)
		}
		s.LiftedBy, s.LiftedAt, s.LiftedWhy, s.LiftedSeq = e.Actor, e.At, l.Why, e.Seq
		if err := b.cfg.Store.LiftStop(ctx, s); errors.Is(err, authz.ErrConflict) {
			return authz.Errorf(authz.ErrConflict, "stop %q was lifted before", l.ID)
		} else if err != nil {
			return fmt.Errorf("lifting stop %q: %w", l.ID, err)
		}
		b.remove(l.ID)
	}
	return nil
}

// readPut returns the stop that a stop.put entry puts. A scope that this program does not understand is none, which concerns
// everything.
func readPut(e audit.Entry) (s Stop, err error) {
	var p struct {
		PutBody
		Scope json.RawMessage `json:"scope"`
	}
	if err := json.Unmarshal(e.Body, &p); err != nil {
		return s, authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	s = Stop{ID: p.ID, Why: p.Why, Until: p.Until, PutBy: e.Actor, PutAt: e.At, AsOf: e.Seq}
	if json.Unmarshal(p.Scope, &s.Scope) != nil {
		s.Scope = Scope{}
	}
	return s, nil
}

// forget is how long a stop is kept in memory after its time: by more than clocks differ.
const forget = 24 * time.Hour

func (b *Board) put(s *Stop) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := s.PutAt.Add(-forget)
	if ours := b.cfg.Now().Add(-forget); ours.Before(gone) {
		gone = ours
	}
	maps.DeleteFunc(b.stops, func(_ string, s *Stop) bool { return !s.Until.IsZero() && s.Until.Before(gone) })
	b.stops[s.ID] = s
	b.changed()
}

func (b *Board) remove(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.stops[id]; ok {
		delete(b.stops, id)
		b.changed()
	}
}
