package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A service is the control plane, as far as client.Client does not speak to it.
type service struct {
	base, token string
	http        *http.Client
}

// maxAnswer bounds every answer but the feed.
const maxAnswer = 64 << 20

// A statusError is an answer that is not 200. It wraps one of the kinds of package authz, and a *client.Error, by whose
// status client.RefusedError.Undecided tells a control plane that refuses us from one that fails.
type statusError struct {
	status int
	code   string
	text   string
	body   []byte
	kind   error
}

func (e *statusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("the control plane answered with status %d", e.status)
	}
	return fmt.Sprintf("the control plane answered with status %d: %s", e.status, e.text)
}

func (e *statusError) Unwrap() []error {
	return []error{e.kind, &client.Error{Status: e.status, Code: e.code, Message: e.text}}
}

// call sends one request and returns the answer, whose body the caller closes. Other statuses than 200 are a *statusError.
func (s *service) call(ctx context.Context, method, path string, body []byte, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "making the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("User-Agent", "safeconduct-edge")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "asking the control plane: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "reading the control plane's answer: %w", err)
	}
	return nil, newStatusError(resp.StatusCode, text)
}

func newStatusError(status int, text []byte) *statusError {
	e := &statusError{status: status, body: text, kind: authz.ErrUnavailable}
	switch {
	case status == http.StatusUnauthorized:
		e.kind = authz.ErrUnauthenticated
	case status == http.StatusForbidden:
		e.kind = authz.ErrForbidden
	case status == http.StatusNotFound:
		e.kind = authz.ErrNotFound
	case status == http.StatusConflict:
		e.kind = authz.ErrConflict
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
	case status >= 400 && status < 500:
		e.kind = authz.ErrInvalid
	}
	var said struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &said) == nil {
		e.code = strings.ToValidUTF8(said.Error.Code[:min(len(said.Error.Code), 100)], "")
		e.text = strings.ToValidUTF8(said.Error.Message[:min(len(said.Error.Message), 500)], "")
	}
	return e
}

// do sends one request and decodes the answer into out.
func (s *service) do(ctx context.Context, method, path string, body []byte, out any) error {
	resp, err := s.call(ctx, method, path, body, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = errors.New("it is too large")
	}
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		return authz.Errorf(authz.ErrUnavailable, "reading the control plane's answer: %w", err)
	}
	return nil
}
