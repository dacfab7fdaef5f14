package api

import (
	"context"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

const (
	uploadWait  = 5 * time.Second // that an upload waits for its turn
	uploadQueue = 16              // uploads of a caller, with the one whose turn it is
	uploadRoom  = 128 << 20       // bytes of bodies of uploads that are in memory
)

// uploads lets one upload of a caller in at a time, in this process, before its body is read: whoever sends much, or slowly, keeps himself
// waiting. Which one of two replicas' counts, the log says.
type uploads struct {
	mu    sync.Mutex
	of    map[string]*uploadTurn // by caller's id
	bytes int64                  // of uploads whose turn it is
}

type uploadTurn struct {
	taken chan struct{} // holds one
	here  int           // who waits, or has it
}

// enter waits for the turn of a caller, and returns what ends it. The error is authz.ErrUnavailable: it waited for too long, too many
// wait, or there is no room for so many bytes.
func (u *uploads) enter(ctx context.Context, caller string, bytes int64) (leave func(), err error) {
	u.mu.Lock()
	t := u.of[caller]
	if t == nil {
		t = &uploadTurn{taken: make(chan struct{}, 1)}
	}
	if t.here >= uploadQueue {
		u.mu.Unlock()
		return nil, authz.Errorf(authz.ErrUnavailable, "%d uploads of the caller wait already", t.here)
	}
	if u.of == nil {
		u.of = map[string]*uploadTurn{}
	}
	u.of[caller] = t
	t.here++
	u.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, uploadWait)
	defer cancel()
	select {
	case t.taken <- struct{}{}:
	case <-ctx.Done():
		u.leave(caller, t, 0)
		return nil, authz.Errorf(authz.ErrUnavailable, "another upload of the caller is under way")
	}
	u.mu.Lock()
	full := u.bytes+bytes > uploadRoom
	if !full {
		u.bytes += bytes
	}
	u.mu.Unlock()
	if full {
		<-t.taken
		u.leave(caller, t, 0)
		return nil, authz.Errorf(authz.ErrUnavailable, "too much is being uploaded: try again")
	}
	return func() {
		<-t.taken
		u.leave(caller, t, bytes)
	}, nil
}

func (u *uploads) leave(caller string, t *uploadTurn, bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes -= bytes
	if t.here--; t.here == 0 {
		delete(u.of, caller)
	}
}
