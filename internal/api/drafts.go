package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// maxDrafting bounds the drafts that are compiled, tested or tried at once, so that authors never
// take all processors from those who ask for decisions.
const maxDrafting = 2

// catalogName is the name under which problems of a catalog are told.
const catalogName = "catalog.yaml"

// turn waits until there is room for one more draft; done makes room again.
func (s *Server) turn(ctx context.Context) (done func(), err error) {
	select {
	case s.drafting <- struct{}{}:
		return func() { <-s.drafting }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drafted returns the texts that in stands for: what it leaves out is as the active version has it.
func (s *Server) drafted(ctx context.Context, in SourceForm) (policy.Texts, error) {
	var t policy.Texts
	if active := s.Policies.Active(); active != nil {
		var err error
		if t, err = s.Policies.Version(ctx, active.Version()); err != nil {
			return t, err
		}
	} else {
		t.Catalog = "{}\n"
	}
	if in.Source != nil {
		t.Source = *in.Source
	}
	if in.Catalog != "" {
		t.Catalog = in.Catalog
	}
	return t, nil
}

// compileDraft compiles the texts that in stands for. Nothing of it is kept, and it decides nothing.
func (s *Server) compileDraft(ctx context.Context, in SourceForm) (*policy.Set, policy.Texts, error) {
	t, err := s.drafted(ctx, in)
	if err != nil {
		return nil, t, err
	}
	cat, err := s.Catalog.Parse(catalogName, []byte(t.Catalog))
	if err != nil {
		return nil, t, err
	}
	set, err := policy.Compile(t.Source, cat)
	return set, t, err
}

type checkPolicies struct{ SourceForm }

// A CheckReport says what is wrong, or looks wrong, with a policy set and its catalog. Warnings, of
// which some depend on the date, do not stand in the way of publication.
type CheckReport struct {
	OK       bool             `json:"ok" doc:"whether it could be published"`
	Active   int64            `json:"active" doc:"the version that what was left out is taken from; 0 if there is none"`
	Problems []policy.Problem `json:"problems"`
}

func (s *Server) checkPolicies(r *http.Request, _ *caller.Identity, in checkPolicies) (CheckReport, error) {
	done, err := s.turn(r.Context())
	if err != nil {
		return CheckReport{}, err
	}
	defer done()
	t, err := s.drafted(r.Context(), in.SourceForm)
	if err != nil {
		return CheckReport{}, err
	}
	report := CheckReport{OK: true, Active: t.Number, Problems: []policy.Problem{}}
	cat, err := s.Catalog.Parse(catalogName, []byte(t.Catalog))
	if err != nil {
		ps, ok := errors.AsType[*catalog.Problems](err)
		if !ok {
			return CheckReport{}, err
		}
		report.OK, report.Problems = false, catalogProblems(ps)
		return report, nil // what the policies name can only be looked up in a catalog
	}
	ps := policy.Check(t.Source, cat, s.Now())
	lines := strings.Split(t.Catalog, "\n")
	for _, p := range ps.List {
		if p.File == catalogName && p.Line > 0 && p.Line <= len(lines) {
			p.EndColumn = wordEnd(lines[p.Line-1], p.Column)
		}
		report.Problems = append(report.Problems, p)
	}
	report.OK = !ps.HasErrors()
	return report, nil
}

// wordEnd returns the column just after the word of a line of YAML that begins at a column, 0 if none does.
func wordEnd(line string, column int) int {
	text := []rune(line)
	if column < 1 || column > len(text) {
		return 0
	}
	i := column - 1
	if q := text[i]; q == '"' || q == '\'' {
		for i++; i < len(text) && text[i] != q; i++ {
			if text[i] == '\\' {
				i++
			}
		}
		return min(i+1, len(text)) + 1
	}
	for i < len(text) && !unicode.IsSpace(text[i]) && !strings.ContainsRune("{}[],:#\"'", text[i]) {
		i++
	}
	return max(i, column) + 1
}

// Bounds of a run of tests.
const (
	maxCaseFiles = 50
	maxCaseText  = 2 << 20
)

type testPolicies struct {
	SourceForm
	Cases []policy.File `json:"cases" doc:"files of cases, as safeconduct policy test takes them: *.test.yaml, or archives that hold some; the draft judges them, whatever policies they name"`
}

// A TestReport is what came of cases.
type TestReport struct {
	OK       bool                `json:"ok" doc:"whether all passed"`
	Passed   int                 `json:"passed"`
	Failed   int                 `json:"failed"`
	Cases    []policy.CaseResult `json:"cases"`
	Coverage []policy.Coverage   `json:"coverage" doc:"how far the cases exercised each policy"`
	Faults   []string            `json:"faults,omitempty" doc:"of files that could not be read, with their lines"`
}

func (s *Server) testPolicies(r *http.Request, _ *caller.Identity, in testPolicies) (TestReport, error) {
	if n := len(in.Cases); n == 0 || n > maxCaseFiles {
		return TestReport{}, invalid("cases has 1 to %d files", maxCaseFiles)
	}
	total := 0
	for _, f := range in.Cases {
		if total += len(f.Text); total > maxCaseText {
			return TestReport{}, invalid("the files of cases have more than %d bytes together", maxCaseText)
		}
	}
	done, err := s.turn(r.Context())
	if err != nil {
		return TestReport{}, err
	}
	defer done()
	set, _, err := s.compileDraft(r.Context(), in.SourceForm)
	if err != nil {
		return TestReport{}, err
	}
	rep, err := policy.RunCasesOf(r.Context(), set, in.Cases)
	out := TestReport{OK: err == nil, Cases: rep.Cases, Coverage: rep.Coverage}
	if err != nil {
		if !errors.Is(err, authz.ErrInvalid) {
			return TestReport{}, err
		}
		out.Faults = strings.Split(err.Error(), "\n")
	}
	out.Failed = rep.Failed()
	out.Passed = len(rep.Cases) - out.Failed
	out.OK = out.OK && out.Failed == 0
	return out, nil
}

type readVocabulary struct {
	Version int64 `query:"version" json:"-" doc:"the active one by default"`
}

// A VersionVocabulary is what the policies of a version can name.
type VersionVocabulary struct {
	Version int64 `json:"version" doc:"0 if none is published: then it is that of the base schema"`
	policy.Vocabulary
}

func (s *Server) readVocabulary(r *http.Request, _ *caller.Identity, in readVocabulary) (VersionVocabulary, error) {
	set := s.Policies.Active()
	if in.Version != 0 {
		var err error
		if set, err = s.Policies.Compiled(r.Context(), in.Version); err != nil {
			return VersionVocabulary{}, err
		}
	}
	if set == nil {
		return VersionVocabulary{0, policy.BaseVocabulary()}, nil
	}
	return VersionVocabulary{set.Version(), set.Vocabulary()}, nil
}

type twoVersions struct {
	A int64 `path:"a" json:"-" doc:"the earlier one"`
	B int64 `path:"b" json:"-" doc:"the later one"`
}

// A VersionComparison is how a version, or a draft, differs from another in what it says.
type VersionComparison struct {
	Before int64 `json:"before"`
	After  int64 `json:"after,omitempty" doc:"not there for a draft"`
	policy.Comparison
}

func (s *Server) compareVersions(r *http.Request, _ *caller.Identity, in twoVersions) (VersionComparison, error) {
	c := VersionComparison{Before: in.A, After: in.B}
	a, err := s.Policies.Version(r.Context(), in.A)
	if err != nil {
		return c, err
	}
	b, err := s.Policies.Version(r.Context(), in.B)
	if err != nil {
		return c, err
	}
	return s.compare(r.Context(), c, a, b)
}

type compareDraft struct{ SourceForm }

func (s *Server) compareDraft(r *http.Request, _ *caller.Identity, in compareDraft) (VersionComparison, error) {
	before, err := s.drafted(r.Context(), SourceForm{})
	if err != nil {
		return VersionComparison{}, err
	}
	after, err := s.drafted(r.Context(), in.SourceForm)
	if err != nil {
		return VersionComparison{}, err
	}
	return s.compare(r.Context(), VersionComparison{Before: before.Number}, before, after)
}

func (s *Server) compare(ctx context.Context, c VersionComparison, a, b policy.Texts) (VersionComparison, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return c, err
	}
	defer done()
	c.Comparison, err = policy.Compare(a, b)
	return c, err
}
