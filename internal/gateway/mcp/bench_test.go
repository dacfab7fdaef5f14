package mcp_test

import (
	"context"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// alike answers every question alike, and remembers nothing.
type alike struct{ answers []*client.Answer }

func (a alike) Answer(context.Context, *client.Question) ([]*client.Answer, error) {
	return a.answers, nil
}

func (a alike) Outcome(context.Context, string, client.Outcome) error { return nil }

// BenchmarkCall judges a tools/call: from its text to what is passed on, the decision left out.
func BenchmarkCall(b *testing.B) {
	text := []byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read_file","arguments":{"path":"/srv/reports/2026/q3.txt","limit":100},` +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}`)
	r := newRigWith(b, mcp.Options{}, func(c *mcp.Config) {
		c.Resource = "http://bench/mcp"
		c.Gateway.Enforcer.Guard.Decider = alike{[]*client.Answer{allow()}}
	}, plainTool)
	p := &mcp.Peer{Version: "2026-07-28", Who: &gateway.Who{Subject: authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: "assistant"}}}}
	b.ReportAllocs()
	for b.Loop() {
		f, err := mcp.ParseFrame(text, len(text))
		if err != nil {
			b.Fatal(err)
		}
		if pa := r.Admit(context.Background(), p, f); pa.Forward == nil {
			b.Fatalf("refused: %s", pa.Answer.Append(nil))
		}
	}
}
