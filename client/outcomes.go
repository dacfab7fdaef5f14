package client

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Outcomes reports what came of acts in the background, so that no act waits for it: put its Outcome into
// Enforcer.Outcome, and let Run run. It is safe for concurrent use; its fields are set before.
//
// What waits when the process dies is not reported: who must not lose any leaves Enforcer.Outcome as it is.
type Outcomes struct {
	// Decider is told: the Client, or whatever decides.
	Decider Decider
	// Most is how many outcomes wait at most, 1024 by default. Further ones are refused with
	// authz.ErrUnavailable, which is then Done's error.
	Most int
	// Workers is how many are reported at once, 4 by default.
	Workers int
	// Drain is how long Run goes on with what waits after its context has ended, 5 seconds by default.
	Drain time.Duration
	// Logger is told of outcomes that could not be reported; nil tells nobody.
	Logger *slog.Logger

	once  sync.Once
	queue chan outcomeOf

	mu    sync.RWMutex
	ended bool // nobody reports any more
}

type outcomeOf struct {
	decision string
	outcome  Outcome
}

func (s *Outcomes) start() chan outcomeOf {
	s.once.Do(func() {
		most := s.Most
		if most <= 0 {
			most = 1024
		}
		s.queue = make(chan outcomeOf, most)
	})
	return s.queue
}

// Outcome has an outcome reported, and does not wait. authz.ErrUnavailable: it is not reported, because too many wait, or
// because the context of Run has ended. Before Run it waits for Run.
func (s *Outcomes) Outcome(_ context.Context, decisionID string, o Outcome) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ended {
		return authz.Errorf(authz.ErrUnavailable, "outcomes are not reported any more")
	}
	select {
	case s.start() <- outcomeOf{decisionID, o}:
		return nil
	default:
		return authz.Errorf(authz.ErrUnavailable, "too many outcomes wait to be reported")
	}
}

// Run reports until ctx ends, and what waits then. It returns an error if some of that could not be reported.
func (s *Outcomes) Run(ctx context.Context) error {
	workers := s.Workers
	if workers <= 0 {
		workers = 4
	}
	drain := s.Drain
	if drain <= 0 {
		drain = 5 * time.Second
	}
	queue := s.start()
	s.end(false)
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drain, cancel) })
	defer stop()
	var mu sync.Mutex
	var late []error
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				select {
				case o := <-queue:
					s.report(last, o)
				case <-ctx.Done():
					s.end(true) // after which nothing is added
					for {
						select {
						case o := <-queue:
							if err := s.report(last, o); err != nil {
								mu.Lock()
								late = append(late, err)
								mu.Unlock()
							}
						default:
							return
						}
					}
				}
			}
		})
	}
	all.Wait()
	return errors.Join(late...)
}

func (s *Outcomes) end(ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = ended
}

func (s *Outcomes) report(ctx context.Context, o outcomeOf) error {
	err := s.Decider.Outcome(ctx, o.decision, o.outcome)
	if err != nil && s.Logger != nil {
		s.Logger.WarnContext(ctx, "outcome not reported", "decision", o.decision, "err", err)
	}
	return err
}
