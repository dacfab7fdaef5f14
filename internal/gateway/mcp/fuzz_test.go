package mcp_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// fuzzGate allows everything, and masks.
func fuzzGate(t testing.TB) (*mcp.Gate, *mcp.Peer) {
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	j := &judge{decide: func(*authz.Request) *client.Answer {
		return allow(authz.Obligation{ID: "m", Type: "custom", Properties: json.RawMessage(`{"obligation":"mask","fields":["iban","/a/0/b"]}`)})
	}}
	g, err := mcp.NewGate(mcp.Config{Resource: "x", Gateway: &gateway.Gateway{Logger: logger, Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: j}, Handlers: client.BuiltIn(logger)}}})
	if err != nil {
		t.Fatal(err)
	}
	return g, &mcp.Peer{Who: &gateway.Who{Key: "k", Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "a"}}}}
}

// Whatever a client asks and a server answers, what a client sees is a frame, under the id that it asked with.
func FuzzGate(f *testing.F) {
	for _, s := range [][3]string{
		{"tools/call", `{"name":"read_file","arguments":{"a":1}}`, `{"content":[{"type":"text","text":"{\"iban\":1}"}]}`},
		{"tools/list", `{}`, `{"tools":[` + coazGetCustomer + `,` + coazTransferFunds + `],"nextCursor":"x"}`},
		{"prompts/get", `{"name":"x"}`, `{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"a","text":"[]"}}}]}`},
		{"resources/list", `{"cursor":"a"}`, `{"resources":[{"uri":"a:b","name":"x"},{"uri":"\u0000"}]}`},
		{"resources/read", `{"uri":"a:b","_meta":{"safeconduct/x":1}}`, `{"contents":[{"uri":"a:b","blob":"AA=="}],"_meta":{"safeconduct/x":1}}`},
		{"completion/complete", `{"ref":{"type":"ref/prompt","name":"x"},"argument":{}}`, `{"completion":{"values":[]}}`},
		{"tasks/get", `{"taskId":"x"}`, `{"status":"working"}`}, {"initialize", `{"protocolVersion":"x"}`, `{"capabilities":[]}`},
	} {
		f.Add(s[0], []byte(s[1]), []byte(s[2]))
	}
	g, p := fuzzGate(f)
	g.Learn(&mcp.Frame{Result: json.RawMessage(`{"tools":[` + plainTool + `]}`)})
	f.Fuzz(func(t *testing.T, method string, params, result []byte) {
		text, err := json.Marshal(method)
		if err != nil {
			return
		}
		asked, err := mcp.ParseFrame([]byte(`{"jsonrpc":"2.0","id":"i","method":`+string(text)+`,"params":`+string(params)+`}`), 1<<16)
		if err != nil {
			return
		}
		pa := g.Admit(t.Context(), p, asked)
		seen := pa.Answer
		if seen == nil {
			answer, err := mcp.ParseFrame([]byte(`{"jsonrpc":"2.0","id":"i","result":`+string(result)+`}`), 1<<16)
			if err != nil {
				pa.Streamed(0, err)
				return
			}
			seen = pa.Result(t.Context(), answer)
		}
		line := seen.Append(nil)
		if again, err := mcp.ParseFrame(line, 1<<20); err != nil || again.Key() != asked.Key() || !again.Response() {
			t.Fatalf("of %s %q and %q is seen %q: %v", method, params, result, line, err)
		}
	})
}
