package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

// sendWebhook tells a webhook.
func (n *Notifier) sendWebhook(ctx context.Context, c *Channel, d *Delivery, a *approval.Ask) (outcome, error) {
	most := 0
	if c.Arguments {
		most = maxObject
	}
	body, err := n.payload(d.Event, d, a, most)
	if err != nil {
		return outcome{}, fmt.Errorf("encoding a message: %w", err)
	}
	header := signed(c.Webhook.Secrets, d.ID, n.cfg.Now(), body)
	_, o := n.post(ctx, c.Webhook.Client, c.Webhook.URL, header, body)
	return o, nil
}

// post sends a body. The answer is nil unless the outcome is Told.
func (n *Notifier) post(ctx context.Context, c *outbound.Client, address string, header http.Header, body []byte) (*outbound.Response, outcome) {
	r, err := c.Post(ctx, address, header, body)
	switch {
	case errors.Is(err, authz.ErrForbidden), errors.Is(err, authz.ErrInvalid): // our own guard refuses, and will again
		return nil, outcome{State: Dead, Error: err.Error()}
	case err != nil:
		return nil, outcome{State: Waiting, Error: err.Error()}
	case r.Status >= 200 && r.Status < 300:
		return r, outcome{State: Told}
	case r.Status == http.StatusGone: // Standard Webhooks: the receiver wants no more of it
		return nil, outcome{State: Dead, Error: "the receiver wants no more of it: status 410"}
	}
	return nil, outcome{State: Waiting, Error: "status " + strconv.Itoa(r.Status), After: retryAfter(r.Header, n.cfg.Now())}
}

// retryAfter returns how long a header asks for patience (RFC 9110, section 10.2.3), 0 if it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if s, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
