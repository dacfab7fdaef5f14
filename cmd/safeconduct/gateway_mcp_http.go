package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// runGatewayMCPHTTP serves MCP over HTTP.
func runGatewayMCPHTTP(*cobra.Command, []string) error {
	return usageError{errors.New("a server's command stands behind --")}
}
