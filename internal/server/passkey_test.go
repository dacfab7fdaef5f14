package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/safeconduct/safeconduct/internal/people"
)

// browser starts a Chromium with a virtual authenticator that verifies its user, and returns what gives
// it steps to take.
func browser(t *testing.T) (do func(what string, steps ...chromedp.Action[chromedp.Void])) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no Chromium to try passkeys with")
		}
		t.Skip("SKIPPED: there is no Chromium (Debian: apt-get install chromium), so passkeys are NOT TRIED in a browser here")
	}
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
