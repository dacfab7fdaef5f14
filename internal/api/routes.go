package api

import (
	"net/http"
	"reflect"
	"slices"
)

// routes is the one list of everything the door answers.
func (s *Server) routes() []route {
	return slices.Concat(s.authzenRoutes(), s.publicRoutes(), s.requestRoutes(), s.approvalRoutes(), s.peopleRoutes(), []route{
		// Agents.
		read("/v1/agents", readers, "List agents", s.listAgents),
		read("/v1/fleet", readers, "List agents with what a list shows of each, and count them by what they can be filtered by", s.listFleet),
		read("/v1/agents/{id}", readers, "Read one agent", s.readAgent),
		change("PUT", "/v1/agents/{id}", admins, "Register an agent, or change it", s.putAgent),
		change("POST", "/v1/agents/{id}/state", operators, "Suspend, quarantine, restore or retire an agent", s.setAgentState),

		// What agents authenticate with.
		change("POST", "/v1/agents/{id}/enrolment", admins, "Make a token with which an agent registers a key; it is shown once", s.enrolAgent),
		read("/v1/agents/{id}/keys", readers, "List the keys of an agent, also those of the past", s.listAgentKeys),
		change("POST", "/v1/agents/{id}/keys/revoke", operators, "Revoke a key of an agent, or all", s.revokeAgentKeys),
		change("POST", "/v1/agents/{id}/document", admins, "Link a client ID metadata document to an agent", s.linkDocument),
		read("/v1/keys/due", readers, "List the keys of agents that expire soon", s.dueAgentKeys),

		// Enforcement points, and decision points elsewhere.
		operation("POST", "/v1/enforcement/reports", points, "Say something of oneself: an enforcement point", maxReport, s.reportEnforcement, nil),
		read("/v1/enforcement/points", readers, "List the enforcement points, as they described themselves", s.listEnforcementPoints),
		s.feedRoute(),
		read("/v1/edge/policies/{version}", edges, "Read what a decision point decides by", s.readEdgePolicies),
		s.recordsRoute(),
		operation("POST", "/v1/edge/passport", edges, "Look at a passport whose proof is checked elsewhere", 2*maxPassport, s.lookAtPassport, nil),

		// How agents behave, and how far they are trusted.
		read("/v1/agents/{id}/trust", readers, "Explain how far an agent is trusted, and why", s.readTrust),
		change("POST", "/v1/agents/{id}/trust", operators, "Set how far an agent is trusted for a while, or restore it", s.setTrust),
		read("/v1/agents/{id}/trust/history", readers, "Read how trust in an agent moved, and what moved it", s.readTrustHistory),
		read("/v1/agents/{id}/use", readers, "Read which of its capabilities an agent used, and how far", s.readUse),
		read("/v1/agents/{id}/sessions", readers, "List the sessions of an agent, newest first", s.listAgentSessions),
		read("/v1/agents/{id}/delegation", readers, "Read who made an agent, whom it made, and who acted for whom", s.readDelegation),
		read("/v1/sessions/{id}", readers, "Read a session: calls, decisions, what came of them", s.readSession),
		read("/v1/findings", readers, "List what the monitors found, newest first", s.listFindings),
		read("/v1/findings/counts", readers, "Count findings by state, severity and kind", s.countFindings),
		read("/v1/findings/{id}", readers, "Read one finding", s.readFinding),
		change("POST", "/v1/findings/{id}/judge", operators, "Say of a finding that it was seen, is true, or is a false alarm", s.judgeFinding),
		s.streamRoute(),

		// What people and programs were told of asks.
		read("/v1/deliveries", auditors, "List what was told of asks, or could not be, newest first", s.listDeliveries),
		read("/v1/deliveries/{id}", auditors, "Read one delivery", s.readDelivery),
		change("POST", "/v1/deliveries/{id}/retry", admins, "Try a delivery again that was given up", s.retryDelivery),

		// Policies and catalog: one version number covers both.
		large(s.limits.Publish, operation("POST", "/v1/policies/check", authors, "Check policies without publishing them", 1, s.checkPolicies, nil)),
		large(s.limits.Publish, change("POST", "/v1/policies", authors, "Publish policies, a catalog, or both as one version", s.publish)),
		large(s.limits.Publish, operation("POST", "/v1/policies/test", authors, "Judge cases by a draft of policies", 1, s.testPolicies, nil)),
		large(s.limits.Publish, operation("POST", "/v1/policies/backtest", authors, "Judge recorded decisions again by a draft of policies", 1, s.backtest, nil)),
		large(s.limits.Publish, operation("POST", "/v1/policies/diff", authors, "Compare a draft of policies with the active version", 1, s.compareDraft, nil)),
		read("/v1/policies/schema", readers, "Read what the policies of a version can name", s.readVocabulary),
		read("/v1/policies/{a}/diff/{b}", readers, "Compare two versions by what they say", s.compareVersions),
		read("/v1/policies", readers, "List versions, newest first", s.listVersions),
		read("/v1/policies/active", readers, "Read the active version", s.activeVersion),
		read("/v1/policies/{version}", readers, "Read one version", s.readVersion),
		change("POST", "/v1/policies/{version}/rollback", authors, "Make an older version active again", s.rollback),
		read("/v1/catalog", readers, "Read what the organisation declares", s.readCatalog),
		read("/v1/catalog/schedules/{id}/calendar", readers, "Read when a schedule is open, day by day", s.readCalendar),

		// Risk.
		read("/v1/alerts", readers, "List alerts", s.listAlerts),
		change("PUT", "/v1/alerts/{id}", operators, "Raise an alert, or change it", s.putAlert),
		change("POST", "/v1/alerts/{id}/clear", operators, "Clear an alert", s.clearAlert),
		operation("POST", "/v1/alerts/preview", operators, "Say what an alert would change if it were raised or cleared now; it changes nothing", 1<<20, s.previewAlert, nil),
		read("/v1/indicators", readers, "List threat indicators", s.listIndicators),
		change("PUT", "/v1/indicators/{id}", operators, "Put a threat indicator", s.putIndicator),
		change("POST", "/v1/indicators/{id}/clear", operators, "Clear a threat indicator", s.clearIndicator),

		// The kill switch.
		read("/v1/stops", readers, "List what is stopped", s.listStops),
		change("PUT", "/v1/stops/{id}", operators, "Stop everything, or everything of an owner, a purpose, an agent or a capability", s.putStop),
		change("POST", "/v1/stops/{id}/lift", operators, "Lift a stop", s.liftStop),
		operation("POST", "/v1/stops/preview", operators, "Say what a stop would change if it were put or lifted now; it changes nothing", 1<<20, s.previewStop, nil),

		// Decisions and the audit log.
		serving("GET", "/v1/decisions/{id}", readers, "Read a recorded decision", 0, s.readDecision, nil),
		serving("GET", "/v1/decisions/{id}/explain", readers, "Explain a recorded decision: the operator's view", 0, s.explainDecision, nil),
		s.outcomeRoute("/v1/decisions/{id}/outcome", "Report what came of a decision"),
		read("/v1/audit/entries", auditors, "Search the log, newest first", s.searchEntries),
		read("/v1/audit/entries/{seq}", auditors, "Read one entry", s.readEntry),
		read("/v1/audit/entries/{seq}/proof", auditors, "Prove that an entry is in the log", s.proveEntry),
		read("/v1/audit/growth", readers, "Prove that the log only grew since it had so many batches", s.proveGrowth),
		read("/v1/audit/checkpoints", readers, "List signed checkpoints, newest first", s.listCheckpoints),
		s.bundleRoute("/v1/audit/bundle", "Export entries with their proofs, as an archive that stands for itself; the export is recorded"),

		// Callers.
		read("/v1/callers", auditors, "List who may call", s.listCallers),
		change("POST", "/v1/callers", admins, "Make a caller; its token is shown once", s.createCaller),
		change("POST", "/v1/callers/{id}/revoke", admins, "Revoke a caller's token", s.revokeCaller),

		// The server's own signing keys.
		read("/v1/keys", auditors, "List the server's signing keys", s.listKeys),
		change("POST", "/v1/keys/rotate", admins, "Publish the next signing keys, or sign with them at once", s.rotateKeys),
		change("POST", "/v1/keys/{kid}/revoke", admins, "Revoke a signing key: nothing that it signed counts any more", s.revokeKey),

		s.meRoute(),
		// What one should see first, and what the business should know.
		read("/v1/overview", readers, "Read what one should see first", s.readOverview),
		read("/v1/overview/series", readers, "Read the figures of a window step by step", s.readSeries),
		s.reportRoute(),
		read("/v1/status", readers, "Read the state of the service", s.readStatus),
	})
}

// authzenRoutes are those of the AuthZEN Authorization API 1.0.
func (s *Server) authzenRoutes() []route {
	authzen := func(path, summary string, in, out reflect.Type, f func(http.ResponseWriter, *http.Request, *call) error) route {
		return route{
			method: "POST", path: path, roles: deciders, summary: summary, limit: s.limits.Body, serve: f,
			doc: operationDoc{in: in, out: out, hasBody: true, open: true},
		}
	}
	single := authzen("/access/v1/evaluation", "Decide one request", reflect.TypeFor[EvaluationRequest](), reflect.TypeFor[EvaluationResponse](), s.evaluation)
	batch := authzen("/access/v1/evaluations", "Decide several requests", reflect.TypeFor[EvaluationsRequest](), reflect.TypeFor[EvaluationsResponse](), s.evaluations)
	single.decides, batch.decides = true, true
	single.agents, batch.agents = true, true
	search := reflect.TypeFor[SearchRequest]()
	return []route{
		single,
		batch,
		authzen("/access/v1/search/subject", "Find subjects that may do an action on a resource", search, reflect.TypeFor[EntitySearchResponse](), s.searchSubject),
		authzen("/access/v1/search/resource", "Find resources on which a subject may do an action", search, reflect.TypeFor[EntitySearchResponse](), s.searchResource),
		authzen("/access/v1/search/action", "Find actions that a subject may do on a resource", search, reflect.TypeFor[ActionSearchResponse](), s.searchAction),
		{method: "GET", path: wellKnownPath, summary: "Metadata of this policy decision point", serve: s.serveMetadata,
			doc: operationDoc{out: reflect.TypeFor[Metadata]()}},
	}
}

// publicRoutes need no token. What they tell is meant for everybody who can reach the port: whether
// the service is well, numbers without names, and what proves the log's history.
func (s *Server) publicRoutes() []route {
	text := operationDoc{media: "text/plain"}
	return []route{
		{method: "GET", path: "/healthz", summary: "Whether the process is alive", serve: s.healthz, doc: operationDoc{out: reflect.TypeFor[Health]()}},
		{method: "GET", path: "/readyz", summary: "Whether the service can decide", serve: s.readyz, doc: operationDoc{out: reflect.TypeFor[Health]()}},
		{method: "GET", path: "/metrics", summary: "Numbers, as Prometheus reads them", serve: pass(s.MetricsPage), doc: text},
		{method: "GET", path: "/checkpoint", summary: "The log's newest signed checkpoint", serve: pass(s.Tiles), doc: text},
		{method: "GET", path: "/tile/{path...}", summary: "A tile of the log's Merkle tree (C2SP tlog-tiles)", serve: pass(s.Tiles), doc: operationDoc{media: "application/octet-stream", params: []parameter{{name: "path", inPath: true, typ: reflect.TypeFor[string]()}}}},
		{method: "GET", path: "/v1/audit/key", summary: "The key that verifies the log's checkpoints", serve: s.serveKey, doc: operationDoc{out: reflect.TypeFor[VerifierKey]()}},
		{method: "GET", path: "/openapi.json", summary: "This document", serve: s.serveOpenAPI, doc: operationDoc{out: reflect.TypeFor[map[string]any]()}},
	}
}

// pass makes a route's function of a handler that writes its own answers.
func pass(h http.Handler) func(http.ResponseWriter, *http.Request, *call) error {
	return func(w http.ResponseWriter, r *http.Request, _ *call) error {
		w.Header().Del("Cache-Control")
		h.ServeHTTP(w, r)
		return nil
	}
}

// large gives a route a larger bound of its body.
func large(limit int64, rt route) route {
	rt.limit = limit
	return rt
}
