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
    "auditor"
  ],
  "GET /v1/agents/{id}": [
    "administrator",
    "auditor"
  ],
  "PUT /v1/agents/{id}": [
    "administrator"
  ],
  "POST /v1/agents/{id}/document": [
    "administrator"
  ],
  "POST /v1/agents/{id}/enrolment": [
    "administrator"
  ],
  "GET /v1/agents/{id}/keys": [
    "administrator",
    "auditor"
  ],
  "POST /v1/agents/{id}/keys/revoke": [
    "administrator"
  ],
  "POST /v1/agents/{id}/state": [
    "administrator"
  ],
  "GET /v1/agents/{id}/trust": [
    "administrator",
    "auditor"
  ],
  "POST /v1/agents/{id}/trust": [
    "administrator"
  ],
  "GET /v1/alerts": [
    "administrator",
    "auditor"
  ],
  "POST /v1/alerts/preview": [
    "administrator"
  ],
  "PUT /v1/alerts/{id}": [
    "administrator"
  ],
  "POST /v1/alerts/{id}/clear": [
    "administrator"
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
  "GET /v1/approvals/stats": [
    "administrator",
    "auditor",
    "approver"
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
    "auditor"
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
    "auditor"
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
    "auditor"
  ],
  "GET /v1/catalog/schedules/{id}/calendar": [
    "administrator",
    "auditor"
  ],
  "GET /v1/decisions/{id}": [
    "administrator",
    "auditor"
  ],
  "GET /v1/decisions/{id}/explain": [
    "administrator",
    "auditor"
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
    "auditor"
  ],
  "POST /v1/enforcement/reports": [
    "pep",
    "edge"
  ],
  "GET /v1/findings": [
    "administrator",
    "auditor"
  ],
  "GET /v1/findings/{id}": [
    "administrator",
    "auditor"
  ],
  "POST /v1/findings/{id}/judge": [
    "administrator"
  ],
  "GET /v1/indicators": [
    "administrator",
    "auditor"
  ],
  "PUT /v1/indicators/{id}": [
    "administrator"
  ],
  "POST /v1/indicators/{id}/clear": [
    "administrator"
  ],
  "GET /v1/keys": [
    "administrator",
    "auditor"
  ],
  "GET /v1/keys/due": [
    "administrator",
    "auditor"
  ],
  "POST /v1/keys/rotate": [
    "administrator"
  ],
  "POST /v1/keys/{kid}/revoke": [
    "administrator"
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
  "POST /v1/people/{id}/passkeys/revoke": [
    "administrator"
  ],
  "POST /v1/people/{id}/sign-out": [
    "administrator"
  ],
  "GET /v1/policies": [
    "administrator",
    "auditor"
  ],
  "POST /v1/policies": [
    "administrator"
  ],
  "GET /v1/policies/active": [
    "administrator",
    "auditor"
  ],
  "POST /v1/policies/backtest": [
    "administrator"
  ],
  "POST /v1/policies/check": [
    "administrator"
  ],
  "POST /v1/policies/diff": [
    "administrator"
  ],
  "GET /v1/policies/schema": [
    "administrator",
    "auditor"
  ],
  "POST /v1/policies/test": [
    "administrator"
  ],
  "GET /v1/policies/{a}/diff/{b}": [
    "administrator",
    "auditor"
  ],
  "GET /v1/policies/{version}": [
    "administrator",
    "auditor"
  ],
  "POST /v1/policies/{version}/rollback": [
    "administrator"
  ],
  "GET /v1/status": [
    "administrator",
    "auditor"
  ],
  "GET /v1/stops": [
    "administrator",
    "auditor"
  ],
  "POST /v1/stops/preview": [
    "administrator"
  ],
  "PUT /v1/stops/{id}": [
    "administrator"
  ],
  "POST /v1/stops/{id}/lift": [
    "administrator"
  ],
  "GET /v1/stream": [
    "administrator",
    "auditor"
  ]
} as const;

export type Route = keyof typeof roles;
