// Package streamable is the door of the MCP gateway for the streamable HTTP transport, in front of many servers.
package streamable
