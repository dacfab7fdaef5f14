// Package mcp stands before MCP servers: it reads messages strictly, has each of them decided, and lets through what is allowed.
package mcp
