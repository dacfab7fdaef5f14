package streamable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

const acknowledged = "notifications/subscriptions/acknowledged"

// listen serves subscriptions/listen (2026-07-28, subscriptions): one stream at every server that speaks it, and one to the
// client, which is first told what all of them together agreed to.
func (e *endpoint) listen(ctx context.Context, a *asker, pa *mcp.Passage, f *mcp.Frame) {
	if !a.modern {
		e.finish(ctx, a, pa, errorFrame(f.ID, codeMethod, "Method not found"))
		return
	}
	ctx, stop := until(ctx, a.who)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.stop, cancel)()
	f, refused := e.subscribe(ctx, a, f)
	if refused != nil {
		e.finish(ctx, a, pa, refused)
		return
	}
	if a.reply.open() != nil {
		pa.Streamed(0, errEnded)
		return
	}
	h := &hearing{want: len(e.ups), ready: make(chan struct{}), agreed: json.RawMessage("{}")}
	frames := make(chan *mcp.Frame, streamBuffer)
	var group sync.WaitGroup
	for _, u := range e.ups {
		group.Go(func() {
			defer h.heard(nil)
			e.listenTo(ctx, a, u, f, h, frames)
		})
	}
	go func() { group.Wait(); close(frames) }()
	defer func() {
		cancel()
		for range frames { // until all have ended
		}
	}()
	wait := time.NewTimer(e.cfg.HelloTime / 2)
	defer wait.Stop()
	select {
	case <-h.ready:
	case <-wait.C:
	case <-ctx.Done():
	}
	first := set(set(nil, "notifications", h.close()), "_meta", set(nil, metaListen, f.ID))
	if a.reply.notify(&mcp.Frame{Method: acknowledged, Params: first}) != nil {
		pa.Streamed(0, errEnded)
		return
	}
	for {
		select {
		case g, ok := <-frames:
			if !ok { // no server has anything to say any more
				<-ctx.Done()
				e.finish(ctx, a, pa, &mcp.Frame{ID: f.ID, Result: set(set(nil, "_meta", set(nil, metaListen, f.ID)), "resultType", json.RawMessage(`"complete"`))})
				return
			}
			if a.reply.notify(g) != nil {
				pa.Streamed(0, errEnded)
				return
			}
		case <-ctx.Done():
			e.finish(ctx, a, pa, &mcp.Frame{ID: f.ID, Result: set(set(nil, "_meta", set(nil, metaListen, f.ID)), "resultType", json.RawMessage(`"complete"`))})
			return
		}
	}
}

// maxSubscribed is how many resources one request can subscribe to.
const maxSubscribed = 100

// subscribe has each resource judged to which a request subscribes, as resources/subscribe of it would be, and returns
// the request with those that are allowed.
func (e *endpoint) subscribe(ctx context.Context, a *asker, f *mcp.Frame) (out, refused *mcp.Frame) {
	var uris []string
	bad := false
	each(f.Params, func(name string, v json.RawMessage) {
		if name == "notifications" {
			each(v, func(name string, v json.RawMessage) {
				if name == "resourceSubscriptions" {
					bad = json.Unmarshal(v, &uris) != nil
				}
			})
		}
	})
	if bad || len(uris) > maxSubscribed {
		return nil, errorFrame(f.ID, codeParams, fmt.Sprintf("resourceSubscriptions is a list of at most %d URIs", maxSubscribed))
	}
	if len(uris) == 0 {
		return f, nil
	}
	allowed := []string{}
	for _, uri := range uris {
		p := set(set(nil, "_meta", a.glance.meta), "uri", quote(uri))
		pa := e.gate.Admit(ctx, e.peer(a), &mcp.Frame{ID: f.ID, Method: "resources/subscribe", Params: p})
		if pa.Answer == nil && pa.Forward != nil {
			pa.Streamed(0, nil)
			allowed = append(allowed, uri)
		}
	}
	list, err := json.Marshal(allowed)
	if err != nil {
		return nil, errorFrame(f.ID, codeParams, "resourceSubscriptions is a list of URIs")
	}
	changed := *f
	changed.Params = edit(f.Params, func(json.RawMessage) json.RawMessage { return list }, "notifications", "resourceSubscriptions")
	return &changed, nil
}

// A hearing collects what servers agree to tell.
type hearing struct {
	mu     sync.Mutex
	want   int
	ready  chan struct{}
	agreed json.RawMessage
	closed bool
}

// heard is called once a server has agreed to something, or (nil) will not any more.
func (h *hearing) heard(agreed json.RawMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	each(agreed, func(name string, v json.RawMessage) {
		if name == "resourceSubscriptions" {
			var all, more []string
			each(h.agreed, func(n string, old json.RawMessage) {
				if n == name {
					_ = json.Unmarshal(old, &all)
				}
			})
			_ = json.Unmarshal(v, &more)
			v, _ = json.Marshal(append(all, more...))
		}
		h.agreed = set(h.agreed, name, v)
	})
	if h.want--; h.want == 0 {
		close(h.ready)
	}
}

func (h *hearing) close() json.RawMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return h.agreed
}

// listenTo keeps a stream of one server open, and opens it again when it ends.
func (e *endpoint) listenTo(ctx context.Context, a *asker, u *upstream, f *mcp.Frame, h *hearing, to chan<- *mcp.Frame) {
	filter, ok := e.filterFor(u, f.Params)
	if !ok {
		return
	}
	out := *f
	out.Params = set(f.Params, "notifications", filter)
	for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, time.Minute) {
		l, err := e.leg(ctx, a, u)
		if err == nil && !l.modern() {
			return // it knows no such subscriptions, or not for a client like this
		}
		if err == nil {
			acked := false
			var refused error
			scan := &scanner{as: f.ID, max: e.cfg.MaxMessage, out: &bounded{max: e.cfg.MaxMessage}, begin: func() error { return nil }}
			scan.frame = func(g *mcp.Frame) error {
				switch {
				case g.Response():
					refused = errOtherEra
				case g.Method == acknowledged:
					if !acked {
						acked = true
						h.heard(e.agreedBy(u, g))
					}
				case acked:
					select {
					case to <- e.outward(u, g):
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return nil
			}
			began := e.cfg.Now()
			err = l.call(ctx, &call{who: a.who, frame: &out, method: f.Method, scan: scan})
			if refused != nil || !acked && err == nil || errors.Is(err, errLost) || errors.Is(err, errOtherEra) {
				return
			}
			if e.cfg.Now().Sub(began) > time.Minute {
				wait = time.Second
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// filterFor returns what of a client's filter concerns a server, with the URIs that it knows. False: nothing.
func (e *endpoint) filterFor(u *upstream, params json.RawMessage) (json.RawMessage, bool) {
	out, some := json.RawMessage("{}"), false
	each(params, func(name string, v json.RawMessage) {
		if name != "notifications" {
			return
		}
		each(v, func(name string, v json.RawMessage) {
			if name == "resourceSubscriptions" {
				var uris, mine []string
				_ = json.Unmarshal(v, &uris)
				for _, uri := range uris {
					if s, rest := e.server("resource", uri); s == u {
						mine = append(mine, rest)
					}
				}
				if len(mine) == 0 {
					return
				}
				v, _ = json.Marshal(mine)
			}
			some = true
			out = set(out, name, v)
		})
	})
	return out, some
}

// agreedBy returns what a server agreed to, with the URIs that clients know.
func (e *endpoint) agreedBy(u *upstream, g *mcp.Frame) json.RawMessage {
	var out json.RawMessage
	each(g.Params, func(name string, v json.RawMessage) {
		if name != "notifications" {
			return
		}
		out = edit(v, func(v json.RawMessage) json.RawMessage {
			var uris []string
			_ = json.Unmarshal(v, &uris)
			for i := range uris {
				uris[i] = e.uriPrefix(u) + uris[i]
			}
			b, _ := json.Marshal(uris)
			return b
		}, "resourceSubscriptions")
	})
	return out
}
