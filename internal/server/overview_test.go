package server_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/figures"
)

// What one should see first is right at once, and a process that starts anew shows the same.
func TestOverview(t *testing.T) {
	cfg := organisation(t, testdata("search"))
	s := start(t, cfg)
	s.do("PUT", "/v1/agents/bot-1", adminToken, `{"owner":"ops","purpose":"billing","version":"1","if_revision":0,"why":"new"}`)
	s.do("PUT", "/v1/alerts/drill", adminToken, `{"kind":"drill","severity":"high","expires_at":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`","why":"a drill"}`)
	for range 3 {
		s.do("POST", "/access/v1/evaluation", pepToken, `{"subject":{"type":"user","id":"alice"},"action":{"name":"view"},"resource":{"type":"record","id":"101"}}`)
	}
	overview := func() (o api.Overview) {
		t.Helper()
		for range 200 { // counting lags a moment behind
			r := s.do("GET", "/v1/overview", adminToken, "")
			if err := json.Unmarshal([]byte(r.body), &o); err != nil || r.status != 200 {
				t.Fatalf("%d: %s", r.status, r.body)
			}
			if o.Health.Counted >= o.Health.Head {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		return o
	}
	report := func() (r figures.Report) {
		t.Helper()
		if err := json.Unmarshal([]byte(s.do("GET", "/v1/report", adminToken, "").body), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	check := func(o api.Overview) {
		t.Helper()
		if o.Hour.Decisions != 3 || o.Day.Allow != 3 || o.Hour.Latency.Decisions != 3 || o.Agents.Total != 1 || o.Agents.States["active"] != 1 ||
			o.Alerts.Open != 1 || o.Alerts.Items[0].ID != "drill" || o.Alerts.Risk.Score == 0 || o.Health.Policies != 1 || o.Health.PoliciesAt.IsZero() || o.Approvals.Pending != 0 {
			t.Errorf("overview: %+v", o)
		}
	}
	check(overview())
	before := report()
	if before.All.Decisions != 3 || len(before.Parts) != 1 {
		t.Errorf("report: %+v", before)
	}
	csv := s.do("GET", "/v1/report?format=csv", adminToken, "")
	if lines := strings.Split(csv.body, "\r\n"); len(lines) != 4 || !strings.HasPrefix(lines[2], "(all),(all),") {
		t.Errorf("the report as a table: %q", csv.body)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	check(overview())
	if after := report(); after.All.Decisions != 3 || after.All.Latency != before.All.Latency {
		t.Errorf("after a restart the report is %+v, before it was %+v", after.All, before.All)
	}
	for path, status := range map[string]int{"/v1/overview/series?window=5y": 400, "/v1/report?format=pdf": 400, "/v1/report?month=2026-11": 200, "/v1/report?month=soon": 400, "/v1/report?from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z": 400} {
		if r := s.do("GET", path, adminToken, ""); r.status != status {
			t.Errorf("GET %s = %d, want %d", path, r.status, status)
		}
	}
	if r := s.do("GET", "/v1/overview", pepToken, ""); r.status != 403 {
		t.Errorf("an enforcement point reads the overview: %d", r.status)
	}
}
