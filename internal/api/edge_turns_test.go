package api_test

import (
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/feed"
)

// anyEdge knows every token as that of an edge of its own.
type anyEdge struct{ tokens }

func (anyEdge) Authenticate(token string) (*caller.Caller, error) {
	return &caller.Caller{ID: token, Name: token, Role: caller.Edge}, nil
}

// Who sends slowly, or much at once, keeps himself waiting, and others only if there is no memory left for them.
func TestUploadsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heap{}
		h.clear()
		d := openDoor(t, func(c *api.Config) {
			c.Edge, c.Log, c.Agents, c.Policies, c.Callers = h, heapLog{heap: h}, oneAgent{}, oneVersion{}, anyEdge{}
		})
		var wg sync.WaitGroup
		defer wg.Wait()
		send := func(token string, body io.Reader, length int64) *httptest.ResponseRecorder {
			r := httptest.NewRequest("POST", "/v1/edge/records", body)
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = length
			w := httptest.NewRecorder()
			d.handler.ServeHTTP(w, r)
			return w
		}
		// slowly begins an upload, whose body never comes, and returns what ends it.
		slowly := func(token string) (end func()) {
			r, w := io.Pipe()
			wg.Go(func() { send(token, r, feed.MaxUpload) })
			synctest.Wait()
			return func() { w.Close(); synctest.Wait() }
		}
		fast := func(token string) *httptest.ResponseRecorder {
			const empty = `{"journal":"J","first":1,"records":[]}`
			return send(token, strings.NewReader(empty), int64(len(empty)))
		}
		end := slowly("one")
		if w := fast("one"); w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "under way") {
			t.Errorf("a second upload of the same caller: %d: %s", w.Code, w.Body)
		}
		if w := fast("two"); w.Code != 200 {
			t.Errorf("another caller: %d: %s", w.Code, w.Body)
		}
		for range 15 {
			wg.Go(func() { fast("one") })
		}
		synctest.Wait()
		if w := fast("one"); w.Code != 503 || !strings.Contains(w.Body.String(), "wait already") {
			t.Errorf("the seventeenth upload of the same caller: %d: %s", w.Code, w.Body)
		}
		end()
		if w := fast("one"); w.Code != 200 {
			t.Errorf("after the slow one has ended: %d: %s", w.Code, w.Body)
		}

		var ends []func()
		for i := range 16 {
			ends = append(ends, slowly(fmt.Sprint("large", i)))
		}
		if w := fast("two"); w.Code != 503 || !strings.Contains(w.Body.String(), "too much") {
			t.Errorf("without room: %d: %s", w.Code, w.Body)
		}
		ends[3]()
		if w := fast("two"); w.Code != 200 {
			t.Errorf("with room again: %d: %s", w.Code, w.Body)
		}
		for _, end := range ends {
			end()
		}
	})
}
