// Package coaz is the COAZ binding for MCP (OpenID AuthZEN, draft 1): it makes a request to a decision point of an MCP message, by a mapping.
package coaz
