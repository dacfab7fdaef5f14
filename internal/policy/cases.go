package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/safeconduct/safeconduct/authz"
)

// RunCases judges the cases of the named files of fsys: YAML or JSON documents (*.test.yaml), or
// txtar archives that hold some. docs/policy-testing.md describes them. The error, authz.ErrInvalid,
// tells of every file that could not be read or compiled, with lines; the results of the others
// come with it.
func RunCases(fsys fs.FS, names ...string) (*CaseReport, error) {
	rep := new(CaseReport)
	var errs []error
	for _, name := range names {
		files, err := openCases(fsys, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, f := range files {
			if err := f.run(context.Background(), rep); err != nil {
				errs = append(errs, err)
			}
		}
	}
	rep.arrange()
	return rep, errors.Join(errs...)
}

// RunCasesOf judges the cases of files by a set, whatever policies, schema and catalog the files
// themselves name. A file is a document of cases or a txtar archive that holds some, as RunCases takes
// them. The error tells of files that could not be read; it is that of the context if that ends first.
func RunCasesOf(ctx context.Context, set *Set, files []File) (*CaseReport, error) {
	rep := &CaseReport{Cases: []CaseResult{}, Coverage: []Coverage{}}
	var errs []error
	for _, f := range files {
		list := []txtar.File{{Name: f.Name, Data: []byte(f.Text)}}
		if !isCases(f.Name) {
			list = slices.DeleteFunc(txtar.Parse([]byte(f.Text)).Files, func(f txtar.File) bool { return !isCases(f.Name) })
			if len(list) == 0 {
				errs = append(errs, authz.Errorf(authz.ErrInvalid, "%s: neither a *.test.yaml nor an archive that holds one", f.Name))
			}
		}
		for _, one := range list {
			c, err := readCaseFile(nil, one.Name, "", one.Data, set)
			if err == nil {
				err = c.run(ctx, rep)
			}
			if err != nil {
				errs = append(errs, err)
			}
			if ctx.Err() != nil {
				return rep, ctx.Err()
			}
		}
	}
	rep.arrange()
	return rep, errors.Join(errs...)
}

// arrange puts the coverage in its order.
func (r *CaseReport) arrange() {
	r.at = nil
	slices.SortStableFunc(r.Coverage, func(a, b Coverage) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}

// A CaseReport is the outcome of running cases.
type CaseReport struct {
	Cases    []CaseResult `json:"cases"`
	Coverage []Coverage   `json:"coverage"` // one for each policy, by file and line

	at map[coverageKey]int // indexes of Coverage while cases run
}

type coverageKey struct {
	file string
	line int
	id   string
}

// Failed returns how many cases failed.
func (r *CaseReport) Failed() int {
	n := 0
	for _, c := range r.Cases {
		if !c.Passed {
			n++
		}
	}
	return n
}

// Unfired returns the policies that no case made fire, disabled ones left out.
func (r *CaseReport) Unfired() []Coverage {
	return slices.DeleteFunc(slices.Clone(r.Coverage), func(c Coverage) bool { return c.Fired > 0 || c.Mode == "disabled" })
}

// String returns a line for each failed case with its differences, and a summary.
func (r *CaseReport) String() string {
	var b strings.Builder
	for _, c := range r.Cases {
		if !c.Passed {
			b.WriteString(c.String())
		}
	}
	unfired := r.Unfired()
	for _, c := range unfired {
		fmt.Fprintf(&b, "%s:%d: policy %s fires in no case\n", c.File, c.Line, c.Policy)
	}
	fmt.Fprintf(&b, "%d of %d cases passed; %d of %d policies fired\n",
		len(r.Cases)-r.Failed(), len(r.Cases), len(r.Coverage)-len(unfired), len(r.Coverage))
	return b.String()
}

// A CaseResult is the outcome of one case.
type CaseResult struct {
	File        string         `json:"file"`
	Line        int            `json:"line"`
	Name        string         `json:"name"`
	Passed      bool           `json:"passed"`
	Differences []Difference   `json:"differences,omitempty"`
	Decision    authz.Decision `json:"decision"`
}

// String returns the case's place and name, and its differences, one a line.
func (c *CaseResult) String() string {
	var b strings.Builder
	verdict := "passed"
	if !c.Passed {
		verdict = "FAILED"
	}
	fmt.Fprintf(&b, "%s:%d: %s: %s\n", c.File, c.Line, c.Name, verdict)
	for _, d := range c.Differences {
		fmt.Fprintf(&b, "\t%s: got %s, want %s\n", d.What, d.Got, d.Want)
	}
	if !c.Passed && c.Decision.Detail != "" {
		fmt.Fprintf(&b, "\tdetail: %s\n", c.Decision.Detail)
	}
	return b.String()
}

// A Difference is something that came out otherwise than expected.
type Difference struct {
	What string `json:"what"`
	Got  string `json:"got"`
	Want string `json:"want"`
}

// Coverage says how far the cases exercised one policy.
type Coverage struct {
	Policy    string `json:"policy"`
	File      string `json:"file"`
	Line      int    `json:"line"`
	Mode      string `json:"mode"`      // enforce, shadow, disabled
	Evaluated int    `json:"evaluated"` // cases in which it could have applied
	Fired     int    `json:"fired"`     // cases in which it was satisfied
}

func (r *CaseReport) coverage(file string, ru *rule) *Coverage {
	k := coverageKey{file, ru.statement.head().line, ru.id}
	i, ok := r.at[k]
	if !ok {
		if r.at == nil {
			r.at = make(map[coverageKey]int)
		}
		i = len(r.Coverage)
		r.at[k] = i
		r.Coverage = append(r.Coverage, Coverage{Policy: k.id, File: k.file, Line: k.line, Mode: ru.mode.String()})
	}
	return &r.Coverage[i]
}

// String returns the mode's name as policies spell it.
func (m mode) String() string {
	return [...]string{"enforce", "shadow", "disabled"}[m]
}

// run judges the cases of one file into rep.
func (c *caseFile) run(ctx context.Context, rep *CaseReport) error {
	for _, ru := range c.set.rules {
		rep.coverage(c.source.Files[ru.file].Name, ru)
	}
	r := new(reader)
	for n, b := range c.cases {
		if err := ctx.Err(); err != nil {
			return err
		}
		res := CaseResult{File: c.name, Line: b.line, Name: fmt.Sprintf("case %d", n+1)}
		var request, facts, expect *branch
		r.members(b, "a case", map[string]func(*branch){
			"name":    func(v *branch) { res.Name = r.text(v, "name") },
			"request": func(v *branch) { request = v },
			"facts":   func(v *branch) { facts = v },
			"expect":  func(v *branch) { expect = v },
		})
		if request == nil {
			r.fail(b.errorf("case %q has no request", res.Name))
			continue
		}
		if expect == nil {
			r.fail(b.errorf("case %q expects nothing", res.Name))
			continue
		}
		before := len(r.faults)
		req := r.request(request)
		var who *authz.Agent
		if id := req.Agent(); id != "" {
			if who = c.agents[string(id)]; who == nil {
				known := make([]string, 0, len(c.agents))
				for id := range c.agents {
					known = append(known, id)
				}
				r.fail(request.errorf("the agent %q is not among the agents of this file; %s", id, suggest(string(id), known)))
				continue
			}
		}
		f := r.facts(facts, &req, who, c)
		want := r.expectation(expect)
		if len(r.faults) > before {
			continue
		}
		for _, party := range parties(req) {
			for _, ru := range c.set.candidates(&party, &f) {
				rep.coverage(c.source.Files[ru.file].Name, ru).Evaluated++
			}
		}
		res.Decision = c.set.judgeAll(req, &f)
		fired := make(map[string]bool)
		for _, p := range res.Decision.Fired {
			if p.Error == "" {
				fired[p.Policy] = true
			}
		}
		for _, ru := range c.set.rules {
			if fired[ru.id] {
				rep.coverage(c.source.Files[ru.file].Name, ru).Fired++
			}
		}
		res.Differences = want.compare(&res.Decision)
		res.Passed = len(res.Differences) == 0
		rep.Cases = append(rep.Cases, res)
	}
	if err := r.err(); err != nil {
		return placed(c.name, err)
	}
	return nil
}

// judgeAll judges a request for all its parties. An inactive agent, and one that conduct has
// quarantined, is refused, as the decision service refuses it.
func (s *Set) judgeAll(req authz.Request, f *authz.Facts) authz.Decision {
	if a := f.Inactive(); a != nil {
		d := authz.Decision{At: f.At}
		d.Refuse(authz.CodeAgentInactive, "The agent is "+string(a.State)+".")
		return d
	}
	if f.Quarantined() != nil {
		d := authz.Decision{At: f.At}
		d.Refuse(authz.CodeAgentInactive, "The agent is quarantined.")
		return d
	}
	return s.EvaluateAll(&req, f)
}
