package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// A fleet is a service that answers each request by its resource: "yes", "no", anything else is not understood.
type fleet struct {
	mu     sync.Mutex
	sizes  []int // of the messages, in requests
	bodies []string
	delay  time.Duration
	answer func(n int) (status int, body string) // instead, if the status is not 0
}

func (s *fleet) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	type asked struct{ Resource struct{ ID string } }
	var w struct {
		asked
		Evaluations []asked
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, err
	}
	s.mu.Lock()
	single := !strings.HasSuffix(r.URL.Path, "s")
	if single {
		w.Evaluations = []asked{w.asked}
	}
	s.sizes = append(s.sizes, len(w.Evaluations))
	s.bodies = append(s.bodies, string(body))
	n := len(s.sizes)
	s.mu.Unlock()
	if s.delay > 0 {
		select {
		case <-time.After(s.delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	status, text := 200, ""
	if s.answer != nil {
		status, text = s.answer(n)
	}
	if text == "" {
		var out []string
		for _, e := range w.Evaluations {
			switch e.Resource.ID {
			case "yes":
				out = append(out, `{"decision":true,"context":{"evaluation_id":"d5"}}`)
			case "no":
				out = append(out, `{"decision":false,"context":{"code":"no_permit"}}`)
			default:
				out = append(out, `{"decision":false,"context":{"code":"type_unknown","error":{"status":400,"message":"no"}}}`)
			}
		}
		text = `{"evaluations":[` + strings.Join(out, ",") + `]}`
		if single {
			text = out[0]
		}
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func (s *fleet) batcher(t testing.TB) *client.Batcher {
	t.Helper()
	c, err := client.New("https://pdp.example.com", "t0ken")
	if err != nil {
		t.Fatal(err)
	}
	c.HTTP = &http.Client{Transport: s}
	return &client.Batcher{Client: c}
}

// about returns a question about resources.
func about(ids ...string) *client.Question {
	q := &client.Question{}
	for _, id := range ids {
		q.Requests = append(q.Requests, authz.Request{
			Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, Action: authz.Action{Name: "read"}, Resource: authz.Entity{Ref: authz.Ref{Type: "doc", ID: id}},
		})
	}
	return q
}

// words says what answers say.
func words(all []*client.Answer) string {
	var out []string
	for _, a := range all {
		out = append(out, map[bool]string{true: "yes", false: a.Code}[a.Allowed()])
	}
	return strings.Join(out, " ")
}

// Questions that come together go together, and each has its own answers.
func TestBatcherJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fleet{delay: time.Second}
		b := s.batcher(t)
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				q, want := about("yes"), "yes"
				switch i % 3 {
				case 1:
					q, want = about("no", "yes"), "no_permit yes"
				case 2:
					q, want = about("strange"), "type_unknown"
				}
				got, err := b.Answer(t.Context(), q)
				if w := words(got); w != want && i%3 != 2 || i%3 == 2 && !errors.Is(err, authz.ErrInvalid) || i%3 != 2 && err != nil {
					t.Errorf("question %d: %s, %v, want %s", i, w, err, want)
				}
			})
		}
		all.Wait()
		if len(s.sizes) != 1 || s.sizes[0] != 40 {
			t.Errorf("messages of %v requests, want one of 40", s.sizes)
		}
	})
}

// What must not be mixed is not, and what is bounded is.
func TestBatcherKeepsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fleet{delay: time.Second}
		b := s.batcher(t)
		b.Most, b.Waiting = 4, 9
		var all sync.WaitGroup
		ask := func(q *client.Question, want string) {
			all.Go(func() {
				if got, err := b.Answer(t.Context(), q); err != nil || words(got) != want {
					t.Errorf("%s, %v, want %s", words(got), err, want)
				}
			})
		}
		for range 2 {
			q := about("yes")
			q.Presented = &authz.Presented{Token: "secret", Audience: "a"}
			ask(q, "yes")
			q = about("yes")
			q.Requests[0].Approval = &authz.ApprovalRef{ID: "apr_1"}
			ask(q, "yes")
			q = about("yes", "yes")
			q.Approvals = []*client.Approval{{ID: "x"}, nil}
			ask(q, "yes yes")
			ask(about("yes", "yes", "yes", "yes", "yes"), "yes yes yes yes yes")
		}
		for range 9 {
			ask(about("yes"), "yes")
		}
		synctest.Wait()
		if got, err := b.Answer(t.Context(), about("yes")); !errors.Is(err, authz.ErrUnavailable) || len(got) != 1 || got[0].Allowed() {
			t.Errorf("more than wait: %s, %v", words(got), err)
		}
		all.Wait()
		slices.Sort(s.sizes)
		if got, want := fmt.Sprint(s.sizes), "[1 1 1 1 1 2 2 4 4 5 5]"; got != want {
			t.Errorf("messages of %s requests, want %s", got, want)
		}
		for _, body := range s.bodies {
			if strings.Contains(body, "secret") && strings.Contains(body, "evaluations") {
				t.Errorf("a passport is in a message of several: %s", body)
			}
		}
	})
}

// One that is slow, wrong or gone is no other's concern.
func TestBatcherIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fleet{delay: time.Second}
		b := s.batcher(t)
		var all sync.WaitGroup
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if got, err := b.Answer(ctx, about("yes")); !errors.Is(err, context.DeadlineExceeded) || got[0].Allowed() {
				t.Errorf("who does not wait: %s, %v", words(got), err)
			}
		})
		all.Go(func() {
			if got, err := b.Answer(t.Context(), about("yes")); err != nil || words(got) != "yes" {
				t.Errorf("who waits: %s, %v", words(got), err)
			}
		})
		all.Go(func() { // it would end the message and begin another question in it
			q := about("no")
			q.Requests[0].Context = authz.Claimed(`{}},{"subject":{"type":"agent","id":"bot"},"action":{"name":"read"},"resource":{"type":"doc","id":"yes"}`)
			if got, err := b.Answer(t.Context(), q); !errors.Is(err, authz.ErrInvalid) || got[0].Allowed() {
				t.Errorf("what is no JSON: %s, %v", words(got), err)
			}
		})
		all.Wait()
		if len(s.sizes) != 1 || s.sizes[0] != 2 {
			t.Errorf("messages of %v requests", s.sizes)
		}

		// A message that the service does not take is asked one by one.
		s = &fleet{answer: func(n int) (int, string) {
			if n == 1 {
				return 400, `{"error":{"message":"too large"}}`
			}
			return 200, ""
		}}
		b = s.batcher(t)
		for _, id := range []string{"yes", "no"} {
			all.Go(func() {
				if got, err := b.Answer(t.Context(), about(id)); err != nil || got[0].Allowed() != (id == "yes") {
					t.Errorf("%s: %s, %v", id, words(got), err)
				}
			})
		}
		all.Wait()
		if len(s.sizes) != 3 {
			t.Errorf("messages of %v requests, want one of 2 and two of 1", s.sizes)
		}

		// A service that is away is away for all, and who has left leaves nothing behind.
		s = &fleet{answer: func(int) (int, string) { return 503, "{}" }}
		b = s.batcher(t)
		if got, err := b.Answer(t.Context(), about("yes", "yes")); !errors.Is(err, authz.ErrUnavailable) || len(got) != 2 || got[0].Allowed() {
			t.Errorf("away: %s, %v", words(got), err)
		}
		s = &fleet{delay: time.Hour}
		b = s.batcher(t)
		b.Waiting = 1
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Answer(ctx, about("yes")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it waits an hour: %v", err)
		}
		synctest.Wait()
		s.delay = 0
		if got, err := b.Answer(t.Context(), about("yes")); err != nil || words(got) != "yes" {
			t.Errorf("after that: %s, %v", words(got), err)
		}
	})
}

// A question of several requests is one message, in which what is said for all is said once.
func TestAnswerIsOneMessage(t *testing.T) {
	s := &fleet{}
	c := s.batcher(t).Client
	q := about("yes", "no", "strange")
	q.Presented = &authz.Presented{Token: "secret", Audience: "a"}
	for i := range q.Requests {
		q.Requests[i].Subject = authz.Entity{}
		q.Requests[i].Context = authz.Claimed(`{"purpose":"rent"}`)
	}
	got, err := c.Answer(t.Context(), q)
	if err != nil || words(got) != "yes no_permit type_unknown" || got[0].ID != "d5" {
		t.Errorf("%s, %v", words(got), err)
	}
	sameText(t, s.bodies[0], `{"options":{"evaluations_semantic":"execute_all"},"context":{"observed":{"passport":{"token":"secret","audience":"a"}},"purpose":"rent"},"evaluations":[`+
		`{"resource":{"type":"doc","id":"yes"},"action":{"name":"read"}},{"resource":{"type":"doc","id":"no"},"action":{"name":"read"}},{"resource":{"type":"doc","id":"strange"},"action":{"name":"read"}}]}`)
	q.Requests[1].Context = nil // which must not inherit
	if _, err := c.Answer(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(s.bodies[1], "secret"); n != 3 || strings.Count(s.bodies[1], "rent") != 2 {
		t.Errorf("of different contexts: %s", s.bodies[1])
	}
	for name, q := range map[string]*client.Question{
		"nothing":             {},
		"approvals of others": {Requests: about("yes", "yes").Requests, Approvals: []*client.Approval{nil}},
		"no object":           {Requests: []authz.Request{{Context: authz.Claimed(`[1]`)}, {}}},
		"no JSON":             {Requests: []authz.Request{{Action: authz.Action{Properties: authz.Claimed(`{"a":1}}`)}}}},
		"spaces":              {Requests: []authz.Request{{Resource: authz.Entity{Properties: authz.Claimed("  ")}}}},
	} {
		got, err := c.Answer(t.Context(), q)
		if !errors.Is(err, authz.ErrInvalid) || len(got) != len(q.Requests) || slices.ContainsFunc(got, func(a *client.Answer) bool { return a.Allowed() }) {
			t.Errorf("%s: %s, %v", name, words(got), err)
		}
	}
	s.answer = func(int) (int, string) { return 200, `{"evaluations":[{"decision":true}]}` }
	if got, err := c.Answer(t.Context(), about("yes", "yes")); !errors.Is(err, authz.ErrUnavailable) || len(got) != 2 || got[0].Allowed() {
		t.Errorf("fewer answers than requests: %s, %v", words(got), err)
	}
}

// Pauses grow, are as long as the service wants, and never longer than somebody would wait; a refusal is not asked for again.
func TestRetriesWait(t *testing.T) {
	run := func(ctx context.Context, answers ...string) (took time.Duration, calls int, err error) {
		s := &script{answers: map[string][]string{evaluateLine: answers}}
		c := enforcer(t, s, nil).Guard.Client
		began := time.Now()
		_, err = c.Answer(ctx, about("yes"))
		return time.Since(began), len(s.asked), err
	}
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name        string
			answers     []string
			calls       int
			least, most time.Duration
		}{
			{"refused", []string{`{"decision":false}`}, 1, 0, 0},
			{"refused by status", []string{"403 \n{}"}, 1, 0, 0},
			{"not understood", []string{"400 \n{}"}, 1, 0, 0},
			{"unauthenticated", []string{"401 \n{}"}, 1, 0, 0},
			{"away, then refused", []string{"503 \n{}", `{"decision":false}`}, 2, 50 * time.Millisecond, 100 * time.Millisecond},
			{"away", []string{"503 \n{}"}, 3, 150 * time.Millisecond, 300 * time.Millisecond},
			{"it wants a second", []string{"503 Retry-After: 1\n{}"}, 3, 2 * time.Second, 2150 * time.Millisecond},
			{"too many", []string{"429 Retry-After: 2\n{}", `{"decision":true}`}, 2, 2 * time.Second, 2050 * time.Millisecond},
			{"it wants an hour", []string{"503 Retry-After: 3600\n{}"}, 1, 0, 0},
		} {
			took, calls, err := run(t.Context(), tt.answers...)
			if calls != tt.calls || took < tt.least || took > tt.most {
				t.Errorf("%s: %d calls in %s, %v, want %d in %s to %s", tt.name, calls, took, err, tt.calls, tt.least, tt.most)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if took, calls, err := run(ctx, "503 Retry-After: 1\n{}"); calls != 2 || took > 1100*time.Millisecond || !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("nobody would hear the third: %d calls in %s, %v", calls, took, err)
		}
		var e *client.Error
		if _, _, err := run(t.Context(), "503 Retry-After: 60\n{}"); !errors.As(err, &e) || e.RetryAfter != time.Minute {
			t.Errorf("%v does not say how long", err)
		}
	})
}

// While one replica is away the next is asked, and stays.
func TestReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: map[string][]string{
			evaluateLine: {"503 \n{}"},
			"POST https://b.example.com/access/v1/evaluation":      {"503 \n{}"},
			"POST https://c.example.com/base/access/v1/evaluation": {`{"decision":true}`},
		}}
		c := enforcer(t, s, nil).Guard.Client
		c.Replicas = []string{"https://b.example.com", "https://c.example.com/base/"}
		for range 2 {
			if got, err := c.Answer(t.Context(), about("yes")); err != nil || words(got) != "yes" {
				t.Fatalf("%s, %v", words(got), err)
			}
		}
		if len(s.asked) != 4 {
			t.Errorf("asked %d times, want 4: three, and the one that answered again", len(s.asked))
		}
		s.answers["POST https://c.example.com/base/access/v1/evaluation"] = []string{`{"decision":false}`}
		if got, err := c.Answer(t.Context(), about("yes")); err != nil || words(got) != "no_permit" || len(s.asked) != 5 {
			t.Errorf("a refusal: %s, %v, asked %d times", words(got), err, len(s.asked))
		}
	})
}

// Outcomes are reported behind acts, bounded, and those that wait at the end as well.
func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := judges(allows("e1"))
		s := &client.Outcomes{Decider: j, Most: 3, Workers: 1, Logger: slog.New(slog.DiscardHandler)}
		e := before(j)
		e.Outcome = s.Outcome
		run := func() error {
			t.Helper()
			p, err := e.Permit(t.Context(), one, false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Run(t.Context(), p, func(context.Context) (int, error) { return 1, nil }); err != nil {
				t.Fatal(err)
			}
			return p.Done(t.Context(), client.Outcome{})
		}
		if err := errors.Join(run(), run(), run()); err != nil || len(j.told) != 0 {
			t.Errorf("%v, told %q", err, j.told)
		}
		if err := run(); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("a fourth: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		if err := run(); err != nil || len(j.told) < 3 {
			t.Errorf("%v, told %q", err, j.told)
		}
		cancel()
		if err := <-done; err != nil || len(j.told) != 4 {
			t.Errorf("at the end: %v, told %q", err, j.told)
		}
		if err := run(); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("after the end: %v, want that nobody reports it", err)
		}
		s = &client.Outcomes{Decider: j}
		e.Outcome = s.Outcome
		if err := run(); err != nil {
			t.Error(err)
		}
		if err := s.Run(ctx); err != nil || len(j.told) != 5 {
			t.Errorf("what waited when it began to end: %v, told %q", err, j.told)
		}
	})
}
