package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/approval"
)

// However often agents ask for the same, few questions reach people: 1,000 asks a second become as many as there
// are different acts.
func TestManyAsksBecomeFew(t *testing.T) {
	if testing.Short() {
		t.Skip("it is about a rate")
	}
	s := start(t, asking(t))
	s.persons("anna")
	const acts, callers, want = 20, 32, 3000
	bodies := make([]string, acts)
	for i := range bodies {
		amount := fmt.Sprintf("%d.0", 600+i)
		d := s.evaluate(payment("clerk", "acme", amount, ""))
		bodies[i] = fmt.Sprintf(`{"subject":{"type":"agent","id":"clerk"},"action":{"name":"pay","properties":{"amount":%q}},"resource":{"type":"Account","id":"acme"},
			"denial":{"evaluation_id":%q,"expires_at":%q}}`, amount, d.Context.EvaluationID, d.Context.AccessRequest.ExpiresAt)
	}
	s.http.Transport = &http.Transport{MaxIdleConnsPerHost: callers}
	var n atomic.Int64
	var mu sync.Mutex
	tasks := map[string]int{}
	var wg sync.WaitGroup
	begun := time.Now()
	for range callers {
		wg.Go(func() {
			for i := n.Add(1); i <= want; i = n.Add(1) {
				rep := s.do("POST", "/access/v1/requests", pepToken, bodies[i%acts])
				var out struct{ Task struct{ ID string } }
				if json.Unmarshal([]byte(rep.body), &out) != nil || rep.status != 202 {
					t.Errorf("status %d: %s", rep.status, rep.body)
					return
				}
				mu.Lock()
				tasks[out.Task.ID]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	var list struct {
		Items []struct {
			Joined int64
			Status approval.Status
		}
	}
	s.into(s.do("GET", "/v1/approvals?limit=1000", adminToken, ""), &list)
	joined := int64(0)
	for _, a := range list.Items {
		joined += a.Joined
	}
	if len(tasks) != acts || len(list.Items) != acts || joined != want-acts {
		t.Errorf("%d tasks, %d asks with %d joined to them, want %d, %d and %d", len(tasks), len(list.Items), joined, acts, acts, want-acts)
	}
	// Those that were asked at the same moment were joined without being counted.
	page := s.do("GET", "/metrics", "", "").body
	_, rest, _ := strings.Cut(page, "\nsafeconduct_asks_joined_total ")
	number, _, _ := strings.Cut(rest, "\n")
	if n, err := strconv.ParseFloat(number, 64); err != nil || n < want-acts*callers || n > want-acts {
		t.Errorf("the number of joined asks is served as %q, want about %d", number, want-acts)
	}
	t.Logf("%d asks in %s: %.0f a second, %d questions", want, took.Round(time.Millisecond), want/took.Seconds(), len(list.Items))
}
