package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/server"
)

// demoVisitor is the person who looks at the console of a demonstration.
const demoVisitor = "demo"

// invite returns a link that signs in to the console, once, as somebody who may do everything. It makes the
// person when it is first called.
func (d *demonstration) invite(ctx context.Context, s *server.Server) (string, error) {
	administrator, err := client.New(s.URL(), s.Tokens().Admin)
	if err != nil {
		return "", err
	}
	who := map[string]any{"name": "Demo", "roles": personRoleNames, "why": "demonstration"}
	if err := administrator.Do(ctx, "PUT", "/v1/people/"+demoVisitor, who, nil); err != nil && !errors.Is(err, authz.ErrConflict) {
		return "", fmt.Errorf("making a person: %w", err)
	}
	var link struct{ URL string }
	if err := administrator.Do(ctx, "POST", "/v1/people/"+demoVisitor+"/link", map[string]any{"why": "demonstration"}, &link); err != nil {
		return "", fmt.Errorf("making a link: %w", err)
	}
	return link.URL, nil
}
