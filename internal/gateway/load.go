package gateway

import "context"

// Problems collects what is wrong with a document.
type Problems struct{}

// Add adds a problem of the member at a path such as "routes[2].method".
func (ps *Problems) Add(path, format string, args ...any) {}

func load(path string, into any) error { return nil }

func open(ctx context.Context, c *Common, o Options) (*Gateway, error) {
	return &Gateway{common: c, opts: o}, nil
}
