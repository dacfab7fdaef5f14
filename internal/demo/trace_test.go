package demo_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/safeconduct/safeconduct/internal/demo"
)

func TestTraces(t *testing.T) {
	if fi, err := os.Stat("traces.jsonl.zst"); err != nil || fi.Size() > 2<<20 {
		t.Fatalf("traces.jsonl.zst: %v, want at most 2 MiB", err)
	}
	s, err := demo.Traces()
	if err != nil {
		t.Fatal(err)
	}
	tools, err := demo.Tools()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, tool := range tools {
		known[tool.Suite+" "+tool.Name] = true
	}
	type stratum struct {
		suite          string
		attacked, good bool
	}
	got := map[stratum]int{}
	models := map[string]bool{}
	for i, tr := range s.Traces {
		if i > 0 && s.Traces[i-1].ID >= tr.ID {
			t.Errorf("trace %s after %s, want them sorted", tr.ID, s.Traces[i-1].ID)
		}
		if len(tr.Calls) == 0 || len(tr.Calls) != len(tr.Labels.Calls) {
			t.Errorf("trace %s: %d calls, %d labels", tr.ID, len(tr.Calls), len(tr.Labels.Calls))
		}
		for _, c := range tr.Calls {
			if !known[tr.Suite+" "+c.Tool] {
				t.Errorf("trace %s: no tool %q in %s", tr.ID, c.Tool, tr.Suite)
			}
			if !json.Valid(c.Args) {
				t.Errorf("trace %s: arguments of %s are no JSON", tr.ID, c.Tool)
			}
			if _, ok := s.Results[c.Result]; c.Result != "" && !ok {
				t.Errorf("trace %s: result %s is not there", tr.ID, c.Result)
			}
		}
		good := tr.Labels.Solved
		if tr.Labels.Attacked {
			good = tr.Labels.Succeeded
		}
		got[stratum{tr.Suite, tr.Labels.Attacked, good}]++
		models[tr.Model] = true
	}
	for _, suite := range []string{"banking", "slack", "travel", "workspace"} {
		for st, want := range map[stratum]int{{suite, false, true}: 30, {suite, false, false}: 10, {suite, true, true}: 30, {suite, true, false}: 20} {
			if got[st] != want {
				t.Errorf("%+v: %d traces, want %d", st, got[st], want)
			}
		}
	}
	if len(models) < 10 {
		t.Errorf("%d models, want at least 10", len(models))
	}
}
