package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// The largest bundle that a service can make is taken whole, and as long as the service lets it be taken.
func TestExportTakesTheLargestBundle(t *testing.T) {
	key, err := audit.NewKey(strings.NewReader(strings.Repeat("k", 64)), "example.com/log")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/audit/key" {
			_, _ = w.Write([]byte(`{"origin":"example.com/log","key":"` + key.Public() + `"}`))
			return
		}
		for range audit.MaxArchive >> 20 {
			_, _ = w.Write(make([]byte, 1<<20))
		}
	}))
	defer s.Close()
	api, err := client.New(s.URL, "token")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "evidence.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := &cobra.Command{}
	c.SetContext(t.Context())
	if _, err := export(c, &remote{api}, map[string]any{}, file); err == nil || !strings.Contains(err.Error(), "does not end as a zip archive does") {
		t.Errorf("export = %v, want it to be taken and refused", err)
	}
	if fi, err := file.Stat(); err != nil || fi.Size() != audit.MaxArchive {
		t.Errorf("took %d bytes, %v, want %d", fi.Size(), err, audit.MaxArchive)
	}
	if got := api.HTTP.Timeout; got <= audit.BundlePatience {
		t.Errorf("it is taken in %s at most, and the service gives it for %s", got, audit.BundlePatience)
	}
}
