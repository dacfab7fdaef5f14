package outbound

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Document is what an address answered with. It is shared: do not modify it. The same value is
// returned as long as it is kept, so that whoever reads it can keep what it read beside it.
type Document struct {
	Body      []byte
	FetchedAt time.Time
	Until     time.Time // when it is asked for again
}

// Get returns the document at an address, from memory if it is kept. It returns authz.ErrInvalid for
// an address that is never asked, and authz.ErrUnavailable for one that does not answer as it must;
// a failure is kept too, so that nobody makes us ask again and again.
//
// A document that cannot be had again is not returned when its time is over: whoever depends on it
// is refused until it can be had.
func (c *Client) Get(ctx context.Context, address string) (*Document, error) {
	return c.get(ctx, address, 0)
}

// Renew is like Get, but asks again if what is kept is older than MinAge: somebody showed something
// newer, such as a key that is not in the set.
func (c *Client) Renew(ctx context.Context, address string) (*Document, error) {
	return c.get(ctx, address, c.cfg.MinAge)
}

// get returns what is kept unless it is over or, if oldest is not 0, older than that.
func (c *Client) get(ctx context.Context, address string, oldest time.Duration) (*Document, error) {
	now := c.cfg.Now()
	p, mine := c.cache.page(address, func(p *page) bool {
		return now.Before(p.until) && (oldest == 0 || now.Before(p.at.Add(oldest)))
	})
	if mine {
		// The request is not its first caller's alone: it goes on if that one leaves, within Timeout.
		go func() {
			d, err := c.fetch(context.WithoutCancel(ctx), address)
			p.at = c.cfg.Now()
			p.until = p.at.Add(c.cfg.MinAge)
			if err == nil {
				p.until = d.Until
			}
			p.doc, p.err = d, err
			close(p.done)
		}()
	}
	select {
	case <-p.done:
		return p.doc, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// age returns how long a document with that header is kept (RFC 9111, section 5.2.2).
func (c *Client) age(h http.Header) time.Duration {
	age := 5 * time.Minute
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			age = 0
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil && age != 0 {
				age = time.Duration(n) * time.Second
			}
		}
	}
	return min(max(age, c.cfg.MinAge), c.cfg.MaxAge)
}

// A cache keeps pages by their addresses.
type cache struct {
	most int

	mu    sync.Mutex
	pages map[string]*page
}

// A page is an answer, or the request for it that is under way. Its other fields are written before
// done is closed, and read after it.
type page struct {
	done      chan struct{}
	doc       *Document
	err       error
	at, until time.Time
}

func (c *cache) init(most int) { c.most, c.pages = most, map[string]*page{} }

// page returns the page of an address. It is mine if the caller is to fill it: there was none, or
// one that is not good any more.
func (c *cache) page(address string, good func(*page) bool) (p *page, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p = c.pages[address]; p != nil && (!p.finished() || good(p)) {
		return p, false
	}
	if p == nil && len(c.pages) >= c.most {
		c.drop()
	}
	p = &page{done: make(chan struct{})}
	c.pages[address] = p
	return p, true
}

// drop makes room: it forgets the finished page that ends first. The caller holds c.mu.
func (c *cache) drop() {
	var victim string
	var first time.Time
	for address, p := range c.pages {
		if p.finished() && (first.IsZero() || p.until.Before(first)) {
			victim, first = address, p.until
		}
	}
	delete(c.pages, victim)
}

func (p *page) finished() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
