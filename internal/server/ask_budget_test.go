package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/safeconduct/safeconduct/internal/server"
)

// adapted returns the organisation of asking, with a file of it changed.
func adapted(t testing.TB, file string, change func(string) string) server.Config {
	t.Helper()
	cfg := asking(t)
	text, err := os.ReadFile(filepath.Join("testdata", "asking", file))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, []byte(change(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	switch file {
	case "catalog.yaml":
		cfg.Organisation.Catalog = path
	case "agents.yaml":
		cfg.Organisation.Agents = path
	}
	return cfg
}

// Refusals that were collected before anything was asked are not all asked about, not even at once.
func TestCollectedRefusals(t *testing.T) {
	s := start(t, adapted(t, "catalog.yaml", func(text string) string {
		return strings.Replace(text, "asks: {session: 0, hour: 0, pending: 0}", "asks: {session: 3, hour: 0, pending: 0}", 1)
	}))
	const n = 12
	bodies := make([]string, n)
	for i := range bodies {
		account := fmt.Sprint("account", i)
		d := s.evaluate(payment("clerk", account, "900.0", ""))
		if d.Context.AccessRequest == nil {
			t.Fatalf("refusal %d offers nothing: %+v", i, d)
		}
		bodies[i] = fmt.Sprintf(`{"subject":{"type":"agent","id":"clerk"},"action":{"name":"pay","properties":{"amount":"900.0"}},"resource":{"type":"Account","id":%q},
			"denial":{"evaluation_id":%q,"expires_at":%q,"binding_token":%q}}`,
			account, d.Context.EvaluationID, d.Context.AccessRequest.ExpiresAt, d.Context.AccessRequest.BindingToken)
	}
	var asking sync.WaitGroup
	replies := make([]reply, n)
	for i, body := range bodies {
		asking.Go(func() { replies[i] = s.ask("/access/v1/requests", body) })
	}
	asking.Wait()
	taken := 0
	for i, rep := range replies {
		switch {
		case rep.status == 202:
			taken++
		case rep.status != 429 || rep.header.Get("Retry-After") == "" || !strings.Contains(rep.body, "at most 3 may be"):
			t.Errorf("ask %d: status %d, Retry-After %q: %s", i, rep.status, rep.header.Get("Retry-After"), rep.body)
		}
	}
	if taken != 3 {
		t.Errorf("%d of %d asks are taken, want the 3 of the session", taken, n)
	}
	if d := s.evaluate(payment("clerk", "another", "900.0", "")); d.Context.AccessRequest != nil || d.Decision {
		t.Errorf("a refusal after that: %+v, want that it offers nothing", d)
	}
}

// Whoever owns an agent agrees alone neither to what it does nor to what another does on its behalf.
func TestOwnerOfWhoDelegates(t *testing.T) {
	s := start(t, adapted(t, "agents.yaml", func(text string) string {
		return strings.Replace(text, "{id: clerk, owner: olga,", "{id: worker, owner: wanda, purpose: accounts-payable, version: \"1\", capabilities: [pay]}\n  - {id: clerk, owner: anna,", 1)
	}))
	people := s.persons("anna", "ben")
	behalf := func(body string) string {
		return strings.Replace(body, `"context":{`, `"context":{"on_behalf_of":[{"type":"agent","id":"clerk"}],`, 1)
	}
	ask := s.request("worker", "acme", "900.0", s.evaluate(behalf(payment("worker", "acme", "900.0", ""))))
	if rep := s.answer(people["anna"], ask, true, ""); rep.status != 403 {
		t.Errorf("anna, who owns clerk, agrees: status %d: %s", rep.status, rep.body)
	}
	if rep := s.answer(people["ben"], ask, true, ""); rep.status != 200 {
		t.Errorf("ben agrees: status %d: %s", rep.status, rep.body)
	}
	if d := s.evaluate(behalf(payment("worker", "acme", "900.0", s.approved(ask)))); !d.Decision {
		t.Errorf("the approved act: %+v", d)
	}
}
