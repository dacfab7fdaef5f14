package server_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/safeconduct/safeconduct/internal/server"
)

// The interoperability suites of AuthZEN: their requests and expected results (see the NOTICE beside
// them), over policies of our own.

// A suiteCase is one line of a suite.
type suiteCase struct {
	Path      string
	Request   json.RawMessage
	Decision  *bool
	Decisions []bool
	Results   []string
}

func suite(t *testing.T, file string) (cases []suiteCase) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var c suiteCase
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		cases = append(cases, c)
	}
	return cases
}

func organisation(t *testing.T, dir string) server.Config {
	t.Helper()
	cfg := load(t, "")
	cfg.Organisation = server.Organisation{
		Catalog:  filepath.Join(dir, "catalog.yaml"),
		Schema:   filepath.Join(dir, "schema.cedarschema"),
		Policies: []string{filepath.Join(dir, "*.cedar")},
	}
	return cfg
}

func TestInterop(t *testing.T) {
	for dir, files := range map[string][]string{
		"todo":   {"todo.jsonl", "todo-draft01.jsonl", "gateway.jsonl"},
		"search": {"requests.jsonl"},
	} {
		s := start(t, organisation(t, testdata(dir)))
		for _, file := range files {
			t.Run(dir+"/"+file, func(t *testing.T) {
				cases := suite(t, testdata(dir, file))
				for _, c := range cases {
					var answer struct {
						Decision    *bool
						Evaluations []struct{ Decision bool }
						Results     []struct{ ID, Name string }
					}
					r := s.ask(c.Path, string(c.Request))
					s.into(r, &answer)
					switch {
					case c.Decision != nil:
						if answer.Decision == nil || *answer.Decision != *c.Decision {
							t.Errorf("%s: %s, want %v", c.Request, r.body, *c.Decision)
						}
					case c.Decisions != nil:
						var got []bool
						for _, e := range answer.Evaluations {
							got = append(got, e.Decision)
						}
						if !slices.Equal(got, c.Decisions) {
							t.Errorf("%s: %v, want %v", c.Request, got, c.Decisions)
						}
					default:
						got := []string{}
						for _, e := range answer.Results {
							got = append(got, e.ID+e.Name)
						}
						slices.Sort(got)
						if !slices.Equal(got, c.Results) {
							t.Errorf("%s: %v, want %v", c.Request, got, c.Results)
						}
					}
				}
				if len(cases) < 20 {
					t.Errorf("only %d cases", len(cases))
				}
			})
		}
	}
}
