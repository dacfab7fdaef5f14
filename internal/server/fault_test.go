package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store"
)

const view = `{"subject":{"type":"user","id":"alice"},"action":{"name":"view"},"resource":{"type":"record","id":"101"}}`

// decide asks once and returns the decision's number, 0 if none was made.
func (r *running) decide() (seq int64, rep reply) {
	r.Helper()
	rep = r.ask("/access/v1/evaluation", view)
	var d struct {
		Decision *bool
		Context  struct {
			ID string `json:"evaluation_id"`
		}
	}
	if err := json.Unmarshal([]byte(rep.body), &d); err != nil || d.Decision == nil {
		r.Fatalf("no decision in %q", rep.body)
	}
	if rep.status != 200 {
		if *d.Decision {
			r.Errorf("status %d with decision:true", rep.status)
		}
		return 0, rep
	}
	seq, err := pdp.ParseDecisionID(d.Context.ID)
	if err != nil {
		r.Errorf("evaluation_id: %v", err)
	}
	return seq, rep
}

// verify checks the whole log of a server that has stopped, and that the decisions of those numbers
// are in it.
func verify(t *testing.T, cfg server.Config, key string, decisions []int64) {
	t.Helper()
	dbConfig := store.Config{Postgres: cfg.Postgres}
	if cfg.Postgres == "" {
		dbConfig.SQLite = filepath.Join(cfg.Data, server.DatabaseFile)
	}
	db, err := store.Open(t.Context(), dbConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	v, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(t.Context(), db, []note.Verifier{v}, audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		t.Errorf("the log does not verify: %v", err)
	}
	if report.Kinds[audit.DecisionMade] < int64(len(decisions)) {
		t.Errorf("the log has %d decisions, %d were answered", report.Kinds[audit.DecisionMade], len(decisions))
	}
	log, err := audit.New(db, audit.Config{Key: must(audit.LoadKey(filepath.Join(cfg.Data, "log.key")))})
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range decisions {
		e, err := log.Entry(t.Context(), seq)
		if err != nil || e.Kind != audit.DecisionMade {
			t.Fatalf("decision d%d was answered and is not in the log: %v, %v", seq, e.Kind, err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("waiting in vain: %s", what)
}

// While the log cannot be written every answer refuses with unavailable; afterwards the service
// resumes by itself, and everything that was answered is in the log.
func TestLogUnwritable(t *testing.T) {
	for name, broken := range map[string]struct {
		cue     audittest.Cue
		methods string // that fail; "" is all
	}{
		"disk full":            {audittest.Before, "Append"},
		"acknowledgement lost": {audittest.After, "Append"},
		"store gone":           {audittest.Before, ""},
		"store hangs":          {audittest.Hang, "Append"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := organisation(t, testdata("search"))
			cfg.Log.MaxAge = time.Second
			faulty := &audittest.Faulty{}
			cfg.WrapLog(func(s audit.Store) audit.Store { faulty.Store = s; return faulty })
			s := start(t, cfg)

			var answered []int64
			for range 3 {
				seq, rep := s.decide()
				if seq == 0 {
					t.Fatalf("status %d: %s", rep.status, rep.body)
				}
				answered = append(answered, seq)
			}
			var hits atomic.Int64
			faulty.On(func(method string) audittest.Cue {
				if broken.methods == "" || method == broken.methods {
					hits.Add(1)
					return broken.cue
				}
				return audittest.Fine
			})
			refused := 0
			for range 3 {
				if seq, rep := s.decide(); seq == 0 {
					refused++
					if rep.status != http.StatusServiceUnavailable || !strings.HasPrefix(rep.body, `{"decision":false,"error":{"code":"unavailable"`) {
						t.Errorf("status %d: %s", rep.status, rep.body)
					}
				} else {
					answered = append(answered, seq) // its fate became known in time
				}
			}
			if broken.cue != audittest.After && refused != 3 {
				t.Errorf("%d of 3 refused", refused)
			}
			if hits.Load() == 0 {
				t.Error("the fault was not met")
			}
			if broken.cue != audittest.After {
				eventually(t, "readyz says why", func() bool {
					r := s.do("GET", "/readyz", "", "")
					return r.status == 503 && strings.Contains(r.body, "log")
				})
			}
			if r := s.do("GET", "/healthz", "", ""); r.status != 200 {
				t.Errorf("healthz: status %d while the store is away", r.status)
			}
			faulty.On(nil)
			eventually(t, "service resumes", func() bool {
				seq, _ := s.decide()
				if seq != 0 {
					answered = append(answered, seq)
				}
				return seq != 0 && s.do("GET", "/readyz", "", "").status == 200
			})
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			verify(t, cfg, s.Key(), answered)
		})
	}
}

// What is answered while the service stops is in the log, and nothing is cut off.
func TestStopUnderLoad(t *testing.T) {
	cfg := organisation(t, testdata("search"))
	s := start(t, cfg)
	var mu sync.Mutex
	var answered []int64
	var cut atomic.Int64
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 8 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				req, _ := http.NewRequest("POST", s.URL()+"/access/v1/evaluation", strings.NewReader(view))
				req.Header.Set("Authorization", "Bearer "+pepToken)
				req.Header.Set("Content-Type", "application/json")
				resp, err := client.Do(req)
				if err != nil {
					return // no connection any more
				}
				var d struct {
					Context struct {
						ID string `json:"evaluation_id"`
					}
				}
				err = json.NewDecoder(resp.Body).Decode(&d)
				resp.Body.Close()
				if err != nil {
					cut.Add(1)
					return
				}
				if seq, err := pdp.ParseDecisionID(d.Context.ID); err == nil {
					mu.Lock()
					answered = append(answered, seq)
					mu.Unlock()
				}
			}
		})
	}
	eventually(t, "load", func() bool { mu.Lock(); defer mu.Unlock(); return len(answered) > 200 })
	if err := s.stop(); err != nil {
		t.Errorf("stopping under load: %v", err)
	}
	stop()
	wg.Wait()
	if n := cut.Load(); n != 0 {
		t.Errorf("%d answers were cut off", n)
	}
	verify(t, cfg, s.Key(), answered)
}

// What was published, registered and created outlives a restart, and so does a revocation.
func TestRestart(t *testing.T) {
	cfg := organisation(t, testdata("search"))
	s := start(t, cfg)
	first, _ := s.decide()
	var made struct{ ID, Token string }
	s.into(s.do("POST", "/v1/callers", adminToken, `{"name":"late","role":"pep","why":"test"}`), &made)
	s.do("PUT", "/v1/agents/bot", adminToken, `{"owner":"o","purpose":"p","version":"1","if_revision":0,"why":"test"}`)
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	s.do("PUT", "/v1/alerts/a", adminToken, `{"kind":"k","severity":"low","expires_at":"`+until+`","why":"test"}`)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	cfg.Organisation = server.Organisation{} // what was published stays
	s = start(t, cfg)
	if r := s.do("POST", "/access/v1/evaluation", made.Token, view); r.status != 200 {
		t.Errorf("a caller made before the restart: status %d", r.status)
	}
	if r := s.do("GET", "/v1/agents/bot", adminToken, ""); r.status != 200 {
		t.Errorf("an agent registered before the restart: status %d", r.status)
	}
	if r := s.do("GET", "/v1/alerts", adminToken, ""); !strings.Contains(r.body, `"id":"a"`) {
		t.Errorf("alerts after the restart: %s", r.body)
	}
	second, _ := s.decide()
	if second <= first {
		t.Errorf("decision %d after %d", second, first)
	}
	s.do("POST", "/v1/callers/"+made.ID+"/revoke", adminToken, `{"why":"test"}`)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	if r := s.do("POST", "/access/v1/evaluation", made.Token, view); r.status != 401 {
		t.Errorf("a caller revoked before the restart: status %d", r.status)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	verify(t, cfg, s.Key(), []int64{first, second})
}

// Without policies every decision refuses, and says what an operator can do; publishing helps at once.
func TestNoPolicies(t *testing.T) {
	s := start(t, load(t, ""))
	seq, rep := s.decide()
	if seq != 0 || rep.status != 503 || !strings.Contains(rep.body, "policy publish") {
		t.Errorf("status %d: %s", rep.status, rep.body)
	}
	if r := s.do("GET", "/readyz", "", ""); r.status != 503 || !strings.Contains(r.body, "policy publish") {
		t.Errorf("readyz: status %d: %s", r.status, r.body)
	}
	r := s.do("POST", "/v1/policies", adminToken, `{"source":{"schema":"entity user; entity record; action view appliesTo { principal: [user], resource: [record], context: { observed: Observed } };","files":[{"name":"a.cedar","text":"permit (principal, action, resource);"}]},"if_version":0,"why":"first"}`)
	if r.status != 200 {
		t.Fatalf("publishing: status %d: %s", r.status, r.body)
	}
	if seq, rep := s.decide(); seq == 0 {
		t.Errorf("after publishing: status %d: %s", rep.status, rep.body)
	}
}

// The first tokens are made once, and only if nobody gave any; a token from the environment replaces
// the one before it.
func TestFirstTokens(t *testing.T) {
	cfg := organisation(t, testdata("search"))
	cfg.AdminToken, cfg.PEPToken = "", ""
	s := start(t, cfg)
	made := s.Tokens()
	if !strings.HasPrefix(made.Admin, "sc_admin_") || !strings.HasPrefix(made.PEP, "sc_pep_") {
		t.Fatalf("tokens: %d and %d bytes", len(made.Admin), len(made.PEP))
	}
	if r := s.do("GET", "/v1/callers", made.Admin, ""); r.status != 200 || strings.Contains(r.body, made.Admin) {
		t.Errorf("callers: status %d", r.status)
	}
	if r := s.do("GET", "/v1/audit/entries?kind=caller.put", made.Admin, ""); r.status != 200 || strings.Contains(r.body, made.Admin) || !strings.Contains(r.body, "first-administrator") {
		t.Errorf("the log of callers: status %d: %s", r.status, r.body)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	if again := s.Tokens(); again != (server.Tokens{}) {
		t.Error("tokens were made again")
	}
	if r := s.do("POST", "/access/v1/evaluation", made.PEP, view); r.status != 200 {
		t.Errorf("the token made at the first start: status %d", r.status)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	cfg.PEPToken = pepToken
	s = start(t, cfg)
	for token, want := range map[string]int{pepToken: 200, made.PEP: 401} {
		if r := s.do("POST", "/access/v1/evaluation", token, view); r.status != want {
			t.Errorf("status %d, want %d", r.status, want)
		}
	}
}

// What the configuration declares is published again only if it differs.
func TestOrganisationIsPublishedOnce(t *testing.T) {
	cfg := organisation(t, testdata("search"))
	version := func() (n float64) {
		s := start(t, cfg)
		var st struct{ Policies float64 }
		s.into(s.do("GET", "/v1/status", adminToken, ""), &st)
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		return st.Policies
	}
	if got := fmt.Sprint(version(), version()); got != "1 1" {
		t.Errorf("versions %s, want 1 1", got)
	}
}
