package console

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

var built = fstest.MapFS{
	"dist/index.html": {Data: []byte(`<html><head><meta name="safeconduct-base" content="" /><meta name="safeconduct-nonce" nonce="" />` +
		`<script type="module" src="./assets/a-1.js"></script></head></html>`)},
	"dist/assets/a-1.js":          {Data: []byte(strings.Repeat("let a = 1;\n", 500))},
	"dist/assets/inter.woff2":     {Data: []byte("font")},
	"dist/manifest.webmanifest":   {Data: []byte("{}")},
	"dist/icon.svg":               {Data: []byte("<svg/>")},
	"dist/assets/unknown.unknown": {Data: []byte("?")},
}

func get(t *testing.T, c *Console, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPage(t *testing.T) {
	c, err := newConsole(built, "/sub")
	if err != nil {
		t.Fatal(err)
	}
	nonces := map[string]bool{}
	for _, path := range []string{"/sub/console/", "/sub/console/agents", "/sub/console/agents/a%2Fb", "/sub/console/policies/edit"} {
		r := get(t, c, "GET", path)
		text, csp := body(t, r), r.Header.Get("Content-Security-Policy")
		m := regexp.MustCompile(`name="safeconduct-nonce" nonce="([A-Za-z0-9_-]{24})"`).FindStringSubmatch(text)
		if r.StatusCode != 200 || m == nil || !strings.Contains(csp, "'nonce-"+m[1]+"'") {
			t.Fatalf("%s: %d, nonce %q, policy %s", path, r.StatusCode, m, csp)
		}
		nonces[m[1]] = true
		if !strings.Contains(text, `src="/sub/console/assets/a-1.js"`) || !strings.Contains(text, `name="safeconduct-base" content="/sub"`) {
			t.Errorf("%s: the page does not know where it is: %s", path, text)
		}
		if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", path, r.Header)
		}
		if strings.Contains(csp, "unsafe") || !strings.HasPrefix(csp, "default-src 'none'") {
			t.Errorf("%s: policy %s", path, csp)
		}
	}
	if len(nonces) != 4 {
		t.Errorf("a nonce was used twice: %v", nonces)
	}
}

func TestFiles(t *testing.T) {
	c, err := newConsole(built, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ path, typ, cache string }{
		{"/console/assets/a-1.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		{"/console/assets/inter.woff2", "font/woff2", "public, max-age=31536000, immutable"},
		{"/console/manifest.webmanifest", "application/manifest+json", "public, max-age=3600"},
		{"/console/icon.svg", "image/svg+xml", "public, max-age=3600"},
	} {
		r := get(t, c, "GET", x.path)
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != x.typ || r.Header.Get("Cache-Control") != x.cache || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", x.path, r.StatusCode, r.Header)
		}
		if r.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s is encoded, and nobody asked for it", x.path)
		}
	}
	r := get(t, c, "GET", "/console/assets/a-1.js", "Accept-Encoding", "br, gzip")
	if r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("not compressed: %v", r.Header)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != string(built["dist/assets/a-1.js"].Data) {
		t.Errorf("what was compressed is not the file: %v", err)
	}
	if r := get(t, c, "GET", "/console/assets/a-0.js"); r.StatusCode != 404 {
		t.Errorf("a file of another version: %d", r.StatusCode)
	}
	if r := get(t, c, "POST", "/console/agents"); r.StatusCode != 405 {
		t.Errorf("POST: %d", r.StatusCode)
	}
	for _, path := range []string{"/", "/console"} {
		if r := get(t, c, "GET", path); r.StatusCode != 302 || r.Header.Get("Location") != "/console/" {
			t.Errorf("%s leads to %d %s", path, r.StatusCode, r.Header.Get("Location"))
		}
	}
	for path, want := range map[string]bool{"/": true, "/console": true, "/console/x": true, "/consoles": false, "/v1/agents": false} {
		if c.Serves(path) != want {
			t.Errorf("Serves(%q) is %t", path, !want)
		}
	}
}

// TestEmbedded looks at what is really embedded.
func TestEmbedded(t *testing.T) {
	c, err := New("")
	if err != nil {
		t.Fatal(err)
	}
	text := body(t, get(t, c, "GET", "/console/"))
	refs := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(text, -1)
	if len(refs) < 3 {
		t.Fatalf("the page loads nothing: %s", text)
	}
	for _, m := range refs {
		if r := get(t, c, "GET", m[1]); !strings.HasPrefix(m[1], "/console/") || r.StatusCode != 200 {
			t.Errorf("the page loads %s: %d", m[1], r.StatusCode)
		}
	}
	if strings.Contains(text, "<style") || regexp.MustCompile(`<script(?:[^>]*)>[^<]`).MatchString(text) {
		t.Errorf("the page has something inline, which its policy forbids: %s", text)
	}
	if _, err := newConsole(fstest.MapFS{"dist/index.html": {Data: []byte("<html></html>")}}, ""); err == nil {
		t.Error("a page without a place for its nonce is served")
	}
}
