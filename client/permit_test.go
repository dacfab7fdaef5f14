package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A judge is a Decider that answers by a function, and notes what it was asked and told.
type judge struct {
	answer func(*client.Question) ([]*client.Answer, error)

	mu    sync.Mutex
	asked []client.Question
	told  []string // "ID FAULT MET"
}

func (j *judge) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, *q)
	return j.answer(q)
}

func (j *judge) Outcome(_ context.Context, id string, o client.Outcome) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.told = append(j.told, strings.TrimSpace(id+" "+o.Fault+" "+strings.Join(o.Met, ",")))
	return nil
}

// judges answers each request by the answers in turn.
func judges(answers ...client.Answer) *judge {
	return &judge{answer: func(q *client.Question) ([]*client.Answer, error) {
		out := make([]*client.Answer, len(q.Requests))
		for i := range out {
			a := answers[i%len(answers)]
			out[i] = &a
		}
		return out, nil
	}}
}

func allows(id string, obligations ...authz.Obligation) client.Answer {
	return client.Answer{ID: id, Decision: authz.Decision{Effect: authz.Allow, Code: authz.CodeAllowed, Obligations: obligations}}
}

func refuses(id string, obligations ...authz.Obligation) client.Answer {
	return client.Answer{ID: id, Decision: authz.Decision{Code: authz.CodeNoPermit, Obligations: obligations}}
}

func duty(id, typ, properties string) authz.Obligation {
	return authz.Obligation{ID: id, Type: typ, Properties: json.RawMessage(properties)}
}

func maskDuty(fields ...string) authz.Obligation {
	text, _ := json.Marshal(fields)
	return duty("hide", "custom", `{"obligation":"mask","fields":`+string(text)+`}`)
}

// before returns an enforcer before a decider.
func before(d client.Decider, more ...client.Handlers) *client.Enforcer {
	h := client.Handlers{"mask": client.MeetMask, "cap": client.MeetCap, "dry-run": client.MeetDryRun}
	for _, m := range more {
		for name, f := range m {
			h[name] = f
		}
	}
	return &client.Enforcer{Guard: &client.Guard{Decider: d}, Handlers: h}
}

var one = client.Question{Requests: []authz.Request{act}}

func two(args ...string) client.Question {
	var q client.Question
	for _, a := range args {
		r := act
		r.Action.Properties = authz.Claimed(a)
		q.Requests = append(q.Requests, r)
	}
	return q
}

// Nothing but an Enforcer makes permission.
func TestNoPermitPermitsNothing(t *testing.T) {
	e := before(judges(allows("e1")))
	used, err := e.Permit(t.Context(), one, false)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	does := func(context.Context) (int, error) { n++; return n, nil }
	if got, err := client.Run(t.Context(), used, does); err != nil || got != 1 {
		t.Fatalf("Run = %d, %v", got, err)
	}
	fresh, err := e.Permit(t.Context(), one, false)
	if err != nil {
		t.Fatal(err)
	}
	var copied client.Permit
	client.CopyPermit(&copied, fresh)
	for name, p := range map[string]*client.Permit{"nil": nil, "zero": {}, "used": used, "copy": &copied} {
		if got, err := client.Run(t.Context(), p, does); !errors.Is(err, authz.ErrForbidden) || got != 0 || n != 1 {
			t.Errorf("%s: Run = %d, %v, done %d times", name, got, err, n)
		}
		if _, err := client.Try(t.Context(), p, does); !errors.Is(err, authz.ErrForbidden) || n != 1 {
			t.Errorf("%s: Try: %v, done %d times", name, err, n)
		}
		if done, err := p.Do(t.Context(), client.Act{Do: func(context.Context) (json.RawMessage, error) { n++; return nil, nil }}); done != nil || err == nil || n != 1 {
			t.Errorf("%s: Do = %+v, %v", name, done, err)
		}
		if _, _, err := p.Begin(t.Context()); !errors.Is(err, authz.ErrForbidden) {
			t.Errorf("%s: Begin: %v", name, err)
		}
		if name == "used" {
			continue
		}
		var w *client.WithheldError
		if raw, err := p.Shape(json.RawMessage(`{"a":1}`)); raw != nil || !errors.As(err, &w) {
			t.Errorf("%s: Shape = %s, %v", name, raw, err)
		}
		if !p.Tried() || !p.Whole() || p.Until().IsZero() || time.Now().Before(p.Until()) || p.Decisions() != nil || p.Done(t.Context(), client.Outcome{}) == nil {
			t.Errorf("%s: it says something", name)
		}
	}
	if got, err := client.Run(t.Context(), fresh, does); err != nil || got != 2 {
		t.Errorf("the original of a copy: %d, %v", got, err)
	}
}

// Of many who use one permit at once, one does the act.
func TestPermitIsForOneAct(t *testing.T) {
	p, err := before(judges(allows("e1"))).Permit(t.Context(), one, false)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	n, refused := 0, 0
	for range 50 {
		all.Go(func() {
			_, err := client.Run(t.Context(), p, func(context.Context) (int, error) { mu.Lock(); defer mu.Unlock(); n++; return 0, nil })
			if mu.Lock(); err != nil {
				refused++
			}
			mu.Unlock()
		})
	}
	all.Wait()
	if n != 1 || refused != 49 {
		t.Errorf("done %d times, refused %d times, want 1 and 49", n, refused)
	}
}

// A permission ends with the approval, and with its time to begin.
func TestPermitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allows("e1")
		a.Until = time.Now().Add(30 * time.Second)
		e := before(judges(a))
		p, err := e.Permit(t.Context(), one, false)
		if err != nil || !p.Until().Equal(a.Until) {
			t.Fatalf("%v, until %v", err, p.Until())
		}
		_, err = client.Run(t.Context(), p, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
		if !errors.Is(err, context.DeadlineExceeded) || !time.Now().Equal(a.Until) {
			t.Errorf("the act ended at %v with %v, want at the end of the approval", time.Now(), err)
		}
		if p, err = before(judges(allows("e1"))).Permit(t.Context(), one, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := client.Run(t.Context(), p, func(context.Context) (int, error) { t.Error("done"); return 0, nil }); !errors.Is(err, authz.ErrForbidden) {
			t.Errorf("a minute later: %v", err)
		}
		if _, err := e.Permit(t.Context(), one, false); err != nil { // the answer still says until when
			t.Fatal(err)
		}
		late := allows("e1")
		late.Until = time.Now()
		if p, err = before(judges(late)).Permit(t.Context(), one, false); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Run(t.Context(), p, func(context.Context) (int, error) { t.Error("done"); return 0, nil }); !errors.Is(err, authz.ErrForbidden) {
			t.Errorf("the approval is over: %v", err)
		}
	})
}

// Whatever type a result has, what is to be hidden is, or nothing is seen.
func TestRunMasks(t *testing.T) {
	type account struct {
		Name string `json:"name"`
		IBAN string `json:"iban"`
		PIN  int    `json:"pin"`
		note string
	}
	permit := func(fields ...string) *client.Permit {
		p, err := before(judges(allows("e1", maskDuty(fields...)))).Permit(t.Context(), one, false)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	value := account{"Ann", "DE1", 7, "DE1"}
	got, err := client.Run(t.Context(), permit("iban"), func(context.Context) (account, error) { return value, nil })
	if want := (account{"Ann", "***", 7, ""}); err != nil || got != want {
		t.Errorf("a struct: %+v, %v, want %+v", got, err, want)
	}
	ptr, err := client.Run(t.Context(), permit("iban"), func(context.Context) (*account, error) { return &value, nil })
	if err != nil || ptr.IBAN != "***" || value.IBAN != "DE1" {
		t.Errorf("a pointer: %+v, %v", ptr, err)
	}
	const text, want = `{"iban":"DE1","n":1}`, `{"iban":"***","n":1}`
	type bytesOf []byte
	type textOf string
	for name, run := range map[string]func() (string, error){
		"json": func() (string, error) {
			v, err := client.Run(t.Context(), permit("iban"), func(context.Context) (json.RawMessage, error) { return json.RawMessage(text), nil })
			return string(v), err
		},
		"bytes": func() (string, error) {
			v, err := client.Run(t.Context(), permit("iban"), func(context.Context) ([]byte, error) { return []byte(text), nil })
			return string(v), err
		},
		"named bytes": func() (string, error) {
			v, err := client.Run(t.Context(), permit("iban"), func(context.Context) (bytesOf, error) { return bytesOf(text), nil })
			return string(v), err
		},
		"text": func() (string, error) {
			return client.Run(t.Context(), permit("iban"), func(context.Context) (string, error) { return text, nil })
		},
		"named text": func() (string, error) {
			v, err := client.Run(t.Context(), permit("iban"), func(context.Context) (textOf, error) { return textOf(text), nil })
			return string(v), err
		},
		"any text": func() (string, error) {
			v, err := client.Run(t.Context(), permit("iban"), func(context.Context) (any, error) { return text, nil })
			return fmt.Sprint(v), err
		},
		"any": func() (string, error) {
			v, err := client.Run(t.Context(), permit("iban"), func(context.Context) (any, error) { return map[string]any{"iban": "DE1", "n": 1}, nil })
			out, _ := json.Marshal(v)
			return string(out), err
		},
	} {
		if got, err := run(); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
	}
	var w *client.WithheldError
	if got, err := client.Run(t.Context(), permit("pin"), func(context.Context) (account, error) { return value, nil }); !errors.As(err, &w) || got != (account{}) {
		t.Errorf("a mask that does not fit the type: %+v, %v", got, err)
	}
	if got, err := client.Run(t.Context(), permit("iban"), func(context.Context) (string, error) { return "IBAN DE1", nil }); !errors.As(err, &w) || got != "" {
		t.Errorf("a text that is no JSON: %q, %v", got, err)
	}
	if got, err := client.Run(t.Context(), permit("iban"), func(context.Context) (chan int, error) { return make(chan int), nil }); !errors.As(err, &w) || got != nil {
		t.Errorf("what is no JSON: %v, %v", got, err)
	}
	if got, err := client.Run(t.Context(), permit("iban"), func(context.Context) (string, error) { return text, errors.New("no DE1") }); !errors.As(err, &w) || got != "" || strings.Contains(err.Error(), "DE1") {
		t.Errorf("an act that fails: %q, %v", got, err)
	}
	if got, err := client.Run(t.Context(), permit("iban"), func(context.Context) (any, error) { return nil, nil }); err != nil || got != nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
}

// Each decision is told its own outcome, once, whatever the act does.
func TestPermitReports(t *testing.T) {
	run := func(act func(context.Context) (string, error)) (told []string) {
		t.Helper()
		j := judges(allows("e1", maskDuty("a")), allows("e2"))
		p, err := before(j).Permit(t.Context(), two(`{}`, `{}`), false)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Decisions(); !slices.Equal(got, []string{"e1", "e2"}) {
			t.Errorf("decisions %q", got)
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = client.Run(t.Context(), p, act)
		}()
		if err := p.Done(t.Context(), client.Outcome{Fault: client.FaultSchema}); err != nil {
			t.Error(err)
		}
		return j.told
	}
	for _, tt := range []struct {
		name string
		act  func(context.Context) (string, error)
		want []string
	}{
		{"done", func(context.Context) (string, error) { return "{}", nil }, []string{"e1  hide", "e2"}},
		{"not masked", func(context.Context) (string, error) { return "{", nil }, []string{"e1", "e2"}},
		{"failed", func(context.Context) (string, error) { return "", errors.New("no") }, []string{"e1 tool hide", "e2 tool"}},
		{"late", func(context.Context) (string, error) { return "", context.DeadlineExceeded }, []string{"e1 timeout hide", "e2 timeout"}},
		{"panicked", func(context.Context) (string, error) { panic("no") }, []string{"e1 tool hide", "e2 tool"}},
	} {
		if diff := cmp.Diff(tt.want, run(tt.act)); diff != "" {
			t.Errorf("%s: told (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Several requests are allowed only if all are, and the obligations of all are met, also of a refusal.
func TestPermitOfSeveral(t *testing.T) {
	var did []string
	note := client.Handlers{
		"notification": func(_ context.Context, d *client.Duty) error { did = append(did, d.ID); return nil },
		"note": func(_ context.Context, d *client.Duty) error {
			did = append(did, d.ID+string(d.Request.Action.Properties))
			return nil
		},
	}
	tell := duty("tell", "notification", `{"to":"boss","body":"x"}`)
	most := duty("most", "custom", `{"obligation":"cap","argument":"n","most":"5"}`)
	noted := duty("note", "custom", `{"obligation":"note"}`)
	for _, tt := range []struct {
		name    string
		j       *judge
		refused int // which, -1 if none
		did     string
	}{
		{"all allowed", judges(allows("e1", tell, noted), allows("e2", tell, noted)), -1, `tell note{"n":1} note{"n":7}`},
		{"the second is refused", judges(allows("e1", tell), refuses("e2", tell, noted)), 1, `tell note{"n":7}`},
		{"what is capped is capped in each", judges(allows("e1", most, tell), allows("e2", most, tell)), 0, `tell`},
		{"nobody knows how", judges(allows("e1", tell), allows("e2", duty("x", "dance", `{}`))), 0, `tell`},
		{"alike by name only", judges(allows("e1", tell), allows("e2", duty("tell", "notification", `{"to":"olga","body":"x"}`))), -1, `tell tell`},
	} {
		did = nil
		p, err := before(tt.j, note).Permit(t.Context(), two(`{"n":1}`, `{"n":7}`), false)
		if got := strings.Join(did, " "); got != tt.did {
			t.Errorf("%s: did %q, want %q", tt.name, got, tt.did)
		}
		if tt.refused < 0 {
			if err != nil || len(p.Requests()) != 2 {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		r, ok := errors.AsType[*client.RefusedError](err)
		if !ok || p != nil || len(r.Answers) != 2 || len(r.Requests) != 2 || r.Answer != r.Answers[tt.refused] || !errors.Is(err, authz.ErrForbidden) {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
	}
}

// A decider that does not answer as it should refuses.
func TestEnforcerBelievesNobody(t *testing.T) {
	var none *client.Client
	allow := allows("e1")
	give := func(all []*client.Answer, err error) *judge {
		return &judge{answer: func(*client.Question) ([]*client.Answer, error) { return all, err }}
	}
	for name, e := range map[string]*client.Enforcer{
		"no enforcer":        nil,
		"no guard":           {},
		"nobody":             {Guard: &client.Guard{}},
		"a client that is 0": {Guard: &client.Guard{Decider: none}},
		"an empty client":    {Guard: &client.Guard{Client: &client.Client{}}},
		"no answers":         before(give(nil, nil)),
		"too many":           before(give([]*client.Answer{&allow, &allow}, nil)),
		"nil":                before(give([]*client.Answer{nil}, nil)),
		"allows and fails":   before(give([]*client.Answer{&allow}, authz.ErrUnavailable)),
		"nothing and fails":  before(give(nil, authz.ErrUnavailable)),
		"panics":             before(&judge{answer: func(*client.Question) ([]*client.Answer, error) { panic("no") }}),
	} {
		p, err := e.Permit(t.Context(), one, true)
		r, ok := errors.AsType[*client.RefusedError](err)
		if !ok || p != nil || r.Answer == nil || r.Answer.Allowed() || !errors.Is(err, authz.ErrUnavailable) || r.Error() == "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := before(judges(allow)).Permit(t.Context(), client.Question{}, false); !errors.Is(err, authz.ErrInvalid) || !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("no request: %v", err)
	}
	for name, g := range map[string]*client.Guard{"nil": nil, "nobody": {}} {
		if err := g.Do(t.Context(), act, func(context.Context) error { t.Error("done"); return nil }); !errors.Is(err, authz.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A passport whose proof was shown is not shown again: another proof is got, or the refusal stands and nobody is asked.
func TestProofIsShownOnce(t *testing.T) {
	stepUp := duty("s", "step-up", `{"acr_value":"high"}`)
	ask := func(prove func(context.Context, *authz.Presented) (*authz.Presented, error)) (*judge, error) {
		n := 0
		j := &judge{}
		j.answer = func(*client.Question) ([]*client.Answer, error) {
			a := refuses("e1", stepUp)
			if n++; n > 1 {
				a = allows("e2")
			}
			return []*client.Answer{&a}, nil
		}
		e := before(j, client.Handlers{"step-up": func(context.Context, *client.Duty) error { return nil }})
		e.Guard.Prove = prove
		_, err := e.Permit(t.Context(), client.Question{Requests: []authz.Request{act}, Presented: &authz.Presented{Token: "t", Proof: "p1"}}, false)
		return j, err
	}
	j, err := ask(nil)
	if len(j.asked) != 1 || !errors.Is(err, authz.ErrUnauthenticated) || !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("without another proof: asked %d times, %v", len(j.asked), err)
	}
	j, err = ask(func(_ context.Context, p *authz.Presented) (*authz.Presented, error) {
		again := *p
		again.Proof = "p2"
		return &again, nil
	})
	if err != nil || len(j.asked) != 2 || j.asked[0].Presented.Proof != "p1" || j.asked[1].Presented.Proof != "p2" {
		t.Errorf("with another proof: %+v, %v", j.asked, err)
	}
	for name, prove := range map[string]func(context.Context, *authz.Presented) (*authz.Presented, error){
		"the same": func(_ context.Context, p *authz.Presented) (*authz.Presented, error) { return p, nil },
		"none":     func(context.Context, *authz.Presented) (*authz.Presented, error) { return nil, nil },
		"an error": func(context.Context, *authz.Presented) (*authz.Presented, error) { return nil, errors.New("no key") },
		"a panic":  func(context.Context, *authz.Presented) (*authz.Presented, error) { panic("no") },
	} {
		if j, err := ask(prove); len(j.asked) != 1 || !errors.Is(err, authz.ErrForbidden) {
			t.Errorf("%s: asked %d times, %v", name, len(j.asked), err)
		}
	}
}

// Persons are asked about all that was refused together, and each approval goes with its own request.
func TestSeveralAreApproved(t *testing.T) {
	approval := func(id string) string {
		return `{"status":"approved","result":{"mode":"reevaluate","approval":{"id":"` + id + `","approved_until":"2000-01-01T00:15:00Z"}}}`
	}
	refused := offered("")
	s := &script{answers: map[string][]string{
		"POST /access/v1/evaluations": {
			`{"evaluations":[` + refused + `,{"decision":true,"context":{"evaluation_id":"d8"}},` + refused + `]}`,
			`{"evaluations":[` + permitted + `,{"decision":true},` + permitted + `]}`,
		},
		submitLine: {task("pending", "")},
		statusLine: {strings.Replace(task("approved", ""), `"status":"approved"`, `"status":"approved","items":[`+approval("apr_1")+`,`+approval("apr_2")+`]`, 1)},
	}}
	synctest.Test(t, func(t *testing.T) {
		e := enforcer(t, s, client.Handlers{})
		e.Guard.Ask = func(context.Context, authz.Request, *client.Answer) *client.AccessRequest {
			return &client.AccessRequest{Justification: "rent"}
		}
		q := two(`{"amount":"1"}`, `{"amount":"2"}`, `{"amount":"3"}`)
		p, err := e.Permit(t.Context(), q, false)
		if err != nil {
			t.Fatal(err)
		}
		if p.Until().IsZero() || p.Task() == nil {
			t.Errorf("until %v, task %v", p.Until(), p.Task())
		}
	})
	var sent struct {
		Items []struct{ Action authz.Action }
	}
	if err := json.Unmarshal([]byte(s.last(submitLine).body), &sent); err != nil || len(sent.Items) != 2 || string(sent.Items[1].Action.Properties) != `{"amount":"3"}` {
		t.Errorf("asked about %+v, %v, want the two that were refused", sent, err)
	}
	var again struct {
		Evaluations []struct {
			Context struct{ Approval struct{ ID string } }
		}
	}
	if err := json.Unmarshal([]byte(s.last("POST /access/v1/evaluations").body), &again); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range again.Evaluations {
		got = append(got, e.Context.Approval.ID)
	}
	if want := []string{"apr_1", "", "apr_2"}; !slices.Equal(got, want) {
		t.Errorf("approvals %q, want %q", got, want)
	}
}

// An act that panics is told as a fault, and goes on panicking.
func TestPanicsAreReported(t *testing.T) {
	j := judges(allows("e1"))
	func() {
		defer func() {
			if v := recover(); v != "no" {
				t.Errorf("recovered %v", v)
			}
		}()
		_, _ = before(j).Do(t.Context(), act, client.Act{Do: func(context.Context) (json.RawMessage, error) { panic("no") }})
	}()
	if diff := cmp.Diff([]string{"e1 tool"}, j.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	e := before(judges(allows("e1")))
	if err := e.Negotiate(t.Context()); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("negotiating with nobody: %v", err)
	}
	e.Outcome = func(context.Context, string, client.Outcome) error { panic("no") }
	done, err := e.Do(t.Context(), act, client.Act{Do: func(context.Context) (json.RawMessage, error) { return nil, nil }})
	if err != nil || done.Unreported == nil {
		t.Errorf("reporting panics: %+v, %v", done, err)
	}
	e = before(judges(allows("e1", duty("s", "custom", `{"obligation":"shape"}`))), client.Handlers{"shape": func(_ context.Context, d *client.Duty) error {
		return d.Result(func(json.RawMessage) (json.RawMessage, error) { panic("no") })
	}})
	var w *client.WithheldError
	if done, err := e.Do(t.Context(), act, client.Act{Do: func(context.Context) (json.RawMessage, error) { return json.RawMessage(`1`), nil }}); !errors.As(err, &w) || done.Result != nil || len(done.Met) != 0 {
		t.Errorf("changing the result panics: %+v, %v", done, err)
	}
}

// An agent that asks for itself says nothing of what an enforcement point can do, also through a Batcher.
func TestAgentsObserveNothing(t *testing.T) {
	a := newAuthServer(t).agent("EdDSA")
	c, err := a.Client(client.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s := &fleet{}
	c.HTTP = &http.Client{Transport: s}
	for name, d := range map[string]client.Decider{"client": c, "batcher": &client.Batcher{Client: c}} {
		if _, err := before(d).Permit(t.Context(), *about("yes"), false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if body := s.bodies[len(s.bodies)-1]; strings.Contains(body, "observed") {
			t.Errorf("%s: it observes: %s", name, body)
		}
	}
}
