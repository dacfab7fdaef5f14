package notify_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/notify"
)

// The vector of the specification's own libraries (TestWebhookSign of each of them).
func TestSign(t *testing.T) {
	secret := decoded(t, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	wh, err := standardwebhooks.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	at, body := time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)
	const id, want = "msg_p5jXN8AQM9LWM0D4loKWxJek", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if theirs, err := wh.Sign(id, at, body); err != nil || theirs != want {
		t.Errorf("their Sign = %q, %v, want %q", theirs, err, want)
	}
	if got := notify.Sign([][]byte{secret}, id, at, body); got != want {
		t.Errorf("Sign = %q, want %q", got, want)
	}
}

// verified fails unless the standard's library accepts what was sent.
func verified(t *testing.T, secret []byte, r received) {
	t.Helper()
	wh, err := standardwebhooks.NewWebhookRaw(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := wh.VerifyIgnoringTimestamp(r.Body, r.Header); err != nil {
		t.Errorf("the library does not verify what was sent: %v", err)
	}
}

func TestWebhook(t *testing.T) {
	srv := newReceiver(t)
	hook := srv.webhook("/in")
	old := []byte("another secret, that is older....")
	hook.Secrets = append(hook.Secrets, old)
	h := open(t, notify.Channels{Channels: map[string]notify.Channel{"hook": {Arguments: true, Webhook: hook}, "chat": {Webhook: srv.webhook("/other"), Events: []string{"revoked"}}}})
	h.ask("arq_1", "money")
	h.pass()

	r := srv.one(t)
	verified(t, secret, r)
	verified(t, old, r)
	if got := r.Header.Get("Webhook-Timestamp"); got != "1795770000" {
		t.Errorf("Webhook-Timestamp = %q, want now", got)
	}
	d := h.wantState("arq_1", "channel hook asked", notify.Told)
	if got := r.Header.Get("Webhook-Id"); got != d.ID {
		t.Errorf("Webhook-Id = %q, want %q", got, d.ID)
	}
	var got, want any
	if err := json.Unmarshal(r.Body, &got); err != nil {
		t.Fatalf("the body %s: %v", r.Body, err)
	}
	_ = json.Unmarshal([]byte(`{"type":"approval.asked","timestamp":"2026-11-27T09:00:00Z","data":{
		"ask":"arq_1","link":"https://pdp.example.com/asks/arq_1","kind":"access","status":"pending","agent":"invoice-bot","owner":"olga",
		"subject":{"type":"agent","id":"invoice-bot"},"session":"s1","pep":"gateway","requester":"pep:gateway",
		"acts":[{"action":{"name":"pay","properties":{"amount":"1200.50","to":"CH93"}},"resource":{"type":"account","id":"acme"},
			"data":"confidential","labels":["financial"],"routes":["money"],"status":"pending"}],
		"context":{"purpose":"month end"},"justification":"The invoice is due today.","asked_at":"2026-11-27T09:00:00Z","expires_at":"2026-11-29T09:00:00Z"}}`), &want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	h.wantState("arq_1", "channel chat asked", notify.Moot) // it hears of something else only
	if ends := h.ends(); len(ends) != 1 || ends[0]["end"] != "told" || ends[0]["delivery"] != d.ID || ends[0]["attempts"] != 1.0 {
		t.Errorf("recorded %v, want that one delivery was told at the first attempt", ends)
	}
}

// Without arguments nothing of them leaves the house, nor what is too large for a message.
func TestWebhookArguments(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, notify.Channels{Channels: map[string]notify.Channel{"hook": {Webhook: srv.webhook("/in")}, "chat": {Arguments: true, Webhook: srv.webhook("/in")}}})
	h.ask("arq_1", "money", func(a *approval.Ask) {
		a.Items[0].Action.Properties = authz.Claimed(`{"secret":"` + strings.Repeat("x", 9000) + `"}`)
	})
	h.pass()
	got := srv.take()
	if len(got) != 2 {
		t.Fatalf("received %d messages, want 2", len(got))
	}
	for _, r := range got {
		text := string(r.Body)
		if strings.Contains(text, "xxx") {
			t.Errorf("the message has the arguments: %s", text)
		}
		if whole := strings.Contains(text, "month end"); whole != strings.Contains(text, `"truncated":true`) {
			t.Errorf("a message with arguments says that they were left out, one without does not: %s", text)
		}
	}
}

// No message holds the id of an approval, and none an answer's evidence: whoever reads along has nothing.
func TestNoApprovalIsTold(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, notify.Channels{
		Channels: map[string]notify.Channel{
			"hook": {Arguments: true, Webhook: srv.webhook("/hook"), Events: []string{"ended", "revoked", "broken_glass"}},
			"chat": {Arguments: true, Slack: &notify.Slack{URL: srv.URL + "/chat", Client: srv.client()}, Events: []string{"ended", "revoked", "broken_glass"}},
		},
		Callbacks: map[string]notify.Callback{"gateway": {Allow: []string{srv.URL}, Secrets: [][]byte{secret}, Client: srv.client()}},
	})
	h.ask("arq_1", "money", func(a *approval.Ask) { a.Callback = &approval.Callback{Endpoint: srv.URL + "/callback"} })
	h.move("arq_1", func(a *approval.Ask) {
		a.Status, a.ClosedAt = approval.Approved, h.clock.now()
		a.Items[0].Status = approval.Approved
		a.Items[0].Approval = &approval.Grant{ID: "apr_secret", At: h.clock.now(), Revoked: h.clock.now(), Why: "a mistake"}
		a.Answers = []approval.Answer{{By: "person:anna", Yes: true, Evidence: json.RawMessage(`{"sig":"evidence"}`)}}
		a.Broken = &approval.Broken{By: "person:dora", Reason: "production is down", At: h.clock.now(), Due: h.clock.now().Add(time.Hour)}
	})
	h.pass()
	h.pass()
	got := srv.take()
	if len(got) != 7 {
		t.Errorf("received %d messages, want 3 by each channel and a callback", len(got))
	}
	for _, r := range got {
		for _, no := range []string{"apr_secret", "evidence"} {
			if strings.Contains(string(r.Body), no) {
				t.Errorf("the message to %s has %q: %s", r.Path, no, r.Body)
			}
		}
	}
}

func TestRetries(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, notify.Channels{Channels: map[string]notify.Channel{"hook": {Webhook: srv.webhook("/in")}, "chat": {Webhook: srv.webhook("/in"), Events: []string{"ended"}}}})
	srv.status(http.StatusInternalServerError)
	h.ask("arq_1", "money")
	h.pass()
	first := srv.one(t)
	d := h.wantState("arq_1", "channel hook asked", notify.Waiting)
	if d.Error != "status 500" || d.Attempts != 1 {
		t.Errorf("after one attempt: %d attempts, error %q; want 1, %q", d.Attempts, d.Error, "status 500")
	}
	if w := d.NextAt.Sub(h.clock.now()); w < 7*time.Second || w > 13*time.Second {
		t.Errorf("tried again after %v, want about 10s", w)
	}
	h.pass() // not yet
	if got := srv.take(); len(got) != 0 {
		t.Errorf("received %d messages before the pause was over", len(got))
	}

	srv.answers(func(w http.ResponseWriter, _ received) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	h.clock.advance(13 * time.Second)
	h.pass()
	again := srv.one(t)
	if got, want := again.Header.Get("Webhook-Id"), first.Header.Get("Webhook-Id"); got != want {
		t.Errorf("the second attempt has the id %q, want %q as the first", got, want)
	}
	if d := h.wantState("arq_1", "channel hook asked", notify.Waiting); d.NextAt.Sub(h.clock.now()) != 600*time.Second {
		t.Errorf("tried again after %v, want 600s as the receiver asks", d.NextAt.Sub(h.clock.now()))
	}

	srv.status(http.StatusServiceUnavailable)
	n := 0
	for ; h.all("arq_1")["channel hook asked"].State == notify.Waiting; n++ {
		if n == 100 {
			t.Fatal("never given up")
		}
		h.clock.advance(h.all("arq_1")["channel hook asked"].NextAt.Sub(h.clock.now()))
		h.pass()
	}
	d = h.wantState("arq_1", "channel hook asked", notify.Dead)
	if age := d.EndedAt.Sub(d.At); age < notify.Patience || age > notify.Patience+2*notify.Longest {
		t.Errorf("given up after %v, want about %v", age, notify.Patience)
	}
	if n < 20 || n > 40 {
		t.Errorf("tried %d times more, want about 30", n)
	}
	if told, failed, dead := h.Counts(); told != 0 || failed != int64(n+1) || dead != 1 {
		t.Errorf("Counts = %d, %d, %d; want 0, %d, 1", told, failed, dead, n+1)
	}
	ends := h.ends()
	if len(ends) != 1 || ends[0]["end"] != "dead" || ends[0]["error"] != "status 503" {
		t.Errorf("recorded %v, want one dead delivery and why", ends)
	}

	// An administrator has it tried again, for as long as a new one.
	srv.take()
	srv.answers(nil)
	if _, err := h.Retry(t.Context(), "admin:root", "", d.ID); err == nil {
		t.Error("Retry without a reason succeeded")
	}
	if got, err := h.Retry(t.Context(), "admin:root", "it is back", d.ID); err != nil || got.State != notify.Waiting || got.Attempts != 0 {
		t.Errorf("Retry = %+v, %v; want it waiting, anew", got, err)
	}
	h.pass()
	srv.one(t)
	h.wantState("arq_1", "channel hook asked", notify.Told)
	_, err := h.Retry(t.Context(), "admin:root", "once more", d.ID)
	wantKind(t, "Retry of what was told", err, authz.ErrConflict)
	_, err = h.Retry(t.Context(), "admin:root", "once more", "dlv_none")
	wantKind(t, "Retry of nothing", err, authz.ErrNotFound)
}

// A receiver that is gone is not asked again, nor one that our own guard refuses.
func TestDeadAtOnce(t *testing.T) {
	srv := newReceiver(t)
	srv.status(http.StatusGone)
	guarded := srv.webhook("/in")
	guarded.Client = publicOnly(srv)
	h := open(t, notify.Channels{Channels: map[string]notify.Channel{"hook": {Webhook: srv.webhook("/in")}, "chat": {Webhook: guarded}}})
	h.ask("arq_1", "money")
	h.ask("arq_2", "lost")
	h.pass()
	srv.one(t)
	for _, c := range []struct{ ask, what, why string }{
		{"arq_1", "channel hook asked", "410"},
		{"arq_1", "channel chat asked", "not a public one"},
		{"arq_2", "channel nowhere asked", "no channel of that id is configured"},
	} {
		if d := h.wantState(c.ask, c.what, notify.Dead); !strings.Contains(d.Error, c.why) || strings.Contains(d.Error, "127.0.0.1:") && strings.Contains(d.Error, "/in") {
			t.Errorf("%s is dead because of %q, want %q and no path", c.what, d.Error, c.why)
		}
	}
	dead, err := h.Deliveries(t.Context(), notify.Query{State: notify.Dead}, 10)
	if err != nil || len(dead) != 3 {
		t.Errorf("Deliveries of state dead = %d, %v; want 3", len(dead), err)
	}
}
