package storetest

import (
	"context"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/safeconduct/safeconduct/internal/store"
)

// A Breaker takes a real database away and gives it back. On SQLite the disk is full: what needs
// space fails, reading works. On PostgreSQL the network is gone, with every connection.
type Breaker struct {
	t     testing.TB
	db    *store.DB
	proxy *proxy // nil on SQLite
}

// OpenBreakable opens a database as Open does, or that of cfg, and returns a Breaker for it.
func OpenBreakable(t testing.TB, cfg store.Config) (*store.DB, *Breaker) {
	t.Helper()
	b := &Breaker{t: t}
	if cfg.Postgres != "" {
		b.proxy = newProxy(t, cfg.Postgres)
		u, err := url.Parse(cfg.Postgres)
		if err != nil {
			t.Fatalf("%s must be a URL to break it: %v", PostgresVar, err)
		}
		u.Host = b.proxy.l.Addr().String()
		q := u.Query()
		q.Del("host")
		q.Del("port")
		u.RawQuery = q.Encode()
		cfg.Postgres = u.String()
	}
	b.db = open(t, cfg)
	return b.db, b
}

// Break takes the database away.
func (b *Breaker) Break() {
	b.t.Helper()
	if b.proxy != nil {
		b.proxy.setBroken(true)
	} else if err := b.db.LimitSize(context.Background(), 1); err != nil {
		b.t.Fatalf("filling the disk: %v", err)
	}
}

// Mend gives it back.
func (b *Breaker) Mend() {
	b.t.Helper()
	if b.proxy != nil {
		b.proxy.setBroken(false)
	} else if err := b.db.LimitSize(context.Background(), 0); err != nil {
		b.t.Fatalf("emptying the disk: %v", err)
	}
}

// A proxy stands between a store and PostgreSQL.
type proxy struct {
	l      net.Listener
	dial   func() (net.Conn, error)
	mu     sync.Mutex
	broken bool
	conns  map[net.Conn]bool
}

func newProxy(t testing.TB, dsn string) *proxy {
	t.Helper()
	conf, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgNetwork(conf)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, conns: map[net.Conn]bool{}, dial: func() (net.Conn, error) { return net.Dial(network, address) }}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.setBroken(true)
		running.Wait()
	})
	return p
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := p.dial()
	if err != nil {
		return
	}
	defer server.Close()
	if !p.add(client, server) {
		return
	}
	defer p.remove(client, server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(server, client)
		server.Close()
	}()
	io.Copy(client, server)
	client.Close()
	<-done
}

func (p *proxy) add(cs ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return false
	}
	for _, c := range cs {
		p.conns[c] = true
	}
	return true
}

func (p *proxy) remove(cs ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cs {
		delete(p.conns, c)
	}
}

func (p *proxy) setBroken(broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = broken
	if broken {
		for c := range p.conns {
			c.Close()
		}
	}
}

func pgNetwork(conf *pgx.ConnConfig) (network, address string) {
	if len(conf.Host) > 0 && conf.Host[0] == '/' {
		return "unix", conf.Host + "/.s.PGSQL." + strconv.Itoa(int(conf.Port))
	}
	return "tcp", net.JoinHostPort(conf.Host, strconv.Itoa(int(conf.Port)))
}
