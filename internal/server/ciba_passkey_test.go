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
	var link struct{ URL string }
	s.into(s.do("POST", "/v1/people/anna/enrolment", adminToken, `{"why":"first passkey"}`), &link)
	var asked struct {
		ID string `json:"auth_req_id"`
	}
	s.into(p.form("/oauth2/bc-authorize", "login_hint", "anna", "scope", "pay-invoices", "acr_values", "urn:example:passkey", "binding_message", "invoice 7"), &asked)
	if rep := s.says(anna, asked.ID, true); rep.status != 403 {
		t.Errorf("a yes without a passkey: %d %s", rep.status, rep.body)
	}

	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	do("enrolling", chromedp.Navigate(link.URL), chromedp.WaitVisible(css("body[data-ready] #make")), chromedp.Click(css("#make")),
		chromedp.WaitVisible(css("body[data-ready] #passkey")))
	do("signing in", chromedp.Navigate(people.Reachable(s.URL())+"/asks/"+asked.ID), chromedp.WaitVisible(css("body[data-ready] #passkey")))
	do("signing in", chromedp.Click(css("body[data-ready] #passkey")), chromedp.WaitVisible(css("body[data-ready] #yes")))
	do("authorizing", chromedp.Click(css("#yes")), chromedp.WaitNotVisible(css("#form")))

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
