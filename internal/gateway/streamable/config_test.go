package streamable_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

func TestDocument(t *testing.T) {
	load := func(text string) (*streamable.Document, error) {
		file := filepath.Join(t.TempDir(), "mcp.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var d streamable.Document
		return &d, gateway.Load(file, &d)
	}
	const head = "listen: 127.0.0.1:0\nservice: {url: \"http://127.0.0.1:1\"}\nauthorization: {type: none, subject: {type: agent, id: a}}\n"
	d, err := load(head + "upstreams:\n- {name: a, url: \"http://a/mcp\", insecure: true, credential: c}\n- {name: b, command: [x, y], dir: sub, env: {K: \"secret:k\"}}\ncredentials: {c: {type: header, value: \"secret:c\"}}\nlists: whole\nbounds: {call_time: 5m, sessions: 3}\n")
	if err != nil {
		t.Fatal(err)
	}
	if d.Endpoint != "/mcp" || d.Bounds.CallTime != 5*time.Minute || d.Lists != "whole" || len(d.Upstreams) != 2 || d.Upstreams[1].Command[1] != "y" {
		t.Errorf("Load = %+v", d)
	}
	for text, want := range map[string]string{
		"":                "upstreams",
		"upstreams: []\n": "upstreams",
		"upstreams: [{name: A, url: \"http://a\"}]\n":                                     "no name of a server",
		"upstreams: [{name: a, url: \"http://a\", credential: z}]\n":                      "there is no credential",
		"upstreams: [{name: a, url: \"http://a\"}, {name: a, url: \"http://b\"}]\n":       "another server is called",
		"upstreams: [{name: a, url: \"http://a/mcp\"}]\n":                                 "is http to another host",
		"upstreams: [{name: a, url: \"http://a\", colour: red}]\n":                        "colour",
		"upstreams: [{name: a, url: \"http://a\"}]\nendpoint: mcp\n":                      "endpoint",
		"upstreams: [{name: a, url: \"http://a\"}]\norigins: [\"https://a.example/x\"]\n": "origins",
		"upstreams: [{name: a, url: \"http://a\"}]\nbounds: {sessions: -1}\n":             "bounds",
	} {
		if _, err := load(head + text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%q) = %v, want %q in it", text, err, want)
		}
	}
}
