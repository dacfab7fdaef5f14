// Package client is the Go SDK of Safeconduct, for both sides of a decision.
//
// An enforcement point asks with a [Client] whether an act may happen; administrators and their
// programs use the same:
//
//	c, err := client.New("https://pdp.example.com", token)
//	d, err := c.Decide(ctx, authz.Request{
//		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "invoice-bot"}},
//		Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount": "120.00"}`)},
//		Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "2026-114"}},
//	})
//	if !d.Allowed() { ... d.Code, d.Reasons, d.Changes say why and what would help ... }
//
// A Decision can always be used: if there is an error as well, the Decision refuses. The client speaks
// the AuthZEN Authorization API 1.0, so Decide, DecideAll and the searches work against other decision
// points too, as far as they go.
//
// A decision is not permission: it may oblige. An [Enforcer] asks, meets the obligations, has persons asked if the
// refusal offers that, and then gives a [Permit], which is for one act, once. [Run] does the act and returns what may be
// seen of its result; what does acts takes a *Permit, so that it cannot be called with anything less. The Enforcer
// stands before HTTP handlers ([Enforcer.Handler], [Door]), before requests that go out ([Guarded]), and before the tools of an
// agent ([Tool]); package grpcguard has gRPC. A [Decider] answers: a Client, a [Batcher] before one, or an edge.Point in
// this process. What came of acts is reported by itself, or in the background by [Outcomes].
//
// A [Guard] without an Enforcer is for acts whose results nobody changes. Whoever wants the steps one by one has them in
// [Client.Evaluate], [Client.RequestAccess] and [Client.AwaitApproval]. All of them keep to the AuthZEN profiles of
// obligations (draft 1) and of access requests (ARAP): an approval is carried unchanged and permits nothing by itself, and
// what is not understood refuses.
//
// An [Agent] has a key and gets tokens, passports, that are bound to it; one URL tells it everything
// about its authorization server. The example "Agent" shows a whole one in ten lines. [Enrol] registers
// its first key, [Agent.Rotate] replaces it, [Tokens] keeps tokens at hand, and a [Transport] shows them
// to one resource server. A private key never leaves its file or its HSM, a token never goes to another
// origin, and a server that says it is somebody else than it was asked for is not heard.
//
// Answers are bounded, every request has a deadline, and only what is unavailable is tried again; a
// refusal never is. Errors are of the kinds of package authz and carry what the service said ([Error]).
//
// Not solved: servers behind a load balancer that sends each request to another one, where each knows
// its own DPoP nonces only, are asked twice as often, or refuse; connections must stay with one.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Client talks to one service. It is safe for concurrent use; its fields are set before.
type Client struct {
	// HTTP does the requests. Its default keeps connections to the one service open, follows no
	// redirect, and gives a request 10 seconds.
	HTTP *http.Client

	// Attempts is how often at most a question is asked while the service is unavailable: 3 by
	// default. Changes are sent once: what failed half-way may have happened.
	Attempts int

	// Obligations lists the types of obligation that this enforcement point can meet. It is sent
	// with every question, unless the question says something else; nil says nothing.
	Obligations []string

	// Trusted lists further origins, such as https://requests.example.com, to which the service may send us
	// with access requests, tokens included. Its own always counts.
	Trusted []string

	// Replicas are URLs of further replicas of the same service, which get the same token. While one is unavailable
	// the next is asked, from the next attempt on. Without them there is only the one that New was given.
	Replicas []string

	at    atomic.Uint32 // number of the replica that is asked
	base  string
	token string
	self  bool      // an agent asks about itself
	agent authz.Ref // which, if self
}

const (
	maxAnswer = 80 << 20 // bytes of any answer: a bundle of evidence is the largest
	userAgent = "safeconduct-go"
)

// New returns a client of the service at the URL, calling with the bearer token.
func New(baseURL, token string) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "%q is no http or https URL of a service", baseURL)
	}
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return nil, authz.Errorf(authz.ErrInvalid, "the token has characters that no token has")
	}
	return &Client{HTTP: newHTTP(), Attempts: 3, base: strings.TrimRight(u.String(), "/"), token: token}, nil
}

// newHTTP returns what does requests by default.
func newHTTP() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	return &http.Client{
		Transport:     transport,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// URL returns the service's URL.
func (c *Client) URL() string { return c.base }

// An Error is what the service said when it could not, or would not, do what was asked. It wraps one
// of the kinds of package authz.
type Error struct {
	Status    int    // of HTTP
	Code      string // stable
	Message   string
	RequestID string
	Problems  []Problem // of policies or a catalog
	Hint      string    // what to do about it, "" if that is not known

	// RetryAfter is how long the service wants to be left alone, 0 if it does not say.
	RetryAfter time.Duration

	kind error
}

// Error returns the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the service answered with status %d", e.Status)
	}
	return e.Message
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.kind }

// A Problem is one thing wrong with policies, a schema or a catalog.
type Problem struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Severity string `json:"severity"`
	Policy   string `json:"policy,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}

// Do sends one request of the administration API and decodes its answer into out, unless out is nil.
// The typed methods of Client are made of it. Only GET is tried again.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return authz.Errorf(authz.ErrInvalid, "encoding the request: %w", err)
		}
	}
	answer, err := c.send(ctx, method, path, body, method == http.MethodGet)
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = answer
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return authz.Errorf(authz.ErrUnavailable, "the service's answer is not what was expected: %w", err)
	}
	return nil
}

// send does one request, again while the service is unavailable if it may be repeated.
func (c *Client) send(ctx context.Context, method, path string, body []byte, repeat bool) (answer []byte, err error) {
	attempts := 1
	if repeat {
		attempts = c.Attempts
	}
	err = retry(ctx, attempts, func() error {
		answer, err = c.once(ctx, method, path, body)
		return err
	})
	return answer, err
}

func (c *Client) once(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	at, base := c.replica()
	answer, err := c.onceAt(ctx, base, method, path, body)
	if errors.Is(err, authz.ErrUnavailable) {
		c.at.CompareAndSwap(at, at+1)
	}
	return answer, err
}

// replica returns which replica is asked now, and its URL.
func (c *Client) replica() (at uint32, base string) {
	at = c.at.Load()
	if n := at % uint32(len(c.Replicas)+1); n > 0 {
		return at, strings.TrimRight(c.Replicas[n-1], "/")
	}
	return at, c.base
}

func (c *Client) onceAt(ctx context.Context, base, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "making the request: %w", err)
	}
	if body != nil {
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
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "reading the service's answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return nil, authz.Errorf(authz.ErrUnavailable, "the service's answer has more than %d bytes", maxAnswer)
	}
	if resp.StatusCode != http.StatusOK {
		e := refusal(resp.StatusCode, answer)
		e.RetryAfter = retryAfter(resp.Header, time.Now())
		return nil, e
	}
	return answer, nil
}

// refusal returns the *Error of an answer that is not 200.
func refusal(status int, answer []byte) *Error {
	e := &Error{Status: status, kind: kindOf(status)}
	var body struct {
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(answer, &body); err == nil && len(body.Error) > 0 {
		var detail struct {
			Code      string    `json:"code"`
			Message   string    `json:"message"`
			RequestID string    `json:"request_id"`
			Problems  []Problem `json:"problems"`
		}
		if json.Unmarshal(body.Error, &detail) == nil {
			e.Code, e.Message, e.RequestID, e.Problems = detail.Code, detail.Message, detail.RequestID, detail.Problems
		}
	}
	return e
}

// kindOf returns the kind of error that a status stands for.
func kindOf(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return authz.ErrUnauthenticated
	case http.StatusForbidden:
		return authz.ErrForbidden
	case http.StatusNotFound:
		return authz.ErrNotFound
	case http.StatusConflict:
		return authz.ErrConflict
	case http.StatusTooManyRequests:
		return authz.ErrUnavailable
	}
	if status >= 400 && status < 500 {
		return authz.ErrInvalid
	}
	return authz.ErrUnavailable
}
