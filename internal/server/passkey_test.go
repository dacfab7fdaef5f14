package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/safeconduct/safeconduct/internal/outside"
	"github.com/safeconduct/safeconduct/internal/people"
)

// browser starts a Chromium with a virtual authenticator that verifies its user, and returns what gives
// it steps to take.
func browser(t *testing.T) (do func(what string, steps ...chromedp.Action[chromedp.Void])) {
	t.Helper()
	path := outside.Chromium(t)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("stopping the browser: %v", err)
		}
		cancel()
	})
	if _, err := chromedp.Call(ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	if _, err := chromedp.Call(ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}}); err != nil {
		t.Fatal(err)
	}
	return func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			page, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href + ' ' + document.body.innerText"))
			t.Fatalf("%s: %v\nthe page: %s", what, err, page)
		}
	}
}

// A person enrols by a link, is asked, approves with a passkey in a real browser, and the agent acts; what
// was signed is in the record.
func TestPasskeyApproval(t *testing.T) {
	do := browser(t)
	cfg := asking(t)
	text, err := os.ReadFile(cfg.Organisation.Catalog)
	if err != nil {
		t.Fatal(err)
	}
	signed := strings.Replace(string(text), "finance: {title: Larger payments,", "finance: {title: Larger payments, passkey: true,", 1)
	cfg.Organisation.Catalog = filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(cfg.Organisation.Catalog, []byte(signed), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg)
	tokens := s.persons("anna")
	var link struct{ URL string }
	s.into(s.do("POST", "/v1/people/anna/enrolment", adminToken, `{"why":"first passkey"}`), &link)
	ask := s.request("clerk", "acme", "900.0", s.evaluate(payment("clerk", "acme", "900.0", "")))

	// Without the passkey a yes is worth nothing, and a token has none.
	if rep := s.answer(tokens["anna"], ask, true, ""); rep.status != 403 {
		t.Errorf("a yes without a passkey: status %d: %s", rep.status, rep.body)
	}

	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	do("enrolling", chromedp.Navigate(link.URL), chromedp.WaitVisible(css("body[data-ready] #make")), chromedp.Click(css("#make")),
		chromedp.WaitVisible(css("body[data-ready] #passkey")))
	do("signing in", chromedp.Navigate(people.Reachable(s.URL())+"/asks/"+ask), chromedp.WaitVisible(css("body[data-ready] #passkey")))
	do("signing in", chromedp.Click(css("body[data-ready] #passkey")), chromedp.WaitVisible(css("body[data-ready] #yes")))
	do("approving two uses", chromedp.SetValue(css(`#scope input[type=number]`), "2"), chromedp.Click(css("#yes")), chromedp.WaitNotVisible(css("#form")))

	approval := s.approved(ask)
	for i := range 3 {
		if d := s.evaluate(payment("clerk", "acme", "900.0", approval)); d.Decision != (i < 2) {
			t.Errorf("use %d: %+v", i+1, d)
		}
	}
	var found struct {
		Items []struct{ Seq int64 }
	}
	s.into(s.do("GET", "/v1/audit/entries?kind=approval.answered", adminToken, ""), &found)
	if len(found.Items) != 1 {
		t.Fatalf("%d answers in the record, want 1", len(found.Items))
	}
	var entry struct {
		Actor string
		Body  struct {
			Evidence struct{ Type, Person, Origin string }
		}
	}
	rep := s.do("GET", fmt.Sprintf("/v1/audit/entries/%d", found.Items[0].Seq), adminToken, "")
	if err := json.Unmarshal([]byte(rep.body), &entry); err != nil {
		t.Fatal(err)
	}
	if e := entry.Body.Evidence; entry.Actor != "person:anna" || e.Type != "webauthn" || e.Person != "anna" || e.Origin != people.Reachable(s.URL()) {
		t.Errorf("the answer in the record: %s", rep.body)
	}
}

// What else the page of an ask can do: break the glass, review that, refuse, and take an approval back.
func TestPageOfAnAsk(t *testing.T) {
	s := start(t, asking(t))
	s.persons("anna", "cleo")
	type steps = []chromedp.Action[chromedp.Void]
	visible := func(css string) chromedp.Action[chromedp.Void] { return chromedp.WaitVisible(chromedp.CSS(css)) }
	hidden := func(css string) chromedp.Action[chromedp.Void] { return chromedp.WaitNotVisible(chromedp.CSS(css)) }
	click := func(css string) chromedp.Action[chromedp.Void] { return chromedp.Click(chromedp.CSS(css)) }
	write := func(css, text string) chromedp.Action[chromedp.Void] {
		return chromedp.SendKeys(chromedp.CSS(css), text)
	}
	says := func(css, text string) chromedp.Action[chromedp.Void] {
		wait := chromedp.Poll[bool](fmt.Sprintf("document.querySelector(%q).innerText.includes(%q)", css, text), chromedp.WithPollingTimeout(20*time.Second))
		return func(ctx context.Context, target *chromedp.Target) (v chromedp.Void, err error) {
			if _, err = wait(ctx, target); err != nil {
				err = fmt.Errorf("waiting for %s to say %q: %w", css, text, err)
			}
			return v, err
		}
	}
	// in enrols and signs somebody in, and returns what takes steps on the page of an ask.
	in := func(id string) func(what, ask string, then ...chromedp.Action[chromedp.Void]) {
		do := browser(t)
		var link struct{ URL string }
		s.into(s.do("POST", "/v1/people/"+id+"/enrolment", adminToken, `{"why":"first passkey"}`), &link)
		do(id+" enrols", chromedp.Navigate(link.URL), visible("body[data-ready] #make"), click("#make"), visible("body[data-ready] #passkey"))
		do(id+" signs in", click("body[data-ready] #passkey"), visible("#app main h1"))
		return func(what, ask string, then ...chromedp.Action[chromedp.Void]) {
			t.Helper()
			do(what, append(steps{chromedp.Navigate(people.Reachable(s.URL()) + "/asks/" + ask), visible("body[data-ready] #sentence")}, then...)...)
		}
	}
	anna, cleo := in("anna"), in("cleo")
	asked := func(amount string) string {
		return s.request("clerk", "acme", amount, s.evaluate(payment("clerk", "acme", amount, "")))
	}
	status := func(ask string) string {
		var out struct{ Status string }
		s.into(s.do("GET", "/v1/approvals/"+ask, adminToken, ""), &out)
		return out.Status
	}

	glass := asked("901.0")
	cleo("breaking the glass without a reason", glass, hidden("#form"), click("#break"), visible("#failure"))
	if got := status(glass); got != "pending" {
		t.Errorf("after breaking the glass without a reason the ask is %s", got)
	}
	cleo("breaking the glass", glass, write("#reason", "the line stands still"), click("#break"), hidden("#glass"), hidden("#review"),
		says("#broken", "person:cleo broke the glass and approved alone"), says("#broken", "Somebody else must review it until"), says("#acts", "Once, until"))
	if d := s.evaluate(payment("clerk", "acme", "901.0", s.approved(glass))); !d.Decision {
		t.Errorf("after breaking the glass: %+v", d)
	}
	anna("reviewing", glass, write("#verdict", "it did"), click("#justified"), hidden("#review"), says("#broken", "person:anna reviewed it: justified. it did"))

	refused := asked("902.0")
	anna("refusing", refused, write("#comment", "not from this account"), click("#no"), hidden("#form"))
	if got := status(refused); got != "denied" {
		t.Errorf("after a no the ask is %s", got)
	}

	revoked := asked("903.0")
	anna("approving", revoked, says("#acts", "Larger payments: 0 of 1 have said yes"), says("#acts", "within 15 minutes of the approval"), says("#about", "s1"),
		click("#yes"), hidden("#form"), says("#status", "This is approved"), says("#acts", "not used"))
	approval := s.approved(revoked)
	anna("revoking", revoked, write("#back", "a mistake"), click("#revoke"), hidden("#take-back"),
		says("#status", "the approval was revoked"), says("#acts", "a mistake"))
	if d := s.evaluate(payment("clerk", "acme", "903.0", approval)); d.Decision {
		t.Errorf("with a revoked approval: %+v", d)
	}
}
