package outbound_test

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

func TestPost(t *testing.T) {
	var asked atomic.Int64
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || string(body) != "hello" || r.Header.Get("Webhook-Id") != "m1" {
			t.Errorf("got %s %q with id %q, want POST %q with id %q", r.Method, body, r.Header.Get("Webhook-Id"), "hello", "m1")
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, "later")
	})
	c := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: pool})
	header := http.Header{"Content-Type": {"text/plain"}, "Webhook-Id": {"m1"}}
	for range 2 { // nothing is kept
		r, err := c.Post(t.Context(), address+"/hook", header, []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != 429 || string(r.Body) != "later" || r.Header.Get("Retry-After") != "7" {
			t.Errorf("answer = %d %q, Retry-After %q; want 429 %q, 7", r.Status, r.Body, r.Header.Get("Retry-After"), "later")
		}
	}
	if got := asked.Load(); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
}

func TestPostRefused(t *testing.T) {
	var asked atomic.Int64
	address, pool := site(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "/here", http.StatusTemporaryRedirect)
		case "/large":
			io.WriteString(w, strings.Repeat("x", 200))
		}
	})
	open := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: pool, MaxBytes: 100})
	guarded := outbound.New(outbound.Config{RootCAs: pool})

	r, err := open.Post(t.Context(), address+"/away", nil, nil)
	if err != nil || r.Status != http.StatusTemporaryRedirect {
		t.Errorf("Post to a redirect = %+v, %v; want its status 307", r, err)
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("asked %d times, want once: redirects are not followed", got)
	}
	if _, err := open.Post(t.Context(), address+"/large", nil, nil); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Post with a large answer = %v, want ErrUnavailable", err)
	}
	before := asked.Load()
	if _, err := guarded.Post(t.Context(), address, nil, nil); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Post to loopback = %v, want ErrUnavailable", err)
	}
	for _, bad := range []string{"", "http://example.com/", "https://user@example.com/", "https://example.com/#x", "https://example.com/\r\nX: y"} {
		if _, err := guarded.Post(t.Context(), bad, nil, nil); !errors.Is(err, authz.ErrInvalid) || strings.Contains(err.Error(), "example") {
			t.Errorf("Post(%q) = %v, want ErrInvalid, and not the address", bad, err)
		}
	}
	if got := asked.Load(); got != before {
		t.Errorf("asked %d times although refused", got-before)
	}
}

func TestReaches(t *testing.T) {
	guarded := outbound.New(outbound.Config{})
	near := outbound.New(outbound.Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, c := range []struct {
		client  *outbound.Client
		address string
		want    error
	}{
		{guarded, "https://8.8.8.8/", nil},
		{guarded, "https://[2606:4700:4700::1111]/", nil},
		{guarded, "https://127.0.0.1/", authz.ErrForbidden},
		{guarded, "https://localhost/", authz.ErrForbidden},
		{guarded, "https://169.254.169.254/latest/meta-data", authz.ErrForbidden},
		{guarded, "https://[::1]/", authz.ErrForbidden},
		{guarded, "https://[fd00::1]/", authz.ErrForbidden},
		{guarded, "https://[::ffff:10.1.2.3]/", authz.ErrForbidden},
		{guarded, "https://[64:ff9b::7f00:1]/", authz.ErrForbidden},
		{guarded, "https://10.1.2.3/", authz.ErrForbidden},
		{near, "https://10.1.2.3/", nil},
		{near, "https://192.168.1.1/", authz.ErrForbidden},
		{guarded, "https://nothing.invalid/", authz.ErrInvalid},
		{guarded, "http://8.8.8.8/", authz.ErrInvalid},
	} {
		if err := c.client.Reaches(t.Context(), c.address); !errors.Is(err, c.want) {
			t.Errorf("Reaches(%q) = %v, want %v", c.address, err, c.want)
		}
	}
}
