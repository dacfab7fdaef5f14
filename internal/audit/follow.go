package audit

import (
	"context"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Follow calls f with every entry after the given number, in order and in slices, as they become
// durable, until ctx ends or f fails. Entries are shared: f may keep them and must not change them.
// It waits for a store that cannot be read; a damaged log ends it with a *Fault. A number that the
// log has not reached is authz.ErrInvalid: what was made of the log is of another one.
func (l *Log) Follow(ctx context.Context, after int64, f func(context.Context, []Entry) error) error {
	return l.follow(ctx, after, 0, f)
}

// follow is Follow for who may lag: having come to the end of the log, it rests that long before it
// goes on, and so is woken once for many batches.
func (l *Log) follow(ctx context.Context, after int64, rest time.Duration, f func(context.Context, []Entry) error) error {
	if err := l.tail.wait(ctx); err != nil {
		return err
	}
	if err := l.reached(ctx, after); err != nil {
		return err
	}
	wait := backoff(0)
	for {
		es, behind, grown := l.tail.after(after)
		if behind {
			read, err := l.page(ctx, after)
			if isFault(err) || ctx.Err() != nil {
				return err
			}
			if err != nil {
				l.cfg.Logger.WarnContext(ctx, "follower cannot read the log", "after", after, "error", err)
				wait = wait.next()
				if err := wait.sleep(ctx); err != nil {
					return err
				}
				continue
			}
			es, wait = read, 0
		}
		if len(es) > 0 {
			if err := f(ctx, es); err != nil {
				return err
			}
			after = es[len(es)-1].Seq
			continue
		}
		if err := backoff(rest).sleep(ctx); err != nil {
			return err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reached returns nil if the log has an entry of that number, or if it is 0.
func (l *Log) reached(ctx context.Context, seq int64) error {
	last, _ := l.tail.position()
	for wait := backoff(0); seq > last; last, _ = l.tail.position() {
		err := l.catchUp(ctx)
		if last, _ = l.tail.position(); err == nil && seq > last {
			return authz.Errorf(authz.ErrInvalid, "the log has %d entries, not %d", last, seq)
		}
		if isFault(err) {
			return err
		}
		if err != nil {
			wait = wait.next()
			if err := wait.sleep(ctx); err != nil {
				return err
			}
		}
	}
	if seq < 0 {
		return authz.Errorf(authz.ErrInvalid, "no entry has the number %d", seq)
	}
	return nil
}

// page reads the entries of the next few segments after an entry that is known to have followers.
func (l *Log) page(ctx context.Context, after int64) ([]Entry, error) {
	segs, err := l.segments(ctx, after, 8)
	if err != nil {
		return nil, err
	}
	if len(segs) == 0 {
		return nil, &Fault{Batch: -1, Seq: after + 1, Err: authz.Errorf(authz.ErrInvalid, "no segment has entry %d", after+1)}
	}
	var es []Entry
	for _, s := range segs {
		b, err := l.codec.unpack(s, false)
		if err != nil {
			return nil, err
		}
		rest, err := b.from(after + 1)
		if err != nil {
			return nil, err
		}
		if es = append(es, rest...); len(es) > 0 {
			after = es[len(es)-1].Seq
		}
	}
	return es, nil
}

// from returns b's entries from the one numbered seq, which b must have.
func (b *block) from(seq int64) ([]Entry, error) {
	i := seq - b.leaf.First
	if i < 0 || i >= int64(len(b.entries)) {
		return nil, &Fault{Batch: b.batch, Seq: seq, Err: authz.Errorf(authz.ErrInvalid,
			"no segment has entry %d: batch %d has %d to %d", seq, b.batch, b.leaf.First, b.leaf.Last())}
	}
	return b.entries[i:], nil
}
