package oauth_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

const (
	grantCIBA = "urn:openid:params:grant-type:ciba"
	annaSays  = "urn:example:person"
)

// officeCatalog is the house's, with levels of assurance and bounds of asking.
const officeCatalog = houseCatalog + `
approvals:
  asks: {hour: 20, pending: 5}
assurance:
  person: {acr: urn:example:person, amr: [mfa, pop], person: true, max_age: 2m}
  somebody: {acr: urn:example:somebody, person: true}
  attested: {acr: urn:example:attested, methods: [spiffe_jwt]}
  keyed: {acr: urn:example:keyed, methods: [private_key_jwt], bound: [dpop]}
`

// An office is a house with persons who can be asked.
type office struct {
	*house
	mu     sync.Mutex
	asks   map[string]*oauth.Consent
	people map[string]int64 // to the entry that changed them; negative: may not sign in
	busy   authz.Asks
	told   chan told
}

// A told is a ping as the client sees it.
type told struct{ method, path, authorization, contentType, body string }

// newOffice builds an installation of n replicas with persons. Its agent teller is told by pings.
func newOffice(t *testing.T, n int, edit func(*oauth.Config)) *office {
	t.Helper()
	o := &office{house: newHouse(t, 0, nil), asks: map[string]*oauth.Consent{}, people: map[string]int64{"anna": 1, "bert": 2}, told: make(chan told, 8)}
	cat, err := catalog.Parse("catalog.yaml", []byte(officeCatalog))
	if err != nil {
		t.Fatal(err)
	}
	o.catalog = cat
	client := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
		o.told <- told{r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)}
	}))
	t.Cleanup(client.Close)
	for range n {
		o.replica(func(c *oauth.Config) {
			c.Desk, c.People = o, o
			c.Clients.Pings, c.Clients.Post = map[authz.AgentID]string{"teller": client.URL + "/told"}, outbound.New(outbound.Config{AllowPrivate: true})
			if edit != nil {
				edit(c)
			}
		})
	}
	return o
}

func (o *office) Ask(_ context.Context, c *oauth.Consent) (string, time.Time, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id, kept := "arq_"+rand.Text(), *c
	kept.Status = oauth.ConsentPending
	o.asks[id] = &kept
	return id, c.Expires, nil
}

func (o *office) Consent(_ context.Context, id string) (*oauth.Consent, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.asks[id]; c != nil {
		out := *c
		return &out, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no ask %q", id)
}

func (o *office) Asks(authz.AgentID, string, time.Time) authz.Asks {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.busy
}

func (o *office) Hinted(hint string) (string, error) {
	if hint == "anna@example.com" {
		hint = "anna"
	}
	if _, active := o.Epoch(hint); !active {
		return "", authz.Errorf(authz.ErrNotFound, "nobody")
	}
	return hint, nil
}

// Epoch is that of persons: the house's own is that of agents.
func (o *office) Epoch(id string) (int64, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, ok := o.people[id]
	return max(n, -n), ok && n > 0
}

// answer answers an ask as a person, by a passkey, and records it.
func (o *office) answer(id string, edit func(*oauth.Consent)) {
	o.t.Helper()
	now := o.Now()
	o.mu.Lock()
	c := *o.asks[id]
	c.Status, c.AnsweredAt, c.AMR = oauth.ConsentApproved, now, oauth.PasskeyAMR
	if edit != nil {
		edit(&c)
	}
	o.asks[id] = &c
	o.mu.Unlock()
	o.record(audit.Draft{Kind: audit.ApprovalAnswer, Actor: "person:" + c.Person, Body: fmt.Appendf(nil, `{"ask":%q}`, id)})
}

// revoke takes an approval back.
func (o *office) revoke(id string) {
	o.t.Helper()
	o.record(audit.Draft{Kind: audit.ApprovalMoved, Actor: "person:anna", Body: fmt.Appendf(nil, `{"ask":%q,"to":"revoked"}`, id)})
}

func (o *office) record(d audit.Draft) {
	o.t.Helper()
	if _, err := o.replicas[0].CommitAll(o.t.Context(), d); err != nil {
		o.t.Fatal(err)
	}
	o.settle()
}

// inquire asks a person.
func (m *member) inquire(r *replica, pairs ...string) *outcome {
	m.h.t.Helper()
	return r.post("/oauth2/bc-authorize", m.form(pairs...))
}

// asked asks a person and returns the auth_req_id.
func (m *member) asked(r *replica, pairs ...string) string {
	m.h.t.Helper()
	out := m.inquire(r, append([]string{"login_hint", "anna"}, pairs...)...)
	id, _ := out.Members["auth_req_id"].(string)
	if out.Status != 200 || id == "" {
		m.h.t.Fatalf("asking %q: %d %s", pairs, out.Status, out.Body)
	}
	return id
}

// redeem polls.
func (m *member) redeem(r *replica, id string, pairs ...string) *outcome {
	m.h.t.Helper()
	return m.ask(r, append([]string{"grant_type", grantCIBA, "auth_req_id", id}, pairs...)...)
}

// agentsOf returns the agents among those for whom somebody acts: the judge of a house knows grants only.
func agentsOf(refs []authz.Ref) []authz.Ref {
	return slices.DeleteFunc(slices.Clone(refs), func(r authz.Ref) bool { return r.Type != authz.AgentType })
}
