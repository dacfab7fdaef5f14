package api

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/people"
)

// A call is one request as every handler gets it. Who is nil on public routes only.
type call struct {
	who  *caller.Identity
	self caller.Identity // what who points to, mostly
	id   string          // the request's id: the caller's own, or ours
	body []byte

	session *people.Session // the person who calls, by a session or by a token of the role approver; nil if it is none

	answered time.Time // when the answer began, of one that goes on; what follows is not the route's time

	// Of an agent that asks for itself; bearer is nil if somebody else does.
	bearer  *authz.Bearer
	method  string     // how it authenticated
	address netip.Addr // of the connection; invalid if unknown
}

// A route is one entry of the list of routes.
type route struct {
	method, path string
	roles        []caller.Role // who may call; nil: anybody, without a token
	summary      string
	limit        int64        // bytes of a body; 0: the route takes none
	decides      bool         // an error says decision:false
	agents       bool         // agents may call, by their own tokens, for themselves
	problems     bool         // errors are application/problem+json (RFC 9457)
	lasts        bool         // the answer goes on until somebody ends it: a page comes back to it by itself
	everybody    bool         // persons may call, too, though its roles name those of enforcement points
	doc          operationDoc // for the OpenAPI document

	serve func(w http.ResponseWriter, r *http.Request, c *call) error
}

// Roles that routes are open to.
var (
	admins    = []caller.Role{caller.Administrator}
	auditors  = []caller.Role{caller.Administrator, caller.Auditor}  // read also who may call, who answers, and the whole log
	operators = []caller.Role{caller.Administrator, caller.Operator} // stop and restore agents, say what is the matter
	authors   = []caller.Role{caller.Administrator, caller.Author}   // policies and the catalog
	readers   = []caller.Role{caller.Administrator, caller.Auditor, caller.Operator, caller.Author, caller.Viewer}
	deciders  = []caller.Role{caller.PEP, caller.Edge, caller.Administrator}
	edges     = []caller.Role{caller.Edge}
	points    = []caller.Role{caller.PEP, caller.Edge}
	everybody = caller.Roles()
)

// forPersons reports whether persons who have one of the route's roles may call, by the session of their browser:
// all routes but those of enforcement points, which say what only an enforcement point can know.
func (rt *route) forPersons() bool {
	return rt.everybody || rt.roles != nil && !slices.Contains(rt.roles, caller.PEP) && !slices.Contains(rt.roles, caller.Edge)
}

// handler makes an http.Handler of a route: request id, panics, authentication, role, body.
func (s *Server) handler(rt *route) http.HandlerFunc {
	observe := s.Metrics.Route(rt.method, rt.path)
	return func(w http.ResponseWriter, r *http.Request) {
		start := s.Now()
		c := call{id: requestID(r.Header)}
		h := w.Header()
		h["X-Request-Id"] = []string{c.id}
		h["Cache-Control"] = noStore
		h["X-Content-Type-Options"] = noSniff
		rec := recorder{ResponseWriter: w}
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				s.Logger.ErrorContext(r.Context(), "handler panicked", "path", r.URL.Path, "request_id", c.id,
					"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				if rec.status == 0 {
					s.failBy(rt, &rec, r, &c, fmt.Errorf("panic: %v", v))
				}
			}
			end := c.answered
			if end.IsZero() {
				end = s.Now()
			}
			observe(rec.status, end.Sub(start))
		}()
		err := s.admit(&rec, r, rt, &c)
		if err == nil {
			err = rt.serve(&rec, r, &c)
		}
		if err != nil && rec.status == 0 {
			s.failBy(rt, &rec, r, &c, err)
		}
	}
}

// failBy writes err in the form of the route's errors.
func (s *Server) failBy(rt *route, w http.ResponseWriter, r *http.Request, c *call, err error) {
	if rt.problems {
		s.failProblem(w, r, c, err)
		return
	}
	s.fail(w, r, c, err, rt.decides)
}

// admit authenticates the caller, checks the role, and reads the body. To w it writes nothing but the cookie of
// a session that goes on; nil stands for an answer that has begun.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, rt *route, c *call) (err error) {
	agent := false
	if rt.agents {
		if agent, err = s.admitAgent(r, c); err != nil {
			return err
		}
	}
	if rt.roles != nil && !agent {
		if err = s.identify(w, r, rt, c); err != nil {
			return err
		}
		if !c.who.Can(rt.roles...) {
			return c.mayNot()
		}
	}
	if rt.limit > 0 {
		c.body, err = readBody(r, rt.limit)
	}
	return err
}

// identify finds out who calls: the person who is signed in, if the route is open to persons, or whoever holds
// the bearer token. A request that carries a token is nobody's session.
func (s *Server) identify(w http.ResponseWriter, r *http.Request, rt *route, c *call) error {
	if rt.lasts {
		w = nil // a browser asks again for what was cut off: that shows nobody to be there
	}
	if rt.forPersons() {
		if known, err := s.admitPerson(w, r, c); known || err != nil {
			return err
		}
	}
	who, err := s.authenticate(r)
	if err != nil {
		return err
	}
	c.is(who.Identity())
	if who.Role == caller.Approver && rt.forPersons() {
		return s.personOf(c)
	}
	return nil
}

// is makes somebody the one who calls.
func (c *call) is(who caller.Identity) { c.self, c.who = who, &c.self }

// mayNot is the refusal to somebody whose roles do not open the route.
func (c *call) mayNot() error {
	names := make([]string, len(c.who.Roles))
	for i, r := range c.who.Roles {
		names[i] = string(r)
	}
	switch len(names) {
	case 0:
		return authz.Errorf(authz.ErrForbidden, "without a role, nobody may do this")
	case 1:
		return authz.Errorf(authz.ErrForbidden, "the role %s may not do this", names[0])
	}
	return authz.Errorf(authz.ErrForbidden, "none of the roles %s may do this", strings.Join(names, ", "))
}

// authenticate returns the caller whose bearer token the request carries.
func (s *Server) authenticate(r *http.Request) (*caller.Caller, error) {
	header := r.Header["Authorization"]
	var who *caller.Caller
	err := authz.Errorf(authz.ErrUnauthenticated, "a bearer token is needed: Authorization: Bearer TOKEN")
	if len(header) == 1 && len(header[0]) < 1024 {
		if scheme, token, ok := strings.Cut(header[0], " "); ok && strings.EqualFold(scheme, "bearer") {
			who, err = s.Callers.Authenticate(token)
		}
	}
	if err != nil {
		s.Metrics.AuthFailed()
		if s.failures.allow(s.Now()) {
			s.Logger.WarnContext(r.Context(), "caller not authenticated", "remote", r.RemoteAddr, "path", r.URL.Path)
		}
	}
	return who, err
}

// An allowance lets a few events a minute through, so that a flood of them cannot fill a disk.
type allowance struct {
	mu     sync.Mutex
	minute int64
	used   int
}

func (a *allowance) allow(now time.Time) bool {
	const perMinute = 20
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := now.Unix() / 60; m != a.minute {
		a.minute, a.used = m, 0
	}
	a.used++
	return a.used <= perMinute
}

// readBody reads a JSON body of at most limit bytes into memory of its own: parts of it outlive the
// request in records.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if err := checkMediaType(r.Header); err != nil {
		return nil, err
	}
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	var body []byte
	var err error
	if r.ContentLength >= 0 && r.ContentLength <= 64<<10 { // more is believed when it comes
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(io.LimitReader(r.Body, limit+1))
		if int64(len(body)) > limit {
			return nil, errTooLarge
		}
	}
	if err != nil {
		return nil, invalid("the body could not be read")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, invalid("the body is empty")
	}
	return body, nil
}

// checkMediaType refuses everything but application/json in UTF-8, sent as it is. Another type is 400
// and not 415, as AuthZEN's certification wants it.
func checkMediaType(h http.Header) error {
	types := h["Content-Type"]
	if len(types) != 1 || types[0] != "application/json" {
		var typ string
		var params map[string]string
		if len(types) == 1 {
			typ, params, _ = mime.ParseMediaType(types[0])
		}
		if typ != "application/json" {
			return invalid("the Content-Type must be application/json")
		}
		if cs, ok := params["charset"]; ok && !strings.EqualFold(cs, "utf-8") {
			return invalid("the body must be UTF-8")
		}
	}
	if enc := h.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return invalid("the body must not be encoded")
	}
	return nil
}

// requestID returns the caller's own X-Request-ID, or a new one if there is none, or if it is longer
// than 128 bytes or not printable ASCII.
func requestID(h http.Header) string {
	if v := h["X-Request-Id"]; len(v) == 1 && len(v[0]) > 0 && len(v[0]) <= 128 {
		ok := true
		for i := 0; i < len(v[0]); i++ {
			ok = ok && v[0][i] > ' ' && v[0][i] < 0x7f
		}
		if ok {
			return v[0]
		}
	}
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Header values that never change; shared, since net/http only reads them.
var (
	noStore         = []string{"no-store"}
	noSniff         = []string{"nosniff"}
	typeJSON        = []string{"application/json"}
	contentLengthOf = func() (v [2048][]string) {
		for i := range v {
			v[i] = []string{strconv.Itoa(i)}
		}
		return v
	}()
)

// writeBody writes a JSON body. What it returns would be told to nobody: the caller is gone.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = typeJSON
	if len(body) < len(contentLengthOf) {
		h["Content-Length"] = contentLengthOf[len(body)]
	} else {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// A recorder remembers the status that was written.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
