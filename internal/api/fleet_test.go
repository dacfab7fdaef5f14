package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

var fleetNow = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// A fleet is n registered agents, in memory, whose conduct follows from their numbers.
type fleet struct {
	api.AgentAdmin
	*fixedConduct
	agents  []*authz.Agent
	conduct map[authz.AgentID]monitor.Glance
}

func newFleet(n int) *fleet {
	f := &fleet{fixedConduct: &fixedConduct{}, conduct: map[authz.AgentID]monitor.Glance{}}
	for i := range n {
		a := &authz.Agent{
			ID: authz.AgentID(fmt.Sprintf("bot-%06d", i)), Owner: fmt.Sprint("team-", i%40), Purpose: fmt.Sprint("purpose-", i%25), Version: fmt.Sprint("v", i%3),
			State: authz.AgentActive, Capabilities: []string{"read", fmt.Sprint("write-", i%7)}, CreatedAt: fleetNow.Add(-time.Duration(i) * time.Hour),
		}
		if i%10 == 9 {
			a.State = authz.AgentSuspended
		}
		f.agents = append(f.agents, a)
		if i%5 != 4 {
			f.conduct[a.ID] = monitor.Glance{Level: trust.Level(i % 4), Open: i % 3, Gravest: int64(i%3) * 2, Quarantined: i%20 == 0}
		}
	}
	return f
}

func (f *fleet) Each(flt agent.Filter, after authz.AgentID, _ time.Time, do func(*authz.Agent, agent.Holding) bool) {
	for i, a := range f.agents {
		h := agent.Holding{}
		if i%2 == 0 {
			h = agent.Holding{Keys: 1, Since: fleetNow.Add(-time.Duration(i%100) * 24 * time.Hour), ExpiresAt: fleetNow.Add(time.Duration(i%100) * 24 * time.Hour)}
		}
		if a.ID > after && strings.Contains(string(a.ID)+a.Owner+a.Purpose, flt.Text) && !do(a, h) {
			return
		}
	}
}

func (f *fleet) Glance(id authz.AgentID, _ time.Time) (monitor.Glance, bool) {
	g, ok := f.conduct[id]
	return g, ok
}

func (f *fleet) Conduct(id authz.AgentID, _ string, _ time.Time) (authz.Trust, authz.Conduct) {
	return authz.Trust{Level: f.conduct[id].Level.String(), Score: 0.5}, authz.Conduct{}
}

func (f *fleet) History(context.Context, authz.AgentID, time.Time, time.Time) ([]monitor.Point, error) {
	var ps []monitor.Point
	for i := range 1000 {
		p := monitor.Point{Nth: int64(i + 1), Seq: int64(i + 1)}
		if i%10 == 0 {
			p.Moved = []monitor.Moved{{What: "level"}}
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// seenActivity has seen every agent.
type seenActivity struct{ api.Activity }

func (seenActivity) Seen(_ context.Context, ids []authz.AgentID, _ time.Time) (map[authz.AgentID]activity.Seen, error) {
	out := map[authz.AgentID]activity.Seen{}
	for _, id := range ids {
		out[id] = activity.Seen{At: fleetNow, Decisions: 5, Refusals: 2}
	}
	return out, nil
}

func openFleet(t testing.TB, f *fleet) *door {
	return openDoor(t, func(c *api.Config) {
		c.Agents, c.Conduct, c.Activity, c.Now = f, f, seenActivity{}, func() time.Time { return fleetNow }
	})
}

func (d *door) fleet(query string) (l api.FleetList) {
	d.Helper()
	w := d.send("GET", "/v1/fleet?"+query, "", "Authorization", "Bearer admin-token", "Content-Type", "")
	if w.StatusCode != http.StatusOK {
		d.Fatalf("GET /v1/fleet?%s: %s", query, w.Status)
	}
	if err := json.NewDecoder(w.Body).Decode(&l); err != nil {
		d.Fatal(err)
	}
	return l
}

func TestFleet(t *testing.T) {
	f := newFleet(200)
	d := openFleet(t, f)
	want := func(query string, selects func(i int, a *authz.Agent, g monitor.Glance, known bool) bool) {
		t.Helper()
		var wanted, got []string
		for i, a := range f.agents {
			g, ok := f.conduct[a.ID]
			if selects(i, a, g, ok) {
				wanted = append(wanted, string(a.ID))
			}
		}
		after := ""
		for pages := 0; ; pages++ {
			l := d.fleet(query + "&limit=17&after=" + after)
			for _, x := range l.Items {
				got = append(got, string(x.ID))
			}
			if after = l.Next; after == "" {
				break
			}
			if pages > 20 {
				t.Fatalf("%s has no end", query)
			}
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
		if l := d.fleet(query + "&facets=true"); l.Total != len(wanted) {
			t.Errorf("%s: total %d, want %d", query, l.Total, len(wanted))
		}
	}
	want("", func(int, *authz.Agent, monitor.Glance, bool) bool { return true })
	want("state=suspended", func(_ int, a *authz.Agent, _ monitor.Glance, _ bool) bool { return a.State == authz.AgentSuspended })
	want("owner=team-7&text=00", func(_ int, a *authz.Agent, _ monitor.Glance, _ bool) bool { return a.Owner == "team-7" })
	want("trust=low", func(_ int, _ *authz.Agent, g monitor.Glance, ok bool) bool { return ok && g.Level == trust.Low })
	want("trust=unknown", func(_ int, _ *authz.Agent, _ monitor.Glance, ok bool) bool { return !ok })
	want("findings=none", func(_ int, _ *authz.Agent, g monitor.Glance, _ bool) bool { return g.Gravest == 0 })
	want("findings=high", func(_ int, _ *authz.Agent, g monitor.Glance, _ bool) bool { return g.Gravest >= 3 })
	want("capability=write-3&purpose=purpose-3", func(_ int, a *authz.Agent, _ monitor.Glance, _ bool) bool {
		return a.Capabilities[1] == "write-3" && a.Purpose == "purpose-3"
	})
	want("credential=none", func(i int, _ *authz.Agent, _ monitor.Glance, _ bool) bool { return i%2 == 1 })
	want("expires_within_days=10", func(i int, _ *authz.Agent, _ monitor.Glance, _ bool) bool { return i%2 == 0 && i%100 <= 10 })
	want("older_than_days=90", func(i int, _ *authz.Agent, _ monitor.Glance, _ bool) bool { return i%2 == 0 && i%100 >= 90 })

	for _, q := range []string{"state=x", "trust=x", "findings=x", "credential=x", "order=x", "limit=1001", "expires_within_days=9999", "order=trust&after=x"} {
		if w := d.send("GET", "/v1/fleet?"+q, "", "Authorization", "Bearer admin-token", "Content-Type", ""); w.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s, want 400", q, w.Status)
		}
	}
}

// Other orders page by key: every agent comes once, in order.
func TestFleetOrder(t *testing.T) {
	f := newFleet(200)
	d := openFleet(t, f)
	for order, rank := range map[string]func(api.AgentSummary) int{
		"trust": func(a api.AgentSummary) int {
			l, ok := trust.ParseLevel(a.Trust)
			if !ok {
				return 99
			}
			n := 2 * int(l)
			if !a.Quarantined {
				n++
			}
			return n
		},
		"findings": func(a api.AgentSummary) int {
			return -map[string]int{"": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}[a.Gravest]
		},
	} {
		seen := map[authz.AgentID]bool{}
		last, lastID, after := -1<<31, authz.AgentID(""), ""
		for {
			l := d.fleet("order=" + order + "&limit=23&after=" + after)
			for _, a := range l.Items {
				n := rank(a)
				if seen[a.ID] || n < last || n == last && order == "trust" && a.ID <= lastID {
					t.Fatalf("order %s: %s of rank %d follows %s of rank %d", order, a.ID, n, lastID, last)
				}
				seen[a.ID], last, lastID = true, n, a.ID
			}
			if after = l.Next; after == "" {
				break
			}
		}
		if len(seen) != 200 {
			t.Errorf("order %s: %d agents, want 200", order, len(seen))
		}
	}
}

// A facet counts what all other filters select.
func TestFleetFacets(t *testing.T) {
	d := openFleet(t, newFleet(200))
	l := d.fleet("state=suspended&trust=unknown&facets=true&limit=1")
	count := func(list []api.FacetCount, value string) int {
		for _, c := range list {
			if c.Value == value {
				return c.Count
			}
		}
		return 0
	}
	both, low, suspended := l.Total, d.fleet("trust=unknown&facets=true").Total, d.fleet("state=suspended&facets=true").Total
	if got := count(l.Facets.State, "suspended"); got != both {
		t.Errorf("suspended counts %d of low trust, want %d", got, both)
	}
	if got := count(l.Facets.State, "active") + both; got != low {
		t.Errorf("active and suspended count %d of low trust, want %d", got, low)
	}
	sum := 0
	for _, c := range l.Facets.Trust {
		sum += c.Count
	}
	if sum != suspended {
		t.Errorf("levels count %d of the suspended, want %d", sum, suspended)
	}
	if l.Items[0].Decisions != 5 || l.Items[0].Refusals != 2 || !l.Items[0].LastSeen.Equal(fleetNow) {
		t.Errorf("row %+v", l.Items[0])
	}
}

// A history is thinned to what was asked for: what moved trust stays longest, and the present always.
func TestTrustHistoryThinned(t *testing.T) {
	d := openFleet(t, newFleet(1))
	for _, n := range []int{1, 50, 100, 101, 300, 999, 1000} {
		w := d.send("GET", fmt.Sprintf("/v1/agents/bot-000000/trust/history?points=%d", n), "", "Authorization", "Bearer admin-token", "Content-Type", "")
		var h api.TrustHistory
		if err := json.NewDecoder(w.Body).Decode(&h); err != nil {
			t.Fatal(err)
		}
		moved := 0
		for i, p := range h.Points {
			if i > 0 && p.Nth <= h.Points[i-1].Nth {
				t.Fatalf("points=%d: %d follows %d", n, p.Nth, h.Points[i-1].Nth)
			}
			if len(p.Moved) > 0 {
				moved++
			}
		}
		if len(h.Points) != n || h.Left != 1000-n || h.Points[n-1].Nth != 1000 || n > 100 && moved != 100 {
			t.Errorf("points=%d: %d points to number %d, %d left out, %d that something moved", n, len(h.Points), h.Points[len(h.Points)-1].Nth, h.Left, moved)
		}
	}
}

// BenchmarkFleet pages through 100,000 agents, with facets and without.
func BenchmarkFleet(b *testing.B) {
	d := openFleet(b, newFleet(100_000))
	for _, q := range []string{"limit=100", "limit=100&facets=true", "limit=100&facets=true&order=findings&trust=low&text=team", "limit=100&after=bot-099000"} {
		b.Run(q, func(b *testing.B) {
			for b.Loop() {
				r := httptest.NewRequest("GET", "/v1/fleet?"+q, nil)
				r.Header.Set("Authorization", "Bearer admin-token")
				w := httptest.NewRecorder()
				if d.handler.ServeHTTP(w, r); w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
