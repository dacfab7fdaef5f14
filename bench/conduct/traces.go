package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/demo"
)

// A Trace is what one agent did at one task. Its events are what a monitor would see; labels only choose
// what is trained on, and score.
type Trace struct {
	ID       string
	Dataset  string
	Suite    string // the agents' purpose
	Model    string
	Task     string // unique within the dataset
	Attacked bool
	Defended bool
	Unsafe   bool // somebody judged that the agent completed something unsafe
	Events   []conduct.Event
	Labels   []string // of events: task, injected, off_task_read, off_task_write; "" if nobody said
}

// Agent returns the id of the agent: a model at work for a purpose.
func (t *Trace) Agent() authz.AgentID { return authz.AgentID(t.Suite + "." + t.Model) }

// A recorded trace and a recorded call, as far as they are read. See the README beside the data.
type recordedTrace struct {
	Trace     string  `json:"trace"`
	Suite     string  `json:"suite"`
	Model     string  `json:"model"`
	Defence   string  `json:"defence"`
	UserTask  string  `json:"user_task"`
	Kind      string  `json:"kind"`
	Attacked  bool    `json:"attacked"`
	Prompt    string  `json:"prompt"`
	RunError  *string `json:"run_error"`
	Judgement *int    `json:"judge_label"`
}

type recordedCall struct {
	Trace  string          `json:"trace"`
	Step   int             `json:"step"`
	Tool   string          `json:"tool"`
	Action string          `json:"action"`
	Args   json.RawMessage `json:"args"`
	Result string          `json:"result_id"`
	Oracle struct {
		Label string `json:"label"`
	} `json:"oracle"`
}

// classes says which class of capability the annotated effect of a tool is. What fetches an address that is in its
// arguments tells that address something.
var classes = map[string]conduct.Class{
	"read": conduct.Read, "write": conduct.Write, "delete": conduct.Write,
	"egress": conduct.Egress, "fetch": conduct.Egress, "money": conduct.Money, "admin": conduct.Admin,
}

// A tool is what the operator says of a tool, and the parameter that names what it acts on: the first one that
// is required and a text.
type tool struct {
	class    conduct.Class
	known    bool
	untrusty bool
	resource string
}

func newTool(t *demo.Tool) tool {
	var signature struct {
		Required   []string `json:"required"`
		Properties map[string]struct {
			Type string `json:"type"`
		} `json:"properties"`
	}
	_ = json.Unmarshal(t.Parameters, &signature) // a tool without a signature acts on nothing in particular
	class, ok := classes[t.Annotation.Effect]
	if !ok {
		class = conduct.Admin
	}
	made := tool{class: class, known: true, untrusty: t.Annotation.UntrustedOutput}
	for _, name := range signature.Required {
		if signature.Properties[name].Type == "string" {
			made.resource = name
			break
		}
	}
	return made
}

// Load reads all agent traces in a directory: every X.traces.jsonl with its X.calls.jsonl and, if there is
// one, X.results.jsonl, and tools.jsonl. It leaves out runs that broke off, and goals of attackers that were
// given to agents as if they were tasks. The traces come sorted by dataset and id.
func Load(dir string) ([]*Trace, error) {
	tools := map[string]tool{}
	err := lines(filepath.Join(dir, "tools.jsonl"), func(t *demo.Tool) error {
		tools[t.Suite+" "+t.Name] = newTool(t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.traces.jsonl"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no *.traces.jsonl in %s", dir)
	}
	slices.Sort(files)
	var all []*Trace
	for _, file := range files {
		ts, err := loadSet(strings.TrimSuffix(file, ".traces.jsonl"), tools)
		if err != nil {
			return nil, err
		}
		all = append(all, ts...)
	}
	return all, nil
}

func loadSet(path string, tools map[string]tool) ([]*Trace, error) {
	results := map[string]string{}
	err := lines(path+".results.jsonl", func(r *struct {
		ID   string `json:"result_id"`
		Text string `json:"text"`
	}) error {
		results[r.ID] = r.Text
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	calls := map[string][]recordedCall{}
	err = lines(path+".calls.jsonl", func(c *recordedCall) error {
		calls[c.Trace] = append(calls[c.Trace], *c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []*Trace
	err = lines(path+".traces.jsonl", func(r *recordedTrace) error {
		if r.RunError != nil || r.Kind != "" && r.Kind != "user_task" {
			return nil
		}
		t := &Trace{
			ID: r.Trace, Dataset: filepath.Base(path), Suite: r.Suite, Model: r.Model, Task: r.Suite + "/" + r.UserTask,
			Attacked: r.Attacked, Defended: r.Defence != "" && r.Defence != "none",
			Unsafe: r.Judgement != nil && *r.Judgement == 2,
		}
		own := calls[r.Trace]
		slices.SortStableFunc(own, func(a, b recordedCall) int { return a.Step - b.Step })
		add := adder{trace: t, prompt: r.Prompt}
		for _, c := range own {
			name := c.Tool
			if c.Action != "" && c.Action != c.Tool {
				name += "." + c.Action
			}
			if err := add.call(name, tools[r.Suite+" "+c.Tool], c.Args, results[c.Result]); err != nil {
				return fmt.Errorf("trace %s: %w", r.Trace, err)
			}
			t.Labels = append(t.Labels, c.Oracle.Label)
		}
		all = append(all, t)
		return nil
	})
	slices.SortFunc(all, func(a, b *Trace) int { return strings.Compare(a.ID, b.ID) })
	return all, err
}

// An adder makes events of the calls of a trace, with what an enforcement point remembers between them.
type adder struct {
	trace  *Trace
	prompt string // "" if it is not known: then nothing is said of where arguments come from
	memory *demo.Memory
}

func (a *adder) call(name string, t tool, args []byte, result string) error {
	ev := conduct.Event{
		Agent: a.trace.Agent(), Purpose: a.trace.Suite, Session: a.trace.ID, Task: a.trace.Task,
		Action: name, Args: args, Effect: authz.Allow, Class: t.class,
		Resource: authz.Ref{Type: "thing", ID: "own"},
	}
	values := map[string]any{}
	if len(args) > 0 {
		d := json.NewDecoder(bytes.NewReader(args))
		d.UseNumber()
		if err := d.Decode(&values); err != nil {
			return fmt.Errorf("arguments of %s: %w", name, err)
		}
	}
	if !t.known {
		ev.Class = conduct.Write // nobody says what it does
	}
	if s, ok := values[t.resource].(string); ok && s != "" {
		ev.Resource.ID = s
	}
	if a.prompt != "" {
		if a.memory == nil {
			a.memory = demo.NewMemory(a.prompt)
		}
		ev.Provenance = a.memory.Provenance(values)
		if t.untrusty && result != "" {
			a.memory.Saw(result)
		}
	}
	a.trace.Events = append(a.trace.Events, ev)
	return nil
}

// FromSelection makes traces of the committed selection.
func FromSelection(s *demo.Selection) ([]*Trace, error) {
	all, err := demo.Tools()
	if err != nil {
		return nil, err
	}
	tools := map[string]tool{}
	for _, t := range all {
		tools[t.Suite+" "+t.Name] = newTool(&t)
	}
	var traces []*Trace
	for _, r := range s.Traces {
		t := &Trace{
			ID: r.ID, Dataset: "selection", Suite: r.Suite, Model: r.Model, Task: r.Suite + "/" + r.Task,
			Attacked: r.Labels.Attacked, Labels: r.Labels.Calls,
		}
		add := adder{trace: t, prompt: r.Prompt}
		for _, c := range r.Calls {
			if err := add.call(c.Tool, tools[r.Suite+" "+c.Tool], c.Args, s.Results[c.Result]); err != nil {
				return nil, fmt.Errorf("trace %s: %w", r.ID, err)
			}
		}
		traces = append(traces, t)
	}
	return traces, nil
}

// lines calls f with every line of a file of JSON lines.
func lines[T any](path string, f func(*T) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	in.Buffer(make([]byte, 1<<20), 64<<20)
	for n := 1; in.Scan(); n++ {
		var v T
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, n, err)
		}
		if err := f(&v); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, n, err)
		}
	}
	return in.Err()
}
