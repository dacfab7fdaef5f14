package demo

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Traces.jsonl.zst holds the committed selection. Its prompts, arguments and results are data that
// strangers wrote, prompt injections among them: nothing may act on them. NOTICE says where they
// come from, and internal/demo/select makes the file again.
//
//go:embed traces.jsonl.zst
var compressed []byte

//go:embed tools.jsonl
var tools []byte

// A Head is the first line of the selection: where it comes from and how it was chosen.
type Head struct {
	Source  string `json:"source"`
	Commit  string `json:"commit"`
	Licence string `json:"licence"`
	Seed    string `json:"seed"`
	Rule    string `json:"rule"`
}

// A Trace is the recorded work of one agent at one task. Everything but Labels is what an
// enforcement point would see.
type Trace struct {
	ID     string `json:"id"`
	Suite  string `json:"suite"`
	Model  string `json:"model"`
	Task   string `json:"task"`
	Prompt string `json:"prompt"`
	Calls  []Call `json:"calls"`

	// Labels are for scoring alone: no decision ever sees them.
	Labels Labels `json:"labels"`
}

// A Call is one tool call, in the order in which the agent made them.
type Call struct {
	Tool   string          `json:"tool"`
	Args   json.RawMessage `json:"args"`
	Result string          `json:"result,omitempty"` // id of the result that the tool returned
}

// Labels say what the recorder of a trace knew and an enforcement point cannot know.
type Labels struct {
	Attacked  bool     `json:"attacked"`
	Attack    string   `json:"attack,omitempty"`    // how the injection was worded
	Goal      string   `json:"goal,omitempty"`      // which of the suite's goals the attacker had
	Succeeded bool     `json:"succeeded,omitempty"` // the attacker got what he wanted
	Solved    bool     `json:"solved,omitempty"`    // the person got what he wanted
	Calls     []string `json:"calls"`               // task, injected, off_task_read, off_task_write
}

// A Line is one line of the selection: exactly one of its fields is set.
type Line struct {
	Head   *Head   `json:"head,omitempty"`
	Result *Result `json:"result,omitempty"`
	Trace  *Trace  `json:"trace,omitempty"`
}

// A Result is what a tool returned. Traces share results.
type Result struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// A Selection is a set of traces with the results that they refer to.
type Selection struct {
	Head    Head
	Traces  []*Trace          // sorted by id
	Results map[string]string // by id
}

// Calls returns how many calls the traces have.
func (s *Selection) Calls() (n int) {
	for _, t := range s.Traces {
		n += len(t.Calls)
	}
	return n
}

// Traces returns the committed selection.
func Traces() (*Selection, error) { return ReadSelection(bytes.NewReader(compressed)) }

// ReadSelection reads a selection as WriteSelection writes it.
func ReadSelection(r io.Reader) (*Selection, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return nil, fmt.Errorf("reading traces: %w", err)
	}
	defer z.Close()
	s := &Selection{Results: map[string]string{}}
	in := bufio.NewScanner(z)
	in.Buffer(nil, 1<<20)
	for n := 1; in.Scan(); n++ {
		var l Line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("reading traces: line %d: %w", n, err)
		}
		switch {
		case l.Head != nil:
			s.Head = *l.Head
		case l.Result != nil:
			s.Results[l.Result.ID] = l.Result.Text
		case l.Trace != nil:
			s.Traces = append(s.Traces, l.Trace)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("reading traces: %w", err)
	}
	return s, nil
}

// A Tool is the signature of one tool of a suite, with what its operator says of it.
type Tool struct {
	Suite       string          `json:"suite"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Annotation  struct {
		Effect          string `json:"effect"`           // read, write, delete, egress, fetch, money, admin
		UntrustedOutput bool   `json:"untrusted_output"` // others can write what it returns
		Sensitivity     string `json:"sensitivity"`      // low, medium, high, critical
	} `json:"annotation"`
}

// Tools returns the tools of the four suites, sorted by suite and name.
func Tools() ([]Tool, error) {
	var all []Tool
	d := json.NewDecoder(bytes.NewReader(tools))
	for {
		var t Tool
		if err := d.Decode(&t); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading tools: %w", err)
		}
		all = append(all, t)
	}
}
