package policy

import (
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// bar returns the code by which an agent's request is refused whatever the policies say, or "". A
// passport is never more than what its bearer may do: an agent carries only what it was granted, and
// does under a passport only what that carries. What no capability of the agent covers is for the
// policies alone.
func (q *query) bar(req *authz.Request) string {
	g := q.grant
	if g == nil || len(g.Within) > 0 {
		return ""
	}
	switch {
	case req.Observed.Passport != nil && len(g.Exceeded) > 0 && !slices.ContainsFunc(g.Exceeded, func(e string) bool {
		return carried(g, e[:max(0, strings.IndexByte(e, '/'))])
	}):
		return authz.CodePassport
	case req.Action.Name == authz.ActionIssue && q.resource.typ == capabilityEntity:
		return authz.CodeNoPermit
	}
	return ""
}

// carried reports whether nothing of the passport stands in the way of a capability.
func carried(g *authz.Grant, capability string) bool {
	return !slices.ContainsFunc(g.Exceeded, func(e string) bool {
		rest, ok := strings.CutPrefix(e, capability+"/passport")
		return ok && (rest == "" || rest[0] == '.')
	})
}
