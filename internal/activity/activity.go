// Package activity knows what agents did: which of their capabilities they used and how far, in which sessions, and
// for whom. It follows the log beside those who decide by it, and may lag: nothing is decided by what it knows.
//
// What it knows of an agent is a function of the log: of the entries in their order and of nothing else. It is kept in
// rows, each whole and with the number of the entry that changed it last. An entry that a row has taken in changes it no
// more, so rows are read again after a crash, written by several replicas, and written before the cursor, without
// harm. They hold nothing that the log does not.
//
// The rows of an agent are bounded whatever it does: weeks by Weeks, the rest by MaxSessions and MaxPrincipals, and what is in
// a row by the bounds of its lists. What falls out is in the log still.
package activity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Format is the version of what is kept. It must grow with any change of the form, and of what is concluded from the same
// entries: then all is worked out anew.
const Format = 2

// Kinds of rows.
const (
	kindAgent   = "agent"   // the agent as a whole; its name is empty
	kindUse     = "use"     // what it used in a week; its name is the number of the week
	kindSession = "session" // a session of it
	kindBehalf  = "behalf"  // a principal for whom it acted: TYPE:ID
)

// A Row is what is kept under a name.
type Row struct {
	Agent      authz.AgentID
	Kind, Name string
	Seq        int64  // number of the entry that changed it last
	Record     []byte // JSON
}

// A Head says what is kept.
type Head struct {
	Seq     int64 // number of an entry up to which the rows hold everything; 0 if they hold nothing
	Format  int64
	Uploads []byte // journals whose records were taken in up to that entry, as conduct.Journals write them; may be empty
}

// Store keeps rows. Replicas share it.
type Store interface {
	// ActivityHead returns the head, the zero Head if there is none.
	ActivityHead(ctx context.Context) (Head, error)

	// PutActivity keeps rows, each unless it is kept as of a later entry already.
	PutActivity(ctx context.Context, format int64, rows []Row) error

	// MoveActivity makes h the head, unless it stands at a later entry of the same format. If h has another format than
	// the head, rows of other formats are removed.
	MoveActivity(ctx context.Context, h Head) error

	// Activity returns one row of the format, or authz.ErrNotFound.
	Activity(ctx context.Context, format int64, id authz.AgentID, kind, name string) (Row, error)

	// ActivityOf returns up to limit rows of an agent and a kind whose Seq is below before, the newest first.
	ActivityOf(ctx context.Context, format int64, id authz.AgentID, kind string, before int64, limit int) ([]Row, error)

	// ActivityNamed returns up to limit rows of a kind and a name, of agents whose ids follow the given one, by id.
	ActivityNamed(ctx context.Context, format int64, kind, name string, after authz.AgentID, limit int) ([]Row, error)

	// PruneActivity removes the rows of an agent and a kind but for the newest so many.
	PruneActivity(ctx context.Context, id authz.AgentID, kind string, keep int) error
}

// A Log is followed. *audit.Log is one.
type Log interface {
	Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error
}

// A Config is what a Book needs. Store must be set.
type Config struct {
	Store  Store
	Logger *slog.Logger // silent by default
}

const (
	keepEvery = 2 * time.Second
	maxDirty  = 2048  // rows that are not kept yet, at most
	maxClean  = 16384 // rows that are remembered although they are kept
	chunk     = 128   // rows that are written together, so that the log, which may share the only connection that writes, never waits long
)

// A Book is what is known of all agents. It is safe for concurrent use.
type Book struct {
	cfg Config

	mu      sync.Mutex
	seq     int64 // the newest entry that was taken in
	rows    map[key]*entry
	dirty   []*entry
	prune   map[key]int      // rows of an agent and a kind are too many: how many stay
	uploads conduct.Journals // whose records were taken in
	reader  *conduct.EventReader
	ev      conduct.Event

	keeping sync.Mutex // held by who writes, before mu
}

type key struct {
	agent      authz.AgentID
	kind, name string
}

// An entry is a row as it is worked on.
type entry struct {
	key   key
	seq   int64 // number of the entry that changed it last; 0 if there is no such row
	dirty bool
	state any // *agentState, *useState, *sessionState, *behalfState
}

// New returns a Book that knows nothing yet: see Run.
func New(cfg Config) *Book {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Book{cfg: cfg, rows: map[key]*entry{}, prune: map[key]int{}, uploads: conduct.Journals{}, reader: conduct.NewEventReader()}
}

// Seq returns the number of the newest entry that was taken in.
func (b *Book) Seq() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seq
}

// Run follows the log from where it was kept last until ctx ends, and keeps what it learns. It returns an error only if
// the log is damaged.
func (b *Book) Run(ctx context.Context, log Log) error {
	for wait := time.Duration(0); ; {
		err := b.follow(ctx, log)
		var fault *audit.Fault
		switch {
		case ctx.Err() != nil:
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := b.Keep(end); err != nil {
				b.cfg.Logger.WarnContext(end, "what agents did is not kept: the next start reads more of the log", "error", err)
			}
			return nil
		case errors.As(err, &fault):
			return fmt.Errorf("following what agents did: %w", err)
		}
		b.cfg.Logger.WarnContext(ctx, "what agents did cannot be followed", "error", err)
		wait = min(wait+100*time.Millisecond, 5*time.Second)
		sleep(ctx, wait)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// follow takes in entries from the head on, and keeps them from time to time.
func (b *Book) follow(ctx context.Context, log Log) error {
	if err := b.Begin(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var kept sync.WaitGroup
	kept.Go(func() {
		tick := time.NewTicker(keepEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := b.Keep(ctx); err != nil && ctx.Err() == nil {
					b.cfg.Logger.WarnContext(ctx, "what agents did cannot be kept", "error", err)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	defer kept.Wait()
	defer stop(nil)
	err := log.Follow(ctx, b.Seq(), func(ctx context.Context, es []audit.Entry) error {
		for i := range es {
			if err := b.Take(ctx, &es[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, authz.ErrInvalid) { // the rows are of another log
		b.cfg.Logger.WarnContext(ctx, "what is kept of what agents did does not fit the log, working it out anew")
		if err := b.cfg.Store.MoveActivity(ctx, Head{Format: -1}); err != nil {
			return err
		}
	}
	return err
}

// Begin reads where to go on. What is known and not kept is forgotten.
func (b *Book) Begin(ctx context.Context) error {
	head, err := b.cfg.Store.ActivityHead(ctx)
	if err != nil {
		return fmt.Errorf("reading how far what agents did is kept: %w", err)
	}
	if head.Format != Format {
		if head.Format > Format {
			return authz.Errorf(authz.ErrConflict, "a newer program keeps what agents did")
		}
		head = Head{Format: Format}
		if err := b.cfg.Store.MoveActivity(ctx, head); err != nil {
			return fmt.Errorf("beginning anew with what agents did: %w", err)
		}
	}
	uploads := conduct.Journals{}
	if len(head.Uploads) > 0 {
		r := conduct.NewReader(head.Uploads)
		if uploads.Read(r); r.Err() != nil {
			return fmt.Errorf("reading whose records were taken in: %w", r.Err())
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq, b.dirty, b.uploads = head.Seq, nil, uploads
	clear(b.rows)
	clear(b.prune)
	return nil
}

// Take takes in the next entry. If it fails, the entry must be tried again; what rows have taken in of it stays.
func (b *Book) Take(ctx context.Context, e *audit.Entry) error {
	b.mu.Lock()
	full := len(b.dirty) >= maxDirty
	b.mu.Unlock()
	if full {
		if err := b.Keep(ctx); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Seq <= b.seq {
		return nil
	}
	if err := b.take(ctx, e); err != nil {
		return err
	}
	b.seq = e.Seq
	return nil
}

// Keep writes what is not kept yet, and then up to where it is.
func (b *Book) Keep(ctx context.Context) error {
	b.keeping.Lock()
	defer b.keeping.Unlock()
	b.mu.Lock()
	head, all := Head{b.seq, Format, b.uploads.Append(nil)}, b.dirty
	b.dirty = nil
	rows := make([]Row, 0, len(all))
	for _, en := range all {
		en.dirty = false
		rows = append(rows, en.row())
	}
	prune := b.prune
	b.prune = map[key]int{}
	b.mu.Unlock()

	err := b.write(ctx, head, rows, prune)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		for _, en := range all {
			if !en.dirty && b.rows[en.key] == en {
				en.dirty = true
				b.dirty = append(b.dirty, en)
			}
		}
		for k, n := range prune {
			b.prune[k] = n
		}
		return fmt.Errorf("keeping what agents did: %w", err)
	}
	if len(b.rows) > maxClean {
		for k, en := range b.rows {
			if !en.dirty {
				delete(b.rows, k)
			}
		}
	}
	return nil
}

func (b *Book) write(ctx context.Context, head Head, rows []Row, prune map[key]int) error {
	for ; len(rows) > 0; rows = rows[min(chunk, len(rows)):] {
		if err := b.cfg.Store.PutActivity(ctx, Format, rows[:min(chunk, len(rows))]); err != nil {
			return err
		}
	}
	for k, n := range prune {
		if err := b.cfg.Store.PruneActivity(ctx, k.agent, k.kind, n); err != nil {
			return err
		}
	}
	if head.Seq == 0 {
		return nil
	}
	return b.cfg.Store.MoveActivity(ctx, head)
}
