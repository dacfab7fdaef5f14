package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A desk is an enforcement point that writes down what it does, one word each.
type desk struct {
	mu   sync.Mutex
	did  []string
	fail string // the subject whose sessions cannot be ended
}

func (d *desk) note(word string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did = append(d.did, word)
}

func (d *desk) handlers() client.Handlers {
	h := client.BuiltIn(slog.New(slog.DiscardHandler))
	h["log"] = func(_ context.Context, o *client.Duty) error { d.note("log"); return nil }
	h["notification"] = (&client.Notifier{Send: func(_ context.Context, n client.Notification) error {
		d.note("tell:" + n.To)
		return nil
	}}).Meet
	h["session_termination"] = client.MeetSessionTermination(func(_ context.Context, subject string) error {
		if subject == d.fail {
			return errors.New("the identity provider is away")
		}
		d.note("end:" + subject)
		return nil
	})
	h["step-up"] = client.MeetStepUp(func(_ context.Context, s client.StepUp) error {
		if s.ACR == "unreachable" {
			return errors.New("nobody can reach that")
		}
		d.note("step-up:" + s.ACR + strings.Join(s.AMR, "+"))
		return nil
	})
	return h
}

func (d *desk) act() client.Act {
	return client.Act{Do: func(context.Context) (json.RawMessage, error) {
		d.note("ACT")
		return json.RawMessage(`{"iban":"DE1"}`), nil
	}}
}

// The rules of the AuthZEN obligations profile (draft 1) for enforcement points, by section and sentence.
func TestObligationsProfile(t *testing.T) {
	const (
		tell   = `{"id":"o1","type":"notification","properties":{"to":"boss","body":"look"}}`
		end    = `{"id":"o2","type":"session_termination","properties":{"subject":"alice"}}`
		stepUp = `{"id":"o3","type":"step-up","properties":{"acr_value":"high","amr_values":["mfa","hwk"]}}`
		note   = `{"id":"o4","type":"custom","properties":{"obligation":"log"}}`
		vendor = `{"id":"o5","type":"custom","properties":{"vendor":"example-dlp-suite","action":"watermark"}}`
		dance  = `{"id":"o6","type":"dance","properties":{}}`
		fails  = `{"id":"o7","type":"session_termination","properties":{"subject":"bob"}}`
	)
	permit := func(obligations ...string) string {
		return `{"decision":true,"context":{"obligations":[` + strings.Join(obligations, ",") + `]}}`
	}
	deny := func(obligations ...string) string {
		return strings.Replace(permit(obligations...), "true", "false", 1)
	}
	for _, tt := range []struct {
		name    string
		answers []string
		did     string
	}{
		{"The Obligation Object: MUST be capable of executing obligations in any order", []string{permit(tell, end, note)}, "tell:boss end:alice log ACT"},
		{"The Obligation Object: in the other order", []string{permit(note, end, tell)}, "log end:alice tell:boss ACT"},
		{"The Obligation Object: the key is omitted", []string{`{"decision":true}`}, "ACT"},
		{"The Obligation Object: id is REQUIRED", []string{permit(strings.Replace(tell, "o1", "", 1), note)}, "log"},
		{"The Obligation Object: id is unique", []string{permit(tell, strings.Replace(note, "o4", "o1", 1), end)}, "tell:boss end:alice"},
		{"The Obligation Object: type is REQUIRED", []string{permit(`{"id":"o","properties":{}}`, note)}, "log"},
		{"The Obligation Object: properties are REQUIRED", []string{permit(`{"id":"o","type":"custom"}`, note)}, "log"},
		{"The Obligation Object: properties are an object", []string{permit(`{"id":"o","type":"custom","properties":"log"}`, note)}, "log"},
		{"Obligations on PERMIT: executes all: MUST honor the decision and grant access", []string{permit(stepUp, tell)}, "step-up:highmfa+hwk tell:boss ACT"},
		{"Obligations on PERMIT: does not comply: MUST NOT grant access", []string{permit(fails)}, ""},
		{"Obligations on DENY: MUST still deny access, and MUST execute every returned Obligation", []string{deny(tell, end, note)}, "tell:boss end:alice log"},
		{"Obligations on DENY: also if one cannot be executed", []string{deny(fails, dance, tell)}, "tell:boss"},
		{"Non-Compliance: does not recognize the type: MUST treat as a DENY, and execute every other", []string{permit(tell, dance, note)}, "tell:boss log"},
		{"Non-Compliance: malformed, step-up without acr_value", []string{permit(`{"id":"o","type":"step-up","properties":{"amr_values":["mfa"]}}`, note)}, "log"},
		{"Non-Compliance: malformed, amr_values that are no list", []string{permit(`{"id":"o","type":"step-up","properties":{"acr_value":"high","amr_values":"mfa"}}`, note)}, "log"},
		{"Non-Compliance: malformed, notification without to", []string{permit(`{"id":"o","type":"notification","properties":{"body":"x"}}`, note)}, "log"},
		{"Non-Compliance: malformed, notification without body", []string{permit(`{"id":"o","type":"notification","properties":{"to":"x"}}`, note)}, "log"},
		{"Non-Compliance: malformed, notification to a number", []string{permit(`{"id":"o","type":"notification","properties":{"to":7,"body":"x"}}`, note)}, "log"},
		{"Non-Compliance: malformed, session_termination without subject", []string{permit(`{"id":"o","type":"session_termination","properties":{}}`, note)}, "log"},
		{"Non-Compliance: an acr_value that is not supported", []string{permit(`{"id":"o","type":"step-up","properties":{"acr_value":"unreachable"}}`, tell)}, "tell:boss"},
		{"Non-Compliance: the execution failed", []string{permit(fails, tell, note)}, "tell:boss log"},
		{"step-up: MUST re-authenticate before honoring the decision", []string{deny(stepUp), permit(note)}, "step-up:highmfa+hwk log ACT"},
		{"step-up: once, and until then access remains denied", []string{deny(stepUp)}, "step-up:highmfa+hwk step-up:highmfa+hwk"},
		{"custom: not recognized: MUST treat it as one it cannot comply with", []string{permit(vendor, tell)}, "tell:boss"},
		{"custom: named after a normative type it is held to its members", []string{permit(`{"id":"o","type":"custom","properties":{"obligation":"notification","to":"x"}}`, note)}, "log"},
		{"Security Considerations: to is untrusted: no header is smuggled in", []string{permit(`{"id":"o","type":"notification","properties":{"to":"a\r\nBcc: b","body":"x"}}`, note)}, "log"},
		{"Security Considerations: nor into topic", []string{permit(`{"id":"o","type":"notification","properties":{"to":"a","topic":"x\ny","body":"x"}}`, note)}, "log"},
		{"Security Considerations: body is untrusted: no terminal takes orders", []string{permit(`{"id":"o","type":"notification","properties":{"to":"a","body":"\u001b[2J"}}`, note)}, "log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &desk{fail: "bob"}
				e := enforcer(t, &script{answers: map[string][]string{evaluateLine: tt.answers}}, d.handlers())
				done, err := e.Do(t.Context(), act, d.act())
				if got := strings.Join(d.did, " "); got != tt.did {
					t.Errorf("it did %q, want %q: %v", got, tt.did, err)
				}
				var r *client.RefusedError
				if happened := strings.HasSuffix(tt.did, "ACT"); happened != (err == nil) || happened != (done != nil) || !happened && !errors.As(err, &r) {
					t.Errorf("%+v, %v, want an act: %v", done, err, happened)
				}
			})
		})
	}
}

// Search Requests. "MUST exclude only that result", "MUST NOT withhold the entire Search response", "MUST continue
// to return every other result". Here all of it is by an answer of the service.
func TestObligationsOfSearches(t *testing.T) {
	d := &desk{}
	s := &script{answers: map[string][]string{"POST /access/v1/search/resource": {`{"page":{},"results":[
		{"type":"doc","id":"1"},
		{"type":"doc","id":"2","obligations":[{"id":"o","type":"notification","properties":{"to":"boss","body":"x"}},{"id":"p","type":"dance","properties":{}}]},
		{"type":"doc","id":"3","obligations":[{"id":"o","type":"notification","properties":{"to":"owner","body":"x"}}]},
		{"type":"doc","id":"4","obligations":[{"id":"o","type":"notification","properties":{"to":"x"}}]},
		{"type":"doc","id":"5","obligations":[{"id":"o","type":"custom","properties":{"obligation":"mask","fields":["a"]}}]},
		{"type":"doc","id":"6","obligations":[{"id":"o","type":"custom","properties":{"obligation":"dry-run"}}]},
		{"type":"doc","id":"7","obligations":[{"id":"o","type":"custom","properties":{"obligation":"delay","for":"1s"}}]},
		{"type":"doc","id":"8","obligations":[{"id":"o","type":"custom","properties":{"obligation":"cap","argument":"a","most":"1"}}]},
		{"type":"doc","id":"9"}]}`}}}
	e := enforcer(t, s, d.handlers())
	found, _, err := e.Guard.Client.FindResources(t.Context(), e.Declare(act), client.Page{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range client.Show(t.Context(), e, found) {
		got = append(got, r.ID)
	}
	if want := []string{"1", "3", "9"}; !slices.Equal(got, want) || strings.Join(d.did, " ") != "tell:boss tell:owner" {
		t.Errorf("shown %q and did %q, want %q, and boss and owner told", got, d.did, want)
	}
	if body := s.asked[0].body; !strings.Contains(body, `"supported_obligations":["log","notification","session_termination","step-up"]`) {
		t.Errorf("the search declared %s", body)
	}
	alone := &client.Enforcer{Handlers: d.handlers()} // it is needed for nothing but to show
	if shown := client.Show(t.Context(), alone, found[:3]); len(shown) != 2 {
		t.Errorf("without a guard %v is shown", shown)
	}
}

// Negotiation. "Every value ... MUST be drawn from the set the PDP has itself advertised"; "a PEP MUST NOT assume
// that declaring ... guarantees the PDP will avoid issuing an unsupported Obligation Type".
func TestObligationsNegotiated(t *testing.T) {
	const metadata = "GET /.well-known/authzen-configuration"
	d := &desk{}
	h := d.handlers()
	h["watermark"] = func(context.Context, *client.Duty) error { return nil }
	declared := func(advertised string, act client.Act, req authz.Request) string {
		s := &script{answers: map[string][]string{evaluateLine: {`{"decision":true}`}, metadata: {advertised}}}
		e := enforcer(t, s, h)
		e.Guard.Obligations = map[string]client.Obliger{"stamp": func(context.Context, authz.Obligation) error { return nil }}
		if advertised != "" {
			if err := e.Negotiate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := e.Do(t.Context(), req, act); err != nil {
			t.Fatal(err)
		}
		var body struct {
			Context struct {
				Supported any `json:"supported_obligations"`
				Observed  struct {
					Supported any `json:"supported_obligations"`
				}
				Purpose string
			}
		}
		if err := json.Unmarshal([]byte(s.last(evaluateLine).body), &body); err != nil {
			t.Fatal(err)
		}
		if body.Context.Purpose != "rent" {
			t.Errorf("the context is %+v, want with a purpose", body.Context)
		}
		return fmt.Sprint(body.Context.Supported, body.Context.Observed.Supported)
	}
	const all = "cap delay log mask notification session_termination stamp step-up watermark]"
	tries := client.Act{Do: does.Do, Try: does.Do}
	said := act
	said.Context = authz.Claimed(`{"purpose":"rent","supported_obligations":["step-up"]}`)
	said.Observed.Obligations = []string{"step-up"}
	for _, tt := range []struct {
		name, advertised string
		act              client.Act
		req              authz.Request
		want             string
	}{
		{"nothing is known of the service", ``, does, act, "<nil> [" + all},
		{"only what it advertised", `{"supported_obligations":["step-up","notification","custom","dance"]}`, does, act, "[notification step-up] [" + all},
		{"it advertised nothing", `{}`, does, act, "[] [" + all},
		{"an act that can be tried", ``, tries, act, "<nil> [cap delay dry-run log mask notification session_termination stamp step-up watermark]"},
		{"what the question says stays", `{"supported_obligations":["notification"]}`, does, said, "[step-up] [step-up]"},
	} {
		if got := declared(tt.advertised, tt.act, tt.req); got != tt.want {
			t.Errorf("%s: declared %s, want %s", tt.name, got, tt.want)
		}
	}
	h["custom"] = func(context.Context, *client.Duty) error { return errors.New("what is this?") }
	if got, want := declared(`{"supported_obligations":["custom"]}`, does, act), "[custom] ["; !strings.HasPrefix(got, want) {
		t.Errorf("who meets any custom ones declares %s, want %s...", got, want)
	}
	// Undeclared, and issued all the same.
	if done, err := obliged(t, h, custom("dry-run", `{}`), does); done != nil || !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("an obligation that was not declared: %+v, %v, want a refusal", done, err)
	}
	e := enforcer(t, &script{answers: map[string][]string{metadata: {"503 \n{}"}}}, h)
	e.Guard.Client.Attempts = 1
	if err := e.Negotiate(t.Context()); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("no metadata: %v, want ErrUnavailable", err)
	}
}

// Who hangs up is reported all the same, and one that hangs does not hold the others up.
func TestObligationsAreMetWhoeverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		h := d.handlers()
		ctx, cancel := context.WithCancel(t.Context())
		h["hangs"] = func(ctx context.Context, _ *client.Duty) error { cancel(); <-ctx.Done(); return nil }
		e := enforcer(t, &script{answers: map[string][]string{evaluateLine: {`{"decision":true,"context":{"obligations":[` +
			custom("hangs", `{}`) + `,{"id":"t","type":"notification","properties":{"to":"boss","body":"x"}}]}}`}}}, h)
		e.Timeout = 3 * time.Second
		began := time.Now()
		done, err := e.Do(ctx, act, d.act())
		if took := time.Since(began); done != nil || !errors.Is(err, context.DeadlineExceeded) || strings.Join(d.did, " ") != "tell:boss" || took != 3*time.Second {
			t.Errorf("after %s: %+v, %v, did %q, want the boss told after 3s, and a refusal", took, done, err, d.did)
		}
	})
}

// A handler that panics refuses the act, and the others are called all the same; nothing is done for who has gone.
func TestObligationsWhateverHandlersDo(t *testing.T) {
	d := &desk{}
	h := d.handlers()
	h["panics"] = func(context.Context, *client.Duty) error { panic("index out of range") }
	obligations := custom("panics", `{}`) + `,{"id":"t","type":"notification","properties":{"to":"boss","body":"x"}}`
	if done, err := obliged(t, h, obligations, d.act()); done != nil || !errors.Is(err, authz.ErrForbidden) || strings.Join(d.did, " ") != "tell:boss" {
		t.Errorf("a panic: %+v, %v, did %q, want a refusal and the boss told", done, err, d.did)
	}
	d = &desk{}
	ctx, cancel := context.WithCancel(t.Context())
	h = client.Handlers{"leaves": func(context.Context, *client.Duty) error { cancel(); return nil }}
	e := enforcer(t, &script{answers: map[string][]string{evaluateLine: {`{"decision":true,"context":{"obligations":[` + custom("leaves", `{}`) + `]}}`}}}, h)
	if done, err := e.Do(ctx, act, d.act()); done != nil || !errors.Is(err, context.Canceled) || len(d.did) != 0 {
		t.Errorf("whoever asked has gone: %+v, %v, did %q, want a refusal", done, err, d.did)
	}
}

// What an answer can make us do is bounded.
func TestObligationsAreBounded(t *testing.T) {
	d := &desk{}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf(`{"id":"o%d","type":"custom","properties":{"obligation":"log"}}`, i))
	}
	if done, err := obliged(t, d.handlers(), strings.Join(many, ","), d.act()); done != nil || err == nil || len(d.did) != 64 {
		t.Errorf("100 obligations: %+v, %v, met %d, want a refusal and 64", done, err, len(d.did))
	}
	d = &desk{}
	if done, err := obliged(t, d.handlers(), custom("log", `{"x":"`+strings.Repeat("x", 64<<10)+`"}`), d.act()); done != nil || err == nil || len(d.did) != 0 {
		t.Errorf("an obligation of 64 KiB: %+v, %v, did %q", done, err, d.did)
	}
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		n := &client.Notifier{PerMinute: 2, To: func(to string) bool { return to != "spam@example.com" },
			Send: func(context.Context, client.Notification) error { sent++; return nil }}
		tell := func(to string) error {
			_, err := obliged(t, client.Handlers{"notification": n.Meet}, `{"id":"o","type":"notification","properties":{"to":"`+to+`","body":"x"}}`, does)
			return err
		}
		if err := errors.Join(tell("a"), tell("b")); err != nil {
			t.Error(err)
		}
		if err := tell("c"); err == nil || sent != 2 {
			t.Errorf("a third within the minute: %v, sent %d", err, sent)
		}
		time.Sleep(time.Minute)
		if err := tell("spam@example.com"); err == nil {
			t.Error("it was sent to where nothing is to be sent")
		}
		if err := tell("c"); err != nil || sent != 3 {
			t.Errorf("a minute later: %v, sent %d", err, sent)
		}
	})
}

// The outcome of an act tells which obligations were met, and that of a refusal is not reported.
func TestReceipts(t *testing.T) {
	const outcomeLine = "POST /v1/decisions/d9/outcome"
	mask := custom("mask", `{"fields":["iban"]}`)
	note := `{"id":"n","type":"custom","properties":{"obligation":"log"}}`
	answer := func(decision string) string {
		return `{"decision":` + decision + `,"context":{"evaluation_id":"d9","obligations":[` + note + `,` + mask + `]}}`
	}
	run := func(decision, outcome string, result json.RawMessage, fails error) (*client.Done, string, error) {
		s := &script{answers: map[string][]string{evaluateLine: {answer(decision)}, outcomeLine: {outcome}}}
		e := enforcer(t, s, (&desk{}).handlers())
		e.Guard.Client.Attempts = 1
		var done *client.Done
		var err error
		synctest.Test(t, func(t *testing.T) {
			done, err = e.Do(t.Context(), act, client.Act{Do: func(context.Context) (json.RawMessage, error) {
				time.Sleep(1500 * time.Microsecond)
				return result, fails
			}})
		})
		if r := s.last(outcomeLine); r != nil {
			return done, r.body, err
		}
		return done, "", err
	}
	iban := json.RawMessage(`{"iban":"DE1"}`)
	done, said, err := run("true", `{"entry":10}`, iban, nil)
	if err != nil || done.Unreported != nil || done.Decision != "d9" || string(done.Result) != `{"iban":"***"}` {
		t.Errorf("done: %+v, %v", done, err)
	}
	sameText(t, said, `{"latency_ms":2,"size_bytes":14,"met":["n","o"]}`)

	done, said, err = run("true", "503 \n{}", iban, nil)
	if err != nil || !errors.Is(done.Unreported, authz.ErrUnavailable) || said == "" {
		t.Errorf("the outcome is lost: %+v, %v", done, err)
	}

	var w *client.WithheldError
	done, said, err = run("true", `{"entry":10}`, json.RawMessage(`DE1`), nil)
	if !errors.As(err, &w) || done == nil || done.Result != nil || strings.Contains(err.Error(), "DE1") {
		t.Errorf("a result that cannot be masked: %+v, %v", done, err)
	}
	sameText(t, said, `{"latency_ms":2,"size_bytes":3,"met":["n"]}`)

	broken := errors.New("no money on DE1")
	done, said, err = run("true", `{"entry":10}`, nil, broken)
	if !errors.As(err, &w) || !errors.Is(err, broken) || done == nil || strings.Contains(err.Error(), "DE1") {
		t.Errorf("the act fails: %+v, %v", done, err)
	}
	sameText(t, said, `{"fault":"tool","latency_ms":2,"met":["n","o"]}`)

	done, said, err = run("false", `{"entry":10}`, iban, nil)
	if done != nil || !errors.Is(err, authz.ErrForbidden) || said != "" {
		t.Errorf("refused: %+v, %v, reported %s", done, err, said)
	}
}

// A lockedScript is a script for many at once.
type lockedScript struct {
	mu sync.Mutex
	s  *script
}

func (l *lockedScript) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s.RoundTrip(r)
}

// One enforcer serves many at once, and each sees its own result.
func TestEnforcerIsConcurrent(t *testing.T) {
	h := client.BuiltIn(slog.New(slog.DiscardHandler))
	h["notification"] = (&client.Notifier{PerMinute: 1000, Send: func(context.Context, client.Notification) error { return nil }}).Meet
	obligations := custom("mask", `{"fields":["secret"]}`) + `,{"id":"t","type":"notification","properties":{"to":"boss","body":"x"}}`
	e := enforcer(t, nil, h)
	e.Guard.Client.HTTP.Transport = roundTripper((&lockedScript{s: &script{answers: map[string][]string{
		evaluateLine: {`{"decision":true,"context":{"obligations":[` + obligations + `]}}`}, "GET /.well-known/authzen-configuration": {`{"supported_obligations":["notification"]}`}}}}).RoundTrip)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if err := e.Negotiate(t.Context()); err != nil {
				t.Error(err)
			}
			done, err := e.Do(t.Context(), act, client.Act{Do: func(context.Context) (json.RawMessage, error) {
				return json.RawMessage(fmt.Sprintf(`{"secret":1,"i":%d}`, i)), nil
			}})
			if want := fmt.Sprintf(`{"secret":"***","i":%d}`, i); err != nil || string(done.Result) != want {
				t.Errorf("%+v, %v, want %s", done, err, want)
			}
		})
	}
	all.Wait()
}
