package toolschema

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/safeconduct/safeconduct/authz"
)

// List asks an MCP server for its tools. prefix is put before their names, as the gateway does that stands before
// several servers. Nothing is decided about it: it is for the operator.
func List(ctx context.Context, t mcp.Transport, prefix string) ([]Tool, error) {
	c := mcp.NewClient(&mcp.Implementation{Name: "safeconduct", Version: "1"}, nil)
	s, err := c.Connect(ctx, t, nil)
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "connecting to the server: %w", err)
	}
	defer s.Close()
	var out []Tool
	for tool, err := range s.Tools(ctx, nil) {
		if err != nil {
			return nil, authz.Errorf(authz.ErrUnavailable, "listing the server's tools: %w", err)
		}
		if len(out) == maxTools {
			return nil, authz.Errorf(authz.ErrInvalid, "the server lists more than %d tools", maxTools)
		}
		input, err := json.Marshal(tool.InputSchema)
		if err != nil {
			return nil, fmt.Errorf("reading the input schema of %.64q: %w", tool.Name, err)
		}
		out = append(out, Tool{prefix + tool.Name, tool.Description, tool.Annotations != nil && tool.Annotations.ReadOnlyHint, input})
	}
	return out, nil
}
