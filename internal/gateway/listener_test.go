package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway"
)

// A pipes listens for pipes, each from an address that it is said to come from.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

type from struct {
	net.Conn
	address string
}

func (c from) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", c.address)
	if err != nil {
		panic(err)
	}
	return a
}

// dial returns the two ends of a connection from an address.
func (p pipes) dial(address string) (client net.Conn, server net.Conn) {
	client, server = net.Pipe()
	server = from{server, address}
	p <- server
	return client, server
}

// One address has no more connections than it may, and gets another when one of them ends.
func TestConnectionsOfAnAddress(t *testing.T) {
	p := make(pipes, 20)
	var log bytes.Buffer
	l := gateway.Listen(p, 5, 2, time.Minute, slog.New(slog.NewTextHandler(&log, nil)))
	accepted := func(addresses ...string) (conns []net.Conn, got []string) {
		for _, a := range addresses {
			p.dial(a)
		}
		p.dial("198.51.100.99:1") // always within its bound
		for {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if c.RemoteAddr().String() == "198.51.100.99:1" {
				c.Close()
				return conns, got
			}
			conns, got = append(conns, c), append(got, c.RemoteAddr().String())
		}
	}
	first, got := accepted("192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1", "[2001:db8::1]:1")
	if want := []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "[2001:db8::1]:1"}; !slices.Equal(got, want) {
		t.Errorf("accepted %q, want %q", got, want)
	}
	if n := strings.Count(log.String(), "too many"); n != 1 {
		t.Errorf("the log says %d times that connections were closed:\n%s", n, &log)
	}
	first[0].Close()
	first[0].Close() // counts once
	first[2].Close()
	second, got := accepted("192.0.2.1:4", "192.0.2.1:5", "[2001:db8::2]:1", "[2001:db8::3]:1")
	if want := []string{"192.0.2.1:4", "[2001:db8::2]:1"}; !slices.Equal(got, want) {
		t.Errorf("then accepted %q, want %q", got, want)
	}
	for _, c := range slices.Concat(first, second) {
		c.Close()
	}
	if _, got = accepted("192.0.2.1:6", "192.0.2.1:7"); len(got) != 2 {
		t.Errorf("at the end accepted %q, want both", got)
	}
}

// A client that takes what is written to it, however slowly, is served for as long as it likes, one that takes nothing is not.
func TestSlowReaders(t *testing.T) {
	start := func(t *testing.T) (client, served net.Conn) {
		p := make(pipes, 1)
		client, _ = p.dial("192.0.2.1:1")
		served, err := gateway.Listen(p, 5, 5, time.Minute, slog.New(slog.DiscardHandler)).Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close(); served.Close() })
		return client, served
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	synctest.Test(t, func(t *testing.T) {
		client, served := start(t)
		var got bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 16 {
				time.Sleep(50 * time.Second)
				if _, err := io.CopyN(&got, client, 64<<10); err != nil {
					t.Errorf("after %d bytes: %v", got.Len(), err)
				}
			}
		}()
		if n, err := served.Write(big); n != len(big) || err != nil {
			t.Errorf("1 MiB at 64 KiB in 50 s: %d, %v", n, err)
		}
		<-done
		if !bytes.Equal(got.Bytes(), big) {
			t.Errorf("the client got %d bytes, others than were written", got.Len())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		client, served := start(t)
		time.Sleep(24 * time.Hour) // a WebSocket may be silent
		go io.CopyN(io.Discard, client, 5)
		if _, err := served.Write([]byte("hello")); err != nil {
			t.Errorf("after a day of silence: %v", err)
		}
		begun := time.Now()
		if n, err := served.Write(big); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("to a client that takes nothing: %d bytes, %v, after %v, want a timeout after a minute", n, err, time.Since(begun))
		}
	})
	synctest.Test(t, func(t *testing.T) { // what a door sets is kept, if it is sooner
		_, served := start(t)
		for _, c := range []struct{ set, want time.Duration }{{10 * time.Second, 10 * time.Second}, {time.Hour, time.Minute}, {-time.Second, 0}} {
			begun := time.Now()
			if err := served.SetDeadline(begun.Add(c.set)); err != nil {
				t.Fatal(err)
			}
			if _, err := served.Write(big); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != c.want {
				t.Errorf("a deadline in %v: %v after %v, want a timeout after %v", c.set, err, time.Since(begun), c.want)
			}
		}
		begun := time.Now()
		if err := served.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := served.Write(big); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("no deadline: %v after %v, want a timeout after a minute", err, time.Since(begun))
		}
	})
}

// A client that asks and asks and reads no answer gives its connection back.
func TestUnreadAnswers(t *testing.T) {
	cp := newControlPlane(t)
	_, url, _ := serve(t, lines("listen: 127.0.0.1:0", "service: {url: "+cp.URL+"}", "limits: {connections: 1, write_time: 1s}"), gateway.Options{},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("x", 1<<20)) }))
	addr := strings.TrimPrefix(url, "http://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	for err == nil { // until the gateway ends the connection
		_, err = io.WriteString(c, strings.Repeat("GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n", 1000))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("a connection that nobody reads from is kept")
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		resp, err := http.Get(url + "/healthz")
		if err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the only place is still taken: %v", err)
		}
	}
}

// Over HTTP/2 a stream that nobody reads ends, and leaves the connection and its other streams alone, also those that are silent.
func TestUnreadStream(t *testing.T) {
	const patience = time.Second
	g := open(t, document("limits: {write_time: 1s}"), gateway.Options{})
	ended := make(chan error, 1)
	s := httptest.NewUnstartedServer(g.Mounted(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		switch r.URL.Path {
		case "/unread":
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					ended <- err
					return
				}
			}
		case "/silent":
			fmt.Fprint(w, "one ")
			if err := rc.Flush(); err != nil {
				t.Errorf("flushing: %v", err)
			}
			timer := time.NewTimer(patience * 3 / 2)
			defer timer.Stop()
			select {
			case <-timer.C:
				fmt.Fprint(w, "two")
			case <-r.Context().Done():
			}
		default:
			fmt.Fprint(w, "fine")
		}
	})))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	var dials int
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	defer transport.CloseIdleConnections()
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	get := func(path string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if resp.ProtoMajor != 2 {
			t.Fatalf("%s came by %s", path, resp.Proto)
		}
		return resp
	}
	unread := get("/unread")
	defer unread.Body.Close()
	silent := get("/silent")
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("a stream that nobody reads goes on")
	}
	if b, err := io.ReadAll(silent.Body); string(b) != "one two" || err != nil {
		t.Errorf("a stream that was silent for longer than a write may take: %q, %v", b, err)
	}
	silent.Body.Close()
	fine := get("/")
	if b, err := io.ReadAll(fine.Body); string(b) != "fine" || err != nil {
		t.Errorf("another stream: %q, %v", b, err)
	}
	fine.Body.Close()
	if dials != 1 {
		t.Errorf("there were %d connections, want one that goes on", dials)
	}
}

// A deadline that a door has set for one answer does not count for the next one on the connection.
func TestDeadlineOfAnotherAnswer(t *testing.T) {
	cp := newControlPlane(t)
	_, url, _ := serve(t, lines("listen: 127.0.0.1:0", "service: {url: "+cp.URL+"}"), gateway.Options{},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "4")
			fmt.Fprint(w, "fine")
			rc := http.NewResponseController(w)
			if err := rc.Flush(); err != nil {
				t.Errorf("flushing: %v", err)
			}
			if err := rc.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil { // it has passed when the next one comes
				t.Errorf("setting a deadline: %v", err)
			}
		}))
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(c)
	for _, path := range []string{"/mcp", "/healthz", "/mcp", "/mcp"} {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: %d, %v", path, resp.StatusCode, err)
		}
	}
}
