package mcp

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/coaz"
)

// Options are what an operator says of how messages are judged: the members of a gateway's document that speak
// of MCP. The zero Options are the strictest, but that nothing is known of any tool.
type Options struct {
	// Declared says what the mapping that a server declares for a tool (x-authzen-mapping) is worth: both (default),
	// what it asks and what would be asked without it must be allowed; honour, it stands in place of the default
	// mapping, as COAZ has it, and the server says what is asked about its own acts; ignore.
	Declared string `yaml:"declared"`
	// Subject says who is asked about: passport (default), whom the caller's token makes known to our service; coaz, the
	// identity that COAZ derives from the token, for other decision points.
	Subject string `yaml:"subject"`
	// IdentityClaim is COAZ's subject-identity claim: sub by default.
	IdentityClaim string `yaml:"identity_claim"`

	// Lists is filtered (default), what is listed is only what the caller could be allowed; or whole.
	Lists string `yaml:"lists"`
	// ListCache is how long it is remembered what a caller could be allowed: 2s by default, 10s at most.
	ListCache time.Duration `yaml:"list_cache"`

	// OnChange says what becomes of a tool whose descriptor is not the one that was pinned: refuse (default), until
	// somebody approves it; policy, only policies say.
	OnChange string `yaml:"on_change"`
	// OnNew says what becomes of a tool that appears on a server whose tools are pinned: allow (default), it is pinned as it is; or refuse,
	// until somebody approves it.
	OnNew string `yaml:"on_new"`

	// Approvals says what becomes of a call that a person could allow.
	Approvals Approvals `yaml:"approvals"`
	// Task is what kind of task the calls belong to, for Observed.Task.
	Task string `yaml:"task"`

	// PinFile is where descriptors of tools are remembered; see Pins. Without one they are forgotten at the end.
	PinFile string `yaml:"pins"`

	// Tools are those about which there is something to say, by their name as clients see it.
	Tools map[string]Tool `yaml:"tools"`
	// Methods map further methods: each to a COAZ mapping, or to the name of a method whose default mapping is used.
	Methods map[string]any `yaml:"methods"`
}

// Approvals say how persons are asked.
type Approvals struct {
	// Mode is refuse (default), the agent is told how to ask; wait, the call is held until persons have answered; or
	// task, the client gets a task if it can be given one. Where waiting ends, or no task can be given, persons have
	// been asked and the same call passes once they have said yes.
	Mode string `yaml:"mode"`
	// Wait is how long a call is held: 2m by default.
	Wait time.Duration `yaml:"wait"`
	// Progress is how often a client that waits is told so: 10s by default.
	Progress time.Duration `yaml:"progress"`
	// Justification is what persons are told, beside what is asked.
	Justification string `yaml:"justification"`
}

// A Tool is what an operator says of one.
type Tool struct {
	// Mapping is a COAZ mapping, in place of the default and of what the server declares. Action and Resource
	// are a shorter form of it: literals, or expressions after a $.
	Mapping  map[string]any `yaml:"mapping"`
	Action   string         `yaml:"action"`
	Resource *Resource      `yaml:"resource"`
	// Context is added to the question's context, under names of the operator's choice: literals, or expressions.
	Context map[string]any `yaml:"context"`
	// Arguments are the only ones that the decision point is told; all by default. Those that are left out cannot
	// be decided about.
	Arguments []string `yaml:"arguments"`
	// Task is as Options.Task.
	Task string `yaml:"task"`
	// Approval is the mode for this tool.
	Approval string `yaml:"approval"`
	// DryRun says how the tool is tried without effect: without it the obligation dry-run refuses the call.
	DryRun *DryRun `yaml:"dry_run"`
	// OnUnavailable is refuse (default), or allow: the call passes undecided while nobody can decide. It needs the
	// flag --allow-fail-open, and is reported.
	OnUnavailable string `yaml:"on_unavailable"`
}

// A Resource is what a tool acts on.
type Resource struct {
	Type string `yaml:"type"`
	ID   string `yaml:"id"`
}

// A DryRun is an argument that has a tool do nothing.
type DryRun struct {
	Argument string `yaml:"argument"`
	Value    any    `yaml:"value"`
}

// Modes of Approvals.
const (
	modeRefuse = "refuse"
	modeWait   = "wait"
	modeTask   = "task"
)

// Bounds of Options.
const (
	defaultListCache = 2 * time.Second
	maxListCache     = 10 * time.Second
	defaultWait      = 2 * time.Minute
	defaultProgress  = 10 * time.Second
)

// Check adds to ps what is wrong with o.
func (o *Options) Check(ps *gateway.Problems) {
	oneOf := func(path, value string, all ...string) {
		if value != "" && !slices.Contains(all, value) {
			ps.Add(path, "is one of %v, not %.40q", all, value)
		}
	}
	oneOf("declared", o.Declared, "both", "honour", "ignore")
	oneOf("subject", o.Subject, "passport", "coaz")
	oneOf("lists", o.Lists, "filtered", "whole")
	oneOf("on_change", o.OnChange, "refuse", "policy")
	oneOf("on_new", o.OnNew, "allow", "refuse")
	oneOf("approvals.mode", o.Approvals.Mode, modeRefuse, modeWait, modeTask)
	if o.ListCache < 0 || o.ListCache > maxListCache {
		ps.Add("list_cache", "is between 0 and %s", maxListCache)
	}
	if o.Approvals.Wait < 0 || o.Approvals.Progress < 0 {
		ps.Add("approvals", "no time is negative")
	}
	for _, name := range slices.Sorted(maps.Keys(o.Tools)) {
		t := o.Tools[name]
		path := "tools." + name
		oneOf(path+".approval", t.Approval, modeRefuse, modeWait, modeTask)
		oneOf(path+".on_unavailable", t.OnUnavailable, "refuse", "allow")
		if err := checkName(name); err != nil {
			ps.Add(path, "no tool has that name: %v", err)
		}
		if t.DryRun != nil && t.DryRun.Argument == "" {
			ps.Add(path+".dry_run.argument", "is missing")
		}
	}
	if _, err := o.compile(); err != nil {
		ps.Add("tools", "%v", err)
	}
}

// FailOpen returns names of what may pass undecided while nobody can decide, for gateway.Options.
func (o *Options) FailOpen() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(o.Tools)) {
		if o.Tools[name].OnUnavailable == "allow" {
			names = append(names, route(name))
		}
	}
	return names
}

// route is what the gateway's health page calls a tool.
func route(tool string) string { return "tool " + tool }

// compiled are the mappings of Options.
type compiled struct {
	tools   map[string]*coaz.Mapping
	methods map[string]*coaz.Mapping
}

func (o *Options) compile() (*compiled, error) {
	c := &compiled{map[string]*coaz.Mapping{}, map[string]*coaz.Mapping{}}
	for name, t := range o.Tools {
		m, err := t.mapping()
		if err != nil {
			return nil, fmt.Errorf("the mapping of tool %q: %w", name, err)
		}
		if m != nil {
			c.tools[name] = m
		}
	}
	for method, v := range o.Methods {
		m, err := methodMapping(v)
		if err != nil {
			return nil, fmt.Errorf("the mapping of method %q: %w", method, err)
		}
		c.methods[method] = m
	}
	return c, nil
}

// mapping returns the operator's mapping of a tool, nil if there is none.
func (t *Tool) mapping() (*coaz.Mapping, error) {
	if t.Mapping != nil {
		if t.Action != "" || t.Resource != nil || t.Context != nil {
			return nil, fmt.Errorf("a mapping says action, resource and context by itself")
		}
		return parseMapping(t.Mapping)
	}
	if t.Action == "" && t.Resource == nil && t.Context == nil {
		return nil, nil
	}
	body := map[string]any{"action": map[string]any{"name": "tools/call"}, "resource": map[string]any{"type": "tool", "id": "$params.name"}}
	if t.Action != "" {
		body["action"] = map[string]any{"name": t.Action}
	}
	if t.Resource != nil {
		body["resource"] = map[string]any{"type": t.Resource.Type, "id": t.Resource.ID}
	}
	if t.Context != nil {
		body["context"] = t.Context
	}
	return parseMapping(map[string]any{"evaluation": body})
}

func methodMapping(v any) (*coaz.Mapping, error) {
	switch v := v.(type) {
	case string:
		m, known := coaz.Default(v)
		if !known || m == nil {
			return nil, fmt.Errorf("%.64q is no method that has a default mapping", v)
		}
		return m, nil
	case map[string]any:
		return parseMapping(v)
	}
	return nil, fmt.Errorf("it is a mapping, or the name of a method")
}

func parseMapping(v map[string]any) (*coaz.Mapping, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return coaz.Parse(b)
}

// A Document is what an operator says of a door on standard input and output, where that is more than flags say.
type Document struct {
	gateway.Common `yaml:",inline"`
	Options        `yaml:",inline"`
}

// Check adds to ps what is wrong.
func (d *Document) Check(ps *gateway.Problems) { d.Options.Check(ps) }
