package gateway

import (
	"context"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// Processors have the process run on one processor while no two requests are under way at once, and on all of them as soon
// as two are.
//
// A request through a gateway goes from goroutine to goroutine half a dozen times: net/http has some for each connection, on
// both sides. At each of these steps Go wakes a second processor if one idles, which takes longer than the step, and what
// goes on there finds its caches cold. That is of no use to a request that is alone, as those of one agent mostly are.
type processors struct {
	fixed   bool // how many there are stays
	under   atomic.Int32
	overlap atomic.Bool   // two were under way since it was looked at last
	one     atomic.Bool   // there is one
	more    chan struct{} // says that two are under way
}

// alone is how long no two requests were under way at once before one processor does.
const alone = 250 * time.Millisecond

// newProcessors returns processors that stay as they are where GOMAXPROCS is set: whoever has set it has decided that himself.
func newProcessors() *processors {
	return &processors{fixed: os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1, more: make(chan struct{}, 1)}
}

// count counts the requests that a door has under way, but for a GET of events, which waits for what comes.
func (p *processors) count(door http.Handler) http.Handler {
	if p.fixed {
		return door
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			p.begin()
			defer p.under.Add(-1)
		}
		door.ServeHTTP(w, r)
	})
}

// begin notes that a request is under way.
func (p *processors) begin() {
	if p.under.Add(1) < 2 || p.overlap.Load() && !p.one.Load() {
		return
	}
	p.overlap.Store(true)
	if p.one.Load() {
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
}

// run changes how many processors there are until ctx ends, and then leaves as many as it may use.
func (p *processors) run(ctx context.Context) error {
	if p.fixed {
		<-ctx.Done()
		return nil
	}
	defer p.set(false)
	tick := time.NewTicker(alone)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.more:
			p.set(false)
		case <-tick.C:
			p.set(!p.overlap.Swap(false) && p.under.Load() < 2)
		}
	}
}

// set says whether one processor does.
func (p *processors) set(one bool) {
	if p.one.Swap(one) == one {
		return
	}
	if one {
		runtime.GOMAXPROCS(1)
	} else { // which goes by what the process may use, also if that has changed
		runtime.SetDefaultGOMAXPROCS()
	}
}
