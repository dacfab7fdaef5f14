package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/bench/fixture"
)

// service answers every request with the effect that effect returns for its body, now with a
// length, now in chunks.
func service(t *testing.T, effect func(body string) string) string {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer := []byte(`{"decision":false}`)
		switch effect(string(b)) {
		case "allow":
			answer = []byte(`{"decision":true,"context":{"id":"d1"}}`)
		case "require_approval":
			answer = []byte(`{"decision":false,"context":{"code":"approval_required"}}`)
		}
		if n++; n%2 == 0 {
			w.Write(answer[:5])
			w.(http.Flusher).Flush() // from here on in chunks
			answer = answer[5:]
		}
		w.Write(answer)
	}))
	t.Cleanup(s.Close)
	return s.URL + "," + strconv.Itoa(os.Getpid())
}

func TestCheckAndMeasure(t *testing.T) {
	mix := fixture.Mix(200)
	want := map[string]string{}
	for _, c := range mix {
		want[string(c.Body)] = c.Effect
	}
	s, err := newSide("right", service(t, func(b string) string { return want[b] }), "/access/v1/evaluation", "secret", mix, same, authzenEffect)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(mix); err != nil {
		t.Fatal(err)
	}
}

func TestMeasure(t *testing.T) {
	mix := fixture.Mix(20)
	s, err := newSide("any", service(t, func(string) string { return "allow" }), "/", "secret", mix, same, authzenEffect)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.turn(1, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if s.count == 0 || int64(len(s.took)) != s.count || s.quantile(0.99) < s.quantile(0.5) || s.rate() <= 0 {
		t.Errorf("counted %d answers, timed %d, %.0f/s", s.count, len(s.took), s.rate())
	}
}

func TestCheckSeesWrongAnswers(t *testing.T) {
	mix := fixture.Mix(200)
	s, err := newSide("wrong", service(t, func(string) string { return "allow" }), "/access/v1/evaluation", "secret", mix, same, authzenEffect)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(mix); err == nil || !strings.Contains(err.Error(), "refund too late: want deny") {
		t.Errorf("a service that allows everything passes the check: %v", err)
	}
}

func TestOPABody(t *testing.T) {
	var got struct {
		Input struct{ Subject struct{ ID string } }
	}
	if err := json.Unmarshal(opaBody(fixture.Mix(1)[0].Body), &got); err != nil || got.Input.Subject.ID == "" {
		t.Errorf("the body for OPA holds no subject: %v", err)
	}
	for answer, want := range map[string]string{
		`{"result":{"decision":"allow","obligations":[]}}`: "allow", `{}`: "",
	} {
		if got, err := opaEffect([]byte(answer)); got != want || err != nil {
			t.Errorf("opaEffect(%s) = %q, %v, want %q", answer, got, err, want)
		}
	}
}
