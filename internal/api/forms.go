package api

import (
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// The forms of the AuthZEN requests and answers, for the OpenAPI document. The hot path does not go
// through them: see parse.go and encode.go; a test holds the two together.

// An EvaluationRequest is the body of an evaluation.
type EvaluationRequest struct {
	Subject  EntityForm    `json:"subject,omitzero" doc:"may be left out if a passport names it: an agent that asks for itself, or context.observed.passport"`
	Action   ActionForm    `json:"action"`
	Resource EntityForm    `json:"resource"`
	Context  authz.Claimed `json:"context,omitempty" doc:"what the caller says of the moment. An enforcement point adds what it saw: observed, supported_obligations, on_behalf_of"`
}

// An EntityForm is a subject or a resource.
type EntityForm struct {
	Type       string        `json:"type"`
	ID         string        `json:"id"`
	Properties authz.Claimed `json:"properties,omitempty"`
}

// An ActionForm is an action.
type ActionForm struct {
	Name       string        `json:"name"`
	Properties authz.Claimed `json:"properties,omitempty"`
}

// An EvaluationResponse is a decision.
type EvaluationResponse struct {
	Decision bool            `json:"decision"`
	Context  DecisionContext `json:"context"`
}

// A DecisionContext is the agent's view of a decision.
type DecisionContext struct {
	EvaluationID string             `json:"evaluation_id,omitempty" doc:"names the record of the decision"`
	Code         string             `json:"code"`
	Reasons      []authz.Reason     `json:"reasons,omitempty"`
	Changes      []authz.Change     `json:"changes,omitempty" doc:"the smallest set of changes that would turn the refusal into permission"`
	Remedies     []string           `json:"remedies,omitempty" doc:"approval, step_up: those that together lift the refusal"`
	Obligations  []authz.Obligation `json:"obligations,omitempty" doc:"all must be met, also those of a refusal; else the act must not happen"`
	EvaluatedAt  time.Time          `json:"evaluated_at,omitzero" doc:"of a refusal that can be asked about, or of an answer about an approval"`
	Reason       string             `json:"reason,omitempty" doc:"likewise: approval_required, or why the approval in the request does not lift the refusal"`
	NextAction   string             `json:"next_action,omitempty" doc:"of a refusal of a request that refers to an approval: request, retry or none"`
	RetryAfter   int                `json:"retry_after,omitempty" doc:"seconds to wait, of next_action retry"`
	Access       *AccessOffer       `json:"access_request,omitempty" doc:"the refusal can be asked about"`
	Approval     *ApprovalForm      `json:"approval,omitempty" doc:"the approval by which the act is allowed: not beyond its end"`
	Error        *ItemError         `json:"error,omitempty" doc:"of an item of a batch that could not be understood, or does not fit the schema, and of a passport that does not count"`
}

// An ItemError says why an item of a batch could not be understood, or does not fit the schema.
type ItemError struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

// An EvaluationsRequest is the body of a batch. What an item leaves out is taken from beside it.
type EvaluationsRequest struct {
	Subject     *EntityForm        `json:"subject,omitempty"`
	Action      *ActionForm        `json:"action,omitempty"`
	Resource    *EntityForm        `json:"resource,omitempty"`
	Context     authz.Claimed      `json:"context,omitempty"`
	Evaluations []EvaluationItem   `json:"evaluations,omitempty"`
	Options     *EvaluationOptions `json:"options,omitempty"`
}

// An EvaluationItem is one item of a batch.
type EvaluationItem struct {
	Subject  *EntityForm   `json:"subject,omitempty"`
	Action   *ActionForm   `json:"action,omitempty"`
	Resource *EntityForm   `json:"resource,omitempty"`
	Context  authz.Claimed `json:"context,omitempty"`
}

// EvaluationOptions say how a batch is executed.
type EvaluationOptions struct {
	Semantic string `json:"evaluations_semantic,omitempty" doc:"execute_all, deny_on_first_deny or permit_on_first_permit"`
}

// An EvaluationsResponse answers a batch; one without items is answered as an EvaluationResponse.
type EvaluationsResponse struct {
	Evaluations []EvaluationResponse `json:"evaluations,omitempty"`
	Decision    *bool                `json:"decision,omitempty"`
	Context     *DecisionContext     `json:"context,omitempty"`
}

// A SearchRequest is the body of a search. What is searched for has no id, or no action at all.
type SearchRequest struct {
	Subject  SearchEntity  `json:"subject"`
	Action   *ActionForm   `json:"action,omitempty"`
	Resource SearchEntity  `json:"resource"`
	Context  authz.Claimed `json:"context,omitempty"`
	Page     *PageForm     `json:"page,omitempty"`
}

// A SearchEntity is a subject or a resource, or the type of what is searched for.
type SearchEntity struct {
	Type       string        `json:"type"`
	ID         string        `json:"id,omitempty"`
	Properties authz.Claimed `json:"properties,omitempty"`
}

// A PageForm says which part of the results is wanted.
type PageForm struct {
	Token string `json:"token,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// An EntitySearchResponse is one page of subjects or resources.
type EntitySearchResponse struct {
	Page    *PageResponse  `json:"page,omitempty"`
	Results []EntityResult `json:"results"`
}

// An EntityResult is a subject or a resource that was found. Who cannot meet its obligations leaves it out.
type EntityResult struct {
	Type        string             `json:"type"`
	ID          string             `json:"id"`
	Obligations []authz.Obligation `json:"obligations,omitempty" doc:"all must be met, else this result must not be used"`
}

// An ActionSearchResponse is one page of actions.
type ActionSearchResponse struct {
	Page    *PageResponse `json:"page,omitempty"`
	Results []ActionName  `json:"results"`
}

// An ActionName is an action that was found.
type ActionName struct {
	Name        string             `json:"name"`
	Obligations []authz.Obligation `json:"obligations,omitempty" doc:"all must be met, else this result must not be used"`
}

// A PageResponse says where the next page begins; an empty token is the end.
type PageResponse struct {
	NextToken string `json:"next_token"`
	Count     int    `json:"count"`
}
