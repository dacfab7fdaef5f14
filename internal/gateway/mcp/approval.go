package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
)

// asks are what persons were asked about calls: by caller, tool and arguments.
type asks struct {
	mu  sync.Mutex
	all map[askKey]*ask
}

type askKey [sha256.Size]byte

// An ask is what persons were asked about one call.
type ask struct {
	owner string

	mu     sync.Mutex
	task   *client.Task
	looked time.Time
	over   time.Time // when it is forgotten
}

const (
	maxAsks   = 1000
	maxAsksOf = 100 // one caller
	askLife   = 24 * time.Hour
	afterNo   = 10 * time.Minute // how long a no is remembered
	lookPause = time.Second
)

func newAsks() *asks { return &asks{all: map[askKey]*ask{}} }

// key tells calls apart that are asked about.
func (c *call) key(w *gateway.Who) askKey {
	arguments := jsontext.Value(c.arguments.json())
	if arguments.Canonicalize() != nil { // cannot be: they were read strictly
		arguments = jsontext.Value(c.raw)
	}
	text := strconv.Quote(callerKey(w)) + strconv.Quote(c.name) + string(arguments)
	return sha256.Sum256([]byte(text))
}

func callerKey(w *gateway.Who) string {
	switch {
	case w == nil:
		return ""
	case w.Key != "":
		return w.Key
	}
	return w.Subject.String()
}

func (a *asks) get(key askKey, now time.Time) *ask {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.all[key]
	if k != nil && now.After(k.over) {
		delete(a.all, key)
		return nil
	}
	return k
}

// find is get of a key that is made only if anything was asked at all.
func (a *asks) find(key func() askKey, now time.Time) *ask {
	a.mu.Lock()
	some := len(a.all) > 0
	a.mu.Unlock()
	if !some {
		return nil
	}
	return a.get(key(), now)
}

func (a *asks) put(key askKey, k *ask, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	own := 0
	for _, o := range a.all {
		if o.owner == k.owner {
			own++
		}
	}
	if len(a.all) >= maxAsks || own >= maxAsksOf {
		oldest := key
		for other, o := range a.all {
			if own >= maxAsksOf && o.owner != k.owner {
				continue // nobody has another's forgotten
			}
			if oldest == key || o.over.Before(a.all[oldest].over) {
				oldest = other
			}
		}
		delete(a.all, oldest)
	}
	k.over = now.Add(askLife)
	if t := k.task.ExpiresAt; !t.IsZero() && t.Before(k.over) {
		k.over = t.Add(afterNo)
	}
	a.all[key] = k
}

func (a *asks) drop(key askKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, key)
}

// follow returns how far an ask has come.
func (g *Gate) follow(ctx context.Context, k *ask) *client.Task {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.task.Done() && time.Since(k.looked) > lookPause {
		if now, err := g.cfg.Gateway.Client.Task(ctx, k.task); err == nil {
			k.task = now
		} else if errors.Is(err, authz.ErrNotFound) {
			k.task.Status = client.TaskExpired
		}
		k.looked = time.Now()
	}
	return k.task
}

// permitCall asks whether a call may happen, and has persons asked if that is how the gateway is set. It may make
// the Passage an answer: that of a task.
func (g *Gate) permitCall(ctx context.Context, pa *Passage, c *call) (*client.Permit, *refusal) {
	q := g.question(pa.p, pa.p.Who, c.reqs)
	key := sync.OnceValue(func() askKey { return c.key(pa.p.Who) }) // which most calls do not need
	var task *client.Task
	if k := g.asks.find(key, g.now()); k != nil {
		task = g.follow(ctx, k)
		q.Approval = task.Approval(0)
		if task.Done() && q.Approval == nil {
			return nil, saidNo(task)
		}
	}
	permit, err := g.cfg.Gateway.Enforcer.Permit(ctx, q, c.canTry)
	if err == nil {
		return permit, nil
	}
	if task != nil && q.Approval != nil { // it does not hold any more: persons can be asked anew
		g.asks.drop(key())
		task = nil
	}
	refused := g.classify(ctx, err)
	if task != nil && !task.Done() && refused.reason == authz.CodeAskBudget { // no more can be asked, but this was
		refused.task = task
		return nil, refused.pending()
	}
	act := requestable(refused.re)
	mode := g.mode(c.name)
	switch {
	case act == nil || mode == modeRefuse:
		return nil, refused
	case task == nil:
		if task, err = g.ask(ctx, pa.p, c, act); err != nil {
			g.log.WarnContext(ctx, "persons could not be asked", "tool", c.name, "error", err)
			refused.help = "A person could allow this, but could not be asked: " + printable(err.Error(), 200) + "."
			refused.retry = retryLater
			return nil, refused
		}
		g.asks.put(key(), &ask{owner: callerKey(pa.p.Who), task: task, looked: time.Now()}, g.now())
	}
	refused.task = task
	switch {
	case mode == modeTask && g.asTask(c):
		return nil, g.newTask(pa, c, key(), task)
	case mode == modeTask:
		return nil, refused.pending()
	}
	return g.await(ctx, pa, c, key(), refused)
}

// requestable returns the one act of a refusal that persons can be asked about, nil if there is none or several were refused.
func requestable(re *client.RefusedError) *client.Refused {
	if re == nil || re.Cause != nil {
		return nil
	}
	var act *client.Refused
	for i, a := range re.Answers {
		if a.Allowed() {
			continue
		}
		if act != nil || a.Offer == nil || i >= len(re.Requests) {
			return nil
		}
		act = &client.Refused{Request: re.Requests[i], Offer: a.Offer}
	}
	return act
}

// ask has persons asked.
func (g *Gate) ask(ctx context.Context, p *Peer, c *call, act *client.Refused) (*client.Task, error) {
	if act.Request.Subject.IsZero() {
		act.Request.Subject.Ref = authz.Ref{Type: authz.AgentType, ID: actor(p.Who)}
	}
	r := client.AccessRequest{
		Acts: []client.Refused{*act}, Justification: g.cfg.Options.Approvals.Justification,
		Client: map[string]any{"name": "safeconduct gateway mcp", "tool": c.name},
	}
	if r.Justification == "" {
		r.Justification = "The agent calls the tool " + c.name + "."
	}
	return g.cfg.Gateway.Client.RequestAccess(ctx, r)
}

// actor returns who acts by a token: the outermost actor (RFC 8693, section 4.1), or the subject.
func actor(w *gateway.Who) string {
	if w == nil {
		return ""
	}
	if act, ok := w.Claims["act"].(map[string]any); ok {
		if s, ok := act["sub"].(string); ok {
			return s
		}
	}
	s, _ := w.Claims["sub"].(string)
	return s
}

// pending says that persons have been asked.
func (r *refusal) pending() *refusal {
	r.reason, r.retry = "approval_pending", retryApproved
	r.message = "Not yet: a person has to allow this, and has been asked"
	r.help = "Request " + printable(r.task.ID, 64) + where(r.task) + " waits for an answer. Once it is given, repeat the very same call, with the same arguments: it will then pass. Until then do something else; repeating it earlier is of no use."
	return r
}

func where(t *client.Task) string {
	if t.Ticket == "" {
		return ""
	}
	return " (" + printable(t.Ticket, 200) + ")"
}

// saidNo says that persons have not allowed it.
func saidNo(t *client.Task) *refusal {
	return &refusal{code: codeDenied, reason: "approval_" + printable(t.Status, 32), task: t, retry: retryNever,
		message: "Access denied: a person was asked and has not allowed it (the request is " + printable(t.Status, 32) + ")"}
}

// await holds a call until persons have answered, or for as long as the operator lets it.
func (g *Gate) await(ctx context.Context, pa *Passage, c *call, key askKey, refused *refusal) (*client.Permit, *refusal) {
	task := g.hold(ctx, pa.p, c.token, refused.task)
	if k := g.asks.get(key, g.now()); k != nil {
		k.mu.Lock()
		k.task = task
		k.mu.Unlock()
	}
	refused.task = task
	switch {
	case !task.Done():
		return nil, refused.pending()
	case task.Approval(0) == nil:
		return nil, saidNo(task)
	}
	return g.permitApproved(ctx, pa, c, key, task)
}

// permitApproved asks once more, by what persons have approved.
func (g *Gate) permitApproved(ctx context.Context, pa *Passage, c *call, key askKey, task *client.Task) (*client.Permit, *refusal) {
	if refused := g.still(ctx, pa.p, c); refused != nil {
		if !refused.down {
			g.asks.drop(key)
		}
		return nil, refused
	}
	who := pa.p.Who
	if pa.p.Again != nil {
		var err error
		if who, err = pa.p.Again(ctx); err != nil {
			g.log.ErrorContext(ctx, "who asks cannot be shown once more", "error", err)
			return nil, unavailable()
		}
	}
	q := g.question(pa.p, who, c.reqs)
	q.Approval = task.Approval(0)
	permit, err := g.cfg.Gateway.Enforcer.Permit(ctx, q, c.canTry)
	if err == nil {
		return permit, nil
	}
	refused := g.classify(ctx, err)
	refused.task = task
	if refused.reason == authz.CodePassportInvalid { // the proof has got too old while persons thought
		refused.message = "A person has allowed this, and the proof that came with the call has become too old"
		refused.help, refused.retry = "Repeat the very same call now: it will pass.", retryApproved
		return nil, refused
	}
	if !refused.down {
		g.asks.drop(key)
	}
	return nil, refused
}

// hold waits for persons, and tells a client that wants to know that it goes on.
func (g *Gate) hold(ctx context.Context, p *Peer, token json.RawMessage, task *client.Task) *client.Task {
	wait, every := g.cfg.Options.Approvals.Wait, g.cfg.Options.Approvals.Progress
	if wait == 0 {
		wait = defaultWait
	}
	if every == 0 {
		every = defaultProgress
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answered := make(chan *client.Task, 1)
	go func() {
		t, _ := g.cfg.Gateway.Client.AwaitApproval(ctx, task)
		answered <- t
	}()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 1; ; n++ {
		if token != nil && p.Notify != nil {
			_ = p.Notify(progress(token, n, "Waiting for a person to allow this"+where(task)))
		}
		select {
		case t := <-answered:
			return t
		case <-ticker.C:
		}
	}
}

// progress is a notification that something goes on.
func progress(token json.RawMessage, n int, message string) *Frame {
	var o object
	o.set("progressToken", token)
	o.set("progress", encode(n))
	o.set("message", encode(message))
	return &Frame{Method: "notifications/progress", Params: o.json()}
}
