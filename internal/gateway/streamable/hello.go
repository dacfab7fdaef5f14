package streamable

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// initialize begins a session (2025-11-25, lifecycle).
func (e *endpoint) initialize(ctx context.Context, w http.ResponseWriter, a *asker, f *mcp.Frame) {
	s := a.session
	s.version = v2025
	s.caps, s.info = json.RawMessage("{}"), e.info
	var asked string
	each(f.Params, func(name string, v json.RawMessage) {
		switch name {
		case "protocolVersion":
			if asked = unquote(v); slices.Contains(legacy, asked) {
				s.version = asked
			}
		case "capabilities":
			s.caps = e.clientCaps(v)
		case "clientInfo":
			if v[0] == '{' && len(v) <= 4096 {
				s.info = v
			}
		}
	})
	if asked == "" {
		e.answer(a, errorFrame(f.ID, codeParams, "params have no protocolVersion"))
		return
	}
	a.version = s.version
	pa := e.gate.Admit(ctx, e.peer(a), f)
	if pa.Answer != nil {
		e.answer(a, pa.Answer)
		return
	}
	id, err := e.open(s)
	if err != nil {
		e.finish(ctx, a, pa, e.faulty(ctx, f.ID, err))
		return
	}
	all := e.meet(ctx, a)
	p := set(nil, "serverInfo", e.serverInfo(all))
	if text := e.instructions(all); text != "" {
		p = set(p, "instructions", quote(text))
	}
	p = set(p, "capabilities", e.capabilities(all, false))
	p = set(p, "protocolVersion", quote(s.version))
	w.Header().Set(headerSession, id)
	e.finish(ctx, a, pa, &mcp.Frame{ID: f.ID, Result: p})
}

// clientCaps returns what of a client's capabilities servers are told.
func (d *Door) clientCaps(v json.RawMessage) json.RawMessage {
	out := json.RawMessage("{}")
	if len(v) > 16<<10 {
		return out
	}
	each(v, func(name string, v json.RawMessage) {
		switch name {
		case "sampling", "elicitation", "roots":
			out = set(out, name, v)
		case "tasks":
		default:
			if len(d.ups) == 1 {
				out = set(out, name, v)
			}
		}
	})
	return out
}

// discover answers server/discover (2026-07-28).
func (e *endpoint) discover(ctx context.Context, a *asker, f *mcp.Frame) *mcp.Frame {
	all := e.meet(ctx, a)
	p := set(nil, "_meta", set(nil, metaServer, e.serverInfo(all)))
	if text := e.instructions(all); text != "" {
		p = set(p, "instructions", quote(text))
	}
	p = set(p, "capabilities", e.capabilities(all, true))
	versions, _ := json.Marshal(append([]string{v2026}, legacy...))
	p = set(p, "supportedVersions", versions)
	p = set(p, "cacheScope", json.RawMessage(`"private"`))
	p = set(p, "ttlMs", json.RawMessage("0"))
	p = set(p, "resultType", json.RawMessage(`"complete"`))
	return &mcp.Frame{ID: f.ID, Result: p}
}

// meet returns what the servers say of themselves, nil for those that do not answer. What a server says to one caller, by a
// credential that may be that caller's own or in that caller's process, is not told to another.
func (e *endpoint) meet(ctx context.Context, a *asker) []*facts {
	out := make([]*facts, len(e.ups))
	var group sync.WaitGroup
	for i, u := range e.ups {
		now := e.cfg.Now()
		k := u.known(a.modern, now)
		if k != nil && u.url != nil && (u.Credential == "" || k.by == a.who.Key) {
			out[i] = k
			continue
		}
		if u.down(now) != nil {
			continue
		}
		group.Go(func() {
			ctx, stop := context.WithTimeout(ctx, e.cfg.HelloTime)
			defer stop()
			if u.url == nil { // each caller's process says what it says to that caller
				if l, err := e.child(ctx, a, u); err == nil {
					out[i] = l.(*childLeg).c.facts //nolint:forcetypeassert // it is what child returns
				}
				return
			}
			if k != nil && k.modern { // the leg is known; what it says to this caller is not
				if f, err := e.probe(ctx, u, a.who); err == nil {
					f.by = a.who.Key
					u.learn(a.modern, f)
				}
			} else if _, err := e.leg(ctx, a, u); err != nil {
				return
			}
			if k = u.known(a.modern, now); k != nil && u.Credential != "" && k.by != a.who.Key {
				own := *k
				own.instructions, own.info = "", nil
				k = &own
			}
			out[i] = k
		})
	}
	group.Wait()
	return out
}

// serverInfo is that of the only server, or the gateway's own.
func (e *endpoint) serverInfo(all []*facts) json.RawMessage {
	if len(all) == 1 && all[0] != nil && len(all[0].info) > 0 && all[0].info[0] == '{' {
		return all[0].info
	}
	return e.info
}

const maxInstructions = 32 << 10

func (e *endpoint) instructions(all []*facts) string {
	if len(all) == 1 {
		if all[0] == nil || len(all[0].instructions) > maxInstructions {
			return ""
		}
		return all[0].instructions
	}
	var b strings.Builder
	for i, f := range all {
		if f != nil && f.instructions != "" && b.Len()+len(f.instructions) < maxInstructions {
			b.WriteString(e.ups[i].Name + ":\n" + f.instructions + "\n\n")
		}
	}
	return strings.TrimSpace(b.String())
}

// capabilities are those that the servers have together, as far as they can be had through the gateway.
func (e *endpoint) capabilities(all []*facts, modern bool) json.RawMessage {
	out := json.RawMessage("{}")
	if len(all) == 1 && all[0] != nil {
		f := all[0]
		each(f.capabilities, func(name string, v json.RawMessage) {
			switch name {
			case "tasks", "experimental", "extensions":
				if modern != f.modern {
					return
				}
			case "resources", "tools", "prompts":
				if modern != f.modern {
					v = without(v, "subscribe", "listChanged")
				}
			case "logging":
				if modern != f.modern {
					return
				}
			}
			out = set(out, name, v)
		})
		return out
	}
	have := map[string]map[string]bool{}
	for _, f := range all {
		if f == nil { // nobody knows what it has
			f = &facts{capabilities: json.RawMessage(`{"tools":{},"prompts":{},"resources":{}}`), modern: modern}
		}
		each(f.capabilities, func(name string, v json.RawMessage) {
			switch name {
			case "tools", "prompts", "resources", "completions":
			case "logging":
				if modern != f.modern {
					return
				}
			default:
				return
			}
			if have[name] == nil {
				have[name] = map[string]bool{}
			}
			each(v, func(flag string, v json.RawMessage) {
				if string(v) == "true" && modern == f.modern && (flag == "listChanged" || flag == "subscribe") {
					have[name][flag] = true
				}
			})
		})
	}
	for name, flags := range have {
		v := json.RawMessage("{}")
		for flag := range flags {
			v = set(v, flag, json.RawMessage("true"))
		}
		out = set(out, name, v)
	}
	return out
}

// without returns an object without some members.
func without(object json.RawMessage, names ...string) json.RawMessage {
	out := json.RawMessage("{}")
	each(object, func(name string, v json.RawMessage) {
		if !slices.Contains(names, name) {
			out = set(out, name, v)
		}
	})
	return out
}

// setLevel tells every server from which level on the client wants to know (2025-11-25, logging).
func (e *endpoint) setLevel(ctx context.Context, a *asker, f *mcp.Frame) *mcp.Frame {
	var failed error
	told := false
	for _, u := range e.ups {
		l, err := e.leg(ctx, a, u)
		if err != nil || l.modern() != a.modern {
			if err != nil {
				failed = err
			}
			continue
		}
		got, err := e.whole(ctx, l, &call{who: a.who, frame: f, method: f.Method, header: a.header})
		switch {
		case err != nil:
			failed = err
		case got.Error == nil:
			told = true
		case len(e.ups) == 1:
			return got
		}
	}
	if failed != nil && !told {
		return e.faulty(ctx, f.ID, failed)
	}
	return &mcp.Frame{ID: f.ID, Result: json.RawMessage("{}")}
}
