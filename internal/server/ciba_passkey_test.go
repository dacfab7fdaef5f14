package server_test

import (
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/safeconduct/safeconduct/internal/people"
)

// An agent asks for a level that only a passkey reaches: a yes without one is refused, one in a real browser
// gives a token that tells how the person authenticated.
func TestPersonByPasskey(t *testing.T) {
	do := browser(t)
	s := start(t, personal(t))
	anna := s.signedIn("anna")
	p := s.party("clerk", "EdDSA")
	var asked struct {
		ID string `json:"auth_req_id"`
	}
	s.into(p.form("/oauth2/bc-authorize", "login_hint", "anna", "scope", "pay-invoices", "acr_values", "urn:example:passkey", "binding_message", "invoice 7"), &asked)
	if rep := s.says(anna, asked.ID, true); rep.status != 403 {
		t.Errorf("a yes without a passkey: %d %s", rep.status, rep.body)
	}

	s.authorizes(do, "anna", asked.ID)

	var out struct {
		Token string `json:"access_token"`
	}
	s.into(p.ask("").set("grant_type", grantCIBA, "auth_req_id", asked.ID).send(), &out)
	c := claimsOf(t, out.Token)
	if amr, _ := c["amr"].([]any); c["acr"] != "urn:example:passkey" || !slices.Equal(amr, []any{"mfa", "pop", "user"}) || c["auth_time"] == nil {
		t.Errorf("claims = %v", c)
	}
	if rep := p.show(out.Token, "pay", `{"amount":"12.5"}`).send(); !decided(t, rep) {
		t.Errorf("in anna's name: %s", rep.body)
	}
}

// authorizes lets a person enrol, sign in and say yes to an ask with a passkey, in a real browser.
func (r *running) authorizes(do func(what string, steps ...chromedp.Action[chromedp.Void]), person, ask string) {
	r.Helper()
	var link struct{ URL string }
	r.into(r.do("POST", "/v1/people/"+person+"/enrolment", adminToken, `{"why":"first passkey"}`), &link)
	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	do("enrolling", chromedp.Navigate(link.URL), chromedp.WaitVisible(css("body[data-ready] #make")), chromedp.Click(css("#make")),
		chromedp.WaitVisible(css("body[data-ready] #passkey")))
	do("signing in", chromedp.Navigate(people.Reachable(r.URL())+"/asks/"+ask), chromedp.WaitVisible(css("body[data-ready] #passkey")))
	do("signing in", chromedp.Click(css("body[data-ready] #passkey")), chromedp.WaitVisible(css("body[data-ready] #yes")))
	do("authorizing", chromedp.Click(css("#yes")), chromedp.WaitNotVisible(css("#form")))
}
