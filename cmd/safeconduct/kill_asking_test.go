package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// The service is killed after a person has answered, and again while the approval is being used. The
// answer is not lost, the approval is used once, and what an enforcement point was told is in the log.
func TestKilledBetweenAnswerAndUse(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	t.Run("sqlite", func(t *testing.T) {
		dir := t.TempDir()
		killedAsking(t, rounds, dir, "", store.Config{SQLite: filepath.Join(dir, "data", "safeconduct.db")})
	})
	t.Run("postgres", func(t *testing.T) {
		cfg := storetest.Postgres(t)
		killedAsking(t, rounds, t.TempDir(), fmt.Sprintf("postgres: %q\n", cfg.Postgres), cfg)
	})
}

func killedAsking(t *testing.T, rounds int, dir, extra string, db store.Config) {
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "internal", "server", "testdata", "asking"))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "safeconduct.yaml")
	text := extra + fmt.Sprintf("data: %q\norganisation: {catalog: catalog.yaml, schema: schema.cedarschema, policies: [policies.cedar], agents: agents.yaml}\n", filepath.Join(dir, "data"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const adminToken, pepToken = "an-administrators-token", "an-enforcement-points-token"
	env := append(os.Environ(), envToken+"="+adminToken, envPEPToken+"="+pepToken)
	up := func() *service {
		t.Helper()
		s, err := launch(env, "--config", config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.kill)
		return s
	}
	s := up()
	must := func(method, path, token, body string, out any) {
		t.Helper()
		status, b, err := call(s, method, path, token, body)
		if err != nil || status/100 != 2 || json.Unmarshal(b, out) != nil {
			t.Fatalf("%s %s: status %d, %v: %s", method, path, status, err, b)
		}
	}
	var anna struct{ Token string }
	must("PUT", "/v1/people/anna", adminToken, `{"name":"Anna","why":"test"}`, &struct{}{})
	must("POST", "/v1/callers", adminToken, `{"name":"anna","role":"approver","why":"test"}`, &anna)

	type said struct {
		Decision bool
		Context  struct {
			ID      string `json:"evaluation_id"`
			Request struct {
				Expires string `json:"expires_at"`
				Binding string `json:"binding_token"`
			} `json:"access_request"`
		}
	}
	allowed := map[string]string{} // decision -> approval, as an enforcement point was told
	for round := range rounds {
		act := fmt.Sprintf(`"subject":{"type":"agent","id":"clerk"},"action":{"name":"pay","properties":{"amount":"%d.0"}},"resource":{"type":"Account","id":"acme"}`, 600+round)
		var d said
		must("POST", "/access/v1/evaluation", pepToken, "{"+act+"}", &d)
		var task struct {
			Task   struct{ ID, Status string }
			Result struct{ Approval json.RawMessage }
		}
		must("POST", "/access/v1/requests", pepToken, fmt.Sprintf(`{%s,"denial":{"evaluation_id":%q,"expires_at":%q,"binding_token":%q}}`,
			act, d.Context.ID, d.Context.Request.Expires, d.Context.Request.Binding), &task)
		ask := "/v1/approvals/" + task.Task.ID
		var view struct{ View int64 }
		must("POST", ask+"/view", anna.Token, `{}`, &view)
		must("POST", ask+"/answer", anna.Token, fmt.Sprintf(`{"yes":true,"view":%d}`, view.View), &struct{}{})
		s.kill()

		s = up()
		if must("GET", "/access/v1/requests/"+task.Task.ID, pepToken, "", &task); task.Task.Status != "approved" {
			t.Fatalf("round %d: an answer was lost: %s", round, task.Task.Status)
		}
		use := fmt.Sprintf(`{%s,"context":{"approval":%s}}`, act, task.Result.Approval)
		var mu sync.Mutex
		var wg sync.WaitGroup
		try := func() bool {
			var d said
			_, b, err := call(s, "POST", "/access/v1/evaluation", pepToken, use)
			if err != nil || json.Unmarshal(b, &d) != nil {
				return false
			}
			if d.Decision {
				mu.Lock()
				allowed[d.Context.ID] = task.Task.ID
				mu.Unlock()
			}
			return true
		}
		if round < rounds-1 { // the last is used without a kill, so that at least one is
			for range 4 {
				wg.Go(func() {
					for try() {
					}
				})
			}
			time.Sleep(rand.N(20 * time.Millisecond)) // the moment of the kill is chance
			s.kill()
			wg.Wait()
			s = up()
		}
		try()
		try()
	}
	s.kill()

	key, err := audit.LoadKey(filepath.Join(dir, "data", keyFile))
	if err != nil {
		t.Fatal(err)
	}
	report, entries := readLog(t.Context(), t, db, key)
	if err := report.Err(); err != nil {
		t.Errorf("the log does not verify: %v", err)
	}
	uses, acts := map[string]int{}, map[string]int{}
	for _, e := range entries {
		var b struct {
			Decision struct {
				Effect string
				Lifted bool
			}
			Facts struct{ Approval *struct{ Ask string } }
		}
		if e.Kind != audit.DecisionMade || json.Unmarshal(e.Body, &b) != nil || b.Facts.Approval == nil || b.Decision.Effect != "allow" {
			continue
		}
		acts[b.Facts.Approval.Ask]++
		uses[fmt.Sprintf("d%d", e.Seq)]++
	}
	for ask, n := range acts {
		if n != 1 {
			t.Errorf("%d acts were allowed by ask %s", n, ask)
		}
	}
	told := map[string]int{}
	for id, ask := range allowed {
		if told[ask]++; told[ask] > 1 {
			t.Errorf("two acts by ask %s were allowed", ask)
		}
		if uses[id] != 1 {
			t.Errorf("decision %s was received, and is not in the log", id)
		}
	}
	if len(acts) == 0 {
		t.Error("no approval was ever used")
	}
	t.Logf("%d asks, %d acts in the log, %d received", rounds, len(acts), len(allowed))
}

// call sends one request to the service.
func call(s *service, method, path, token, body string) (int, []byte, error) {
	req, err := http.NewRequest(method, s.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, b, err
}
