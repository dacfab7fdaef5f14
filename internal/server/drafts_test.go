package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// form is a body of the given members.
func form(t *testing.T, members map[string]any) string {
	t.Helper()
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What authors can learn of a draft before it is published: problems with their places, cases, what it
// changes, and what it would have decided otherwise.
func TestDrafts(t *testing.T) {
	s := explainedServer(t)
	file := func(policies string) map[string]any {
		return map[string]any{"schema": explained["s.cedarschema"], "files": []map[string]string{{"name": "p.cedar", "text": policies}}}
	}
	for range 3 {
		s.do("POST", "/access/v1/evaluation", pepToken, question("payer", "pay", `{}`, `{"amount":50}`, ""))
	}
	s.do("POST", "/access/v1/evaluation", pepToken, question("payer", "pay", `{}`, `{"amount":500}`, ""))
	s.do("POST", "/access/v1/evaluation", pepToken, question("reader", "look", `{}`, `{}`, ""))
	s.do("POST", "/access/v1/evaluation", pepToken, question("nobody", "look", `{}`, `{}`, ""))

	var check struct {
		OK       bool
		Active   int64
		Problems []struct {
			Line, Column  int
			EndColumn     int `json:"end_column"`
			Message, File string
		}
	}
	s.into(s.do("POST", "/v1/policies/check", adminToken, form(t, map[string]any{"source": file(strings.Replace(explained["p.cedar"], `Action::"look"`, `Action::"loook"`, 1))})), &check)
	last := check.Problems[len(check.Problems)-1]
	if check.OK || check.Active != 1 || last.Line != 22 || last.Column != 38 || last.EndColumn-last.Column != len(`"loook"`) {
		t.Errorf("check of a misspelled action: %+v", check)
	}
	check.Problems = nil
	s.into(s.do("POST", "/v1/policies/check", adminToken, form(t, map[string]any{"catalog": strings.Replace(explained["catalog.yaml"], "class: money", "class: monney", 1)})), &check)
	if p := check.Problems; check.OK || len(p) == 0 || p[0].File != "catalog.yaml" || p[0].EndColumn-p[0].Column != len("monney") {
		t.Errorf("check of a misspelled class: %+v", check)
	}

	// A stricter draft: 50 needs approval, too; and nobody looks.
	stricter := strings.NewReplacer("amount > 100", "amount > 10", `@id("look-marked") @obligations("mark")`, `@id("look-marked") @mode("shadow")`).Replace(explained["p.cedar"])

	var diff struct {
		Before, After int64
		Same          int
		Policies      []struct {
			ID, Change string
			Parts      []string
		}
	}
	s.into(s.do("POST", "/v1/policies/diff", adminToken, form(t, map[string]any{"source": file(stricter)})), &diff)
	if diff.Before != 1 || diff.Same != 5 || len(diff.Policies) != 2 || diff.Policies[0].ID != "large" || strings.Join(diff.Policies[0].Parts, " ") != "conditions" ||
		strings.Join(diff.Policies[1].Parts, " ") != "@mode @obligations" {
		t.Errorf("diff: %+v", diff)
	}

	type outcome struct {
		Effect, Code string
		Policies     []string
	}
	var back struct {
		Judged, Same, Different, Already int
		Stopped                          string
		Groups                           []struct {
			Before, After outcome
			Count         int
			Examples      []struct{ ID string }
		}
		Unjudged       []struct{ Reason string }
		CatalogDiffers bool `json:"catalog_differs"`
	}
	run := func(members map[string]any) {
		t.Helper()
		back.Groups, back.CatalogDiffers, back.Already = nil, false, 0
		s.into(s.do("POST", "/v1/policies/backtest", adminToken, form(t, members)), &back)
	}
	head := func() string { return s.do("GET", "/checkpoint", "", "").body }
	before := head()
	run(map[string]any{"source": file(stricter)})
	if back.Judged != 6 || back.Same != 2 || back.Different != 4 || back.Stopped != "all" || back.CatalogDiffers || len(back.Groups) != 2 {
		t.Fatalf("back-test: %+v", back)
	}
	if g := back.Groups[0]; g.Count != 3 || fmt.Sprint(g.Before) != "{allow allowed [agents-pay]}" || fmt.Sprint(g.After) != "{require_approval approval_required [large]}" || len(g.Examples) != 3 {
		t.Errorf("the larger group: %+v", g)
	}
	if g := back.Groups[1]; g.Count != 1 || fmt.Sprint(g.After) != "{deny no_permit []}" {
		t.Errorf("the smaller group: %+v", g)
	}
	if d := s.do("GET", "/v1/decisions/"+back.Groups[0].Examples[0].ID, adminToken, ""); d.status != 200 {
		t.Errorf("an example cannot be read: %d", d.status)
	}
	if after := head(); after != before {
		t.Error("a back-test wrote into the log")
	}
	run(map[string]any{"source": file(stricter), "last": 2})
	if back.Judged != 2 || back.Stopped != "last" {
		t.Errorf("of the last two: %+v", back)
	}
	run(map[string]any{"source": file(stricter), "agent": "reader"})
	if back.Judged != 1 || back.Different != 1 {
		t.Errorf("of one agent: %+v", back)
	}
	run(map[string]any{"catalog": explained["catalog.yaml"] + "# changed\n"})
	if back.Different != 0 || !back.CatalogDiffers {
		t.Errorf("with another catalog: %+v", back)
	}
	for _, bad := range []string{
		`{"last":-1}`, `{"last":10001}`, `{"from":"yesterday"}`, `{"source":{"schema":"entity","files":[]}}`,
		`{"catalog":"- x"}`, `{"nonsense":1}`,
	} {
		if r := s.do("POST", "/v1/policies/backtest", adminToken, bad); r.status != http.StatusBadRequest {
			t.Errorf("back-test of %s: status %d: %s", bad, r.status, r.body)
		}
	}

	const cases = `
agents: {payer: {capabilities: [payments]}}
defaults: {request: {subject: "agent:payer", action: {name: pay, properties: {amount: 50}}, resource: "Ledger:main"}}
cases:
  - {name: fifty, expect: allow}
  - {name: much, request.action.properties.amount: 500, expect: {outcome: require_approval, fired: [large]}}
`
	var test struct {
		OK             bool
		Passed, Failed int
		Cases          []struct{ Name string }
		Coverage       []struct{ Policy string }
		Faults         []string
	}
	try := func(policies, cases string) {
		t.Helper()
		s.into(s.do("POST", "/v1/policies/test", adminToken, form(t, map[string]any{"source": file(policies), "cases": []map[string]string{{"name": "a.test.yaml", "text": cases}}})), &test)
	}
	if try(explained["p.cedar"], cases); !test.OK || test.Passed != 2 || len(test.Coverage) != 7 {
		t.Errorf("cases: %+v", test)
	}
	if try(stricter, cases); test.OK || test.Passed != 1 || test.Failed != 1 {
		t.Errorf("cases of the stricter draft: %+v", test)
	}
	if try(stricter, "cases: [\n"); test.OK || len(test.Faults) == 0 {
		t.Errorf("no cases: %+v", test)
	}
	if r := s.do("POST", "/v1/policies/test", adminToken, `{"cases":[]}`); r.status != http.StatusBadRequest {
		t.Errorf("without cases: status %d", r.status)
	}

	// Published, it is compared by number, and what it changed is no news any more.
	s.into(s.do("POST", "/v1/policies", adminToken, form(t, map[string]any{"source": file(stricter), "if_version": 1, "why": "stricter"})), new(any))
	s.into(s.do("GET", "/v1/policies/1/diff/2", adminToken, ""), &diff)
	if diff.Before != 1 || diff.After != 2 || len(diff.Policies) != 2 {
		t.Errorf("diff of versions: %+v", diff)
	}
	if r := s.do("GET", "/v1/policies/1/diff/9", adminToken, ""); r.status != http.StatusNotFound {
		t.Errorf("diff with no version: status %d", r.status)
	}
	run(map[string]any{})
	if back.Different != 4 || back.Already != 4 {
		t.Errorf("back-test of what is active: %+v", back)
	}
}

// What the organisation declares is told as data.
func TestCatalogView(t *testing.T) {
	s := explainedServer(t)
	s.into(s.do("POST", "/v1/policies", adminToken, form(t, map[string]any{"catalog": explained["catalog.yaml"] + `
schedules:
  office: {zone: Europe/Berlin, windows: [{days: mon-fri, from: "08:00", to: "18:00"}], holidays: [2026-12-24]}
networks: {home: [10.0.0.0/8, "2001:db8::/32"]}
`, "if_version": 1, "why": "hours"})), new(any))
	var view struct {
		Version      int64
		Zone         string
		Capabilities []struct{ ID, Class string }
		Schedules    []struct {
			Name, Zone string
			Turns      string
		}
		Networks []struct{ Ranges []string }
		Used     struct{ Reasons map[string][]string }
	}
	s.into(s.do("GET", "/v1/catalog", adminToken, ""), &view)
	if view.Version != 2 || view.Zone != "Asia/Tokyo" || len(view.Capabilities) != 1 || len(view.Schedules) != 1 || view.Schedules[0].Turns == "" ||
		strings.Join(view.Networks[0].Ranges, " ") != "10.0.0.0/8 2001:db8::/32" || strings.Join(view.Used.Reasons["closed"], " ") != "closed" {
		t.Errorf("catalog: %+v", view)
	}
	s.into(s.do("GET", "/v1/catalog?version=1", adminToken, ""), &view)
	if view.Version != 1 || len(view.Schedules) != 0 {
		t.Errorf("catalog of version 1: %+v", view)
	}
	var cal struct {
		Zone, Today string
		Days        []struct {
			Date    string
			Holiday bool
			Minutes int
			Shift   int
			Open    []struct{ Start, End int }
		}
	}
	s.into(s.do("GET", "/v1/catalog/schedules/office/calendar?from=2026-12-23&to=2026-12-25", adminToken, ""), &cal)
	if len(cal.Days) != 3 || len(cal.Days[0].Open) != 1 || cal.Days[0].Open[0].Start != 480 || cal.Days[0].Open[0].End != 1080 || !cal.Days[1].Holiday || cal.Zone != "Europe/Berlin" {
		t.Errorf("calendar: %+v", cal)
	}
	s.into(s.do("GET", "/v1/catalog/schedules/office/calendar?from=2026-10-24&to=2026-10-26", adminToken, ""), &cal)
	if d := cal.Days[1]; d.Minutes != 1500 || d.Shift != -60 {
		t.Errorf("the day on which the clocks go back: %+v", d)
	}
	if s.into(s.do("GET", "/v1/catalog/schedules/office/calendar", adminToken, ""), &cal); len(cal.Days) != 7 || cal.Days[0].Date != cal.Today {
		t.Errorf("calendar from today: %+v", cal)
	}
	for path, status := range map[string]int{
		"/v1/catalog/schedules/none/calendar": 404, "/v1/catalog?version=9": 404, "/v1/policies/schema?version=9": 404,
		"/v1/catalog/schedules/office/calendar?from=x": 400, "/v1/catalog/schedules/office/calendar?from=2026-01-01&to=2028-01-01": 400,
	} {
		if r := s.do("GET", path, adminToken, ""); r.status != status {
			t.Errorf("%s: status %d, want %d: %s", path, r.status, status, r.body)
		}
	}
	var words struct {
		Version  int64
		Observed []any
	}
	if s.into(s.do("GET", "/v1/policies/schema?version=1", adminToken, ""), &words); words.Version != 1 || len(words.Observed) == 0 {
		t.Errorf("schema: %+v", words)
	}
}
