package monitor

import (
	"context"
	"time"
)

// Run keeps what is remembered from time to time, and once more when ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	timer := time.NewTimer(keepEvery)
	defer timer.Stop()
	for due := false; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-timer.C:
			timer.Reset(keepEvery)
			due = true
		case <-m.keep.wake:
			rest(ctx, flushRest)
		}
		if ctx.Err() != nil {
			break
		}
		m.mu.Lock()
		due = due || m.keep.entries >= keepEntries
		m.mu.Unlock()
		err := m.flushAll(ctx)
		if err == nil && due {
			err = m.Keep(ctx)
			due = err != nil
		}
		if err != nil && ctx.Err() == nil {
			m.cfg.Logger.WarnContext(ctx, "what is known of conduct cannot be kept", "error", err)
			rest(ctx, flushRetry)
			m.keep.again()
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepAtEnd)
	defer cancel()
	if err := m.Keep(end); err != nil {
		m.cfg.Logger.WarnContext(end, "what is known of conduct is not kept: the next start reads more of the log", "error", err)
	}
	return nil
}

// again makes Run try again.
func (k *keep) again() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// rest waits, unless ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
