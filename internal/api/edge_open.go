package api

import (
	"slices"
	"sync"

	"github.com/safeconduct/safeconduct/authz"
)

// openFeeds are the feeds that are open. Each caller has a few: of more, the oldest is cut off, which may be that of a process that is
// gone and was not noticed to be.
type openFeeds struct {
	mu   sync.Mutex
	open int
	of   map[string][]*openFeed // by caller's id, the oldest first, also those that are cut off and have not ended
}

type openFeed struct {
	cut  func() // ends it soon
	over bool   // it was called
}

// join lets a feed of a caller in, which must leave when it has ended. It returns authz.ErrUnavailable if most are open, or if those
// of the caller that were cut off, and have not ended, are as many as it may have.
func (o *openFeeds) join(caller string, most, each int, cut func()) (leave func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	mine := o.of[caller]
	var oldest *openFeed
	live := 0
	for _, f := range mine {
		if f.over {
			continue
		}
		if live++; oldest == nil {
			oldest = f
		}
	}
	switch {
	case len(mine) >= 2*each:
		return nil, authz.Errorf(authz.ErrUnavailable, "the caller has %d feeds open, and no more are served", len(mine))
	case live >= each:
		oldest.over = true
		oldest.cut()
	case o.open >= most:
		return nil, authz.Errorf(authz.ErrUnavailable, "%d feeds are open, and no more are served", most)
	}
	if o.of == nil {
		o.of = map[string][]*openFeed{}
	}
	f := &openFeed{cut: cut}
	o.of[caller] = append(mine, f)
	o.open++
	return func() { o.leave(caller, f) }, nil
}

func (o *openFeeds) leave(caller string, f *openFeed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open--
	if o.of[caller] = slices.DeleteFunc(o.of[caller], func(other *openFeed) bool { return other == f }); len(o.of[caller]) == 0 {
		delete(o.of, caller)
	}
}

func (o *openFeeds) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open
}
