package mcp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/client"
)

// tasks are the calls that wait for persons, and that their clients hold as tasks: of the protocol's revision
// 2025-11-25, or of the extension io.modelcontextprotocol/tasks. They are kept in memory. A call is made when its client
// asks for the task after persons have said yes: with what the client shows then, and not before.
type tasks struct {
	mu  sync.Mutex
	all map[string]*heldCall
}

// A heldCall is one of them.
type heldCall struct {
	id, owner string
	c         *call
	key       askKey
	augmented bool // 2025-11-25
	created   time.Time

	mu      sync.Mutex
	making  bool                             // somebody is about it
	sent    bool                             // the call is under way: the server has it
	show    func() (json.RawMessage, *Error) // how the task is shown to whoever has the call made
	updated time.Time
	status  string
	why     string
	result  json.RawMessage // once it is completed
	err     *Error          // once it failed
}

const (
	maxTasks      = 1000
	maxTasksOne   = 50 // of one caller
	taskLife      = time.Hour
	taskPoll      = 3 * time.Second
	taskPrefix    = "safeconduct-"
	taskWorking   = "working"
	taskCompleted = "completed"
	taskFailed    = "failed"
	taskCancelled = "cancelled"
)

func newTasks() *tasks { return &tasks{all: map[string]*heldCall{}} }

func (t *tasks) get(id, owner string, now time.Time) *heldCall {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.all[id]
	if h == nil || h.owner != owner { // others' are not there
		return nil
	}
	if now.Sub(h.created) > taskLife {
		delete(t.all, id)
		return nil
	}
	return h
}

// put keeps a task; false if there are too many.
func (t *tasks) put(h *heldCall, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := 0
	for id, o := range t.all {
		if now.Sub(o.created) > taskLife {
			delete(t.all, id)
		} else if o.owner == h.owner {
			own++
		}
	}
	if len(t.all) >= maxTasks || own >= maxTasksOne {
		return false
	}
	t.all[h.id] = h
	return true
}

// takesTasks reports whether the client of a request says that it can be given tasks (2026-07-28).
func takesTasks(meta object) bool {
	var w struct {
		Extensions map[string]json.RawMessage `json:"extensions"`
	}
	return json.Unmarshal(meta.get(metaCapabilities), &w) == nil && w.Extensions[tasksExtension] != nil
}

// asTask reports whether this gateway gives the client a task for a call.
func (g *Gate) asTask(c *call) bool {
	if g.mode(c.name) != modeTask {
		return false
	}
	// A client that asks for a task of a tool that has some by itself is given the server's.
	return c.tasks || c.task != nil && (c.tool.tasks == "" || c.tool.tasks == "forbidden")
}

// newTask makes the Passage the answer that a task was made, or returns a refusal.
func (g *Gate) newTask(pa *Passage, c *call, key askKey, asked *client.Task) *refusal {
	h := g.newHeld(pa, c, key)
	if h == nil {
		r := &refusal{code: codeDenied, task: asked}
		return r.pending()
	}
	h.why = "Waiting for a person to allow this" + where(asked)
	pa.Answer = &Frame{ID: pa.id, Result: h.createdJSON(c.task != nil)}
	return nil
}

// done makes a task of a call that is allowed at once, for a client that has asked for one.
func (g *Gate) done(pa *Passage, c *call) {
	if c.task == nil {
		return
	}
	h := g.newHeld(pa, c, askKey{})
	if h == nil {
		return
	}
	h.making, h.sent = true, true
	pa.Whole, pa.held = true, h
	pa.shape = func(_ context.Context, result object) (json.RawMessage, *Error) {
		h.complete(pa, result, g.now())
		return h.createdJSON(true), nil
	}
	h.show = func() (json.RawMessage, *Error) { return h.createdJSON(true), nil }
}

func (g *Gate) newHeld(pa *Passage, c *call, key askKey) *heldCall {
	now := g.now()
	h := &heldCall{id: taskPrefix + rand.Text(), owner: callerKey(pa.p.Who), c: c, key: key, augmented: c.task != nil,
		created: now, updated: now, status: taskWorking}
	if !g.tasks.put(h, now) {
		return nil
	}
	return h
}

// makers remember which caller has made which of the servers' tasks: servers know the gateway alone.
type makers struct {
	mu  sync.Mutex
	of  map[string]string   // by task
	all map[string][]string // tasks by caller, oldest first
}

const (
	maxMade    = 20_000
	maxMadeOne = 1000 // of one caller; of more, the oldest is forgotten
)

func newMakers() *makers { return &makers{of: map[string]string{}, all: map[string][]string{}} }

// made says that a caller was given a task. Another's it stays.
func (m *makers) made(id, caller string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.of[id]; ok || id == "" || len(id) > maxName {
		return
	}
	loser := caller
	if len(m.all[caller]) < maxMadeOne {
		loser = ""
		if len(m.of) >= maxMade {
			for c, ids := range m.all {
				if len(ids) > len(m.all[loser]) {
					loser = c
				}
			}
		}
	}
	if ids := m.all[loser]; len(ids) > 0 {
		delete(m.of, ids[0])
		if m.all[loser] = ids[1:]; len(ids) == 1 {
			delete(m.all, loser)
		}
	}
	m.of[id] = caller
	m.all[caller] = append(m.all[caller], id)
}

// may reports whether a caller may ask for a task: one that it has made; without strict, also one that nobody is known to have made.
func (m *makers) may(id, caller string, strict bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	of, known := m.of[id]
	return known && of == caller || !known && !strict
}

// madeIn takes in the task that a result says was made.
func (m *makers) madeIn(result object, caller string) {
	from := result
	if t, _ := text(result.get("resultType")); t != "task" {
		task, err := readObject(result.get("task"))
		if err != nil || task == nil {
			return
		}
		from = task
	}
	if id, ok := text(from.get("taskId")); ok {
		m.made(id, caller)
	}
}

// ownTasks takes out of a list what others have made.
func (g *Gate) ownTasks(caller string, result object) (json.RawMessage, *Error) {
	var own []json.RawMessage
	all, err := readArray(result.get("tasks"), maxListed)
	if err != nil {
		return nil, &Error{Code: codeInternal, Message: "The server's list cannot be read: " + printable(err.Error(), 200)}
	}
	for _, raw := range all {
		o, err := readObject(raw)
		if err != nil {
			continue
		}
		if id, ok := text(o.get("taskId")); ok && g.makers.may(id, caller, g.cfg.Shared) {
			own = append(own, raw)
		}
	}
	result.set("tasks", arrayJSON(own))
	return result.json(), nil
}

// complete keeps the result of a call.
func (h *heldCall) complete(pa *Passage, result object, now time.Time) {
	raw, failed := result.json(), (*Error)(nil)
	if pa.permit != nil && pa.permit.Whole() {
		raw, failed = pa.seen(result)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.making, h.sent, h.updated = false, false, now
	if h.status == taskCancelled {
		return
	}
	if failed != nil {
		h.status, h.err = taskFailed, failed
		return
	}
	h.status, h.why, h.result = taskCompleted, "", raw
}

// fail ends the task.
func (h *heldCall) fail(status, why string, e *Error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.making, h.updated, h.status, h.why, h.err = false, now, status, why, e
}

// ownTask answers questions about tasks of this gateway. Those of servers pass.
func (g *Gate) ownTask(ctx context.Context, pa *Passage, method string, params object) *Passage {
	id, _ := text(params.get("taskId"))
	caller := callerKey(pa.p.Who)
	h := g.tasks.get(id, caller, g.now())
	switch {
	case h == nil && method == "tasks/list":
		pa.Whole = true
		pa.shape = pa.hidden(func(_ context.Context, result object) (json.RawMessage, *Error) { return g.ownTasks(caller, result) })
		return pa
	case h == nil && g.makers.may(id, caller, g.cfg.Shared):
		return pa
	case h == nil:
		pa.end(ctx, client.Outcome{})
		pa.permit = nil
		return pa.refuse(&refusal{code: codeParams, message: "Task not found"})
	}
	pa.end(ctx, client.Outcome{})
	pa.permit, pa.Whole, pa.shape = nil, false, nil
	switch method {
	case "tasks/cancel":
		return g.cancelTask(ctx, pa, h)
	case "tasks/update": // it has asked the client nothing
		return pa.refuse(&refusal{code: codeParams, message: "Cannot update task: it waits for no input of the client"})
	case "tasks/get":
		return g.getTask(ctx, pa, h, false)
	}
	return g.getTask(ctx, pa, h, true)
}

// getTask answers tasks/get, or tasks/result, which waits. If persons have said yes since, the call is made
// now, and the answer is made of its response.
func (g *Gate) getTask(ctx context.Context, pa *Passage, h *heldCall, result bool) *Passage {
	answer := func() *Passage {
		pa.Forward, pa.Answer = nil, &Frame{ID: pa.id}
		if result {
			pa.Answer.Result, pa.Answer.Error = h.resultJSON()
		} else {
			pa.Answer.Result = h.json(false)
		}
		return pa
	}
	h.mu.Lock()
	busy := h.making || h.status != taskWorking
	if !busy {
		h.making = true
	}
	h.mu.Unlock()
	if busy {
		return answer()
	}
	release := func() { h.mu.Lock(); h.making = false; h.mu.Unlock() }
	k := g.asks.get(h.key, g.now())
	if k == nil {
		h.fail(taskFailed, "The request for approval is over", &Error{Code: codeDenied, Message: "Access denied: the request for approval is over"}, g.now())
		return answer()
	}
	asked := g.follow(ctx, k)
	if result && !asked.Done() {
		asked = g.hold(ctx, pa.p, h.c.token, asked)
	}
	switch {
	case !asked.Done():
		release()
		return answer()
	case asked.Approval(0) == nil:
		r := saidNo(asked)
		h.failed(r, pa, g.now())
		return answer()
	}
	permit, refused := g.permitApproved(ctx, pa, h.c, h.key, asked)
	if refused != nil {
		if refused.down || refused.retry == retryApproved {
			release()
		} else {
			h.failed(refused, pa, g.now())
		}
		return answer()
	}
	// The Passage becomes that of the call.
	*pa = Passage{g: pa.g, p: pa.p, id: pa.id, version: pa.version, began: g.now()}
	if !pa.begin(ctx, permit) {
		release()
		return pa
	}
	g.asks.drop(h.key)
	c := *h.c
	c.task = nil
	params := append(object(nil), c.params...)
	params.drop(func(name string) bool { return name == "task" })
	c.params = params
	g.passOn(pa, &Frame{ID: pa.id, Method: "tools/call", Params: params.json()}, &c)
	pa.Whole, pa.held = true, h
	h.mu.Lock()
	h.sent = true
	h.mu.Unlock()
	h.show = func() (json.RawMessage, *Error) {
		if result {
			return h.resultJSON()
		}
		return h.json(false), nil
	}
	pa.shape = func(_ context.Context, r object) (json.RawMessage, *Error) {
		h.complete(pa, r, g.now())
		return h.show()
	}
	return pa
}

// broken ends a task whose call failed, if it has not ended, and returns what is shown then.
func (h *heldCall) broken(pa *Passage, e *Error, now time.Time) (json.RawMessage, *Error) {
	h.mu.Lock()
	if h.status == taskWorking {
		h.making, h.sent, h.updated, h.status, h.why, h.err = false, false, now, taskFailed, printable(e.Message, 200), e
	}
	h.mu.Unlock()
	return h.show()
}

// failed ends the task with a refusal. The result of a call is what the model reads.
func (h *heldCall) failed(r *refusal, pa *Passage, now time.Time) {
	if h.augmented { // 2025-11-25: what the call would have returned
		h.fail(taskFailed, r.message, nil, now)
		h.mu.Lock()
		h.result = r.toolResult(pa.version)
		h.mu.Unlock()
		return
	}
	h.fail(taskFailed, r.message, r.frame(nil).Error, now)
}

func (g *Gate) cancelTask(ctx context.Context, pa *Passage, h *heldCall) *Passage {
	h.mu.Lock()
	over, sent := h.status != taskWorking, h.sent
	h.mu.Unlock()
	if sent { // it may have happened by now, and saying otherwise would be a lie
		return pa.refuse(&refusal{code: codeParams, message: "Cannot cancel task: the call is under way at the server"})
	}
	if over {
		return pa.refuse(&refusal{code: codeParams, message: "Cannot cancel task: it has ended"})
	}
	if k := g.asks.get(h.key, g.now()); k != nil {
		if _, err := g.cfg.Gateway.Client.Cancel(ctx, g.follow(ctx, k), "the client cancelled the task"); err == nil {
			g.asks.drop(h.key)
		}
	}
	h.fail(taskCancelled, "Cancelled by the client", &Error{Code: codeDenied, Message: "The task was cancelled"}, g.now())
	pa.Forward, pa.Answer = nil, &Frame{ID: pa.id, Result: h.json(false)}
	if !h.augmented {
		pa.Answer.Result = json.RawMessage(`{"resultType":"complete"}`)
	}
	return pa
}

// json is the task as tasks/get shows it.
func (h *heldCall) json(created bool) json.RawMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	stamp := func(t time.Time) json.RawMessage { return encode(t.UTC().Format(time.RFC3339Nano)) }
	var o object
	o.set("taskId", encode(h.id))
	status := h.status
	if created {
		status = taskWorking // in which every task begins
	}
	o.set("status", encode(status))
	if h.why != "" {
		o.set("statusMessage", encode(h.why))
	}
	o.set("createdAt", stamp(h.created))
	o.set("lastUpdatedAt", stamp(h.updated))
	ttl, poll := "ttlMs", "pollIntervalMs"
	if h.augmented {
		ttl, poll = "ttl", "pollInterval"
	}
	o.set(ttl, encode(taskLife.Milliseconds()))
	o.set(poll, encode(taskPoll.Milliseconds()))
	if h.augmented || created {
		return o.json()
	}
	o.set("resultType", json.RawMessage(`"complete"`))
	switch h.status {
	case taskCompleted:
		o.set("result", h.result)
	case taskFailed:
		o.set("error", encode(h.err))
	}
	return o.json()
}

// createdJSON is the result that says that a task was made.
func (h *heldCall) createdJSON(augmented bool) json.RawMessage {
	if augmented {
		return object{{"task", h.json(true)}}.json()
	}
	o, err := readObject(h.json(true))
	if err != nil { // it is our own
		panic(err)
	}
	o.set("resultType", json.RawMessage(`"task"`))
	return o.json()
}

// resultJSON is what tasks/result returns (2025-11-25).
func (h *heldCall) resultJSON() (json.RawMessage, *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.err != nil:
		return nil, h.err
	case h.result == nil:
		return nil, &Error{Code: codeInternal, Message: "The task has not ended: nobody has answered yet"}
	}
	o, err := readObject(h.result)
	if err != nil {
		return nil, &Error{Code: codeInternal, Message: "The server's answer cannot be read"}
	}
	meta, err := readObject(o.get("_meta"))
	if err != nil {
		meta = nil
	}
	meta.set(metaRelatedTask, encode(map[string]string{"taskId": h.id}))
	o.set("_meta", meta.json())
	return o.json(), nil
}

// withTasks adds to what a server says of itself that there are tasks.
func withTasks(method string, result object) json.RawMessage {
	capabilities, err := readObject(result.get("capabilities"))
	if err != nil {
		return result.json()
	}
	if method == "initialize" {
		if capabilities.get("tasks") == nil {
			capabilities.set("tasks", json.RawMessage(`{"cancel":{},"requests":{"tools":{"call":{}}}}`))
		}
	} else {
		extensions, err := readObject(capabilities.get("extensions"))
		if err != nil {
			return result.json()
		}
		if extensions.get(tasksExtension) == nil {
			extensions.set(tasksExtension, json.RawMessage(`{}`))
			capabilities.set("extensions", extensions.json())
		}
	}
	result.set("capabilities", capabilities.json())
	return result.json()
}

// offered is a tool as clients see it: if calls of it may become tasks, and the server has none, it says so.
func (g *Gate) offered(pa *Passage, d *descriptor, raw json.RawMessage) json.RawMessage {
	if g.mode(d.name) != modeTask || pa.version >= statelessVersion || d.tasks != "" && d.tasks != "forbidden" {
		return raw
	}
	o, err := readObject(raw)
	if err != nil {
		return raw
	}
	execution, err := readObject(o.get("execution"))
	if err != nil {
		return raw
	}
	execution.set("taskSupport", json.RawMessage(`"optional"`))
	o.set("execution", execution.json())
	return o.json()
}
