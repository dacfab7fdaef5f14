package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

// Pins of a gateway before many servers are in a file, whether the document names one or not.
func TestGatewayMCPPinsFile(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ line, want string }{
		{"", "mcp.pins.json"},
		{"pins: other.json\n", "other.json"},
		{"pins: nowhere/pins.json\n", ""},
	} {
		file := filepath.Join(dir, "mcp.yaml")
		text := c.line + `
listen: 127.0.0.1:0
service: {url: "http://127.0.0.1:1"}
authorization: {type: none, subject: {type: agent, id: helper}}
upstreams: [{name: files, url: "http://127.0.0.1:1/mcp"}]
`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var doc streamable.Document
		if err := gateway.Load(file, &doc); err != nil {
			t.Fatal(err)
		}
		pins, err := openPins(&doc, file)
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), "cannot be kept") {
				t.Errorf("%q: openPins = %v, want to be told that they cannot be kept", c.line, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%q: openPins = %v", c.line, err)
		}
		if got, want := pins.Path(), filepath.Join(dir, c.want); got != want {
			t.Errorf("%q: pins are in %s, want %s", c.line, got, want)
		}
	}
}
