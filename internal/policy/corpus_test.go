package policy_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
	exptypes "github.com/cedar-policy/cedar-go/x/exp/types"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// A corpusCase is one file of Cedar's corpus: what Cedar, in Rust, answered to the requests.
type corpusCase struct {
	Schema   string `json:"schema"`
	Policies string `json:"policies"`
	Entities string `json:"entities"`
	Requests []struct {
		Description string          `json:"description"`
		Principal   cedar.EntityUID `json:"principal"`
		Action      cedar.EntityUID `json:"action"`
		Resource    cedar.EntityUID `json:"resource"`
		Context     cedar.Record    `json:"context"`
		Decision    cedar.Decision  `json:"decision"`
		Reasons     []string        `json:"reason"`
		Errors      []string        `json:"errors"`
	} `json:"requests"`
}

// A corpusValidation says what Cedar's validator, in Rust, found in the same case.
type corpusValidation struct {
	PolicyValidation struct {
		PerPolicy map[string]struct {
			Strict       bool     `json:"strict"`
			StrictErrors []string `json:"strictErrors"`
		} `json:"perPolicy"`
	} `json:"policyValidation"`
	EntityValidation struct {
		PerEntity map[string]struct {
			Errors []string `json:"errors"`
		} `json:"perEntity"`
	} `json:"entityValidation"`
	RequestValidation []struct {
		Strict *bool `json:"strict"`
	} `json:"requestValidation"`
}

// A corpusCount tells what was compared, so that an empty corpus does not pass.
type corpusCount struct {
	sync.Mutex
	cases, policies, faulty, answers, allowed, reasons, errors int
	stricter                                                   int // refused by us alone
}

// TestCorpus judges the corpus that the Cedar team generates with its own implementation, and which
// comes with cedar-go, by our path: our reading of policy files, our validation, our two sets. The
// answers must be Cedar's, but for one difference that is meant: where a forbid cannot be
// evaluated, Cedar leaves it out and we refuse.
func TestCorpus(t *testing.T) {
	dir := moduleDir(t, "github.com/cedar-policy/cedar-go")
	files := untar(t, filepath.Join(dir, "corpus-tests.tar.gz"))
	validation := untar(t, filepath.Join(dir, "corpus-tests-validation.tar.gz"))

	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".entities.json") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	step := 1
	if testing.Short() {
		step = 20
	}
	var count corpusCount
	var wg sync.WaitGroup
	work := make(chan string)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for name := range work {
				v := validation["corpus-tests-validation/"+strings.TrimSuffix(path.Base(name), ".json")+".validation.json"]
				for _, d := range judgeCorpus(files, name, v, &count) {
					t.Errorf("%s: %s", name, d)
				}
			}
		})
	}
	for i := 0; i < len(names); i += step {
		work <- names[i]
	}
	close(work)
	wg.Wait()
	t.Logf("%d cases, %d policies of which %d are faulty, %d answers: %d allowed, %d reasons, %d errors, %d stricter than Cedar",
		count.cases, count.policies, count.faulty, count.answers, count.allowed, count.reasons, count.errors, count.stricter)
	if n := count.cases; n < 300 || count.answers < 7*n || count.faulty < n/100 || count.allowed < n || count.errors < n/10 || count.stricter == 0 {
		t.Errorf("the corpus is too small to tell anything")
	}
}

var permitAll = func() *cedar.Policy {
	var p cedar.Policy
	if err := p.UnmarshalCedar([]byte("permit (principal, action, resource);")); err != nil {
		panic(err)
	}
	return &p
}()

// judgeCorpus returns the differences between our reading of a case and Cedar's.
func judgeCorpus(files map[string][]byte, name string, validation []byte, n *corpusCount) (diffs []string) {
	diff := func(format string, args ...any) { diffs = append(diffs, fmt.Sprintf(format, args...)) }
	var c corpusCase
	var v corpusValidation
	if err := errors.Join(json.Unmarshal(files[name], &c), json.Unmarshal(validation, &v)); err != nil {
		diff("reading: %v", err)
		return diffs
	}
	rs, err := resolveSchema(files[c.Schema])
	if err != nil {
		diff("schema: %v", err)
		return diffs
	}
	parsed, err := policy.ParsePolicies("policy.cedar", string(files[c.Policies]))
	if err != nil {
		diff("policies: %v", err)
		return diffs
	}
	if len(parsed) != len(v.PolicyValidation.PerPolicy) {
		diff("%d policies, want %d", len(parsed), len(v.PolicyValidation.PerPolicy))
		return diffs
	}
	strict := validate.New(rs, validate.WithStrict())
	ps := cedar.NewPolicySet()
	faulty := 0
	for i, p := range parsed {
		id := fmt.Sprintf("policy%d", i)
		ps.Add(cedar.PolicyID(id), p)
		err := errors.Join(policy.ValidatePolicy(strict, (*cedarast.Policy)(p.AST()))...)
		want, ok := v.PolicyValidation.PerPolicy[id]
		if !ok || (err == nil) != want.Strict {
			diff("%s: valid = %v (%v), want %v %v", id, err == nil, err, want.Strict, want.StrictErrors)
		}
		if err != nil {
			faulty++
		}
	}

	open := cedar.NewPolicySet()
	for id, p := range ps.All() {
		open.Add(id, p)
	}
	open.Add("everything", permitAll)

	var entities exptypes.EntityMap
	if err := entities.UnmarshalJSONWithSchema(files[c.Entities], rs); err != nil {
		diff("entities: %v", err)
		return diffs
	}
	check := validate.New(rs)
	for uid, e := range entities {
		want, ok := v.EntityValidation.PerEntity[string(uid.Type)+"::"+string(uid.ID)]
		if err := check.Entity(e); !ok || (err == nil) != (len(want.Errors) == 0) {
			diff("entity %s: %v, want %v", uid, err, want.Errors)
		}
	}

	bench := policy.NewBench(ps, rs, types.EntityMap(entities))
	beside := policy.NewBench(open, rs, types.EntityMap(entities))
	answers, allowed, reasons, errs, stricter := 0, 0, 0, 0, 0
	for i, r := range c.Requests {
		req := cedar.Request{Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: r.Context}
		if i < len(v.RequestValidation) && v.RequestValidation[i].Strict != nil {
			if err := strict.Request(req); (err == nil) != *v.RequestValidation[i].Strict {
				diff("%s: valid = %v (%v), want %v", r.Description, err == nil, err, *v.RequestValidation[i].Strict)
			}
		}
		got := judgeTwoSets(bench, req)
		fired, erred := false, false // a forbid, in Cedar's eyes
		for _, id := range r.Reasons {
			fired = fired || ps.Get(cedar.PolicyID(id)).Effect() == cedar.Forbid
		}
		for _, id := range r.Errors {
			erred = erred || ps.Get(cedar.PolicyID(id)).Effect() == cedar.Forbid
		}
		if want := r.Decision == cedar.Allow && !erred; got.allowed != want {
			diff("%s: allowed = %v, want %v", r.Description, got.allowed, want)
		}
		if !slices.Equal(got.reasons, sorted(r.Reasons)) {
			diff("%s: reasons %v, want %v", r.Description, got.reasons, r.Reasons)
		}
		if !slices.Equal(got.errors, sorted(r.Errors)) {
			diff("%s: errors %v, want %v", r.Description, got.errors, r.Errors)
		}

		// The corpus has one policy a case. Beside a permit of everything, the forbids show: one
		// that fires refuses, and so does, here and not in Cedar, one that cannot be evaluated.
		got = judgeTwoSets(beside, req)
		if want := !fired && !erred; got.allowed != want {
			diff("%s, all else permitted: allowed = %v, want %v", r.Description, got.allowed, want)
		}
		if erred && !fired {
			stricter++
		}
		answers++
		reasons += len(r.Reasons)
		errs += len(r.Errors)
		if r.Decision == cedar.Allow {
			allowed++
		}
	}
	n.Lock()
	defer n.Unlock()
	n.cases++
	n.policies += len(parsed)
	n.faulty += faulty
	n.answers += answers
	n.allowed += allowed
	n.reasons += reasons
	n.errors += errs
	n.stricter += stricter
	return diffs
}

func resolveSchema(text []byte) (*resolved.Schema, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar(text); err != nil {
		return nil, err
	}
	return s.Resolve()
}

// moduleDir returns the directory of a module's source.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("finding the source of %s: %v", module, err)
	}
	return strings.TrimSpace(string(out))
}

// untar reads an archive into memory.
func untar(t *testing.T, name string) map[string][]byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	files := make(map[string][]byte)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Typeflag != tar.TypeReg || strings.HasPrefix(path.Base(h.Name), "._") {
			continue
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}
