package httpproxy

import (
	"context"
	"net/http"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
)

// Of returns the Gate of a gateway.
func Of(g *gateway.Gateway) Gate { return gate{g} }

type gate struct{ g *gateway.Gateway }

func (g gate) Verify(r *http.Request) (*gateway.Who, error) {
	return g.g.Verifier.Verify(r)
}

func (g gate) Ask(w *gateway.Who, reqs ...authz.Request) client.Question { return g.g.Ask(w, reqs...) }

func (g gate) Apply(ctx context.Context, name string, w *gateway.Who, r *http.Request) error {
	return g.g.Credentials.Apply(ctx, name, w, r)
}

func (g gate) Refused(name string, w *gateway.Who, resp *http.Response) bool {
	return g.g.Credentials.Refused(name, w, resp)
}

func (g gate) Unavailable(route string, err error) bool { return g.g.Unavailable(route, err) }
