package api_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/live"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/signin"
)

// A register is a register of persons whose log is kept nowhere.
type register struct {
	*people.Registry
	seq int64
}

func (r *register) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	r.seq++
	return r.seq, r.Apply(ctx, audit.Entry{Seq: r.seq, At: time.Now(), Kind: d.Kind, Actor: d.Actor, Body: d.Body})
}

func (*register) Accounts(context.Context) ([]people.Account, error) { return nil, nil }
func (*register) PutAccount(context.Context, people.Account) error   { return nil }

// serveStreamsTo is serveStreams with Anna, who watches and is signed in, and her cookie.
func serveStreamsTo(t *testing.T) (s *streaming, reg *register, cookie string) {
	t.Helper()
	reg = &register{}
	reg.Registry = people.NewRegistry(people.Config{Store: reg, Log: reg})
	seal, err := keyring.NewSealingKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	door, err := signin.New(signin.Config{People: reg.Registry, Seal: seal, PublicURL: "https://pdp.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Put(t.Context(), "admin:root", "test", people.Profile{ID: "anna", Name: "Anna", Roles: []people.Role{people.Viewer}}, 0); err != nil {
		t.Fatal(err)
	}
	link, err := reg.MakeLink(t.Context(), "admin:root", "test", "anna", 0)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/sign-in/link", strings.NewReader(url.Values{"token": {link.Token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	door.Handler().ServeHTTP(w, r)
	if cs := w.Result().Cookies(); len(cs) == 1 {
		cookie = cs[0].Name + "=" + cs[0].Value
	} else {
		t.Fatalf("signing in: %d, %v", w.Code, cs)
	}
	return serveStreams(t, func(c *api.Config) { c.Door, c.Live = door, live.NewHub(live.Config{}, 41) }), reg, cookie
}

// visit asks for a path as a page of ours does.
func (s *streaming) visit(path, cookie string) *http.Response {
	s.Helper()
	ours, theirs := net.Pipe()
	s.pipes.conns <- theirs
	s.Cleanup(func() { ours.Close() })
	r, err := http.NewRequest("GET", "http://pdp.example.com"+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Cookie", cookie)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if err := r.Write(ours); err != nil {
		s.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(ours), r)
	if err != nil {
		s.Fatal(err)
	}
	return answer
}

// A page comes back to its stream by itself: a stream does not show that somebody is there, and ends when nobody was
// for too long, or the person may read no longer.
func TestStreamOfPerson(t *testing.T) {
	for what, tt := range map[string]struct {
		end   func(context.Context, *register) error
		after time.Duration
	}{
		"nobody is there": {nil, signin.DefaultIdle - 5*time.Minute},
		"the role is taken away": {end: func(ctx context.Context, reg *register) error {
			p, err := reg.Person("anna")
			if err == nil {
				prof := p.Profile()
				prof.Roles = []people.Role{people.Approver}
				_, err = reg.Put(ctx, "admin:root", "test", prof, p.AsOf)
			}
			return err
		}},
		"the person is signed out": {end: func(ctx context.Context, reg *register) error {
			_, err := reg.EndSessions(ctx, "admin:root", "test", "anna")
			return err
		}},
	} {
		for _, query := range []string{"", "?types=all"} {
			synctest.Test(t, func(t *testing.T) {
				s, reg, cookie := serveStreamsTo(t)
				time.Sleep(5 * time.Minute)
				if r := s.visit("/v1/me", cookie); r.StatusCode != 200 || len(r.Cookies()) != 1 {
					t.Fatalf("a request that somebody caused: %d, %v, want 200 and a new cookie", r.StatusCode, r.Header)
				}
				r := s.visit("/v1/stream"+query, cookie)
				if r.StatusCode != 200 || len(r.Cookies()) != 0 {
					t.Fatalf("GET /v1/stream%s = %d, %v, want 200 and no cookie", query, r.StatusCode, r.Header)
				}
				next := blocks(t, r.Body)
				next()
				if tt.end != nil {
					if err := tt.end(t.Context(), reg); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				for next() != "" {
					if time.Since(began) > time.Hour {
						t.Fatalf("%s: the stream %q goes on", what, query)
					}
				}
				if d := time.Since(began); d < tt.after || d > tt.after+15*time.Second {
					t.Errorf("%s: the stream %q ended after %v, want %v, within a heartbeat", what, query, d, tt.after)
				}
			})
		}
	}
}
