package policy_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
	exptypes "github.com/cedar-policy/cedar-go/x/exp/types"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// A wasmVerdict is one line from testdata/wasm/run.mjs.
type wasmVerdict struct {
	Schema   bool                `json:"schema"`
	Parsed   map[string]bool     `json:"parsed"`
	Valid    map[string]bool     `json:"valid"`
	Messages map[string][]string `json:"messages"`
	Entities bool                `json:"entities"`
	Answers  []struct {
		Valid    bool     `json:"valid"`
		Decision string   `json:"decision"`
		Reason   []string `json:"reason"`
		Errors   []string `json:"errors"`
		Failure  string   `json:"failure"`
	} `json:"answers"`
	Failure string `json:"failure"`
}

// A wasmCedar is a running Cedar, built from its own Rust source.
type wasmCedar struct {
	in  *json.Encoder
	out *bufio.Reader
}

// findWasm returns where Node is, or skips the test, saying how to get it and the package.
func findWasm(t *testing.T) (node string) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("SAFECONDUCT_TEST_WASM") != "" {
		skip = t.Fatalf // whoever asks for it by name must get it
	}
	node, err := exec.LookPath("node")
	if err != nil {
		skip("NOT COMPARED WITH CEDAR: no node in the path")
	}
	if _, err := os.Stat(filepath.Join("testdata", "wasm", "node_modules", "@cedar-policy", "cedar-wasm")); err != nil {
		skip("NOT COMPARED WITH CEDAR: run `npm ci --ignore-scripts` in internal/policy/testdata/wasm")
	}
	return node
}

// startWasm starts Node with the package, or skips the test.
func startWasm(t *testing.T) *wasmCedar {
	t.Helper()
	cmd := exec.Command(findWasm(t), "run.mjs")
	cmd.Dir, cmd.Stderr = filepath.Join("testdata", "wasm"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	return &wasmCedar{json.NewEncoder(in), bufio.NewReader(out)}
}

func (w *wasmCedar) judge(t *testing.T, c wasmCase) wasmVerdict {
	t.Helper()
	if err := w.in.Encode(c); err != nil {
		t.Fatalf("writing to node: %v", err)
	}
	line, err := w.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("reading from node: %v", err)
	}
	var v wasmVerdict
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatalf("reading from node: %v in %s", err, line)
	}
	return v
}

// TestWasm compares what we make of generated schemas, policies, entities and requests with what
// Cedar's own implementation makes of them. SAFECONDUCT_TEST_WASM=10m runs it for ten minutes and
// fails if Cedar is not installed; SAFECONDUCT_TEST_SEED starts at a given case.
func TestWasm(t *testing.T) {
	w := startWasm(t)
	limit := 3 * time.Second
	if testing.Short() {
		limit = time.Second
	}
	if s := os.Getenv("SAFECONDUCT_TEST_WASM"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("SAFECONDUCT_TEST_WASM: %v", err)
		}
		limit = d
	}
	var first uint64
	if s := os.Getenv("SAFECONDUCT_TEST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("SAFECONDUCT_TEST_SEED: %v", err)
		}
		first = n
	}

	var seen wasmCount
	deadline := time.Now().Add(limit)
	seed := first
	for ; time.Now().Before(deadline); seed++ {
		c := newGenerator(seed).makeCase()
		v := w.judge(t, c)
		for _, d := range compareWasm(c, v, &seen) {
			text, _ := json.MarshalIndent(c, "", " ")
			t.Errorf("seed %d: %s\n%s", seed, d, text)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d cases: %+v", seed-first, seen)
	// A generator that makes nothing but refusals compares nothing.
	if n := int(seed - first); n >= 50 && (seen.Allowed < n/10 || seen.Errors < n/20 || seen.Forbidden < n/20 || seen.Valid < n || seen.Faulty < n/10) {
		t.Errorf("the generated cases exercise too little: %d cases, %+v", n, seen)
	}
}

// A wasmCount tells what the generated cases were worth.
type wasmCount struct {
	Valid, Faulty, Known                      int // policies; known ones are accepted by us alone
	Requests, Allowed, Forbidden, Errors, Odd int // answers; odd requests do not conform
	Entities                                  int // stores that do not conform
}

// compareWasm returns the differences between our reading of c and Cedar's.
func compareWasm(c wasmCase, v wasmVerdict, n *wasmCount) []string {
	var diffs []string
	diff := func(format string, args ...any) { diffs = append(diffs, fmt.Sprintf(format, args...)) }

	var s schema.Schema
	var rs *resolved.Schema
	err := s.UnmarshalCedar([]byte(c.Schema))
	if err == nil {
		rs, err = s.Resolve()
	}
	if got, want := err == nil, v.Schema; got != want {
		diff("schema: accepted = %v (%v), want %v (%s)", got, err, want, v.Failure)
	}
	if err != nil || len(diffs) > 0 {
		return diffs
	}

	policies := cedar.NewPolicySet()
	strict := validate.New(rs, validate.WithStrict())
	for id, text := range c.Policies {
		var p cedar.Policy
		err := p.UnmarshalCedar([]byte(text))
		if got, want := err == nil, v.Parsed[id]; got != want {
			diff("policy %s: parsed = %v (%v), want %v (%v)", id, got, err, want, v.Messages[id])
		}
		if err != nil {
			continue
		}
		policies.Add(cedar.PolicyID(id), &p)
		err = errors.Join(policy.ValidatePolicy(strict, (*cedarast.Policy)(p.AST()))...)
		if got, want := err == nil, v.Valid[id]; got && !want && knownDifference(v.Messages[id]) {
			n.Known++
		} else if got != want {
			diff("policy %s: valid = %v (%v), want %v (%v)", id, got, err, want, v.Messages[id])
		}
		if err == nil {
			n.Valid++
		} else {
			n.Faulty++
		}
	}
	var entities exptypes.EntityMap
	err = entities.UnmarshalJSONWithSchema(c.Entities, rs)
	if got, want := err == nil, v.Entities; got != want {
		diff("entities: accepted = %v (%v), want %v (%s)", got, err, want, v.Failure)
	}
	if err != nil {
		n.Entities++
	}
	if err != nil || len(diffs) > 0 {
		return diffs
	}
	for uid, a := range rs.Actions {
		entities[uid] = a.Entity
	}

	bench := policy.NewBench(policies, rs, types.EntityMap(entities))
	for i, r := range c.Requests {
		n.Requests++
		want := v.Answers[i]
		req, err := cedarRequest(r)
		if err != nil {
			if want.Failure == "" {
				diff("request %d: %v, want an answer", i, err)
			}
			continue
		}
		err = strict.Request(req)
		if got := err == nil; got != want.Valid {
			diff("request %d: valid = %v (%v), want %v (%s)", i, got, err, want.Valid, want.Failure)
		}
		if want.Failure != "" {
			n.Odd++
			continue
		}
		got := judgeTwoSets(bench, req)
		if !slices.Equal(got.errors, sorted(want.Errors)) {
			diff("request %d: errors %v, want %v", i, got.errors, want.Errors)
		}
		if !slices.Equal(got.reasons, sorted(want.Reason)) {
			diff("request %d: reasons %v, want %v", i, got.reasons, want.Reason)
		}
		// The one difference that is meant: a forbid that cannot be evaluated forbids.
		decision := want.Decision == "allow"
		for _, id := range want.Errors {
			if policies.Get(cedar.PolicyID(id)).Effect() == cedar.Forbid {
				decision = false
			}
		}
		if got.allowed != decision {
			diff("request %d: allowed = %v, want %v (Cedar: %s)", i, got.allowed, decision, want.Decision)
		}
		n.Errors += len(want.Errors)
		if want.Decision == "allow" {
			n.Allowed++
		} else if len(want.Reason) > 0 {
			n.Forbidden++
		}
	}
	return diffs
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func cedarRequest(r wasmRequest) (cedar.Request, error) {
	b, err := json.Marshal(r.Context)
	if err != nil {
		return cedar.Request{}, err
	}
	req := cedar.Request{
		Principal: cedar.NewEntityUID(types.EntityType(r.Principal.Type), types.String(r.Principal.ID)),
		Action:    cedar.NewEntityUID(types.EntityType(r.Action.Type), types.String(r.Action.ID)),
		Resource:  cedar.NewEntityUID(types.EntityType(r.Resource.Type), types.String(r.Resource.ID)),
	}
	return req, json.Unmarshal(b, &req.Context)
}
