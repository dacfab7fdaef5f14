package streamable

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// lists are the methods whose results are lists, and the member that has the list.
var lists = map[string]string{
	"tools/list":               "tools",
	"prompts/list":             "prompts",
	"resources/list":           "resources",
	"resources/templates/list": "resourceTemplates",
}

const (
	pageSize  = 500  // after so many items a page ends with the server's own page
	maxItems  = 1000 // of a page of a server
	maxPages  = 100  // of one server in one page of ours
	maxCursor = 4096 // bytes
)

// A place is where a merged list goes on: a page of a server.
type place struct {
	Server string `json:"s"`
	Cursor string `json:"c,omitempty"`
}

func (p place) String() string {
	b, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// parsePlace reads a cursor of ours, which came back from a client.
func parsePlace(s string) (place, error) {
	var p place
	if len(s) > 2*maxCursor {
		return p, authz.Errorf(authz.ErrInvalid, "the cursor is none of ours")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return p, authz.Errorf(authz.ErrInvalid, "the cursor is none of ours")
	}
	if err := json.Unmarshal(b, &p); err != nil || p.String() != s {
		return p, authz.Errorf(authz.ErrInvalid, "the cursor is none of ours")
	}
	return p, nil
}

// A page is what one server answered, or what several pages of it came to; what came before an error is there.
type page struct {
	items []json.RawMessage
	next  string
	err   error
}

// list asks all servers for their lists and returns them as one, under names that keep them apart. Servers that do not
// answer are left out.
func (e *endpoint) list(ctx context.Context, a *asker, f *mcp.Frame) *mcp.Frame {
	out, err := e.merge(ctx, a, f, func(u *upstream, cursor string) page {
		if err := u.late(e.cfg.Now()); err != nil {
			return page{err: err}
		}
		return e.pages(ctx, a, u, f, cursor, e.listTime(u))
	})
	switch {
	case errors.Is(err, authz.ErrInvalid):
		return errorFrame(f.ID, codeParams, err.Error())
	case err != nil:
		return e.faulty(ctx, f.ID, err)
	}
	return out
}

// merge makes one list of the parts that servers have in it.
func (d *Door) merge(ctx context.Context, a *asker, f *mcp.Frame, part func(u *upstream, cursor string) page) (*mcp.Frame, error) {
	from, cursor := 0, ""
	var bad error
	each(f.Params, func(name string, v json.RawMessage) {
		if name != "cursor" {
			return
		}
		p, err := parsePlace(unquote(v))
		if err != nil {
			bad = err
			return
		}
		from, cursor = -1, p.Cursor
		for i, u := range d.ups {
			if u.Name == p.Server {
				from = i
			}
		}
	})
	if bad != nil || from < 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "the cursor is none of ours")
	}
	pages := make([]page, len(d.ups))
	var group sync.WaitGroup
	for i := from; i < len(d.ups); i++ {
		c := ""
		if i == from {
			c = cursor
		}
		group.Go(func() { pages[i] = part(d.ups[i], c) })
	}
	group.Wait()
	items, answered := []byte{'['}, false
	var n int
	var next string
	var failed error
	for i := from; i < len(d.ups); i++ {
		p := pages[i]
		if p.err != nil {
			failed = p.err
		}
		answered = answered || p.err == nil || len(p.items) > 0
		for _, item := range p.items {
			if n++; n > 1 {
				items = append(items, ',')
			}
			items = append(items, d.outwardItem(d.ups[i], f.Method, item)...)
		}
		if p.next != "" {
			next = place{d.ups[i].Name, p.next}.String()
			break
		}
		if n >= pageSize && i+1 < len(d.ups) {
			next = place{Server: d.ups[i+1].Name}.String()
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, &fault{"the request was cancelled", context.Cause(ctx)}
	}
	if !answered && failed != nil {
		return nil, failed
	}
	result := set(nil, lists[f.Method], append(items, ']'))
	if next != "" {
		result = set(result, "nextCursor", quote(next))
	}
	if a.modern {
		result = set(result, "cacheScope", json.RawMessage(`"private"`))
		result = set(result, "ttlMs", json.RawMessage("0"))
		result = set(result, "resultType", json.RawMessage(`"complete"`))
	}
	return &mcp.Frame{ID: f.ID, Result: result}, nil
}

// listTime is how long a server's part in a list is waited for.
func (d *Door) listTime(u *upstream) time.Duration {
	if u.url == nil { // it may have to be started
		return d.cfg.HelloTime + d.cfg.ListTime
	}
	return d.cfg.ListTime
}

// pages asks one server for its pages, until there is enough for one of ours. A server that takes too long, or never comes to
// an end, has no part in the list, or only in its beginning: it is not to keep the others' from anybody.
func (d *Door) pages(ctx context.Context, a *asker, u *upstream, f *mcp.Frame, cursor string, limit time.Duration) page {
	in, stop := context.WithTimeout(ctx, limit)
	defer stop()
	var out page
	room := d.cfg.MaxResult / len(d.ups)
	for n := 1; ; n++ {
		p := d.page(in, a, u, f, cursor)
		for _, item := range p.items {
			room -= len(item)
		}
		switch {
		case ctx.Err() != nil:
		case in.Err() != nil:
			if u.url != nil { // a process is slow for one caller alone
				u.tarry(d.cfg.Now())
			}
			p.err = &fault{fmt.Sprintf("server %q takes too long to list what it has", u.Name), in.Err()}
		case p.err == nil && (room < 0 || len(p.items) > maxItems || n == maxPages && p.next != ""):
			p.err = &fault{fmt.Sprintf("server %q lists more than can be read", u.Name), errLarge}
		}
		if p.err != nil {
			d.cfg.Logger.WarnContext(ctx, "a server has no part in a list, or not all of its own", "server", u.Name, "method", f.Method, "error", p.err)
			out.err = p.err
			return out
		}
		out.items = append(out.items, p.items...)
		if p.next == "" || p.next == cursor { // or it would never end
			return out
		}
		if cursor = p.next; len(out.items) >= pageSize {
			out.next = cursor
			return out
		}
	}
}

// page asks one server for one page.
func (d *Door) page(ctx context.Context, a *asker, u *upstream, f *mcp.Frame, cursor string) page {
	if err := u.down(d.cfg.Now()); err != nil {
		return page{err: err}
	}
	if k := u.known(a.modern, d.cfg.Now()); k != nil && !offers(k, f.Method) {
		return page{}
	}
	out := *f
	out.Params = without(f.Params, "cursor")
	if cursor != "" {
		out.Params = set(out.Params, "cursor", quote(cursor))
	}
	var got *mcp.Frame
	var err error
	for again := true; ; again = false {
		var l leg
		if l, err = d.leg(ctx, a, u); err != nil {
			return page{err: err}
		}
		ask := out
		switch {
		case a.modern && !l.modern():
			ask.Params = legacyParams(out.Params)
		case !a.modern && l.modern():
			ask.Params = d.modernParams(out.Params)
		}
		if got, err = d.whole(ctx, l, &call{who: a.who, frame: &ask, method: f.Method, most: d.cfg.MaxResult / len(d.ups)}); err == nil {
			break
		}
		old, ok := l.(*legacyLeg)
		if !again || !errors.Is(err, errLost) || !ok {
			return page{err: err}
		}
		if s := a.session; s != nil {
			s.lose(u, old)
		} else if s, err := d.bridged(a.who); err == nil {
			s.lose(u, old)
		}
	}
	if got.Error != nil { // it has no such list
		return page{}
	}
	var p page
	each(got.Result, func(name string, v json.RawMessage) {
		switch name {
		case lists[f.Method]:
			_ = json.Unmarshal(v, &p.items)
		case "nextCursor":
			if p.next = unquote(v); len(p.next) > maxCursor {
				p.next = ""
			}
		}
	})
	return p
}

// offers reports whether a server says that it has a list of that kind.
func offers(k *facts, method string) bool {
	want := map[string]string{"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources", "resources/templates/list": "resources"}[method]
	ok := want == "" || k.capabilities == nil
	each(k.capabilities, func(name string, _ json.RawMessage) { ok = ok || name == want })
	return ok
}

// outwardItem returns an item of a list under the name by which clients know it.
func (d *Door) outwardItem(u *upstream, method string, item json.RawMessage) json.RawMessage {
	if len(d.ups) == 1 {
		return item
	}
	member, rename := "name", func(v json.RawMessage) json.RawMessage { return quote(d.name(u, unquote(v))) }
	switch method {
	case "resources/list":
		member = "uri"
	case "resources/templates/list":
		member = "uriTemplate"
	}
	if member != "name" {
		rename = func(v json.RawMessage) json.RawMessage { return quote(d.uriPrefix(u) + unquote(v)) }
	}
	return edit(item, rename, member)
}

// A quest is for what a tool is that a client calls.
type quest struct {
	of   *upstream             // that the tool belongs to; nil is none
	lost atomic.Pointer[fault] // why it does not list it
}

// questKey is the key of a *quest in a context.
type questKey struct{}

// listed is what a server listed when it was last asked on behalf of the gateway itself.
type listed struct {
	items []json.RawMessage
	at    time.Time
}

const (
	maxListed = 1 << 20          // bytes that are kept of what a server listed
	graceTime = 2 * time.Second  // for servers whose tool is not the one that is asked for
	lateKept  = 10 * time.Second // for which a server that took too long is not waited for again
)

// Fetch asks the servers a whole question on behalf of a client: tools/list. Where it is about one server's tool, others are
// asked only if what they listed is old, and not waited for for long.
func (d *Door) Fetch(ctx context.Context, p *mcp.Peer, f *mcp.Frame) (*mcp.Frame, error) {
	if lists[f.Method] == "" {
		return nil, authz.Errorf(authz.ErrInvalid, "only lists are fetched")
	}
	a := &asker{who: p.Who, modern: p.Version == v2026, version: p.Version}
	if !a.modern {
		d.mu.Lock()
		a.session = d.sessions[p.Session]
		d.mu.Unlock()
		if a.session == nil || a.session.key != p.Who.Key {
			s, err := d.bridged(p.Who)
			if err != nil {
				return nil, err
			}
			a.session, a.version = s, s.version
		}
	}
	now := d.cfg.Now()
	d.mu.Lock()
	d.asked = now
	d.mu.Unlock()
	out := *f
	if out.ID == nil {
		out.ID = json.RawMessage(`"gw"`)
	}
	if a.modern {
		out.Params = d.modernParams(f.Params)
	}
	q, about := ctx.Value(questKey{}).(*quest)
	var failed error // of the server that it is about
	got, err := d.merge(ctx, a, &out, func(u *upstream, cursor string) page {
		if len(d.ups) == 1 || about && u == q.of {
			p := d.remember(ctx, a, u, &out, cursor, d.cfg.HelloTime+d.cfg.ListTime, true)
			failed = p.err
			return p
		}
		limit := d.listTime(u)
		if about {
			limit = min(limit, graceTime)
		}
		return d.remember(ctx, a, u, &out, cursor, limit, false)
	})
	if failed != nil {
		if f := (*fault)(nil); about && errors.As(failed, &f) {
			q.lost.Store(f)
		}
		return nil, failed
	}
	return got, err
}

// remember is pages, by what is remembered of a server where that will do.
func (d *Door) remember(ctx context.Context, a *asker, u *upstream, f *mcp.Frame, cursor string, limit time.Duration, anew bool) page {
	if f.Method != "tools/list" || cursor != "" {
		return d.pages(ctx, a, u, f, cursor, limit)
	}
	now := d.cfg.Now()
	last, turn := u.last()
	if !anew && last != nil && now.Sub(last.at) < d.cfg.ToolsKept {
		return page{items: last.items}
	}
	err := u.late(now)
	var p page
	if err == nil || anew {
		p = d.pages(ctx, a, u, f, cursor, limit)
	} else {
		p.err = err
	}
	switch {
	case p.err == nil && p.next == "":
		u.list(&listed{p.items, now}, turn)
	case p.err != nil && !anew && last != nil && now.Sub(last.at) < 2*d.cfg.ToolsKept:
		return page{items: last.items}
	}
	return p
}
