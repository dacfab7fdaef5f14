package signin

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

//go:embed web
var web embed.FS

// policy is what our pages may do: run our own scripts, use our own styles, and talk to us. A page cannot
// be framed, so nobody can lay another one over its buttons.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// formPolicy is what the page of a sign-in link may do: it has a form, and no script.
const formPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secure sets what every answer to a browser has.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
}

// A page is what a template knows. It is the same for everybody but for the failure.
type page struct {
	Base     string // path of the service
	Home     string // path below it to which signing in leads
	Provider string // name of the identity provider; "" if there is none
	Passkeys bool
	Failure  string
	To       string // where the page leads at once
	Token    string // of a sign-in link
	Person   string // whom it is for
	Begin    string // what to do where nobody has a role; "" if somebody has
}

// pages are those that the Door serves.
type pages struct {
	d      *Door
	all    *template.Template
	static map[string][]byte // those that do not change
	files  fs.FS
}

func newPages(d *Door) (*pages, error) {
	ps := &pages{d: d, static: map[string][]byte{}}
	var err error
	if ps.files, err = fs.Sub(web, "web"); err != nil {
		return nil, err
	}
	if ps.all, err = template.ParseFS(ps.files, "*.html"); err != nil {
		return nil, err
	}
	for _, name := range []string{"enrol.html", "asks.html", "ask.html"} {
		if ps.static[name], err = ps.render(name, page{}); err != nil {
			return nil, err
		}
	}
	return ps, nil
}

func (ps *pages) render(name string, p page) ([]byte, error) {
	p.Base, p.Home, p.Passkeys = ps.d.base, ps.d.cfg.Home, ps.d.wa != nil
	if ps.d.idp != nil {
		p.Provider = ps.d.idp.Name
	}
	var b bytes.Buffer
	if err := ps.all.ExecuteTemplate(&b, name, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// serve makes a handler of a page that is the same for everybody. Whoever comes by a loopback address is sent
// to localhost, where there are passkeys.
func (ps *pages) serve(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !ps.d.elsewhere(w, r) {
			write(w, http.StatusOK, ps.static[name])
		}
	}
}

// elsewhere sends whoever comes by a loopback address to the same page of localhost, and reports whether it did.
func (d *Door) elsewhere(w http.ResponseWriter, r *http.Request) bool {
	if o := d.origins; len(o) < 2 || !strings.HasSuffix(o[1], "://"+r.Host) {
		return false
	}
	to := d.origins[0] + d.base + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	secure(w.Header())
	http.Redirect(w, r, to, http.StatusFound)
	return true
}

// signIn shows the page of signing in. Where nobody has a role yet, it says how to begin.
func (ps *pages) signIn(w http.ResponseWriter, r *http.Request) {
	if !ps.d.elsewhere(w, r) {
		ps.dynamic(w, http.StatusOK, "sign-in.html", page{Begin: ps.d.begin()})
	}
}

// refuseLink shows that a sign-in link cannot be used.
func (ps *pages) refuseLink(w http.ResponseWriter, r *http.Request, err error) {
	status, _, msg := ps.d.describe(r, err)
	ps.link(w, status, page{Failure: firstLine(msg)})
}

// link shows the page of a sign-in link.
func (ps *pages) link(w http.ResponseWriter, status int, p page) {
	body, err := ps.render("link.html", p)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	writeUnder(w, status, formPolicy, body)
}

// failed shows the page of signing in with what went wrong.
func (ps *pages) failed(w http.ResponseWriter, r *http.Request, err error) {
	status, _, msg := ps.d.describe(r, err)
	if errors.Is(err, authz.ErrForbidden) || errors.Is(err, authz.ErrInvalid) || errors.Is(err, authz.ErrConflict) {
		status = http.StatusForbidden
	}
	ps.dynamic(w, status, "sign-in.html", page{Failure: firstLine(msg), Begin: ps.d.begin()})
}

// onward leads to one of our own pages.
func (ps *pages) onward(w http.ResponseWriter, to string) {
	ps.dynamic(w, http.StatusOK, "onward.html", page{To: to})
}

func (ps *pages) dynamic(w http.ResponseWriter, status int, name string, p page) {
	body, err := ps.render(name, p)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body []byte) { writeUnder(w, status, policy, body) }

func writeUnder(w http.ResponseWriter, status int, policy string, body []byte) {
	h := w.Header()
	secure(h)
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // whoever does not read it is gone
}

// types are those of the files that pages use.
var types = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

// file serves a script, a style or an image.
func (ps *pages) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	body, err := fs.ReadFile(ps.files, name)
	if typ, ok := types[path.Ext(name)]; ok && err == nil {
		h := w.Header()
		secure(h)
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Type", typ)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusOK)
		w.Write(body) // whoever does not read it is gone
		return
	}
	http.NotFound(w, r)
}

// firstLine returns s up to its first line's end: what follows is for our log.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
