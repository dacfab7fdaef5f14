// Package console serves the console: the web application for people. It is built from app by Node into dist, which is
// embedded, so that building the service needs no Node. The pages work on the service's JSON API like any client, and know
// nothing else; this package only hands them out, and says what they may do.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

// Path is where the console is, below the path of the service.
const Path = "/console"

// A file is one file of dist, as it is sent.
type file struct {
	plain, gzip []byte // gzip is nil if it is no smaller
	mediaType   string
}

// A Console serves the pages. It is safe for concurrent use.
type Console struct {
	base   string // path of the service
	before []byte // of the page, before the nonce
	after  []byte
	files  map[string]file
}

// places in dist/index.html that are filled in.
const (
	basePlace  = `name="safeconduct-base" content=""`
	noncePlace = `name="safeconduct-nonce" nonce="`
)

// New returns the console of a service whose public URL has the given path, without a slash at its end.
func New(base string) (*Console, error) { return newConsole(dist, base) }

func newConsole(from fs.FS, base string) (*Console, error) {
	c := &Console{base: base, files: map[string]file{}}
	page, err := fs.ReadFile(from, "dist/index.html")
	if err != nil {
		return nil, fmt.Errorf("the console was not built: %w", err)
	}
	// What the page loads stands beside it, whatever the address of the page is.
	text := strings.ReplaceAll(string(page), `="./`, `="`+base+Path+"/")
	text = strings.Replace(text, basePlace, `name="safeconduct-base" content="`+base+`"`, 1)
	before, after, ok := strings.Cut(text, noncePlace)
	if !ok || !strings.Contains(text, `content="`+base+`"`) {
		return nil, fmt.Errorf("the console's page has no place for its nonce, or for the path of the service")
	}
	c.before, c.after = []byte(before+noncePlace), []byte(after)
	err = fs.WalkDir(from, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "dist/index.html" {
			return err
		}
		plain, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		f := file{plain: plain, mediaType: mediaType(name)}
		if !compressed[path.Ext(name)] {
			if f.gzip, err = squeeze(plain); err != nil {
				return err
			}
		}
		c.files["/"+strings.TrimPrefix(name, "dist/")] = f
		return nil
	})
	return c, err
}

// compressed are the kinds of files that do not get smaller.
var compressed = map[string]bool{".woff2": true, ".png": true}

// mediaType returns the type of a file by its name. The machine's own list of types is not asked.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".webmanifest":
		return "application/manifest+json"
	case ".woff2":
		return "font/woff2"
	case ".svg":
		return "image/svg+xml"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(name))
}

func squeeze(plain []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if b.Len() >= len(plain) {
		return nil, nil
	}
	return b.Bytes(), nil
}

// Serves reports whether the path of a request is the console's.
func (c *Console) Serves(urlPath string) bool {
	rest, ok := strings.CutPrefix(urlPath, c.base+Path)
	return ok && (rest == "" || rest[0] == '/') || urlPath == c.base+"/" || urlPath == "/"
}

// ServeHTTP serves the page at every address of its own, and the files that it loads. At the root of the service it leads
// browsers to the console.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the console only reads: GET", http.StatusMethodNotAllowed)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, c.base+Path)
	if !ok || rest == "" {
		h.Set("Cache-Control", "no-store")
		http.Redirect(w, r, c.base+Path+"/", http.StatusFound)
		return
	}
	f, ok := c.files[rest]
	switch {
	case ok:
		c.file(w, r, rest, &f)
	case strings.HasPrefix(rest, "/assets/"):
		http.NotFound(w, r) // of another version: the page asks to be loaded anew
	default:
		c.page(w, r)
	}
}

func (c *Console) file(w http.ResponseWriter, r *http.Request, name string, f *file) {
	h := w.Header()
	h.Set("Content-Type", f.mediaType)
	h.Set("Cache-Control", "public, max-age=3600")
	if strings.HasPrefix(name, "/assets/") { // their names hold the hash of what they hold
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if strings.HasSuffix(name, ".svg") {
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	}
	body := f.plain
	if f.gzip != nil {
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			body = f.gzip
			h.Set("Content-Length", strconv.Itoa(len(body)))
			w.WriteHeader(http.StatusOK)
			if r.Method == http.MethodGet {
				_, _ = w.Write(body)
			}
			return
		}
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
}

// page sends the application. All of its addresses have the same page.
func (c *Console) page(w http.ResponseWriter, r *http.Request) {
	var b [18]byte
	rand.Read(b[:])
	nonce := base64.RawURLEncoding.EncodeToString(b[:])
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy(nonce))
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Content-Length", strconv.Itoa(len(c.before)+len(nonce)+len(c.after)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(bytes.Join([][]byte{c.before, []byte(nonce), c.after}, nil))
	}
}

// policy is what the page may do: run our own scripts, use our own styles and fonts, talk to us, and nothing else. The nonce is
// for the style elements that the editor makes. The only HTML that is made of text is Svelte's own templates.
func policy(nonce string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" + nonce + "'; img-src 'self'; font-src 'self'; " +
		"connect-src 'self'; manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
}
