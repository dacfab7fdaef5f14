package coaz

import (
	"strings"
	"sync"
)

// ownServer stands for what identifies this server, in the binding's own mappings.
var ownServer any = new(struct{ _ byte })

// defaults are the binding's own mappings, by method ("Default Mappings"): what is decided about, and what stands
// in the context beside the agent.
var defaults = sync.OnceValue(func() map[string]*Mapping {
	const serverType = "mcp_server"
	out := map[string]*Mapping{}
	add := func(method, typ, id string, context map[string]any) {
		resource := map[string]any{"type": typ, "id": id}
		c := map[string]any{"agent": "$token.?client_id"}
		for name, v := range context {
			c[name] = v
		}
		body := map[string]any{
			"subject":  map[string]any{"type": "identity", "id": "$token.sub"},
			"action":   map[string]any{"name": method},
			"resource": resource,
			"context":  c,
		}
		p, err := readParts(maxCost, "evaluation", body, false)
		if err != nil {
			panic(err) // one of ours does not compile
		}
		if typ == serverType {
			for i, name := range p.resource.names {
				if name == "id" {
					p.resource.members[i] = ownServer
				}
			}
		}
		m := &Mapping{shared: p}
		m.look()
		out[method] = m
	}
	version := map[string]any{"protocol_version": "$params.protocolVersion"}
	add("initialize", serverType, "", version)
	for _, method := range []string{"server/discover", "subscriptions/listen", "tools/list", "resources/list", "resources/templates/list", "prompts/list", "tasks/list"} {
		add(method, serverType, "", nil)
	}
	add("tools/call", "tool", "$params.name", nil)
	for _, method := range []string{"resources/read", "resources/subscribe", "resources/unsubscribe"} {
		add(method, "resource", "$params.uri", nil)
	}
	add("prompts/get", "prompt", "$params.name", nil)
	add("completion/complete", "$params.ref.type == 'ref/prompt' ? 'prompt' : 'resource'",
		"$params.ref.type == 'ref/prompt' ? params.ref.name : params.ref.uri", nil)
	add("logging/setLevel", serverType, "", map[string]any{"level": "$params.level"})
	for _, method := range []string{"tasks/get", "tasks/result", "tasks/cancel", "tasks/update"} {
		add(method, "task", "$params.taskId", nil)
	}
	return out
})

// Default returns the binding's own mapping of a method. known is false if there is none: the message must be denied. A
// nil Mapping of a method that is known is a pass-through: nobody is asked, and the message proceeds.
func Default(method string) (m *Mapping, known bool) {
	if method == "ping" || strings.HasPrefix(method, "notifications/") {
		return nil, true
	}
	m, known = defaults()[method]
	return m, known
}
