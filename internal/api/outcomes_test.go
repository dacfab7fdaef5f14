package api_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A shelf is a log of a few entries.
type shelf struct {
	api.LogReader
	entries map[int64]audit.Entry
}

func (s shelf) Entry(_ context.Context, seq int64) (audit.Entry, error) {
	if e, ok := s.entries[seq]; ok {
		return e, nil
	}
	return audit.Entry{}, authz.Errorf(authz.ErrNotFound, "there is no entry %d", seq)
}

// An ear remembers what it is told, once for each decision and reporter.
type ear struct {
	heard []conduct.Outcome
	err   error
}

func (e *ear) Tell(_ context.Context, o conduct.Outcome) (int64, error) {
	for _, h := range e.heard {
		if h.Decision == o.Decision && h.By == o.By {
			return 0, authz.Errorf(authz.ErrConflict, "%s has reported d%d already", o.By, o.Decision)
		}
	}
	e.heard = append(e.heard, o)
	return 100 + int64(len(e.heard)), e.err
}

var decidedAt = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// decided returns the entry of a decision about the agent bot that the enforcement point gateway asked
// for, changed by change.
func decided(t *testing.T, seq int64, change func(*pdp.Record)) audit.Entry {
	t.Helper()
	rec := pdp.Record{
		Request: authz.Request{
			Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, Action: authz.Action{Name: "pay"},
			Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}}, Context: authz.Claimed(`{"confidence": 0.75}`),
			Observed: authz.Observed{PEP: "gateway", Session: "s1"},
		},
		Facts: authz.Facts{Agent: &authz.Agent{ID: "bot", Owner: "finance"}, Grant: authz.Grant{Class: "money"}},
		Decision: authz.Decision{At: decidedAt, Effect: authz.Allow, Code: authz.CodeAllowed,
			Obligations: []authz.Obligation{{ID: "mask", Type: "mask"}, {ID: "tell", Type: "notification"}}},
	}
	if change != nil {
		change(&rec)
	}
	body, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Entry{Seq: seq, Kind: audit.DecisionMade, At: decidedAt, Body: body}
}

// openOutcomes opens a door to a log in which d7 is a decision, d8 an entry of another kind, d9 a
// decision about a person, d10 one about another agent, d11 one that an agent asked for itself, d12 a
// refusal with a confidence in text, and d13 one about a passport.
func openOutcomes(t *testing.T) (*door, *ear) {
	t.Helper()
	heard := &ear{}
	log := shelf{entries: map[int64]audit.Entry{
		7: decided(t, 7, nil),
		8: {Seq: 8, Kind: audit.AgentPut, Body: []byte(`{}`)},
		9: decided(t, 9, func(r *pdp.Record) { r.Request.Subject.Type, r.Facts.Agent = "user", nil }),
		10: decided(t, 10, func(r *pdp.Record) {
			r.Request.Subject.ID = "other"
			r.Facts.Agent = &authz.Agent{ID: "other", Owner: "root"}
		}),
		11: decided(t, 11, func(r *pdp.Record) { r.Request.Observed.PEP = "agent:bot" }),
		12: decided(t, 12, func(r *pdp.Record) {
			r.Decision = authz.Decision{At: decidedAt, Effect: authz.Deny}
			r.Facts.Grant.Class, r.Request.Context = "", authz.Claimed(`{"confidence":"0.9"}`)
		}),
		13: decided(t, 13, func(r *pdp.Record) { r.Request.Action.Name = authz.ActionIssue }),
	}}
	d := openDoor(t, func(c *api.Config) {
		c.Log, c.Outcomes, c.Passports = log, heard, new(fixedPassports)
	})
	return d, heard
}

func TestOutcome(t *testing.T) {
	d, heard := openOutcomes(t)
	said, surer := 0.75, 0.9
	whole := conduct.Outcome{
		Decision: 7, Agent: "bot", Class: "money", Action: "pay", Session: "s1", Obliged: []string{"mask", "tell"},
		Said: &said, Decided: decidedAt, Allowed: true, Reporter: conduct.ReporterPEP, By: "pep:gateway",
	}
	with := func(change func(o *conduct.Outcome)) conduct.Outcome {
		o := whole
		change(&o)
		return o
	}
	admin := []string{"Authorization", "Bearer admin-token"}
	agent := []string{"Authorization", "DPoP h.bot.s", "DPoP", "proof-1"}
	for name, c := range map[string]struct {
		id, body string
		headers  []string
		want     conduct.Outcome
	}{
		"an enforcement point": {"d7", `{"result":"right","latency_ms":0,"size_bytes":2048,"met":["tell","mask","tell"]}`, nil, with(func(o *conduct.Outcome) {
			o.Result, o.Latency, o.Size, o.Met = "right", 1, 2048, []string{"mask", "tell"}
		})},
		"done, and no more": {"d7", `{"size_bytes":0}`, nil, whole},
		"a failure":         {"d7", `{"fault":"timeout","latency_ms":30000}`, nil, with(func(o *conduct.Outcome) { o.Fault, o.Latency = "timeout", 30000 })},
		"a person": {"d7", `{"result":"harmful","why":"paid a stranger"}`, admin, with(func(o *conduct.Outcome) {
			o.Reporter, o.By, o.Result, o.Why = conduct.ReporterPerson, "admin:root", "harmful", "paid a stranger"
		})},
		"for the owner": {"d7", `{"result":"right","reporter":"operator","why":"checked"}`, admin, with(func(o *conduct.Outcome) {
			o.Reporter, o.By, o.Result, o.Why = conduct.ReporterOperator, "admin:root", "right", "checked"
		})},
		"the owner as a person": {"d10", `{"result":"right","why":"checked"}`, admin, with(func(o *conduct.Outcome) {
			o.Decision, o.Agent, o.Reporter, o.By, o.Result, o.Why = 10, "other", conduct.ReporterOperator, "admin:root", "right", "checked"
		})},
		"the agent": {"d7", `{"result":"wrong","fault":"schema","why":"misread"}`, agent, with(func(o *conduct.Outcome) {
			o.Reporter, o.By, o.Result, o.Fault, o.Why = conduct.ReporterAgent, "agent:bot", "wrong", "schema", "misread"
		})},
		"of a refusal": {"d12", `{"result":"harmful"}`, nil, with(func(o *conduct.Outcome) {
			o.Decision, o.Class, o.Said, o.Obliged, o.Allowed, o.Result = 12, "write", &surer, nil, false, "harmful"
		})},
	} {
		heard.heard = nil
		r := d.post("/v1/decisions/"+c.id+"/outcome", c.body, c.headers...)
		if got := text(t, r); r.StatusCode != 200 || got != `{"entry":101}` {
			t.Errorf("%s: status %d, %s, want the entry 101", name, r.StatusCode, got)
			continue
		}
		if diff := cmp.Diff([]conduct.Outcome{c.want}, heard.heard); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What is not understood, or not for the caller to say, reaches nobody.
func TestOutcomeRefused(t *testing.T) {
	d, heard := openOutcomes(t)
	admin := []string{"Authorization", "Bearer admin-token"}
	agent := []string{"Authorization", "DPoP h.bot.s", "DPoP", "proof-1"}
	for name, c := range map[string]struct {
		id, body string
		headers  []string
		status   int
		says     string
	}{
		"nothing said":            {"d7", `{}`, nil, 400, "at least one of result"},
		"no reason":               {"d7", `{"result":"wrong"}`, admin, 400, "why"},
		"an endless reason":       {"d7", `{"result":"wrong","why":"` + strings.Repeat("x", 1001) + `"}`, nil, 400, "1000"},
		"an endless body":         {"d7", `{"result":"wrong","why":"` + strings.Repeat("x", 20000) + `"}`, nil, 413, "larger"},
		"unknown member":          {"d7", `{"result":"wrong","agent":"other"}`, nil, 400, "agent"},
		"member twice":            {"d7", `{"result":"wrong","result":"right"}`, nil, 400, "result"},
		"unknown result":          {"d7", `{"result":"fine"}`, nil, 400, "fine"},
		"unknown fault":           {"d7", `{"fault":"oops"}`, nil, 400, "oops"},
		"latency below zero":      {"d7", `{"latency_ms":-1}`, nil, 400, "latency_ms"},
		"endless latency":         {"d7", `{"latency_ms":9223372036854775807}`, nil, 400, "latency_ms"},
		"fraction of latency":     {"d7", `{"latency_ms":1.5}`, nil, 400, "latency_ms"},
		"size below zero":         {"d7", `{"size_bytes":-5}`, nil, 400, "size_bytes"},
		"unknown obligation":      {"d7", `{"met":["shred"]}`, nil, 400, "shred"},
		"obligation of a refusal": {"d12", `{"met":["mask"]}`, nil, 400, "mask"},
		"another as reporter":     {"d7", `{"result":"right","reporter":"person","why":"x"}`, admin, 400, "reporter"},
		"PEP for the owner":       {"d7", `{"result":"right","reporter":"operator"}`, nil, 403, "administrator"},
		"PEP of another's":        {"d11", `{"result":"right"}`, nil, 403, "somebody else"},
		"agent for itself":        {"d7", `{"result":"right"}`, agent, 403, "right"},
		"agent's obligations":     {"d7", `{"met":[]}`, agent, 403, "obligations"},
		"agent for the owner":     {"d7", `{"result":"wrong","reporter":"operator"}`, agent, 403, "administrator"},
		"agent of another":        {"d10", `{"result":"wrong"}`, agent, 404, "about this agent"},
		"agent of a person":       {"d9", `{"result":"wrong"}`, agent, 404, "about this agent"},
		"auditor":                 {"d7", `{"result":"wrong"}`, []string{"Authorization", "Bearer audit-token"}, 403, "auditor"},
		"nobody":                  {"d7", `{"result":"wrong"}`, []string{"Authorization", ""}, 401, "token"},
		"a passport that is none": {"d7", `{"result":"wrong"}`, []string{"Authorization", "DPoP h.expired.s", "DPoP", "p"}, 401, ""},
		"no decision":             {"d8", `{"result":"wrong"}`, nil, 404, "no decision"},
		"no entry":                {"d99", `{"result":"wrong"}`, nil, 404, "99"},
		"no id":                   {"x", `{"result":"wrong"}`, nil, 400, "d123"},
		"about a credential":      {"d13", `{"result":"wrong"}`, nil, 400, "credential"},
		"about a person":          {"d9", `{"result":"wrong"}`, nil, 400, "no registered agent"},
	} {
		r := d.post("/v1/decisions/"+c.id+"/outcome", c.body, c.headers...)
		if got := text(t, r); r.StatusCode != c.status || !strings.Contains(got, c.says) {
			t.Errorf("%s: status %d, %s, want %d that says %q", name, r.StatusCode, got, c.status, c.says)
		}
	}
	if len(heard.heard) > 0 {
		t.Errorf("heard all the same: %+v", heard.heard)
	}
}

func TestOutcomeTwice(t *testing.T) {
	d, heard := openOutcomes(t)
	if r := d.post("/v1/decisions/d7/outcome", `{"result":"wrong"}`); r.StatusCode != 200 {
		t.Fatalf("status %d: %s", r.StatusCode, text(t, r))
	}
	if r := d.post("/v1/decisions/d7/outcome", `{"result":"right"}`); r.StatusCode != 409 {
		t.Errorf("a second time: status %d: %s, want 409", r.StatusCode, text(t, r))
	}
	heard.err = authz.Errorf(authz.ErrUnavailable, "the log cannot be written")
	if r := d.post("/v1/decisions/d11/outcome", `{"result":"wrong","why":"x"}`, "Authorization", "Bearer admin-token"); r.StatusCode != 503 {
		t.Errorf("without a log: status %d: %s, want 503", r.StatusCode, text(t, r))
	}
	deaf := openDoor(t, func(c *api.Config) { c.Log = shelf{} })
	if r := deaf.post("/v1/decisions/d7/outcome", `{"result":"wrong"}`); r.StatusCode != 503 {
		t.Errorf("with nobody who listens: status %d: %s, want 503", r.StatusCode, text(t, r))
	}
}
