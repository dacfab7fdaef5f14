package signin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/people"
)

// Header is the header that every request by cookie must carry which would change something. Browsers let
// no page of another origin send it without asking us first, and we never agree.
const Header = "X-Safeconduct-Request"

// Names of cookies. Over https they begin with __Host-, so that no other host can set them (RFC 6265bis,
// 4.1.3.2).
const (
	sessionCookie = "safeconduct"
	flowCookie    = "safeconduct-sign-in"
)

// maxCookie bounds the cookies that we read.
const maxCookie = 4096

func (d *Door) cookieName(name string) string {
	if d.secure {
		return "__Host-" + name
	}
	return name
}

// cookie returns the value of a cookie. One that is there twice is none: we do not know whose it is.
func (d *Door) cookie(r *http.Request, name string) (string, bool) {
	cs := r.CookiesNamed(d.cookieName(name))
	if len(cs) != 1 || cs[0].Value == "" || len(cs[0].Value) > maxCookie {
		return "", false
	}
	return cs[0].Value, true
}

// BackgroundHeader is what a page sends, with the value 1, along with a request that nobody has caused: it asks again
// by itself. Such a request does not show that somebody is there.
const BackgroundHeader = "X-Safeconduct-Background"

// restamp is how old a stamp becomes before a request brings a new one.
const restamp = time.Minute

// sessionToken returns the token of the session, and until when somebody has been there: the cookie is the token and,
// behind a dot, the sealed time at which a request came last. So every replica knows what the others have seen, and
// nobody writes anything down (docs/decisions/0022-idle-in-the-cookie.md). A stamp belongs to its token.
func (d *Door) sessionToken(r *http.Request) (token string, seen time.Time, err error) {
	nobody := authz.Errorf(authz.ErrUnauthenticated, "nobody is signed in")
	value, ok := d.cookie(r, sessionCookie)
	if !ok || len(r.Header["Authorization"]) > 0 {
		return "", seen, nobody
	}
	token, stamp, _ := strings.Cut(value, ".")
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(stamp)
	if err != nil {
		return "", seen, nobody
	}
	plain, err := d.cfg.Seal.Open(sealed, stampOf(token))
	if err != nil || len(plain) != 8 {
		return "", seen, nobody
	}
	return token, time.Unix(int64(binary.BigEndian.Uint64(plain)), 0), nil
}

// stampOf is what a stamp is bound to.
func stampOf(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return append([]byte("signin seen "), h[:]...)
}

// stamped returns the value of the cookie of a session in which somebody was there at that time.
func (d *Door) stamped(token string, seen time.Time) (string, error) {
	sealed, err := d.cfg.Seal.Seal(binary.BigEndian.AppendUint64(nil, uint64(seen.Unix())), stampOf(token))
	if err != nil {
		return "", fmt.Errorf("sealing a stamp: %w", err)
	}
	return token + "." + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// setSession gives the browser the session's cookie, with a stamp of now, and notes in s until when it is good.
func (d *Door) setSession(w http.ResponseWriter, token string, s *people.Session) error {
	now := d.cfg.Now()
	value, err := d.stamped(token, now)
	if err != nil {
		return err
	}
	d.idle(s, now)
	http.SetCookie(w, &http.Cookie{
		Name: d.cookieName(sessionCookie), Value: value, Path: "/",
		MaxAge: int(s.ExpiresAt.Sub(now) / time.Second), Secure: d.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	return nil
}

// idle notes when the session ends if nobody is there after seen.
func (d *Door) idle(s *people.Session, seen time.Time) {
	if s.IdleAt = seen.Add(d.cfg.Idle); s.IdleAt.After(s.ExpiresAt) {
		s.IdleAt = s.ExpiresAt
	}
}

func (d *Door) clearSession(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: d.cookieName(sessionCookie), Path: "/", MaxAge: -1, Secure: d.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// sameOrigin returns authz.ErrForbidden unless the request says that a script of a page of ours sent it.
func (d *Door) sameOrigin(r *http.Request) error {
	if r.Header.Get(Header) != "1" {
		return authz.Errorf(authz.ErrForbidden, "a request by cookie that changes something needs the header %s: 1", Header)
	}
	return d.ownPage(r)
}

// ownPage returns authz.ErrForbidden unless the request says that a page of ours sent it.
func (d *Door) ownPage(r *http.Request) error {
	site, origin := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	switch {
	case len(site) > 1 || len(origin) > 1, len(site) == 0 && len(origin) == 0:
	case len(site) == 1 && site[0] != "same-origin":
	case len(origin) == 1 && !slices.Contains(d.origins, origin[0]):
	default:
		return nil
	}
	return authz.Errorf(authz.ErrForbidden, "the request does not come from a page of this service at %s", d.origins[0])
}

// A flow is what is remembered between the two steps of signing in or enrolling.
type flow struct {
	Challenge string    `json:"challenge,omitempty"` // of a passkey
	Person    string    `json:"person,omitempty"`    // who enrols
	State     string    `json:"state,omitempty"`     // of OpenID Connect, like the rest
	Nonce     string    `json:"nonce,omitempty"`
	Verifier  string    `json:"verifier,omitempty"`
	Return    string    `json:"return,omitempty"`
	Until     time.Time `json:"until"`
}

// Kinds of flows. What is sealed as one cannot be opened as another.
const (
	flowSignIn   = "sign-in"
	flowEnrol    = "enrol"
	flowProvider = "provider"
)

// flowTime is how long a step may take. It is shorter than challenges are remembered by internal/people.
const flowTime = 10 * time.Minute

// keepFlow seals f into a cookie. The provider sends people back from its own site, for which the cookie
// must be Lax; it is worth nothing by itself.
func (d *Door) keepFlow(w http.ResponseWriter, kind string, f flow) error {
	f.Until = d.cfg.Now().Add(flowTime)
	plain, err := json.Marshal(f)
	if err != nil {
		return err
	}
	sealed, err := d.cfg.Seal.Seal(plain, []byte("signin "+kind))
	if err != nil {
		return err
	}
	same := http.SameSiteStrictMode
	if kind == flowProvider {
		same = http.SameSiteLaxMode
	}
	http.SetCookie(w, &http.Cookie{
		Name: d.cookieName(flowCookie), Value: base64.RawURLEncoding.EncodeToString(sealed), Path: "/",
		MaxAge: int(flowTime / time.Second), Secure: d.secure, HttpOnly: true, SameSite: same,
	})
	return nil
}

// takeFlow returns what keepFlow kept, and removes the cookie. It returns authz.ErrUnauthenticated if there
// is nothing, if it was kept for another kind, or too long ago.
func (d *Door) takeFlow(w http.ResponseWriter, r *http.Request, kind string) (f flow, err error) {
	lost := authz.Errorf(authz.ErrUnauthenticated, "signing in took too long, or began in another browser: begin again")
	text, ok := d.cookie(r, flowCookie)
	if !ok {
		return f, lost
	}
	http.SetCookie(w, &http.Cookie{Name: d.cookieName(flowCookie), Path: "/", MaxAge: -1, Secure: d.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return f, lost
	}
	plain, err := d.cfg.Seal.Open(sealed, []byte("signin "+kind))
	if err != nil || json.Unmarshal(plain, &f) != nil || !d.cfg.Now().Before(f.Until) {
		return flow{}, lost
	}
	return f, nil
}
