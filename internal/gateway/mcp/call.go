package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway/coaz"
)

// A call is one tools/call that is judged.
type call struct {
	name      string
	tool      *descriptor
	options   Tool
	changed   bool
	params    object
	arguments object
	raw       json.RawMessage // the arguments as they came; nil if there are none
	reqs      []authz.Request
	canTry    bool
	token     json.RawMessage // progressToken; nil if there is none
	task      json.RawMessage // the member task (2025-11-25); nil if there is none
	tasks     bool            // the client takes tasks (2026-07-28)
}

// call judges a tools/call.
func (g *Gate) call(ctx context.Context, pa *Passage, f *Frame, params, meta object) *Passage {
	if string(params.get("arguments")) == "null" { // as some write that there are none
		params.drop(func(name string) bool { return name == "arguments" })
		f = &Frame{ID: f.ID, Method: f.Method, Params: params.json()}
	}
	c, refused := g.readCall(params, meta)
	if refused != nil {
		return pa.refuse(refused)
	}
	c.tasks = (pa.p.Tasks || c.tasks) && pa.version >= statelessVersion // earlier clients ask for one with the call
	d, s, err := g.tool(ctx, pa.p, c.name)
	switch {
	case err != nil:
		g.log.ErrorContext(ctx, "a tool's descriptor is not known", "tool", c.name, "error", err)
		return pa.refuse(&refusal{code: codeInternal, message: "What the server says of its tools cannot be had or compared: the call is refused"})
	case d == nil:
		return pa.refuse(&refusal{code: codeParams, message: "Unknown tool: " + c.name})
	}
	c.tool, c.changed = d, s.changed
	if r := g.pinned(s, d); r != nil {
		return pa.refuseCall(r)
	}
	if c.reqs, refused = g.questions(ctx, pa.p, c); refused != nil {
		return pa.refuse(refused)
	}
	permit, refused := g.permitCall(ctx, pa, c)
	switch {
	case pa.Answer != nil: // a task
		return pa
	case refused != nil && refused.down && refused.cause != nil && g.cfg.Gateway.Unavailable(route(c.name), refused.cause):
		pa.Forward = f
		return pa
	case refused != nil:
		return pa.refuseCall(refused)
	}
	if !pa.begin(ctx, permit) {
		return pa
	}
	return g.passOn(pa, f, c)
}

// passOn lets a call through that is permitted.
func (g *Gate) passOn(pa *Passage, f *Frame, c *call) *Passage {
	params := append(object(nil), c.params...)
	if pa.permit.Tried() {
		arguments := append(object(nil), c.arguments...)
		arguments.set(c.options.DryRun.Argument, encode(c.options.DryRun.Value))
		params.set("arguments", arguments.json())
		f = &Frame{ID: f.ID, Method: f.Method, Params: params.json()}
	}
	// Whose result is to be changed must not become a task of the server's: the result would come another way.
	if c.task != nil && (pa.Whole || g.asTask(c)) {
		params.drop(func(name string) bool { return name == "task" })
		f = &Frame{ID: f.ID, Method: f.Method, Params: params.json()}
		if g.asTask(c) {
			g.done(pa, c)
		}
	}
	if g.cfg.Shared && (c.task != nil || c.tasks) { // it must be seen who has made a task
		pa.Whole = true
	}
	pa.Forward = f
	return pa
}

// readCall reads the params of a tools/call, whose _meta was read before.
func (g *Gate) readCall(params, meta object) (*call, *refusal) {
	bad := func(why string) (*call, *refusal) {
		return nil, &refusal{code: codeParams, message: "Invalid params: " + why}
	}
	c := &call{params: params}
	name, ok := text(params.get("name"))
	if !ok {
		return bad("the tool has no name")
	}
	if err := checkName(name); err != nil {
		return bad("the tool's name cannot be used: " + err.Error())
	}
	c.name, c.options = name, g.cfg.Options.Tools[name]
	if raw := params.get("arguments"); raw != nil {
		var err error
		if c.arguments, err = readObject(raw); err != nil {
			return bad("the arguments are no object")
		}
		c.raw = raw
	}
	if t := meta.get("progressToken"); t != nil && checkID(t) == nil {
		c.token = t
	}
	c.tasks = takesTasks(meta)
	if t := params.get("task"); t != nil {
		if t[0] != '{' {
			return bad("task is no object")
		}
		c.task = t
	}
	c.canTry = c.options.DryRun != nil
	return c, nil
}

// pinned returns why a tool is not to be called, whatever policies say; nil if it may.
func (g *Gate) pinned(s standing, d *descriptor) *refusal {
	switch {
	case s.isNew:
		return &refusal{code: codeDenied, reason: "tool_new", retry: retryNever, help: g.approving(d.name),
			message: "Access denied: the tool " + d.name + " is new on its server, and nobody has approved it yet"}
	case s.changed && g.cfg.Options.OnChange != "policy":
		return &refusal{code: codeDenied, reason: "tool_changed", retry: retryNever, help: g.approving(d.name),
			message: "Access denied: what the server says of the tool " + d.name + " is not what was approved"}
	}
	return nil
}

// approving says how an operator approves a tool.
func (g *Gate) approving(tool string) string {
	const again = " Calling it again before that is of no use."
	flags := g.cfg.PinsFlags
	if path := g.cfg.Pins.Path(); flags == "" && path != "" {
		flags = "--pins " + Quote(path)
	}
	if flags == "" {
		return "An operator has to look at it: this gateway remembers what servers said of their tools only until it ends." + again
	}
	return "An operator can look at it and approve it: safeconduct gateway pins diff " + flags + " " + Quote(tool) + " shows it, and the command that approves it." + again
}

// Quote returns s as one word of a shell.
func Quote(s string) string {
	plain := s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@+=,") == ""
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// still looks again at a tool before a call that persons were waited for: what they allowed is a call of what it was then.
func (g *Gate) still(ctx context.Context, p *Peer, c *call) *refusal {
	d, s, err := g.tool(ctx, p, c.name)
	switch {
	case err != nil:
		g.log.ErrorContext(ctx, "a tool's descriptor is not known", "tool", c.name, "error", err)
		r := unavailable()
		r.message = "What the server says of its tools cannot be had or compared: the call is refused"
		return r
	case d == nil:
		return &refusal{code: codeDenied, reason: "tool_gone", retry: retryNever,
			message: "Access denied: the tool " + c.name + " has gone since a person was asked"}
	}
	if r := g.pinned(s, d); r != nil {
		return r
	}
	if d.digest != c.tool.digest {
		return &refusal{code: codeDenied, reason: "tool_changed", retry: retryApproved,
			message: "Access denied: what the server says of the tool " + c.name + " has changed since a person was asked",
			help:    "Repeat the call if you still want it: a person is asked anew."}
	}
	return nil
}

// questions are what is asked about a call: by the operator's mapping; else by what the server declares, the
// default, or both.
func (g *Gate) questions(ctx context.Context, p *Peer, c *call) ([]authz.Request, *refusal) {
	properties := c.tool.properties(c.changed)
	what := "tool " + c.name
	var all []authz.Request
	add := func(m *coaz.Mapping, by string) *refusal {
		reqs, refused := g.resolve(ctx, m, p, c.params, what+", "+by)
		if refused != nil {
			return refused
		}
		for i := range reqs {
			if by == byServer { // tool in the context is ours to say
				if err := withoutTool(&reqs[i]); err != nil {
					return &refusal{code: codeParams, message: "COAZ mapping error: " + err.Error()}
				}
			}
			if err := c.complete(&reqs[i], properties); err != nil {
				return &refusal{code: codeParams, message: "COAZ mapping error: " + err.Error()}
			}
		}
		all = append(all, reqs...)
		return nil
	}
	if m := g.maps.tools[c.name]; m != nil {
		refused := add(m, "the operator's mapping")
		return all, refused
	}
	declared := g.cfg.Options.Declared
	if declared != "ignore" && c.tool.badMapping != nil {
		return nil, &refusal{code: codeParams, message: c.tool.badMapping.Error()}
	}
	if c.tool.declared != nil && declared != "ignore" {
		if refused := add(c.tool.declared, byServer); refused != nil || declared == "honour" {
			return all, refused
		}
	}
	m, _ := coaz.Default("tools/call")
	refused := add(m, "the default mapping")
	return all, refused
}

// byServer is by whom a mapping is that a server declares.
const byServer = "its declared mapping"

func withoutTool(r *authz.Request) error {
	context, err := readObject(r.Context)
	if err != nil {
		return err
	}
	if context.drop(func(name string) bool { return name == "tool" }) {
		r.Context = authz.Claimed(context.json())
	}
	return nil
}

// complete adds to a question what policies see of every call: the arguments as the action's properties, and of the
// tool what the gateway knows; of a tool that is the resource itself as its properties, else in the context.
func (c *call) complete(r *authz.Request, properties object) error {
	if len(r.Action.Properties) == 0 && c.raw != nil {
		r.Action.Properties = authz.Claimed(c.told())
	}
	if r.Resource.Type == "tool" && r.Resource.ID == c.name {
		own, err := readObject(r.Resource.Properties)
		if err != nil {
			return err
		}
		for _, m := range properties {
			own.set(m.name, m.value) // a server that declares a property of that name is not heard
		}
		r.Resource.Properties = authz.Claimed(own.json())
	} else {
		context, err := readObject(r.Context)
		if err != nil {
			return err
		}
		tool := append(slices.Clip(properties), member{"name", encode(c.name)})
		context.set("tool", tool.json())
		r.Context = authz.Claimed(context.json())
	}
	r.Observed.Task = c.options.Task
	return nil
}

// told are the arguments that the decision point is told.
func (c *call) told() json.RawMessage {
	if c.options.Arguments == nil {
		return c.raw
	}
	told := append(object(nil), c.arguments...)
	told.drop(func(name string) bool { return !slices.Contains(c.options.Arguments, name) })
	return told.json()
}

// mode is how persons are asked about calls of a tool.
func (g *Gate) mode(tool string) string {
	if m := g.cfg.Options.Tools[tool].Approval; m != "" {
		return m
	}
	if m := g.cfg.Options.Approvals.Mode; m != "" {
		return m
	}
	return modeRefuse
}

// classify says what an error of Permit is to the client.
func (g *Gate) classify(ctx context.Context, err error) *refusal {
	var re *client.RefusedError
	if !errors.As(err, &re) || re.Answer == nil {
		if errors.Is(err, authz.ErrInvalid) {
			return &refusal{code: codeParams, message: "The decision point does not understand the question: " + printable(err.Error(), 300)}
		}
		g.log.ErrorContext(ctx, "no decision could be had", "error", err)
		r := unavailable()
		r.cause = undecided(re)
		return r
	}
	ans := re.Answer
	for _, a := range re.Answers {
		if a != nil && !a.Allowed() {
			ans = a
			break
		}
	}
	switch {
	case ctx.Err() != nil: // whoever asked has gone: that is no reason to let anything pass undecided
		r := unavailable()
		r.down = false
		return r
	case ans.Code == authz.CodeInvalid || re.Cause != nil && errors.Is(re.Cause, authz.ErrInvalid) && !ans.Allowed():
		return &refusal{code: codeParams, message: "The decision point does not understand the question: " + reasonOf(ans, re.Cause)}
	case ans.Code == authz.CodeUnavailable, re.Cause != nil && !ans.Allowed() && errors.Is(re.Cause, authz.ErrUnavailable):
		g.log.ErrorContext(ctx, "no decision could be had", "error", err)
		r := unavailable()
		r.cause = undecided(re)
		return r
	}
	return denied(re, ans)
}

// undecided returns why nobody has decided; nil if somebody has, or refuses to.
func undecided(re *client.RefusedError) error {
	if re == nil || !re.Undecided() {
		return nil
	}
	return re.Cause
}
