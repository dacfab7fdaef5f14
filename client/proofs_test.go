package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Who makes up keys and tokens keeps nobody out, whatever else goes wrong with the request.
func TestStrangersFillNoProofs(t *testing.T) {
	tok, err := newAuthServer(t).agent("ES256").Token(t.Context(), client.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	answer := refuses("")
	var fail error
	j := &judge{answer: func(q *client.Question) ([]*client.Answer, error) { return []*client.Answer{&answer}, fail }}
	door := &client.Door{URL: "https://shop.example.com"}
	h := before(j).Handler(http.NotFoundHandler(), func(r *http.Request) (client.Question, error) {
		p, err := door.Presented(r)
		if err != nil {
			return client.Question{}, err
		}
		switch r.URL.RawQuery { // as any question does that reads a body
		case "bad":
			return client.Question{}, authz.Errorf(authz.ErrInvalid, "no amount")
		case "panic":
			panic("no amount")
		}
		return client.Question{Presented: p, Requests: one.Requests}, nil
	}, client.HandlerOptions{})
	ask := func(query string) *httptest.ResponseRecorder {
		p, err := tok.Proof("POST", "https://shop.example.com/pay", "")
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/pay"+query, strings.NewReader(""))
		r.Header.Set("Authorization", "DPoP "+tok.Value)
		r.Header.Set("DPoP", p)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for name, c := range map[string]struct {
		query, code string
		err         error
		want        int
	}{
		"a bad body":                      {"?bad", "", nil, 400},
		"a question panics":               {"?panic", "", nil, 500},
		"nobody decides":                  {"", authz.CodeUnavailable, authz.Errorf(authz.ErrUnavailable, "away"), 503},
		"not understood":                  {"", authz.CodeInvalid, nil, 400},
		"unavailable":                     {"", authz.CodeUnavailable, nil, 503},
		"no passport":                     {"", authz.CodePassportInvalid, nil, 401},
		"the decider understands nothing": {"", authz.CodeInvalid, authz.Errorf(authz.ErrInvalid, "bad"), 400},
	} {
		door.Proofs = &client.Proofs{Max: 4}
		answer.Code, fail = c.code, c.err
		for range 5 {
			if w := ask(c.query); w.Code != c.want {
				t.Fatalf("%s: %d, want %d: %s", name, w.Code, c.want, w.Body)
			}
		}
		answer.Code, fail = authz.CodeNoPermit, nil
		if w := ask(""); w.Code != 403 {
			t.Errorf("%s: a good passport after them has %d, want that it is judged: %s", name, w.Code, w.Body)
		}
	}
}

// A proof that was shown to somebody else is not given back by who shows it again.
func TestReplaysGiveNothingBack(t *testing.T) {
	tok, err := newAuthServer(t).agent("ES256").Token(t.Context(), client.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	door := &client.Door{URL: "https://shop.example.com", Proofs: new(client.Proofs)}
	h := before(judges(allows("d1"))).Handler(jsonText(`{}`), func(r *http.Request) (client.Question, error) {
		p, err := door.Presented(r)
		if err != nil {
			return client.Question{}, errors.New("something else")
		}
		return client.Question{Presented: p, Requests: one.Requests}, nil
	}, client.HandlerOptions{})
	proof, err := tok.Proof("GET", "https://shop.example.com/", "")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{200, 500, 500} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{"Authorization": {"DPoP " + tok.Value}, "Dpop": {proof}}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("shown time %d: %d, want %d", i+1, w.Code, want)
		}
	}
}

// One agent can call 5,000 times a second, and not keep others out.
func TestProofsAreShared(t *testing.T) {
	var s client.Proofs
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	now := time.Unix(1_800_000_000, 0)
	for second := range 130 {
		for i := range 5000 {
			at := now.Add(time.Duration(second) * time.Second)
			if err := client.TakeProof(&s, "busy", fmt.Sprint(second, " ", i), at, at); err != nil {
				t.Fatalf("in second %d, proof %d: %v", second, i, err)
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 64<<20 {
		t.Errorf("5,000 proofs a second take %d bytes", used)
	}

	s = client.Proofs{Max: 1000}
	fill := func(key string) (n int) {
		for client.TakeProof(&s, key, fmt.Sprint(n), now, now) == nil {
			n++
		}
		return n
	}
	if a, b, c := fill("a"), fill("b"), fill("c"); a != 500 || b != 250 || c != 125 {
		t.Errorf("three greedy keys have %d, %d and %d proofs, want 500, 250, 125", a, b, c)
	}
	if err := client.TakeProof(&s, "modest", "1", now, now); err != nil {
		t.Errorf("a modest one: %v", err)
	}
}

// Whatever the clock does, no proof counts twice, and it goes on when the clock is right again.
func TestProofsWhileClocksJump(t *testing.T) {
	var s client.Proofs
	now := time.Unix(1_800_000_000, 0)
	take := func(id string, made, now time.Time) error { return client.TakeProof(&s, "k", id, made, now) }
	if err := take("one", now, now); err != nil {
		t.Fatal(err)
	}
	later := now.Add(time.Hour)
	if err := take("two", later, later); err != nil {
		t.Fatalf("an hour later: %v", err)
	}
	if err := take("one", now, now.Add(time.Second)); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("again, with the clock set back: %v", err)
	}
	if err := take("three", now.Add(2*time.Second), now.Add(2*time.Second)); err != nil {
		t.Errorf("a new one with the clock set back: %v", err)
	}
	if err := take("two", later, later.Add(time.Second)); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("again, with the clock set forward: %v", err)
	}
}
