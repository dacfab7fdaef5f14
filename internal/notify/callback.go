package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// maxState bounds what an enforcement point may have returned to it, in bytes.
const maxState = 4 << 10

// callbackEvents are the events of the Access Request and Approval profile, Callback Completion.
var callbackEvents = []string{"approved", "denied", "expired", "cancelled", "failed", "partial"}

// CheckCallback returns nil if an enforcement point may ask to be told so. authz.ErrInvalid: it makes no
// sense. authz.ErrForbidden: its endpoint is not one that is permitted to this enforcement point, or it
// resolves to an address that must not be reached ("MUST validate that the endpoint is authorized for the
// authenticated PEP ... MUST reject callback endpoints that resolve to loopback, link-local, private-use").
func (n *Notifier) CheckCallback(ctx context.Context, pep string, cb *approval.Callback) error {
	if len(cb.State) > maxState {
		return authz.Errorf(authz.ErrInvalid, "callback: state has at most %d bytes", maxState)
	}
	if len(cb.Events) > len(callbackEvents) {
		return authz.Errorf(authz.ErrInvalid, "callback: events has at most %d names", len(callbackEvents))
	}
	for _, e := range cb.Events {
		if !slices.Contains(callbackEvents, e) {
			return authz.Errorf(authz.ErrInvalid, "callback: unknown event %.64q", e)
		}
	}
	c, err := n.permitted(pep, cb.Endpoint)
	if err != nil {
		return err
	}
	return c.Client.Reaches(ctx, cb.Endpoint)
}

// permitted returns what is configured for an enforcement point, if it may name that endpoint.
func (n *Notifier) permitted(pep, endpoint string) (*Callback, error) {
	c, ok := n.cfg.Channels.Callbacks[pep]
	if !ok || pep == "" {
		return nil, authz.Errorf(authz.ErrForbidden, "callback: none are permitted to this caller")
	}
	if err := c.Client.Check(endpoint); err != nil {
		return nil, err
	}
	for _, prefix := range c.Allow {
		if below(prefix, endpoint) {
			return &c, nil
		}
	}
	return nil, authz.Errorf(authz.ErrForbidden, "callback: the endpoint is not permitted to this caller")
}

// below reports whether an address is one that begins with the prefix: the same scheme, host and port, and
// the same path or one below it. A path that could be read in two ways is below nothing.
func below(prefix, address string) bool {
	p, err := url.Parse(prefix)
	if err != nil {
		return false
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != p.Scheme || !strings.EqualFold(u.Host, p.Host) {
		return false
	}
	path := u.EscapedPath()
	lower := strings.ToLower(path)
	for _, odd := range []string{"//", "%2e", "%2f", "%5c", "%25"} {
		if strings.Contains(lower, odd) {
			return false
		}
	}
	for step := range strings.SplitSeq(path, "/") {
		// Some servers cut off what follows a semicolon before they follow the dots.
		if dots, _, _ := strings.Cut(step, ";"); dots == "." || strings.HasPrefix(step, "..") {
			return false
		}
	}
	base := strings.TrimSuffix(p.EscapedPath(), "/")
	return path == p.EscapedPath() || path == base || strings.HasPrefix(path, base+"/")
}

// A callback is what an enforcement point is told. It holds no result: it is a notification, and the status
// endpoint says what there is to enforce.
type callback struct {
	State json.RawMessage `json:"state,omitempty"` // as it was given
	Task  struct {
		ID       string          `json:"id"`
		Status   approval.Status `json:"status"`
		Endpoint string          `json:"status_endpoint"`
	} `json:"task"`
}

// callBack tells an enforcement point how its ask has ended, signed with a secret that both know ("an HMAC
// signature over the request body using a pre-shared key").
func (n *Notifier) callBack(ctx context.Context, d *Delivery, a *approval.Ask) (outcome, error) {
	if a.Callback == nil || a.Status == approval.Pending {
		return outcome{State: Moot}, nil
	}
	c, err := n.permitted(d.Channel, a.Callback.Endpoint)
	if err != nil { // it was permitted once; the endpoint itself stays here
		return outcome{State: Dead, Error: "the endpoint of the callback is not permitted any more"}, nil
	}
	cb := callback{State: a.Callback.State}
	cb.Task.ID, cb.Task.Status, cb.Task.Endpoint = a.ID, a.Status, n.cfg.Public+"/access/v1/requests/"+a.ID
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&cb); err != nil {
		return outcome{}, fmt.Errorf("encoding a callback: %w", err)
	}
	body := bytes.TrimSpace(b.Bytes())
	_, o := n.post(ctx, c.Client, a.Callback.Endpoint, signed(c.Secrets, d.ID, n.cfg.Now(), body), body)
	return o, nil
}

func (c *Callback) check() error {
	if err := checkSecrets(c.Secrets); err != nil {
		return err
	}
	if len(c.Allow) == 0 || len(c.Allow) > 32 {
		return fmt.Errorf("allow has 1 to 32 addresses")
	}
	for _, prefix := range c.Allow {
		if err := checkAddress(c.Client, prefix); err != nil {
			return err
		}
		if strings.Contains(prefix, "?") {
			return fmt.Errorf("an address that others begin with has no query: %.100q", prefix)
		}
	}
	return nil
}
