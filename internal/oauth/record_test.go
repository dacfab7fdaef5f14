package oauth_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

// The hand-written form of a record is the one that encoding/json reads and writes, and what every
// process reads of it is in it.
func TestIssuedForm(t *testing.T) {
	text := rapid.StringMatching(`[ -~äöü€"\\\n\t]{0,12}`)
	list := rapid.SliceOfN(text, 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		id := func() string { return rapid.StringMatching(`AAAAAAAB[A-Za-z0-9_-]{16}`).Draw(t, "id") }
		when := rapid.Int64Range(0, 4e9)
		i := &oauth.Issued{
			ID: id(), IssuedAt: when.Draw(t, "iat"), Expires: when.Draw(t, "exp"), Ancestors: []string{}, Uses: []oauth.RecordedUse{},
			Address: rapid.SampledFrom([]string{"", "192.0.2.1", "2001:db8::1"}).Draw(t, "ip"), Method: rapid.SampledFrom([]string{"", "private_key_jwt", "other"}).Draw(t, "method"),
			AuthReqID: rapid.SampledFrom([]string{"", "arq_m2zk5j3oq7wbxt4cdyvael6nui"}).Draw(t, "ask"), AMR: list.Draw(t, "amr"),
			Grant: rapid.SampledFrom([]string{"client_credentials", "x"}).Draw(t, "grant"), ClientID: text.Draw(t, "client"), Key: text.Draw(t, "key"), Subject: text.Draw(t, "sub"),
			Actors: list.Draw(t, "actors"), MayAct: text.Draw(t, "may_act"), Audience: list.Draw(t, "aud"), Scope: list.Draw(t, "scope"),
			ACR: text.Draw(t, "acr"), AuthTime: when.Draw(t, "auth_time"), Txn: text.Draw(t, "txn"), Signer: text.Draw(t, "kid"), Digest: text.Draw(t, "digest"), Parent: text.Draw(t, "parent"),
			Bound: token.Confirmation{JKT: text.Draw(t, "jkt"), X5TS256: text.Draw(t, "x5t")}, Decisions: rapid.IntRange(0, 100).Draw(t, "decisions"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "ancestors") {
			i.Ancestors = append(i.Ancestors, id())
		}
		for range rapid.IntRange(0, 2).Draw(t, "uses") {
			i.Uses = append(i.Uses, oauth.RecordedUse{Hash: rapid.StringMatching(`[A-Za-z0-9_-]{21}[AQgw]`).Draw(t, "hash"), Until: when.Draw(t, "until")})
		}
		if rapid.Bool().Draw(t, "detailed") {
			i.Details = []authz.Detail{{Type: "capability", Identifier: text.Draw(t, "identifier"), Limits: &authz.Limits{Class: "public", Regions: []string{"CH"}}}}
			i.Refused = []oauth.Refusal{{Identifier: text.Draw(t, "refused"), Code: "forbidden", Message: text.Draw(t, "message")}}
		}
		body := i.Append(nil)
		if !json.Valid(body) {
			t.Fatalf("not JSON: %s", body)
		}
		got, err := oauth.ParseIssued(body)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(i, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("(-written +read):\n%s", d)
		}
		if !oauth.ReadsHead(body) {
			t.Fatalf("the head of %s cannot be read", body)
		}
	})
}

// Entries that this program would not write are refused, and change nothing.
func TestApplyRefuses(t *testing.T) {
	h := newHouse(t, 1, nil)
	s := h.replicas[0].server
	for i, e := range []audit.Entry{
		{Kind: audit.TokenIssued, Body: json.RawMessage(`{}`)},
		{Kind: audit.TokenIssued, Body: json.RawMessage(`{"uses":[],"jti":"x"}`)},
		{Kind: audit.TokenIssued, Body: json.RawMessage(`{"uses":[{"hash":"AAAAAAAAAAAAAAAAAAAAAA","until":-1}],"jti":"AAAAAAABAAAAAAAAAAAAAAAA"`)},
		{Kind: audit.TokenRevoked, Body: json.RawMessage(`[]`)},
		{Kind: audit.TokenRevoked, Body: json.RawMessage(`{"jti":"x"}`)},
	} {
		e.Seq, e.At = int64(i)+1, h.Now()
		if err := s.Apply(t.Context(), e); err == nil {
			t.Errorf("%s %s is taken", e.Kind, e.Body)
		}
	}
	if k := s.Kept(); k != (oauth.Kept{}) {
		t.Errorf("kept %+v", k)
	}
}

// Entries that are seen again change nothing, and say nothing.
func TestApplyAgain(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	m := h.member("alice", "read-mail")
	m.token(r)
	r.post("/oauth2/revoke", m.form("token", m.token(r).Token))
	before := r.server.Kept()
	for _, e := range h.entries() {
		if err := r.server.Apply(t.Context(), e); err != nil {
			t.Errorf("%s again: %v", e.Kind, err)
		}
	}
	if after := r.server.Kept(); after != before {
		t.Errorf("kept %+v, before %+v", after, before)
	}
}

func FuzzForm(f *testing.F) {
	for _, s := range []string{"", "a=b", "grant_type=client_credentials&scope=a+b", "a=1&a=2", "resource=x&resource=y", "%61=b", "a=%zz", "a", "&&", "a=%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		form, err := oauth.ParseForm(body)
		if err != nil {
			return
		}
		for name, values := range form {
			if name == "" || len(values) == 0 || len(values) > 1 && name != "resource" && name != "audience" {
				t.Errorf("%q: parameter %q has the values %q", body, name, values)
			}
		}
		again, err := oauth.ParseForm(form.Encode())
		if err != nil {
			t.Fatalf("%q is read, and not when it is written again: %v", body, err)
		}
		if d := cmp.Diff(form, again); d != "" {
			t.Errorf("%q (-first +again):\n%s", body, d)
		}
	})
}

func FuzzHead(f *testing.F) {
	f.Add([]byte(`{"uses":[{"hash":"qXIJ7ny9zf4UMYHoj9mBRw","until":1795600860}],"jti":"AAAAAAABib9x59h_coS-EPTD","iat":1,"exp":2,"ancestors":["AAAAAAABvsjTIcM_z-z04iTz"],"ip":"192.0.2.7","method":"private_key_jwt","grant":"client_credentials","client_id":"b"}`))
	f.Add([]byte(`{"uses":[],"jti":"AAAAAAABib9x59h_coS-EPTD","iat":1,"exp":2,"ancestors":[],"grant":"x"}`))
	f.Add([]byte(`{"uses":[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if !oauth.ReadsHead(body) {
			return
		}
		for n := range bytes.Index(body, []byte(`,"grant":"`)) + len(`,"grant":"`) { // the head may hold it twice, but not earlier
			if oauth.ReadsHead(body[:n]) {
				t.Errorf("%q is read, and so are its first %d bytes", body, n)
			}
		}
	})
}

// Whatever authorization_details say, what comes out is within what is held.
func FuzzAsk(f *testing.F) {
	for _, s := range []string{
		`[{"type":"capability","identifier":"pay"}]`, `[{"type":"capability","identifier":"pay","limits":{"amount":{"amount":"5"}}}]`,
		`[{"type":"capability","identifier":"pay","limits":{"amount":{"amount":"5e9"}}}]`, `[{"type":"capability","identifier":"pay","actions":["x"],"locations":["y"]}]`, `[]`, `{`,
	} {
		f.Add("read-mail", s)
		f.Add("", s)
	}
	cat := newHouse(f, 0, nil).catalog
	limits := &authz.Limits{Class: "internal", Amount: map[string]string{"amount": "20"}, Regions: []string{"CH"}}
	held := []authz.Detail{
		{Type: "capability", Identifier: "pay", Actions: []string{"pay"}, Limits: limits},
		{Type: "capability", Identifier: "read-mail"},
	}
	f.Fuzz(func(t *testing.T, scope, details string) {
		got, err := oauth.Ask(scope, details, held, cat)
		if err != nil {
			return
		}
		for _, d := range got {
			if err := oauth.WithinHeld(&d, held); err != nil {
				t.Errorf("Ask(%q, %q) = %+v: %v", scope, details, d, err)
			}
		}
	})
}

// A state that is pruned by the times of entries is the same wherever they are applied.
func TestPruning(t *testing.T) {
	h := newHouse(t, 2, nil)
	m := h.member("alice", "read-mail")
	for range 5 {
		m.token(h.replicas[0])
		h.advance(3 * time.Minute)
	}
	h.settle()
	if a, b := h.replicas[0].server.Kept(), h.replicas[1].server.Kept(); a != b || a.Used > 2 {
		t.Errorf("kept %+v and %+v", a, b)
	}
}
