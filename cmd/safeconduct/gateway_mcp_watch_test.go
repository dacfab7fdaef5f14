package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

// What the MCP door knows of its servers and sessions stands on the gateway's own pages.
func TestGatewayMCPPages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mcp.yaml")
	if err := os.WriteFile(file, []byte(`
listen: 127.0.0.1:0
service: {url: "http://127.0.0.1:1"}
authorization: {type: none, subject: {type: agent, id: helper}}
upstreams: [{name: files, url: "http://127.0.0.1:1/mcp"}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	var doc streamable.Document
	if err := gateway.Load(file, &doc); err != nil {
		t.Fatal(err)
	}
	t.Setenv(gateway.TokenVariable, "sc_pep_of_a_test")
	gw, err := gateway.Open(t.Context(), &doc.Common, gateway.Options{Door: "mcp", Paths: []string{doc.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	door, err := streamable.New(doc.Config(gw))
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	if err := watchMCP(gw, door); err != nil {
		t.Fatal(err)
	}
	if err := watchMCP(gw, door); err == nil {
		t.Error("numbers of one name were added twice")
	}
	rec := httptest.NewRecorder()
	gw.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "http://127.0.0.1/metrics", nil))
	for _, want := range []string{`safeconduct_gateway_server_up{server="files"} 1`, "safeconduct_gateway_sessions 0", "safeconduct_gateway_processes 0"} {
		if !strings.Contains(rec.Body.String(), want+"\n") {
			t.Errorf("/metrics does not say %s:\n%s", want, rec.Body)
		}
	}
}
