package edge

import (
	"context"
	"io"

	"github.com/safeconduct/safeconduct/authz"
)

// A share is one write that several wait for.
type share struct {
	lead chan struct{} // closed when its first waiter is to write it
	done chan struct{} // closed when it is written, or not
	err  error
}

// maxLater bounds how many outcomes wait for a write.
const maxLater = 256

// note has an outcome written by the next write, or by the next sync, and does not wait for it. authz.ErrNotFound: it is of no
// decision that there is. authz.ErrUnavailable: too many wait, as nothing can be written.
func (j *journal) note(ctx context.Context, of int64, body []byte) error {
	j.mu.Lock()
	err := j.known(of)
	if err == nil && j.done {
		err = j.accepts()
	}
	full := len(j.later) >= maxLater
	if err == nil && !full {
		j.later = append(j.later, entry{kind: 'o', of: of, body: body})
	}
	j.mu.Unlock()
	if err == nil && full {
		_, err = j.append(ctx, entry{kind: 'o', of: of, body: body})
	}
	return err
}

// writeLater writes what note was given, if no other write has.
func (j *journal) writeLater(ctx context.Context) error {
	j.mu.Lock()
	none := len(j.later) == 0
	j.mu.Unlock()
	if none {
		return nil
	}
	_, err := j.append(ctx)
	return err
}

// known returns why there is no decision of an id, nil if there is one. The caller holds j.mu.
func (j *journal) known(id int64) error {
	switch {
	case id >= j.id(j.next):
		return authz.Errorf(authz.ErrNotFound, "no decision has the id e%d", id)
	case id <= j.base:
		return authz.Errorf(authz.ErrNotFound, "the decision e%d is too old: the control plane has forgotten the journal that it was in", id)
	}
	return nil
}

// append writes entries together, and what waits for a write, and returns the id of the first once they are written.
// authz.ErrUnavailable: they are not, or ctx ended before that was known.
func (j *journal) append(ctx context.Context, entries ...entry) (int64, error) {
	j.mu.Lock()
	if j.writing { // a disk that hangs must not collect all who ask
		if j.waiters >= maxWaiters {
			j.mu.Unlock()
			return 0, authz.Errorf(authz.ErrUnavailable, "the journal %s is too slow: %d answers wait to be written", j.dir, maxWaiters)
		}
		j.waiters++
		defer func() {
			j.mu.Lock()
			j.waiters--
			j.mu.Unlock()
		}()
	}
	for j.writing && j.size+int64(len(j.buf)) >= segmentSize {
		j.idle.Wait() // for the next file: lines are made for one
	}
	if err := j.accepts(); err != nil {
		j.mu.Unlock()
		return 0, err
	}
	first := j.id(j.next)
	for i := range entries {
		if e := &entries[i]; e.kind == 'o' {
			if err := j.known(e.of); err != nil {
				j.mu.Unlock()
				return 0, err
			}
		}
	}
	j.line(entries)
	j.lineLater()
	if j.writing {
		s := j.waiting
		if s == nil {
			s = &share{lead: make(chan struct{}), done: make(chan struct{})}
			j.waiting = s
			j.mu.Unlock()
			select {
			case <-s.done: // the write before failed
				return first, s.err
			case <-s.lead:
				return first, j.write()
			case <-ctx.Done():
				go func() { // for those that wait for it
					select {
					case <-s.done:
					case <-s.lead:
						_ = j.write() // those have it
					}
				}()
				return 0, gaveUp(ctx)
			}
		}
		j.mu.Unlock()
		select {
		case <-s.done:
			return first, s.err
		case <-ctx.Done():
			return 0, gaveUp(ctx)
		}
	}
	j.writing = true
	err := j.flush()
	j.mu.Unlock()
	return first, err
}

// line makes lines of entries, for the next write. The caller holds j.mu.
func (j *journal) line(entries []entry) {
	for i := range entries {
		e := &entries[i]
		if e.kind == 'o' {
			if e.of -= j.base; e.of <= 0 { // the journal was begun anew since it was noted
				*e = lost
			}
		}
		j.buf = appendLine(j.buf, j.seed, j.next, e)
		j.next++
	}
}

// lineLater makes lines of what note was given. The caller holds j.mu.
func (j *journal) lineLater() {
	j.line(j.later)
	j.riding += len(j.later)
	clear(j.later)
	j.later = j.later[:0]
}

// write writes what waits, in one's turn.
func (j *journal) write() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writing = true
	return j.flush()
}

// gaveUp is the error of who waits no longer. What was to be written may be, as a decision that nobody heard of.
func gaveUp(ctx context.Context) error {
	return authz.Errorf(authz.ErrUnavailable, "waiting for the journal: %w", ctx.Err())
}

// accepts returns why nothing can be written, if nothing can. The caller holds j.mu.
func (j *journal) accepts() error {
	switch {
	case j.stuck != nil:
		return authz.Errorf(authz.ErrUnavailable, "the journal %s could not be begun anew: %w", j.dir, j.stuck)
	case j.done:
		return authz.Errorf(authz.ErrUnavailable, "the journal is closed: the decision point has ended")
	case j.pending+int64(len(j.buf)) > j.max:
		return authz.Errorf(authz.ErrUnavailable, "the journal %s holds %d bytes that the control plane has not acknowledged, and may hold %d: see why it does not", j.dir, j.pending, j.max)
	case j.err != nil && !j.writing:
		if err := j.repair(); err != nil {
			return authz.Errorf(authz.ErrUnavailable, "the journal %s cannot be written: %w", j.dir, err)
		}
	case j.err != nil:
		return authz.Errorf(authz.ErrUnavailable, "the journal %s cannot be written: %w", j.dir, j.err)
	}
	return nil
}

// repair cuts off what a write has left that failed, and begins another file, or the same one anew if there is nothing in it. The
// caller holds j.mu; nobody writes.
func (j *journal) repair() error {
	if s := &j.files[len(j.files)-1]; s.first == j.next {
		if err := writeHead(j.cur, headLine(j.name, s.first, j.base)); err != nil {
			return err
		}
		j.size, j.dirty, j.err = s.head, true, nil
		return nil
	}
	if err := j.cur.Truncate(j.size); err != nil {
		return err
	}
	if err := j.begin(); err != nil {
		return err
	}
	j.err = nil
	return nil
}

// flush writes what waits, and lets the next one write. The caller holds j.mu, which is free meanwhile, and has set j.writing.
func (j *journal) flush() error {
	mine, buf, last, riding := j.waiting, j.buf, j.next-1, j.riding
	j.waiting, j.buf, j.spare, j.riding = nil, j.spare[:0], nil, 0
	f := j.cur
	j.mu.Unlock()
	n, err := f.Write(buf)
	if err == nil && n != len(buf) {
		err = io.ErrShortWrite
	}
	j.mu.Lock()
	if cap(buf) <= 1<<20 {
		j.spare = buf[:0]
	}
	if err != nil {
		err = authz.Errorf(authz.ErrUnavailable, "the journal %s cannot be written: %w", j.dir, err)
		// Those that wait for the next write have numbers that follow: they go with it.
		had := j.err
		j.err, j.buf, j.next = err, j.buf[:0], j.written+1
		if w := j.waiting; w != nil {
			j.waiting, w.err = nil, err
			close(w.done)
		}
		if riding += j.riding; riding > 0 && j.warn != nil {
			j.warn("outcomes of acts are not recorded, nor reported", "outcomes", riding, "err", err)
		}
		j.riding = 0
		if terr := f.Truncate(j.size); terr == nil {
			j.err = had // as if nothing had been
		}
	} else {
		if j.acked == j.written {
			j.oldest.reset()
		}
		j.size += int64(len(buf))
		j.pending += int64(len(buf))
		j.written, j.dirty = last, true
		j.oldest.add(last, now())
		if j.size >= segmentSize && len(j.buf) == 0 {
			if berr := j.begin(); berr != nil && j.warn != nil { // the old one does as well
				j.warn("no new file of the journal could be begun", "err", berr)
			}
		}
		j.wake()
	}
	if mine != nil {
		mine.err = err
		close(mine.done)
	}
	if w := j.waiting; w != nil {
		close(w.lead)
	} else {
		j.writing = false
		j.idle.Broadcast()
	}
	return err
}
