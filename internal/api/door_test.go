package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A recordingPDP answers what answer says and remembers what it was asked.
type recordingPDP struct {
	mu     sync.Mutex
	asked  []authz.Request
	answer func(authz.Request) (authz.Decision, error)
	found  []string
}

func (p *recordingPDP) Decide(_ context.Context, req authz.Request) (authz.Decision, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, req)
	return p.answer(req)
}

func (p *recordingPDP) DecideAll(ctx context.Context, items []pdp.Item, sem pdp.Semantics) (out []authz.Decision, err error) {
	for _, it := range items {
		var d authz.Decision
		if d.Refuse(authz.CodeInvalid, "not understood"); it.Err == nil {
			if d, err = p.Decide(ctx, it.Request); err != nil {
				return out, err
			}
		}
		out = append(out, d)
		if sem == pdp.DenyOnFirstDeny && !d.Allowed() || sem == pdp.PermitOnFirstPermit && d.Allowed() {
			break
		}
	}
	return out, nil
}

// page returns the names of found after page.After.
func (p *recordingPDP) page(req authz.Request, page pdp.Page) (names []string, next string) {
	p.asked = append(p.asked, req)
	for _, n := range p.found {
		if page.After != "" && n <= page.After {
			continue
		}
		if len(names) == page.Limit {
			return names, names[len(names)-1]
		}
		names = append(names, n)
	}
	return names, ""
}

func (p *recordingPDP) refs(typ string, req authz.Request, page pdp.Page) (f pdp.Found[authz.Ref], err error) {
	names, next := p.page(req, page)
	f.Next, f.Results = next, []authz.Ref{}
	for _, n := range names {
		f.Results = append(f.Results, authz.Ref{Type: typ, ID: n})
	}
	return f, nil
}

func (p *recordingPDP) SearchSubjects(_ context.Context, req authz.Request, page pdp.Page) (pdp.Found[authz.Ref], error) {
	return p.refs(req.Subject.Type, req, page)
}

func (p *recordingPDP) SearchResources(_ context.Context, req authz.Request, page pdp.Page) (pdp.Found[authz.Ref], error) {
	return p.refs(req.Resource.Type, req, page)
}

func (p *recordingPDP) SearchActions(_ context.Context, req authz.Request, page pdp.Page) (pdp.Found[string], error) {
	names, next := p.page(req, page)
	return pdp.Found[string]{Results: names, Next: next}, nil
}

// tokens is an Authenticator of fixed tokens.
type tokens struct{ api.CallerAdmin }

var fixedCallers = map[string]*caller.Caller{
	"admin-token":  {ID: "c1", Name: "root", Role: caller.Administrator},
	"audit-token":  {ID: "c2", Name: "eve", Role: caller.Auditor},
	"pep-token":    {ID: "c3", Name: "gateway", Role: caller.PEP},
	"edge-token":   {ID: "c9", Name: "gate", Role: caller.Edge},
	"edge-token-2": {ID: "c10", Name: "yard", Role: caller.Edge},
}

func (tokens) Authenticate(token string) (*caller.Caller, error) {
	if c, ok := fixedCallers[token]; ok {
		return c, nil
	}
	return nil, authz.Errorf(authz.ErrUnauthenticated, "the bearer token is unknown or revoked")
}

type noMetrics struct{}

func (noMetrics) Route(string, string) func(int, time.Duration) { return func(int, time.Duration) {} }
func (noMetrics) Asked(time.Duration, int)                      {}
func (noMetrics) Decided(authz.Effect, string)                  {}
func (noMetrics) AuthFailed()                                   {}

// A door is a Server over a recordingPDP.
type door struct {
	testing.TB
	pdp     *recordingPDP
	handler http.Handler
	log     *bytes.Buffer
}

func openDoor(t testing.TB, change ...func(*api.Config)) *door {
	t.Helper()
	d := &door{TB: t, pdp: &recordingPDP{answer: func(authz.Request) (authz.Decision, error) {
		return authz.Decision{Seq: 7, Effect: authz.Allow, Code: authz.CodeAllowed}, nil
	}}, log: new(bytes.Buffer)}
	cfg := api.Config{
		PublicURL:   "https://pdp.example.com",
		PDP:         d.pdp,
		Callers:     tokens{},
		Ready:       func(context.Context) []error { return nil },
		Tiles:       http.NotFoundHandler(),
		Metrics:     noMetrics{},
		MetricsPage: http.NotFoundHandler(),
		Logger:      slog.New(slog.NewTextHandler(d.log, nil)),
		Now:         time.Now,
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if d.handler, err = s.Handler(); err != nil {
		t.Fatal(err)
	}
	return d
}

// post sends a body as an enforcement point; headers are name, value pairs that override.
func (d *door) post(path, body string, headers ...string) *http.Response {
	d.Helper()
	return d.send("POST", path, body, headers...)
}

func (d *door) send(method, path, body string, headers ...string) *http.Response {
	d.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer pep-token")
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Result()
}

// text returns the whole body of a response.
func text(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// last returns the request that the PDP was asked last, or fails.
func (d *door) last() authz.Request {
	d.Helper()
	if len(d.pdp.asked) == 0 {
		d.Fatal("the PDP was not asked")
	}
	return d.pdp.asked[len(d.pdp.asked)-1]
}

func sameJSON(t testing.TB, got, want string) bool {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Errorf("not JSON: %v: %s", err, got)
		return false
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("want is not JSON: %v: %s", err, want)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}
