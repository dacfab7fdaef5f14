package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/policy"
)

const (
	envURL   = "SAFECONDUCT_URL"
	envToken = "SAFECONDUCT_ADMIN_TOKEN"

	defaultURL = "http://127.0.0.1:8180"
)

// A connection says where the service is and what to show it.
type connection struct {
	server, tokenFile string
	token             string // instead of the environment's
}

// connectFlags adds to c the flags of every command that talks to a service.
func connectFlags(c *cobra.Command) *connection {
	n := &connection{}
	c.Flags().StringVar(&n.server, "server", "", "`URL` of the service (default $"+envURL+", else "+defaultURL+")")
	c.Flags().StringVar(&n.tokenFile, "token-file", "", "`FILE` that holds the bearer token (default: the token in $"+envToken+")")
	_ = c.MarkFlagFilename("token-file")
	return n
}

// open returns the service's API.
func (n *connection) open() (*remote, error) {
	base := n.server
	if base == "" {
		base = os.Getenv(envURL)
	}
	if base == "" {
		base = defaultURL
	}
	token := n.token
	if token == "" {
		token = os.Getenv(envToken)
	}
	if n.tokenFile != "" {
		f, err := os.Open(n.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, 4096))
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		token = string(b)
	}
	c, err := client.New(base, strings.TrimSpace(token))
	if err != nil {
		return nil, hinted(err, "a service's URL looks like https://safeconduct.example.com or %s", defaultURL)
	}
	c.HTTP.Timeout = time.Minute
	return &remote{c}, nil
}

// A remote is a service's API. It knows what to do about the service's refusals.
type remote struct{ *client.Client }

// call sends in, if it is not nil, and decodes the answer into out.
func (r *remote) call(ctx context.Context, method, path string, in, out any) error {
	return r.hinted(r.Do(ctx, method, path, in, out))
}

// ask puts a question that is already written as AuthZEN has it.
func (r *remote) ask(ctx context.Context, text json.RawMessage) (*authz.Decision, error) {
	var a struct {
		Decision bool `json:"decision"`
		Context  struct {
			ID          string             `json:"evaluation_id"`
			Code        string             `json:"code"`
			Reasons     []authz.Reason     `json:"reasons"`
			Changes     []authz.Change     `json:"changes"`
			Remedies    []string           `json:"remedies"`
			Obligations []authz.Obligation `json:"obligations"`
		} `json:"context"`
	}
	if err := r.call(ctx, "POST", "/access/v1/evaluation", text, &a); err != nil {
		return nil, err
	}
	x := &a.Context
	d := &authz.Decision{Code: x.Code, Reasons: x.Reasons, Changes: x.Changes, Remedies: x.Remedies, Obligations: x.Obligations}
	d.Seq, _ = strconv.ParseInt(strings.TrimPrefix(x.ID, "d"), 10, 64)
	switch {
	case a.Decision:
		d.Effect = authz.Allow
	case x.Code == authz.CodeApprovalRequired:
		d.Effect = authz.RequireApproval
	case x.Code == authz.CodeStepUpRequired:
		d.Effect = authz.StepUp
	}
	return d, nil
}

// hinted adds to an error what to do about it.
func (r *remote) hinted(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return hinted(fmt.Errorf("no service answers at %s", r.URL()), "start one with `safeconduct serve`, or name it with --server or %s", envURL)
	}
	var e *client.Error
	if !errors.As(err, &e) {
		return err
	}
	if len(e.Problems) > 0 {
		err = &problemError{refused: e}
	}
	switch {
	case e.Code == "":
		return hinted(err, "is %s the address of Safeconduct?", r.URL())
	case errors.Is(e, authz.ErrUnauthenticated):
		return hinted(err, "give a token with --token-file or %s; `safeconduct serve` shows the first one when it starts for the first time", envToken)
	case errors.Is(e, authz.ErrForbidden):
		if !strings.Contains(e.Message, "the role ") {
			return err
		}
		return hinted(err, "this needs a token of another role; `safeconduct caller list` shows the roles")
	case errors.Is(e, authz.ErrConflict):
		return hinted(err, "look at how it stands now, before you repeat it")
	case e.Code == "internal":
		return hinted(err, "the service's own log says more about request %s", e.RequestID)
	case errors.Is(e, authz.ErrUnavailable):
		return hinted(err, "`safeconduct status` says what is missing")
	}
	return err
}

// A problemError is a refusal of policies or a catalog, with every problem found in them.
type problemError struct{ refused *client.Error }

func (e *problemError) Error() string {
	var b strings.Builder
	b.WriteString(e.refused.Message)
	for _, p := range e.refused.Problems {
		if strings.Contains(e.refused.Message, p.Message) {
			continue // the message lists them
		}
		line := policy.Problem{File: p.File, Line: p.Line, Column: p.Column, Message: p.Message, Hint: p.Hint}
		if p.Severity == policy.SeverityWarning.String() {
			line.Severity = policy.SeverityWarning
		}
		b.WriteString("\n" + (&policy.Problems{List: []policy.Problem{line}}).Error())
	}
	return b.String()
}

func (e *problemError) Unwrap() error { return e.refused }

// list is one page of something, as the API lists.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// query returns path with the parameters that are not empty.
func query(path string, params ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] != "" {
			q.Set(params[i], params[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// segment escapes what the user wrote for its place in a path.
func segment(s string) string { return url.PathEscape(s) }

// whyFlag adds --why, which says why a change is made.
func whyFlag(c *cobra.Command) *string {
	w := c.Flags().String("why", "", "why the change is made; it is recorded (required)")
	_ = c.MarkFlagRequired("why")
	return w
}

// notFound reports whether the service does not know what was asked for.
func notFound(err error) bool { return errors.Is(err, authz.ErrNotFound) }
