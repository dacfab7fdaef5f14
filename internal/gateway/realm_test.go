package gateway_test

import (
	"testing"

	"github.com/safeconduct/safeconduct/internal/gateway"
)

// TestRealm wants that refusals name the metadata where they are served: below the host, and not below the door's path.
func TestRealm(t *testing.T) {
	t.Setenv(gateway.TokenVariable, "sc_pep_x")
	const doc = "name: gw\nlisten: 127.0.0.1:8290\nservice: {url: http://127.0.0.1:8180}\n"
	for _, c := range []struct{ more, path, want string }{
		{"public_url: https://gw.example.com/api\n", "", "https://gw.example.com/.well-known/oauth-protected-resource/api"},
		{"public_url: https://gw.example.com/api\n", "/mcp", "https://gw.example.com/.well-known/oauth-protected-resource/api/mcp"},
		{"public_url: https://gw.example.com\n", "", "https://gw.example.com/.well-known/oauth-protected-resource"},
		{"", "", "http://127.0.0.1:8290/.well-known/oauth-protected-resource"},
		{"authorization: {type: none, subject: {type: agent, id: a}}\n", "", ""},
	} {
		g, err := gateway.Open(t.Context(), load(t, doc+c.more), gateway.Options{Paths: []string{c.path}})
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Realm(c.path); got.Metadata != c.want || got.Name != "gw" {
			t.Errorf("%sRealm(%q) = %+v, want %q", c.more, c.path, got, c.want)
		}
	}
}
