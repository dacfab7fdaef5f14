package signin

import (
	"mime"
	"net/http"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// maxForm bounds the body of the form of a sign-in link.
const maxForm = 1 << 10

// showLink shows whom a sign-in link is for, and a button. Opening the page uses nothing up: programs open links, too.
// It has no script, so that it works in every browser.
func (d *Door) showLink(w http.ResponseWriter, r *http.Request) {
	if d.elsewhere(w, r) {
		return
	}
	token := r.URL.Query().Get("token")
	p, err := d.cfg.People.PendingLink(token, d.cfg.Now())
	if err != nil {
		d.pages.refuseLink(w, r, err)
		return
	}
	d.pages.link(w, http.StatusOK, page{Token: token, Person: plainName(p.Name, p.ID)})
}

// takeLink signs in by the link of a page that showLink made. That the form comes from there, and not from a page of
// somebody who wants another person to act under a name of theirs, the browser says.
func (d *Door) takeLink(w http.ResponseWriter, r *http.Request) {
	err := d.ownPage(r)
	typ, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && typ != "application/x-www-form-urlencoded" {
		err = authz.Errorf(authz.ErrInvalid, "the Content-Type must be application/x-www-form-urlencoded")
	}
	if err == nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if r.ParseForm() != nil || len(r.PostForm["token"]) != 1 {
			err = authz.Errorf(authz.ErrInvalid, "the form cannot be read")
		}
	}
	if err != nil {
		d.pages.refuseLink(w, r, err)
		return
	}
	token, s, err := d.cfg.People.SignInByLink(r.Context(), r.PostForm.Get("token"))
	if err == nil {
		err = d.setSession(w, token, s)
	}
	if err != nil {
		d.warn(r, "sign-in by a link refused", "err", err)
		d.pages.refuseLink(w, r, err)
		return
	}
	secure(w.Header())
	w.Header().Set("Location", d.base+d.cfg.Home)
	w.WriteHeader(http.StatusSeeOther)
}

// plainName returns a name with the id behind it, if that says more.
func plainName(name, id string) string {
	if strings.EqualFold(name, id) {
		return name
	}
	return name + " (" + id + ")"
}
