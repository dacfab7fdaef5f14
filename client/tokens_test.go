package client_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

const tokenPath = "/tenant/oauth2/token"

// issuedBy returns how many tokens the server has given.
func issuedBy(s *authServer) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.forms)
}

func TestTokensAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAuthServer(t)
		src := s.agent("EdDSA").Tokens(client.TokenRequest{Scope: []string{"a"}})
		get := func(wantIssued int) *client.Token {
			t.Helper()
			tok, err := src.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // for what goes on in the background
			if n := issuedBy(s); n != wantIssued {
				t.Errorf("%d tokens were issued, want %d", n, wantIssued)
			}
			return tok
		}
		first := get(1)
		time.Sleep(239 * time.Second)
		if get(1) != first {
			t.Error("the token changed before its time")
		}
		time.Sleep(2 * time.Second) // less than a minute is left
		if get(2) != first {
			t.Error("the caller waited for a token though one was at hand")
		}
		second := get(2)
		if second == first {
			t.Error("the token that was got in the background is not used")
		}
		time.Sleep(296 * time.Second) // the last seconds: nothing is at hand
		if get(3) == second {
			t.Error("a token that ends at once was handed out")
		}
		time.Sleep(time.Hour)
		get(4)
	})
}

// However many callers wait, the server is asked once; a caller who gives up harms nobody.
func TestTokensFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAuthServer(t)
		src := s.agent("EdDSA").Tokens(client.TokenRequest{})
		hold := make(chan struct{})
		s.fault = func(r *http.Request, n int) (int, string) {
			if r.URL.Path == tokenPath && n == 1 {
				<-hold
			}
			return 0, ""
		}
		hasty, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := src.Token(hasty); !errors.Is(err, context.Canceled) {
				t.Errorf("the caller who gave up: %v", err)
			}
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				if _, err := src.Token(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(hold)
		wg.Wait()
		if n := issuedBy(s); n != 1 {
			t.Errorf("%d tokens were issued, want 1", n)
		}
	})
}

// While the server is down the token at hand is used to its end, and then the error is told.
func TestTokensOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAuthServer(t)
		src := s.agent("EdDSA").Tokens(client.TokenRequest{})
		first, err := src.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.fault = func(*http.Request, int) (int, string) { return 503, "" }
		s.mu.Unlock()
		time.Sleep(245 * time.Second)
		for range 1000 {
			if tok, err := src.Token(t.Context()); err != nil || tok != first {
				t.Fatalf("during the outage: %v, %v", tok, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		s.mu.Lock()
		calls := s.calls[tokenPath]
		s.mu.Unlock()
		if calls > 40 { // 20 seconds, a flight of 3 attempts each 2
			t.Errorf("the server was asked %d times", calls)
		}
		time.Sleep(40 * time.Second)
		if _, err := src.Token(t.Context()); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("when the token has ended: %v", err)
		}
		s.mu.Lock()
		s.fault = nil
		s.mu.Unlock()
		if tok, err := src.Token(t.Context()); err != nil || tok == first {
			t.Errorf("afterwards: %v, %v", tok, err)
		}
	})
}

// A rotation does not disturb tokens that are bound to the key before.
func TestTokensOverRotation(t *testing.T) {
	s := newAuthServer(t)
	a, _ := enrolled(t, s, "")
	src := a.Tokens(client.TokenRequest{})
	c := protected(t, s, src)
	for range 2 {
		if resp, err := c.Get(rsURL + "/x"); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
		if err := a.Rotate(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := issuedBy(s); n != 1 {
		t.Errorf("%d tokens were issued, want 1", n)
	}
}

func TestDelegated(t *testing.T) {
	s := newAuthServer(t)
	c := protected(t, s, s.agent("EdDSA").Delegated("subject", client.TokenRequest{}))
	for range 3 {
		if resp, err := c.Get(rsURL + "/x"); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	if n := issuedBy(s); n != 1 || s.forms[0].Get("subject_token") != "subject" {
		t.Errorf("%d tokens were issued, want 1, by %v", n, s.forms[0])
	}
}

// protected returns a client of the resource server.
func protected(t *testing.T, s *authServer, src *client.Tokens) *http.Client {
	t.Helper()
	tr, err := client.NewTransport(rsURL, src)
	if err != nil {
		t.Fatal(err)
	}
	tr.Base = s
	return &http.Client{Transport: tr}
}
