package notify_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/notify"
)

// sign answers as an evaluator does that keeps to the rules.
func sign(w http.ResponseWriter, secret []byte, id string, at time.Time, body string) {
	w.Header().Set("Webhook-Id", id)
	w.Header().Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	w.Header().Set("Webhook-Signature", notify.Sign([][]byte{secret}, id, at, []byte(body)))
	fmt.Fprint(w, body)
}

func judged(srv *receiver) notify.Channels {
	return notify.Channels{Evaluators: map[string]notify.Evaluator{"judge": {Webhook: *srv.webhook("/judge")}}}
}

func TestEvaluator(t *testing.T) {
	until := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		answer string
		want   *approval.Reply
	}{
		"approves":            {`{"ask":"arq_1","verdict":"approve"}`, &approval.Reply{Yes: true}},
		"approves and more":   {`{"ask":"arq_1","verdict":"approve","reason":"small","scope":{"uses":3,"until":"2026-11-27T12:00:00Z","amounts":{"amount":"2000"}}}`, &approval.Reply{Yes: true, Comment: "small", Scope: approval.Scope{Uses: 3, Until: until, Amounts: map[string]string{"amount": "2000"}}}},
		"refuses":             {`{"ask":"arq_1","verdict":"refuse","reason":"unknown payee"}`, &approval.Reply{Comment: "unknown payee"}},
		"refuses a scope":     {`{"ask":"arq_1","verdict":"refuse","scope":{"uses":3,"class":true,"until":"2026-11-27T12:00:00Z","amounts":{"amount":"2000"}}}`, &approval.Reply{}},
		"refuses at length":   {`{"ask":"arq_1","verdict":"refuse","reason":"x` + strings.Repeat("é", 1000) + `"}`, &approval.Reply{Comment: "x" + strings.Repeat("é", 999)}},
		"refuses untidily":    {`{"ask":"arq_1","verdict":"refuse","reason":7,"scope":{"everything":true},"score":0.9}`, &approval.Reply{}},
		"refuses in bad text": {`{"ask":"arq_1","verdict":"refuse","reason":"a` + "\xff" + `\ud800"}`, &approval.Reply{Comment: "a\ufffd\ufffd"}},
		"leaves it to people": {`{"ask":"arq_1","verdict":"abstain"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newReceiver(t)
			h := open(t, judged(srv))
			srv.answers(func(w http.ResponseWriter, r received) {
				sign(w, secret, r.Header.Get("Webhook-Id"), h.clock.now(), c.answer)
			})
			h.ask("arq_1", "judged")
			h.pass()
			r := srv.one(t)
			verified(t, secret, r)
			var p struct {
				Type string
				Data struct {
					Ask  string
					Acts []struct{ Action authz.Action }
				}
			}
			if err := json.Unmarshal(r.Body, &p); err != nil || p.Type != "approval.evaluate" || p.Data.Ask != "arq_1" || string(p.Data.Acts[0].Action.Properties) != `{"amount":"1200.50","to":"CH93"}` {
				t.Errorf("the evaluator was asked %s, %v", r.Body, err)
			}
			h.wantState("arq_1", "evaluator judge asked", notify.Told)
			var want []reply
			if c.want != nil {
				want = []reply{{"judge", "arq_1", *c.want}}
			}
			if diff := cmp.Diff(want, h.desk.replies); diff != "" {
				t.Errorf("answers that reached the desk (-want +got):\n%s", diff)
			}
		})
	}
}

// What is not signed for this very message, now, by the secret, and understood to the end, is no answer.
func TestEvaluatorRefused(t *testing.T) {
	const yes = `{"ask":"arq_1","verdict":"approve"}`
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, id string, now time.Time)
		want   notify.State
		why    string
	}{
		"not signed": {func(w http.ResponseWriter, _ string, _ time.Time) { fmt.Fprint(w, yes) }, notify.Waiting, "webhook-id"},
		"signed by another secret": {func(w http.ResponseWriter, id string, now time.Time) {
			sign(w, []byte("ffffffffffffffffffffffffffffffff"), id, now, yes)
		}, notify.Waiting, "not signed by a secret"},
		"signed for another message": {func(w http.ResponseWriter, _ string, now time.Time) { sign(w, secret, "dlv_other", now, yes) }, notify.Waiting, "another message"},
		"signed long ago": {func(w http.ResponseWriter, id string, now time.Time) {
			sign(w, secret, id, now.Add(-301*time.Second), yes)
		}, notify.Waiting, "not signed now"},
		"signed in the future": {func(w http.ResponseWriter, id string, now time.Time) {
			sign(w, secret, id, now.Add(301*time.Second), yes)
		}, notify.Waiting, "not signed now"},
		"another body": {func(w http.ResponseWriter, id string, now time.Time) {
			sign(w, secret, id, now, `{"ask":"arq_1","verdict":"refuse"}`)
			fmt.Fprint(w, " ")
		}, notify.Waiting, "not signed by a secret"},
		"signed twice": {func(w http.ResponseWriter, id string, now time.Time) {
			w.Header().Add("Webhook-Timestamp", "1")
			w.Header().Add("Webhook-Timestamp", "2")
			w.Header().Set("Webhook-Id", id)
			w.Header().Set("Webhook-Signature", "v1,AAAA")
			fmt.Fprint(w, yes)
		}, notify.Waiting, "webhook-timestamp"},
		"for another ask":      {signedAnswer(`{"ask":"arq_2","verdict":"approve"}`), notify.Dead, "another ask"},
		"for no ask":           {signedAnswer(`{"verdict":"approve"}`), notify.Dead, "another ask"},
		"an unknown verdict":   {signedAnswer(`{"ask":"arq_1","verdict":"approved"}`), notify.Dead, "one of approve, refuse, abstain"},
		"no verdict":           {signedAnswer(`{"ask":"arq_1"}`), notify.Dead, "one of approve, refuse, abstain"},
		"two verdicts":         {signedAnswer(`{"ask":"arq_1","verdict":"refuse","verdict":"approve"}`), notify.Dead, "duplicate"},
		"in capitals":          {signedAnswer(`{"ask":"arq_1","Verdict":"approve"}`), notify.Dead, "unknown"},
		"an unknown member":    {signedAnswer(`{"ask":"arq_1","verdict":"approve","if":"below 100"}`), notify.Dead, "unknown"},
		"an unknown scope":     {signedAnswer(`{"ask":"arq_1","verdict":"approve","scope":{"everything":true}}`), notify.Dead, "unknown"},
		"two refusals":         {signedAnswer(`{"ask":"arq_1","verdict":"refuse","verdict":"refuse"}`), notify.Dead, "duplicate"},
		"a no to another":      {signedAnswer(`{"ask":"arq_2","verdict":"refuse"}`), notify.Dead, "another ask"},
		"no JSON":              {signedAnswer(`yes`), notify.Dead, "the answer"},
		"nothing":              {signedAnswer(``), notify.Dead, "the answer"},
		"our own message":      {nil, notify.Dead, "unknown"},
		"too much":             {signedAnswer(`{"ask":"arq_1","verdict":"approve","reason":"` + strings.Repeat("x", 3000) + `"}`), notify.Dead, "reason has more than"},
		"too large to look at": {signedAnswer(`{"ask":"arq_1","verdict":"approve","reason":"` + strings.Repeat("x", 20_000) + `"}`), notify.Dead, "bytes"},
		"an error":             {func(w http.ResponseWriter, _ string, _ time.Time) { w.WriteHeader(500) }, notify.Waiting, "status 500"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newReceiver(t)
			h := open(t, judged(srv))
			srv.answers(func(w http.ResponseWriter, r received) {
				if c.answer == nil { // sent back as it came, signature and all
					for _, k := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
						w.Header().Set(k, r.Header.Get(k))
					}
					w.Write(r.Body)
					return
				}
				c.answer(w, r.Header.Get("Webhook-Id"), h.clock.now())
			})
			h.ask("arq_1", "judged")
			h.pass()
			if d := h.wantState("arq_1", "evaluator judge asked", c.want); !strings.Contains(d.Error, c.why) {
				t.Errorf("the reason is %q, want one with %q", d.Error, c.why)
			}
			if len(h.desk.replies) != 0 {
				t.Errorf("an answer reached the desk: %+v", h.desk.replies)
			}
		})
	}
}

func signedAnswer(body string) func(http.ResponseWriter, string, time.Time) {
	return func(w http.ResponseWriter, id string, now time.Time) { sign(w, secret, id, now, body) }
}

// What the desk says of an answer decides what becomes of the delivery.
func TestEvaluatorAtTheDesk(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want notify.State
	}{
		"beyond the route": {authz.Errorf(authz.ErrForbidden, "the route permits one use"), notify.Dead},
		"nonsense":         {authz.Errorf(authz.ErrInvalid, "no amount"), notify.Dead},
		"too late":         {authz.Errorf(authz.ErrConflict, "it has ended"), notify.Told},
		"store away":       {authz.Errorf(authz.ErrUnavailable, "database unavailable: secret"), notify.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newReceiver(t)
			h := open(t, judged(srv))
			h.desk.answer = func(string, string, approval.Reply) error { return c.err }
			srv.answers(func(w http.ResponseWriter, r received) {
				sign(w, secret, r.Header.Get("Webhook-Id"), h.clock.now(), `{"ask":"arq_1","verdict":"approve"}`)
			})
			h.ask("arq_1", "judged")
			h.pass()
			if d := h.wantState("arq_1", "evaluator judge asked", c.want); strings.Contains(d.Error, "secret") {
				t.Errorf("the reason is %q, which tells of our inside", d.Error)
			}
		})
	}
}

// An evaluator whose answer was recorded is not asked again, although we were stopped before the delivery's
// end was.
func TestEvaluatorAnswered(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, judged(srv))
	h.ask("arq_1", "judged", func(a *approval.Ask) { a.Answers = []approval.Answer{{By: "evaluator:judge", Yes: true}} })
	h.pass()
	if got := srv.take(); len(got) != 0 {
		t.Errorf("asked %d times again", len(got))
	}
	h.wantState("arq_1", "evaluator judge asked", notify.Told)
}

// An evaluator that is silent leaves the ask to people: when it has ended, nobody is asked any more.
func TestEvaluatorSilent(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, judged(srv))
	srv.status(http.StatusBadGateway)
	h.ask("arq_1", "judged")
	h.pass()
	srv.one(t)
	h.end("arq_1", approval.Denied)
	h.clock.advance(time.Hour)
	h.pass()
	if got := srv.take(); len(got) != 0 {
		t.Errorf("asked %d times after the end", len(got))
	}
	if d := h.wantState("arq_1", "evaluator judge asked", notify.Dead); !strings.Contains(d.Error, "status 502") {
		t.Errorf("the reason is %q, want what went wrong before", d.Error)
	}
}

func FuzzVerdict(f *testing.F) {
	f.Add([]byte(`{"ask":"arq_1","verdict":"approve","reason":"x","scope":{"uses":3,"class":true}}`))
	f.Add([]byte(`{"ask":"arq_1","verdict":"abstain"}`))
	f.Add([]byte(`{"ask":"arq_1","verdict":"approve","scope":{"until":"2026-11-27T12:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ask, verdict, _, err := notify.ParseVerdict(b)
		if err != nil {
			return
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatalf("ParseVerdict(%q) succeeded, and it is no JSON: %v", b, err)
		}
		var asText string
		if err := json.Unmarshal(m["verdict"], &asText); err != nil || asText != verdict {
			t.Errorf("ParseVerdict(%q) = %q, and the document says %q", b, verdict, asText)
		}
		if verdict != "approve" && verdict != "refuse" && verdict != "abstain" {
			t.Errorf("ParseVerdict(%q) = %q for %q", b, verdict, ask)
		}
	})
}
