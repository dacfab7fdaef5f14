package server_test

import "strings"

// access is who may call what, written out: it is compared with the OpenAPI document, and with what happens. A change of it is
// a change of who may do what.
var access = []struct {
	roles    string // that open the routes
	sessions bool   // whether to those who have them by the session of a browser, too
	routes   string
}{
	{"administrator auditor operator author viewer", true, `
		GET /v1/agents
		GET /v1/agents/{id}
		GET /v1/agents/{id}/delegation
		GET /v1/agents/{id}/keys
		GET /v1/agents/{id}/sessions
		GET /v1/agents/{id}/trust
		GET /v1/agents/{id}/trust/history
		GET /v1/agents/{id}/use
		GET /v1/alerts
		GET /v1/audit/checkpoints
		GET /v1/audit/growth
		GET /v1/catalog
		GET /v1/catalog/schedules/{id}/calendar
		GET /v1/decisions/{id}
		GET /v1/decisions/{id}/explain
		GET /v1/enforcement/points
		GET /v1/findings
		GET /v1/findings/counts
		GET /v1/findings/{id}
		GET /v1/fleet
		GET /v1/indicators
		GET /v1/keys/due
		GET /v1/overview
		GET /v1/overview/series
		GET /v1/policies
		GET /v1/policies/active
		GET /v1/policies/schema
		GET /v1/policies/{a}/diff/{b}
		GET /v1/policies/{version}
		GET /v1/report
		GET /v1/sessions/{id}
		GET /v1/status
		GET /v1/stops
		GET /v1/stream`},
	{"administrator auditor", true, `
		GET /v1/audit/entries
		GET /v1/audit/entries/{seq}
		GET /v1/audit/entries/{seq}/proof
		POST /v1/audit/bundle
		GET /v1/callers
		GET /v1/deliveries
		GET /v1/deliveries/{id}
		GET /v1/keys
		GET /v1/people
		GET /v1/people/{id}`},
	{"administrator operator", true, `
		POST /v1/agents/{id}/keys/revoke
		POST /v1/agents/{id}/state
		POST /v1/agents/{id}/trust
		PUT /v1/alerts/{id}
		POST /v1/alerts/{id}/clear
		POST /v1/alerts/preview
		POST /v1/findings/{id}/judge
		PUT /v1/indicators/{id}
		POST /v1/indicators/{id}/clear
		PUT /v1/stops/{id}
		POST /v1/stops/{id}/lift
		POST /v1/stops/preview`},
	{"administrator author", true, `
		POST /v1/policies
		POST /v1/policies/backtest
		POST /v1/policies/check
		POST /v1/policies/diff
		POST /v1/policies/test
		POST /v1/policies/{version}/rollback`},
	{"administrator", true, `
		PUT /v1/agents/{id}
		POST /v1/agents/{id}/document
		POST /v1/agents/{id}/enrolment
		POST /v1/approvals/{id}/cancel
		POST /v1/callers
		POST /v1/callers/{id}/revoke
		POST /v1/deliveries/{id}/retry
		POST /v1/keys/rotate
		POST /v1/keys/{kid}/revoke
		PUT /v1/people/{id}
		POST /v1/people/{id}/enrolment
		POST /v1/people/{id}/link
		POST /v1/people/{id}/passkeys/revoke
		POST /v1/people/{id}/sign-out`},
	{"administrator auditor approver", true, `
		GET /v1/approvals
		GET /v1/approvals/away
		GET /v1/approvals/counts
		GET /v1/approvals/{id}
		GET /v1/approvals/{id}/story`},
	{"administrator auditor operator author viewer approver", true, `
		GET /v1/approvals/stats`},
	{"administrator approver", true, `
		PUT /v1/approvals/away
		POST /v1/approvals/{id}/revoke`},
	{"approver", true, `
		POST /v1/approvals/answers
		POST /v1/approvals/{id}/answer
		POST /v1/approvals/{id}/break-glass
		POST /v1/approvals/{id}/challenge
		POST /v1/approvals/{id}/review
		POST /v1/approvals/{id}/view`},
	{"administrator auditor operator author viewer approver pep edge", true, `
		GET /v1/me`},

	{"administrator pep edge", false, `
		POST /access/v1/evaluation
		POST /access/v1/evaluations
		POST /access/v1/search/action
		POST /access/v1/search/resource
		POST /access/v1/search/subject
		POST /v1/decisions/{id}/outcome`},
	{"pep edge", false, `
		POST /access/v1/requests
		GET /access/v1/requests/schemas/{template}
		GET /access/v1/requests/{id}
		DELETE /access/v1/requests/{id}/cancel
		POST /access/v1/requests/{id}/cancel
		POST /v1/enforcement/reports`},
	{"edge", false, `
		GET /v1/edge/feed
		POST /v1/edge/passport
		GET /v1/edge/policies/{version}
		POST /v1/edge/records`},

	{"", false, `
		GET /.well-known/authzen-configuration
		GET /checkpoint
		GET /healthz
		GET /metrics
		GET /openapi.json
		GET /readyz
		GET /tile/{path}
		GET /v1/audit/key`},
}

// An admission is to whom one route is open. Without roles it is open to everybody, without a token.
type admission struct {
	roles    []string
	sessions bool
}

// admissions returns the table by route.
func admissions() map[string]admission {
	all := map[string]admission{}
	for _, g := range access {
		for _, line := range strings.Split(strings.TrimSpace(g.routes), "\n") {
			all[strings.TrimSpace(line)] = admission{strings.Fields(g.roles), g.sessions}
		}
	}
	return all
}
