package httpproxy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/gateway/httpproxy"
)

// A server is reached over http on this host alone, unless the document says that it is meant.
func TestDocumentOfInsecureServers(t *testing.T) {
	for line, fine := range map[string]bool{
		"{url: https://bank.example.com}":                          true,
		"{url: \"http://127.0.0.1:9190\"}":                         true,
		"{url: \"http://[::1]:9190\"}":                             true,
		"{url: \"http://localhost:9190\"}":                         true,
		"{url: \"http://bank:9190\"}":                              false,
		"{url: \"http://bank:9190\", credential: a}":               false,
		"{url: \"http://localhost.bank.example:9190\"}":            false,
		"{url: \"http://10.1.2.3:9190\", insecure: false}":         false,
		"{url: \"http://bank:9190\", insecure: true}":              true,
		"{url: \"HTTP://bank:9190\"}":                              false,
		"{url: https://bank.example.com, insecure: true}":          true,
		"{url: \"http://127.0.0.1.nip.example\", keep_host: true}": false,
	} {
		file := filepath.Join(t.TempDir(), "http.yaml")
		text := "listen: 127.0.0.1:8290\nservice: {url: \"http://127.0.0.1:1\"}\ncredentials: {a: {type: none}}\nupstreams:\n  bank: " + line +
			"\nroutes:\n  - {match: GET /balance, action: get_balance, resource: {type: Account, id: {value: own}}}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := httpproxy.Load(file)
		if fine && err != nil || !fine && (err == nil || !strings.Contains(err.Error(), "is http to another host") || !strings.Contains(err.Error(), ":5:")) {
			t.Errorf("%s: %v, want it fine: %v", line, err, fine)
		}
	}
}
