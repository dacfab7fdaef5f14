package gateway

import (
	"context"

	"github.com/safeconduct/safeconduct/client"
)

// A Gateway is what the doors share while they run.
type Gateway struct {
	// Enforcer asks, and meets obligations.
	Enforcer *client.Enforcer
}

// Run does what goes on in the background, until ctx ends.
func (g *Gateway) Run(ctx context.Context) error { <-ctx.Done(); return nil }
