package mcp

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/coaz"
)

// A Peer is the client's side of one conversation, as the door that serves it knows it.
type Peer struct {
	Who     *gateway.Who
	Session string // what the decisions call the session
	Version string // of the protocol, "" before it is known
	// Tasks is whether the client can be given a task instead of a result (extension io.modelcontextprotocol/tasks).
	Tasks bool
	// Notify sends the client a notification that belongs to the request under way: progress. nil if it cannot be
	// told anything before the answer.
	Notify func(*Frame) error
	// Again returns who asks when the same request is asked about once more, after persons were waited for: a proof
	// of possession does not last. nil: Who does.
	Again func(ctx context.Context) (*gateway.Who, error)
}

// Config is what a Gate needs.
type Config struct {
	Gateway *gateway.Gateway

	// Options are the operator's.
	Options Options
	// Pins remember descriptors of tools; nil: nothing is remembered beyond this Gate.
	Pins *Pins
	// PinsFlags are those by which an operator names the Pins to the command that approves: --pins and the file by default.
	PinsFlags string
	// Resource is this server's own resource identifier (RFC 8707), as tokens name it. "" has the token's aud say.
	Resource string

	// Shared is whether many callers stand before one server, which has tasks of its own: only who has made one may ask for it.
	Shared bool

	// Self is whether callers ask about themselves, by tokens of their own, and not an enforcement point about them:
	// what was observed is not theirs to say.
	Self bool

	// Server returns which server behind the gateway has a tool, prompt or resource ("tool", "prompt", "resource")
	// of that name, as clients see the name; "" if none has.
	Server func(kind, name string) string
	// Fetch asks the servers one whole question, tools/list, on behalf of a client: to learn descriptors before a
	// client has asked for them.
	Fetch func(ctx context.Context, p *Peer, f *Frame) (*Frame, error)

	Logger *slog.Logger     // the Gateway's by default, or slog.Default()
	Now    func() time.Time // time.Now by default
}

// A Gate judges what clients ask of one MCP server: one that stands behind the gateway, or all of them under names
// that keep them apart. It knows names as clients see them. It is safe for concurrent use.
type Gate struct {
	cfg    Config
	maps   *compiled
	log    *slog.Logger
	now    func() time.Time
	tools  *toolbox
	asks   *asks
	tasks  *tasks
	makers *makers
	shown  *verdicts

	changes  changes
	said     sync.Map // what was reported already
	saidSize counter
	outcomes chan struct{} // as many are reported at once
	wait     sync.WaitGroup
}

// NewGate returns a Gate. authz.ErrInvalid: the options cannot be used.
func NewGate(cfg Config) (*Gate, error) {
	if cfg.Gateway == nil || cfg.Gateway.Enforcer == nil {
		return nil, authz.Errorf(authz.ErrInvalid, "a gate asks by a gateway's enforcer")
	}
	maps, err := cfg.Options.compile()
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "%w", err)
	}
	if cfg.Pins == nil {
		if cfg.Pins, err = OpenPins(""); err != nil {
			return nil, err
		}
	}
	if cfg.Server == nil {
		cfg.Server = func(string, string) string { return "" }
	}
	g := &Gate{cfg: cfg, maps: maps, log: cfg.Logger, now: cfg.Now, outcomes: make(chan struct{}, 64)}
	if g.log == nil {
		g.log = cfg.Gateway.Logger
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	if g.now == nil {
		g.now = time.Now
	}
	g.makers = newMakers()
	g.changes = changes{changed: map[string]change{}, settled: map[string]string{}}
	g.tools, g.asks, g.tasks, g.shown = newToolbox(), newAsks(), newTasks(), newVerdicts()
	return g, nil
}

// Wait returns when everything that came of acts has been reported.
func (g *Gate) Wait() { g.wait.Wait() }

// A Passage is one request of a client on its way.
type Passage struct {
	Answer  *Frame // if not nil, this is the answer, and nothing is passed on
	Forward *Frame // what is passed on
	// Whole is whether the response must go through Result before the client sees any of it. If not, it may
	// be streamed, and Streamed is called at its end.
	Whole bool

	g       *Gate
	p       *Peer
	id      json.RawMessage
	version string
	permit  *client.Permit // nil if nobody was asked
	cancel  context.CancelFunc
	began   time.Time
	once    sync.Once

	// shape changes a response that is no error. It returns the result, or an error in its place.
	shape func(ctx context.Context, result object) (json.RawMessage, *Error)
	// held is the task of this gateway that the response is for; nil if it is for none.
	held *heldCall
}

// Admit judges a request of a client. The Passage is never nil; one of Answer and Forward is set.
func (g *Gate) Admit(ctx context.Context, p *Peer, f *Frame) *Passage {
	pa := &Passage{g: g, p: p, id: f.ID, version: p.Version, began: g.now()}
	if !f.Request() { // what has no id is never judged, and must not be done
		pa.id = json.RawMessage("null")
		return pa.refuse(&refusal{code: codeRequest, message: "Invalid request: it has no id"})
	}
	params, err := readObject(f.Params)
	if err != nil {
		return pa.refuse(&refusal{code: codeParams, message: "Invalid params: " + err.Error()})
	}
	meta, err := readObject(params.get("_meta"))
	if err != nil {
		return pa.refuse(&refusal{code: codeParams, message: "Invalid params: _meta is no object"})
	}
	if v, ok := text(meta.get(metaVersion)); ok && len(v) <= 32 {
		pa.version = v
	}
	forward := f
	if meta.dropOurs() {
		params.set("_meta", meta.json())
		g.log.WarnContext(ctx, "what only the gateway says was taken out of a client's request", "method", f.Method)
		forward = &Frame{ID: f.ID, Method: f.Method, Params: params.json()}
	}
	if f.Method == "tools/call" {
		return g.call(ctx, pa, forward, params, meta)
	}
	m := g.maps.methods[f.Method]
	if m == nil {
		var known bool
		m, known = coaz.Default(f.Method)
		switch {
		case !known:
			return pa.refuse(&refusal{code: codeDenied, message: "Access denied: the method " + printable(f.Method, maxMethod) + " is not known here", reason: "method_unknown"})
		case m == nil:
			pa.Forward = forward
			return pa
		}
	}
	reqs, refused := g.resolve(ctx, m, p, params, "method "+f.Method)
	if refused != nil {
		return pa.refuse(refused)
	}
	g.located(reqs)
	if shows(f.Method) {
		for i := range reqs {
			reqs[i].Observed.Listing = true
		}
	}
	permit, refused := g.permit(ctx, p, reqs, false)
	if refused != nil {
		return pa.refuse(refused)
	}
	if !pa.begin(ctx, permit) {
		return pa
	}
	pa.Forward = forward
	return g.method(ctx, pa, f.Method, params)
}

// shows reports whether a method does nothing but show what there is: what is asked about it is asked for no act.
func shows(method string) bool {
	return method == "initialize" || method == "server/discover" || strings.HasSuffix(method, "/list")
}

// method says what becomes of the response to a method that was allowed.
func (g *Gate) method(ctx context.Context, pa *Passage, method string, params object) *Passage {
	switch method {
	case "tools/list", "prompts/list", "resources/list":
		pa.Whole = true
		pa.shape = pa.hidden(func(ctx context.Context, result object) (json.RawMessage, *Error) {
			return g.list(ctx, pa, method, result)
		})
	case "initialize", "server/discover":
		if g.mode("") == modeTask {
			pa.Whole = true
			pa.shape = pa.hidden(func(_ context.Context, result object) (json.RawMessage, *Error) {
				return withTasks(method, result), nil
			})
		}
	case "tasks/get", "tasks/result", "tasks/cancel", "tasks/update", "tasks/list":
		return g.ownTask(ctx, pa, method, params)
	}
	return pa
}

// hidden has what obligations hide hidden in what shape makes of a result.
func (pa *Passage) hidden(shape func(context.Context, object) (json.RawMessage, *Error)) func(context.Context, object) (json.RawMessage, *Error) {
	if pa.permit == nil || !pa.permit.Whole() {
		return shape
	}
	return func(ctx context.Context, result object) (json.RawMessage, *Error) {
		raw, failed := shape(ctx, result)
		if failed != nil {
			return nil, failed
		}
		o, err := readObject(raw)
		if err != nil {
			return nil, withheld()
		}
		return pa.seen(o)
	}
}

// Limit returns a context that ends when what the Passage stands on does: an approval may end while the act is under way. The act
// is to be broken off then.
func (pa *Passage) Limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if pa.permit == nil || pa.permit.Until().IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, pa.permit.Until())
}

// begin uses the permit up. If that cannot be, the Passage is an answer.
func (pa *Passage) begin(ctx context.Context, permit *client.Permit) bool {
	_, cancel, err := permit.Begin(ctx)
	if err != nil {
		pa.refuse(pa.g.classify(ctx, err))
		return false
	}
	pa.permit, pa.cancel, pa.began = permit, cancel, pa.g.now()
	pa.Whole = permit.Whole()
	return true
}

// refuse makes the Passage an answer.
func (pa *Passage) refuse(r *refusal) *Passage {
	pa.Forward, pa.Answer = nil, r.frame(pa.id)
	return pa
}

// refuseCall is refuse of a tools/call.
func (pa *Passage) refuseCall(r *refusal) *Passage {
	pa.Forward, pa.Answer = nil, r.toolFrame(pa.id, pa.version)
	return pa
}

// Result returns what the client sees of a response: with what obligations hide hidden, lists filtered, and what
// only this gateway may say taken out. The outcome is reported.
func (pa *Passage) Result(ctx context.Context, f *Frame) *Frame {
	out := &Frame{ID: pa.id, Result: f.Result, Error: f.Error}
	size := int64(len(f.Result))
	if f.Error != nil {
		if data, ours := withoutRefusal(f.Error.Data); ours {
			pa.g.log.WarnContext(ctx, "what only the gateway says was taken out of a server's error")
			out.Error = &Error{Code: f.Error.Code, Message: f.Error.Message, Data: data}
		}
		if pa.permit != nil && pa.permit.Whole() {
			out.Error = withheld()
		}
		if pa.held != nil {
			out.Result, out.Error = pa.held.broken(pa, out.Error, pa.g.now())
		}
		pa.end(ctx, client.Outcome{Fault: client.FaultTool})
		return out
	}
	result, err := readObject(f.Result)
	if err != nil {
		out.Result, out.Error = nil, &Error{Code: codeInternal, Message: "The server's answer cannot be read"}
		pa.end(ctx, client.Outcome{Fault: client.FaultTool, Size: size})
		return out
	}
	o := client.Outcome{Size: size}
	if string(result.get("isError")) == "true" {
		o.Fault = client.FaultTool
	}
	if withoutOurs(&result) {
		pa.g.log.WarnContext(ctx, "what only the gateway says was taken out of a server's answer")
		out.Result = result.json()
	}
	if pa.Forward != nil && pa.Forward.Method == "tools/call" {
		pa.g.makers.madeIn(result, callerKey(pa.p.Who))
	}
	if pa.shape == nil && pa.permit != nil && pa.permit.Whole() {
		pa.shape = func(_ context.Context, result object) (json.RawMessage, *Error) { return pa.seen(result) }
	}
	if pa.shape != nil {
		if out.Result, out.Error = pa.shape(ctx, result); out.Error != nil {
			out.Result = nil
		}
	}
	pa.end(ctx, o)
	return out
}

// Streamed says that a response has gone to the client as it came, with so many bytes, or that it failed: the
// outcome is reported.
func (pa *Passage) Streamed(bytes int64, err error) {
	o := client.Outcome{Size: bytes}
	if err != nil {
		o.Fault = client.FaultTool
	}
	pa.end(context.Background(), o)
}

// end reports the outcome, once, and without keeping the client waiting.
func (pa *Passage) end(ctx context.Context, o client.Outcome) {
	pa.once.Do(func() {
		if pa.cancel != nil {
			pa.cancel()
		}
		if pa.held != nil {
			pa.held.broken(pa, &Error{Code: codeInternal, Message: "The call was cut off: what came of it is not known"}, pa.g.now())
		}
		if pa.permit == nil {
			return
		}
		o.Latency = max(pa.g.now().Sub(pa.began), time.Nanosecond)
		g, permit := pa.g, pa.permit // the Passage may become another's
		report := func() {
			if err := permit.Done(context.WithoutCancel(ctx), o); err != nil {
				g.log.Warn("what came of an act could not be reported", "decisions", strings.Join(permit.Decisions(), " "), "error", err)
			}
		}
		if g.cfg.Gateway.Prompt(permit) {
			report()
			return
		}
		select {
		case g.outcomes <- struct{}{}:
			g.wait.Go(func() {
				defer func() { <-g.outcomes }()
				report()
			})
		default: // too many are under way: this one is waited for
			report()
		}
	})
}

// resolve makes the questions of a mapping.
func (g *Gate) resolve(ctx context.Context, m *coaz.Mapping, p *Peer, params object, what string) ([]authz.Request, *refusal) {
	if names, all := m.Reads(); !all {
		params = params.only(names)
	}
	vars, err := coaz.Variables(params.json())
	if err != nil {
		return nil, &refusal{code: codeParams, message: err.Error()}
	}
	r, err := m.Resolve(coaz.Input{Params: vars, Token: g.claims(p.Who), Server: g.cfg.Resource, Claim: g.cfg.Options.IdentityClaim})
	if err != nil {
		return nil, &refusal{code: codeParams, message: err.Error()}
	}
	for _, w := range r.Warnings {
		g.say(ctx, "mapping_warning", what+": "+w, map[string]any{"what": what, "warning": w})
	}
	return r.Requests, nil
}

// located adds to questions about prompts and resources which server has them.
func (g *Gate) located(reqs []authz.Request) {
	for i := range reqs {
		r := &reqs[i].Resource
		if (r.Type == "prompt" || r.Type == "resource") && len(r.Properties) == 0 {
			if server := g.cfg.Server(r.Type, r.ID); server != "" {
				r.Properties = authz.Claimed(encode(map[string]string{"server": server}))
			}
		}
	}
}

// claims are COAZ's input variable token. Where no token came, what the door knows of the caller stands for it.
func (g *Gate) claims(w *gateway.Who) map[string]any {
	if w == nil || w.Claims != nil {
		if w == nil {
			return nil
		}
		return w.Claims
	}
	if w.Subject.IsZero() {
		return nil
	}
	c := map[string]any{"sub": w.Subject.ID, "client_id": w.Subject.ID}
	if len(w.OnBehalf) > 0 {
		c["sub"] = w.OnBehalf[0].ID
	}
	return c
}

// question is what is asked: by whom the caller is, or as COAZ has it.
func (g *Gate) question(p *Peer, who *gateway.Who, reqs []authz.Request) client.Question {
	for i := range reqs {
		o := &reqs[i].Observed
		if g.cfg.Self {
			*o = authz.Observed{}
			continue
		}
		o.Session = p.Session
		if o.Task == "" {
			o.Task = g.cfg.Options.Task
		}
	}
	if g.cfg.Options.Subject != "coaz" {
		return g.cfg.Gateway.Ask(who, reqs...)
	}
	q := g.cfg.Gateway.Ask(who, reqs...)
	q.Presented = nil
	out := make([]authz.Request, len(reqs))
	for i := range reqs {
		out[i] = q.Requests[i]
		out[i].Subject, out[i].OnBehalf = reqs[i].Subject, nil
	}
	q.Requests = out
	return q
}

// permit asks whether all of reqs may happen.
func (g *Gate) permit(ctx context.Context, p *Peer, reqs []authz.Request, canTry bool) (*client.Permit, *refusal) {
	permit, err := g.cfg.Gateway.Enforcer.Permit(ctx, g.question(p, p.Who, reqs), canTry)
	if err != nil {
		return nil, g.classify(ctx, err)
	}
	return permit, nil
}

// say logs and reports something of an operator's interest, once for each text.
func (g *Gate) say(ctx context.Context, kind, text string, detail map[string]any) {
	const most = 10_000
	if _, said := g.said.LoadOrStore(kind+"\x00"+text, true); said {
		return
	}
	if g.saidSize.add() > most { // somebody makes them up
		g.said.Clear()
		g.saidSize.reset()
	}
	g.report(ctx, kind, text, detail)
}

// report logs and reports something of an operator's interest.
func (g *Gate) report(ctx context.Context, kind, text string, detail map[string]any) {
	level := slog.LevelWarn
	if kind == "tool_approved" {
		level = slog.LevelInfo
	}
	g.log.Log(ctx, level, strings.ReplaceAll(kind, "_", " "), "detail", printable(text, 500))
	if r := g.cfg.Gateway.Reports; r != nil {
		r.Report(kind, detail)
	}
}
