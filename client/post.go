package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

const (
	maxOAuth = 1 << 20 // bytes of an answer of an authorization server

	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLife = time.Minute
)

// post sends a form as the agent, again while the server is unavailable, and returns the answer and
// the key by which it was had: if the server refuses the one in use and the key file holds another
// now, that is taken up.
func (a *Agent) post(ctx context.Context, where string, form url.Values, prove bool) ([]byte, *held, error) {
	h := a.held.Load()
	answer, err := a.postBy(ctx, h, where, form, prove)
	if isCode(err, CodeInvalidClient) && a.reload(h) {
		h = a.held.Load()
		answer, err = a.postBy(ctx, h, where, form, prove)
	}
	return answer, h, err
}

// postBy is post with that key.
func (a *Agent) postBy(ctx context.Context, h *held, where string, form url.Values, prove bool) (answer []byte, err error) {
	err = retry(ctx, a.Attempts, func() error {
		answer, err = a.postOnce(ctx, h, where, form, prove)
		return err
	})
	return answer, err
}

// postOnce sends the form once, and once more if the server wants another nonce in the DPoP proof
// (RFC 9449 section 8). The assertion is made anew for each: it counts once.
func (a *Agent) postOnce(ctx context.Context, h *held, where string, form url.Values, prove bool) ([]byte, error) {
	for again := false; ; again = true {
		now := a.now()
		assertion, err := a.assertion(h, now)
		if err != nil {
			return nil, err
		}
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "making the request: %w", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/json")
		sent := ""
		if prove {
			if n := a.nonce.Load(); n != nil {
				sent = *n
			}
			proof, err := token.SignProof(h.signer, token.Proof{ID: rand.Text(), Nonce: sent, Method: req.Method, URL: where, IssuedAt: now}, "")
			if err != nil {
				return nil, authz.Errorf(authz.ErrUnavailable, "signing the proof: %w", err)
			}
			req.Header.Set("DPoP", proof)
		}
		header, answer, err := roundTrip(a.HTTP, req, maxOAuth)
		remember(&a.nonce, header)
		if n := a.nonce.Load(); again || !prove || !isCode(err, CodeUseNonce) || n == nil || *n == sent {
			return answer, err
		}
	}
}

// assertion returns a client assertion (RFC 7523 section 3). Its audience is the issuer and nobody
// else, so that a server that received it cannot show it to another; its type keeps it apart from
// other things that the key signs.
func (a *Agent) assertion(h *held, now time.Time) (string, error) {
	payload, err := json.Marshal(map[string]any{
		"iss": a.id, "sub": a.id, "aud": a.issuer, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", authz.Errorf(authz.ErrInvalid, "encoding the assertion: %w", err)
	}
	s, err := h.signer.Sign(assertionJWT, payload)
	if err != nil {
		return "", authz.Errorf(authz.ErrUnavailable, "signing the assertion: %w", err)
	}
	return s, nil
}

const assertionJWT = "client-authentication+jwt"

// roundTrip does the request and returns the answer's header, also if the answer is a refusal, and
// its body of at most so many bytes.
func roundTrip(hc *http.Client, req *http.Request, most int64) (http.Header, []byte, error) {
	req.Header.Set("User-Agent", userAgent)
	resp, err := hc.Do(req)
	if err != nil {
		return nil, nil, transportError(req.Context(), err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, nil, transportError(req.Context(), err)
	case int64(len(answer)) > most:
		return nil, nil, authz.Errorf(authz.ErrUnavailable, "the service's answer has more than %d bytes", most)
	case resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated:
		return resp.Header, answer, nil
	}
	err = oauthRefusal(resp.StatusCode, answer)
	if e, ok := errors.AsType[*Error](err); ok {
		e.RetryAfter = retryAfter(resp.Header, time.Now())
	}
	return resp.Header, nil, err
}

// transportError says what it means that there was no answer. What a Transport refuses keeps its
// kind; everything else may work another time.
func transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, kind := range []error{authz.ErrInvalid, authz.ErrUnauthenticated, authz.ErrForbidden, authz.ErrNotFound, authz.ErrConflict, authz.ErrUnavailable} {
		if errors.Is(err, kind) {
			var u *url.Error
			if errors.As(err, &u) {
				return u.Err
			}
			return err
		}
	}
	return authz.Errorf(authz.ErrUnavailable, "asking the service: %w", err)
}

// Bounds of the time between two attempts.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 5 * time.Second // also of what the service asks for: if it wants more, we give up
)

// retry calls f until it succeeds, at most so often, as long as it says that something is unavailable, and ctx
// lasts. A refusal is an answer, and is never asked for again. The pauses grow and are drawn, so that those whom
// one failure has met do not come back together; they are never shorter than the service wants.
func retry(ctx context.Context, attempts int, f func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || attempt >= attempts || !errors.Is(err, authz.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		length := pause + mrand.N(pause)
		if e, ok := errors.AsType[*Error](err); ok {
			length = max(length, e.RetryAfter+mrand.N(pause))
		}
		if end, ok := ctx.Deadline(); length > maxPause || ok && time.Now().Add(length).After(end) {
			return err // nobody would hear the answer
		}
		pause = min(2*pause, maxPause/2)
		wait := time.NewTimer(length)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		}
	}
}

func isCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// remember keeps the nonce of an answer, if it has one that RFC 9449 allows.
func remember(to *atomic.Pointer[string], h http.Header) {
	n := h.Get("DPoP-Nonce")
	if n == "" || len(n) > maxNonce || strings.ContainsFunc(n, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
		return
	}
	if old := to.Load(); old == nil || *old != n {
		to.Store(&n)
	}
}

const maxNonce = 512
