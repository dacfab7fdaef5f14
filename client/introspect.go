package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// An Introspection is what is true of a token now (RFC 7662): it may carry less than it says of
// itself. Of a token that is not active nothing else is told.
type Introspection struct {
	Active    bool
	Subject   string
	ClientID  string
	Scope     []string
	Details   []authz.Detail
	ExpiresAt time.Time
	Answer    json.RawMessage // the whole of it
}

func parseIntrospection(answer []byte) (*Introspection, error) {
	var w struct {
		Active   bool            `json:"active"`
		Subject  string          `json:"sub"`
		ClientID string          `json:"client_id"`
		Scope    string          `json:"scope"`
		Details  json.RawMessage `json:"authorization_details"`
		Expires  int64           `json:"exp"`
	}
	if err := json.Unmarshal(answer, &w); err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "the server's answer is no introspection: %w", err)
	}
	if !w.Active {
		return &Introspection{Answer: answer}, nil
	}
	i := &Introspection{Active: true, Subject: w.Subject, ClientID: w.ClientID, Scope: strings.Fields(w.Scope), Answer: answer}
	if w.Expires > 0 {
		i.ExpiresAt = time.Unix(w.Expires, 0)
	}
	if len(w.Details) > 0 {
		var err error
		if i.Details, err = token.ParseDetails(w.Details); err != nil {
			return nil, authz.Errorf(authz.ErrUnavailable, "reading what the token carries: %w", err)
		}
	}
	return i, nil
}

// Introspect asks what is true of a token now. It is for enforcement points, administrators and
// auditors; an agent asks of its own tokens by Agent.Introspect.
func (c *Client) Introspect(ctx context.Context, accessToken string) (*Introspection, error) {
	answer, err := c.form(ctx, "/oauth2/introspect", url.Values{"token": {accessToken}, "token_type_hint": {"access_token"}})
	if err != nil {
		return nil, err
	}
	return parseIntrospection(answer)
}

// Revoke takes back a token and every token that was made from it, as an administrator.
func (c *Client) Revoke(ctx context.Context, accessToken string) error {
	_, err := c.form(ctx, "/oauth2/revoke", url.Values{"token": {accessToken}, "token_type_hint": {"access_token"}})
	return err
}

// form sends a form to one of the service's OAuth endpoints, with the client's own token.
func (c *Client) form(ctx context.Context, path string, form url.Values) (answer []byte, err error) {
	err = retry(ctx, c.Attempts, func() error {
		_, base := c.replica()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, strings.NewReader(form.Encode()))
		if err != nil {
			return authz.Errorf(authz.ErrInvalid, "making the request: %w", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		_, answer, err = roundTrip(c.HTTP, req, maxOAuth)
		return err
	})
	return answer, err
}
