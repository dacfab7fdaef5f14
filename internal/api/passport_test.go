package api_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
)

// fixedPassports knows the token h.bot.s, of the agent bot that acts for scout, whose audience is
// https://shop.example and the service, and says how it was presented last.
type fixedPassports struct{ asked []authz.Presented }

var botPassport = authz.Passport{ID: "p1", Bound: "dpop", Depth: 1, Details: []authz.Detail{{Type: authz.DetailType, Identifier: "pay"}}}

// A complaint is an error that is a challenge.
type complaint struct{ code, nonce string }

func (c complaint) Error() string     { return "the passport does not count: " + c.code }
func (c complaint) Header() string    { return `DPoP error="` + c.code + `", algs="EdDSA ES256"` }
func (c complaint) DPoPNonce() string { return c.nonce }
func (c complaint) Unwrap() error     { return authz.ErrUnauthenticated }

func (f *fixedPassports) Passport(_ context.Context, p authz.Presented) (authz.Bearer, error) {
	f.asked = append(f.asked, p)
	switch {
	case p.Token == "h.down.s":
		return authz.Bearer{}, authz.Errorf(authz.ErrUnavailable, "the registry is too old")
	case p.Token != "h.bot.s" || p.Audience != "https://shop.example" && p.Audience != "https://pdp.example.com":
		return authz.Bearer{}, complaint{code: "invalid_token"}
	case p.OwnNonce && p.Scheme == "dpop" && p.Proof == "":
		return authz.Bearer{}, complaint{"use_dpop_nonce", "fresh"}
	}
	return authz.Bearer{Agent: "bot", OnBehalf: []authz.Ref{{Type: "agent", ID: "scout"}}, Passport: botPassport}, nil
}

func openWithPassports(t testing.TB) (*door, *fixedPassports) {
	f := new(fixedPassports)
	return openDoor(t, func(c *api.Config) { c.Passports = f }), f
}

const bare = `{"action":{"name":"pay"},"resource":{"type":"invoice","id":"1"}}`

func with(request, context string) string {
	return request[:len(request)-1] + `,"context":` + context + `}`
}

const presented = `{"token":"h.bot.s","proof":"p","method":"POST","url":"https://shop.example/pay","audience":"https://shop.example"}`

// The passport that an enforcement point forwards says who asks, and nothing else does.
func TestForwardedPassport(t *testing.T) {
	d, f := openWithPassports(t)
	r := d.post("/access/v1/evaluation", with(bare, `{"passport":{"present":true,"capabilities":["all"]},"observed":{"passport":`+presented+`,"ip":"192.0.2.7"},"on_behalf_of":[{"type":"user","id":"ann"},{"type":"agent","id":"scout"}]}`),
		"X-Request-ID", "r1")
	if r.StatusCode != 200 {
		t.Fatalf("status %d: %s", r.StatusCode, text(t, r))
	}
	want := authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}},
		OnBehalf: []authz.Ref{{Type: "agent", ID: "scout"}, {Type: "user", ID: "ann"}},
		Action:   authz.Action{Name: "pay"},
		Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}},
		Context:  authz.Claimed(`{"passport":{"present":true,"capabilities":["all"]}}`), // said, and not observed
		Observed: authz.Observed{PEP: "gateway", RequestID: "r1", Address: netip.MustParseAddr("192.0.2.7"), Passport: &botPassport},
	}
	if diff := cmp.Diff(want, d.last(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]authz.Presented{{Token: "h.bot.s", Proof: "p", Method: "POST", URL: "https://shop.example/pay", Audience: "https://shop.example"}}, f.asked); diff != "" {
		t.Errorf("presented (-want +got):\n%s", diff)
	}
	if r := d.post("/access/v1/evaluation", with(whole, `{"observed":{"passport":`+presented+`}}`)); r.StatusCode != 200 {
		t.Errorf("naming the same subject: status %d: %s", r.StatusCode, text(t, r))
	}
	if got := d.last().Observed.Passport; got == nil {
		t.Error("naming the same subject: no passport reached the PDP")
	}
	d.post("/access/v1/evaluation", with(whole, `{"passport":`+presented+`}`))
	if got := d.last().Observed.Passport; got != nil {
		t.Errorf("a passport that is claimed only became %+v", got)
	}
	d.post("/access/v1/search/resource", `{"action":{"name":"pay"},"resource":{"type":"invoice"},"context":{"observed":{"passport":`+presented+`}}}`)
	if got := d.last(); got.Subject.ID != "bot" || got.Observed.Passport == nil {
		t.Errorf("a search was about %+v, want bot and its passport", got)
	}
}

// What is wrong with a passport is a refusal with a reason, and never reaches the PDP.
func TestForwardedPassportRefused(t *testing.T) {
	d, _ := openWithPassports(t)
	for name, c := range map[string]struct {
		body   string
		status int
		says   string
	}{
		"another subject":   {with(strings.Replace(whole, `"bot"`, `"boss"`, 1), `{"observed":{"passport":`+presented+`}}`), 400, "is not the agent that the passport names"},
		"another type":      {with(strings.Replace(whole, `"agent"`, `"user"`, 1), `{"observed":{"passport":`+presented+`}}`), 400, "is not the agent that the passport names"},
		"no token":          {with(bare, `{"observed":{"passport":{"audience":"https://shop.example"}}}`), 400, "token is missing"},
		"no audience":       {with(bare, `{"observed":{"passport":{"token":"h.bot.s"}}}`), 400, "audience is missing"},
		"no url":            {with(bare, `{"observed":{"passport":{"token":"h.bot.s","proof":"p","method":"GET","audience":"https://shop.example"}}}`), 400, "needs the method and the url"},
		"unknown member":    {with(bare, `{"observed":{"passport":{"token":"h.bot.s","mood":1}}}`), 400, "mood"},
		"a text":            {with(bare, `{"observed":{"passport":"h.bot.s"}}`), 400, "must be a JSON object"},
		"nothing":           {with(bare, `{"observed":{"passport":null}}`), 400, "must be a JSON object"},
		"too large":         {with(bare, `{"observed":{"passport":{"token":"`+strings.Repeat("x", 9000)+`"}}}`), 400, "more than"},
		"foreign audience":  {with(bare, `{"observed":{"passport":{"token":"h.bot.s","audience":"https://other.example"}}}`), 200, "invalid_token"},
		"foreign token":     {with(bare, `{"observed":{"passport":{"token":"h.x.s","audience":"https://shop.example"}}}`), 200, "invalid_token"},
		"nobody can say":    {with(bare, `{"observed":{"passport":{"token":"h.down.s","audience":"https://shop.example"}}}`), 503, "too old"},
		"no subject at all": {bare, 400, "subject is missing"},
	} {
		r := d.post("/access/v1/evaluation", c.body)
		got := text(t, r)
		if r.StatusCode != c.status || !strings.Contains(got, c.says) || !strings.HasPrefix(got, `{"decision":false`) {
			t.Errorf("%s: status %d: %s, want %d, a refusal that says %q", name, r.StatusCode, got, c.status, c.says)
		}
		if c.status == 200 && !strings.Contains(got, `"code":"passport_invalid"`) {
			t.Errorf("%s: %s, want the code passport_invalid", name, got)
		}
	}
	if r := d.post("/access/v1/evaluation", with(bare, `{"observed":{"passport":`+presented+`}}`), "Authorization", "Bearer admin-token"); r.StatusCode != http.StatusForbidden {
		t.Errorf("from an administrator: status %d, want 403", r.StatusCode)
	}
	if r := d.post("/access/v1/search/subject", `{"subject":{"type":"agent"},"action":{"name":"pay"},"resource":{"type":"invoice","id":"1"},"context":{"observed":{"passport":`+presented+`}}}`); r.StatusCode != 400 {
		t.Errorf("a search for subjects: status %d, want 400", r.StatusCode)
	}
	if r := d.post("/access/v1/search/resource", `{"action":{"name":"pay"},"resource":{"type":"invoice"},"context":{"observed":{"passport":{"token":"h.x.s","audience":"https://shop.example"}}}}`); r.StatusCode != http.StatusForbidden {
		t.Errorf("a search with a foreign token: status %d, want 403", r.StatusCode)
	}
	plain := openDoor(t)
	if r := plain.post("/access/v1/evaluation", with(bare, `{"observed":{"passport":`+presented+`}}`)); r.StatusCode != 400 || !strings.Contains(text(t, r), "does not accept passports") {
		t.Errorf("where none are accepted: status %d, want 400", r.StatusCode)
	}
	if n := len(d.pdp.asked) + len(plain.pdp.asked); n > 0 {
		t.Errorf("the PDP was asked %d times", n)
	}
	if strings.Contains(d.log.String(), "h.x.s") {
		t.Error("the program's log holds a token")
	}
}

// In a batch a passport is verified once, and one that does not count refuses its items alone.
func TestForwardedPassportInBatch(t *testing.T) {
	d, f := openWithPassports(t)
	r := d.post("/access/v1/evaluations", `{"action":{"name":"pay"},"context":{"observed":{"passport":`+presented+`}},"evaluations":[
		{"resource":{"type":"invoice","id":"1"}},
		{"resource":{"type":"invoice","id":"2"},"subject":{"type":"agent","id":"boss"}},
		{"resource":{"type":"invoice","id":"3"},"context":{"observed":{"passport":{"token":"h.x.s","audience":"https://shop.example"}}}},
		{"resource":{"type":"invoice","id":"4"},"subject":{"type":"user","id":"ann"},"context":{}},
		{"resource":{"type":"invoice","id":"5"}}]}`)
	got := text(t, r)
	want := `{"evaluations":[
		{"decision":true,"context":{"evaluation_id":"d7","code":"allowed"}},
		{"decision":false,"context":{"code":"invalid_request","error":{"status":400,"message":"the subject is not the agent that the passport names: leave it out, or name the same"}}},
		{"decision":false,"context":{"code":"passport_invalid","error":{"status":401,"message":"the passport does not count: invalid_token"}}},
		{"decision":true,"context":{"evaluation_id":"d7","code":"allowed"}},
		{"decision":true,"context":{"evaluation_id":"d7","code":"allowed"}}]}`
	if r.StatusCode != 200 || !sameJSON(t, got, want) {
		t.Errorf("status %d: %s, want %s", r.StatusCode, got, want)
	}
	if n := len(f.asked); n != 2 {
		t.Errorf("passports were verified %d times, want twice: one that two items share, and a foreign one", n)
	}
	for _, q := range d.pdp.asked {
		if (q.Observed.Passport != nil) != (q.Subject.ID == "bot") {
			t.Errorf("%s was judged with the passport %+v", q.Subject, q.Observed.Passport)
		}
	}
	if r := d.post("/access/v1/evaluations", `{"action":{"name":"pay"},"evaluations":[{"resource":{"type":"invoice","id":"3"},"context":{"observed":{"passport":{"token":"h.down.s","audience":"a"}}}}]}`); r.StatusCode != 503 {
		t.Errorf("nobody can say: status %d, want 503", r.StatusCode)
	}
}

// An agent asks for itself with its own passport, and says nothing of what was observed.
func TestAgentAsksForItself(t *testing.T) {
	d, f := openWithPassports(t)
	dpop := []string{"Authorization", "DPoP h.bot.s", "DPoP", "proof", "X-Request-ID", "r1"}
	r := d.post("/access/v1/evaluation", with(bare, `{"confidence":0.5}`), dpop...)
	if r.StatusCode != 200 {
		t.Fatalf("status %d: %s", r.StatusCode, text(t, r))
	}
	want := authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}},
		OnBehalf: []authz.Ref{{Type: "agent", ID: "scout"}},
		Action:   authz.Action{Name: "pay"},
		Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}},
		Context:  authz.Claimed(`{"confidence":0.5}`),
		Observed: authz.Observed{PEP: "agent:bot", RequestID: "r1", Address: netip.MustParseAddr("192.0.2.1"), Method: "dpop", Passport: &botPassport},
	}
	if diff := cmp.Diff(want, d.last(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]authz.Presented{{Token: "h.bot.s", Scheme: "dpop", Proof: "proof", Method: "POST", URL: "https://pdp.example.com/access/v1/evaluation",
		Audience: "https://pdp.example.com", OwnNonce: true}}, f.asked); diff != "" {
		t.Errorf("presented (-want +got):\n%s", diff)
	}
	status := func(want int, body string, headers ...string) *http.Response {
		t.Helper()
		r := d.post("/access/v1/evaluation", body, headers...)
		if r.StatusCode != want {
			t.Errorf("%v %s: status %d, want %d: %s", headers, body, r.StatusCode, want, text(t, r))
		}
		return r
	}
	status(200, whole, dpop...) // which names itself
	status(400, strings.Replace(whole, `"bot"`, `"boss"`, 1), dpop...)
	status(403, with(bare, `{"observed":{}}`), dpop...)
	status(403, with(bare, `{"observed":{"passport":`+presented+`}}`), dpop...)
	status(403, with(bare, `{"on_behalf_of":[{"type":"user","id":"ann"}]}`), dpop...)

	r = status(401, bare, "Authorization", "DPoP h.bot.s")
	if got, nonce := r.Header.Get("WWW-Authenticate"), r.Header.Get("DPoP-Nonce"); got != `DPoP error="use_dpop_nonce", algs="EdDSA ES256"` || nonce != "fresh" {
		t.Errorf("without a nonce: WWW-Authenticate %q, DPoP-Nonce %q", got, nonce)
	}
	r = status(401, bare, "Authorization", "DPoP h.x.s", "DPoP", "proof")
	if got, nonce := r.Header.Get("WWW-Authenticate"), r.Header.Get("DPoP-Nonce"); got != `DPoP error="invalid_token", algs="EdDSA ES256"` || nonce != "" {
		t.Errorf("with a foreign token: WWW-Authenticate %q, DPoP-Nonce %q", got, nonce)
	}
	status(401, bare, "Authorization", "DPoP pep-token")
	status(401, bare, "Authorization", "DPoP "+strings.Repeat("x", 9000))
	status(503, bare, "Authorization", "DPoP h.down.s", "DPoP", "proof")
	r = d.post("/access/v1/evaluations", `{"evaluations":[`+bare+`,`+strings.Replace(whole, `"bot"`, `"boss"`, 1)+`]}`, dpop...)
	if got := text(t, r); r.StatusCode != 200 || !strings.HasPrefix(got, `{"evaluations":[{"decision":true`) || !strings.Contains(got, `{"decision":false`) {
		t.Errorf("a batch: status %d: %s", r.StatusCode, got)
	}
	// Nothing else is open to agents.
	for _, path := range []string{"/access/v1/search/action", "/v1/policies/check"} {
		if r := d.post(path, `{}`, dpop...); r.StatusCode != 401 {
			t.Errorf("%s: status %d, want 401", path, r.StatusCode)
		}
	}
	plain := openDoor(t)
	if r := plain.post("/access/v1/evaluation", bare, dpop...); r.StatusCode != 401 || !strings.Contains(text(t, r), "does not accept passports") {
		t.Errorf("where no passports are accepted: status %d, want 401", r.StatusCode)
	}
}

// A passport that is bound to a certificate is presented as a bearer token, over a connection that
// the certificate is of.
func TestAgentWithCertificate(t *testing.T) {
	d, f := openWithPassports(t)
	send := func(proofs ...string) int {
		r := httptest.NewRequest("POST", "/access/v1/evaluation", strings.NewReader(bare))
		r.Header.Set("Authorization", "Bearer h.bot.s")
		r.Header.Set("Content-Type", "application/json")
		r.Header["Dpop"] = proofs
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("certificate")}}}
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, r)
		return w.Code
	}
	if got := send(); got != 200 {
		t.Fatalf("status %d, want 200", got)
	}
	sum := sha256.Sum256([]byte("certificate"))
	want := authz.Presented{Token: "h.bot.s", Scheme: "bearer", Method: "POST", URL: "https://pdp.example.com/access/v1/evaluation",
		Audience: "https://pdp.example.com", Certificate: base64.RawURLEncoding.EncodeToString(sum[:]), OwnNonce: true}
	if diff := cmp.Diff(want, f.asked[0]); diff != "" {
		t.Errorf("presented (-want +got):\n%s", diff)
	}
	if got := send("a", "b"); got != 401 || len(f.asked) != 1 {
		t.Errorf("with two proofs: status %d, want 401", got)
	}
}
