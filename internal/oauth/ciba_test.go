package oauth_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

const payFifty = `[{"type":"capability","identifier":"pay","limits":{"amount":{"amount":"50"}}}]`

// The whole way: asked, waited for, answered, redeemed.
func TestCIBA(t *testing.T) {
	o := newOffice(t, 1, nil)
	r := o.replicas[0]
	teller := o.member("teller", "pay", "read-mail")

	out := teller.inquire(r, "login_hint", "anna@example.com", "scope", "openid read-mail", "authorization_details", payFifty, "binding_message", "W4-SCT",
		"acr_values", annaSays, "requested_expiry", "120", "resource", mailServer)
	want := map[string]any{"auth_req_id": out.Members["auth_req_id"], "expires_in": 120.0, "interval": 5.0}
	if d := cmp.Diff(want, out.Members); out.Status != 200 || d != "" {
		t.Fatalf("acknowledgement %d (-want +got):\n%s", out.Status, d)
	}
	if out.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v, want no-store", out.Header)
	}
	id := out.Members["auth_req_id"].(string)
	pay := authz.Detail{Type: "capability", Identifier: "pay",
		Limits: &authz.Limits{Class: "confidential", Amount: map[string]string{"amount": "50"}, Regions: []string{"CH", "DE"}}}
	mail := authz.Detail{Type: "capability", Identifier: "read-mail"}
	asked := &oauth.Consent{Agent: "teller", Person: "anna", Message: "W4-SCT", Details: []authz.Detail{pay, mail}, Passkey: true, Status: oauth.ConsentPending,
		Terms: oauth.Terms{ClientID: "teller", Audience: []string{mailServer}, ACR: []string{annaSays}, OpenID: true}, Expires: o.Now().Add(2 * time.Minute)}
	if d := cmp.Diff(asked, o.asks[id]); d != "" {
		t.Errorf("anna was asked (-want +got):\n%s", d)
	}

	wantError(t, "not answered", teller.redeem(r, id), 400, "authorization_pending")
	o.advance(5 * time.Second)
	wantError(t, "not answered after the interval", teller.redeem(r, id), 400, "authorization_pending")
	o.advance(time.Second)
	wantError(t, "polled too soon", teller.redeem(r, id), 400, "slow_down")
	o.advance(6 * time.Second)
	wantError(t, "polled too soon after slow_down", teller.redeem(r, id), 400, "slow_down")

	o.answer(id, nil)
	got := teller.redeem(r, id)
	if got.Status != 200 || got.Type != "DPoP" || got.Scope != "pay read-mail" {
		t.Fatalf("answer = %d %s", got.Status, got.Body)
	}
	p := o.claims(got.Token)
	wantToken := &token.Passport{
		Issuer: houseIssuer, Subject: "user:anna", ClientID: "teller", Audience: []string{mailServer}, ID: p.ID, IssuedAt: p.IssuedAt, NotBefore: p.IssuedAt,
		Expires: p.IssuedAt.Add(5 * time.Minute), AuthTime: p.IssuedAt, Scope: []string{"pay", "read-mail"}, Details: []authz.Detail{pay, mail}, ACR: annaSays,
		AMR: []string{"mfa", "pop", "user"}, Actor: &token.Actor{Subject: "teller"}, Confirmation: token.Confirmation{JKT: teller.proof.Key().ID}, Status: p.Status, Conduct: p.Conduct,
	}
	if d := cmp.Diff(wantToken, p); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
	if p.Conduct == nil || p.Conduct.Level != "medium" {
		t.Errorf("conduct = %+v, want it to tell the trust", p.Conduct)
	}

	var idToken struct {
		Iss, Sub, Aud, ACR string
		AMR                []string
		Exp, AuthTime      int64
		Ask                string `json:"urn:openid:params:jwt:claim:auth_req_id"`
	}
	text, _ := got.Members["id_token"].(string)
	jws, err := token.Parse(text)
	if err != nil || jws.Type != "JWT" || jws.Verify(o.eddsa.Key()) != nil || json.Unmarshal(jws.Payload, &idToken) != nil {
		t.Fatalf("id_token %q: %v", text, err)
	}
	if idToken.Iss != houseIssuer || idToken.Sub != "user:anna" || idToken.Aud != "teller" || idToken.ACR != annaSays || idToken.Exp != p.Expires.Unix() || idToken.Ask != id {
		t.Errorf("id_token = %s", jws.Payload)
	}
	if _, err := r.server.Passport(t.Context(), teller.present(text)); err == nil {
		t.Error("the ID token is taken for an access token")
	}

	// Recorded, judged for both, and good at the decision point.
	rec, err := oauth.ParseIssued(o.of(audit.TokenIssued)[0].Body)
	if err != nil || rec.AuthReqID != id || rec.Subject != "user:anna" || !cmp.Equal(rec.Actors, []string{"teller"}) || !cmp.Equal(rec.AMR, p.AMR) || len(rec.Uses) != 2 {
		t.Errorf("recorded %+v, %v", rec, err)
	}
	last := o.requests[len(o.requests)-1]
	auth := authz.Authentication{ACR: annaSays, AMR: p.AMR, Method: "private_key_jwt", Bound: "dpop", At: p.AuthTime, Person: "anna"}
	if last.Subject.ID != "teller" || !cmp.Equal(last.OnBehalf, []authz.Ref{{Type: "user", ID: "anna"}}) || !cmp.Equal(last.Observed.Passport.Auth, auth) {
		t.Errorf("the judge was asked %+v, authentication %+v", last, last.Observed.Passport.Auth)
	}
	b, err := r.server.Passport(t.Context(), teller.present(got.Token))
	if err != nil || b.Agent != "teller" || !cmp.Equal(b.OnBehalf, []authz.Ref{{Type: "user", ID: "anna"}}) || !cmp.Equal(b.Passport.Auth, auth) || b.Passport.Depth != 0 {
		t.Errorf("bearer = %+v, %v", b, err)
	}
	if in := r.introspect(got.Token); !in.Active || in.Members["sub"] != "user:anna" || in.Members["acr"] != annaSays {
		t.Errorf("introspection = %s", in.Body)
	}
	// The level is one of two minutes: then the token tells trust, and counts still.
	o.advance(3 * time.Minute)
	if in := r.introspect(got.Token); !in.Active || in.Members["acr"] != "urn:safeconduct:trust:medium" {
		t.Errorf("introspection after three minutes = %s", in.Body)
	}
	wantError(t, "redeemed again", teller.redeem(r, id), 400, "invalid_grant")
}

// What a person authorized is redeemed once in the installation.
func TestCIBARedeemedOnce(t *testing.T) {
	o := newOffice(t, 3, nil)
	teller := o.member("teller", "pay")
	id := teller.asked(o.replicas[0], "scope", "pay")
	o.answer(id, nil)
	var mu sync.Mutex
	got := map[string]int{}
	var g errgroup.Group
	for i := range 12 {
		m := &member{h: o.house, id: teller.id, key: teller.key, proof: teller.proof, nonce: map[*replica]string{}}
		g.Go(func() error {
			out := m.redeem(o.replicas[i%3], id)
			mu.Lock()
			defer mu.Unlock()
			got[strconv.Itoa(out.Status)+" "+out.Error]++
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"200 ": 1, "400 invalid_grant": 11}; !cmp.Equal(got, want) {
		t.Errorf("twelve at once: %v, want %v", got, want)
	}
}

// What becomes of the ask at the desk gives no second token: neither an answer that is said to have come
// later, nor any replica.
func TestCIBARedeemedOnceHoweverItStands(t *testing.T) {
	o := newOffice(t, 2, nil)
	teller := o.member("teller", "pay", "read-mail")
	id := teller.asked(o.replicas[0], "scope", "pay read-mail", "requested_expiry", "600")
	o.answer(id, func(c *oauth.Consent) { c.Details = c.Details[:1] })
	if out := teller.redeem(o.replicas[0], id); out.Status != 200 || out.Scope != "pay" {
		t.Fatalf("redeeming: %d %s", out.Status, out.Body)
	}
	o.settle()
	for range 5 {
		o.advance(2 * time.Minute)
		o.answer(id, nil)
		for _, r := range o.replicas {
			wantError(t, "redeemed again", teller.redeem(r, id), 400, "invalid_grant")
		}
	}
	// Five minutes after its end it is over, whenever it is said to have been answered.
	o.advance(5 * time.Minute)
	o.answer(id, nil)
	wantError(t, "after its end", teller.redeem(o.replicas[1], id), 400, "expired_token")
	if n := len(o.of(audit.TokenIssued)); n != 1 {
		t.Errorf("%d tokens were issued, want 1", n)
	}
}

// Whoever starts knows what was redeemed from the minutes of the log that it reads again.
func TestCIBARedeemedOnceAcrossRestart(t *testing.T) {
	o := newOffice(t, 1, nil)
	teller := o.member("teller", "pay")
	id := teller.asked(o.replicas[0], "scope", "pay")
	o.answer(id, nil)
	if out := teller.redeem(o.replicas[0], id); out.Status != 200 {
		t.Fatalf("redeeming: %d %s", out.Status, out.Body)
	}
	again := o.replica(func(c *oauth.Config) { c.Desk, c.People = o, o })
	o.settle()
	wantError(t, "redeemed again after a restart", teller.redeem(again, id), 400, "invalid_grant")
}

func TestCIBAAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(*oauth.Consent)
		after  time.Duration
		code   string
	}{
		{"refused", func(c *oauth.Consent) { c.Status = oauth.ConsentRefused }, 0, "access_denied"},
		{"expired at the desk", func(c *oauth.Consent) { c.Status = oauth.ConsentExpired }, 0, "expired_token"},
		{"nothing granted", func(c *oauth.Consent) { c.Details = nil }, 0, "access_denied"},
		{"not used in time", nil, 5 * time.Minute, "expired_token"},
		{"authorization over", func(c *oauth.Consent) { c.Until = c.AnsweredAt.Add(time.Second) }, time.Second, "expired_token"},
		{"level not reached without a passkey", func(c *oauth.Consent) { c.AMR = nil }, 0, "unmet_authentication_requirements"},
		{"level not reached any more", nil, 3 * time.Minute, "unmet_authentication_requirements"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOffice(t, 1, nil)
			teller := o.member("teller", "pay")
			id := teller.asked(o.replicas[0], "scope", "pay", "acr_values", annaSays)
			o.answer(id, c.answer)
			o.advance(c.after)
			wantError(t, c.name, teller.redeem(o.replicas[0], id), 400, c.code)
			if n := len(o.of(audit.TokenIssued)); n > 0 {
				t.Errorf("%d tokens were recorded", n)
			}
		})
	}
	o := newOffice(t, 1, nil)
	teller, filer := o.member("teller", "pay"), o.member("filer", "pay")
	id := teller.asked(o.replicas[0], "scope", "pay")
	wantError(t, "another client's", filer.redeem(o.replicas[0], id), 400, "invalid_grant")
	wantError(t, "unknown", teller.redeem(o.replicas[0], "arq_"+strings.Repeat("A", 26)), 400, "invalid_grant")
	wantError(t, "missing", teller.ask(o.replicas[0], "grant_type", grantCIBA), 400, "invalid_request")
	wantError(t, "with a scope", teller.redeem(o.replicas[0], id, "scope", "pay"), 400, "invalid_request")
	o.advance(time.Hour)
	wantError(t, "nobody answered", teller.redeem(o.replicas[0], id), 400, "expired_token")
}

// A yes to a part is a token for the part, and one without a passkey reaches what needs no person.
func TestCIBAPartial(t *testing.T) {
	o := newOffice(t, 1, nil)
	teller := o.member("teller", "pay", "read-mail")
	id := teller.asked(o.replicas[0], "scope", "pay read-mail")
	o.answer(id, func(c *oauth.Consent) {
		c.Details, c.AMR, c.Until = c.Details[:1], nil, c.AnsweredAt.Add(time.Minute)
	})
	o.advance(59 * time.Second)
	out := teller.redeem(o.replicas[0], id)
	p := o.claims(out.Token)
	if out.Scope != "pay" || p.ACR != "urn:example:keyed" || p.AMR != nil || !p.AuthTime.IsZero() || out.ExpiresIn != 299 || out.Members["id_token"] != nil {
		t.Errorf("answer %s, claims %+v", out.Body, p)
	}
	if in := o.replicas[0].introspect(out.Token); !in.Active {
		t.Errorf("introspection = %s", in.Body)
	}
}

func TestCIBAInquiries(t *testing.T) {
	o := newOffice(t, 1, nil)
	r := o.replicas[0]
	teller := o.member("teller", "pay", "read-mail")
	anna := []string{"login_hint", "anna", "scope", "pay"}
	for _, c := range []struct {
		name   string
		pairs  []string
		status int
		code   string
	}{
		{"no hint", []string{"scope", "pay"}, 400, "invalid_request"},
		{"two hints", append(anna, "id_token_hint", "x"), 400, "invalid_request"},
		{"hint token", []string{"login_hint_token", "x", "scope", "pay"}, 400, "invalid_request"},
		{"foreign ID token", []string{"id_token_hint", teller.assertion(), "scope", "pay"}, 400, "invalid_request"},
		{"unknown person", []string{"login_hint", "carl", "scope", "pay"}, 400, "unknown_user_id"},
		{"endless hint", []string{"login_hint", strings.Repeat("a", 300), "scope", "pay"}, 400, "unknown_user_id"},
		{"nothing wanted", []string{"login_hint", "anna"}, 400, "invalid_scope"},
		{"openid only", []string{"login_hint", "anna", "scope", "openid"}, 400, "invalid_scope"},
		{"not granted", []string{"login_hint", "anna", "scope", "respond"}, 400, "invalid_scope"},
		{"beyond the catalog", []string{"login_hint", "anna", "authorization_details", strings.ReplaceAll(payFifty, "50", "5000")}, 400, "invalid_authorization_details"},
		{"unknown resource", append(anna, "resource", "https://other.example"), 400, "invalid_target"},
		{"message of two lines", append(anna, "binding_message", "a\nb"), 400, "invalid_binding_message"},
		{"message that turns around", append(anna, "binding_message", "pay \u202e001"), 400, "invalid_binding_message"},
		{"invisible message", append(anna, "binding_message", "pay\u200b"), 400, "invalid_binding_message"},
		{"Hangul filler", append(anna, "binding_message", "pay\u31641"), 400, "invalid_binding_message"},
		{"blank Braille", append(anna, "binding_message", "pay\u28001"), 400, "invalid_binding_message"},
		{"variation selector", append(anna, "binding_message", "pay\ufe0f"), 400, "invalid_binding_message"},
		{"no-break space", append(anna, "binding_message", "pay\u00a01"), 400, "invalid_binding_message"},
		{"long message", append(anna, "binding_message", strings.Repeat("a", 129)), 400, "invalid_binding_message"},
		{"no expiry", append(anna, "requested_expiry", "0"), 400, "invalid_request"},
		{"expiry no number", append(anna, "requested_expiry", "1.5"), 400, "invalid_request"},
		{"oneself may act", append(anna, "may_act", "teller"), 400, "invalid_request"},
		{"unknown level", append(anna, "acr_values", "urn:example:none"), 400, "unmet_authentication_requirements"},
		{"level that the client does not reach", append(anna, "acr_values", "urn:example:attested"), 400, "unmet_authentication_requirements"},
		{"levels without end", append(anna, "acr_values", strings.Repeat("a ", 9)+"a"), 400, "invalid_request"},
		{"short notification token", append(anna, "client_notification_token", "abc"), 400, "invalid_request"},
		{"notification token of other characters", append(anna, "client_notification_token", strings.Repeat("ab ", 10)), 400, "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) { wantError(t, c.name, teller.inquire(r, c.pairs...), c.status, c.code) })
	}
	if len(o.asks) > 0 {
		t.Errorf("%d persons were asked", len(o.asks))
	}

	for acr, want := range map[string]bool{annaSays: true, "urn:example:somebody": true, "urn:example:keyed": false, "urn:example:none urn:example:keyed " + annaSays: false} {
		id := teller.asked(r, "scope", "pay", "acr_values", acr)
		if o.asks[id].Passkey != want {
			t.Errorf("acr_values %q: passkey demanded = %t, want %t", acr, !want, want)
		}
	}
	form := teller.form(anna...)
	if out := r.post("/oauth2/bc-authorize", form); out.Status != 200 {
		t.Fatalf("first: %d %s", out.Status, out.Body)
	}
	wantError(t, "the assertion again", r.post("/oauth2/bc-authorize", form), 401, "invalid_client")
	form.Del("client_assertion")
	wantError(t, "no client", r.post("/oauth2/bc-authorize", form), 401, "invalid_client")

	o.set(func() { o.refuse = func(authz.Request, time.Time) string { return "not today" } })
	asked := len(o.asks)
	out := teller.inquire(r, "login_hint", "bert", "scope", "pay")
	wantError(t, "refused by policy", out, 403, "access_denied")
	if len(out.Refused) != 1 || len(o.asks) != asked {
		t.Errorf("refused %v; a person was asked what policy refuses", out.Refused)
	}
	o.set(func() {
		o.refuse = func(req authz.Request, _ time.Time) string {
			return map[string]string{"pay": "no money"}[req.Resource.ID]
		}
	})
	out = teller.inquire(r, "login_hint", "bert", "scope", "pay read-mail")
	if id, _ := out.Members["auth_req_id"].(string); out.Status != 200 || len(out.Refused) != 1 || len(o.asks[id].Details) != 1 {
		t.Errorf("a part refused by policy: %d %s", out.Status, out.Body)
	}
	o.set(func() { o.refuse = nil })
	o.mu.Lock()
	o.busy = authz.Asks{Pending: 5}
	o.mu.Unlock()
	wantError(t, "too much asked", teller.inquire(r, "login_hint", "bert", "scope", "pay"), 403, "access_denied")

	wantError(t, "nobody to ask", newHouse(t, 1, nil).member("teller", "pay").ask(newHouseReplica(t), "grant_type", grantCIBA, "auth_req_id", "x"), 400, "unsupported_grant_type")
}

// newHouseReplica returns a process that asks nobody.
func newHouseReplica(t *testing.T) *replica { return newHouse(t, 1, nil).replicas[0] }

// A person who may not sign in any more, or takes the authorization back, ends the token.
func TestCIBAEnds(t *testing.T) {
	o := newOffice(t, 2, nil)
	r := o.replicas[0]
	teller, filer := o.member("teller", "pay"), o.member("filer", "pay")
	id := teller.asked(r, "scope", "openid pay", "may_act", "filer")
	o.answer(id, nil)
	out := teller.redeem(r, id)
	first := out.Token
	o.settle()
	second := filer.exchange(o.replicas[1], first)
	p := o.claims(second.Token)
	if d := cmp.Diff(&token.Actor{Subject: "filer", ID: o.claims(first).ID, Actor: &token.Actor{Subject: "teller"}}, p.Actor); d != "" || p.Subject != "user:anna" {
		t.Errorf("exchanged: sub %q, act (-want +got):\n%s", p.Subject, d)
	}
	b, err := o.replicas[1].server.Passport(t.Context(), present(filer, second.Token))
	if err != nil || b.Agent != "filer" || !cmp.Equal(b.OnBehalf, []authz.Ref{{Type: "agent", ID: "teller"}, {Type: "user", ID: "anna"}}) {
		t.Errorf("bearer = %+v, %v", b, err)
	}
	wantError(t, "exchanged further than allowed", teller.exchange(r, first), 400, "invalid_request")

	// Who was asked before is known by the ID token.
	if again := teller.inquire(r, "id_token_hint", out.Members["id_token"].(string), "scope", "pay"); again.Status != 200 {
		t.Errorf("asked by id_token_hint: %d %s", again.Status, again.Body)
	}
	wantError(t, "another client's ID token", filer.inquire(r, "id_token_hint", out.Members["id_token"].(string), "scope", "pay"), 400, "invalid_request")

	o.mu.Lock()
	o.people["anna"] = -3
	o.mu.Unlock()
	for _, text := range []string{first, second.Token} {
		if in := r.introspect(text); in.Active {
			t.Errorf("active though the person is disabled: %s", in.Body)
		}
	}
	wantError(t, "the person is disabled", teller.inquire(r, "id_token_hint", out.Members["id_token"].(string), "scope", "pay"), 400, "unknown_user_id")
	o.mu.Lock()
	o.people["anna"] = 4
	o.mu.Unlock()
	if in := r.introspect(first); !in.Active {
		t.Errorf("not active though the person is back: %s", in.Body)
	}
	o.revoke(id)
	for _, r := range o.replicas {
		for _, text := range []string{first, second.Token} {
			if in := r.introspect(text); in.Active {
				t.Errorf("active though the person took it back: %s", in.Body)
			}
		}
	}
	// Taken back before it is redeemed, and unknown to the desk's copy here.
	id = teller.asked(r, "scope", "pay", "binding_message", "2")
	o.answer(id, nil)
	o.revoke(id)
	wantError(t, "taken back", teller.redeem(r, id), 400, "invalid_grant")
}

func present(m *member, text string) authz.Presented {
	p := m.present(text)
	p.Audience = mailServer
	return p
}

// A client in ping mode is told, with its own token, and finds its answer.
func TestCIBAPing(t *testing.T) {
	o := newOffice(t, 1, nil)
	r := o.replicas[0]
	ctx, stop := t.Context(), make(chan error, 1)
	go func() { stop <- r.server.Run(ctx) }()
	teller, filer := o.member("teller", "pay"), o.member("filer", "pay")
	const secret = "8d67dc78-7faa-4d41-aabd-67707b374255"
	quiet := teller.asked(r, "scope", "pay", "binding_message", "no ping")
	foreign := filer.asked(r, "scope", "pay", "client_notification_token", secret)
	id := teller.asked(r, "scope", "pay", "client_notification_token", secret)
	o.answer(quiet, nil)
	o.answer(foreign, nil)
	o.answer(id, func(c *oauth.Consent) { c.Status = oauth.ConsentRefused })
	if got, want := <-o.told, (told{"POST", "/told", "Bearer " + secret, "application/json", `{"auth_req_id":"` + id + `"}`}); got != want {
		t.Errorf("told by %+v, want %+v", got, want)
	}
	wantError(t, "after the ping", teller.redeem(r, id), 400, "access_denied")
	select {
	case again := <-o.told:
		t.Errorf("told again: %+v", again)
	default:
	}
	for _, e := range o.entries() {
		if strings.Contains(string(e.Body), secret) {
			t.Errorf("entry %d holds the notification token: %s", e.Seq, e.Body)
		}
	}
}
