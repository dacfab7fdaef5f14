package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/coaz"
)

// A toolbox has the descriptors that were seen last.
type toolbox struct {
	fetching chan struct{} // one at a time

	mu    sync.Mutex
	known map[string]*descriptor
	at    time.Time // when all of them were fetched
	stale bool

	parsed map[askKey]parsed // mappings that servers declare, by their text
}

type parsed struct {
	mapping *coaz.Mapping
	err     error
}

const maxParsed = 4096

// parse is coaz.Parse, once for each text: servers say the same with every list, and compiling is dear.
func (b *toolbox) parse(text []byte) (*coaz.Mapping, error) {
	key := askKey(sha256.Sum256(text))
	b.mu.Lock()
	p, ok := b.parsed[key]
	b.mu.Unlock()
	if ok {
		return p.mapping, p.err
	}
	p.mapping, p.err = coaz.Parse(text)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.parsed) >= maxParsed {
		clear(b.parsed)
	}
	b.parsed[key] = p
	return p.mapping, p.err
}

const (
	fetchTime  = 30 * time.Second
	fetchPause = time.Second // between looking for tools that are not there
)

func newToolbox() *toolbox {
	return &toolbox{fetching: make(chan struct{}, 1), known: map[string]*descriptor{}, parsed: map[askKey]parsed{}}
}

func (b *toolbox) get(name string) (d *descriptor, at time.Time, stale bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[name], b.at, b.stale
}

func (b *toolbox) put(all []*descriptor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range all {
		b.known[d.name] = d
	}
}

// replace forgets what was not fetched.
func (b *toolbox) replace(all []*descriptor) {
	known := make(map[string]*descriptor, len(all))
	for _, d := range all {
		known[d.name] = d
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known, b.at, b.stale = known, time.Now(), false
}

// Stale says that a server has said that its tools are others now (notifications/tools/list_changed): before the
// next call they are asked for again.
func (g *Gate) Stale() {
	g.tools.mu.Lock()
	defer g.tools.mu.Unlock()
	g.tools.stale = true
}

// Learn reads the descriptors of tools in a response to tools/list that a door has seen, under names as clients
// see them.
func (g *Gate) Learn(f *Frame) {
	result, err := readObject(f.Result)
	if err != nil || f.Error != nil {
		return
	}
	all, _, err := g.read(context.Background(), result)
	if err != nil {
		return
	}
	if stands, err := g.compare(context.Background(), all); err == nil {
		g.tools.put(remembered(all, stands))
	}
}

// read returns the descriptors of a page that can be used, and their elements. The others are reported.
func (g *Gate) read(ctx context.Context, result object) (all []*descriptor, raws []json.RawMessage, err error) {
	list := result.get("tools")
	if list == nil {
		return nil, nil, authz.Errorf(authz.ErrInvalid, "the answer to tools/list has no tools")
	}
	elements, err := readArray(list, maxListed)
	if err != nil {
		return nil, nil, err
	}
	count := map[string]int{}
	read := make([]*descriptor, len(elements))
	for i, raw := range elements {
		d, err := readDescriptor(raw, g.tools.parse)
		if err != nil {
			name := ""
			if d != nil {
				name = printable(d.name, 64)
			}
			g.say(ctx, "tool_dropped", name+": "+err.Error(), map[string]any{"tool": name, "why": printable(err.Error(), 200)})
			continue
		}
		count[d.name]++
		d.server = g.cfg.Server("tool", d.name)
		read[i] = d
	}
	for i, d := range read {
		if d == nil {
			continue
		}
		if count[d.name] > 1 { // nobody can tell which of them would be called
			g.say(ctx, "tool_dropped", d.name+": it is listed more than once", map[string]any{"tool": d.name, "server": d.server, "why": "it is listed more than once"})
			continue
		}
		all, raws = append(all, d), append(raws, elements[i])
	}
	return all, raws, nil
}

// compare pins what is new, and reports what is not as it was pinned.
func (g *Gate) compare(ctx context.Context, all []*descriptor) (map[string]standing, error) {
	stands, err := g.cfg.Pins.see(all, g.now(), g.cfg.Options.OnNew == "refuse")
	if err != nil {
		g.log.ErrorContext(ctx, "tools cannot be compared with what was pinned", "error", err)
		return nil, err
	}
	for _, d := range all {
		switch s := stands[d.name]; {
		case s.full:
			g.say(ctx, "tool_dropped", d.server+": too many or too large", map[string]any{"tool": d.name, "server": d.server, "why": "too many tools of this server were seen, or too large ones: nothing is remembered of more"})
		case s.changed:
			g.changed(ctx, d, s)
		case s.isNew:
			g.say(ctx, "tool_new", d.name+" "+d.digest, map[string]any{"tool": d.name, "server": d.server, "now": d.digest})
		default:
			g.settled(ctx, d, s)
		}
	}
	return stands, nil
}

// remembered are the descriptors of which there is a pin.
func remembered(all []*descriptor, stands map[string]standing) []*descriptor {
	return slices.DeleteFunc(slices.Clone(all), func(d *descriptor) bool { return stands[d.name].full })
}

// A changes remembers of which tools was reported that they are not as they were pinned, and of which that they are.
type changes struct {
	mu      sync.Mutex
	changed map[string]change // by tool
	settled map[string]string // digest, by tool
}

type change struct {
	digest string
	at     time.Time
}

// settleTimeOfChange is how long a tool that nobody has approved must have been reported as changed until it is reported that it is as
// it was: a server that describes it to each caller otherwise would be reported with every list.
const settleTimeOfChange = time.Minute

// changed reports that a tool is not as it was pinned.
func (g *Gate) changed(ctx context.Context, d *descriptor, s standing) {
	c := &g.changes
	c.mu.Lock()
	told := c.changed[d.name].digest == d.digest
	if !told {
		c.changed[d.name] = change{d.digest, g.now()}
	}
	delete(c.settled, d.name)
	c.mu.Unlock()
	if !told {
		g.report(ctx, "tool_changed", d.name+" "+d.digest, map[string]any{"tool": d.name, "server": d.server, "was": s.pinned, "now": d.digest})
	}
}

// settled reports of a tool that was changed, or that somebody has approved, that it is as it is pinned: also of what another run
// of a gateway has reported.
func (g *Gate) settled(ctx context.Context, d *descriptor, s standing) {
	c := &g.changes
	c.mu.Lock()
	was, told := c.changed[d.name]
	waits := told && !s.approved && g.now().Sub(was.at) < settleTimeOfChange
	say := (told || s.approved || s.other) && !waits && c.settled[d.name] != d.digest
	if say {
		c.settled[d.name] = d.digest
		delete(c.changed, d.name)
	}
	c.mu.Unlock()
	if say {
		g.report(ctx, "tool_approved", d.name+" "+d.digest, map[string]any{"tool": d.name, "server": d.server, "now": d.digest})
	}
}

// tool returns the descriptor of a tool and how it stands, nil if no server lists it. The servers are asked if it is not
// known, or may have changed.
func (g *Gate) tool(ctx context.Context, p *Peer, name string) (*descriptor, standing, error) {
	d, at, stale := g.tools.get(name)
	if d == nil && time.Since(at) > fetchPause || stale {
		if err := g.fetch(ctx, p, at); err != nil {
			return nil, standing{}, err
		}
		d, _, _ = g.tools.get(name)
	}
	if d == nil {
		return nil, standing{}, nil
	}
	s, err := g.cfg.Pins.state(d)
	if err == nil && !s.changed && !s.isNew {
		g.settled(ctx, d, s)
	}
	return d, s, err
}

// fetch asks for all tools, unless somebody has since.
func (g *Gate) fetch(ctx context.Context, p *Peer, since time.Time) error {
	if g.cfg.Fetch == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	select {
	case g.tools.fetching <- struct{}{}:
		defer func() { <-g.tools.fetching }()
	case <-ctx.Done():
		return authz.Errorf(authz.ErrUnavailable, "asking the server for its tools: %w", ctx.Err())
	}
	if _, at, stale := g.tools.get(""); at.After(since) && !stale {
		return nil
	}
	var all []*descriptor
	seen, count := map[string]bool{}, map[string]int{}
	cursor := json.RawMessage(nil)
	for page := 0; ; page++ {
		if page == maxPages {
			return authz.Errorf(authz.ErrUnavailable, "the server lists its tools on more than %d pages", maxPages)
		}
		f := &Frame{ID: json.RawMessage(`"tools"`), Method: "tools/list", Params: fetchParams(p, cursor)}
		answer, err := g.cfg.Fetch(ctx, p, f)
		switch {
		case err != nil:
			return authz.Errorf(authz.ErrUnavailable, "asking the server for its tools: %w", err)
		case answer.Error != nil:
			return authz.Errorf(authz.ErrUnavailable, "the server does not list its tools: %s", printable(answer.Error.Message, 200))
		}
		result, err := readObject(answer.Result)
		if err != nil {
			return authz.Errorf(authz.ErrUnavailable, "the server's list of tools: %w", err)
		}
		more, _, err := g.read(ctx, result)
		if err != nil {
			return authz.Errorf(authz.ErrUnavailable, "the server's list of tools: %w", err)
		}
		for _, d := range more {
			if count[d.server]++; count[d.server] <= maxPinsOne {
				all = append(all, d)
			}
		}
		cursor = result.get("nextCursor")
		if c, ok := text(cursor); !ok || c == "" || seen[c] {
			break
		} else {
			seen[c] = true
		}
	}
	stands, err := g.compare(ctx, all)
	if err != nil {
		return err
	}
	g.tools.replace(remembered(all, stands))
	return nil
}

// fetchParams are those of a question that is asked on behalf of a client of that version.
func fetchParams(p *Peer, cursor json.RawMessage) json.RawMessage {
	var o object
	if cursor != nil {
		o.set("cursor", cursor)
	}
	if p.Version >= statelessVersion {
		o.set("_meta", encode(map[string]any{metaVersion: p.Version, metaCapabilities: map[string]any{}}))
	}
	if o == nil {
		return json.RawMessage("{}")
	}
	return o.json()
}

// statelessVersion is the first revision of the protocol without a handshake, in which results have a type.
const statelessVersion = "2026-07-28"

// A counter counts.
type counter struct{ n atomic.Int64 }

func (c *counter) add() int64 { return c.n.Add(1) }
func (c *counter) reset()     { c.n.Store(0) }
