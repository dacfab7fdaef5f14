package main

import (
	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/gateway"
)

func newGateway() *cobra.Command {
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Stand before servers that agents use, and have every act decided",
		Long: `Stand before servers that agents use, and have every act decided: MCP servers, HTTP services, and
whatever stands behind Envoy.

A gateway asks the service about each call, or decides in its own process by what the service tells it. It
passes on what is allowed, meets the obligations, and refuses in a way that the agent can use. What cannot
be decided is refused.`,
		Example: `  $ safeconduct gateway mcp --agent assistant --token-file pep.token -- npx -y search-server
  $ safeconduct gateway mcp --config mcp.yaml
  $ safeconduct gateway http --config http.yaml`,
	}
	c.AddCommand(newGatewayMCP(), newGatewayHTTP(), newGatewayEnvoy(), newGatewayPins(), newGatewayTools())
	return c
}

// wrongDoor returns err, which says what is wrong with a door's document, with a hint if the document is for another door.
func wrongDoor(err error, file, door string) error {
	if d := gateway.DoorOf(file); d != "" && d != door {
		return hinted(err, "this looks like a document of `safeconduct gateway %s`", d)
	}
	return err
}
