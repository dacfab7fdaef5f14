package httpproxy_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway/httpproxy"
)

// Every request that took a route is counted by what came of it, under the route's name.
func TestObserve(t *testing.T) {
	var mu sync.Mutex
	var got []string
	seen := make(chan struct{}, 100)
	b := open(t, payments, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Break") != "" {
			panic(http.ErrAbortHandler)
		}
	}), func(c *httpproxy.Config) {
		c.Observe = func(route, outcome string, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, route+": "+outcome)
			if took < 0 {
				t.Errorf("%s took %v", route, took)
			}
			seen <- struct{}{}
		}
	})
	const pay, good = "/accounts/7/payments", `{"amount": 1, "to": {"iban": "x"}}`
	do := func(body string, headers ...string) {
		t.Helper()
		b.do(t, "POST", pay, body, append([]string{"Content-Type: application/json"}, headers...)...)
		<-seen
	}
	do(good)
	do(`{"amount": 1, "amount": 2}`)
	do(good, "X-Break: 1")
	b.judge.set(deny(authz.CodeForbidden))
	do(good)
	b.judge.set(func(authz.Request) (*client.Answer, error) {
		return nil, errors.Join(authz.ErrUnavailable, errors.New("broken"))
	})
	do(good)
	b.do(t, "GET", "/no/such/route", "") // strangers make no names
	want := []string{"passed", "malformed", "failed", "refused", "undecided"}
	for i := range want {
		want[i] = "POST /accounts/{account}/payments: " + want[i]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counted (-want +got):\n%s\n%s", diff, strings.TrimSpace(b.log.String()))
	}
}
