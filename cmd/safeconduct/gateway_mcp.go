package main

import (
	"github.com/spf13/cobra"
)

// newGatewayMCP returns the command that stands before MCP servers: over stdio if a server's command follows --,
// else over HTTP.
func newGatewayMCP() *cobra.Command {
	c := &cobra.Command{
		Use:   "mcp [flags] [-- SERVER ARGS...]",
		Short: "Stand before MCP servers",
		Args:  cobra.ArbitraryArgs,
	}
	return c
}
