package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/token"
)

// submitRequest is the Access Request Endpoint (ARAP, Access Request Submission).
func (s *Server) submitRequest(w http.ResponseWriter, r *http.Request, c *call) error {
	if s.Requests == nil {
		return errNobodyAsked
	}
	key, print, err := idempotency(r.Header, c)
	if err != nil {
		return err
	}
	sub, err := s.readSubmission(c)
	if err != nil {
		return err
	}
	if key != "" {
		switch a, known, err := s.submitted(r.Context(), key); {
		case err != nil:
			return err
		case a != nil && known == print:
			return s.answerTask(w, r, c, a, true)
		case a != nil:
			return askProblem(approval.ErrKeyTaken)
		}
	}
	a, err := s.newAsk(r.Context(), c, sub)
	if err != nil {
		return err
	}
	a.Key, a.Print = key, print
	made, joined, err := s.Requests.Desk.Ask(r.Context(), *a)
	if err != nil {
		return askProblem(err)
	}
	if joined && key != "" && made.Key != key {
		s.joined.put(key, joinedKey{made.ID, print})
	}
	return s.answerTask(w, r, c, made, true)
}

// submitted returns the ask that a submission of that key has made or was joined to, and the hash of the
// submission; nil if there is none.
func (s *Server) submitted(ctx context.Context, key string) (a *approval.Ask, print string, err error) {
	if a, err := s.Requests.Desk.Keyed(key); err == nil {
		return a, a.Print, nil
	}
	j, ok := s.joined.get(key)
	if !ok {
		return nil, "", nil
	}
	a, err = s.Requests.Desk.Get(ctx, j.ask)
	if errors.Is(err, authz.ErrNotFound) {
		return nil, "", nil
	}
	return a, j.print, err
}

// joinedKeys remembers which submissions were joined to asks that others made, and so are not in the log under
// keys of their own. It is a convenience of this process: a client that repeats itself elsewhere, after the
// ask has ended, asks anew. The newest joinedMost are there for sure, and at most twice as many.
type joinedKeys struct {
	mu         sync.Mutex
	young, old map[string]joinedKey
}

type joinedKey struct{ ask, print string }

const joinedMost = 10_000

func (k *joinedKeys) put(key string, j joinedKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.young) >= joinedMost {
		k.young, k.old = nil, k.young
	}
	if k.young == nil {
		k.young = map[string]joinedKey{}
	}
	k.young[key] = j
}

func (k *joinedKeys) get(key string) (joinedKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if j, ok := k.young[key]; ok {
		return j, true
	}
	j, ok := k.old[key]
	return j, ok
}

var errNobodyAsked = authz.Errorf(authz.ErrUnavailable, "nobody can be asked here")

func (s *Server) readSubmission(c *call) (*submission, error) {
	if err := checkText(c.body, s.limits.Depth); err != nil {
		return nil, err
	}
	p := newParser(c.body, s.limits)
	defer p.free()
	sub, err := p.submission()
	if err == nil {
		err = p.end()
	}
	if err == nil && sub.seen != nil && !c.who.Enforces() {
		err = (&question{seen: sub.seen}).mayLook(c.who)
	}
	return sub, err
}

// idempotency returns what the requester calls its submission by, as a hash that is its own, and a hash of the
// submission, whatever the order of its members (ARAP; draft-ietf-httpapi-idempotency-key-header). Both are
// "" if it gives no key.
func idempotency(h http.Header, c *call) (key, print string, err error) {
	given := h["Idempotency-Key"]
	if len(given) == 0 {
		return "", "", nil
	}
	if len(given) > 1 || len(given[0]) == 0 || len(given[0]) > maxIdempotencyKey || checkPlain(given[0]) != nil {
		return "", "", invalid("Idempotency-Key must be one value of 1 to %d characters", maxIdempotencyKey)
	}
	body := jsontext.Value(slices.Clone(c.body))
	if err := body.Canonicalize(); err != nil {
		return "", "", invalid("the body is not acceptable JSON")
	}
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return digest([]byte(c.who.Actor() + "\n" + given[0])), digest(body), nil
}

// newAsk returns the ask that a submission makes, bound to what was refused.
func (s *Server) newAsk(ctx context.Context, c *call, sub *submission) (*approval.Ask, error) {
	a := &approval.Ask{
		Kind: approval.Access, Bulk: sub.bulk, Requester: c.who.Actor(),
		Justification: sub.justification, Client: sub.client, Callback: sub.callback,
	}
	var first *refusal
	for i := range sub.items {
		it := &sub.items[i]
		ref, err := s.refusal(ctx, c, sub, it)
		if err == nil {
			err = s.checkActors(sub, ref)
		}
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = ref
			bindAsk(a, ref)
		} else if ref.Decision.Catalog != first.Decision.Catalog || !slices.Equal(ref.members, first.members) ||
			!token.Same(orEmpty(ref.context), orEmpty(first.context)) || !slices.Equal(ref.Request.OnBehalf, first.Request.OnBehalf) {
			return nil, invalidBinding.because("the items were not refused in the same context, for the same persons, and by the same version of the catalog: submit them one by one")
		}
		if slices.ContainsFunc(a.Items, func(o approval.Item) bool { return o.Decision == ref.seq }) {
			return nil, invalidBinding.because("two items are about the same refusal")
		}
		addOwners(a, ref)
		a.Items = append(a.Items, approval.Item{
			Action: ref.Request.Action, Resource: ref.Request.Resource, Decision: ref.seq, Routes: ref.Decision.Routes,
			Data: ref.Facts.Class, Labels: ref.Facts.Labels, Status: approval.Pending,
		})
		access := it.access.over(sub.access)
		a.Emergency = a.Emergency || access.emergency
		if access.until.After(a.RequestedUntil) {
			a.RequestedUntil = access.until
		}
	}
	if err := s.checkWanted(a); err != nil {
		return nil, err
	}
	return a, s.checkCallback(ctx, c, a)
}

// bindAsk sets whom an ask is about, and in which context, by the first of its items.
func bindAsk(a *approval.Ask, ref *refusal) {
	a.Bound = approval.Bound{Subject: ref.Request.Subject, OnBehalf: ref.Request.OnBehalf, Context: ref.context, Members: ref.members}
	a.Agent, a.Session, a.PEP, a.Catalog = ref.Request.Agent(), ref.Request.Observed.Session, ref.Request.Observed.PEP, ref.Decision.Catalog
	if ref.Facts.Agent != nil {
		a.Owner, a.Creator = ref.Facts.Agent.Owner, ref.Facts.Agent.Creator
	}
}

// addOwners adds who owns or made the agents on whose behalf the acting one was refused an item, and the
// acting one itself if that has changed since the first item. None of them decides alone, so that nobody
// agrees to what its own agent has another agent do.
func addOwners(a *approval.Ask, ref *refusal) {
	add := func(names ...string) {
		for _, name := range names {
			if i, known := slices.BinarySearch(a.Owners, name); name != "" && !known {
				a.Owners = slices.Insert(a.Owners, i, name)
			}
		}
	}
	if agent := ref.Facts.Agent; agent != nil && (agent.Owner != a.Owner || agent.Creator != a.Creator) {
		add(agent.Owner, agent.Creator)
	}
	for i := range ref.Facts.Behalf {
		if agent := ref.Facts.Behalf[i].Agent; agent != nil {
			add(agent.Owner, agent.Creator)
		}
	}
}

func orEmpty(c authz.Claimed) []byte {
	if len(c) == 0 {
		return []byte(`{}`)
	}
	return c
}

// checkWanted returns an error if what the requester wants makes no sense. What it gets is for the approver to say.
func (s *Server) checkWanted(a *approval.Ask) error {
	switch {
	case !a.RequestedUntil.IsZero() && !a.RequestedUntil.After(s.Now()):
		return invalid("requested_access.requested_until is over")
	case a.Emergency && a.Justification == "":
		return invalid("an emergency needs a context.business_justification")
	}
	return nil
}

// checkCallback returns an error unless the requester may be called back where it wants to be.
func (s *Server) checkCallback(ctx context.Context, c *call, a *approval.Ask) error {
	if a.Callback == nil {
		return nil
	}
	if s.Requests.Callbacks == nil || !c.who.Enforces() {
		return authz.Errorf(authz.ErrForbidden, "this caller is called back nowhere: leave callback out, and read the task")
	}
	return s.Requests.Callbacks.Allowed(ctx, c.who.Point(), a.Callback.Endpoint)
}

// The forms of an access request, for the OpenAPI document.

// An AccessRequest is the body of a submission.
type AccessRequest struct {
	Subject         EntityForm          `json:"subject"`
	Resource        *EntityForm         `json:"resource,omitempty" doc:"left out beside items"`
	Action          *ActionForm         `json:"action,omitempty" doc:"left out beside items"`
	Items           []AccessRequestItem `json:"items,omitempty" doc:"several acts of one subject in one context"`
	Context         authz.Claimed       `json:"context,omitempty" doc:"the context that was refused, and business_justification"`
	Denial          *DenialForm         `json:"denial,omitempty"`
	RequestedAccess *RequestedAccess    `json:"requested_access,omitempty"`
	Callback        *CallbackForm       `json:"callback,omitempty"`
	Client          authz.Claimed       `json:"client,omitempty"`
}

// An AccessRequestItem is one act of several.
type AccessRequestItem struct {
	Resource        EntityForm       `json:"resource"`
	Action          ActionForm       `json:"action"`
	Denial          *DenialForm      `json:"denial,omitempty"`
	RequestedAccess *RequestedAccess `json:"requested_access,omitempty"`
}

// A DenialForm says which refusal is asked about, in the refusal's own words.
type DenialForm struct {
	EvaluationID string `json:"evaluation_id,omitempty"`
	EvaluatedAt  string `json:"evaluated_at,omitempty"`
	ExpiresAt    string `json:"expires_at"`
	Reason       string `json:"reason,omitempty"`
	BindingToken string `json:"binding_token,omitempty"`
	Template     string `json:"template,omitempty"`
}

// RequestedAccess is what the requester wants. The approver sees it and decides.
type RequestedAccess struct {
	RequestedUntil string `json:"requested_until,omitempty"`
	Emergency      bool   `json:"emergency,omitempty"`
}

// A CallbackForm says where the requester wants to be told of the end.
type CallbackForm struct {
	Endpoint string         `json:"endpoint"`
	State    jsontext.Value `json:"state,omitempty"`
	Events   []string       `json:"events,omitempty"`
}
