package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// fixedConduct is a ConductAdmin that notes what it was asked, and knows the agent bot and three findings.
type fixedConduct struct {
	api.ConductReader
	asked string
}

var fixedFindings = []conduct.Finding{
	{ID: "f30.0", Agent: "bot", Kind: "deviation.sequence", Severity: conduct.High, Class: "money", Evidence: []int64{30}, State: conduct.Open},
	{ID: "f20.1", Agent: "bot", Kind: "escalation.probing", Severity: conduct.Low, Class: "read", Evidence: []int64{19, 20}, State: conduct.Open},
	{ID: "f20.0", Agent: "bot", Kind: "performance.loop", Severity: conduct.Medium, Class: "read", Evidence: []int64{20}, State: conduct.Dismissed},
}

func (f *fixedConduct) Count(context.Context) ([]monitor.Count, error) {
	return []monitor.Count{{State: conduct.Open, Severity: conduct.High, Kind: "deviation.sequence", Findings: 1}}, nil
}

func (f *fixedConduct) Report(id authz.AgentID, at time.Time) (*monitor.Report, error) {
	f.asked = fmt.Sprintf("report %s", id)
	if id != "bot" {
		return nil, authz.Errorf(authz.ErrNotFound, "nothing is known of an agent %q", id)
	}
	return &monitor.Report{Agent: id, AsOf: 30, Classes: []trust.Standing{{Class: "money", Level: "low", Score: 0.25}}, Findings: fixedFindings[:2]}, nil
}

func (f *fixedConduct) Findings(_ context.Context, q monitor.Filter, before string, limit int) ([]conduct.Finding, error) {
	f.asked = fmt.Sprintf("findings agent=%s kind=%s severity=%s state=%s before=%s limit=%d", q.Agent, q.Kind, q.Severity, q.State, before, limit)
	return fixedFindings[:min(limit, len(fixedFindings))], nil
}

func (f *fixedConduct) Finding(_ context.Context, id string) (conduct.Finding, error) {
	f.asked = "finding " + id
	for _, x := range fixedFindings {
		if x.ID == id {
			return x, nil
		}
	}
	return conduct.Finding{}, authz.Errorf(authz.ErrNotFound, "there is no finding %q", id)
}

func (f *fixedConduct) Judge(ctx context.Context, actor, why, id string, v conduct.Verdict) (conduct.Finding, error) {
	x, err := f.Finding(ctx, id)
	f.asked = fmt.Sprintf("%s judges %s %s: %s", actor, id, v, why)
	if err == nil && x.State == v {
		err = authz.Errorf(authz.ErrConflict, "the finding is %s already", v)
	}
	x.State, x.JudgedBy, x.Why = v, actor, why
	return x, err
}

func (f *fixedConduct) Set(_ context.Context, actor string, o trust.Override) (*monitor.Report, error) {
	r, err := f.Report(o.Agent, time.Time{})
	f.asked = fmt.Sprintf("%s sets %s %s=%q until %s restore %v: %s", actor, o.Agent, o.Class, o.Level, o.Expires.Format(time.RFC3339), o.Restore, o.Why)
	return r, err
}

func TestConduct(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f := &fixedConduct{}
	d := openDoor(t, func(c *api.Config) { c.Conduct, c.Now = f, func() time.Time { return now } })
	const never = "0001-01-01T00:00:00Z"
	for _, tt := range []struct {
		who, method, path, body string
		status                  int
		asked, has              string
	}{
		{"audit-token", "GET", "/v1/agents/bot/trust", "", 200, "report bot", `"level":"low","score":0.25`},
		{"admin-token", "GET", "/v1/agents/bot/trust", "", 200, "report bot", `"severity":"high"`},
		{"admin-token", "GET", "/v1/agents/nobody/trust", "", 404, "report nobody", "nothing is known"},
		{"pep-token", "GET", "/v1/agents/bot/trust", "", 403, "", ""},
		{"", "GET", "/v1/agents/bot/trust", "", 401, "", ""},

		{"audit-token", "GET", "/v1/findings", "", 200, "findings agent= kind= severity= state= before= limit=100", `"id":"f30.0"`},
		{"audit-token", "GET", "/v1/findings?agent=bot&kind=deviation&severity=medium&state=open&before=f40.0&limit=2", "", 200,
			"findings agent=bot kind=deviation severity=medium state=open before=f40.0 limit=2", `"next":"f20.1"`},
		{"audit-token", "GET", "/v1/findings?severity=grave", "", 400, "", "critical"},
		{"audit-token", "GET", "/v1/findings?state=odd", "", 400, "", "acknowledged"},
		{"audit-token", "GET", "/v1/findings?limit=1001", "", 400, "", "1000"},
		{"audit-token", "GET", "/v1/findings?color=red", "", 400, "", "color"},
		{"pep-token", "GET", "/v1/findings", "", 403, "", ""},
		{"audit-token", "GET", "/v1/findings/f20.1", "", 200, "finding f20.1", `"evidence":[19,20]`},
		{"audit-token", "GET", "/v1/findings/f9.0", "", 404, "finding f9.0", ""},
		{"pep-token", "GET", "/v1/findings/f20.1", "", 403, "", ""},

		{"admin-token", "POST", "/v1/findings/f30.0/judge", `{"verdict":"confirmed","why":"seen in the mail"}`, 200, "admin:root judges f30.0 confirmed: seen in the mail", `"judged_by":"admin:root"`},
		{"admin-token", "POST", "/v1/findings/f20.0/judge", `{"verdict":"dismissed","why":"again"}`, 409, "admin:root judges f20.0 dismissed: again", ""},
		{"admin-token", "POST", "/v1/findings/f9.0/judge", `{"verdict":"dismissed","why":"x"}`, 404, "admin:root judges f9.0 dismissed: x", ""},
		{"admin-token", "POST", "/v1/findings/f30.0/judge", `{"verdict":"open","why":"x"}`, 400, "", "acknowledged"},
		{"admin-token", "POST", "/v1/findings/f30.0/judge", `{"verdict":"confirmed"}`, 400, "", "why"},
		{"audit-token", "POST", "/v1/findings/f30.0/judge", `{"verdict":"confirmed","why":"x"}`, 403, "", ""},
		{"pep-token", "POST", "/v1/findings/f30.0/judge", `{"verdict":"confirmed","why":"x"}`, 403, "", ""},

		{"admin-token", "POST", "/v1/agents/bot/trust", `{"class":"money","level":"low","ttl_seconds":7200,"why":"odd"}`, 200,
			`admin:root sets bot money="low" until 2026-11-24T14:00:00Z restore false: odd`, `"as_of":30`},
		{"admin-token", "POST", "/v1/agents/bot/trust", `{"level":"none","expires_at":"2026-11-25T00:00:00+02:00","why":"odd"}`, 200,
			`admin:root sets bot every="none" until 2026-11-24T22:00:00Z restore false: odd`, ""},
		{"admin-token", "POST", "/v1/agents/bot/trust", `{"why":"over"}`, 200, `admin:root sets bot every="" until ` + never + ` restore false: over`, ""},
		{"admin-token", "POST", "/v1/agents/bot/trust", `{"level":"medium","restore":true,"why":"ok"}`, 200, `admin:root sets bot every="medium" until ` + never + ` restore true: ok`, ""},
		{"admin-token", "POST", "/v1/agents/nobody/trust", `{"why":"over"}`, 404, `admin:root sets nobody every="" until ` + never + ` restore false: over`, ""},
		{"audit-token", "POST", "/v1/agents/bot/trust", `{"why":"over"}`, 403, "", ""},
		{"pep-token", "POST", "/v1/agents/bot/trust", `{"why":"over"}`, 403, "", ""},
	} {
		f.asked = ""
		auth := ""
		if tt.who != "" {
			auth = "Bearer " + tt.who
		}
		r := d.send(tt.method, tt.path, tt.body, "Authorization", auth)
		got := text(t, r)
		if r.StatusCode != tt.status || f.asked != tt.asked || !strings.Contains(got, tt.has) {
			t.Errorf("%s %s %s by %s = %d, asked %q: %s\nwant %d, %q, %q", tt.method, tt.path, tt.body, tt.who, r.StatusCode, f.asked, got, tt.status, tt.asked, tt.has)
		}
	}
}

// What an administrator may not mean is refused before anything is recorded.
func TestSetTrustRefuses(t *testing.T) {
	f := &fixedConduct{}
	d := openDoor(t, func(c *api.Config) {
		c.Conduct, c.Now = f, func() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }
	})
	for body, has := range map[string]string{
		`{"level":"low","why":"x"}`: "say when",
		`{"level":"low","ttl_seconds":60,"expires_at":"2026-11-25T00:00:00Z","why":"x"}`: "once",
		`{"level":"low","ttl_seconds":-1,"why":"x"}`:                                     "ttl_seconds",
		`{"level":"low","ttl_seconds":9223372036854775807,"why":"x"}`:                    "ttl_seconds",
		`{"level":"low","expires_at":"2026-11-24T12:00:00Z","why":"x"}`:                  "future",
		`{"level":"low","expires_at":"2028-01-01T00:00:00Z","why":"x"}`:                  "year",
		`{"level":"huge","ttl_seconds":60,"why":"x"}`:                                    "high",
		`{"class":"spend","level":"low","ttl_seconds":60,"why":"x"}`:                     "money",
		`{"ttl_seconds":60,"why":"x"}`:                                                   "for a while",
		`{"restore":true,"why":"x"}`:                                                     "restore needs",
		`{"restore":true,"level":"none","why":"x"}`:                                      "restore needs",
		`{"restore":true,"level":"low","ttl_seconds":60,"why":"x"}`:                      "for a while",
		`{"level":"low","ttl_seconds":60}`:                                               "why",
		`{"level":"low","ttl_seconds":60,"agent":"other","why":"x"}`:                     "agent",
		`{"level":"low","ttl_seconds":60,"author":"other","why":"x"}`:                    "author",
	} {
		r := d.send("POST", "/v1/agents/bot/trust", body, "Authorization", "Bearer admin-token")
		if got := text(t, r); r.StatusCode != http.StatusBadRequest || f.asked != "" || !strings.Contains(got, has) {
			t.Errorf("%s = %d, asked %q: %s; want 400 with %q", body, r.StatusCode, f.asked, got, has)
		}
	}
}
