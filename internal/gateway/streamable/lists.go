package streamable

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"

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

// A page is what one server answered.
type page struct {
	items []json.RawMessage
	next  string
	err   error
}

// list asks all servers for their lists and returns them as one, under names that keep them apart. Servers that do not
// answer are left out.
func (e *endpoint) list(ctx context.Context, a *asker, f *mcp.Frame) *mcp.Frame {
	out, err := e.merge(ctx, a, f)
	switch {
	case errors.Is(err, authz.ErrInvalid):
		return errorFrame(f.ID, codeParams, err.Error())
	case err != nil:
		return e.faulty(ctx, f.ID, err)
	}
	return out
}

func (d *Door) merge(ctx context.Context, a *asker, f *mcp.Frame) (*mcp.Frame, error) {
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
		group.Go(func() { pages[i] = d.page(ctx, a, d.ups[i], f, c) })
	}
	group.Wait()
	items, answered := []byte{'['}, false
	var n int
	var next string
	var failed error
walk:
	for i := from; i < len(d.ups); i++ {
		p := pages[i]
		for {
			if p.err != nil {
				failed = p.err
				break
			}
			answered = true
			for _, item := range p.items {
				if n++; n > 1 {
					items = append(items, ',')
				}
				items = append(items, d.outwardItem(d.ups[i], f.Method, item)...)
			}
			if len(items) > d.cfg.MaxResult {
				return nil, errLarge
			}
			if p.next == "" {
				break
			}
			if n >= pageSize {
				next = place{d.ups[i].Name, p.next}.String()
				break walk
			}
			last := p.next
			if p = d.page(ctx, a, d.ups[i], f, p.next); p.next == last { // it would never end
				p.next = ""
			}
		}
		if n >= pageSize && i+1 < len(d.ups) {
			next = place{Server: d.ups[i+1].Name}.String()
			break
		}
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
		if got, err = d.whole(ctx, l, &call{who: a.who, frame: &ask, method: f.Method}); err == nil {
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

// Fetch asks the servers a whole question on behalf of a client: tools/list.
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
	return d.merge(ctx, a, &out)
}
