package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

var (
	piece    = strings.Repeat("x", 64<<10)
	sessions atomic.Int64
)

const largeSize = 10 << 20

// server is an MCP server, of both revisions, that answers at once.
func server(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	switch r.Method {
	case http.MethodGet:
		h.Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	case http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var f struct {
		ID     json.RawMessage
		Method string
		Params struct{ Name string }
	}
	if err := json.Unmarshal(b, &f); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.Set("Content-Type", "application/json")
	switch f.Method {
	case "server/discover":
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}}`, f.ID)
	case "initialize":
		h.Set("Mcp-Session-Id", fmt.Sprint("s", sessions.Add(1)))
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}}`, f.ID)
	case "tools/list":
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","tools":[{"name":"small","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},{"name":"large","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}],"ttlMs":0,"cacheScope":"private"}}`, f.ID)
	case "tools/call":
		if f.Params.Name == "large" {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","content":[{"type":"text","text":"`, f.ID)
			for range largeSize / len(piece) {
				_, _ = io.WriteString(w, piece)
			}
			_, _ = io.WriteString(w, `"}]}}`)
			return
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","content":[{"type":"text","text":"The quick brown fox jumps over the lazy dog."}]}}`, f.ID)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}
