package server_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/server"
)

// A told is a message that a receiver was sent.
type told struct {
	path, id string
	body     []byte
}

// receiver starts a server that hands on what it is sent. What is sent to /judge it answers by a verdict.
func receiver(t *testing.T, secret []byte, verdict func(body []byte) string) (*httptest.Server, <-chan told) {
	t.Helper()
	got := make(chan told, 100)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading what was sent: %v", err)
		}
		id := r.Header.Get("Webhook-Id")
		if r.URL.Path == "/judge" {
			var p struct{ Data struct{ Ask string } }
			if err := json.Unmarshal(body, &p); err != nil {
				t.Errorf("the evaluator was asked %s: %v", body, err)
			}
			now := time.Now()
			answer := fmt.Sprintf(`{"ask":%q,"verdict":%q}`, p.Data.Ask, verdict(body))
			w.Header().Set("Webhook-Id", id)
			w.Header().Set("Webhook-Timestamp", fmt.Sprint(now.Unix()))
			w.Header().Set("Webhook-Signature", notify.Sign([][]byte{secret}, id, now, []byte(answer)))
			io.WriteString(w, answer)
		}
		got <- told{r.URL.Path, id, body}
	}))
	t.Cleanup(srv.Close)
	return srv, got
}

// next returns the next message that was sent to a path; others are passed over.
func next(t *testing.T, got <-chan told, path string) told {
	t.Helper()
	for after := time.After(20 * time.Second); ; {
		select {
		case m := <-got:
			if m.path == path {
				return m
			}
		case <-after:
			t.Fatalf("nothing was sent to %s", path)
		}
	}
}

// telling returns the configuration of an organisation whose asks are told.
func telling(t *testing.T, address string, ca []byte) server.Config {
	t.Helper()
	cfg := asking(t)
	text, err := os.ReadFile(cfg.Organisation.Catalog)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg.Organisation.Catalog = put("catalog.yaml", strings.Replace(string(text), "approvers: [finance], uses: 5,", "approvers: [finance], notify: [hook, lost], evaluator: judge, uses: 5,", 1))
	put("secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
	put("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca})))
	cfg.Notify.Channels = put("channels.yaml", fmt.Sprintf(`
private_networks: [127.0.0.0/8]
channels:
  hook: {type: webhook, url: "%[1]s/hook", secret_file: secret, ca_file: ca.pem}
evaluators:
  judge: {url: "%[1]s/judge", secret_file: secret, ca_file: ca.pem}
callbacks:
  - {pep: pep, allow: ["%[1]s/done"], secret_file: secret, ca_file: ca.pem, private_networks: [127.0.0.0/8]}
`, address))
	return cfg
}

// Through the whole service: a channel is told, an evaluator answers or leaves it to people, the enforcement
// point is called back, what could not be told is seen and tried again, and the log has all of it.
func TestTelling(t *testing.T) {
	srv, got := receiver(t, []byte("0123456789abcdef0123456789abcdef"), func(body []byte) string {
		if strings.Contains(string(body), `"id":"globex"`) {
			return "approve"
		}
		return "abstain"
	})
	s := start(t, telling(t, srv.URL, srv.Certificate().Raw))
	people := s.persons("anna")
	request := func(account string) (id string) {
		t.Helper()
		d := s.evaluate(payment("clerk", account, "900.0", ""))
		if d.Context.AccessRequest == nil {
			t.Fatalf("no refusal that can be asked about: %+v", d)
		}
		rep := s.ask("/access/v1/requests", fmt.Sprintf(`{"subject":{"type":"agent","id":"clerk"},"action":{"name":"pay","properties":{"amount":"900.0"}},"resource":{"type":"Account","id":%q},
			"callback":{"endpoint":"%s/done","state":"s-%s","events":["approved","denied"]},
			"denial":{"evaluation_id":%q,"expires_at":%q,"binding_token":%q}}`, account, srv.URL, account, d.Context.EvaluationID, d.Context.AccessRequest.ExpiresAt, d.Context.AccessRequest.BindingToken))
		var out struct{ Task struct{ ID string } }
		if err := json.Unmarshal([]byte(rep.body), &out); err != nil || rep.status != 202 {
			t.Fatalf("access request: status %d: %s", rep.status, rep.body)
		}
		return out.Task.ID
	}
	calledBack := func(ask, account, status string) {
		t.Helper()
		m := next(t, got, "/done")
		want := fmt.Sprintf(`{"state":"s-%s","task":{"id":%q,"status":%q,"status_endpoint":%q}}`, account, ask, status, s.URL()+"/access/v1/requests/"+ask)
		if string(m.body) != want {
			t.Errorf("called back with %s, want %s", m.body, want)
		}
	}

	ask := request("acme")
	if m := next(t, got, "/hook"); !strings.Contains(string(m.body), `"link":"`+s.URL()+"/asks/"+ask+`"`) {
		t.Errorf("the channel was told %s, want a link to the ask", m.body)
	}
	// A channel that nobody configured is dead, and an administrator has it tried again.
	type page struct {
		Items []notify.Delivery
	}
	dead := func() (ds []notify.Delivery) {
		t.Helper()
		for until := time.Now().Add(20 * time.Second); ; {
			var p page
			if s.into(s.do("GET", "/v1/deliveries?state=dead&ask="+ask, adminToken, ""), &p); len(p.Items) > 0 {
				return p.Items
			}
			if time.Now().After(until) {
				t.Fatal("no delivery is dead")
			}
		}
	}
	ds := dead()
	if len(ds) != 1 || ds[0].Channel != "lost" || ds[0].Error != "no channel of that id is configured" {
		t.Fatalf("dead are %+v, want the channel that nobody configured", ds)
	}
	if rep := s.do("POST", "/v1/deliveries/"+ds[0].ID+"/retry", adminToken, `{"why":"configured now"}`); rep.status != 200 {
		t.Errorf("retry: status %d: %s", rep.status, rep.body)
	}
	if rep := s.do("GET", "/v1/deliveries/"+ds[0].ID, adminToken, ""); rep.status != 200 {
		t.Errorf("one delivery: status %d: %s", rep.status, rep.body)
	}

	if rep := s.answer(people["anna"], ask, false, `,"comment":"not this one"`); rep.status != 200 {
		t.Fatalf("anna: status %d: %s", rep.status, rep.body)
	}
	calledBack(ask, "acme", "denied")

	known := request("globex")
	calledBack(known, "globex", "approved")
	if d := s.evaluate(payment("clerk", "globex", "900.0", s.approved(known))); !d.Decision {
		t.Errorf("what an evaluator approved: %+v", d)
	}

	var story struct {
		Steps []struct{ Kind, Actor string }
	}
	s.into(s.do("GET", "/v1/approvals/"+ask+"/story", adminToken, ""), &story)
	var kinds []string
	for _, step := range story.Steps {
		kinds = append(kinds, step.Kind+" by "+step.Actor)
	}
	for _, want := range []string{"approval.answered by person:anna", "approval.delivered by safeconduct", "approval.delivered by admin:admin"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("the story has no %q: %v", want, kinds)
		}
	}
}

// An enforcement point cannot have itself called back where that is not permitted to it.
func TestCallbackRefused(t *testing.T) {
	srv, _ := receiver(t, nil, nil)
	s := start(t, telling(t, srv.URL, srv.Certificate().Raw))
	for _, endpoint := range []string{srv.URL + "/elsewhere", "https://169.254.169.254/latest", "http://127.0.0.1/done", "https://example.com/"} {
		d := s.evaluate(payment("clerk", "acme", "900.0", ""))
		rep := s.ask("/access/v1/requests", fmt.Sprintf(`{"subject":{"type":"agent","id":"clerk"},"action":{"name":"pay","properties":{"amount":"900.0"}},"resource":{"type":"Account","id":"acme"},
			"callback":{"endpoint":%q},"denial":{"evaluation_id":%q,"expires_at":%q,"binding_token":%q}}`, endpoint, d.Context.EvaluationID, d.Context.AccessRequest.ExpiresAt, d.Context.AccessRequest.BindingToken))
		if rep.status != 400 && rep.status != 403 {
			t.Errorf("a callback to %s: status %d, want it refused: %s", endpoint, rep.status, rep.body)
		}
	}
}
