package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Paths of the access request service.
const (
	requestsPath = "/access/v1/requests"
	schemasPath  = requestsPath + "/schemas"
)

// What an enforcement point does after a refusal of a request that refers to an approval (ARAP, Completion
// Semantics).
const (
	nextRequest = "request"
	nextRetry   = "retry"
	nextNone    = "none"
)

// How long to wait for what an approval needs and is not there yet; and for a replica to hear of an approval.
const (
	retryPending = 5 * time.Second
	retryUnheard = time.Second
)

// approvals is what the answer to a question says of approvals.
type approvals struct {
	offer      *offer // nil if the refusal cannot be asked about
	reason     string // "" if it is not told
	next       string // "" if the request refers to no approval, or it is allowed
	retryAfter time.Duration
}

// An offer is context.access_request: the refusal can be asked about.
type offer struct {
	endpoint, template, schema, token, description string
	expires                                        time.Time
}

// An AccessOffer is an offer, for the OpenAPI document.
type AccessOffer struct {
	Endpoint  string    `json:"endpoint"`
	Template  string    `json:"template" doc:"what kind of question it is; to be sent back as it is"`
	ExpiresAt time.Time `json:"expires_at" doc:"until when it can be asked about"`
	Token     string    `json:"binding_token,omitempty" doc:"opaque; to be sent back as it is"`
	Schema    string    `json:"request_schema_url" doc:"JSON Schema of what a request may add"`
	Display   Display   `json:"display"`
}

// Display is text for people.
type Display struct {
	Title       string `json:"title"`
	Description string `json:"description"`
}

// An ApprovalForm refers to an approval. It grants nothing by itself.
type ApprovalForm struct {
	ID            string    `json:"id"`
	ApprovedAt    time.Time `json:"approved_at,omitzero"`
	ApprovedUntil time.Time `json:"approved_until"`
	State         string    `json:"state,omitempty" doc:"opaque; to be sent back as it is"`
}

// window returns how long after a refusal one may ask about it.
func (q *Requests) window() time.Duration {
	if q.Window > 0 {
		return q.Window
	}
	return 10 * time.Minute
}

// requestable returns until when one may ask about a refusal, and whether one may at all: every forbid that
// fired would be lifted by persons, and somebody is there to ask. The whole second is what is sent and bound.
func (q *Requests) requestable(d *authz.Decision) (until time.Time, ok bool) {
	until = d.At.Add(q.window()).Truncate(time.Second).UTC()
	return until, d.Effect == authz.RequireApproval && len(d.Routes) > 0
}

// template names the routes that lead to an approval. It is no secret and grants nothing.
func template(routes []string) string { return strings.Join(routes, "+") }

func (s *Server) public() string { return strings.TrimRight(s.PublicURL, "/") }

// approvals is approval for a batch, by the indexes of those decisions of which something is said.
func (s *Server) approvals(ctx context.Context, c *call, items []pdp.Item, decisions []authz.Decision) map[int]*approvals {
	var said map[int]*approvals
	for i := range decisions {
		if items[i].Err != nil {
			continue
		}
		if a := s.approval(ctx, c, &items[i].Request, &decisions[i]); a != nil {
			if said == nil {
				said = map[int]*approvals{}
			}
			said[i] = a
		}
	}
	return said
}

// approval returns what the answer to req says of approvals, nil if it says nothing.
func (s *Server) approval(ctx context.Context, c *call, req *authz.Request, d *authz.Decision) *approvals {
	if d.Allowed() {
		if d.Approval == nil {
			return nil
		}
		return new(approvals)
	}
	if req.Observed.Listing { // there is no act that persons could be asked about
		return nil
	}
	offer := s.offer(ctx, c, req, d)
	if offer == nil && (req.Approval == nil || d.Unapproved == "") {
		return nil
	}
	a := &approvals{offer: offer, reason: d.Code}
	if req.Approval == nil || d.Unapproved == "" {
		return a
	}
	a.reason = d.Unapproved
	switch a.next = nextNone; {
	case d.Unapproved == authz.ApprovalPending:
		a.next, a.retryAfter, a.offer = nextRetry, retryPending, nil
	case d.Unapproved == authz.ApprovalUnverifiable && s.unheard(ctx, req):
		a.reason, a.next, a.retryAfter, a.offer = authz.ApprovalPending, nextRetry, retryUnheard, nil
	case d.Unapproved == authz.ApprovalUnverifiable: // it leads nowhere; asking without it may
		a.offer = nil
	case offer != nil: // "MUST also include a fresh context.access_request"
		a.next = nextRequest
	}
	return a
}

// offer returns what lets the caller ask persons about a refusal, or nil if they cannot be asked: it is no such
// refusal, nobody recorded it, the caller is none that may ask, or the act cannot be told apart from others.
func (s *Server) offer(ctx context.Context, c *call, req *authz.Request, d *authz.Decision) *offer {
	q := s.Requests
	if q == nil || d.Seq == 0 || !c.who.Enforces() && !c.who.Can(agentRole) {
		return nil
	}
	until, ok := q.requestable(d)
	if !ok {
		return nil
	}
	members, hash, err := q.bind(ctx, req, d.Catalog)
	if err != nil {
		s.Logger.InfoContext(ctx, "refusal cannot be asked about", "decision", pdp.DecisionID(d.Seq), "err", err)
		return nil
	}
	o := &offer{
		endpoint: s.public() + requestsPath,
		template: template(d.Routes),
		schema:   s.public() + schemasPath + "/" + template(d.Routes),
		expires:  until,
	}
	o.description = "It must be approved by: " + s.routeTitles(d.Routes) + "."
	if q.Signer == nil {
		return o
	}
	o.token, err = q.Signer.SignBinding(ctx, &token.Binding{
		Issuer: s.public(), Audience: []string{o.endpoint}, ID: chance(), IssuedAt: d.At, Expires: until, DenialExpires: until,
		Members: members, Hash: hash, Evaluation: pdp.DecisionID(d.Seq),
	})
	if err != nil {
		// The evaluation_id binds as well, since we keep the record.
		s.Logger.WarnContext(ctx, "binding token not signed", "decision", pdp.DecisionID(d.Seq), "err", err)
	}
	return o
}

// bind returns the members of a request's context that count by the catalog of a version, and the hash of the act.
func (q *Requests) bind(ctx context.Context, req *authz.Request, version int64) (members []string, hash string, err error) {
	cat, err := q.Catalog(ctx, version)
	if err != nil {
		return nil, "", err
	}
	if members, err = token.Members(req.Context, cat.Volatile()); err != nil {
		return nil, "", err
	}
	hash, err = token.BindingHash(req.Subject, req.Action, req.Resource, req.Context, members)
	return members, hash, err
}

// routeTitles names routes for people, as the active catalog does: older ones would have to be read again for
// each task that somebody looks at.
func (s *Server) routeTitles(routes []string) string {
	titles := slices.Clone(routes)
	if cat := s.Requests.Active(); cat != nil {
		for i, id := range routes {
			if r, ok := cat.Route(id); ok && r.Title != "" {
				titles[i] = r.Title
			}
		}
	}
	return strings.Join(titles, ", ")
}

// refer returns the reference as decisions take it. If it brings along a state, that must be of our signing
// and of the same approval; else the reference is kept under a name that no approval has. An error means
// that nobody can say at present.
func (s *Server) refer(ctx context.Context, ref *authz.ApprovalRef) (*authz.ApprovalRef, error) {
	if len(ref.State) == 0 {
		return ref, nil
	}
	_, err := s.verifyState(ctx, ref)
	switch {
	case err == nil:
		return ref, nil
	case errors.Is(err, authz.ErrInvalid), errors.Is(err, authz.ErrUnauthenticated):
		return &authz.ApprovalRef{ID: "unverified:" + ref.ID, State: ref.State}, nil
	}
	return nil, err
}

// verifyState returns what a reference's state says, if it is of our signing, for us, and of the same approval.
// Whether the approval still holds, and for what, is looked up by its id.
func (s *Server) verifyState(ctx context.Context, ref *authz.ApprovalRef) (*token.ApprovalState, error) {
	if s.Requests == nil || s.Requests.Signer == nil {
		return nil, invalid("nothing is signed here")
	}
	var text string
	if err := json.Unmarshal(ref.State, &text); err != nil {
		return nil, invalid("the state is no string")
	}
	st, err := s.Requests.Signer.VerifyState(ctx, text)
	switch {
	case err != nil:
		return nil, err
	case st.Issuer != s.public() || !slices.Contains(st.Audience, s.public()):
		return nil, invalid("the state is of, or for, another decision point")
	case st.Approval != ref.ID:
		return nil, invalid("the state is of another approval")
	}
	return st, nil
}

// unheard reports whether an approval that is not known here was given all the same: its state is ours, has not
// ended, and is for this very act. Another replica has given it, and this one will hear of it.
func (s *Server) unheard(ctx context.Context, req *authz.Request) bool {
	if req.Approval == nil || len(req.Approval.State) == 0 {
		return false
	}
	st, err := s.verifyState(ctx, req.Approval)
	if err != nil || !s.Now().Before(st.Expires) {
		return false
	}
	hash, err := token.BindingHash(req.Subject, req.Action, req.Resource, req.Context, st.Members)
	return err == nil && hash == st.Hash
}

// append appends what a says to the members of a decision's context.
func (a *approvals) append(b []byte, d *authz.Decision) []byte {
	b = append(b, `,"evaluated_at":`...)
	b = appendTime(b, d.At)
	if a.reason != "" {
		b = append(b, `,"reason":`...)
		b = appendString(b, a.reason)
	}
	if a.next != "" {
		b = append(b, `,"next_action":`...)
		b = appendString(b, a.next)
	}
	if a.retryAfter > 0 {
		b = append(b, `,"retry_after":`...)
		b = strconv.AppendInt(b, int64(a.retryAfter/time.Second), 10)
	}
	if d.Allowed() && d.Approval != nil {
		b = append(b, `,"approval":{"id":`...)
		b = appendString(b, d.Approval.ID)
		b = append(b, `,"approved_until":`...)
		b = append(appendTime(b, d.Approval.Until), '}')
	}
	if a.offer != nil {
		b = a.offer.append(append(b, `,"access_request":`...))
	}
	return b
}

func (o *offer) append(b []byte) []byte {
	b = append(b, `{"endpoint":`...)
	b = appendString(b, o.endpoint)
	b = append(b, `,"template":`...)
	b = appendString(b, o.template)
	b = append(b, `,"expires_at":`...)
	b = appendTime(b, o.expires)
	if o.token != "" {
		b = append(b, `,"binding_token":`...)
		b = appendString(b, o.token)
	}
	b = append(b, `,"request_schema_url":`...)
	b = appendString(b, o.schema)
	b = append(b, `,"display":{"title":"Ask for approval","description":`...)
	return append(appendString(b, o.description), `}}`...)
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// chance returns 128 bits of it.
func chance() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
