package outbound

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Response is what an address answered to what was sent to it.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // at most Config.MaxBytes
}

// Post sends a body to an address, once, and returns the answer, whatever its status. It returns
// authz.ErrInvalid for an address that is never asked, and authz.ErrUnavailable if there was no answer
// within Config.Timeout, or none of bounded size. Nothing is kept, and Config.Authorization is not asked:
// header says all.
//
// The guard is that of Get: what must not be reached is not reached, and no redirect is followed.
func (c *Client) Post(ctx context.Context, address string, header http.Header, body []byte) (*Response, error) {
	u, err := c.parse(address)
	if err != nil {
		return nil, errAddress
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, unsent(u, errors.New("too many requests at once"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, errAddress
	}
	req.GetBody = nil // so that nobody sends it a second time
	maps.Copy(req.Header, header)
	req.Header.Set("User-Agent", "safeconduct")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unsent(u, reason(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBytes+1))
	if err != nil {
		return nil, unsent(u, reason(err))
	}
	if int64(len(answer)) > c.cfg.MaxBytes {
		return nil, unsent(u, errors.New("the answer is too large"))
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: answer}, nil
}

// errAddress does not say which: whoever knows an address to send to may send there. Check says what is wrong.
var errAddress = authz.Errorf(authz.ErrInvalid, "nothing is ever sent to such an address")

// unsent is unavailable for what was to be sent.
func unsent(u *url.URL, err error) error {
	return authz.Errorf(authz.ErrUnavailable, "sending to %.100q: %w", u.Host, err)
}

// resolving is how long a name may take to resolve.
const resolving = 2 * time.Second

// Reaches returns nil if every address that the host of an address now resolves to may be reached,
// authz.ErrForbidden if one may not, and authz.ErrInvalid if there is none. It asks nobody but the
// resolver. What it says is for whoever named the address; what guards us is that each connection is
// checked again.
func (c *Client) Reaches(ctx context.Context, address string) error {
	u, err := c.parse(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, resolving)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil || len(addrs) == 0 {
		return authz.Errorf(authz.ErrInvalid, "the host %.100q does not resolve", u.Hostname())
	}
	for _, a := range addrs {
		if !c.permits(a) {
			return authz.Errorf(authz.ErrForbidden, "the address is not a public one")
		}
	}
	return nil
}

// permits reports whether a network address may be reached.
func (c *Client) permits(a netip.Addr) bool {
	if c.cfg.AllowPrivate || Public(a) {
		return true
	}
	for _, p := range c.cfg.Allow {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}
