package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Serve serves the door's handler, and what Handler has, on the address of the document, until ctx ends and the requests under
// way have ended, or have had the time that limits.stop gives them. It returns nil then.
func (g *Gateway) Serve(ctx context.Context, door http.Handler) error {
	c := g.common
	if err := g.bind(ctx); err != nil {
		return err
	}
	room := newHeapRoom()
	defer runtime.KeepAlive(room)
	ln, hl, cert := g.bound.door, g.bound.health, g.bound.cert
	s := g.server(g.mount(door))
	if cert != nil {
		s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}
		if c.TLS.ClientCertificates {
			s.TLSConfig.ClientAuth = tls.RequestClientCert
		}
	}
	servers := []*http.Server{s}
	done := make(chan error, 2)
	if hl != nil {
		mux := http.NewServeMux()
		g.healthRoutes(mux)
		hs := g.server(mux)
		servers = append(servers, hs)
		go func() { done <- hs.Serve(g.listener(hl, healthConnections, healthConnections/2)) }()
	}
	go func() {
		l := g.listener(ln, c.Limits.Connections, c.Limits.PerAddress)
		if s.TLSConfig != nil {
			done <- s.ServeTLS(l, "", "")
			return
		}
		done <- s.Serve(l)
	}()
	if g.opts.Listening != nil {
		g.opts.Listening(ln.Addr())
	}
	var first error
	select {
	case <-ctx.Done():
	case first = <-done:
		done <- nil
	}
	close(g.stopping)
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Limits.Stop)
	defer cancel()
	for _, s := range servers {
		if err := s.Shutdown(stopCtx); err != nil {
			s.Close()
		}
	}
	for range servers {
		if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) && first == nil {
			first = err
		}
	}
	if first != nil && !errors.Is(first, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", first)
	}
	return nil
}

// healthConnections are those of health.listen.
const healthConnections = 64

func (g *Gateway) listener(l net.Listener, most, perAddress int) *listener {
	return &listener{Listener: l, most: most, perAddress: perAddress, patience: g.common.Limits.WriteTime, log: g.Logger}
}

// server returns an HTTP server with bounds. Answers have no deadline as a whole, since they may be streams; each piece of one has.
func (g *Gateway) server(h http.Handler) *http.Server {
	l := &g.common.Limits
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: l.HeaderTime,
		IdleTimeout:       l.IdleTime,
		MaxHeaderBytes:    l.Header,
		// What is asked of the server as a whole (OPTIONS *) is the door's to refuse as well.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(g.Logger.Handler(), slog.LevelDebug),
	}
}

// mount puts what Handler has before the door, and bounds the time that a body may take, and a client to take a piece of an answer.
func (g *Gateway) mount(door http.Handler) http.Handler {
	own := g.Handler()
	if g.processors != nil {
		door = g.processors.count(door)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor >= 2 {
			p := newPaced(w, g.common.Limits.WriteTime)
			defer p.end()
			w = p
		}
		if g.Owns(r.URL.Path) {
			own.ServeHTTP(w, r)
			return
		}
		if nonce := g.Verifier.Nonce(); nonce != "" {
			w.Header()["Dpop-Nonce"] = []string{nonce}
		}
		if r.Body != nil && r.Body != http.NoBody {
			rc := http.NewResponseController(w)
			if rc.SetReadDeadline(time.Now().Add(g.common.Limits.BodyTime)) == nil {
				r.Body = &timedBody{ReadCloser: r.Body, rc: rc}
			}
		}
		door.ServeHTTP(w, r)
	})
}

// A timedBody has a deadline until it was read. It must not stay when the body is done: the server reads on, to see whether
// the client leaves, and would take the deadline for that.
type timedBody struct {
	io.ReadCloser
	rc   *http.ResponseController
	done atomic.Bool
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.finish()
	}
	return n, err
}

func (b *timedBody) Close() error {
	err := b.ReadCloser.Close()
	b.finish()
	return err
}

func (b *timedBody) finish() {
	if !b.done.Swap(true) {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
}

// A certificateFile is a certificate that is read again when its file was changed.
type certificateFile struct {
	g *Gateway

	mu     sync.Mutex
	cert   *tls.Certificate
	mod    time.Time
	looked time.Time
}

const certificateEvery = time.Minute

func newCertificateFile(g *Gateway) (*certificateFile, error) {
	f := &certificateFile{g: g}
	return f, f.load()
}

func (f *certificateFile) load() error {
	t := &f.g.common.TLS
	cert, err := tls.LoadX509KeyPair(f.g.common.Path(t.Cert), f.g.common.Path(t.Key))
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "loading the certificate: %w", err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return authz.Errorf(authz.ErrInvalid, "loading the certificate: %w", err)
		}
	}
	f.cert = &cert
	if info, err := os.Stat(f.g.common.Path(t.Cert)); err == nil {
		f.mod = info.ModTime()
	}
	return nil
}

// get returns the certificate. If the file was changed to something that is none, the one before goes on.
func (f *certificateFile) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.looked) >= certificateEvery {
		f.looked = now
		if info, err := os.Stat(f.g.common.Path(f.g.common.TLS.Cert)); err == nil && !info.ModTime().Equal(f.mod) {
			if err := f.load(); err != nil {
				f.g.Logger.Error("the changed certificate is not used", "err", err)
			}
		}
	}
	return f.cert, nil
}
