package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// An AccessRequest asks persons to approve acts that were refused, and offered to be asked about (ARAP, Access
// Request Submission).
type AccessRequest struct {
	// Acts are what was refused: one, or several of the same subject, which persons then see together.
	Acts []Refused

	// Justification is why, for the persons who answer: context.business_justification.
	Justification string
	// Until asks for an approval that holds so long; zero leaves it to who answers.
	Until time.Time
	// Emergency asks for an expedited way, which is audited more closely.
	Emergency bool
	// Context and Access are further members of context and requested_access, which a schema of the offer
	// may want. They must not change what was refused: members that the refused request has are refused.
	Context, Access map[string]any
	// Catalogs says that values which the offer's catalogs document speaks of were taken from there.
	Catalogs bool

	// Callback is told of the end, if the service knows the address. What it is told is a notification, never
	// an approval: read the task.
	Callback *Callback
	// Client says who submits, for the record.
	Client map[string]any

	// Key makes a submission that is sent twice count once. It is drawn if it is "".
	Key string
}

// Refused is one act that was refused, and the offer that came with the refusal.
type Refused struct {
	Request authz.Request
	Offer   *Offer
}

// A Callback is where the end of a task is told.
type Callback struct {
	Endpoint string   `json:"endpoint"`
	State    string   `json:"state,omitempty"`
	Events   []string `json:"events,omitempty"`
}

// RequestAccess submits r and returns its task. It is sent again, under the same key, while the service is
// unavailable. authz.ErrInvalid: it lacks what the offer wants, or cannot be sent; nothing was submitted.
func (c *Client) RequestAccess(ctx context.Context, r AccessRequest) (*Task, error) {
	if len(r.Acts) == 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "an access request names at least one act that was refused")
	}
	for _, act := range r.Acts {
		if act.Offer == nil {
			return nil, authz.Errorf(authz.ErrInvalid, "the refusal offers no access request")
		}
	}
	where, err := c.requestEndpoint(ctx, r.Acts)
	if err != nil {
		return nil, err
	}
	body, err := c.submission(&r)
	if err != nil {
		return nil, err
	}
	for _, act := range r.Acts {
		if err := c.checkSchema(ctx, act.Offer, &r, body); err != nil {
			return nil, err
		}
	}
	if r.Key == "" {
		var b [16]byte
		rand.Read(b[:])
		r.Key = hex.EncodeToString(b[:])
	}
	var t *Task
	err = retry(ctx, c.Attempts, func() error {
		resp, err := c.exchange(ctx, http.MethodPost, where, body, http.Header{"Idempotency-Key": {r.Key}})
		if err != nil {
			return err
		}
		t, err = c.parseTask(resp, len(r.Acts) > 1)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// requestEndpoint returns where the offers are taken up: where they say, or where the service's metadata does.
func (c *Client) requestEndpoint(ctx context.Context, acts []Refused) (string, error) {
	where := acts[0].Offer.Endpoint
	for _, act := range acts[1:] {
		if act.Offer.Endpoint != where {
			return "", authz.Errorf(authz.ErrInvalid, "the acts are to be asked about at different places: ask about each for itself")
		}
	}
	if where == "" {
		var m struct {
			Endpoint string `json:"access_request_endpoint"`
		}
		answer, err := c.send(ctx, http.MethodGet, "/.well-known/authzen-configuration", nil, true)
		if err == nil {
			err = json.Unmarshal(answer, &m)
		}
		if err != nil {
			return "", authz.Errorf(authz.ErrUnavailable, "reading the service's metadata: %w", err)
		}
		if where = m.Endpoint; where == "" {
			return "", authz.Errorf(authz.ErrUnavailable, "neither the refusal nor the service's metadata says where to ask")
		}
	}
	return where, c.trusts(where)
}

// trusts returns authz.ErrForbidden unless a URL that the service gave leads back to it, or to an origin in
// Trusted: no token and no justification goes anywhere else (ARAP, Trusting URLs from the Requestable Denial).
func (c *Client) trusts(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return authz.Errorf(authz.ErrForbidden, "the service gave the address %.200q, which is no URL", raw)
	}
	origin := u.Scheme + "://" + strings.ToLower(u.Host)
	for _, replica := range append([]string{c.base}, c.Replicas...) {
		if own, err := url.Parse(replica); err == nil && origin == own.Scheme+"://"+strings.ToLower(own.Host) {
			return nil
		}
	}
	if slices.Contains(c.Trusted, origin) {
		return nil
	}
	return authz.Errorf(authz.ErrForbidden, "the service gave the address %.200q, which is of another origin: it is not in Trusted", raw)
}

// submission writes the body: the acts as they were refused, what binds them, and what is added.
func (c *Client) submission(r *AccessRequest) ([]byte, error) {
	parts := make([]map[string]json.RawMessage, len(r.Acts))
	for i := range r.Acts {
		q := r.Acts[i].Request
		q.Approval = nil
		if q.Subject.IsZero() {
			q.Subject.Ref = c.agent // which asked for itself, without saying so
		}
		if q.Subject.IsZero() {
			return nil, authz.Errorf(authz.ErrInvalid, "an access request names its subject: that of the token that was presented")
		}
		if err := json.Unmarshal(c.appendRequest(nil, &q, nil), &parts[i]); err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "encoding the act: %w", err)
		}
		if i > 0 && (!sameJSON(parts[i]["subject"], parts[0]["subject"]) || !sameJSON(parts[i]["context"], parts[0]["context"])) {
			return nil, authz.Errorf(authz.ErrInvalid, "acts that are asked about together have the same subject and context")
		}
	}
	access := map[string]any{}
	for name, v := range r.Access {
		access[name] = v
	}
	if !r.Until.IsZero() {
		access["requested_until"] = r.Until.UTC().Format(time.RFC3339)
	}
	if r.Emergency {
		access["emergency"] = true
	}
	body := map[string]any{"subject": parts[0]["subject"]}
	context, err := addTo(parts[0]["context"], r)
	if err != nil {
		return nil, err
	}
	if len(context) > 0 {
		body["context"] = context
	}
	if len(access) > 0 {
		body["requested_access"] = access
	}
	if r.Callback != nil {
		body["callback"] = r.Callback
	}
	if len(r.Client) > 0 {
		body["client"] = r.Client
	}
	if len(r.Acts) == 1 {
		body["action"], body["resource"], body["denial"] = parts[0]["action"], parts[0]["resource"], r.Acts[0].Offer.denial()
	} else {
		items := make([]any, len(parts))
		for i := range parts {
			items[i] = map[string]any{"action": parts[i]["action"], "resource": parts[i]["resource"], "denial": r.Acts[i].Offer.denial()}
		}
		body["items"] = items
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "encoding the access request: %w", err)
	}
	return text, nil
}

// addTo returns the context of the refused act with what r adds. Nothing that is there is changed.
func addTo(context json.RawMessage, r *AccessRequest) (map[string]json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	if len(context) > 0 {
		if err := json.Unmarshal(context, &members); err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "the context is no object: %w", err)
		}
	}
	add := map[string]any{}
	for name, v := range r.Context {
		add[name] = v
	}
	if r.Justification != "" {
		add["business_justification"] = r.Justification
	}
	for name, v := range add {
		if _, ok := members[name]; ok {
			return nil, authz.Errorf(authz.ErrInvalid, "the refused act has a member %.64q in its context: an access request does not change it", name)
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "encoding %.64q: %w", name, err)
		}
		members[name] = text
	}
	return members, nil
}

// denial returns what binds a submission to the refusal, as it was given out.
func (o *Offer) denial() map[string]string {
	d := map[string]string{"expires_at": o.expires}
	for name, v := range map[string]string{
		"evaluation_id": o.evaluationID, "evaluated_at": o.evaluatedAt, "reason": o.reason,
		"binding_token": o.BindingToken, "template": o.Template,
	} {
		if v != "" {
			d[name] = v
		}
	}
	return d
}

// sameJSON reports whether two texts that we wrote ourselves are the same.
func sameJSON(a, b json.RawMessage) bool { return bytes.Equal(a, b) }

// A response is an answer with what its headers say.
type response struct {
	status int
	header http.Header
	body   []byte
}

// exchange does one request at an address that the service gave. A refusal is an *Error, whose Code is the
// last part of ARAP's problem type.
func (c *Client) exchange(ctx context.Context, method, where string, body []byte, header http.Header) (*response, error) {
	if err := c.trusts(where); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(body))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "making the request: %w", err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("User-Agent", userAgent)
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(answer) > maxAnswer {
		return nil, authz.Errorf(authz.ErrUnavailable, "reading the service's answer: too long, or cut off")
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		return &response{resp.StatusCode, resp.Header, answer}, nil
	}
	return nil, problem(resp, answer)
}

// problemPrefix begins the types of ARAP's problems.
const problemPrefix = "urn:openid:authzen:access-request:error:"

// problem returns the *Error of an answer that is not as wished: a problem (RFC 9457), or an error of the
// service's own form.
func problem(resp *http.Response, answer []byte) *Error {
	e := refusal(resp.StatusCode, answer)
	e.RetryAfter = retryAfter(resp.Header, time.Now())
	if resp.StatusCode == http.StatusGone {
		e.kind = authz.ErrNotFound
	}
	if typ, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); typ == "application/problem+json" {
		var p struct {
			Type   string `json:"type"`
			Title  string `json:"title"`
			Detail string `json:"detail"`
		}
		if json.Unmarshal(answer, &p) == nil {
			e.Code = strings.TrimPrefix(p.Type, problemPrefix)
			if e.Message = p.Detail; e.Message == "" {
				e.Message = p.Title
			}
			e.RequestID = resp.Header.Get("X-Request-Id")
		}
	}
	return e
}

// retryAfter returns how long a Retry-After header says to wait, 0 if it says nothing that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseInt(v, 10, 32); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// gone reports whether an error says that the service does not know a task, or will not say anything of it.
func gone(err error) bool {
	return errors.Is(err, authz.ErrNotFound) || errors.Is(err, authz.ErrForbidden) || errors.Is(err, authz.ErrUnauthenticated) || errors.Is(err, authz.ErrInvalid)
}
