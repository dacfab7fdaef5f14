package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

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
func (g *Gate) call(ctx context.Context, pa *Passage, f *Frame, params object) *Passage {
	c, refused := g.readCall(params)
	if refused != nil {
		return pa.refuse(refused)
	}
	c.tasks = pa.p.Tasks || c.tasks
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
	case refused != nil && refused.down && g.cfg.Gateway.Unavailable(route(c.name), authz.ErrUnavailable):
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
	pa.Forward = f
	return pa
}

// readCall reads the params of a tools/call.
func (g *Gate) readCall(params object) (*call, *refusal) {
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
	if meta, err := readObject(params.get("_meta")); err == nil {
		if t := meta.get("progressToken"); t != nil && checkID(t) == nil {
			c.token = t
		}
		c.tasks = takesTasks(meta)
	}
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
		return &refusal{code: codeDenied, reason: "tool_new",
			message: "Access denied: the tool " + d.name + " is new on its server, and nobody has approved it yet",
			help:    "An operator can look at it and approve it: safeconduct gateway pins diff, then safeconduct gateway pins approve " + d.name + ". Calling it again before that is of no use.",
			retry:   retryNever}
	case s.changed && g.cfg.Options.OnChange != "policy":
		return &refusal{code: codeDenied, reason: "tool_changed",
			message: "Access denied: what the server says of the tool " + d.name + " is not what was approved",
			help:    "An operator can look at the difference and approve it: safeconduct gateway pins diff " + d.name + ", then safeconduct gateway pins approve " + d.name + ". Calling it again before that is of no use.",
			retry:   retryNever}
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
		if refused := add(c.tool.declared, "its declared mapping"); refused != nil || declared == "honour" {
			return all, refused
		}
	}
	m, _ := coaz.Default("tools/call")
	refused := add(m, "the default mapping")
	return all, refused
}

// complete adds to a question what policies see of every call: the arguments as the action's properties, and of the
// tool what the gateway knows; of a tool that is the resource itself as its properties, else in the context.
func (c *call) complete(r *authz.Request, properties map[string]any) error {
	if len(r.Action.Properties) == 0 && c.raw != nil {
		r.Action.Properties = authz.Claimed(c.told())
	}
	if r.Resource.Type == "tool" && r.Resource.ID == c.name {
		own, err := readObject(r.Resource.Properties)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			own.set(name, encode(properties[name])) // a server that declares a property of that name is not heard
		}
		r.Resource.Properties = authz.Claimed(own.json())
	} else {
		context, err := readObject(r.Context)
		if err != nil {
			return err
		}
		tool := maps.Clone(properties)
		tool["name"] = c.name
		context.set("tool", encode(tool))
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
		return unavailable()
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
		return unavailable()
	}
	return denied(re, ans)
}
