package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Semantics say when a batch ends before its last request.
const (
	ExecuteAll          = "execute_all"
	DenyOnFirstDeny     = "deny_on_first_deny"
	PermitOnFirstPermit = "permit_on_first_permit"
)

// wireDecision is a decision as AuthZEN writes it, with the context that Safeconduct adds.
type wireDecision struct {
	Decision bool `json:"decision"`
	Context  struct {
		EvaluationID string             `json:"evaluation_id"`
		Code         string             `json:"code"`
		Reasons      []authz.Reason     `json:"reasons"`
		Changes      []authz.Change     `json:"changes"`
		Remedies     []string           `json:"remedies"`
		Obligations  []authz.Obligation `json:"obligations"`
		Error        json.RawMessage    `json:"error"`
		wireRequestable
	} `json:"context"`
}

// decision returns w as a Decision. Of what it cannot know (policies, facts) the record tells.
func (w *wireDecision) decision() authz.Decision {
	x := &w.Context
	d := authz.Decision{Code: x.Code, Reasons: x.Reasons, Changes: x.Changes, Remedies: x.Remedies, Obligations: x.Obligations}
	if id, ok := strings.CutPrefix(x.EvaluationID, "d"); ok {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			d.Seq = n
		}
	}
	switch {
	case w.Decision:
		d.Effect, d.Code = authz.Allow, authz.CodeAllowed
	case x.Code == authz.CodeApprovalRequired:
		d.Effect = authz.RequireApproval
	case x.Code == authz.CodeStepUpRequired:
		d.Effect = authz.StepUp
	case x.Code == "":
		d.Code = authz.CodeNoPermit
	}
	return d
}

// Decide asks whether req may happen. The Decision can always be used: with an error it refuses.
func (c *Client) Decide(ctx context.Context, req authz.Request) (authz.Decision, error) {
	return c.decide(ctx, c.appendRequest(nil, &req, nil))
}

// DecidePresented asks whether req may happen, for whoever presented the passport p to this
// enforcement point: the service verifies it, and its capabilities narrow what policy allows. The
// subject may be left out: it is the passport's bearer. The audience is the enforcement point's own name,
// for which the passport must be; a proof goes with the method and URL of the request it came with.
func (c *Client) DecidePresented(ctx context.Context, p authz.Presented, req authz.Request) (authz.Decision, error) {
	return c.decide(ctx, c.appendRequest(nil, &req, &p))
}

func (c *Client) decide(ctx context.Context, question []byte) (authz.Decision, error) {
	answer, err := c.send(ctx, "POST", "/access/v1/evaluation", question, true)
	if err != nil {
		return refused(err), err
	}
	var w wireDecision
	if err := json.Unmarshal(answer, &w); err != nil {
		err = authz.Errorf(authz.ErrUnavailable, "the service's answer is no decision: %w", err)
		return refused(err), err
	}
	return w.decision(), nil
}

// DecideAll asks for several decisions at once, until the semantics ("" is ExecuteAll) end the batch;
// there are as many Decisions as were made. With an error there is one refusal for each request.
func (c *Client) DecideAll(ctx context.Context, reqs []authz.Request, semantics string) ([]authz.Decision, error) {
	if len(reqs) == 0 {
		return nil, nil
	}
	if semantics == "" {
		semantics = ExecuteAll
	}
	body := []byte(`{"options":{"evaluations_semantic":`)
	body = appendJSON(body, semantics)
	body = append(body, `},"evaluations":[`...)
	for i := range reqs {
		if i > 0 {
			body = append(body, ',')
		}
		body = c.appendRequest(body, &reqs[i], nil)
	}
	body = append(body, `]}`...)
	answer, err := c.send(ctx, "POST", "/access/v1/evaluations", body, true)
	var w struct {
		Evaluations []wireDecision `json:"evaluations"`
	}
	if err == nil {
		if err = json.Unmarshal(answer, &w); err == nil && (len(w.Evaluations) == 0 || len(w.Evaluations) > len(reqs) || semantics == ExecuteAll && len(w.Evaluations) < len(reqs)) {
			err = fmt.Errorf("%d decisions for %d requests", len(w.Evaluations), len(reqs))
		}
		if err != nil {
			err = authz.Errorf(authz.ErrUnavailable, "the service's answer is no batch of decisions: %w", err)
		}
	}
	if err != nil {
		out := make([]authz.Decision, len(reqs))
		for i := range out {
			out[i] = refused(err)
		}
		return out, err
	}
	out := make([]authz.Decision, len(w.Evaluations))
	for i := range out {
		out[i] = w.Evaluations[i].decision()
	}
	return out, nil
}

// refused returns the refusal that stands for an error.
func refused(err error) (d authz.Decision) {
	code, message := authz.CodeUnavailable, "No decision could be had."
	if errors.Is(err, authz.ErrInvalid) {
		code, message = authz.CodeInvalid, err.Error()
	}
	d.Refuse(code, message)
	return d
}

// appendRequest appends req as AuthZEN writes it, what was observed in the context.
func (c *Client) appendRequest(b []byte, req *authz.Request, p *authz.Presented) []byte {
	return c.appendQuestion(b, req, p, nil)
}

// appendQuestion is appendRequest with an approval, as it was given out; nil stands for the one that req
// refers to.
func (c *Client) appendQuestion(b []byte, req *authz.Request, p *authz.Presented, approval json.RawMessage) []byte {
	b = c.appendEntities(b, req, p)
	b = c.appendMoment(b, req, p, approval)
	return append(b, '}')
}

// appendEntities appends the beginning of an object, with the members subject, resource and action.
func (c *Client) appendEntities(b []byte, req *authz.Request, p *authz.Presented) []byte {
	b = append(b, '{')
	if s := &req.Subject; p == nil && !c.self || !s.Ref.IsZero() || len(s.Properties) > 0 {
		b = append(b, `"subject":`...)
		b = appendEntity(b, s)
		b = append(b, ',')
	}
	b = append(b, `"resource":`...)
	b = appendEntity(b, &req.Resource)
	if req.Action.Name != "" {
		b = append(b, `,"action":{"name":`...)
		b = appendJSON(b, req.Action.Name)
		b = appendClaimed(b, `,"properties":`, req.Action.Properties)
		b = append(b, '}')
	}
	return b
}

// appendMoment appends the member context, with what was observed, if there is anything to say.
func (c *Client) appendMoment(b []byte, req *authz.Request, p *authz.Presented, approval json.RawMessage) []byte {
	seen := make(map[string]any)
	o := req.Observed
	if o.Obligations == nil && !c.self {
		o.Obligations = c.Obligations
	}
	o.PEP, o.RequestID = "", "" // the service knows them better
	if o.Address.IsValid() || o.Session != "" || o.Task != "" || o.Provenance != nil || o.Obligations != nil || o.Listing || p != nil {
		observed := map[string]any{}
		if o.Address.IsValid() {
			observed["ip"] = o.Address
		}
		if o.Listing {
			observed["listing"] = true
		}
		if o.Session != "" {
			observed["session"] = o.Session
		}
		if o.Task != "" {
			observed["task"] = o.Task
		}
		if o.Provenance != nil {
			observed["provenance"] = o.Provenance
		}
		if o.Obligations != nil {
			observed["supported_obligations"] = o.Obligations
		}
		if p != nil {
			observed["passport"] = presentedOf(p)
		}
		seen["observed"] = observed
	}
	if len(req.OnBehalf) > 0 {
		seen["on_behalf_of"] = req.OnBehalf
	}
	switch {
	case approval != nil:
		seen["approval"] = approval
	case req.Approval != nil:
		seen["approval"] = req.Approval
	}
	return appendContext(b, req.Context, seen)
}

// appendContext appends the member context, of what is claimed and what is seen.
func appendContext(b []byte, context authz.Claimed, seen map[string]any) []byte {
	claimed := strings.TrimSpace(string(context))
	if len(seen) == 0 {
		return appendClaimed(b, `,"context":`, authz.Claimed(claimed))
	}
	b = append(b, `,"context":`...)
	extra, err := json.Marshal(seen)
	if err != nil { // strings and addresses always encode
		extra = []byte(`{}`)
	}
	if inner, ok := strings.CutPrefix(claimed, "{"); ok && strings.TrimSpace(strings.TrimSuffix(inner, "}")) != "" {
		b = append(b, extra[:len(extra)-1]...)
		b = append(b, ',')
		return append(b, inner...)
	}
	return append(b, extra...)
}

// presented is a passport as it was presented, in the context of a question.
type presented struct {
	Token       string `json:"token"`
	Proof       string `json:"proof,omitempty"`
	Method      string `json:"method,omitempty"`
	URL         string `json:"url,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	Audience    string `json:"audience,omitempty"`
	Shown       string `json:"shown_at,omitempty"`
}

func presentedOf(p *authz.Presented) presented {
	out := presented{Token: p.Token, Proof: p.Proof, Method: p.Method, URL: p.URL, Certificate: p.Certificate, Audience: p.Audience}
	if !p.Shown.IsZero() {
		out.Shown = p.Shown.UTC().Format(time.RFC3339Nano)
	}
	return out
}

func appendEntity(b []byte, e *authz.Entity) []byte {
	b = append(b, `{"type":`...)
	b = appendJSON(b, e.Type)
	if e.ID != "" {
		b = append(b, `,"id":`...)
		b = appendJSON(b, e.ID)
	}
	b = appendClaimed(b, `,"properties":`, e.Properties)
	return append(b, '}')
}

func appendClaimed(b []byte, member string, c authz.Claimed) []byte {
	if len(c) == 0 {
		return b
	}
	return append(append(b, member...), c...)
}

func appendJSON(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return append(b, `""`...)
	}
	return append(b, text...)
}

// A Page says which part of a search's results is wanted: Token is the one that the previous page
// gave, Limit bounds the results; both may be left out.
type Page struct {
	Token string `json:"token,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// A Result is one that a search found. It may be shown to whoever asked once its obligations are met, and
// only then.
type Result[T any] struct {
	Value       T
	Obligations []authz.Obligation
}

// SearchSubjects returns subjects of req.Subject's type that may do req's action on req's resource,
// and the token of the next page, "" if there is none. Those that come with obligations are left out;
// FindSubjects has them.
func (c *Client) SearchSubjects(ctx context.Context, req authz.Request, page Page) ([]authz.Ref, string, error) {
	found, next, err := c.FindSubjects(ctx, req, page)
	return free(found), next, err
}

// SearchResources returns resources of req.Resource's type on which req's subject may do req's action, but
// for those that come with obligations; FindResources has them.
func (c *Client) SearchResources(ctx context.Context, req authz.Request, page Page) ([]authz.Ref, string, error) {
	found, next, err := c.FindResources(ctx, req, page)
	return free(found), next, err
}

// SearchActions returns the names of the actions that req's subject may do on req's resource, but for
// those that come with obligations; FindActions has them.
func (c *Client) SearchActions(ctx context.Context, req authz.Request, page Page) ([]string, string, error) {
	found, next, err := c.FindActions(ctx, req, page)
	return free(found), next, err
}

// FindSubjects is SearchSubjects, with the obligations of each result. Show meets them.
func (c *Client) FindSubjects(ctx context.Context, req authz.Request, page Page) ([]Result[authz.Ref], string, error) {
	req.Subject.ID = ""
	return search(ctx, c, "subject", &req, page, foundRef)
}

// FindResources is SearchResources, with the obligations of each result.
func (c *Client) FindResources(ctx context.Context, req authz.Request, page Page) ([]Result[authz.Ref], string, error) {
	req.Resource.ID = ""
	return search(ctx, c, "resource", &req, page, foundRef)
}

// FindActions is SearchActions, with the obligations of each result.
func (c *Client) FindActions(ctx context.Context, req authz.Request, page Page) ([]Result[string], string, error) {
	req.Action = authz.Action{}
	return search(ctx, c, "action", &req, page, func(f *wireFound) string { return f.Name })
}

// free returns the results that come without obligations.
func free[T any](found []Result[T]) []T {
	out := make([]T, 0, len(found))
	for _, r := range found {
		if len(r.Obligations) == 0 {
			out = append(out, r.Value)
		}
	}
	return out
}

// wireFound is a result as AuthZEN and the obligations profile write it.
type wireFound struct {
	authz.Ref
	Name        string             `json:"name"`
	Obligations []authz.Obligation `json:"obligations"`
}

func foundRef(f *wireFound) authz.Ref { return f.Ref }

func search[T any](ctx context.Context, c *Client, target string, req *authz.Request, page Page, value func(*wireFound) T) ([]Result[T], string, error) {
	body := c.appendRequest(nil, req, nil)
	if page != (Page{}) {
		text, err := json.Marshal(page)
		if err != nil {
			return nil, "", authz.Errorf(authz.ErrInvalid, "encoding the page: %w", err)
		}
		body = append(append(body[:len(body)-1], `,"page":`...), text...)
		body = append(body, '}')
	}
	answer, err := c.send(ctx, "POST", "/access/v1/search/"+target, body, true)
	if err != nil {
		return nil, "", err
	}
	var found struct {
		Page struct {
			NextToken string `json:"next_token"`
		} `json:"page"`
		Results []wireFound `json:"results"`
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		return nil, "", authz.Errorf(authz.ErrUnavailable, "the service's answer is no search result: %w", err)
	}
	out := make([]Result[T], len(found.Results))
	for i := range found.Results {
		out[i] = Result[T]{value(&found.Results[i]), found.Results[i].Obligations}
	}
	return out, found.Page.NextToken, nil
}
