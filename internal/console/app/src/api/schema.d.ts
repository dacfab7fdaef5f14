// Made by `npm run types` from the OpenAPI document. Do not edit.

export interface paths {
    "/.well-known/authzen-configuration": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Metadata of this policy decision point */
        get: operations["getWellKnownAuthzenConfiguration"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access/v1/evaluation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Decide one request */
        post: operations["postAccessV1Evaluation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access/v1/evaluations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Decide several requests */
        post: operations["postAccessV1Evaluations"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access/v1/requests": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ask about a refusal that persons can lift */
        post: operations["postAccessV1Requests"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access/v1/requests/schemas/{template}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read what a request may add */
        get: operations["getAccessV1RequestsSchemasTemplate"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access/v1/requests/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read how far a request has come */
        get: operations["getAccessV1RequestsId"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access/v1/requests/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Cancel a request that waits */
        post: operations["postAccessV1RequestsIdCancel"];
        /** Cancel a request that waits */
        delete: operations["deleteAccessV1RequestsIdCancel"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access/v1/search/action": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Find actions that a subject may do on a resource */
        post: operations["postAccessV1SearchAction"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access/v1/search/resource": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Find resources on which a subject may do an action */
        post: operations["postAccessV1SearchResource"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access/v1/search/subject": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Find subjects that may do an action on a resource */
        post: operations["postAccessV1SearchSubject"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/checkpoint": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The log's newest signed checkpoint */
        get: operations["getCheckpoint"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the process is alive */
        get: operations["getHealthz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Numbers, as Prometheus reads them */
        get: operations["getMetrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This document */
        get: operations["getOpenapiJson"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the service can decide */
        get: operations["getReadyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/tile/{path}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A tile of the log's Merkle tree (C2SP tlog-tiles) */
        get: operations["getTilePath"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List agents */
        get: operations["getAgents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read one agent */
        get: operations["getAgentsId"];
        /** Register an agent, or change it */
        put: operations["putAgentsId"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/delegation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read who made an agent, whom it made, and who acted for whom */
        get: operations["getAgentsIdDelegation"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/document": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Link a client ID metadata document to an agent */
        post: operations["postAgentsIdDocument"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/enrolment": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make a token with which an agent registers a key; it is shown once */
        post: operations["postAgentsIdEnrolment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the keys of an agent, also those of the past */
        get: operations["getAgentsIdKeys"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/keys/revoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Revoke a key of an agent, or all */
        post: operations["postAgentsIdKeysRevoke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the sessions of an agent, newest first */
        get: operations["getAgentsIdSessions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/state": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Suspend, quarantine, restore or retire an agent */
        post: operations["postAgentsIdState"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/trust": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Explain how far an agent is trusted, and why */
        get: operations["getAgentsIdTrust"];
        put?: never;
        /** Set how far an agent is trusted for a while, or restore it */
        post: operations["postAgentsIdTrust"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/trust/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read how trust in an agent moved, and what moved it */
        get: operations["getAgentsIdTrustHistory"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/agents/{id}/use": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read which of its capabilities an agent used, and how far */
        get: operations["getAgentsIdUse"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/alerts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List alerts */
        get: operations["getAlerts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/alerts/preview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Say what an alert would change if it were raised or cleared now; it changes nothing */
        post: operations["postAlertsPreview"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/alerts/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Raise an alert, or change it */
        put: operations["putAlertsId"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/alerts/{id}/clear": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Clear an alert */
        post: operations["postAlertsIdClear"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List asks, newest first: a person's inbox, or all of them */
        get: operations["getApprovals"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/answers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Answer several asks for the very same */
        post: operations["postApprovalsAnswers"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/away": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List who is away, and who answers instead */
        get: operations["getApprovalsAway"];
        /** Say that a person is away and who answers instead, or is back */
        put: operations["putApprovalsAway"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/counts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Count the asks that the caller may see */
        get: operations["getApprovalsCounts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/stats": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Count asks, answers and how long they took */
        get: operations["getApprovalsStats"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read one ask: everything needed to judge it */
        get: operations["getApprovalsId"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/answer": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Say yes or no */
        post: operations["postApprovalsIdAnswer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/break-glass": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Approve alone and at once, with a reason and a review afterwards */
        post: operations["postApprovalsIdBreakGlass"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** End an ask that waits */
        post: operations["postApprovalsIdCancel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/challenge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make the digest that a passkey signs for an answer */
        post: operations["postApprovalsIdChallenge"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/review": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Say whether breaking the glass was justified */
        post: operations["postApprovalsIdReview"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/revoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Take the approvals of an ask back */
        post: operations["postApprovalsIdRevoke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/story": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Tell everything that came of an ask, by the log */
        get: operations["getApprovalsIdStory"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/view": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Record that a person looks at an ask: an answer needs it */
        post: operations["postApprovalsIdView"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/bundle": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Export entries with their proofs, as an archive that stands for itself; the export is recorded */
        post: operations["postAuditBundle"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/checkpoints": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List signed checkpoints, newest first */
        get: operations["getAuditCheckpoints"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/entries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Search the log, newest first */
        get: operations["getAuditEntries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/entries/{seq}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read one entry */
        get: operations["getAuditEntriesSeq"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/entries/{seq}/proof": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Prove that an entry is in the log */
        get: operations["getAuditEntriesSeqProof"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/growth": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Prove that the log only grew since it had so many batches */
        get: operations["getAuditGrowth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/key": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The key that verifies the log's checkpoints */
        get: operations["getAuditKey"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/callers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List who may call */
        get: operations["getCallers"];
        put?: never;
        /** Make a caller; its token is shown once */
        post: operations["postCallers"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/callers/{id}/revoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Revoke a caller's token */
        post: operations["postCallersIdRevoke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/catalog": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read what the organisation declares */
        get: operations["getCatalog"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/catalog/schedules/{id}/calendar": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read when a schedule is open, day by day */
        get: operations["getCatalogSchedulesIdCalendar"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/decisions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read a recorded decision */
        get: operations["getDecisionsId"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/decisions/{id}/explain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Explain a recorded decision: the operator's view */
        get: operations["getDecisionsIdExplain"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/decisions/{id}/outcome": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Report what came of a decision */
        post: operations["postDecisionsIdOutcome"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List what was told of asks, or could not be, newest first */
        get: operations["getDeliveries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/deliveries/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read one delivery */
        get: operations["getDeliveriesId"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/deliveries/{id}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Try a delivery again that was given up */
        post: operations["postDeliveriesIdRetry"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/edge/feed": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Follow what is decided by: server-sent events for decision points elsewhere */
        get: operations["getEdgeFeed"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/edge/passport": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Look at a passport whose proof is checked elsewhere */
        post: operations["postEdgePassport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/edge/policies/{version}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read what a decision point decides by */
        get: operations["getEdgePoliciesVersion"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/edge/records": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Upload decisions that were made elsewhere, and what came of them */
        post: operations["postEdgeRecords"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/enforcement/points": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the enforcement points, as they described themselves */
        get: operations["getEnforcementPoints"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/enforcement/reports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Say something of oneself: an enforcement point */
        post: operations["postEnforcementReports"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/findings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List what the monitors found, newest first */
        get: operations["getFindings"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/findings/counts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Count findings by state, severity and kind */
        get: operations["getFindingsCounts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/findings/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read one finding */
        get: operations["getFindingsId"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/findings/{id}/judge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Say of a finding that it was seen, is true, or is a false alarm */
        post: operations["postFindingsIdJudge"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fleet": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List agents with what a list shows of each, and count them by what they can be filtered by */
        get: operations["getFleet"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/indicators": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List threat indicators */
        get: operations["getIndicators"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/indicators/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Put a threat indicator */
        put: operations["putIndicatorsId"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/indicators/{id}/clear": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Clear a threat indicator */
        post: operations["postIndicatorsIdClear"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the server's signing keys */
        get: operations["getKeys"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/keys/due": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the keys of agents that expire soon */
        get: operations["getKeysDue"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/keys/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Publish the next signing keys, or sign with them at once */
        post: operations["postKeysRotate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/keys/{kid}/revoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Revoke a signing key: nothing that it signed counts any more */
        post: operations["postKeysKidRevoke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read who calls */
        get: operations["getMe"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/overview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read what one should see first */
        get: operations["getOverview"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/overview/series": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read the figures of a window step by step */
        get: operations["getOverviewSeries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the persons who can sign in */
        get: operations["getPeople"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read one person */
        get: operations["getPeopleId"];
        /** Make a person, change one, or disable one */
        put: operations["putPeopleId"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{id}/enrolment": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make a link by which a person registers a passkey; it is shown once */
        post: operations["postPeopleIdEnrolment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{id}/link": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make a link by which a person signs in once; it is shown once */
        post: operations["postPeopleIdLink"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{id}/passkeys/revoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Revoke a passkey of a person */
        post: operations["postPeopleIdPasskeysRevoke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{id}/sign-out": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** End every session of a person */
        post: operations["postPeopleIdSignOut"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List versions, newest first */
        get: operations["getPolicies"];
        put?: never;
        /** Publish policies, a catalog, or both as one version */
        post: operations["postPolicies"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies/active": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read the active version */
        get: operations["getPoliciesActive"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies/backtest": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Judge recorded decisions again by a draft of policies */
        post: operations["postPoliciesBacktest"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies/check": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Check policies without publishing them */
        post: operations["postPoliciesCheck"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies/diff": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Compare a draft of policies with the active version */
        post: operations["postPoliciesDiff"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies/schema": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read what the policies of a version can name */
        get: operations["getPoliciesSchema"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Judge cases by a draft of policies */
        post: operations["postPoliciesTest"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies/{a}/diff/{b}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Compare two versions by what they say */
        get: operations["getPoliciesADiffB"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies/{version}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read one version */
        get: operations["getPoliciesVersion"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policies/{version}/rollback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make an older version active again */
        post: operations["postPoliciesVersionRollback"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/report": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Report what agents did on whose behalf, what was refused and why, how often persons were asked, and what it cost in time */
        get: operations["getReport"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read a session: calls, decisions, what came of them */
        get: operations["getSessionsId"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read the state of the service */
        get: operations["getStatus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/stops": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List what is stopped */
        get: operations["getStops"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/stops/preview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Say what a stop would change if it were put or lifted now; it changes nothing */
        post: operations["postStopsPreview"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/stops/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Stop everything, or everything of an owner, a purpose, an agent or a capability */
        put: operations["putStopsId"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/stops/{id}/lift": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Lift a stop */
        post: operations["postStopsIdLift"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Follow what happens: decisions, approvals, alerts, policies, agents, findings and trust, as server-sent events */
        get: operations["getStream"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        AccessOffer: {
            /** @description opaque; to be sent back as it is */
            binding_token?: string;
            display: components["schemas"]["Display"];
            endpoint: string;
            /**
             * Format: date-time
             * @description until when it can be asked about
             */
            expires_at: string;
            /** @description JSON Schema of what a request may add */
            request_schema_url: string;
            /** @description what kind of question it is; to be sent back as it is */
            template: string;
        };
        AccessRequest: {
            /** @description left out beside items */
            action?: components["schemas"]["ActionForm"];
            callback?: components["schemas"]["CallbackForm"];
            client?: Record<string, never>;
            /** @description the context that was refused, and business_justification */
            context?: Record<string, never>;
            denial?: components["schemas"]["DenialForm"];
            /** @description several acts of one subject in one context */
            items?: components["schemas"]["AccessRequestItem"][];
            requested_access?: components["schemas"]["RequestedAccess"];
            /** @description left out beside items */
            resource?: components["schemas"]["EntityForm"];
            subject: components["schemas"]["EntityForm"];
        };
        AccessRequestItem: {
            action: components["schemas"]["ActionForm"];
            denial?: components["schemas"]["DenialForm"];
            requested_access?: components["schemas"]["RequestedAccess"];
            resource: components["schemas"]["EntityForm"];
        };
        ActDetail: {
            /** @description what a plain yes permits */
            allows: string;
            arguments: components["schemas"]["Argument"][];
            /** @description class of capability: read, write, egress, money, admin */
            class?: string;
            /** @description what the widest yes permits that the person may give, if it is wider */
            most?: string;
            /** @description the policies that refused it, in the operator's words */
            policy: components["schemas"]["PolicySaid"][];
            /** @description level of risk, when it was refused */
            risk?: string;
            sentence: string;
            /** @description in the agent, in that class, when it was refused */
            trust?: components["schemas"]["Trust"];
            /** @description its routes, and how far each has been gone for it: all must be gone to their end */
            ways: components["schemas"]["Way"][];
        };
        Action: {
            name: string;
            properties?: Record<string, never>;
        };
        ActionForm: {
            name: string;
            properties?: Record<string, never>;
        };
        ActionName: {
            name: string;
            /** @description all must be met, else this result must not be used */
            obligations?: components["schemas"]["Obligation"][];
        };
        ActionSearchResponse: {
            page?: components["schemas"]["PageResponse"];
            results: components["schemas"]["ActionName"][];
        };
        ActivityCapabilityUse: {
            /** @description the most frequent first */
            actions: components["schemas"]["ActivityCount"][];
            /** @description of them those that no other capability of the agent covers */
            alone: number;
            /** @description the largest value of each argument that is a number, of acts that were allowed */
            amounts?: {
                [key: string]: string;
            };
            /** @description of data, likewise */
            classes: components["schemas"]["ActivityCount"][];
            /** @description acts since the beginning */
            ever: number;
            /** Format: date-time */
            ever_last?: string;
            /** @description limits that stood in the way */
            exceeded?: components["schemas"]["ActivityCount"][];
            /**
             * Format: date-time
             * @description in the window
             */
            last_used?: string;
            /** @description acts that it covers, and that were refused nevertheless */
            refused: number;
            /** @description of resources, likewise */
            types: components["schemas"]["ActivityCount"][];
            /** @description acts that were allowed, and that it covers */
            used: number;
        };
        ActivityCount: {
            count: number;
            name: string;
        };
        ActivitySession: {
            /** @description of the newest call */
            action?: string;
            agent: string;
            allowed: number;
            /** @description calls that were refused until persons agree, or somebody authenticates more strongly */
            asked: number;
            /** @description of them those that speak against the agent */
            bad: number;
            /** @description number of its first entry */
            begun: number;
            calls: number;
            /** Format: date-time */
            first_at: string;
            id: string;
            /** Format: date-time */
            last_at: string;
            /** @description for whom the newest call was, the nearest */
            on_behalf?: components["schemas"]["Ref"];
            /** @description reports of what came of it */
            outcomes: number;
            /** @description the enforcement point that asked last */
            pep?: string;
            /** @description number of its newest entry */
            seq: number;
            /** @description what kind of task it is */
            task?: string;
            /** @description calls with arguments from untrusted content */
            untrusted: number;
        };
        Agent: {
            as_of: number;
            capabilities: string[];
            /** Format: date-time */
            created_at: string;
            creator: string;
            id: string;
            labels?: {
                [key: string]: string;
            };
            owner: string;
            purpose: string;
            revision: number;
            /** @enum {string} */
            state: "active" | "suspended" | "quarantined" | "retired";
            state_reason?: string;
            /** Format: date-time */
            updated_at: string;
            version: string;
        };
        AgentBrief: {
            id: string;
            owner: string;
            purpose: string;
            /** @enum {string} */
            state: "active" | "suspended" | "quarantined" | "retired";
            /** @description the lowest level over the classes, or unknown */
            trust: string;
        };
        AgentKey: {
            agent: string;
            as_of: number;
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            expires_at?: string;
            id: string;
            jwk?: unknown;
            kind: string;
            replaces?: string;
            /** Format: date-time */
            revoked_at?: string;
            since: number;
            /** @description active, expired or revoked */
            state: string;
            why: string;
        };
        AgentKeys: {
            /** @description a token that was made and not used yet */
            enrolment?: components["schemas"]["PendingEnrolment"];
            /** @description the oldest first */
            items: components["schemas"]["AgentKey"][];
            /** @description a token with which a client replaces its key (RFC 7592) */
            registration?: components["schemas"]["RegistrationToken"];
        };
        AgentList: {
            items: components["schemas"]["Agent"][];
            next?: string;
        };
        AgentSessions: {
            /** @description number of the newest log entry that was taken in */
            as_of: number;
            items: components["schemas"]["ActivitySession"][];
            next?: string;
        };
        AgentSummary: {
            /** @description how many it is granted */
            capabilities: number;
            /** Format: date-time */
            created_at: string;
            /** @description in the last seven days, today included */
            decisions: number;
            /** @description that are open */
            findings: number;
            /** @description severity of the gravest open finding */
            gravest?: string;
            id: string;
            /**
             * Format: date-time
             * @description when the last active key expires; left out if one does not
             */
            key_expires?: string;
            /**
             * Format: date-time
             * @description when the newest active key was registered
             */
            key_since?: string;
            /** @description active keys and documents that it authenticates with */
            keys: number;
            /**
             * Format: date-time
             * @description when it was given a decision last
             */
            last_seen?: string;
            /** @description it is on probation */
            lowered?: boolean;
            owner: string;
            purpose: string;
            /** @description by its conduct, until a person restores it */
            quarantined?: boolean;
            /** @description of them refused */
            refusals: number;
            /** @description the lowest lower credible bound over the classes */
            score: number;
            /** @enum {string} */
            state: "active" | "suspended" | "quarantined" | "retired";
            state_reason?: string;
            /** @description the lowest level over the classes, or unknown */
            trust: string;
            version: string;
        };
        AgentUse: {
            agent: string;
            /** @description number of the newest log entry that was taken in */
            as_of: number;
            /** @description decisions that it was given since then */
            decided: number;
            /**
             * Format: date-time
             * @description when the agent was given a decision first
             */
            first_at?: string;
            /** @description capabilities that it used, and is not granted any more */
            former: components["schemas"]["FormerUse"][];
            /**
             * Format: date-time
             * @description what was before counts only in ever
             */
            from: string;
            /** @description by id */
            granted: components["schemas"]["GrantedUse"][];
            /** @description acts that none of its capabilities covers */
            outside: components["schemas"]["ActivityCapabilityUse"];
            /** @description of the agent that is compared */
            revision: number;
            /** Format: date-time */
            to: string;
            /** @description granted capabilities that could be taken away: not asked for since from, by an agent that is registered for a week or was given 10 decisions */
            unused: string[];
        };
        AgentView: {
            changes: components["schemas"]["Change"][];
            obligations?: components["schemas"]["Obligation"][];
            reasons: components["schemas"]["Reason"][];
            remedies: string[];
        };
        AgentsOverview: {
            quarantined_by_conduct: number;
            /** @description by state */
            states: {
                [key: string]: number;
            };
            total: number;
            /** @description by the lowest level over the classes: none, low, medium, high; unseen: of which nothing is known yet. Retired ones are among them */
            trust: {
                [key: string]: number;
            };
        };
        AlertList: {
            items: components["schemas"]["RiskAlert"][];
            next?: string;
        };
        AlertsOverview: {
            /** @description the gravest, at most 10 */
            items: components["schemas"]["RiskAlert"][];
            open: number;
            /** @description of a request that only what concerns every request bears on, with public data from a known network; score from 0 to 100 */
            risk: components["schemas"]["Risk"];
        };
        AnswerAskInput: {
            /** @description WebAuthn assertion over the digest of this answer, if the route wants one: what navigator.credentials.get returns, as JSON */
            assertion?: unknown;
            /** @description to whom it may concern; 2000 bytes at most. The agent is told of a refusal's */
            comment?: string;
            /** @description which acts, by their place in items; all, if left out */
            items?: number[];
            /** @description how far a yes goes, within what the route permits; one use of the very act, if left out */
            scope?: components["schemas"]["ApprovalScopeInput"];
            /** @description number of the entry by which the person looked at it */
            view: number;
            /** @description true approves, false refuses */
            yes: boolean;
        };
        AnswerAsksInput: {
            /** @description 2 to 50 asks for the very same */
            asks: components["schemas"]["BulkAskInput"][];
            comment?: string;
            /** @description how far a yes goes */
            scope?: components["schemas"]["ApprovalScopeInput"];
            /** @description true approves, false refuses */
            yes: boolean;
        };
        AnswerChallenge: {
            /** @description base64url: the challenge of the WebAuthn assertion */
            digest: string;
            /** @description ids of the person's passkeys, base64url: allowCredentials */
            passkeys: string[];
        };
        AnswerView: {
            /** Format: date-time */
            at: string;
            broke_glass?: boolean;
            by: string;
            comment?: string;
            /** @description whose deputy that was */
            for?: string;
            /** @description which acts; all, if left out */
            items?: number[];
            /** @description whether it was signed with a passkey */
            passkey: boolean;
            /** @description between looking and answering */
            read_ms?: number;
            routes: string[];
            scope: components["schemas"]["ApprovalScope"];
            seq: number;
            /** @description number of the entry by which it was looked at before */
            view?: number;
            /**
             * Format: date-time
             * @description since when it counts no more for acts that are not approved: who gave it, or in whose stead, was disabled
             */
            void_at?: string;
            yes: boolean;
        };
        Approval: {
            ask: string;
            by: string[];
            id: string;
            routes: string[];
            single?: boolean;
            /** Format: date-time */
            until: string;
            use?: number;
        };
        ApprovalAway: {
            as_of?: number;
            claims?: {
                [key: string]: string[];
            };
            deputy: string;
            names?: string[];
            person: string;
            /** Format: date-time */
            until?: string;
            why?: string;
        };
        ApprovalBroken: {
            /** Format: date-time */
            at: string;
            by: string;
            comment?: string;
            /** Format: date-time */
            due: string;
            reason: string;
            reviewer?: string;
            verdict?: string;
        };
        ApprovalForm: {
            /** Format: date-time */
            approved_at?: string;
            /** Format: date-time */
            approved_until: string;
            id: string;
            /** @description opaque; to be sent back as it is */
            state?: string;
        };
        ApprovalRef: {
            id: string;
            state?: unknown;
        };
        ApprovalScope: {
            amounts?: {
                [key: string]: string;
            };
            arguments?: boolean;
            class?: boolean;
            /** Format: date-time */
            until?: string;
            uses?: number;
        };
        ApprovalScopeInput: {
            amounts?: {
                [key: string]: string;
            };
            arguments?: boolean;
            class?: boolean;
            /** Format: date-time */
            until?: string;
            uses?: number;
        };
        ApprovalStanding: {
            approve: boolean;
            break_glass: boolean;
            for?: string;
            most: components["schemas"]["ApprovalScope"];
            passkey: boolean;
            refuse: boolean;
            review: boolean;
            routes: string[];
            why?: string;
        };
        ApprovalsOverview: {
            /**
             * Format: date-time
             * @description since when the oldest waits
             */
            oldest?: string;
            pending: number;
        };
        Argument: {
            /** @description prompt: a person's own words; operator: configuration; untrusted: what others can write to; unknown: nobody kept track */
            from: string;
            name: string;
            value: unknown;
        };
        AskChoice: {
            /** @description as an answer takes it */
            scope: components["schemas"]["ApprovalScope"];
            /** @description what such a yes permits; of an ask of several acts, for the first of them */
            sentence: string;
            title: string;
        };
        AskCount: {
            asks: number;
            name: string;
        };
        AskCounts: {
            /** @description likewise by agent */
            agents: components["schemas"]["AskCount"][];
            /** @description that wait for the answer of the person who calls; 0 for whoever answers nothing */
            mine: number;
            /** @description there are more than 1000: only the newest are counted */
            partial: boolean;
            /** @description broken glass that waits for a review, by the person who calls or, for readers of all, by anybody */
            review: number;
            /** @description of those that wait, by route, most first, at most 50 */
            routes: components["schemas"]["AskCount"][];
            statuses: {
                [key: string]: number;
            };
            /** @description that wait, and are an emergency, were escalated, or end within ten minutes */
            urgent: number;
        };
        AskDetail: {
            /** @description one for each of items */
            acts: components["schemas"]["ActDetail"][];
            agent?: string;
            answers?: components["schemas"]["AnswerView"][];
            as_of: number;
            /** Format: date-time */
            asked_at: string;
            /** @description the agent, as it stands now */
            asking?: components["schemas"]["AskingAgent"];
            broken_glass?: components["schemas"]["ApprovalBroken"];
            /** @description the scopes that the person who calls may give a yes, narrowest first; none if a yes would not count */
            choices: components["schemas"]["AskChoice"][];
            /** Format: date-time */
            closed_at?: string;
            /** @description what the approval is bound to besides the acts */
            context?: Record<string, never>;
            /** @description authorization_details of a ciba ask */
            details?: unknown;
            /** @description whether the requester says it is one */
            emergency?: boolean;
            /** Format: date-time */
            escalated_at?: string;
            /** Format: date-time */
            expires_at: string;
            id: string;
            /** @description the exact acts */
            items: components["schemas"]["ItemView"][];
            /** @description how often the very same was asked again */
            joined?: number;
            /** @description what the requester says; nobody has checked it */
            justification?: string;
            /** @description access, or ciba: a person authorizes a token */
            kind: string;
            /** @description binding message of a ciba ask */
            message?: string;
            /** @description for whom, nearest first */
            on_behalf?: components["schemas"]["Ref"][];
            /** @description of the agent, when it asked */
            owner?: string;
            /** @description who owned or made the agents on whose behalf it asks, when it asked */
            owners?: string[];
            pep?: string;
            /** @description who alone may answer, if it is a ciba ask */
            person?: string;
            /**
             * Format: date-time
             * @description until when the requester wishes it: an approval ends then at the latest
             */
            requested_until?: string;
            requester: string;
            /** @description whether what was approved was taken back; the status stays what it was */
            revoked?: boolean;
            /** @description the ways to the approval, and how far each has been gone */
            routes: components["schemas"]["RouteDetail"][];
            /** @description who asks for what, in one sentence; names in it are quoted and clipped */
            sentence: string;
            /** @description number of the entry that asked */
            seq: number;
            session?: string;
            /** @description ended asks of the agent for the same action on the same type of resource, newest first, of those that the caller may read */
            similar: components["schemas"]["SimilarAsk"][];
            /** @description what the person who calls may do */
            standing?: components["schemas"]["ApprovalStanding"];
            /** @description pending, approved, denied, expired, cancelled, failed, partial */
            status: string;
            /** @description who acts */
            subject: components["schemas"]["Ref"];
            /** @description what to look at twice: sentences */
            warnings: string[];
            /** @description why it was refused or ended */
            why?: string;
        };
        AskStats: {
            approved: number;
            asks: number;
            denied: number;
            expired: number;
            /** @description asks for the very same that somebody was asked already */
            joined: number;
            /** @description from ask to end, of those that a person ended */
            median_ms: number;
            p90_ms: number;
            /** @description waiting now */
            pending: number;
            /** @description by person; a person is told of nobody else */
            persons: components["schemas"]["PersonStats"][];
            /** Format: date-time */
            since: string;
            /** Format: date-time */
            until: string;
        };
        AskView: {
            agent?: string;
            answers?: components["schemas"]["AnswerView"][];
            as_of: number;
            /** Format: date-time */
            asked_at: string;
            broken_glass?: components["schemas"]["ApprovalBroken"];
            /** Format: date-time */
            closed_at?: string;
            /** @description what the approval is bound to besides the acts */
            context?: Record<string, never>;
            /** @description authorization_details of a ciba ask */
            details?: unknown;
            /** @description whether the requester says it is one */
            emergency?: boolean;
            /** Format: date-time */
            escalated_at?: string;
            /** Format: date-time */
            expires_at: string;
            id: string;
            /** @description the exact acts */
            items: components["schemas"]["ItemView"][];
            /** @description how often the very same was asked again */
            joined?: number;
            /** @description what the requester says; nobody has checked it */
            justification?: string;
            /** @description access, or ciba: a person authorizes a token */
            kind: string;
            /** @description binding message of a ciba ask */
            message?: string;
            /** @description for whom, nearest first */
            on_behalf?: components["schemas"]["Ref"][];
            /** @description of the agent, when it asked */
            owner?: string;
            /** @description who owned or made the agents on whose behalf it asks, when it asked */
            owners?: string[];
            pep?: string;
            /** @description who alone may answer, if it is a ciba ask */
            person?: string;
            /**
             * Format: date-time
             * @description until when the requester wishes it: an approval ends then at the latest
             */
            requested_until?: string;
            requester: string;
            /** @description whether what was approved was taken back; the status stays what it was */
            revoked?: boolean;
            /** @description who asks for what, in one sentence; names in it are quoted and clipped */
            sentence: string;
            /** @description number of the entry that asked */
            seq: number;
            session?: string;
            /** @description pending, approved, denied, expired, cancelled, failed, partial */
            status: string;
            /** @description who acts */
            subject: components["schemas"]["Ref"];
            /** @description why it was refused or ended */
            why?: string;
        };
        AskViewList: {
            items: components["schemas"]["AskView"][];
            next?: string;
        };
        AskViewing: {
            /** Format: date-time */
            at: string;
            /** @description number of the entry; an answer within ten minutes needs it */
            view: number;
        };
        AskingAgent: {
            creator: string;
            /** @description the newest open findings about it */
            findings: components["schemas"]["ConductFinding"][];
            id: string;
            owner: string;
            purpose: string;
            /**
             * Format: date-time
             * @description when it was registered
             */
            since: string;
            /** @enum {string} */
            state: "active" | "suspended" | "quarantined" | "retired";
            trust?: components["schemas"]["ClassTrust"][];
            version: string;
        };
        Asks: {
            hour?: number;
            pending?: number;
            session?: number;
        };
        AuditEntry: {
            actor: string;
            /** Format: date-time */
            at: string;
            body: unknown;
            kind: string;
            seq: number;
        };
        AuditEntryProof: {
            batch: number;
            batch_proof: string[];
            checkpoint: string;
            entry: string;
            leaf: string;
            log_proof: string[];
            salt: string;
        };
        AuditGrowthProof: {
            checkpoint: string;
            old: number;
            proof: string[];
        };
        Authentication: {
            acr?: string;
            amr?: string[];
            /** Format: date-time */
            auth_time?: string;
            bound?: string;
            method?: string;
            person?: string;
        };
        AwayList: {
            items: components["schemas"]["ApprovalAway"][];
            next?: string;
        };
        BacktestExample: {
            action: string;
            /** Format: date-time */
            at: string;
            id: string;
            resource: components["schemas"]["Ref"];
            subject: components["schemas"]["Ref"];
            /** @description that decided */
            version: number;
        };
        BacktestGap: {
            count: number;
            example: string;
            reason: string;
        };
        BacktestGroup: {
            after: components["schemas"]["BacktestOutcome"];
            before: components["schemas"]["BacktestOutcome"];
            count: number;
            /** @description the newest */
            examples: components["schemas"]["BacktestExample"][];
        };
        BacktestInput: {
            /** @description only those about this action */
            action?: string;
            /** @description only those of this agent */
            agent?: string;
            /** @description text of a YAML or JSON catalog document */
            catalog?: string;
            /**
             * Format: date-time
             * @description none earlier
             */
            from?: string;
            /** @description how many decisions, newest first; 1000 by default and 10000 at most */
            last?: number;
            source?: components["schemas"]["PolicySourceInput"];
        };
        BacktestOutcome: {
            code: string;
            effect: string;
            policies?: string[];
        };
        BacktestReport: {
            /** @description the active version */
            active: number;
            /** @description of those that differ, how many the active version decides as the draft does: they are no news */
            already: number;
            /** @description whether the catalog is another than that of a version that decided: what would be classified, open or granted otherwise is not seen */
            catalog_differs?: boolean;
            different: number;
            /** @description of those that differ, the largest first */
            groups: components["schemas"]["BacktestGroup"][];
            /** @description decisions that were judged again */
            judged: number;
            /** @description whether there are more groups than are listed */
            more_groups?: boolean;
            /** @description when the newest of them was made */
            newest?: string;
            oldest?: string;
            /** @description of them, those that come out with the same effect and code */
            same: number;
            /** @description why it ended: all (there are no more decisions), last (as many as asked for), time (it took too long) */
            stopped: string;
            took_ms: number;
            /** @description decisions that could not be judged again, by reason */
            unjudged: components["schemas"]["BacktestGap"][];
        };
        BreakGlassInput: {
            /** @description WebAuthn assertion over the digest of this reason, if the route wants one: ask for the challenge with break_glass */
            assertion?: unknown;
            /** @description why it cannot wait, 1 to 2000 bytes; somebody else reviews it afterwards */
            reason: string;
            /** @description number of the entry by which the person looked at it */
            view: number;
        };
        BulkAnswer: {
            results: components["schemas"]["BulkResult"][];
        };
        BulkAskInput: {
            id: string;
            /** @description number of the entry by which the person looked at it */
            view: number;
        };
        BulkResult: {
            /** @description why it was not answered */
            error?: components["schemas"]["ErrorDetail"];
            id: string;
            status?: string;
        };
        Calendar: {
            days: components["schemas"]["CalendarDay"][];
            schedule: string;
            /** @description the date in that zone */
            today: string;
            version: number;
            zone: string;
        };
        CalendarDay: {
            date: string;
            /** @description no window of the schedule begins on it */
            holiday?: boolean;
            /** @description how long the day is: not 1440 where the clocks change */
            minutes: number;
            open: components["schemas"]["CalendarOpening"][];
            /** @description by how many minutes the clocks go forward, or back if it is negative */
            shift?: number;
            weekday: string;
        };
        CalendarOpening: {
            end: number;
            /** Format: date-time */
            from: string;
            /** @description minutes that have passed since midnight */
            start: number;
            /** Format: date-time */
            to: string;
        };
        CallOutcome: {
            /** Format: date-time */
            at: string;
            by: string;
            fault?: string;
            latency_ms?: number;
            result?: string;
            seq: number;
            why?: string;
        };
        CallbackForm: {
            endpoint: string;
            events?: string[];
            state?: unknown;
        };
        CallerCaller: {
            as_of: number;
            /** Format: date-time */
            created_at: string;
            id: string;
            name: string;
            /** Format: date-time */
            revoked_at?: string;
            /** @enum {string} */
            role: "administrator" | "auditor" | "operator" | "author" | "viewer" | "approver" | "pep" | "edge";
        };
        CallerList: {
            items: components["schemas"]["CallerCaller"][];
            next?: string;
        };
        CatalogActionNeeds: {
            action: string;
            signals: string[];
        };
        CatalogApprover: {
            claims?: {
                [key: string]: string;
            };
            during?: string;
            person?: components["schemas"]["Ref"];
        };
        CatalogApprovers: {
            id: string;
            members: components["schemas"]["CatalogApprover"][];
            title?: string;
        };
        CatalogAsks: {
            approver: number;
            hour: number;
            pending: number;
            session: number;
        };
        CatalogAssurance: {
            acr?: string;
            amr?: string[];
            bound?: string[];
            id: string;
            max_age_s?: number;
            methods?: string[];
            person?: boolean;
            title: string;
        };
        CatalogCapability: {
            actions: string[];
            /** @description largest values, by argument */
            amount?: {
                [key: string]: string;
            };
            class: string;
            /** @description the most sensitive class that it reaches */
            data_class?: string;
            essential?: boolean;
            id: string;
            regions?: string[];
            /** @description of which one must be open */
            schedules?: string[];
            title?: string;
        };
        CatalogEntityCount: {
            count: number;
            type: string;
        };
        CatalogNetwork: {
            name: string;
            ranges: string[];
        };
        CatalogReason: {
            detail?: string;
            id: string;
            message: string;
        };
        CatalogRoute: {
            after_s?: number;
            amounts?: {
                [key: string]: string;
            };
            approvers: string[];
            arguments?: boolean;
            break_glass?: string[];
            class?: boolean;
            class_for_s?: number;
            escalate?: string[];
            evaluator?: string;
            id: string;
            lasts_s: number;
            notify?: string[];
            passkey?: boolean;
            pending_s: number;
            quorum: number;
            reading_s?: number;
            review_s?: number;
            self?: boolean;
            title: string;
            /** @description -1: as many as there are until it ends */
            uses?: number;
        };
        CatalogRule: {
            class?: string;
            id?: string;
            jurisdiction?: string;
            labels?: string[];
            /** @description values as JSON */
            properties?: {
                [key: string]: string[];
            };
            type?: string;
        };
        CatalogSchedule: {
            holidays: string[];
            name: string;
            /** @description now */
            open: boolean;
            /** @description when it closes, or opens; not there if that is not within a year or two */
            turns?: string;
            windows: components["schemas"]["CatalogWindow"][];
            zone: string;
        };
        CatalogType: {
            class: string;
            jurisdiction?: string;
            labels?: string[];
            name: string;
            request_properties?: string[];
        };
        CatalogUses: {
            assurance: {
                [key: string]: string[];
            };
            obligations: {
                [key: string]: string[];
            };
            reasons: {
                [key: string]: string[];
            };
            routes: {
                [key: string]: string[];
            };
        };
        CatalogView: {
            approvers: components["schemas"]["CatalogApprovers"][];
            asks: components["schemas"]["CatalogAsks"];
            assurance: components["schemas"]["CatalogAssurance"][];
            capabilities: components["schemas"]["CatalogCapability"][];
            classify: components["schemas"]["CatalogRule"][];
            default_class: string;
            default_route?: string;
            entities: components["schemas"]["CatalogEntityCount"][];
            networks: components["schemas"]["CatalogNetwork"][];
            /** Format: date-time */
            now: string;
            obligations: components["schemas"]["Obligation"][];
            reasons: components["schemas"]["CatalogReason"][];
            routes: components["schemas"]["CatalogRoute"][];
            schedules: components["schemas"]["CatalogSchedule"][];
            /** @description that every act requires */
            signals: string[];
            signals_of_actions: components["schemas"]["CatalogActionNeeds"][];
            types: components["schemas"]["CatalogType"][];
            /** @description by which policies of the version what the catalog declares is named */
            used: components["schemas"]["CatalogUses"];
            version: number;
            zone: string;
        };
        CatalogWindow: {
            days: string[];
            first?: string;
            from: string;
            last?: string;
            to: string;
        };
        ChallengeAskInput: {
            /** @description to break the glass instead of answering: the reason, as it will be sent. Besides it there is the view only */
            break_glass?: string;
            /** @description to whom it may concern; 2000 bytes at most. The agent is told of a refusal's */
            comment?: string;
            /** @description which acts, by their place in items; all, if left out */
            items?: number[];
            /** @description how far a yes goes, within what the route permits; one use of the very act, if left out */
            scope?: components["schemas"]["ApprovalScopeInput"];
            /** @description number of the entry by which the person looked at it */
            view: number;
            /** @description true approves, false refuses */
            yes: boolean;
        };
        Change: {
            hint: string;
            kind: string;
            target?: string;
            to?: unknown;
            who: string;
        };
        CheckPoliciesInput: {
            /** @description text of a YAML or JSON catalog document */
            catalog?: string;
            source?: components["schemas"]["PolicySourceInput"];
        };
        CheckReport: {
            /** @description the version that what was left out is taken from; 0 if there is none */
            active: number;
            /** @description whether it could be published */
            ok: boolean;
            problems: components["schemas"]["PolicyProblem"][];
        };
        CheckpointList: {
            /** @description how many batches the log has */
            batches: number;
            /** @description number of the newest entry */
            entries: number;
            items: components["schemas"]["CheckpointView"][];
            /** @description that verifies the log's own signatures */
            key: string;
            next?: number;
            origin: string;
        };
        CheckpointView: {
            /**
             * Format: date-time
             * @description when it was signed, by the clock of who signed it
             */
            at?: string;
            /** @description number of the last entry that it covers */
            entries: number;
            /** @description the signed note */
            note: string;
            root: string;
            signatures: components["schemas"]["NoteSignature"][];
            /** @description how many batches it covers */
            size: number;
        };
        ClassTrust: {
            class: string;
            level: string;
            score: number;
        };
        ClearRiskInput: {
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        Cleared: {
            id: string;
        };
        CompareDraftInput: {
            /** @description text of a YAML or JSON catalog document */
            catalog?: string;
            source?: components["schemas"]["PolicySourceInput"];
        };
        Conduct: {
            accuracy?: number;
            error_rate?: number;
            findings?: string[];
            gravest?: number;
            judged?: number;
            lowest?: components["schemas"]["Trust"];
            quarantined?: boolean;
        };
        ConductFinding: {
            agent: string;
            as_of: number;
            /** Format: date-time */
            at: string;
            class: string;
            count: number;
            evidence: number[];
            id: string;
            /** Format: date-time */
            judged_at?: string;
            judged_by?: string;
            kind: string;
            /** Format: date-time */
            last_at: string;
            person?: string;
            point?: string;
            sentence: string;
            session?: string;
            severity: string;
            state: string;
            why?: string;
        };
        Contribution: {
            points: number;
            source: string;
        };
        CreateCallerInput: {
            /** @description 1 to 100 characters, no spaces and no colon; unique in its role */
            name: string;
            /** @enum {string} */
            role: "administrator" | "auditor" | "operator" | "author" | "viewer" | "approver" | "pep" | "edge";
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        CreatedCaller: {
            as_of: number;
            /** Format: date-time */
            created_at: string;
            id: string;
            name: string;
            /** Format: date-time */
            revoked_at?: string;
            /** @enum {string} */
            role: "administrator" | "auditor" | "operator" | "author" | "viewer" | "approver" | "pep" | "edge";
            token: string;
        };
        Credential: {
            /** Format: date-time */
            expires_at?: string;
            keys: number;
            method?: string;
            /** Format: date-time */
            since?: string;
        };
        Decision: {
            /** Format: date-time */
            at: string;
            catalog: number;
            changes?: components["schemas"]["Change"][];
            code: string;
            detail?: string;
            effect: string;
            fired?: components["schemas"]["Fired"][];
            lifted?: boolean;
            obligations?: components["schemas"]["Obligation"][];
            policy_set: number;
            reasons?: components["schemas"]["Reason"][];
            remedies?: string[];
            routes?: string[];
        };
        DecisionAsk: {
            /** Format: date-time */
            at?: string;
            /** @description lifted: the decision allowed the act because of it; asked: it was asked after the decision refused the act; referred: the request referred to it, and it did not help */
            how: string;
            id: string;
            /** @description whether the caller may read the ask itself: who answered, and what they said */
            readable: boolean;
            status?: string;
            /** @description what happened, oldest first; none if it is not readable */
            steps: components["schemas"]["Step"][];
            /** @description what was asked, in a sentence */
            title?: string;
        };
        DecisionContext: {
            /** @description the refusal can be asked about */
            access_request?: components["schemas"]["AccessOffer"];
            /** @description the approval by which the act is allowed: not beyond its end */
            approval?: components["schemas"]["ApprovalForm"];
            /** @description the smallest set of changes that would turn the refusal into permission */
            changes?: components["schemas"]["Change"][];
            code: string;
            /** @description of an item of a batch that could not be understood, or does not fit the schema, and of a passport that does not count */
            error?: components["schemas"]["ItemError"];
            /**
             * Format: date-time
             * @description of a refusal that can be asked about, or of an answer about an approval
             */
            evaluated_at?: string;
            /** @description names the record of the decision */
            evaluation_id?: string;
            /** @description of a refusal of a request that refers to an approval: request, retry or none */
            next_action?: string;
            /** @description all must be met, also those of a refusal; else the act must not happen */
            obligations?: components["schemas"]["Obligation"][];
            /** @description likewise: approval_required, or why the approval in the request does not lift the refusal */
            reason?: string;
            reasons?: components["schemas"]["Reason"][];
            /** @description approval, step_up: those that together lift the refusal */
            remedies?: string[];
            /** @description seconds to wait, of next_action retry */
            retry_after?: number;
        };
        DecisionGlance: {
            action: string;
            /** Format: date-time */
            at: string;
            code: string;
            effect: string;
            id: string;
            resource: components["schemas"]["Ref"];
            seq: number;
        };
        DelegationTarget: {
            agent?: components["schemas"]["AgentBrief"];
            calls: number;
            /** @description 1: directly; more: through others */
            depth: number;
            /** Format: date-time */
            first_at: string;
            id: string;
            /** Format: date-time */
            last_at: string;
            refused: number;
            type: string;
        };
        DelegationTree: {
            /** @description who acted for it, by id; 100 at most */
            acted_by: components["schemas"]["DelegationTarget"][];
            /** @description for whom it acted, the newest first; 100 at most */
            acts_for: components["schemas"]["DelegationTarget"][];
            agent: string;
            /** @description the agents that made it, the nearest first; 8 at most */
            ancestors: components["schemas"]["AgentBrief"][];
            /** @description number of the newest log entry of those */
            as_of: number;
            /** @description who registered it, as it is on record */
            creator: components["schemas"]["Principal"];
            /** @description agents whose creator it is; 100 at most */
            made: components["schemas"]["AgentBrief"][];
            made_total: number;
        };
        Delegator: {
            agent: components["schemas"]["Agent"];
            conduct?: components["schemas"]["Conduct"];
            grant: components["schemas"]["Grant"];
            trust?: components["schemas"]["Trust"];
        };
        DeliveryList: {
            items: components["schemas"]["NotifyDelivery"][];
            next?: string;
        };
        DenialForm: {
            binding_token?: string;
            evaluated_at?: string;
            evaluation_id?: string;
            expires_at: string;
            reason?: string;
            template?: string;
        };
        Detail: {
            actions?: string[];
            identifier: string;
            limits?: components["schemas"]["Limits"];
            locations?: string[];
            type: string;
        };
        Display: {
            description: string;
            title: string;
        };
        DueAgentKeys: {
            /** @description the soonest first */
            items: components["schemas"]["AgentKey"][];
            /** @description how many there are, also those beyond the limit */
            total: number;
        };
        EndAskInput: {
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        EnforcementPoint: {
            allowed: number;
            /** Format: date-time */
            allowed_at?: string;
            as_of: number;
            caller: string;
            doors: string[];
            embedded: boolean;
            fail_open: components["schemas"]["EnforcementRoute"][];
            gateway: string;
            /** Format: date-time */
            hello_at?: string;
            /** Format: date-time */
            last_at: string;
            stopped?: boolean;
            tools: components["schemas"]["EnforcementTool"][];
            version?: string;
        };
        EnforcementReportInput: {
            /** @description an object, up to 16 KiB: hello has decide (local or remote), doors and fail_open (routes); fail_open has route; allowed_unavailable has route and count; tool_changed and tool_approved have server, tool, was and now */
            detail?: unknown;
            /** @description what the enforcement point calls itself */
            gateway: string;
            /** @description hello, bye, fail_open, allowed_unavailable, tool_changed, tool_approved, mapping_warning, or another of small letters and underscores, which means nothing to the service */
            kind: string;
            /** @description of its program */
            version?: string;
        };
        EnforcementRoute: {
            name: string;
            /** Format: date-time */
            since: string;
        };
        EnforcementTool: {
            server: string;
            /** Format: date-time */
            since: string;
            tool: string;
        };
        EnrolAgentInput: {
            /** @description how long the token can be used: a day if left out, a minute to 30 days */
            ttl_seconds?: number;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        EnrolPersonInput: {
            /** @description how long the link can be used: a day if left out, a minute to 7 days */
            ttl_seconds?: number;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        EnrolmentLink: {
            as_of: number;
            /** Format: date-time */
            expires_at: string;
            person: string;
            /** @description whoever opens it can become the person: hand it over as you would a password */
            url: string;
        };
        EnrolmentToken: {
            agent: string;
            as_of: number;
            /** Format: date-time */
            expires_at: string;
            token: string;
        };
        Entity: {
            id: string;
            properties?: Record<string, never>;
            type: string;
        };
        EntityForm: {
            id: string;
            properties?: Record<string, never>;
            type: string;
        };
        EntityResult: {
            id: string;
            /** @description all must be met, else this result must not be used */
            obligations?: components["schemas"]["Obligation"][];
            type: string;
        };
        EntitySearchResponse: {
            page?: components["schemas"]["PageResponse"];
            results: components["schemas"]["EntityResult"][];
        };
        EntryList: {
            items: components["schemas"]["AuditEntry"][];
            next?: number;
            /** @description the search stopped because it had taken long enough: entries numbered below next were not looked at */
            stopped?: boolean;
        };
        EntryQueryInput: {
            /** @description name of a decision's action */
            action?: string;
            /** @description who did it: pep:NAME, admin:NAME, safeconduct */
            actor?: string;
            /** @description only entries numbered above */
            after?: number;
            /** @description id of an agent that acted, or that the entry is about */
            agent?: string;
            /** @description only entries numbered below */
            before?: number;
            /** @description type:id of somebody for whom the agent of a decision acts */
            behalf?: string;
            /** @description code of a decision */
            code?: string;
            /** @description id of a decision that the entry is about: reports of its outcome, asks for approval */
            decision?: string;
            /**
             * Format: date-time
             * @description not earlier than
             */
            from?: string;
            /** @description decision.made, agent.put, policy.publish, ... */
            kind?: string;
            /** @description effect of a decision: deny, require_approval, step_up, allow */
            outcome?: string;
            /** @description type:id of a decision's resource */
            resource?: string;
            /** @description session of a decision, as its enforcement point keeps it */
            session?: string;
            /** @description words that all occur */
            text?: string;
            /**
             * Format: date-time
             * @description not later than
             */
            to?: string;
        };
        ErrorBody: {
            error: components["schemas"]["ErrorDetail"];
        };
        ErrorDetail: {
            code: string;
            message: string;
            /** @description of records that were uploaded after a gap: the number that is expected */
            next?: number;
            problems?: components["schemas"]["PolicyProblem"][];
            request_id: string;
        };
        EvaluationItem: {
            action?: components["schemas"]["ActionForm"];
            context?: Record<string, never>;
            resource?: components["schemas"]["EntityForm"];
            subject?: components["schemas"]["EntityForm"];
        };
        EvaluationOptions: {
            /** @description execute_all, deny_on_first_deny or permit_on_first_permit */
            evaluations_semantic?: string;
        };
        EvaluationRequest: {
            action: components["schemas"]["ActionForm"];
            /** @description what the caller says of the moment. An enforcement point adds what it saw: observed, supported_obligations, on_behalf_of */
            context?: Record<string, never>;
            resource: components["schemas"]["EntityForm"];
            /** @description may be left out if a passport names it: an agent that asks for itself, or context.observed.passport */
            subject?: components["schemas"]["EntityForm"];
        };
        EvaluationResponse: {
            context: components["schemas"]["DecisionContext"];
            decision: boolean;
        };
        EvaluationsRequest: {
            action?: components["schemas"]["ActionForm"];
            context?: Record<string, never>;
            evaluations?: components["schemas"]["EvaluationItem"][];
            options?: components["schemas"]["EvaluationOptions"];
            resource?: components["schemas"]["EntityForm"];
            subject?: components["schemas"]["EntityForm"];
        };
        EvaluationsResponse: {
            context?: components["schemas"]["DecisionContext"];
            decision?: boolean;
            evaluations?: components["schemas"]["EvaluationResponse"][];
        };
        Explanation: {
            actor: string;
            agent_view: components["schemas"]["AgentView"];
            /** @description what persons were asked because of it, or had agreed to before */
            asks: components["schemas"]["DecisionAsk"][];
            /** Format: date-time */
            at: string;
            /** @description whether more was said before: the log has it */
            earlier_outcomes?: boolean;
            /** @description what was known and what was said, one by one */
            facts: components["schemas"]["Fact"][];
            id: string;
            judged_again: components["schemas"]["Judgement"];
            /** @description what was said of what came of it, oldest first; the newest 50 */
            outcomes: components["schemas"]["OutcomeReport"][];
            /** @description every policy that could have applied; those that decided come first */
            policies: components["schemas"]["PolicyDetail"][];
            record: components["schemas"]["PdpRecord"];
            seq: number;
            /** @description the decisions before and after it in its session */
            session?: components["schemas"]["SessionPlace"];
            /** @description policies in shadow that were satisfied: they decided nothing */
            shadow: components["schemas"]["Fired"][];
        };
        ExportEntriesInput: {
            /** @description numbers of entries, 5000 at most, whose bodies have 16 MiB together at most */
            entries?: number[];
            /** @description at most so many of what is found, 1000 by default and 5000 at most, and no more than 16 MiB of bodies */
            limit?: number;
            search?: components["schemas"]["EntryQueryInput"];
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        FacetCount: {
            count: number;
            value: string;
        };
        Fact: {
            /** @description in words */
            label: string;
            /** @description the path under which policies read it, if they can; otherwise a path of the record */
            name: string;
            /** @description claimed: the caller said so; observed: seen by the enforcement point or ourselves; registry; catalog; concluded: worked out from what happened before */
            origin: string;
            /** @description ids of the policies of which a clause that was reached read it, or a part of it */
            read_by: string[];
            value: unknown;
        };
        Facts: {
            agent?: components["schemas"]["Agent"];
            approval?: components["schemas"]["Approval"];
            asks?: components["schemas"]["Asks"];
            assured?: string[];
            /** Format: date-time */
            at: string;
            behalf?: components["schemas"]["Delegator"][];
            class: string;
            conduct?: components["schemas"]["Conduct"];
            confidence?: number;
            country?: string;
            credential?: components["schemas"]["Credential"];
            grant: components["schemas"]["Grant"];
            labels: string[];
            missing?: string[];
            region?: string;
            risk: components["schemas"]["Risk"];
            schedules: string[];
            stops?: string[];
            trust: components["schemas"]["Trust"];
            unapproved?: string;
            zones: string[];
        };
        FeedAcknowledged: {
            last: number;
            refused?: components["schemas"]["FeedRefusal"][];
            seqs: number[];
        };
        FeedBearer: {
            active: boolean;
            agent?: string;
            code?: string;
            jkt?: string;
            on_behalf?: components["schemas"]["Ref"][];
            passport?: components["schemas"]["Passport"];
            why?: string;
            "x5t#S256"?: string;
        };
        FeedFile: {
            name: string;
            text: string;
        };
        FeedRecordInput: {
            decision?: unknown;
            of?: number;
            outcome?: unknown;
        };
        FeedRecordsInput: {
            first: number;
            journal: string;
            records: components["schemas"]["FeedRecordInput"][];
        };
        FeedRefusal: {
            number: number;
            why: string;
        };
        FeedVersion: {
            catalog: string;
            digest: string;
            policies: components["schemas"]["FeedFile"][];
            schema: string;
            version: number;
        };
        FiguresAsks: {
            /** @description wholly or in part */
            approved: number;
            asked: number;
            denied: number;
            /** @description nobody answered in time */
            expired: number;
            /** @description cancelled, or could not be answered */
            withdrawn: number;
        };
        FiguresBucket: {
            allow: number;
            asks: components["schemas"]["FiguresAsks"];
            /** Format: date-time */
            at: string;
            deny: number;
            latency: components["schemas"]["FiguresLatency"];
            require_approval: number;
            step_up: number;
        };
        FiguresLatency: {
            /** @description how many were timed; 0: nothing is known */
            decisions: number;
            /** @description microseconds, off by a tenth at most */
            p50_us: number;
            p99_us: number;
        };
        FiguresNamed: {
            allow: number;
            deny: number;
            name: string;
            require_approval: number;
            step_up: number;
        };
        FiguresPart: {
            /** @description the most frequent */
            actions: components["schemas"]["FiguresNamed"][];
            /** @description the busiest */
            agents: components["schemas"]["FiguresNamed"][];
            agents_count: number;
            allow: number;
            asks: components["schemas"]["FiguresAsks"];
            decisions: number;
            deny: number;
            latency: components["schemas"]["FiguresLatency"];
            /** @description allowed because persons approved */
            lifted: number;
            /** @description some names are counted together with others: more than 64 of a kind in a day, or too many in all */
            more?: boolean;
            /** @description purposes and owners that are not told apart, since there are more than 500 in a day, or 2000 in all */
            others?: boolean;
            owner: string;
            /** @description on whose behalf, the ones with most acts; empty if the enforcement points did not say */
            persons: components["schemas"]["FiguresNamed"][];
            persons_count: number;
            purpose: string;
            /** @description the most frequent reasons */
            refusals: components["schemas"]["FiguresRefusal"][];
            require_approval: number;
            results: components["schemas"]["FiguresResults"];
            step_up: number;
            tasks: components["schemas"]["FiguresTasks"];
            waits: components["schemas"]["FiguresWaits"];
        };
        FiguresRefusal: {
            code: string;
            count: number;
            /** @description as agents were told last; empty if it has no words of its own */
            text: string;
        };
        FiguresReport: {
            all: components["schemas"]["FiguresPart"];
            /** @description number of the newest entry that is counted */
            as_of: number;
            days: components["schemas"]["FiguresBucket"][];
            /** Format: date-time */
            from: string;
            /** @description how many parts are left out */
            left_out?: number;
            /** @description by purpose and owner, the busiest first; at most 200 */
            parts: components["schemas"]["FiguresPart"][];
            /** @description tasks that are not over, and so counted nowhere yet */
            running_tasks: number;
            /**
             * Format: date-time
             * @description the first day of which there are figures
             */
            since?: string;
            /**
             * Format: date-time
             * @description the end of the last day; later than now if that is not over
             */
            to: string;
            /** @description in which days begin */
            zone: string;
        };
        FiguresResults: {
            /** @description reported without a word on whether it was right */
            done: number;
            /** @description the tool failed */
            failed: number;
            harmful: number;
            reverted: number;
            right: number;
            wrong: number;
        };
        FiguresTasks: {
            /** @description the last act that was asked for was refused */
            stopped: number;
            /** @description everything was allowed */
            undisturbed: number;
            /** @description something was refused or a person was asked, and the last act was allowed */
            went_on: number;
        };
        FiguresTotals: {
            allow: number;
            asks: components["schemas"]["FiguresAsks"];
            decisions: number;
            deny: number;
            latency: components["schemas"]["FiguresLatency"];
            require_approval: number;
            step_up: number;
        };
        FiguresWaits: {
            answered: number;
            p50_seconds: number;
            p90_seconds: number;
            /** @description waited for persons, of all that were answered */
            sum_seconds: number;
        };
        FindingCounts: {
            /** @description how many there are of each state, severity and kind */
            items: components["schemas"]["MonitorCount"][];
        };
        FindingList: {
            items: components["schemas"]["ConductFinding"][];
            next?: string;
        };
        FindingsOverview: {
            /** @description a count of so many stands for that and more */
            most: number;
            /** @description by severity */
            open: {
                [key: string]: number;
            };
        };
        Fired: {
            effect: string;
            error?: string;
            party?: string;
            policy: string;
            reason?: string;
            remedy?: string;
            shadow?: boolean;
        };
        FleetFacets: {
            /** @description the most frequent, 100 at most */
            capability: components["schemas"]["FacetCount"][];
            /** @description none, or some */
            credential: components["schemas"]["FacetCount"][];
            /** @description by the severity of the gravest open finding, or none */
            findings: components["schemas"]["FacetCount"][];
            /** @description the most frequent, 100 at most */
            owner: components["schemas"]["FacetCount"][];
            /** @description the most frequent, 100 at most */
            purpose: components["schemas"]["FacetCount"][];
            state: components["schemas"]["FacetCount"][];
            trust: components["schemas"]["FacetCount"][];
        };
        FleetList: {
            facets?: components["schemas"]["FleetFacets"];
            items: components["schemas"]["AgentSummary"][];
            next?: string;
            /** @description agents that the filter selects, on all pages; left out without facets */
            total: number;
        };
        FormerUse: {
            id: string;
            use: components["schemas"]["ActivityCapabilityUse"];
        };
        Grant: {
            class?: string;
            essential?: boolean;
            exceeded?: string[];
            within: string[];
        };
        GrantView: {
            /** Format: date-time */
            at: string;
            /** Format: date-time */
            revoked_at?: string;
            scope: components["schemas"]["ApprovalScope"];
            /** Format: date-time */
            until: string;
            used: number;
            /** @description numbers of the entries that drew the newest uses */
            uses?: number[];
            /** @description it was revoked */
            why?: string;
        };
        GrantedLimits: {
            /** @description the largest value, by argument */
            amount?: {
                [key: string]: string;
            };
            /** @description the most sensitive class of data */
            class?: string;
            regions?: string[];
            schedules?: string[];
        };
        GrantedUse: {
            /** @description read, write, egress, money, admin */
            class?: string;
            /** @description whether the active catalog knows it; what it does not know covers nothing */
            declared: boolean;
            id: string;
            limits: components["schemas"]["GrantedLimits"];
            /** @description actions and groups of actions that it allows */
            may: string[];
            title?: string;
            unused: boolean;
            use: components["schemas"]["ActivityCapabilityUse"];
        };
        Health: {
            reasons?: string[];
            /** @description ok, or unavailable */
            status: string;
        };
        HealthOverview: {
            /** @description of the newest that is in effect in this process */
            applied: number;
            batches: number;
            /** @description of the newest that the figures hold */
            counted: number;
            enforcement_points: number;
            enforcement_points_embedded: number;
            fail_open: string[];
            /** @description number of the newest entry of the log */
            head: number;
            /** @description of the newest that the search index holds */
            indexed: number;
            /** @description the active version; 0 if there is none */
            policies: number;
            /** Format: date-time */
            policies_at?: string;
            policies_by?: string;
            ready: boolean;
            /** @description why it is not */
            reasons: string[];
            /** @description batches under the newest checkpoint */
            signed: number;
            store: string;
            /** @description that are open at this process */
            streams: number;
            /** @description since when the oldest batch waits for a checkpoint; 0 if none does */
            unsigned_seconds: number;
            uptime_seconds: number;
            version: string;
        };
        IndicatorList: {
            items: components["schemas"]["RiskIndicator"][];
            next?: string;
        };
        InfoList: {
            items: components["schemas"]["KeyringInfo"][];
            next?: string;
        };
        ItemError: {
            message: string;
            status: number;
        };
        ItemView: {
            action: string;
            arguments?: Record<string, never>;
            data: string;
            /** @description the decision that refused it */
            decision?: string;
            /** @description what was approved */
            grant?: components["schemas"]["GrantView"];
            labels?: string[];
            resource: components["schemas"]["Entity"];
            /** @description all of which must be gone to their end */
            routes?: string[];
            status: string;
        };
        JudgeFindingInput: {
            /** @description acknowledged: seen, and it counts; dismissed: a false alarm; confirmed: true */
            verdict: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        Judgement: {
            /** @description whether it is the recorded answer */
            agrees: boolean;
            /** @description the smallest verified set of changes with which it would be allowed */
            changes?: components["schemas"]["Change"][];
            code?: string;
            detail?: string;
            effect: string;
            /** @description why it could not be judged again; then nothing else is set */
            problem?: string;
        };
        KeyringInfo: {
            activated?: number;
            /** Format: date-time */
            active_at?: string;
            /** Format: date-time */
            active_until?: string;
            alg: string;
            as_of: number;
            historical?: number;
            /** Format: date-time */
            historical_at?: string;
            jwk: unknown;
            kid: string;
            /** Format: date-time */
            not_before: string;
            published: number;
            /** Format: date-time */
            published_at: string;
            retired?: number;
            /** Format: date-time */
            retired_at?: string;
            revoked?: number;
            /** Format: date-time */
            revoked_at?: string;
            signs: boolean;
            source: string;
            state: string;
            use: string;
            /** Format: date-time */
            verify_until?: string;
            why?: string;
        };
        LiftStopInput: {
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        Limits: {
            amount?: {
                [key: string]: string;
            };
            class?: string;
            regions?: string[];
            schedules?: string[];
        };
        LinkDocumentInput: {
            /** @description https URL of the agent's client ID metadata document; whoever can write it can act as the agent */
            url: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        LinkPersonInput: {
            /** @description how long the link can be used: 10 minutes if left out, which is the most; at least 10 seconds */
            ttl_seconds?: number;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        LookAtPassportInput: {
            /** @description who must be among the token's audiences */
            audience: string;
            /** @description the passport; its proof of possession is not needed, and not looked at */
            token: string;
        };
        Me: {
            /** @description the name in the log */
            actor: string;
            /**
             * Format: date-time
             * @description of the session, at the latest
             */
            expires_at?: string;
            /** @description of the person, or of the token */
            id: string;
            /**
             * Format: date-time
             * @description when the session ends if nobody is there; a request with the header X-Safeconduct-Background: 1 does not count
             */
            idle_expires_at?: string;
            /** @description person or token */
            kind: string;
            /** @description how a person signed in: passkey, oidc or link; token of everybody else */
            method: string;
            name: string;
            /** @description how many passkeys of the person count */
            passkeys: number;
            /** @description what may be called: each operation of /openapi.json names the roles that may, in x-roles */
            roles: ("administrator" | "auditor" | "operator" | "author" | "viewer" | "approver" | "pep" | "edge")[];
            /** Format: date-time */
            signed_in_at?: string;
        };
        Metadata: {
            access_evaluation_endpoint: string;
            access_evaluations_endpoint: string;
            /** @description if persons can be asked */
            access_request_endpoint?: string;
            capabilities: string[];
            /** @description keys that verify binding_token and approval.state */
            jwks_uri?: string;
            policy_decision_point: string;
            search_action_endpoint: string;
            search_resource_endpoint: string;
            search_subject_endpoint: string;
            supported_obligations: string[];
        };
        MonitorBand: {
            class: string;
            level: string;
            mean: number;
            score: number;
            upper: number;
        };
        MonitorCount: {
            findings: number;
            kind: string;
            severity: string;
            state: string;
        };
        MonitorMoved: {
            class?: string;
            decision?: number;
            finding?: string;
            from?: string;
            kind?: string;
            severity?: string;
            to?: string;
            what: string;
        };
        MonitorPoint: {
            /** Format: date-time */
            at: string;
            classes: components["schemas"]["MonitorBand"][];
            moved?: components["schemas"]["MonitorMoved"][];
            nth?: number;
            seq: number;
        };
        MonitorReport: {
            agent: string;
            as_of: number;
            classes: components["schemas"]["TrustStanding"][];
            decisions: number;
            findings: components["schemas"]["ConductFinding"][];
            learning: boolean;
            performance: components["schemas"]["PerformanceStanding"];
            purpose: string;
            quarantined?: boolean;
            shadow?: boolean;
            version: string;
        };
        NoteSignature: {
            /** @description log: by the log's own key, or one that it had before, and verified; other: a cosignature, by a witness for instance, whose key is not known here */
            by: string;
            /** @description id of the key */
            key: string;
            name: string;
        };
        NotifyDelivery: {
            as_of: number;
            ask: string;
            /** Format: date-time */
            at: string;
            attempts: number;
            channel: string;
            chosen?: boolean;
            /** Format: date-time */
            ended_at?: string;
            error?: string;
            event: string;
            id: string;
            kind: string;
            mailed?: string[];
            /** Format: date-time */
            next_at: string;
            persons?: string[];
            reached?: string[];
            /** Format: date-time */
            since: string;
            state: string;
            version: number;
        };
        Obligation: {
            id: string;
            properties?: unknown;
            type: string;
        };
        Observed: {
            ip?: string;
            method?: string;
            passport?: components["schemas"]["Passport"];
            pep?: string;
            provenance?: components["schemas"]["Provenance"];
            request_id?: string;
            session?: string;
            supported_obligations?: string[];
            task?: string;
        };
        OutcomeReceipt: {
            /** @description number of the log entry */
            entry: number;
        };
        OutcomeReport: {
            /** Format: date-time */
            at: string;
            by: string;
            fault?: string;
            latency_ms?: number;
            met?: string[];
            reporter: string;
            result?: string;
            /** @description number of its log entry */
            seq: number;
            size_bytes?: number;
            why?: string;
        };
        Overview: {
            agents: components["schemas"]["AgentsOverview"];
            alerts: components["schemas"]["AlertsOverview"];
            /** @description left out if nobody can be asked */
            approvals?: components["schemas"]["ApprovalsOverview"];
            /** Format: date-time */
            at: string;
            /** @description decisions of the last 24 hours */
            day: components["schemas"]["FiguresTotals"];
            findings: components["schemas"]["FindingsOverview"];
            health: components["schemas"]["HealthOverview"];
            /** @description decisions of the last hour */
            hour: components["schemas"]["FiguresTotals"];
            /** @description decisions a second in the last ten seconds, as far as this process has counted */
            per_second: number;
        };
        PageForm: {
            limit?: number;
            token?: string;
        };
        PageResponse: {
            count: number;
            next_token: string;
        };
        PasskeyView: {
            /** Format: date-time */
            created_at: string;
            /** @description base64url of the credential id */
            id: string;
            /** Format: date-time */
            revoked_at?: string;
            title: string;
            /**
             * Format: date-time
             * @description of the last sign-in
             */
            used_at?: string;
        };
        Passport: {
            auth?: components["schemas"]["Authentication"];
            bound: string;
            depth: number;
            details: components["schemas"]["Detail"][];
            /** Format: date-time */
            expires: string;
            jti: string;
        };
        PdpEdge: {
            cut?: string[];
            journal: string;
            late?: boolean;
            number: number;
            restated?: components["schemas"]["PdpStated"][];
        };
        PdpRecord: {
            decision: components["schemas"]["Decision"];
            edge?: components["schemas"]["PdpEdge"];
            facts: components["schemas"]["Facts"];
            listing?: boolean;
            request: components["schemas"]["Request"];
        };
        PdpStated: {
            agent: string;
            revision: number;
        };
        PendingEnrolment: {
            as_of: number;
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            expires_at: string;
        };
        PendingPasskey: {
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            expires_at: string;
        };
        PerformanceBin: {
            count: number;
            from: number;
            right: number;
            said: number;
            to: number;
        };
        PerformanceStanding: {
            accuracy: number;
            bins: components["schemas"]["PerformanceBin"][];
            brier: number;
            error_rate: number;
            judged: number;
        };
        PersonSession: {
            /** Format: date-time */
            at: string;
            /** @description the person's own, and those of the identity provider */
            claims?: {
                [key: string]: string[];
            };
            /**
             * Format: date-time
             * @description at the latest; in a browser where nobody is it ends before
             */
            expires_at: string;
            /** @description passkey, oidc or link */
            method: string;
            passkey?: string;
            /** @description the person's own, and those that the identity provider gave */
            roles: ("administrator" | "auditor" | "operator" | "author" | "viewer" | "approver")[];
        };
        PersonStats: {
            answers: number;
            /** @description answers faster than the route's reading time */
            fast: number;
            /** @description from looking to answering */
            median_read_ms: number;
            person: string;
            yes: number;
        };
        PersonView: {
            /** @description number of the entry that changed the person last; a change names it */
            as_of: number;
            claims?: {
                [key: string]: string[];
            };
            disabled?: boolean;
            email?: string;
            /** @description a link that was made and not used yet */
            enrolment?: components["schemas"]["PendingPasskey"];
            id: string;
            issuer?: string;
            name: string;
            /** @description the oldest first, also the revoked ones */
            passkeys: components["schemas"]["PasskeyView"][];
            roles?: ("administrator" | "auditor" | "operator" | "author" | "viewer" | "approver")[];
            /** @description the oldest first */
            sessions: components["schemas"]["PersonSession"][];
            subject?: string;
        };
        PersonViewList: {
            items: components["schemas"]["PersonView"][];
            next?: string;
        };
        PointList: {
            items: components["schemas"]["EnforcementPoint"][];
            next?: string;
        };
        PolicyActionWord: {
            args?: components["schemas"]["PolicyAttribute"][];
            /** @description whether the base schema declares it */
            base?: boolean;
            /** @description as policies name it */
            cedar: string;
            claimed?: components["schemas"]["PolicyAttribute"][];
            /** @description whether it only groups others */
            group?: boolean;
            /** @description those it is in, directly or not, as policies name them */
            groups?: string[];
            /** @description as requests name it */
            name: string;
            principals?: string[];
            resources?: string[];
        };
        PolicyAnnotationWord: {
            doc: string;
            key: string;
            /** @description whether several values may stand in it */
            list?: boolean;
            on: string;
            values?: components["schemas"]["PolicyWord"][];
        };
        PolicyAttribute: {
            /** @description of a record */
            attributes?: components["schemas"]["PolicyAttribute"][];
            doc?: string;
            name: string;
            /** @description whether it may be absent, so that has must ask for it */
            optional?: boolean;
            type: string;
            /** @description that it has, or that its elements have, where these are known */
            values?: components["schemas"]["PolicyWord"][];
        };
        PolicyCaseResult: {
            decision: components["schemas"]["Decision"];
            differences?: components["schemas"]["PolicyDifference"][];
            file: string;
            line: number;
            name: string;
            passed: boolean;
        };
        PolicyChange: {
            after?: string;
            /** @description as JSON; of a long one the beginning */
            before?: string;
            change: string;
            id?: string;
            section: string;
        };
        PolicyCoverage: {
            evaluated: number;
            file: string;
            fired: number;
            line: number;
            mode: string;
            policy: string;
        };
        PolicyDetail: {
            assurance?: string;
            begins?: number;
            clauses?: components["schemas"]["PolicyTracedClause"][];
            detail?: string;
            effect: string;
            file: string;
            lifted?: boolean;
            line: number;
            message?: string;
            mode: string;
            outcome: string;
            party?: string;
            policy: string;
            reason?: string;
            remedy?: string;
            routes?: string[];
            text?: string;
            title?: string;
        };
        PolicyDifference: {
            got: string;
            want: string;
            what: string;
        };
        PolicyFile: {
            name: string;
            text: string;
        };
        PolicyFileInput: {
            name: string;
            text: string;
        };
        PolicyPolicyChange: {
            after?: components["schemas"]["PolicyPolicyText"];
            before?: components["schemas"]["PolicyPolicyText"];
            change: string;
            id: string;
            /** @description of one that was changed: effect, scope, conditions, and annotations as @reason */
            parts?: string[];
        };
        PolicyPolicyText: {
            effect: string;
            file: string;
            line: number;
            mode: string;
            text: string;
            title?: string;
        };
        PolicyProblem: {
            column?: number;
            end_column?: number;
            file?: string;
            hint?: string;
            line?: number;
            message: string;
            policy?: string;
            severity: string;
        };
        PolicySaid: {
            /** @description what operators wrote for people */
            detail?: string;
            error?: string;
            /** @description what the agent was told */
            message?: string;
            policy: string;
            reason?: string;
        };
        PolicySource: {
            files: components["schemas"]["PolicyFile"][];
            schema: string;
        };
        PolicySourceInput: {
            files: components["schemas"]["PolicyFileInput"][];
            schema: string;
        };
        PolicyTracedClause: {
            error?: string;
            line: number;
            outcome: string;
            reads?: components["schemas"]["PolicyTracedRead"][];
            text: string;
        };
        PolicyTracedRead: {
            path: string;
            value: string;
        };
        PolicyTypeWord: {
            attributes?: components["schemas"]["PolicyAttribute"][];
            /** @description of the entities that the schema or the catalog declares, a hundred at most */
            ids?: string[];
            /** @description types of entity that it can be in */
            in?: string[];
            name: string;
            /** @description type of its tags */
            tags?: string;
        };
        PolicyVersion: {
            /** Format: date-time */
            at: string;
            author: string;
            catalog_digest: string;
            message: string;
            restores?: number;
            seq: number;
            source_digest: string;
            version: number;
        };
        PolicyWord: {
            doc?: string;
            value: string;
        };
        Preview: {
            /** @description some of them, at most 50: those with decisions in the scope first, and of these those with most that would change */
            affected: components["schemas"]["PreviewAgent"][];
            /** @description registered agents that can be in its scope, the retired ones left out */
            agents: number;
            /** Format: date-time */
            at: string;
            /** @description how many of these would come out otherwise */
            changed: number;
            /** @description what would come out otherwise, and how often, most often first */
            changes: components["schemas"]["PreviewChange"][];
            /** @description false: the time was up before as many were looked at as were asked for */
            complete: boolean;
            /** @description some of the decisions that would come out otherwise, at most 20, newest first */
            examples: components["schemas"]["PreviewExample"][];
            /** @description how many of those that were looked at are in the scope */
            in_scope: number;
            /** @description levels of risk of the decisions in the scope, before and after */
            levels: components["schemas"]["PreviewLevel"][];
            /** @description how many of the newest decisions were looked at */
            looked_at: number;
            /** @description version of the policies by which it was judged */
            policy_set: number;
            /** @description what the decisions in the scope were about, at most 50, those with most that would change first */
            resources: components["schemas"]["PreviewResource"][];
            /**
             * Format: date-time
             * @description when the oldest that was looked at was made
             */
            since?: string;
            /** @description how many of those that were looked at could not be read and were passed over: what would come of them is not known */
            unread?: number;
        };
        PreviewAgent: {
            /** @description how many of these would come out otherwise */
            changed: number;
            /** @description of it, in the scope */
            decisions: number;
            id: string;
            owner?: string;
            purpose?: string;
            risk_after?: string;
            /** @description the highest level of risk among them */
            risk_before?: string;
            /** @enum {string} */
            state?: "active" | "suspended" | "quarantined" | "retired";
        };
        PreviewAlertInput: {
            /** @description instead of all of these: id of an open alert that would be cleared */
            clear?: string;
            /** @description how many of the newest decisions to look at, 500 by default and 2000 at most */
            decisions?: number;
            /** @description of an open alert that this would change; a new one, if left out */
            id?: string;
            /** @description a name that policies can read */
            kind?: string;
            /** @description what it would concern; everything, if left out */
            scope?: components["schemas"]["RiskScopeInput"];
            /** @description low, medium, high or critical */
            severity?: string;
        };
        PreviewChange: {
            after: components["schemas"]["PreviewOutcome"];
            before: components["schemas"]["PreviewOutcome"];
            decisions: number;
        };
        PreviewExample: {
            action: string;
            after: components["schemas"]["PreviewOutcome"];
            /** Format: date-time */
            at: string;
            before: components["schemas"]["PreviewOutcome"];
            decision: string;
            resource: components["schemas"]["Ref"];
            risk_after: string;
            risk_before: string;
            subject: components["schemas"]["Ref"];
        };
        PreviewLevel: {
            after: string;
            before: string;
            decisions: number;
        };
        PreviewOutcome: {
            code: string;
            effect: string;
        };
        PreviewResource: {
            changed: number;
            decisions: number;
            id: string;
            type: string;
        };
        PreviewStopInput: {
            /** @description how many of the newest decisions to look at, 500 by default and 2000 at most */
            decisions?: number;
            /** @description instead of scope: id of a standing stop that would be lifted */
            lift?: string;
            /** @description what would be stopped */
            scope?: components["schemas"]["StopScopeInput"];
        };
        Principal: {
            agent?: components["schemas"]["AgentBrief"];
            id: string;
            type: string;
        };
        ProblemBody: {
            detail?: string;
            request_id: string;
            status: number;
            title: string;
            /** @description about:blank, or urn:openid:authzen:access-request:error: and one of not_requestable, expired_denial, invalid_denial_binding, duplicate_request, unknown_task, task_expired, invalid_task_state */
            type: string;
        };
        Provenance: {
            operator?: string[];
            prompt?: string[];
            unknown?: string[];
            untrusted?: string[];
        };
        PublishInput: {
            /** @description text of a YAML or JSON catalog document */
            catalog?: string;
            /** @description the active version that is replaced; 0 if there is none */
            if_version: number;
            source?: components["schemas"]["PolicySourceInput"];
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        PutAgentInput: {
            capabilities?: string[];
            /** @description the caller, if left out at registration */
            creator?: string;
            /** @description the revision that is changed; 0 registers a new agent */
            if_revision: number;
            labels?: {
                [key: string]: string;
            };
            owner: string;
            purpose: string;
            version: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        PutAlertInput: {
            /**
             * Format: date-time
             * @description at most a year ahead
             */
            expires_at: string;
            /** @description a name that policies can read */
            kind: string;
            /** @description for operators */
            message?: string;
            /** @description what it concerns; everything, if left out */
            scope?: components["schemas"]["RiskScopeInput"];
            /** @description low, medium, high or critical */
            severity: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        PutAwayInput: {
            /** @description who answers instead */
            deputy?: string;
            /** @description who is away; the person who calls, if left out */
            person?: string;
            /**
             * Format: date-time
             * @description until when; left out, the absence is over
             */
            until?: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        PutIndicatorInput: {
            /**
             * Format: date-time
             * @description at most a year ahead
             */
            expires_at: string;
            /** @description low, medium, high or critical */
            severity: string;
            /** @description the feed or the person it is from */
            source?: string;
            /** @description ip, domain, agent, resource or sha256 */
            type: string;
            value: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        PutPersonInput: {
            /** @description by which groups of approvers know the person */
            claims?: {
                [key: string]: string[];
            };
            /** @description a disabled person cannot sign in or answer; their sessions end */
            disabled?: boolean;
            /** @description where the person is told of asks */
            email?: string;
            /** @description as_of of the person that is changed; 0 makes a new one */
            if_as_of: number;
            /** @description of the identity provider with which the person signs in */
            issuer?: string;
            /** @description 1 to 100 bytes of printable text */
            name: string;
            /** @description what the person may do; none means approver: to answer what the catalog's groups let them */
            roles?: ("administrator" | "auditor" | "operator" | "author" | "viewer" | "approver")[];
            /** @description the person's account there: sub of the ID token */
            subject?: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        PutStopInput: {
            /** @description what is stopped: all that is set must hold */
            scope: components["schemas"]["StopScopeInput"];
            /**
             * Format: date-time
             * @description when it ends by itself, at most a year ahead; when somebody lifts it, if left out
             */
            until?: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        Reason: {
            code: string;
            message: string;
            party?: string;
        };
        RecordedDecision: {
            actor: string;
            /** Format: date-time */
            at: string;
            id: string;
            record: components["schemas"]["PdpRecord"];
            seq: number;
        };
        Ref: {
            id: string;
            type: string;
        };
        RefusalBody: {
            /** @description always false */
            decision: boolean;
            error: components["schemas"]["ErrorDetail"];
        };
        RegistrationToken: {
            as_of: number;
            /** Format: date-time */
            created_at: string;
        };
        ReportOutcomeInput: {
            /** @description how it failed technically: tool, schema, timeout */
            fault?: string;
            /** @description how long it took, in milliseconds, rounded up */
            latency_ms?: number;
            /** @description ids of the decision's obligations that were met */
            met?: string[];
            /** @description operator, of an administrator who speaks for the agent's owner */
            reporter?: string;
            /** @description what the act turned out to be: right, wrong, harmful, reverted */
            result?: string;
            /** @description how many bytes its result has */
            size_bytes?: number;
            /** @description why it is judged so, up to 1000 characters; administrators must say */
            why?: string;
        };
        ReportReceipt: {
            /** @description number of the log entry */
            entry: number;
        };
        Request: {
            action: components["schemas"]["Action"];
            approval?: components["schemas"]["ApprovalRef"];
            context?: Record<string, never>;
            observed: components["schemas"]["Observed"];
            on_behalf?: components["schemas"]["Ref"][];
            resource: components["schemas"]["Entity"];
            subject: components["schemas"]["Entity"];
        };
        RequestedAccess: {
            emergency?: boolean;
            requested_until?: string;
        };
        RetryDeliveryInput: {
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        ReviewAskInput: {
            /** @description why, 1 to 2000 bytes */
            comment: string;
            /** @description whether breaking the glass was justified */
            justified: boolean;
        };
        RevokeAgentKeysInput: {
            /** @description revoke everything active instead, and withdraw an enrolment token that is not used yet and a registration access token */
            all?: boolean;
            /** @description the key or document that is revoked */
            key?: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        RevokeCallerInput: {
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        RevokeKeyInput: {
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        RevokePasskeyInput: {
            /** @description id of the passkey that is revoked; sessions that began with it end */
            passkey: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        Risk: {
            alerts: string[];
            contributions?: components["schemas"]["Contribution"][];
            indicators: string[];
            level: string;
            score: number;
        };
        RiskAlert: {
            as_of: number;
            cleared?: boolean;
            /** Format: date-time */
            expires_at: string;
            id: string;
            kind: string;
            message?: string;
            /** Format: date-time */
            raised_at: string;
            raised_by: string;
            scope: components["schemas"]["RiskScope"];
            severity: string;
        };
        RiskIndicator: {
            as_of: number;
            cleared?: boolean;
            /** Format: date-time */
            expires_at: string;
            id: string;
            /** Format: date-time */
            raised_at: string;
            raised_by: string;
            severity: string;
            source?: string;
            type: string;
            value: string;
        };
        RiskScope: {
            agent?: string;
            purpose?: string;
            resource_type?: string;
            zone?: string;
        };
        RiskScopeInput: {
            agent?: string;
            purpose?: string;
            resource_type?: string;
            zone?: string;
        };
        RollbackInput: {
            /** @description the active version that is replaced; 0 replaces whichever is active */
            if_version?: number;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        RotateKeysInput: {
            /** @description sign with the new keys now, also where verifiers do not know them yet */
            at_once?: boolean;
            /** @description token or status; all keys, if left out */
            use?: string;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        RouteDetail: {
            /** @description titles of the groups whose members may answer */
            approvers: string[];
            id: string;
            /** @description how long a plain approval holds at most */
            lasts_seconds: number;
            /** @description whether a yes needs a passkey */
            passkey: boolean;
            /** @description how many people must say yes */
            quorum: number;
            /** @description an answer sooner than this after looking is suspicious */
            reading_ms: number;
            title?: string;
            /** @description who has, to any of its acts */
            yes: string[];
        };
        SearchEntity: {
            id?: string;
            properties?: Record<string, never>;
            type: string;
        };
        SearchRequest: {
            action?: components["schemas"]["ActionForm"];
            context?: Record<string, never>;
            page?: components["schemas"]["PageForm"];
            resource: components["schemas"]["SearchEntity"];
            subject: components["schemas"]["SearchEntity"];
        };
        Series: {
            /** @description oldest first; the last one is not over */
            items: components["schemas"]["FiguresBucket"][];
            step_seconds: number;
            window: string;
        };
        SessionCall: {
            action: string;
            agent: string;
            /** @description id of the approval that it referred to */
            approval?: string;
            /** @description as the enforcement point stated them */
            arguments?: Record<string, never>;
            /** @description how many bytes they have, if they are too many to be shown here */
            arguments_cut?: number;
            /** Format: date-time */
            at: string;
            /** @description that cover it */
            capabilities: string[];
            /** @description of the capability: read, write, egress, money, admin */
            class?: string;
            code: string;
            /** @description class of the data */
            data: string;
            effect: string;
            /** @description of the decision */
            id: string;
            /** @description no act was asked for, only what may be shown */
            listing?: boolean;
            /** @description what the agent was told, if it was refused */
            message?: string;
            /** @description ids of what must be done with it */
            obligations?: string[];
            /** @description for whom, nearest first */
            on_behalf?: components["schemas"]["Ref"][];
            outcomes?: components["schemas"]["CallOutcome"][];
            pep?: string;
            /** @description where the arguments came from, by name */
            provenance?: components["schemas"]["Provenance"];
            resource: components["schemas"]["Ref"];
            seq: number;
            /** @description level of the agent at that moment */
            trust?: string;
        };
        SessionPlace: {
            id: string;
            /** @description if it came within a day */
            next?: components["schemas"]["DecisionGlance"];
            previous?: components["schemas"]["DecisionGlance"];
        };
        SessionStory: {
            /** @description the session as each agent in it sees it */
            agents: components["schemas"]["ActivitySession"][];
            calls: components["schemas"]["SessionCall"][];
            /** @description entries that are too many to be remembered by session: the log has them */
            earlier?: number;
            /** @description of the agents, that were found in this session; of each agent the newest 200 are looked at */
            findings: components["schemas"]["ConductFinding"][];
            id: string;
            /** @description the next page's after */
            next?: number;
        };
        SetAgentStateInput: {
            /** @description the revision that is changed; 0 changes whichever stands */
            if_revision?: number;
            /** @enum {string} */
            state: "active" | "suspended" | "quarantined" | "retired";
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        SetTrustInput: {
            /** @description read, write, egress, money or admin; every class, if left out */
            class?: string;
            /**
             * Format: date-time
             * @description when conduct decides again, at most a year ahead; this or ttl_seconds is needed with a level, but not with restore
             */
            expires_at?: string;
            /** @description none, low, medium or high; left out, conduct decides again */
            level?: string;
            /** @description end a quarantine and lift the agent to the level at once; from there on conduct decides */
            restore?: boolean;
            /** @description the same as so many seconds from now */
            ttl_seconds?: number;
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        SignInLink: {
            as_of: number;
            /** Format: date-time */
            expires_at: string;
            person: string;
            /** @description whoever opens it can be the person for as long as a session lasts: hand it over as you would a password */
            url: string;
        };
        SignOutPersonInput: {
            /** @description why the change is made, 1 to 1000 characters; it is recorded */
            why: string;
        };
        SimilarAsk: {
            acts: string[];
            /** @description who said what: sentences */
            answered: string[];
            /** Format: date-time */
            asked_at: string;
            id: string;
            /** @description whether what was approved was taken back */
            revoked?: boolean;
            status: string;
        };
        Status: {
            agents: number;
            /** @description batches under the newest signed checkpoint */
            checkpoint: number;
            /** @description that described themselves and have not said that they stop */
            enforcement_points: number;
            /** @description of them those that decide by themselves */
            enforcement_points_embedded: number;
            /** @description routes of enforcement points that let through what cannot be decided: CALLER/GATEWAY ROUTE */
            fail_open: string[];
            /** @description number of the newest entry that this process has applied */
            head: number;
            /** @description number of the newest entry that the search index holds */
            indexed: number;
            log_origin: string;
            log_verifier: string;
            /** @description the active version; 0 if there is none */
            policies: number;
            ready: boolean;
            reasons: string[];
            /** @description sqlite or postgres */
            store: string;
            uptime_seconds: number;
            version: string;
        };
        Step: {
            actor: string;
            /** Format: date-time */
            at: string;
            /** @description the entry's, for administrators and auditors */
            body?: unknown;
            kind: string;
            /** @description whether the entry changed nothing: another came first */
            lost?: boolean;
            seq: number;
            /** @description what happened, in one sentence */
            what: string;
        };
        StopScope: {
            /** @description this agent, and whoever acts for it */
            agent?: string;
            /** @description what this capability of the catalog lets do, whoever does it */
            capability?: string;
            /** @description every request of everybody */
            everything?: boolean;
            /** @description agents of this owner, and whoever acts for one */
            owner?: string;
            /** @description agents of this purpose, and whoever acts for one */
            purpose?: string;
        };
        StopScopeInput: {
            /** @description this agent, and whoever acts for it */
            agent?: string;
            /** @description what this capability of the catalog lets do, whoever does it */
            capability?: string;
            /** @description every request of everybody */
            everything?: boolean;
            /** @description agents of this owner, and whoever acts for one */
            owner?: string;
            /** @description agents of this purpose, and whoever acts for one */
            purpose?: string;
        };
        StopView: {
            /** @description how many registered agents are in its scope now, the retired ones left out; 0 of one that does not hold */
            agents: number;
            /** @description number of the log entry that put it */
            as_of: number;
            id: string;
            /** @description number of the log entry that lifted it */
            lifted_as_of?: number;
            /** Format: date-time */
            lifted_at?: string;
            lifted_by?: string;
            lifted_why?: string;
            /** Format: date-time */
            put_at: string;
            put_by: string;
            scope: components["schemas"]["StopScope"];
            /** @description whether it holds now: it was not lifted, and its time is not over */
            standing: boolean;
            /**
             * Format: date-time
             * @description when it ends by itself; never, if it is not set
             */
            until?: string;
            why: string;
        };
        StopViewList: {
            items: components["schemas"]["StopView"][];
            next?: string;
        };
        Story: {
            ask: components["schemas"]["AskView"];
            /** @description whether there are more steps than are shown */
            cut?: boolean;
            steps: components["schemas"]["Step"][];
        };
        Task: {
            display: components["schemas"]["Display"];
            /**
             * Format: date-time
             * @description until when the task can be read; while it is pending: until when an answer is waited for
             */
            expires_at: string;
            id: string;
            /** @description if it was submitted with items, in their order */
            items?: components["schemas"]["TaskItem"][];
            links?: components["schemas"]["TaskLinks"];
            /** @description pending, approved, denied, expired, cancelled, failed, partial */
            status: string;
            status_endpoint: string;
        };
        TaskItem: {
            action: components["schemas"]["ActionForm"];
            resource: components["schemas"]["EntityForm"];
            result?: components["schemas"]["TaskResult"];
            status: string;
        };
        TaskLinks: {
            cancel: string;
        };
        TaskResponse: {
            /** @description of one act that was approved */
            result?: components["schemas"]["TaskResult"];
            task: components["schemas"]["Task"];
        };
        TaskResult: {
            approval: components["schemas"]["ApprovalForm"];
            /** @description reevaluate */
            mode: string;
        };
        TestPoliciesInput: {
            /** @description files of cases, as safeconduct policy test takes them: *.test.yaml, or archives that hold some; the draft judges them, whatever policies they name */
            cases: components["schemas"]["PolicyFileInput"][];
            /** @description text of a YAML or JSON catalog document */
            catalog?: string;
            source?: components["schemas"]["PolicySourceInput"];
        };
        TestReport: {
            cases: components["schemas"]["PolicyCaseResult"][];
            /** @description how far the cases exercised each policy */
            coverage: components["schemas"]["PolicyCoverage"][];
            failed: number;
            /** @description of files that could not be read, with their lines */
            faults?: string[];
            /** @description whether all passed */
            ok: boolean;
            passed: number;
        };
        Trust: {
            level: string;
            score: number;
        };
        TrustCause: {
            /** Format: date-time */
            at: string;
            moved: number;
            seq: number;
            what: string;
        };
        TrustHistory: {
            agent: string;
            /** Format: date-time */
            from: string;
            /** @description how many points were thinned out of this answer */
            left?: number;
            /** @description oldest first; between them scores fade */
            points: components["schemas"]["MonitorPoint"][];
            /** Format: date-time */
            to: string;
        };
        TrustOverride: {
            agent: string;
            author?: string;
            class: string;
            /** Format: date-time */
            expires_at?: string;
            level: string;
            restore?: boolean;
            why: string;
        };
        TrustStanding: {
            alpha: number;
            beta: number;
            bound?: string;
            causes?: components["schemas"]["TrustCause"][];
            class: string;
            /** Format: date-time */
            earliest?: string;
            level: string;
            lowered?: boolean;
            mean: number;
            override?: components["schemas"]["TrustOverride"];
            restore?: string[];
            score: number;
            /** Format: date-time */
            since?: string;
        };
        VerifierKey: {
            /** @description in the form of a C2SP signed note's verifier key */
            key: string;
            origin: string;
        };
        VersionComparison: {
            /** @description not there for a draft */
            after?: number;
            before: number;
            catalog: components["schemas"]["PolicyChange"][];
            /** @description by id: those that were changed first, then added, removed and rewritten */
            policies: components["schemas"]["PolicyPolicyChange"][];
            same: number;
            schema: components["schemas"]["PolicyChange"][];
        };
        VersionList: {
            /** @description 0 if none is */
            active: number;
            items: components["schemas"]["PolicyVersion"][];
            next?: number;
        };
        VersionText: {
            /** Format: date-time */
            at: string;
            author: string;
            catalog: string;
            catalog_digest: string;
            message: string;
            restores?: number;
            seq: number;
            source: components["schemas"]["PolicySource"];
            source_digest: string;
            version: number;
        };
        VersionVocabulary: {
            actions: components["schemas"]["PolicyActionWord"][];
            annotations: components["schemas"]["PolicyAnnotationWord"][];
            observed: components["schemas"]["PolicyAttribute"][];
            /** @description whether the schema is so large that attributes are missing here */
            truncated?: boolean;
            types: components["schemas"]["PolicyTypeWord"][];
            /** @description 0 if none is published: then it is that of the base schema */
            version: number;
        };
        ViewAskInput: Record<string, never>;
        Way: {
            /** @description how many more must say yes */
            more: number;
            route: string;
            title?: string;
            /** @description whose yes counts, each once */
            yes: string[];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    getWellKnownAuthzenConfiguration: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Metadata"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAccessV1Evaluation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EvaluationRequest"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EvaluationResponse"];
                };
            };
            /** @description The request could not be understood, or does not fit the schema: refused, and not recorded. */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RefusalBody"];
                };
            };
            /** @description What went wrong: refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RefusalBody"];
                };
            };
        };
    };
    postAccessV1Evaluations: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EvaluationsRequest"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EvaluationsResponse"];
                };
            };
            /** @description The request could not be understood, or does not fit the schema: refused, and not recorded. */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RefusalBody"];
                };
            };
            /** @description What went wrong: refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RefusalBody"];
                };
            };
        };
    };
    postAccessV1Requests: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AccessRequest"];
            };
        };
        responses: {
            /** @description Done. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TaskResponse"];
                };
            };
            /** @description Done. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TaskResponse"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemBody"];
                };
            };
        };
    };
    getAccessV1RequestsSchemasTemplate: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                template: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/schema+json": {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemBody"];
                };
            };
        };
    };
    getAccessV1RequestsId: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description task.id */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TaskResponse"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemBody"];
                };
            };
        };
    };
    postAccessV1RequestsIdCancel: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description task.id */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TaskResponse"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemBody"];
                };
            };
        };
    };
    deleteAccessV1RequestsIdCancel: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description task.id */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TaskResponse"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemBody"];
                };
            };
        };
    };
    postAccessV1SearchAction: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SearchRequest"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ActionSearchResponse"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAccessV1SearchResource: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SearchRequest"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EntitySearchResponse"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAccessV1SearchSubject: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SearchRequest"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EntitySearchResponse"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getCheckpoint: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": unknown;
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getHealthz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getMetrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": unknown;
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getOpenapiJson: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getReadyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getTilePath: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                path: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAgents: {
        parameters: {
            query?: {
                /** @description only agents in this state */
                state?: string;
                /** @description only agents of this owner */
                owner?: string;
                /** @description only agents with this purpose */
                purpose?: string;
                /** @description only agents that are granted this capability */
                capability?: string;
                /** @description only agents with this text in their id, owner, purpose or version */
                text?: string;
                /** @description begin after this id */
                after?: string;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAgentsId: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Agent"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    putAgentsId: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PutAgentInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Agent"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAgentsIdDelegation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DelegationTree"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAgentsIdDocument: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LinkDocumentInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentKey"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAgentsIdEnrolment: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EnrolAgentInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EnrolmentToken"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAgentsIdKeys: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentKeys"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAgentsIdKeysRevoke: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RevokeAgentKeysInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentKeys"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAgentsIdSessions: {
        parameters: {
            query?: {
                /** @description only sessions whose newest entry is numbered below: next of the page before */
                before?: number;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentSessions"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAgentsIdState: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetAgentStateInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Agent"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAgentsIdTrust: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MonitorReport"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAgentsIdTrust: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetTrustInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MonitorReport"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAgentsIdTrustHistory: {
        parameters: {
            query?: {
                /** @description not earlier than; 90 days ago if left out */
                from?: string;
                /** @description not later than; now if left out */
                to?: string;
                /** @description at most so many, 300 if left out and 1000 at most; of more, those that nothing moved are thinned first */
                points?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TrustHistory"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAgentsIdUse: {
        parameters: {
            query?: {
                /** @description how far back, 1 to 91 days; 28 if left out. It is rounded to the beginning of a week */
                days?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentUse"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAlerts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AlertList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAlertsPreview: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PreviewAlertInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Preview"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    putAlertsId: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PutAlertInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RiskAlert"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAlertsIdClear: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ClearRiskInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Cleared"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getApprovals: {
        parameters: {
            query?: {
                /** @description only those that wait for the answer of the person who calls */
                mine?: boolean;
                /** @description only asks that have come so far: pending, approved, denied, expired, cancelled, failed, partial */
                status?: string;
                /** @description only asks of this agent */
                agent?: string;
                /** @description only asks that go by this route */
                route?: string;
                /** @description only asks that wait, and are an emergency, were escalated, or end within ten minutes */
                urgent?: boolean;
                /** @description only asks of this session */
                session?: string;
                /** @description only broken glass that waits for a review */
                review?: boolean;
                /** @description begin after the ask of this id */
                after?: string;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskViewList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postApprovalsAnswers: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AnswerAsksInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BulkAnswer"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getApprovalsAway: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AwayList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    putApprovalsAway: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PutAwayInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApprovalAway"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getApprovalsCounts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskCounts"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getApprovalsStats: {
        parameters: {
            query?: {
                /** @description of how many seconds, an hour by default and a day at most */
                window_seconds?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskStats"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getApprovalsId: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description of the ask: arq_... */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskDetail"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postApprovalsIdAnswer: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                /** @description of the ask: arq_... */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AnswerAskInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postApprovalsIdBreakGlass: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                /** @description of the ask: arq_... */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BreakGlassInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postApprovalsIdCancel: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                /** @description of the ask: arq_... */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EndAskInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postApprovalsIdChallenge: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                /** @description of the ask: arq_... */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChallengeAskInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AnswerChallenge"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postApprovalsIdReview: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                /** @description of the ask: arq_... */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ReviewAskInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postApprovalsIdRevoke: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                /** @description of the ask: arq_... */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EndAskInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getApprovalsIdStory: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description of the ask: arq_... */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Story"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postApprovalsIdView: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                /** @description of the ask: arq_... */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ViewAskInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskViewing"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postAuditBundle: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExportEntriesInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/zip": unknown;
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAuditCheckpoints: {
        parameters: {
            query?: {
                /** @description only of trees of fewer batches */
                before?: number;
                /** @description at most so many, 50 by default and 200 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CheckpointList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAuditEntries: {
        parameters: {
            query?: {
                /** @description decision.made, agent.put, policy.publish, ... */
                kind?: string;
                /** @description who did it: pep:NAME, admin:NAME, safeconduct */
                actor?: string;
                /** @description id of an agent that acted, or that the entry is about */
                agent?: string;
                /** @description name of a decision's action */
                action?: string;
                /** @description type:id of a decision's resource */
                resource?: string;
                /** @description effect of a decision: deny, require_approval, step_up, allow */
                outcome?: string;
                /** @description code of a decision */
                code?: string;
                /** @description session of a decision, as its enforcement point keeps it */
                session?: string;
                /** @description type:id of somebody for whom the agent of a decision acts */
                behalf?: string;
                /** @description id of a decision that the entry is about: reports of its outcome, asks for approval */
                decision?: string;
                /** @description words that all occur */
                text?: string;
                /** @description not earlier than */
                from?: string;
                /** @description not later than */
                to?: string;
                /** @description only entries numbered below */
                before?: number;
                /** @description only entries numbered above */
                after?: number;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
                /** @description how long to search before it stops where it is, for people who wait; without it, to the end */
                patience_ms?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EntryList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAuditEntriesSeq: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                seq: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditEntry"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAuditEntriesSeqProof: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                seq: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditEntryProof"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAuditGrowth: {
        parameters: {
            query?: {
                /** @description how many batches the log had */
                old?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditGrowthProof"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getAuditKey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VerifierKey"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getCallers: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CallerList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postCallers: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateCallerInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CreatedCaller"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postCallersIdRevoke: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RevokeCallerInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CallerCaller"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getCatalog: {
        parameters: {
            query?: {
                /** @description the active one by default */
                version?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CatalogView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getCatalogSchedulesIdCalendar: {
        parameters: {
            query?: {
                /** @description the first day, as 2026-12-24; today by default */
                from?: string;
                /** @description the last day; six days later by default, and 400 days in all at most */
                to?: string;
                /** @description the active one by default */
                version?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Calendar"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getDecisionsId: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description as evaluation_id gives it: d123 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecordedDecision"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getDecisionsIdExplain: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description as evaluation_id gives it: d123 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Explanation"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postDecisionsIdOutcome: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description as evaluation_id gives it: d123 */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ReportOutcomeInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OutcomeReceipt"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getDeliveries: {
        parameters: {
            query?: {
                /** @description only deliveries in this state: waiting, told, moot, or dead, which are those that were given up */
                state?: string;
                /** @description only deliveries about the ask of this id */
                ask?: string;
                /** @description begin with the one that is next older than the delivery of this id */
                before?: string;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeliveryList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getDeliveriesId: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NotifyDelivery"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postDeliveriesIdRetry: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RetryDeliveryInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NotifyDelivery"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getEdgeFeed: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": unknown;
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postEdgePassport: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LookAtPassportInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FeedBearer"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getEdgePoliciesVersion: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description of the policies, as the feed tells it */
                version: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FeedVersion"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postEdgeRecords: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["FeedRecordsInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FeedAcknowledged"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getEnforcementPoints: {
        parameters: {
            query?: {
                /** @description begin after this point: next of the page before */
                after?: string;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PointList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postEnforcementReports: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EnforcementReportInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReportReceipt"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getFindings: {
        parameters: {
            query?: {
                /** @description only findings about this agent */
                agent?: string;
                /** @description only findings of this kind, or whose kind begins so before its dot: deviation, escalation, performance, compliance */
                kind?: string;
                /** @description only findings that are so grave or graver: low, medium, high, critical */
                severity?: string;
                /** @description only findings in this state: open, acknowledged, dismissed, confirmed */
                state?: string;
                /** @description begin with the one that is next older than the finding of this id */
                before?: string;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FindingList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getFindingsCounts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FindingCounts"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getFindingsId: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConductFinding"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postFindingsIdJudge: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JudgeFindingInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConductFinding"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getFleet: {
        parameters: {
            query?: {
                /** @description only agents in this state: active, suspended, quarantined, retired */
                state?: string;
                /** @description only agents of this owner */
                owner?: string;
                /** @description only agents with this purpose */
                purpose?: string;
                /** @description only agents that are granted this capability */
                capability?: string;
                /** @description only agents whose lowest level of trust over the classes is this: none, low, medium, high; unknown: nothing is known of its conduct */
                trust?: string;
                /** @description open: only agents with open findings; none: only those without; or only those with one so grave or graver: low, medium, high, critical */
                findings?: string;
                /** @description none: only agents with nothing to authenticate with; some: only those with something */
                credential?: string;
                /** @description only agents whose last active key expires within so many days, 3650 at most */
                expires_within_days?: number;
                /** @description only agents whose newest active key was registered more than so many days ago, 3650 at most */
                older_than_days?: number;
                /** @description only agents with this text in their id, owner, purpose or version */
                text?: string;
                /** @description id, if left out; trust: the lowest first; findings: the gravest first */
                order?: string;
                /** @description count the agents by what they could be filtered by */
                facets?: boolean;
                /** @description where the page begins: next of the page before */
                after?: string;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FleetList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getIndicators: {
        parameters: {
            query?: {
                /** @description only indicators of this type: ip, domain, agent, resource, sha256 */
                type?: string;
                /** @description begin after this id */
                after?: string;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IndicatorList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    putIndicatorsId: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PutIndicatorInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RiskIndicator"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postIndicatorsIdClear: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ClearRiskInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Cleared"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getKeys: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InfoList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getKeysDue: {
        parameters: {
            query?: {
                /** @description keys that expire within so many days: 14 if left out, 3650 at most */
                within_days?: number;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DueAgentKeys"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postKeysRotate: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RotateKeysInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InfoList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postKeysKidRevoke: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                kid: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RevokeKeyInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyringInfo"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getOverview: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Overview"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getOverviewSeries: {
        parameters: {
            query?: {
                /** @description 1h, in steps of a minute; 24h, of ten minutes; 7d, of an hour; 30d, of six hours. 24h, if left out */
                window?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Series"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getPeople: {
        parameters: {
            query?: {
                /** @description only persons with this text in their id, name or e-mail address */
                text?: string;
                /** @description begin after this id */
                after?: string;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PersonViewList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getPeopleId: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PersonView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    putPeopleId: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PutPersonInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PersonView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPeopleIdEnrolment: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EnrolPersonInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EnrolmentLink"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPeopleIdLink: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LinkPersonInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInLink"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPeopleIdPasskeysRevoke: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RevokePasskeyInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PersonView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPeopleIdSignOut: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SignOutPersonInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PersonView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getPolicies: {
        parameters: {
            query?: {
                /** @description begin before this version */
                before?: number;
                /** @description at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPolicies: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PublishInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PolicyVersion"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getPoliciesActive: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionText"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPoliciesBacktest: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BacktestInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BacktestReport"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPoliciesCheck: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CheckPoliciesInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CheckReport"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPoliciesDiff: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CompareDraftInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionComparison"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getPoliciesSchema: {
        parameters: {
            query?: {
                /** @description the active one by default */
                version?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionVocabulary"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPoliciesTest: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TestPoliciesInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TestReport"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getPoliciesADiffB: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the earlier one */
                a: number;
                /** @description the later one */
                b: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionComparison"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getPoliciesVersion: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                version: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionText"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postPoliciesVersionRollback: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                version: number;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RollbackInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PolicyVersion"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getReport: {
        parameters: {
            query?: {
                /** @description a month in the organisation's zone, such as 2026-11; not together with from and to */
                month?: string;
                /** @description days that begin at or after this moment; the begin of this month in the organisation's zone, if left out */
                from?: string;
                /** @description and before this one; the end of the month, if left out. At most 370 days */
                to?: string;
                /** @description json, or csv: one line for each purpose and owner */
                format?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FiguresReport"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getSessionsId: {
        parameters: {
            query?: {
                /** @description only what this agent did in it */
                agent?: string;
                /** @description only calls after the entry of this number: next of the page before */
                after?: number;
                /** @description at most so many calls, 50 by default and 200 at most */
                limit?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionStory"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getStatus: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Status"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getStops: {
        parameters: {
            query?: {
                /** @description also those that were lifted and those whose time is over, newest first; the standing ones, sorted by id, if left out */
                all?: boolean;
                /** @description with all: begin with the one that is next older, as next says */
                before?: string;
                /** @description with all: at most so many, 100 by default and 1000 at most */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StopViewList"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postStopsPreview: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PreviewStopInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Preview"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    putStopsId: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PutStopInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StopView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    postStopsIdLift: {
        parameters: {
            query?: never;
            header?: {
                /** @description needed of a person who is signed in: pages of other sites cannot send it */
                "X-Safeconduct-Request"?: "1";
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LiftStopInput"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StopView"];
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getStream: {
        parameters: {
            query?: {
                /** @description only signals about this agent */
                agent?: string;
                /** @description only signals of this type: finding, trust, quarantine */
                type?: string;
                /** @description tell events of these types, separated by commas, and let the stream be resumed: decision, approval, alert, policy, agent, finding, trust, quarantine, or all */
                types?: string;
                /** @description with types: only decisions with these effects, separated by commas: deny, require_approval, step_up, allow */
                effects?: string;
                /** @description with types: at most so many decisions a second, up to 1000; an event, sample, says of how many. All, if left out */
                rate?: number;
                /** @description with types: begin with so many of the newest decisions, up to 200 */
                last?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": unknown;
                };
            };
            /** @description What went wrong. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
}
