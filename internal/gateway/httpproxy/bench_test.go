package httpproxy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway/httpproxy"
)

// yes allows everything at once.
type yes struct{}

func (yes) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	return []*client.Answer{{Decision: authz.Decision{Effect: authz.Allow}, ID: "e1"}}, nil
}

func (yes) Outcome(context.Context, string, client.Outcome) error { return nil }

// BenchmarkServe measures the proxy with neither network nor decision; the upstream's transport is in it.
func BenchmarkServe(b *testing.B) {
	up, err := httpproxy.NewUpstream("api", upstream(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }), httpproxy.TLSConfig{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := httpproxy.New(httpproxy.Config{
		Gate: new(gate), Table: table(b, payments), Upstreams: map[string]*httpproxy.Upstream{"api": up},
		Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: yes{}}, Handlers: client.BuiltIn(nil), Outcome: yes{}.Outcome},
	})
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = p.Run(b.Context()) }()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("GET", "/accounts/7", nil)
		r.Header.Set("Authorization", "Bearer good")
		p.ServeHTTP(httptest.NewRecorder(), r)
	}
}
