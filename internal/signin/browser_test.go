package signin_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outside"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/signin"
)

// A browser is a Chromium with a virtual authenticator, which verifies its user unless it is told not to.
type browser struct {
	*testing.T
	ctx context.Context
	key webauthn.AuthenticatorID

	mu       sync.Mutex
	problems []string // exceptions, and what the policy of a page refused
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := outside.Chromium(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("stopping the browser: %v", err)
		}
		cancel()
	})
	b := &browser{T: t, ctx: ctx}
	// The browser lives as long as the context of the first call, which has no end for that reason.
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	b.ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	call(b, log.Enable, cdp.Empty{})
	call(b, webauthn.Enable, webauthn.EnableParams{})
	b.key = call(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}}).AuthenticatorID
	return b
}

// listen keeps what the browser complains about.
func (b *browser) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, ev.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if ev.Entry.Source == log.EntrySourceSecurity || strings.Contains(ev.Entry.Text, "Content Security Policy") {
			b.problems = append(b.problems, ev.Entry.Text)
		}
	}
}

// call gives the browser a command.
func call[P, R any](b *browser, cmd cdp.Command[P, R], params P) R {
	b.Helper()
	r, err := chromedp.Call(b.ctx, cmd, params)
	if err != nil {
		b.Fatalf("%s: %v", cmd.Method, err)
	}
	return r
}

// A step is something that is done to a page.
type step = chromedp.Action[chromedp.Void]

func visit(url string) step   { return chromedp.Navigate(url) }
func visible(css string) step { return chromedp.WaitVisible(chromedp.CSS(css)) }
func enabled(css string) step { return chromedp.WaitEnabled(chromedp.CSS(css)) }
func hidden(css string) step  { return chromedp.WaitNotVisible(chromedp.CSS(css)) }

// click clicks what it finds, anew if the page has just been replaced by another one.
func click(css string) step {
	return func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		for range 20 {
			if v, err = chromedp.Click(chromedp.CSS(css))(ctx, t); err == nil || !strings.Contains(err.Error(), "Could not find node") {
				break
			}
		}
		return v, err
	}
}

func (b *browser) run(what string, steps ...step) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.Fatalf("%s: %v\nat %s:\n%s\n%v", what, err, b.at(), b.text("body"), b.problems)
	}
}

// see returns what a script says of the page.
func see[T any](b *browser, script string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.Fatalf("%s: %v", script, err)
	}
	return v
}

func (b *browser) text(css string) string {
	b.Helper()
	return see[string](b, "document.querySelector("+strconv.Quote(css)+").innerText")
}

func (b *browser) at() string {
	b.Helper()
	return see[string](b, "location.href")
}

// fails waits until the page says that something failed, and returns what.
func (b *browser) fails() string {
	b.Helper()
	b.run("waiting for a failure", visible("#failure"))
	return b.text("#failure")
}

// A desk answers for the API of asks, with one ask whose yes needs a passkey. Whatever can be hostile in
// it is.
type desk struct {
	*house
	mu        sync.Mutex
	status    string
	views     int64
	assertion json.RawMessage
	evidence  json.RawMessage
	digest    [32]byte
	spoil     bool // the digest that pages are told
	glass     bool // whether it can be broken
	change    func(ask map[string]any)
}

const hostile = "\u202eknil <img src=x onerror=\"document.title='owned'\"> \u0007end"

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out, err := d.answer(r)
	if err != nil {
		w.WriteHeader(map[bool]int{true: 401, false: 403}[errors.Is(err, authz.ErrUnauthenticated)])
		out = map[string]any{"error": map[string]string{"message": err.Error()}}
	}
	json.NewEncoder(w).Encode(out)
}

func (d *desk) answer(r *http.Request) (any, error) {
	s, err := d.door.Person(nil, r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Yes       bool
		View      int64
		Comment   string
		Reason    string
		Glass     string `json:"break_glass"`
		Assertion json.RawMessage
	}
	if r.Method == "POST" {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return nil, err
		}
	}
	digest := sha256.Sum256(fmt.Append(nil, "arq_1 pays 100: ", in.Yes, in.View, in.Glass+in.Reason))
	ask := map[string]any{
		"id": "arq_1", "status": d.status, "sentence": "The agent asks to pay " + hostile, "warnings": []string{hostile}, "expires_at": d.now().Add(time.Hour),
		"asked_at": d.now(), "agent": hostile, "justification": hostile,
		"items": []any{map[string]any{"action": "pay", "resource": map[string]any{"type": "Account", "id": hostile}, "data": "confidential", "status": d.status}},
		"acts": []any{map[string]any{"arguments": []any{map[string]any{"name": "to", "value": hostile, "from": "untrusted"}, map[string]any{"name": "amount", "value": 100, "from": "prompt"}},
			"policy": []any{map[string]string{"detail": "Payments need a person."}}, "allows": "Once."}},
		"standing": map[string]any{"approve": true, "refuse": true, "routes": []string{"money"}, "passkey": true, "break_glass": d.glass},
	}
	if d.change != nil {
		d.change(ask)
	}
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, "/v1/approvals") {
	case "GET ":
		return map[string]any{"items": []any{ask}}, nil
	case "GET /arq_1":
		return ask, nil
	case "POST /arq_1/view":
		d.views++
		return map[string]int64{"view": 40 + d.views}, nil
	case "POST /arq_1/challenge":
		if d.spoil {
			digest[0] ^= 1
		}
		var keys []string
		for _, k := range s.Person.Passkeys {
			keys = append(keys, k.ID)
		}
		return map[string]any{"digest": base64.RawURLEncoding.EncodeToString(digest[:]), "passkeys": keys}, nil
	case "POST /arq_1/answer", "POST /arq_1/break-glass":
		if in.View != 40+d.views {
			return nil, fmt.Errorf("view %d, want %d", in.View, 40+d.views)
		}
		d.assertion, d.digest = in.Assertion, digest
		if d.evidence, err = d.door.VerifyAssertion(s.Person, digest, in.Assertion); err != nil {
			return nil, err
		}
		d.status = "approved"
		return ask, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no %s %s", r.Method, r.URL.Path)
}

// A person enrols by a link, signs in, and approves with a passkey, in a real browser.
func TestPasskey(t *testing.T) {
	b := newBrowser(t)
	h := open(t, "", signin.Config{})
	d := &desk{house: h, status: "pending"}
	h.extra = d
	h.put("anna")
	h.put("ben")
	link := h.link("anna")

	// Enrol. The token leaves the address, and the link is good once.
	b.run("enrolling", visit(link), visible("body[data-ready] #make"))
	if at := b.at(); at != h.url+"/enrol" {
		t.Errorf("the address is %s, want it without the token", at)
	}
	b.run("enrolling", chromedp.SetValue(chromedp.CSS("#title"), "Chromium"), click("body[data-ready] #make"), visible("body[data-ready] #passkey"))
	anna, err := h.people.Person("anna")
	if err != nil || len(anna.Passkeys) != 1 || anna.Passkeys[0].Title != "Chromium" {
		t.Fatalf("anna = %+v, %v", anna, err)
	}
	if got := b.text("#made"); !strings.Contains(got, "“Chromium” was made for Name of anna") {
		t.Errorf("after enrolling the page says %q", got)
	}
	for _, c := range []struct{ what, link, want string }{
		{"the link again", link, "used or expired"}, {"no link", h.url + "/enrol", "ask an administrator"}, {"a bad link", h.url + "/enrol#sc_person_nonsense", "used or expired"},
	} {
		b.run(c.what, visit("about:blank"), visit(c.link), visible("body[data-ready] #failure"), hidden("#make"))
		if got := b.fails(); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}

	// Sign in, from the link of a message: to the ask, and nowhere else.
	b.run("signing in", visit(h.url+"/asks/arq_1"), visible("body[data-ready] #passkey"), click("body[data-ready] #passkey"),
		visible("body[data-ready] #yes"))
	if at := b.at(); at != h.url+"/asks/arq_1" {
		t.Errorf("signed in at %s", at)
	}
	if name := b.text("#name"); name != "Name of anna" {
		t.Errorf("signed in as %q", name)
	}
	if cookie := see[string](b, "document.cookie"); cookie != "" {
		t.Errorf("scripts can read the cookie %q", cookie)
	}

	// The page shows what strangers wrote, as text, with what is invisible made visible.
	shown := b.text("main")
	if !strings.Contains(shown, `\u{202e}knil <img src=x`) || strings.ContainsAny(shown, "\u202e\u0007") {
		t.Errorf("the page says %q", shown)
	}
	if images := see[int](b, "document.images.length"); images != 0 {
		t.Errorf("the page has %d images: what a stranger wrote has become HTML", images)
	}

	// Without being verified by the passkey, or over something else, nobody approves.
	verified := func(yes bool) {
		call(b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: b.key, IsUserVerified: yes})
	}
	verified(false)
	b.run("a passkey that verifies nobody", click("#yes"))
	if got := b.fails(); !strings.Contains(got, "not used") {
		t.Errorf("a passkey that verifies nobody: %q", got)
	}
	d.mu.Lock()
	d.spoil = true
	d.mu.Unlock()
	verified(true)
	b.run("another digest", enabled("#yes"), click("#yes"), visible("#failure"),
		enabled("#yes"))
	if got := b.fails(); !strings.Contains(got, "over something else") {
		t.Errorf("another digest: %q", got)
	}
	d.mu.Lock()
	d.spoil = false
	if d.status != "pending" {
		t.Fatalf("the ask is %s", d.status)
	}
	d.mu.Unlock()

	// Approve.
	b.run("approving", click("#yes"), hidden("#form"))
	if got := b.text("#status"); !strings.Contains(got, "approved") {
		t.Errorf("after approving the page says %q", got)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	anna, _ = h.people.Person("anna")
	checkEvidence(t, d, anna)
	checkAssertion(t, d, anna)

	// Break the glass: what is signed says so, and why.
	d.status, d.glass = "pending", true
	d.mu.Unlock()
	b.run("breaking the glass", visit(h.url+"/asks/arq_1"), visible("body[data-ready] #glass"),
		chromedp.SetValue(chromedp.CSS("#reason"), " the plant\nstands still "), click("#break"), hidden("#glass"))
	d.mu.Lock()
	if want := sha256.Sum256(fmt.Append(nil, "arq_1 pays 100: ", false, 40+d.views, "the plant\nstands still")); d.digest != want {
		t.Errorf("the glass was broken over another digest: %x, want %x", d.digest, want)
	}
	if _, err := signin.ParseEvidence(d.evidence, d.digest); err != nil {
		t.Errorf("the evidence of breaking the glass: %v", err)
	}

	// Sign out, everywhere.
	b.run("signing out", click("#sign-out"), visible("body[data-ready] #passkey"))
	if s := h.people.Sessions("anna", h.now()); len(s) != 0 {
		t.Errorf("%d sessions after signing out", len(s))
	}
	b.run("without a session", visit(h.url+"/asks"), visible("body[data-ready] #passkey"))

	// A revoked passkey does not sign in.
	if _, err := h.people.RevokePasskey(t.Context(), admin, why, "anna", anna.Passkeys[0].ID); err != nil {
		t.Fatal(err)
	}
	b.run("a revoked passkey", click("body[data-ready] #passkey"))
	if got := b.fails(); !strings.Contains(got, "unknown or revoked") {
		t.Errorf("a revoked passkey: %q", got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) > 0 {
		t.Errorf("the browser complains: %q", b.problems)
	}
}

// The page offers what the person may do, and says the rest.
func TestPageSaysWhatIsLeft(t *testing.T) {
	b := newBrowser(t)
	h := open(t, "", signin.Config{})
	d := &desk{house: h, status: "pending"}
	h.extra = d
	h.put("anna")
	b.run("enrolling", visit(h.link("anna")), visible("body[data-ready] #make"), click("#make"), visible("body[data-ready] #passkey"))
	b.run("signing in", click("body[data-ready] #passkey"), visible("body[data-ready] #waiting-title"))
	type m = map[string]any
	act := func(id, status string) m {
		return m{"action": "pay", "resource": m{"type": "Account", "id": id}, "data": "public", "status": status}
	}
	at := "2026-11-27T16:00:00Z"
	for _, c := range []struct {
		what          string
		change        func(ask map[string]any)
		shown, hidden string
		has           []string
	}{
		{"the owner may only refuse", func(ask map[string]any) {
			ask["standing"] = m{"refuse": true, "why": "whoever owns the agent does not decide alone"}
		}, "#no", "#yes", []string{"Whoever owns the agent does not decide alone.", "You may refuse this, and not approve it."}},
		{"a token that needs a passkey", func(ask map[string]any) {
			ask["kind"], ask["person"], ask["standing"] = "ciba", "anna", m{"approve": true, "refuse": true, "routes": []string{}, "passkey": true}
		}, "#key-note", "#glass", []string{"Who is asked\nanna"}},
		{"a yes that is not enough", func(ask map[string]any) {
			ask["standing"] = m{"refuse": true, "why": "you have said yes; 1 more needed"}
			ask["answers"] = []any{m{"by": "person:anna", "yes": true, "at": at}}
			ask["acts"] = []any{m{"ways": []any{m{"route": "two", "title": "Two of finance", "yes": []string{"person:anna"}, "more": 1}}}}
		}, "#no", "#only-no", []string{"You have said yes; 1 more needed.", "Two of finance: 1 of 2 have said yes; person:anna"}},
		{"several acts", func(ask map[string]any) {
			ask["items"] = []any{act("one", "denied"), act("two", "pending"), act("three", "pending")}
			ask["answers"] = []any{m{"by": "person:ben", "yes": false, "at": at, "items": []int{0}, "comment": "not this"}}
			ask["requested_until"] = at
		}, "#which", "#glass", []string{"person:ben refused 1. pay · Account one, ", "Wished until\nNov 27, 2026"}},
		{"what was granted", func(ask map[string]any) {
			ask["status"], ask["standing"] = "approved", m{}
			item := act("one", "approved")
			item["grant"] = m{"until": "2099-11-27T16:00:00Z", "used": 2, "scope": m{"uses": 3, "class": true, "amounts": m{"amount": "500"}}}
			ask["items"] = []any{item}
		}, "#take-back", "#form", []string{"This is approved.", "3 times, until Nov 27, 2099", "amount up to 500; used 2 times."}},
		{"a broken glass that nobody reviewed", func(ask map[string]any) {
			ask["status"], ask["standing"] = "approved", m{"review": true}
			ask["broken_glass"] = m{"by": "person:cleo", "reason": "fire", "at": at, "due": "2026-01-02T16:00:00Z"}
		}, "#review", "#form", []string{"person:cleo broke the glass and approved alone", "the review was due Jan 2, 2026"}},
	} {
		d.mu.Lock()
		d.change = c.change
		d.mu.Unlock()
		b.run(c.what, visit("about:blank"), visit(h.url+"/asks/arq_1"), visible("body[data-ready] "+c.shown), hidden(c.hidden))
		text := b.text("main")
		for _, want := range c.has {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the page says %q, want it with %q", c.what, text, want)
			}
		}
		if boxes := see[int](b, "document.querySelectorAll('#which input').length"); c.what == "several acts" && boxes != 2 {
			t.Errorf("%s: %d boxes, want one for each that waits", c.what, boxes)
		}
	}
}

// checkEvidence verifies what a browser made as an auditor does: with nothing but the evidence.
func checkEvidence(t *testing.T, d *desk, anna *people.Person) {
	t.Helper()
	e, err := signin.ParseEvidence(d.evidence, d.digest)
	if err != nil || e.Person != "anna" || e.Passkey != anna.Passkeys[0].ID || e.RelyingParty != "localhost" || e.Origin != d.url {
		t.Fatalf("evidence = %+v, %v", e, err)
	}
	var record struct {
		PublicKey []byte `json:"publicKey"`
	}
	if err := json.Unmarshal(anna.Passkeys[0].Record, &record); err != nil || base64.RawURLEncoding.EncodeToString(record.PublicKey) != e.PublicKey {
		t.Errorf("the public key of the evidence is not the registered one: %v", err)
	}
	other := d.digest
	other[31] ^= 1
	if _, err := signin.ParseEvidence(d.evidence, other); !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("the evidence over another digest: %v", err)
	}
	for name, change := range map[string]func(*signin.Evidence){
		"rp_id":              func(e *signin.Evidence) { e.RelyingParty = "other" },
		"origin":             func(e *signin.Evidence) { e.Origin = "https://evil.example" },
		"authenticator_data": func(e *signin.Evidence) { e.AuthenticatorData = flip(t, e.AuthenticatorData, 36) },
		"unverified":         func(e *signin.Evidence) { e.AuthenticatorData = flag(t, e.AuthenticatorData) },
		"signature":          func(e *signin.Evidence) { e.Signature = flip(t, e.Signature, 20) },
		"client_data_json":   func(e *signin.Evidence) { e.ClientData = flip(t, e.ClientData, 2) },
	} {
		bad := *e
		change(&bad)
		text, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signin.ParseEvidence(text, d.digest); err == nil {
			t.Errorf("evidence with another %s verifies", name)
		}
	}
}

func flip(t *testing.T, s string, i int) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	b[i] ^= 1
	return base64.RawURLEncoding.EncodeToString(b)
}

// flag takes the flag away that says that the user was verified.
func flag(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	b[32] &^= 4
	return base64.RawURLEncoding.EncodeToString(b)
}

// checkAssertion uses an assertion for everything that it is not for.
func checkAssertion(t *testing.T, d *desk, anna *people.Person) {
	t.Helper()
	ben, err := d.people.Person("ben")
	if err != nil {
		t.Fatal(err)
	}
	other := d.digest
	other[0] ^= 1
	off, revoked := *anna, *anna
	off.Disabled = true
	revoked.Passkeys = []people.Passkey{anna.Passkeys[0]}
	revoked.Passkeys[0].RevokedAt = d.now()
	copied := *anna
	copied.Passkeys = []people.Passkey{anna.Passkeys[0]}
	copied.Passkeys[0].Count = 1000
	fresh := open(t, "", signin.Config{PublicURL: d.url}) // another process, which has not seen the assertion
	foreign := open(t, "", signin.Config{PublicURL: "https://sc.example.com"})
	for what, c := range map[string]struct {
		door   *signin.Door
		person *people.Person
		digest [32]byte
		want   error
	}{
		"again":                           {d.door, anna, d.digest, authz.ErrForbidden},
		"over another digest":             {fresh.door, anna, other, authz.ErrForbidden},
		"as another person":               {fresh.door, ben, d.digest, authz.ErrForbidden},
		"of a disabled person":            {fresh.door, &off, d.digest, authz.ErrForbidden},
		"of a revoked passkey":            {fresh.door, &revoked, d.digest, authz.ErrForbidden},
		"with a counter that is too low":  {fresh.door, &copied, d.digest, authz.ErrForbidden},
		"at another service":              {foreign.door, anna, d.digest, authz.ErrForbidden},
		"in a process that starts afresh": {fresh.door, anna, d.digest, nil},
	} {
		if _, err := c.door.VerifyAssertion(c.person, c.digest, d.assertion); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("the assertion %s: %v, want %v", what, err, c.want)
		}
	}
	if _, err := d.door.VerifyAssertion(anna, d.digest, nil); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("no assertion: %v, want ErrInvalid", err)
	}
	// It signs nobody in: the challenge is not one that a sign-in has.
	v := d.visitor()
	v.post("/sign-in/begin", `{}`)
	if r := v.post("/sign-in/finish", `{"credential":`+string(d.assertion)+`}`); r.status != 401 {
		t.Errorf("signing in with the assertion: %d %s, want 401", r.status, r.body)
	}
}

// A person signs in with an identity provider at another site, and is signed in at once: the strict cookie
// survives the way back.
func TestProviderInBrowser(t *testing.T) {
	b := newBrowser(t)
	p := newIDP(t) // by its address: another site than localhost
	h := open(t, "", signin.Config{Provider: p.config()})
	p.now = h.now
	h.extra = &desk{house: h, status: "pending"}
	if _, err := h.people.Put(t.Context(), admin, why, people.Profile{ID: "ben", Name: "Ben", Issuer: p.srv.URL, Subject: "s-ben"}, 0); err != nil {
		t.Fatal(err)
	}
	b.run("signing in", visit(h.url+"/asks/arq_1"), visible("body[data-ready] #provider"), click("#provider"),
		visible("body[data-ready] #yes"))
	if at, name := b.at(), b.text("#name"); at != h.url+"/asks/arq_1" || name != "Ben" {
		t.Errorf("signed in as %q at %s", name, at)
	}
	b.run("the inbox", visit(h.url+"/asks"), visible("#waiting a"))
	if got := b.text("#waiting a"); !strings.Contains(got, `\u{202e}knil <img`) {
		t.Errorf("the inbox says %q", got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) > 0 {
		t.Errorf("the browser complains: %q", b.problems)
	}
}
