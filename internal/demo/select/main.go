// Select makes the demonstration's selection of recorded traces again, byte for byte, from the
// unpacked traces that NOTICE names:
//
//	go run ./internal/demo/select --from DIR
//
// The rule. Candidates are the traces of AgentDojo of bare agents (no defence) at a user task that
// ran without error and made at least one call; attacked ones only if the attacker wanted an act.
// Each suite has four strata: benign and solved, benign and not solved, attacked with success,
// attacked without. Inside a stratum each model's traces are ordered by the SHA-256 of the seed and
// the trace's id, and the models, in order of their names, give one trace each in turn until the
// stratum is full. Nothing else is looked at: an attack that no decision could stop is as likely to
// be chosen as any other.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/safeconduct/safeconduct/internal/demo"
)

const (
	seed      = "safeconduct/1"
	maxResult = 32 << 10 // bytes of a result that are kept
)

// How many traces each suite gives to each stratum.
var strata = []struct {
	name     string
	attacked bool
	good     bool // benign: the task was solved; attacked: the attack succeeded
	n        int
}{
	{"benign, solved", false, true, 30},
	{"benign, not solved", false, false, 10},
	{"attacked with success", true, true, 30},
	{"attacked without", true, false, 20},
}

var head = demo.Head{
	Source:  "AgentDojo, official runs (github.com/sequrity-ai/agentdojo)",
	Commit:  "7ee80b495601259176d0af7585cae17501fcc9a6",
	Licence: "MIT",
	Seed:    seed,
	Rule: "bare agents at user tasks without run errors and with at least one call; per suite 30 benign solved, " +
		"10 benign not solved, 30 attacked with success, 20 attacked without; models in turn, ordered by SHA-256",
}

func main() {
	from := flag.String("from", "", "directory of the unpacked traces")
	to := flag.String("to", "internal/demo", "directory to write traces.jsonl.zst and tools.jsonl to")
	flag.Parse()
	if *from == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*from, *to); err != nil {
		fmt.Fprintln(os.Stderr, "select:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	traces, err := candidates(filepath.Join(from, "agentdojo.traces.jsonl"))
	if err != nil {
		return err
	}
	s := &demo.Selection{Head: head, Results: map[string]string{}}
	byID := map[string]*demo.Trace{}
	for _, t := range choose(traces) {
		d := &demo.Trace{
			ID: t.Trace, Suite: t.Suite, Model: t.Model, Task: t.UserTask, Prompt: t.Prompt,
			Labels: demo.Labels{Attacked: t.Attacked, Succeeded: t.succeeded(), Solved: t.Utility, Goal: t.InjectionTask},
		}
		if t.Attacked {
			d.Labels.Attack = t.Attack
		}
		byID[d.ID], s.Traces = d, append(s.Traces, d)
	}
	slices.SortFunc(s.Traces, func(a, b *demo.Trace) int { return cmp.Compare(a.ID, b.ID) })
	if err := addCalls(filepath.Join(from, "agentdojo.calls.jsonl"), byID); err != nil {
		return err
	}
	if err := addResults(filepath.Join(from, "agentdojo.results.jsonl"), s); err != nil {
		return err
	}
	if err := write(filepath.Join(to, "traces.jsonl.zst"), s); err != nil {
		return err
	}
	return copyTools(filepath.Join(from, "tools.jsonl"), filepath.Join(to, "tools.jsonl"))
}

type trace struct {
	Trace         string  `json:"trace"`
	Dataset       string  `json:"dataset"`
	Suite         string  `json:"suite"`
	Model         string  `json:"model"`
	Defence       string  `json:"defence"`
	UserTask      string  `json:"user_task"`
	Kind          string  `json:"kind"`
	Attack        string  `json:"attack"`
	Attacked      bool    `json:"attacked"`
	InjectionTask string  `json:"injection_task"`
	GoalKind      *string `json:"goal_kind"`
	Prompt        string  `json:"prompt"`
	NCalls        int     `json:"n_calls"`
	Utility       bool    `json:"utility"`
	AttackSuccess *bool   `json:"attack_success"`
	RunError      any     `json:"run_error"`
	CallsIncluded bool    `json:"calls_included"`
}

func (t *trace) succeeded() bool { return t.AttackSuccess != nil && *t.AttackSuccess }

func candidates(name string) ([]*trace, error) {
	var out []*trace
	err := eachLine(name, func(b []byte) error {
		t := new(trace)
		if err := json.Unmarshal(b, t); err != nil {
			return err
		}
		if t.Dataset == "agentdojo" && t.Defence == "none" && t.Kind == "user_task" && t.RunError == nil && t.CallsIncluded &&
			t.NCalls > 0 && (!t.Attacked || t.GoalKind != nil && *t.GoalKind == "action" && t.AttackSuccess != nil) {
			out = append(out, t)
		}
		return nil
	})
	return out, err
}

func choose(all []*trace) []*trace {
	var out []*trace
	for _, suite := range []string{"banking", "slack", "travel", "workspace"} {
		for _, st := range strata {
			models := map[string][]*trace{}
			for _, t := range all {
				good := t.Utility
				if t.Attacked {
					good = t.succeeded()
				}
				if t.Suite == suite && t.Attacked == st.attacked && good == st.good {
					models[t.Model] = append(models[t.Model], t)
				}
			}
			out = append(out, inTurn(models, st.n)...)
		}
	}
	return out
}

// inTurn takes one trace of each model in turn until it has n or there are no more.
func inTurn(models map[string][]*trace, n int) []*trace {
	var names []string
	for m, ts := range models {
		names = append(names, m)
		slices.SortFunc(ts, func(a, b *trace) int { return bytes.Compare(rank(a), rank(b)) })
	}
	slices.Sort(names)
	var out []*trace
	for i, more := 0, true; more; i++ {
		more = false
		for _, m := range names {
			if i < len(models[m]) && len(out) < n {
				out, more = append(out, models[m][i]), true
			}
		}
	}
	return out
}

func rank(t *trace) []byte {
	h := sha256.Sum256([]byte(seed + "\n" + t.Trace))
	return h[:]
}

func addCalls(name string, traces map[string]*demo.Trace) error {
	type numbered struct {
		step  int
		call  demo.Call
		label string
	}
	calls := map[string][]numbered{}
	err := eachLine(name, func(b []byte) error {
		var c struct {
			Trace    string          `json:"trace"`
			Step     int             `json:"step"`
			Tool     string          `json:"tool"`
			Args     json.RawMessage `json:"args"`
			ResultID string          `json:"result_id"`
			Oracle   struct {
				Label string `json:"label"`
			} `json:"oracle"`
		}
		if err := json.Unmarshal(b, &c); err != nil {
			return err
		}
		if traces[c.Trace] != nil {
			calls[c.Trace] = append(calls[c.Trace], numbered{c.Step, demo.Call{Tool: c.Tool, Args: bytes.Clone(c.Args), Result: c.ResultID}, c.Oracle.Label})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, cs := range calls {
		slices.SortStableFunc(cs, func(a, b numbered) int { return cmp.Compare(a.step, b.step) })
		for _, c := range cs {
			traces[id].Calls = append(traces[id].Calls, c.call)
			traces[id].Labels.Calls = append(traces[id].Labels.Calls, c.label)
		}
	}
	return nil
}

func addResults(name string, s *demo.Selection) error {
	wanted := map[string]bool{}
	for _, t := range s.Traces {
		for _, c := range t.Calls {
			wanted[c.Result] = c.Result != ""
		}
	}
	return eachLine(name, func(b []byte) error {
		var r struct {
			ID   string `json:"result_id"`
			Text string `json:"text"`
		}
		if err := json.Unmarshal(b, &r); err != nil {
			return err
		}
		if wanted[r.ID] {
			s.Results[r.ID] = r.Text[:min(len(r.Text), maxResult)]
		}
		return nil
	})
}

// write compresses with one encoder at a fixed level, so that the bytes depend on nothing but the
// version of the compressor.
func write(name string, s *demo.Selection) error {
	var buf bytes.Buffer
	z, err := zstd.NewWriter(&buf, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	e := json.NewEncoder(z)
	e.SetEscapeHTML(false)
	lines := []demo.Line{{Head: &s.Head}}
	var ids []string
	for id := range s.Results {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		lines = append(lines, demo.Line{Result: &demo.Result{ID: id, Text: s.Results[id]}})
	}
	for _, t := range s.Traces {
		lines = append(lines, demo.Line{Trace: t})
	}
	for _, l := range lines {
		if err := e.Encode(l); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: %d traces, %d results, %d bytes\n", name, len(s.Traces), len(s.Results), buf.Len())
	return os.WriteFile(name, buf.Bytes(), 0o644)
}

func copyTools(from, to string) error {
	var all []demo.Tool
	err := eachLine(from, func(b []byte) error {
		var t struct {
			demo.Tool
			Dataset string `json:"dataset"`
		}
		if err := json.Unmarshal(b, &t); err != nil {
			return err
		}
		if t.Dataset == "agentdojo" {
			all = append(all, t.Tool)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b demo.Tool) int {
		return cmp.Or(cmp.Compare(a.Suite, b.Suite), cmp.Compare(a.Name, b.Name))
	})
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	for _, t := range all {
		if err := e.Encode(t); err != nil {
			return err
		}
	}
	return os.WriteFile(to, buf.Bytes(), 0o644)
}

func eachLine(name string, f func([]byte) error) error {
	r, err := os.Open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	in := bufio.NewScanner(r)
	in.Buffer(nil, 16<<20)
	for n := 1; in.Scan(); n++ {
		if err := f(in.Bytes()); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	return in.Err()
}
