package agent

import (
	"context"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// lookEvery is how often Run looks for keys that expire soon, and remindEvery how often at most the
// program's log is told of one.
const (
	lookEvery   = time.Minute
	remindEvery = 24 * time.Hour
)

// maxReminders is of how many keys the program's log is told at one look.
const maxReminders = 20

// Due returns the keys that expire within the given time, the soonest first. Keys that were
// replaced already, and those of retired agents, do not count. The values are shared: do not modify
// them.
func (r *Registry) Due(within time.Duration, at time.Time) []*Credential {
	var due []*Credential
	until := at.Add(within)
	for after, more := authz.AgentID(""), true; more; {
		r.mu.RLock()
		i, ok := r.find(after)
		if ok {
			i++
		}
		page := r.sorted[i:min(i+chunk, len(r.sorted))]
		for _, a := range page {
			if acc := r.accounts[a.ID]; acc != nil && a.State != authz.AgentRetired {
				due = acc.due(due, at, until)
			}
			after = a.ID
		}
		more = len(page) == chunk
		r.mu.RUnlock()
	}
	slices.SortFunc(due, func(a, b *Credential) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	return due
}

// due appends the account's keys that expire until then.
func (a *account) due(due []*Credential, at, until time.Time) []*Credential {
	for _, c := range a.live {
		if c.ExpiresAt.IsZero() || c.ExpiresAt.After(until) || !c.Active(at) {
			continue
		}
		if !slices.ContainsFunc(a.live, func(k *Credential) bool { return k.Replaces == c.ID && k.Active(at) }) {
			due = append(due, c)
		}
	}
	return due
}

// DueSoon returns how many keys expire within Config.Remind, as Run counted them last.
func (r *Registry) DueSoon() int { return int(r.dueSoon.Load()) }

// Run looks every minute for keys that expire within Config.Remind, counts them for DueSoon, and
// tells the program's log of each once a day. It returns nil when ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	reminded := map[string]time.Time{}
	for {
		reminded = r.remind(ctx, reminded)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// remind tells of the keys of which nobody was reminded for a day, and returns when somebody was of
// each that is due.
func (r *Registry) remind(ctx context.Context, before map[string]time.Time) map[string]time.Time {
	now := r.cfg.Now()
	due := r.Due(r.cfg.Remind, now)
	r.dueSoon.Store(int64(len(due)))
	reminded := make(map[string]time.Time, len(due))
	told := 0
	for _, c := range due {
		if at, ok := before[c.ID]; ok && now.Sub(at) < remindEvery {
			reminded[c.ID] = at
			continue
		}
		reminded[c.ID] = now
		if told++; told <= maxReminders {
			r.cfg.Logger.WarnContext(ctx, "agent key expires soon", "agent", c.Agent, "key", c.ID, "expires_at", c.ExpiresAt)
		}
	}
	if told > maxReminders {
		r.cfg.Logger.WarnContext(ctx, "more agent keys expire soon", "count", told-maxReminders)
	}
	return reminded
}
