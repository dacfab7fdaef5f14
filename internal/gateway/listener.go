package gateway

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// A listener closes connections that are too many, of all or of one address, and ends those whose client does not take what is
// written to it. How long a connection may be open does not matter: answers may be streams, and connections WebSockets.
type listener struct {
	net.Listener
	most, perAddress int
	patience         time.Duration // for a piece to be taken
	log              *slog.Logger

	mu   sync.Mutex
	open int
	of   map[netip.Prefix]int
	told time.Time // when it was last logged that one was closed
}

const (
	// piece is how many bytes a client must take within the time that one write has: what is larger is written in pieces.
	piece = 64 << 10

	tellEvery = time.Minute
)

// Accept returns the next connection that is not too many.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := network(c.RemoteAddr())
		if l.enter(from) {
			return &conn{Conn: c, patience: l.patience, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		c.Close()
	}
}

// network returns who has an address: itself or, of IPv6, the network of which one host has as many as it likes. It is the
// zero Prefix if there is none.
func network(a net.Addr) netip.Prefix {
	if a == nil {
		return netip.Prefix{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := ap.Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

func (l *listener) enter(from netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, one := l.open >= l.most, from.IsValid() && l.of[from] >= l.perAddress
	if full || one {
		if now := time.Now(); now.Sub(l.told) >= tellEvery {
			l.told = now
			l.log.Warn("connections are closed, because there are too many", "address", from.Addr(), "of_address", l.of[from], "all", l.open)
		}
		return false
	}
	if l.of == nil {
		l.of = map[netip.Prefix]int{}
	}
	l.open++
	l.of[from]++
	return true
}

func (l *listener) leave(from netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.of[from]--; l.of[from] <= 0 {
		delete(l.of, from)
	}
}

// A conn has a deadline for each piece that is written to it, and no later one than was set.
type conn struct {
	net.Conn
	patience time.Duration
	leave    func()

	mu  sync.Mutex
	set time.Time // by SetWriteDeadline; zero if there is none
}

func (c *conn) Write(p []byte) (n int, err error) {
	for first := true; first || n < len(p); first = false {
		if err := c.arm(); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(p[n:min(len(p), n+piece)])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (c *conn) arm() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := time.Now().Add(c.patience)
	if !c.set.IsZero() && c.set.Before(d) {
		d = c.set
	}
	return c.Conn.SetWriteDeadline(d)
}

// SetWriteDeadline sets the latest deadline for what is being written, and for what will be.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = t
	if t.IsZero() { // what is being written keeps the deadline that it has
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets that for reading and for writing.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// A paced is a ResponseWriter of HTTP/2, where a client can take from its connection and leave one stream alone: the stream ends
// then.
type paced struct {
	http.ResponseWriter
	rc       *http.ResponseController
	patience time.Duration
	watch    *time.Timer
}

func newPaced(w http.ResponseWriter, patience time.Duration) *paced {
	p := &paced{ResponseWriter: w, rc: http.NewResponseController(w), patience: patience}
	p.watch = time.AfterFunc(patience, func() { _ = p.rc.SetWriteDeadline(time.Now().Add(-time.Second)) })
	p.watch.Stop()
	return p
}

// Unwrap serves http.ResponseController.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *paced) Write(b []byte) (n int, err error) {
	defer p.watch.Stop()
	for first := true; first || n < len(b); first = false {
		p.watch.Reset(p.patience)
		m, err := p.ResponseWriter.Write(b[n:min(len(b), n+piece)])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// FlushError is Flush with an error; http.ResponseController calls it.
func (p *paced) FlushError() error {
	p.watch.Reset(p.patience)
	defer p.watch.Stop()
	return p.rc.Flush()
}

// Flush writes what was held.
func (p *paced) Flush() { _ = p.FlushError() }

// end bounds how long what is left may take: the server writes it once the handler has returned.
func (p *paced) end() { _ = p.rc.SetWriteDeadline(time.Now().Add(p.patience)) }
