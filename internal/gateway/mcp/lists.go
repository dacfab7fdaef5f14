package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway/coaz"
)

// maxAsked is how many requests go with one question about a list.
const maxAsked = 200

// declaredTime is how long what servers declare of the tools of one list may take to evaluate.
const declaredTime = 500 * time.Millisecond

// An item is one element of a list.
type item struct {
	raw  json.RawMessage
	reqs []authz.Request // what is asked of it; none: it is shown
	key  askKey
	show bool
}

// list returns a list with what the caller could be allowed. What is left out is what would be refused whatever the
// arguments are: neither allowed, nor to be had by asking a person or by signing in more strongly, nor refused for
// what the arguments are or lack. If nobody can decide the list is refused, and not shortened.
func (g *Gate) list(ctx context.Context, pa *Passage, method string, result object) (json.RawMessage, *Error) {
	member := map[string]string{"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources"}[method]
	var items []*item
	var err error
	if method == "tools/list" {
		items, err = g.listTools(ctx, pa, result)
	} else {
		items, err = g.listOthers(ctx, pa, member, result)
	}
	if err != nil {
		if errors.Is(err, authz.ErrInvalid) {
			g.log.ErrorContext(ctx, "a server's list cannot be read", "method", method, "error", err)
			return nil, &Error{Code: codeInternal, Message: "The server's list cannot be read: " + printable(err.Error(), 200)}
		}
		return nil, &Error{Code: codeInternal, Message: "What the server says of its tools cannot be had or compared: the list is refused"}
	}
	if g.cfg.Options.Lists != "whole" {
		if refused := g.judge(ctx, pa.p, items); refused != nil {
			return nil, refused.frame(nil).Error
		}
	}
	var shown []json.RawMessage
	for _, it := range items {
		if it.show || g.cfg.Options.Lists == "whole" {
			shown = append(shown, it.raw)
		}
	}
	result.set(member, arrayJSON(shown))
	// What is listed is this caller's, and not for long.
	if result.get("cacheScope") != nil {
		result.set("cacheScope", json.RawMessage(`"private"`))
	}
	return result.json(), nil
}

func (g *Gate) listTools(ctx context.Context, pa *Passage, result object) ([]*item, error) {
	all, raws, err := g.read(ctx, result)
	if err != nil {
		return nil, err
	}
	if _, at, _ := g.tools.get(""); g.cfg.Options.OnNew == "refuse" && at.IsZero() && result.get("nextCursor") != nil {
		// This is but a page: what stands on the others is no newer.
		if err := g.fetch(ctx, pa.p, at); err != nil {
			return nil, err
		}
	}
	stands, err := g.compare(ctx, all)
	if err != nil {
		return nil, err
	}
	g.tools.put(remembered(all, stands))
	var items []*item
	began := time.Now()
	for i, d := range all {
		s := stands[d.name]
		if s.full || g.pinned(s, d) != nil {
			continue // whose words nobody has approved are shown to nobody
		}
		c := &call{name: d.name, tool: d, options: g.cfg.Options.Tools[d.name], changed: s.changed}
		c.params = object{{"name", encode(d.name)}, {"arguments", json.RawMessage("{}")}}
		it := &item{raw: g.offered(pa, d, raws[i]), show: true}
		if d.declared != nil && time.Since(began) > declaredTime {
			g.say(ctx, "tool_dropped", d.name+": the list's declared mappings take too long", map[string]any{"tool": d.name, "server": d.server, "why": "the list's declared mappings take too long"})
			continue
		}
		if reqs, refused := g.questions(ctx, pa.p, c); refused == nil { // else it depends on the arguments
			it.reqs, it.show = reqs, false
			it.key = g.verdictKey(pa.p, d.digest, reqs)
		}
		items = append(items, it)
	}
	return items, nil
}

func (g *Gate) listOthers(ctx context.Context, pa *Passage, member string, result object) ([]*item, error) {
	elements, err := readArray(result.get(member), maxListed)
	if err != nil {
		return nil, err
	}
	method, name, most := "prompts/get", "name", maxName
	if member == "resources" {
		method, name, most = "resources/read", "uri", maxURI
	}
	m := g.maps.methods[method]
	if m == nil {
		m, _ = coaz.Default(method)
	}
	var items []*item
	for _, raw := range elements {
		o, err := readObject(raw)
		if err != nil {
			return nil, err
		}
		id, ok := text(o.get(name))
		if !ok || id == "" || len(id) > most || printable(id, most) != id {
			g.say(ctx, "tool_dropped", member+" "+printable(id, 64)+": its "+name+" cannot be used", map[string]any{"list": member, "name": printable(id, 64)})
			continue
		}
		it := &item{raw: raw, show: true}
		params := object{{name, encode(id)}, {"arguments", json.RawMessage("{}")}}
		if reqs, refused := g.resolve(ctx, m, pa.p, params, "method "+method); refused == nil {
			g.located(reqs)
			it.reqs, it.show = reqs, false
			it.key = g.verdictKey(pa.p, member, reqs)
		}
		items = append(items, it)
	}
	return items, nil
}

// judge asks about all items of which it is not known whether they are shown.
func (g *Gate) judge(ctx context.Context, p *Peer, items []*item) *refusal {
	var batch []*item
	n := 0
	flush := func() *refusal {
		defer func() { batch, n = nil, 0 }()
		return g.judgeSome(ctx, p, batch)
	}
	for _, it := range items {
		if it.show {
			continue
		}
		if show, ok := g.shown.get(it.key, g.now()); ok {
			it.show = show
			continue
		}
		if n+len(it.reqs) > maxAsked && n > 0 {
			if r := flush(); r != nil {
				return r
			}
		}
		batch, n = append(batch, it), n+len(it.reqs)
	}
	if n > 0 {
		return flush()
	}
	return nil
}

func (g *Gate) judgeSome(ctx context.Context, p *Peer, items []*item) *refusal {
	var reqs []authz.Request
	types := g.cfg.Gateway.Enforcer.Types()
	for _, it := range items {
		for _, r := range it.reqs {
			r.Observed.Obligations, r.Observed.Listing = types, true
			reqs = append(reqs, r)
		}
	}
	q := g.question(p, p.Who, reqs)
	answers, err := g.decider().Answer(ctx, &q)
	if err == nil && len(answers) != len(reqs) {
		err = authz.Errorf(authz.ErrUnavailable, "%d answers to %d requests", len(answers), len(reqs))
	}
	if err != nil {
		if len(items) > 1 && errors.Is(err, authz.ErrInvalid) { // one of them cannot be asked without arguments: which one?
			for _, it := range items {
				if r := g.judgeSome(ctx, p, []*item{it}); r != nil {
					return r
				}
			}
			return nil
		}
		if errors.Is(err, authz.ErrInvalid) {
			items[0].show = true
			return nil
		}
		g.log.ErrorContext(ctx, "no decision about a list could be had", "error", err)
		return unavailable()
	}
	life := g.cfg.Options.ListCache
	if life == 0 {
		life = defaultListCache
	}
	for _, it := range items {
		it.show = true
		for _, a := range answers[:len(it.reqs)] {
			if a.Code == authz.CodeUnavailable {
				return unavailable()
			}
			it.show = it.show && couldBe(a)
		}
		answers = answers[len(it.reqs):]
		g.shown.put(it.key, it.show, g.now().Add(life), g.now())
	}
	return nil
}

func (g *Gate) decider() client.Decider {
	if d := g.cfg.Gateway.Enforcer.Guard.Decider; d != nil {
		return d
	}
	return g.cfg.Gateway.Enforcer.Guard.Client
}

// couldBe reports whether what was refused without arguments could be allowed with some, or by a person.
func couldBe(a *client.Answer) bool {
	if a.Allowed() || a.Offer != nil || a.Effect == authz.RequireApproval || a.Effect == authz.StepUp {
		return true
	}
	switch a.Code {
	case authz.CodeInvalid, authz.CodePolicyError, authz.CodeObligation, authz.CodeSignalMissing, authz.CodeStepUpRequired, authz.CodeApprovalRequired, authz.CodeAskBudget:
		return true // it lacks what only a call has, or may have another answer by then
	}
	for _, c := range a.Changes {
		if c.Who == "agent" && (c.Kind == "set" || c.Kind == "raise" || c.Kind == "lower") {
			return true
		}
	}
	return false
}

// verdicts remember for seconds what a caller could be allowed.
type verdicts struct {
	mu  sync.Mutex
	all map[askKey]verdict
}

type verdict struct {
	show  bool
	until time.Time
}

const maxVerdicts = 20_000

func newVerdicts() *verdicts { return &verdicts{all: map[askKey]verdict{}} }

func (v *verdicts) get(key askKey, now time.Time) (show, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d, ok := v.all[key]
	return d.show, ok && now.Before(d.until)
}

func (v *verdicts) put(key askKey, show bool, until, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.all) >= maxVerdicts {
		for k, d := range v.all {
			if now.After(d.until) {
				delete(v.all, k)
			}
		}
		if len(v.all) >= maxVerdicts {
			clear(v.all)
		}
	}
	v.all[key] = verdict{show, until}
}

// verdictKey tells apart who asks, by which token, and what.
func (g *Gate) verdictKey(p *Peer, about string, reqs []authz.Request) askKey {
	h := sha256.New()
	h.Write([]byte(callerKey(p.Who) + "\x00"))
	if p.Who != nil && p.Who.Presented != nil {
		h.Write([]byte(p.Who.Presented.Token))
	}
	h.Write([]byte("\x00" + p.Session + "\x00" + about))
	for i := range reqs {
		h.Write(encode(&reqs[i]))
	}
	return askKey(h.Sum(nil))
}
