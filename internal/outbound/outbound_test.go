package outbound_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

// site is a server on loopback, with https and a certificate that pool trusts.
func site(t *testing.T, h http.HandlerFunc) (address string, pool *x509.CertPool) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	pool = x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return srv.URL, pool
}

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func TestGet(t *testing.T) {
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "" {
			t.Errorf("Authorization = %q, want none", got)
		}
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
	})
	d, err := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: pool}).Get(t.Context(), address+"/a/b")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(d.Body), "GET /a/b"; got != want {
		t.Errorf("body = %q, want %q", got, want)
	}
}

func TestGetAllowedNetwork(t *testing.T) {
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) {})
	cfg := outbound.Config{RootCAs: pool, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	if _, err := outbound.New(cfg).Get(t.Context(), address); err != nil {
		t.Errorf("Get from an allowed network: %v", err)
	}
}

func TestGetAuthorization(t *testing.T) {
	var got atomic.Value
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) { got.Store(r.Header.Get("Authorization")) })
	cfg := outbound.Config{AllowPrivate: true, RootCAs: pool, Authorization: func() (string, error) { return "Bearer x", nil }}
	if _, err := outbound.New(cfg).Get(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	if got.Load() != "Bearer x" {
		t.Errorf("Authorization = %q, want %q", got.Load(), "Bearer x")
	}
}

func TestAuthorizationNeedsAnAuthority(t *testing.T) {
	cfg := outbound.Config{AllowPrivate: true, Authorization: func() (string, error) { return "Bearer x", nil }}
	address, _ := site(t, unreached(t))
	_, err := outbound.New(cfg).Get(t.Context(), address)
	if !errors.Is(err, authz.ErrUnavailable) || !strings.Contains(err.Error(), "certificate authority") {
		t.Errorf("Get = %v, want authz.ErrUnavailable because of the certificate authority", err)
	}
}

func TestAuthorizationFails(t *testing.T) {
	refused(t, outbound.Config{AllowPrivate: true, Authorization: func() (string, error) { return "", errors.New("no file") }}, unreached(t), "no file")
}

// refused asks for an address of a site and wants authz.ErrUnavailable that says why.
func refused(t *testing.T, cfg outbound.Config, h http.HandlerFunc, why string) {
	t.Helper()
	address, pool := site(t, h)
	if cfg.RootCAs == nil {
		cfg.RootCAs = pool
	}
	_, err := outbound.New(cfg).Get(t.Context(), address+"/secret-path")
	if !errors.Is(err, authz.ErrUnavailable) || !strings.Contains(err.Error(), why) {
		t.Errorf("Get = %v, want authz.ErrUnavailable that says %q", err, why)
	}
	if err != nil && strings.Contains(err.Error(), "secret-path") {
		t.Errorf("Get = %v: the error names the path", err)
	}
}

func unreached(t *testing.T) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) { t.Error("the site was reached") }
}

func TestLoopbackIsRefused(t *testing.T) {
	refused(t, outbound.Config{}, unreached(t), "not a public one")
}

func TestNameOfLoopbackIsRefused(t *testing.T) {
	address, pool := site(t, unreached(t))
	address = strings.Replace(address, "127.0.0.1", "localhost", 1)
	_, err := outbound.New(outbound.Config{RootCAs: pool}).Get(t.Context(), address)
	if !errors.Is(err, authz.ErrUnavailable) || !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("Get(%q) = %v, want authz.ErrUnavailable because of authz.ErrForbidden", address, err)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	refused(t, outbound.Config{AllowPrivate: true}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/secret-path" {
			t.Error("the redirect was followed")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}, "status 302")
}

func TestStatusIsRefused(t *testing.T) {
	refused(t, outbound.Config{AllowPrivate: true}, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }, "status 404")
}

func TestAnnouncedSizeIsRefused(t *testing.T) {
	refused(t, outbound.Config{AllowPrivate: true, MaxBytes: 10}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "eleven bytes")
	}, "more than 10 bytes")
}

func TestEndlessBodyIsRefused(t *testing.T) {
	refused(t, outbound.Config{AllowPrivate: true, MaxBytes: 1000}, func(w http.ResponseWriter, r *http.Request) {
		for range 1000 {
			if _, err := w.Write(make([]byte, 100)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}, "more than 1000 bytes")
}

func TestSilentSiteIsRefused(t *testing.T) {
	refused(t, outbound.Config{AllowPrivate: true, Timeout: 100 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}, "")
}

func TestForeignCertificateIsRefused(t *testing.T) {
	refused(t, outbound.Config{AllowPrivate: true, RootCAs: x509.NewCertPool()}, unreached(t), "certificate")
}

func TestProxyIsNotAsked(t *testing.T) {
	proxy := httptest.NewServer(unreached(t))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("HTTP_PROXY", proxy.URL)
	refused(t, outbound.Config{}, unreached(t), "not a public one")
}

func TestCheck(t *testing.T) {
	public := outbound.New(outbound.Config{})
	private := outbound.New(outbound.Config{AllowPrivate: true})
	for _, address := range []string{
		"https://example.com", "https://example.com:8443/a?b=c", "https://[2606:4700::1111]/", "https://xn--bcher-kva.example/x",
	} {
		if err := public.Check(address); err != nil {
			t.Errorf("Check(%q) = %v, want nil", address, err)
		}
	}
	for _, address := range []string{
		"", "https://", "https:///path", "https:example.com", "example.com", "//example.com", "ftp://example.com/", "file:///etc/passwd",
		"http://example.com/", "http://127.0.0.1/", "gopher://127.0.0.1:6379/_x", "https://user@example.com/", "https://user:pw@example.com/",
		"https://example.com/#", "https://example.com/#x", "https://exa mple.com/", "https://example.com/\r\nX: y", "https://example.com\\@evil.example/",
		"https://bücher.example/", "https://example.com:port/", "https://[::1/", "https://example.com/" + strings.Repeat("a", outbound.MaxURL),
	} {
		if err := public.Check(address); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Check(%q) = %v, want authz.ErrInvalid", address, err)
		}
	}
	for address, want := range map[string]bool{
		"http://127.0.0.1:80/": true, "http://localhost/": true, "http://[::1]/": true,
		"http://10.0.0.1/": false, "http://example.com/": false, "http://localhost.example/": false,
	} {
		if got := private.Check(address) == nil; got != want {
			t.Errorf("Check(%q) with AllowPrivate passes = %v, want %v", address, got, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"https://example.com/a", "https://a@b/", "http://[::1]:1/", "https://%41/", "https://a\\b/"} {
		f.Add(s)
	}
	c := outbound.New(outbound.Config{})
	f.Fuzz(func(t *testing.T, address string) {
		if c.Check(address) != nil {
			return
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Hostname() == "" || u.Fragment != "" {
			t.Errorf("Check(%q) passes", address)
		}
	})
}

func TestKeptDocument(t *testing.T) {
	for _, tt := range []struct {
		header string
		want   time.Duration
	}{
		{"", 5 * time.Minute},
		{"max-age=600", 10 * time.Minute},
		{`public, max-age="600"`, 10 * time.Minute},
		{"max-age=1", time.Minute},
		{"max-age=86400", time.Hour},
		{"no-store", time.Minute},
		{"no-cache, max-age=600", time.Minute},
		{"max-age=-1", 5 * time.Minute},
		{"max-age=99999999999999999999", 5 * time.Minute},
		{"MAX-AGE=600, x", 10 * time.Minute},
	} {
		asked := 0
		address, pool := site(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			if tt.header != "" {
				w.Header().Set("Cache-Control", tt.header)
			}
		})
		now := newClock()
		c := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: pool, Now: now.now})
		get := func() *outbound.Document {
			d, err := c.Get(t.Context(), address)
			if err != nil {
				t.Fatalf("%q: %v", tt.header, err)
			}
			return d
		}
		first := get()
		now.advance(tt.want - 1)
		if get() != first || asked != 1 {
			t.Errorf("%q: asked %d times before %v, want 1 and the same document", tt.header, asked, tt.want)
		}
		now.advance(1)
		if get() == first || asked != 2 {
			t.Errorf("%q: asked %d times at %v, want 2 and another document", tt.header, asked, tt.want)
		}
	}
}

func TestFailureIsKept(t *testing.T) {
	asked, status := 0, 500
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) { asked++; w.WriteHeader(status) })
	now := newClock()
	c := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: pool, Now: now.now})
	for range 3 {
		if _, err := c.Get(t.Context(), address); !errors.Is(err, authz.ErrUnavailable) {
			t.Fatalf("Get = %v, want authz.ErrUnavailable", err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want 1", asked)
	}
	status = 200
	now.advance(time.Minute)
	if _, err := c.Get(t.Context(), address); err != nil {
		t.Errorf("Get a minute later: %v", err)
	}
}

func TestDocumentIsNotKeptWhenItCannotBeHadAgain(t *testing.T) {
	status := 200
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
	now := newClock()
	c := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: pool, Now: now.now})
	if _, err := c.Get(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	status = 500
	now.advance(5 * time.Minute)
	if _, err := c.Get(t.Context(), address); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Get = %v, want authz.ErrUnavailable", err)
	}
}

func TestRenew(t *testing.T) {
	asked := 0
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) { asked++; w.Header().Set("Cache-Control", "max-age=3600") })
	now := newClock()
	c := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: pool, Now: now.now})
	step := func(what string, f func(context.Context, string) (*outbound.Document, error), want int) {
		t.Helper()
		if _, err := f(t.Context(), address); err != nil || asked != want {
			t.Errorf("%s: asked %d times, err %v; want %d times", what, asked, err, want)
		}
	}
	step("Renew when there is none", c.Renew, 1)
	step("Renew at once", c.Renew, 1)
	now.advance(time.Minute)
	step("Get a minute later", c.Get, 1)
	step("Renew a minute later", c.Renew, 2)
	step("Renew again", c.Renew, 2)
}

func TestManyAskOnce(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1); <-release })
	c := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: pool})
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { _, err := c.Get(leaving, address); left <- err }()
	for asked.Load() == 0 {
	}
	leave() // who asked first does not take the answer from the others
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("Get = %v, want context.Canceled", err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Get(t.Context(), address); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times, want 1", asked.Load())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	asked := map[string]int{}
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) { asked[r.URL.Path]++ })
	now := newClock()
	c := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: pool, Now: now.now, MaxDocuments: 2})
	for _, path := range []string{"/a", "/b", "/c", "/c", "/b", "/a"} {
		if _, err := c.Get(t.Context(), address+path); err != nil {
			t.Fatal(err)
		}
		now.advance(time.Second)
	}
	if asked["/a"] != 2 || asked["/b"] != 1 || asked["/c"] != 1 {
		t.Errorf("asked %v, want /a twice, whose time was over first, and the others once", asked)
	}
}

func TestPublic(t *testing.T) {
	for _, tt := range []struct {
		want  bool
		addrs string
	}{
		{true, "8.8.8.8 1.1.1.1 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 223.255.255.255 11.0.0.1"},
		{true, "2606:4700::1111 2a00:1450::1 2001:200::1 64:ff9b::8.8.8.8 ::ffff:8.8.8.8"},
		{false, "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255 192.168.1.1"},
		{false, "192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255"},
		{false, ":: ::1 fe80::1 fe80::1%eth0 2606:4700::1%eth0 fec0::1 fc00::1 fd00:ec2::254 ff02::1 100::1 ::127.0.0.1 ::10.0.0.1"},
		{false, "::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8"},
		{false, "2001::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 5f00::1"},
	} {
		for text := range strings.FieldsSeq(tt.addrs) {
			if got := outbound.Public(netip.MustParseAddr(text)); got != tt.want {
				t.Errorf("Public(%s) = %v, want %v", text, got, tt.want)
			}
		}
	}
	if outbound.Public(netip.Addr{}) {
		t.Error("Public of no address = true, want false")
	}
}
