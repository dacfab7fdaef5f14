// Package enforcing finds enforcement points that let through what nobody decided, and tools that are no longer what
// they were when somebody looked at them. It goes by what enforcement points say of themselves: one that says
// nothing is not found.
package enforcing

import (
	"fmt"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/enforcement"
)

// Kinds of finding. They are about an enforcement point, and move no agent's trust.
const (
	FailOpen    conduct.Kind = "enforcement.fail_open" // a route lets through what cannot be decided, or did
	ToolChanged conduct.Kind = "tool.changed"          // a tool's descriptor is not the one that was pinned
)

// Reported takes in the body of an enforcement.reported entry of an actor, and emits what it says against the point, and what
// of the point it is about: findings about the same are repetitions. What it cannot read it leaves to others to complain of.
func Reported(actor string, body []byte, emit func(point, about string, d conduct.Draft)) {
	r, err := enforcement.ParseReport(body)
	if err != nil {
		return
	}
	point, routes := enforcement.PointName(actor, r.Gateway), r.FailOpen()
	switch {
	case r.Kind == enforcement.AllowedUnavailable:
		emit(point, "allowed", conduct.Draft{Kind: FailOpen, Severity: conduct.High, Class: conduct.Every,
			Sentence: "Route " + conduct.Quote(routes[0]) + " of " + conduct.Quote(r.Gateway) + " let acts through that nobody had decided."})
	case len(routes) == 1:
		emit(point, "open", conduct.Draft{Kind: FailOpen, Severity: conduct.Medium, Class: conduct.Every,
			Sentence: "Route " + conduct.Quote(routes[0]) + " of " + conduct.Quote(r.Gateway) + " lets acts through when no decision can be had."})
	case len(routes) > 1:
		emit(point, "open", conduct.Draft{Kind: FailOpen, Severity: conduct.Medium, Class: conduct.Every,
			Sentence: fmt.Sprintf("Routes of %s let acts through when no decision can be had: %d, of which one is %s.", conduct.Quote(r.Gateway), len(routes), conduct.Quote(routes[0]))})
	case r.Kind == enforcement.ToolChanged:
		server, tool := r.Tool()
		emit(point, server+"/"+tool, conduct.Draft{Kind: ToolChanged, Severity: conduct.High, Class: conduct.Every,
			Sentence: "Tool " + conduct.Quote(tool) + " of server " + conduct.Quote(server) + " behind " + conduct.Quote(r.Gateway) + " is not the one that was pinned."})
	}
}
