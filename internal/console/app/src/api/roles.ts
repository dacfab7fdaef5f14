// Made by `npm run types` from the OpenAPI document. Do not edit.

/** The roles that may call a route, by its method and path. Routes that anybody may call are not here. */
export const roles = {
  "POST /access/v1/evaluation": [
    "pep",
    "edge",
    "administrator"
  ],
  "POST /access/v1/evaluations": [
    "pep",
    "edge",
    "administrator"
  ],
  "POST /access/v1/requests": [
    "pep",
    "edge"
  ],
  "GET /access/v1/requests/schemas/{template}": [
    "pep",
    "edge"
  ],
  "GET /access/v1/requests/{id}": [
    "pep",
    "edge"
  ],
  "DELETE /access/v1/requests/{id}/cancel": [
    "pep",
    "edge"
  ],
  "POST /access/v1/requests/{id}/cancel": [
    "pep",
    "edge"
  ],
  "POST /access/v1/search/action": [
    "pep",
    "edge",
    "administrator"
  ],
  "POST /access/v1/search/resource": [
    "pep",
    "edge",
    "administrator"
  ],
  "POST /access/v1/search/subject": [
    "pep",
    "edge",
    "administrator"
  ],
  "GET /v1/agents": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/agents/{id}": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "PUT /v1/agents/{id}": [
    "administrator"
  ],
  "GET /v1/agents/{id}/delegation": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/agents/{id}/document": [
    "administrator"
  ],
  "POST /v1/agents/{id}/enrolment": [
    "administrator"
  ],
  "GET /v1/agents/{id}/keys": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/agents/{id}/keys/revoke": [
    "administrator",
    "operator"
  ],
  "GET /v1/agents/{id}/sessions": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/agents/{id}/state": [
    "administrator",
    "operator"
  ],
  "GET /v1/agents/{id}/trust": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/agents/{id}/trust": [
    "administrator",
    "operator"
  ],
  "GET /v1/agents/{id}/trust/history": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/agents/{id}/use": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/alerts": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/alerts/preview": [
    "administrator",
    "operator"
  ],
  "PUT /v1/alerts/{id}": [
    "administrator",
    "operator"
  ],
  "POST /v1/alerts/{id}/clear": [
    "administrator",
    "operator"
  ],
  "GET /v1/approvals": [
    "administrator",
    "auditor",
    "approver"
  ],
  "POST /v1/approvals/answers": [
    "approver"
  ],
  "GET /v1/approvals/away": [
    "administrator",
    "auditor",
    "approver"
  ],
  "PUT /v1/approvals/away": [
    "administrator",
    "approver"
  ],
  "GET /v1/approvals/counts": [
    "administrator",
    "auditor",
    "approver"
  ],
  "GET /v1/approvals/stats": [
    "approver",
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/approvals/{id}": [
    "administrator",
    "auditor",
    "approver"
  ],
  "POST /v1/approvals/{id}/answer": [
    "approver"
  ],
  "POST /v1/approvals/{id}/break-glass": [
    "approver"
  ],
  "POST /v1/approvals/{id}/cancel": [
    "administrator"
  ],
  "POST /v1/approvals/{id}/challenge": [
    "approver"
  ],
  "POST /v1/approvals/{id}/review": [
    "approver"
  ],
  "POST /v1/approvals/{id}/revoke": [
    "administrator",
    "approver"
  ],
  "GET /v1/approvals/{id}/story": [
    "administrator",
    "auditor",
    "approver"
  ],
  "POST /v1/approvals/{id}/view": [
    "approver"
  ],
  "POST /v1/audit/bundle": [
    "administrator",
    "auditor"
  ],
  "GET /v1/audit/checkpoints": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/audit/entries": [
    "administrator",
    "auditor"
  ],
  "GET /v1/audit/entries/{seq}": [
    "administrator",
    "auditor"
  ],
  "GET /v1/audit/entries/{seq}/proof": [
    "administrator",
    "auditor"
  ],
  "GET /v1/audit/growth": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/callers": [
    "administrator",
    "auditor"
  ],
  "POST /v1/callers": [
    "administrator"
  ],
  "POST /v1/callers/{id}/revoke": [
    "administrator"
  ],
  "GET /v1/catalog": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/catalog/schedules/{id}/calendar": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/decisions/{id}": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/decisions/{id}/explain": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/decisions/{id}/outcome": [
    "pep",
    "edge",
    "administrator"
  ],
  "GET /v1/deliveries": [
    "administrator",
    "auditor"
  ],
  "GET /v1/deliveries/{id}": [
    "administrator",
    "auditor"
  ],
  "POST /v1/deliveries/{id}/retry": [
    "administrator"
  ],
  "GET /v1/edge/feed": [
    "edge"
  ],
  "POST /v1/edge/passport": [
    "edge"
  ],
  "GET /v1/edge/policies/{version}": [
    "edge"
  ],
  "POST /v1/edge/records": [
    "edge"
  ],
  "GET /v1/enforcement/points": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/enforcement/reports": [
    "pep",
    "edge"
  ],
  "GET /v1/findings": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/findings/counts": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/findings/{id}": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/findings/{id}/judge": [
    "administrator",
    "operator"
  ],
  "GET /v1/fleet": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/indicators": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "PUT /v1/indicators/{id}": [
    "administrator",
    "operator"
  ],
  "POST /v1/indicators/{id}/clear": [
    "administrator",
    "operator"
  ],
  "GET /v1/keys": [
    "administrator",
    "auditor"
  ],
  "GET /v1/keys/due": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/keys/rotate": [
    "administrator"
  ],
  "POST /v1/keys/{kid}/revoke": [
    "administrator"
  ],
  "GET /v1/me": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer",
    "approver",
    "pep",
    "edge"
  ],
  "GET /v1/overview": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/overview/series": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/people": [
    "administrator",
    "auditor"
  ],
  "GET /v1/people/{id}": [
    "administrator",
    "auditor"
  ],
  "PUT /v1/people/{id}": [
    "administrator"
  ],
  "POST /v1/people/{id}/enrolment": [
    "administrator"
  ],
  "POST /v1/people/{id}/link": [
    "administrator"
  ],
  "POST /v1/people/{id}/passkeys/revoke": [
    "administrator"
  ],
  "POST /v1/people/{id}/sign-out": [
    "administrator"
  ],
  "GET /v1/policies": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/policies": [
    "administrator",
    "author"
  ],
  "GET /v1/policies/active": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/policies/backtest": [
    "administrator",
    "author"
  ],
  "POST /v1/policies/check": [
    "administrator",
    "author"
  ],
  "POST /v1/policies/diff": [
    "administrator",
    "author"
  ],
  "GET /v1/policies/schema": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/policies/test": [
    "administrator",
    "author"
  ],
  "GET /v1/policies/{a}/diff/{b}": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/policies/{version}": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/policies/{version}/rollback": [
    "administrator",
    "author"
  ],
  "GET /v1/report": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/sessions/{id}": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/status": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "GET /v1/stops": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ],
  "POST /v1/stops/preview": [
    "administrator",
    "operator"
  ],
  "PUT /v1/stops/{id}": [
    "administrator",
    "operator"
  ],
  "POST /v1/stops/{id}/lift": [
    "administrator",
    "operator"
  ],
  "GET /v1/stream": [
    "administrator",
    "auditor",
    "operator",
    "author",
    "viewer"
  ]
} as const;

export type Route = keyof typeof roles;
