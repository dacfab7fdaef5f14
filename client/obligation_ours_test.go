package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

func withArguments(arguments string) authz.Request {
	req := act
	req.Action.Properties = authz.Claimed(arguments)
	return req
}

// does is an act that does nothing.
var does = client.Act{Do: func(context.Context) (json.RawMessage, error) { return json.RawMessage(`{}`), nil }}

func custom(name, properties string) string {
	return `{"id":"o","type":"custom","properties":` + withName(properties, name) + `}`
}

func TestCap(t *testing.T) {
	for _, tt := range []struct {
		name, properties, arguments string
		did                         bool
	}{
		{"below", `{"argument":"amount","most":"500"}`, `{"amount":"499.99"}`, true},
		{"at", `{"argument":"amount","most":"500"}`, `{"amount":"500.000"}`, true},
		{"above, by little", `{"argument":"amount","most":"500"}`, `{"amount":"500.00000000000000000000000001"}`, false},
		{"a number", `{"argument":"amount","most":"500"}`, `{"amount":500.0}`, true},
		{"a number above", `{"argument":"amount","most":"0.1"}`, `{"amount":0.10000000000000001}`, false},
		{"every one of the name", `{"argument":"amount","most":"500"}`, `{"amount":1,"lines":[{"amount":2},{"amount":501}]}`, false},
		{"a pointer", `{"argument":"/lines/0/amount","most":"500"}`, `{"amount":999,"lines":[{"amount":2}]}`, true},
		{"a pointer above", `{"argument":"/lines/0/amount","most":"1"}`, `{"amount":0,"lines":[{"amount":2}]}`, false},
		{"a pointer to nothing", `{"argument":"/lines/1/amount","most":"1"}`, `{"lines":[{"amount":0}]}`, false},
		{"in another case", `{"argument":"amount","most":"500"}`, `{"Amount":500}`, true},
		{"in another case, above", `{"argument":"amount","most":"500"}`, `{"AMOUNT":501}`, false},
		{"in two cases", `{"argument":"amount","most":"10"}`, `{"amount":1,"Amount":1000000}`, false},
		{"in two cases, both below", `{"argument":"amount","most":"10"}`, `{"x":[{"amount":1,"Amount":2}]}`, false},
		{"in two cases, in two objects", `{"argument":"amount","most":"10"}`, `{"amount":1,"x":{"Amount":2}}`, true},
		{"a letter like a K", `{"argument":"kilos","most":"10"}`, `{"kilos":1,"Kilos":2}`, false},
		{"a pointer in another case", `{"argument":"/to/amount","most":"10"}`, `{"TO":{"Amount":11}}`, false},
		{"a pointer in two cases on the way", `{"argument":"/to/amount","most":"10"}`, `{"TO":{"amount":1},"to":{"amount":1}}`, false},
		{"twice", `{"argument":"amount","most":"10"}`, `{"amount":1000,"amount":1}`, false},
		{"not there", `{"argument":"amount","most":"500"}`, `{"sum":1}`, false},
		{"no arguments", `{"argument":"amount","most":"500"}`, ``, false},
		{"negative", `{"argument":"amount","most":"500"}`, `{"amount":-1}`, false},
		{"negative text", `{"argument":"amount","most":"500"}`, `{"amount":"-1"}`, false},
		{"an exponent", `{"argument":"amount","most":"500"}`, `{"amount":1e2}`, false},
		{"a huge exponent", `{"argument":"amount","most":"500"}`, `{"amount":"1e999999999"}`, false},
		{"a fraction", `{"argument":"amount","most":"500"}`, `{"amount":"1/3"}`, false},
		{"other digits", `{"argument":"amount","most":"500"}`, `{"amount":"１"}`, false},
		{"empty", `{"argument":"amount","most":"500"}`, `{"amount":""}`, false},
		{"not a number", `{"argument":"amount","most":"500"}`, `{"amount":{"value":1}}`, false},
		{"null", `{"argument":"amount","most":"500"}`, `{"amount":null}`, false},
		{"very long", `{"argument":"amount","most":"500"}`, `{"amount":"` + strings.Repeat("0", 65) + `"}`, false},
		{"malformed: most is a number", `{"argument":"amount","most":500}`, `{"amount":1}`, false},
		{"malformed: most is negative", `{"argument":"amount","most":"-5"}`, `{"amount":0}`, false},
		{"malformed: no most", `{"argument":"amount"}`, `{"amount":0}`, false},
		{"malformed: no argument", `{"most":"5"}`, `{"amount":0}`, false},
		{"malformed: more is said", `{"argument":"amount","most":"5","per":"day"}`, `{"amount":0}`, false},
	} {
		e := enforcer(t, &script{answers: map[string][]string{evaluateLine: {`{"decision":true,"context":{"obligations":[` + custom("cap", tt.properties) + `]}}`}}}, client.BuiltIn(slog.New(slog.DiscardHandler)))
		_, err := e.Do(t.Context(), withArguments(tt.arguments), does)
		if did := err == nil; did != tt.did || !did && !errors.Is(err, authz.ErrForbidden) {
			t.Errorf("%s: cap %s of %s: the act happened: %v, want %v: %v", tt.name, tt.properties, tt.arguments, did, tt.did, err)
		}
	}
}

func TestDryRun(t *testing.T) {
	h := client.Handlers{"dry-run": client.MeetDryRun}
	done, err := obliged(t, h, custom("dry-run", `{}`), client.Act{
		Do:  func(context.Context) (json.RawMessage, error) { t.Error("it was done"); return nil, nil },
		Try: func(context.Context) (json.RawMessage, error) { return json.RawMessage(`"would"`), nil },
	})
	if err != nil || !done.Tried || string(done.Result) != `"would"` || len(done.Met) != 1 {
		t.Errorf("tried: %+v, %v", done, err)
	}
	if done, err := obliged(t, h, custom("dry-run", `{}`), does); done != nil || !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("nobody knows how to try: %+v, %v, want a refusal", done, err)
	}
	if done, err := obliged(t, h, custom("dry-run", `{"half":true}`), client.Act{Do: does.Do, Try: does.Do}); done != nil || err == nil {
		t.Errorf("malformed: %+v, %v, want a refusal", done, err)
	}
	if done, err := obliged(t, h, ``, client.Act{Do: does.Do, Try: func(context.Context) (json.RawMessage, error) { t.Error("it was tried"); return nil, nil }}); err != nil || done.Tried {
		t.Errorf("not obliged: %+v, %v", done, err)
	}
}

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		name, properties string
		did              bool
		took             time.Duration
	}{
		{"for", `{"for":"90s"}`, true, 90 * time.Second},
		{"until", `{"until":"2000-01-01T00:00:30Z"}`, true, 30 * time.Second},
		{"until is over", `{"until":"1999-01-01T00:00:30Z"}`, true, 0},
		{"both, for is longer", `{"for":"1m","until":"2000-01-01T00:00:30Z"}`, true, time.Minute},
		{"both, until is longer", `{"for":"1s","until":"2000-01-01T01:00:30+01:00"}`, true, 30 * time.Second},
		{"as long as is waited", `{"for":"1d"}`, true, 24 * time.Hour},
		{"longer", `{"for":"25h"}`, false, 0},
		{"until too late", `{"until":"2000-01-02T00:00:01Z"}`, false, 0},
		{"malformed: neither", `{}`, false, 0},
		{"malformed: no time", `{"for":"soon"}`, false, 0},
		{"malformed: days beyond counting", `{"for":"99999999999999d"}`, false, 0},
		{"malformed: negative", `{"for":"-1s"}`, false, 0},
		{"malformed: no moment", `{"until":"tomorrow"}`, false, 0},
		{"malformed: more is said", `{"for":"1s","unless":"x"}`, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, err := obliged(t, client.Handlers{"delay": client.MeetDelay(24 * time.Hour)}, custom("delay", tt.properties), does)
				if took := time.Since(began); (err == nil) != tt.did || took != tt.took {
					t.Errorf("delay %s took %s: %v, want %s and an act %v", tt.properties, took, err, tt.took, tt.did)
				}
			})
		})
	}
}

// Two delays pass at once, an approval does not last longer for them, and whoever goes away does not wait.
func TestDelayEnds(t *testing.T) {
	h := client.Handlers{"delay": client.MeetDelay(time.Hour)}
	two := `{"id":"a","type":"custom","properties":{"obligation":"delay","for":"30m"}},{"id":"b","type":"custom","properties":{"obligation":"delay","for":"10m"}}`
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		done, err := obliged(t, h, two, does)
		if took := time.Since(began); err != nil || took != 30*time.Minute || len(done.Met) != 2 {
			t.Errorf("two delays took %s: %+v, %v, want 30m", took, done, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		e := enforcer(t, &script{answers: map[string][]string{evaluateLine: {strings.Replace(permitted, `"approval"`, `"obligations":[`+two+`],"approval"`, 1)}}}, h)
		if done, err := e.Do(t.Context(), act, does); done != nil || err == nil || !strings.Contains(err.Error(), "ended before") {
			t.Errorf("after the approval: %+v, %v, want a refusal", done, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		e := enforcer(t, &script{answers: map[string][]string{evaluateLine: {`{"decision":true,"context":{"obligations":[` + two + `]}}`}}}, h)
		done, err := e.Do(ctx, act, does)
		if done != nil || !errors.Is(err, authz.ErrForbidden) || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), `"b"`) {
			t.Errorf("going away: %+v, %v, want a refusal because of a", done, err)
		}
	})
}

func TestLog(t *testing.T) {
	logs := func(level slog.Level, properties string) (string, error) {
		var b bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		_, err := obliged(t, client.Handlers{"log": client.MeetLog(logger)}, custom("log", properties), does)
		return strings.TrimSpace(b.String()), err
	}
	const who = `"msg":"obliged to log","obligation":"o","decision":"","allowed":true,"code":"allowed","subject":"agent:bot","action":"pay","resource":"invoice:7"`
	for _, tt := range []struct{ name, properties, want string }{
		{"bare", `{}`, `{"level":"INFO",` + who + `}`},
		{"a level and fields", `{"level":"warn","fields":["amount","/to/iban","/to","gone","odd"]}`,
			`{"level":"WARN",` + who + `,"arguments":{"amount":"500.00","amount":"1.5","amount":"499","/to/iban":"DE1","/to":"{\"iban\":\"DE1\"}","odd":"x?[2J?"}}`},
		{"a level that is not logged", `{"level":"debug"}`, ``},
		{"malformed: no level", `{"level":"loud"}`, ``},
		{"malformed: no list", `{"fields":"amount"}`, ``},
		{"malformed: no pointer", `{"fields":["/~"]}`, ``},
		{"malformed: more is said", `{"to":"the judge"}`, ``},
	} {
		got, err := logs(slog.LevelInfo, tt.properties)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: log %s wrote\n%s, %v, want\n%s", tt.name, tt.properties, got, err, tt.want)
		}
	}
	if _, err := obliged(t, client.Handlers{"log": client.MeetLog(slog.New(fullDisk{slog.DiscardHandler}))}, custom("log", `{}`), does); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("a log that takes nothing: %v, want a refusal", err)
	}
}

// What a search shows is logged as well.
func TestLogOfSearches(t *testing.T) {
	var b bytes.Buffer
	e := &client.Enforcer{Handlers: client.BuiltIn(slog.New(slog.NewTextHandler(&b, nil)))}
	shown := client.Show(t.Context(), e, []client.Result[authz.Ref]{{Value: authz.Ref{Type: "doc", ID: "7\x1b"},
		Obligations: []authz.Obligation{{ID: "o", Type: "log", Properties: []byte(`{"fields":["amount"]}`)}}}})
	if got := b.String(); len(shown) != 1 || !strings.Contains(got, `msg="obliged to log" obligation=o shown=`) || !strings.Contains(got, "7?") {
		t.Errorf("shown %v, logged %s", shown, got)
	}
}

type fullDisk struct{ slog.Handler }

func (fullDisk) Enabled(context.Context, slog.Level) bool { return true }
func (fullDisk) Handle(context.Context, slog.Record) error {
	return errors.New("disk full")
}
