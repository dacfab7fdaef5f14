package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway"
)

// One processor does while requests come one after the other, and all run as soon as two are under way.
func TestProcessors(t *testing.T) {
	runtime.SetDefaultGOMAXPROCS()
	all := runtime.GOMAXPROCS(0)
	if all == 1 {
		t.Skip("there is one processor")
	}
	t.Setenv("GOMAXPROCS", "")
	hold, held := make(chan struct{}), make(chan struct{})
	h, run := gateway.Processors(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			held <- struct{}{}
			<-hold
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	until := func(what string, n int, do func()) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); runtime.GOMAXPROCS(0) != n; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d processors, want %d", what, runtime.GOMAXPROCS(0), n)
			}
			do()
			time.Sleep(time.Millisecond)
		}
	}
	get := func(path string) { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)) }
	until("one after the other", 1, func() { get("/") })
	go get("/hold")
	<-held
	until("two at once", all, func() { get("/") })
	close(hold)
	until("one after the other again", 1, func() { get("/") })
	cancel()
	if err := <-done; err != nil || runtime.GOMAXPROCS(0) != all {
		t.Errorf("at the end %d processors, %v, want %d", runtime.GOMAXPROCS(0), err, all)
	}

	t.Setenv("GOMAXPROCS", "2")
	_, run = gateway.Processors(h)
	ctx, cancel = context.WithCancel(t.Context())
	go func() { done <- run(ctx) }()
	time.Sleep(600 * time.Millisecond)
	if n := runtime.GOMAXPROCS(0); n != all {
		t.Errorf("%d processors although it is said how many there are, want %d", n, all)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
