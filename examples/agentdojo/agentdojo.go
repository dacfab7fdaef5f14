// Package agentdojo is an example organisation: assistants that keep a bank account, a mailbox, a
// calendar, files, a chat team and travel bookings for a person. Their tools are those of the four
// suites of AgentDojo, but nothing here knows a trace, an attacker's words or a benchmark's answer:
// the rules are what an operator would write who has seen the tools alone.
//
// The files stand on their own, `safeconduct serve --config examples/agentdojo/safeconduct.yaml`;
// the package puts them into the binary for `safeconduct demo`.
package agentdojo

import "embed"

// Files are the organisation's files: safeconduct.yaml and what it names.
//
//go:embed safeconduct.yaml catalog.yaml schema.cedarschema agents.yaml policies/*.cedar
var Files embed.FS
