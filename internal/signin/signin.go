// Package signin lets persons sign in: with passkeys (WebAuthn) that they enrolled by a single-use link,
// with the organisation's identity provider (OpenID Connect, code flow with PKCE), or once by a link of an
// administrator's. It serves the few pages that this needs, and those on which asks are answered, and verifies
// passkey assertions over an act.
//
// A session is a cookie that scripts cannot read and other sites cannot send (SameSite=Strict). Whatever
// changes something by it needs, besides, a header that only our own pages send, from our own origin. But for
// the page of a sign-in link, which says whose it is, pages hold nothing of anybody: they are the same for all,
// and ask the JSON API for the rest.
//
// What a sign-in has to remember between its two steps travels in a cookie that is sealed, so any replica
// can finish what another began; that nobody finishes it twice is for the log to decide (internal/people).
//
// Not solved here: whoever can make the browser of a signed-in person run their script can answer what
// needs no passkey. Routes whose answers matter should demand one: it is made over the very act.
package signin

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/people"
)

// A Sealer protects what browsers keep for us between two steps. *keyring.SealingKey is one. All replicas
// need the same.
type Sealer interface {
	Seal(plain, binding []byte) ([]byte, error)
	Open(sealed, binding []byte) ([]byte, error)
}

// A Config is what a Door needs. All fields are needed unless their comment says otherwise.
type Config struct {
	People *people.Registry
	Seal   Sealer

	// PublicURL is the address under which browsers know the service. Passkeys belong to its host, for
	// ever: under another host every person must enrol anew. Browsers know no passkeys of IP addresses; on
	// loopback, localhost stands for one, and for others there are none.
	PublicURL string

	// Provider is the organisation's identity provider. If it is nil, there are passkeys only.
	Provider *Provider

	// Idle is after how long a session ends in a browser where nobody is: DefaultIdle if it is 0.
	Idle time.Duration

	// Home is the path below PublicURL to which signing in leads, unless somebody came from another page of ours.
	// It begins with a slash; /asks by default.
	Home string

	Now    func() time.Time // time.Now by default
	Logger *slog.Logger     // silent by default
}

// DefaultIdle is after how long a session ends in a browser where nobody is.
const DefaultIdle = 30 * time.Minute

// A Door is where persons come in. It is safe for concurrent use.
type Door struct {
	cfg     Config
	base    string             // path of PublicURL, without a slash at its end
	origins []string           // of our own pages; the first is the one of passkeys
	secure  bool               // whether browsers reach us by https
	wa      *webauthn.WebAuthn // nil if the host can have no passkeys
	idp     *provider          // nil if there is none
	pages   *pages
	handler http.Handler
	used    replays

	mu     sync.Mutex // guards what follows
	minute int64
	warned int
}

// New returns a Door, or authz.ErrInvalid if the configuration cannot be used. It connects to nobody.
func New(cfg Config) (*Door, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Home == "" {
		cfg.Home = "/asks"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	reach := people.Reachable(cfg.PublicURL)
	u, err := url.Parse(reach)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, authz.Errorf(authz.ErrInvalid, "public_url %.256q must be an absolute URL", cfg.PublicURL)
	}
	d := &Door{cfg: cfg, base: strings.TrimRight(u.Path, "/"), secure: u.Scheme == "https", used: replays{now: cfg.Now}}
	d.origins = []string{u.Scheme + "://" + u.Host}
	if p, err := url.Parse(cfg.PublicURL); err == nil && p.Host != u.Host {
		d.origins = append(d.origins, p.Scheme+"://"+p.Host)
	}
	if host := u.Hostname(); protocol.ValidateRPID(host) == nil && (d.secure || host == "localhost") {
		if d.wa, err = webauthn.New(&webauthn.Config{
			RPID: host, RPDisplayName: "Safeconduct", RPOrigins: d.origins[:1],
			AttestationPreference: protocol.PreferNoAttestation,
			AuthenticatorSelection: protocol.AuthenticatorSelection{
				ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
				UserVerification: protocol.VerificationRequired,
			},
			// We ask for no extension and read none; some password managers answer unasked.
			ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
		}); err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "preparing passkeys of %q: %w", host, err)
		}
	}
	if cfg.Provider != nil {
		if d.idp, err = newProvider(*cfg.Provider, d.origins[0]+d.base+"/sign-in/callback", cfg.Now); err != nil {
			return nil, err
		}
	}
	if d.pages, err = newPages(d); err != nil {
		return nil, err
	}
	d.handler = d.routes()
	return d, nil
}

// Passkeys reports whether the service can be reached by a name that can have passkeys.
func (d *Door) Passkeys() bool { return d.wa != nil }

// Serves reports whether the path of a request is the Door's.
func (d *Door) Serves(path string) bool {
	path = d.inner(path)
	for _, p := range []string{"/sign-in", "/sign-out", "/enrol", "/asks"} {
		if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// inner returns the path without the path of PublicURL.
func (d *Door) inner(path string) string {
	if rest, ok := strings.CutPrefix(path, d.base); ok && d.base != "" && strings.HasPrefix(rest, "/") {
		return rest
	}
	return path
}

// Handler returns the handler of everything that the Door serves.
func (d *Door) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inner := d.inner(r.URL.Path); inner != r.URL.Path {
			below := *r.URL
			below.Path, below.RawPath = inner, ""
			with := *r
			with.URL = &below
			r = &with
		}
		d.handler.ServeHTTP(w, r)
	})
}

func (d *Door) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sign-in", d.pages.signIn)
	mux.HandleFunc("GET /enrol", d.pages.serve("enrol.html"))
	mux.HandleFunc("GET /asks", d.pages.serve("asks.html"))
	mux.HandleFunc("GET /asks/{id}", d.pages.serve("ask.html"))
	mux.HandleFunc("GET /sign-in/{file}", d.pages.file)

	mux.HandleFunc("GET /sign-in/link", d.showLink)
	mux.HandleFunc("POST /sign-in/link", d.takeLink)
	mux.HandleFunc("GET /sign-in/me", d.answer(d.me))
	mux.HandleFunc("POST /sign-in/begin", d.answer(d.beginSignIn))
	mux.HandleFunc("POST /sign-in/finish", d.answer(d.finishSignIn))
	mux.HandleFunc("POST /enrol/begin", d.answer(d.beginEnrol))
	mux.HandleFunc("POST /enrol/finish", d.answer(d.finishEnrol))
	mux.HandleFunc("POST /sign-out", d.answer(d.signOut))
	mux.HandleFunc("GET /sign-in/provider", d.beginProvider)
	mux.HandleFunc("GET /sign-in/callback", d.finishProvider)
	mux.HandleFunc("/", d.answer(func(http.ResponseWriter, *http.Request) (any, error) {
		return nil, authz.Errorf(authz.ErrNotFound, "there is nothing here")
	}))
	return mux
}

// Person returns the session whose cookie the request carries. It returns authz.ErrUnauthenticated if
// there is none, or nobody was there for too long, and authz.ErrForbidden if the request would change something
// and does not come from our own pages. A request that carries Authorization is not a session's. Unless nobody
// has caused the request, the session goes on: about once a minute w gets a cookie that says so. W may be nil.
func (d *Door) Person(w http.ResponseWriter, r *http.Request) (*people.Session, error) {
	token, seen, err := d.sessionToken(r)
	if err != nil {
		return nil, err
	}
	s, err := d.cfg.People.Authenticate(token)
	if err != nil {
		return nil, err
	}
	now := d.cfg.Now()
	if d.idle(s, seen); !now.Before(s.IdleAt) {
		return nil, authz.Errorf(authz.ErrUnauthenticated, "the session has ended: nobody was there for %v", d.cfg.Idle)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if err := d.sameOrigin(r); err != nil {
			return nil, err
		}
	}
	if w != nil && now.Sub(seen) >= restamp && r.Header.Get(BackgroundHeader) == "" {
		if err := d.setSession(w, token, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Me is what a page may know of who is signed in.
type Me struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Method    string    `json:"method"`
	ExpiresAt time.Time `json:"expires_at"`
	Passkeys  []string  `json:"passkeys"` // ids of those that count
}

func (d *Door) me(w http.ResponseWriter, r *http.Request) (any, error) {
	s, err := d.Person(w, r)
	if err != nil {
		return nil, err
	}
	return me(s), nil
}

func me(s *people.Session) Me {
	m := Me{ID: s.Person.ID, Name: s.Person.Name, Method: s.Method, ExpiresAt: s.ExpiresAt, Passkeys: []string{}}
	for _, k := range s.Person.Passkeys {
		if k.Active() {
			m.Passkeys = append(m.Passkeys, k.ID)
		}
	}
	return m
}

func (d *Door) signOut(w http.ResponseWriter, r *http.Request) (any, error) {
	if err := d.sameOrigin(r); err != nil {
		return nil, err
	}
	token, _, err := d.sessionToken(r)
	if err == nil {
		if err := d.cfg.People.SignOut(r.Context(), token); err != nil {
			return nil, err
		}
	}
	d.clearSession(w)
	return struct{}{}, nil
}

// begin returns how to begin where nobody can do more than answer, or "".
func (d *Door) begin() string {
	if d.idp != nil && len(d.idp.Roles) > 0 || d.cfg.People.Ranked() > 0 {
		return ""
	}
	return "safeconduct person put me --name \"My Name\" --role administrator --why \"first administrator\"\nsafeconduct person link me --why \"first sign-in\""
}

// warn logs a failure that strangers can cause, at most 20 of them a minute.
func (d *Door) warn(r *http.Request, msg string, args ...any) {
	d.mu.Lock()
	if m := d.cfg.Now().Unix() / 60; m != d.minute {
		d.minute, d.warned = m, 0
	}
	d.warned++
	quiet := d.warned > 20
	d.mu.Unlock()
	if !quiet {
		d.cfg.Logger.WarnContext(r.Context(), msg, append(args, "remote", r.RemoteAddr)...)
	}
}
