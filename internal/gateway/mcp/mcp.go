// Package mcp stands before MCP servers: it reads messages strictly, has each request of a client decided, and lets
// through what is allowed. It is the enforcement point of COAZ-MCP (OpenID AuthZEN, draft 1), for the protocol's revisions
// 2026-07-28 and 2025-11-25.
//
// A Gate judges and knows nothing of transports; ServeStdio is the door before one server that is a child process.
// What a Gate cannot read, map, or have decided does not pass. What servers say of their tools is pinned: the words that
// an agent was shown when a person looked at a tool are the ones that it will be shown.
//
// Requests of servers to clients (sampling, elicitation, roots) and notifications pass undecided, as the draft has
// it. Where an argument's value came from is not known here.
package mcp
