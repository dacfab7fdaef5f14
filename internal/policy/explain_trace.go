package policy

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/safeconduct/safeconduct/authz"
)

// A Traced says what became of one policy when a request was judged. It is for the operator: it
// names thresholds and facts that an agent is never told.
type Traced struct {
	Policy  string         `json:"policy"`
	Title   string         `json:"title,omitempty"`
	File    string         `json:"file"`
	Line    int            `json:"line"`
	Effect  string         `json:"effect"` // permit or forbid
	Mode    string         `json:"mode"`   // enforce, shadow, disabled
	Remedy  string         `json:"remedy,omitempty"`
	Routes  []string       `json:"routes,omitempty"`    // to the approval that lifts it, all of which must have been gone
	Level   string         `json:"assurance,omitempty"` // of assurance that lifts it
	Lifted  bool           `json:"lifted,omitempty"`    // whether it is satisfied and was lifted
	Reason  string         `json:"reason,omitempty"`
	Outcome string         `json:"outcome"` // satisfied, unsatisfied, error, not_in_force, scope
	Party   string         `json:"party,omitempty"`
	Text    string         `json:"text,omitempty"` // of the whole policy, as it stands in the file from Begins on
	Begins  int            `json:"begins,omitempty"`
	Clauses []TracedClause `json:"clauses,omitempty"`
}

// A TracedClause says what became of one when or unless clause.
type TracedClause struct {
	Text    string       `json:"text"` // as it stands in the file
	Line    int          `json:"line"`
	Outcome string       `json:"outcome"` // holds, fails, error, not_reached
	Error   string       `json:"error,omitempty"`
	Reads   []TracedRead `json:"reads,omitempty"`
}

// A TracedRead is a value that a clause read.
type TracedRead struct {
	Path  string `json:"path"`
	Value string `json:"value"` // as Cedar writes it, or "absent"
}

// Trace judges req by the facts as Evaluate does and tells what became of every policy that could
// have applied, for every party of the request: those that fired first. If the request has a fault,
// so that no policy was asked, there is nothing to tell; Evaluate says what it is.
func (s *Set) Trace(req *authz.Request, f *authz.Facts) []Traced {
	var out []Traced
	for i, p := range parties(*req) {
		party := ""
		if len(req.OnBehalf) > 0 {
			if party = "person"; i == 0 {
				party = "agent"
			}
		}
		q, flt := s.query(&p, f, everything)
		if flt != nil {
			continue
		}
		env := q.env()
		for _, r := range s.candidatesOf(q) {
			t := s.trace(r, env, f)
			t.Party = party
			out = append(out, t)
		}
	}
	slices.SortStableFunc(out, func(a, b Traced) int { return a.rank() - b.rank() })
	return out
}

func (t *Traced) rank() int {
	n := slices.Index([]string{"error", "satisfied", "unsatisfied", "scope", "not_in_force"}, t.Outcome) * 2
	if t.Effect == "permit" {
		n++
	}
	return n
}

// env returns the query as Cedar's evaluator takes it.
func (q *query) env() eval.Env {
	return eval.Env{
		Principal: q.request.Principal,
		Action:    q.request.Action,
		Resource:  q.request.Resource,
		Context:   q.request.Context,
		Entities:  &q.entities,
	}
}

// candidates returns the rules whose scope could match a request, in the order in which they are
// judged; nil if the request has a fault.
func (s *Set) candidates(req *authz.Request, f *authz.Facts) []*rule {
	q, flt := s.query(req, f, nil)
	if flt != nil {
		return nil
	}
	return s.candidatesOf(q)
}

func (s *Set) candidatesOf(q *query) []*rule {
	principal, resource := s.marks(nil, &q.entities.principal), s.marks(nil, &q.entities.resource)
	var out []*rule
	for _, n := range s.index.candidates(nil, principal, q.action.marks, resource) {
		if r := s.rules[n]; r.mode != disabled {
			out = append(out, r)
		}
	}
	return out
}

func (s *Set) trace(r *rule, env eval.Env, f *authz.Facts) Traced {
	file := s.source.Files[r.file]
	t := Traced{
		Policy: r.id, Title: r.title, File: file.Name, Line: r.statement.head().line,
		Effect: r.effect(), Mode: r.mode.String(), Remedy: r.remedy.String(), Routes: r.routes, Level: r.level, Reason: r.reason,
		Outcome: "satisfied",
		Text:    file.Text[r.statement.start().offset:r.statement.end()], Begins: r.statement.start().line,
	}
	if !r.inForce(f.At) {
		t.Outcome = "not_in_force"
		return t
	}
	if !inScope(r.ast, env) {
		t.Outcome = "scope"
		return t
	}
	for i, c := range r.ast.Conditions {
		tc := TracedClause{Outcome: "not_reached", Line: t.Line}
		if i < len(r.statement.clauses) {
			cl := r.statement.clauses[i]
			tc.Text, tc.Line = cl.text(file.Text), cl.tokens[0].line
		}
		if t.Outcome == "satisfied" {
			tc.Reads = reads(c.Body, env)
			v, err := eval.Eval(c.Body, env)
			b, isBool := v.(types.Boolean)
			switch {
			case err != nil:
				tc.Outcome, tc.Error, t.Outcome = "error", err.Error(), "error"
			case !isBool:
				tc.Outcome, tc.Error, t.Outcome = "error", "the condition is no Bool", "error"
			case bool(b) == bool(c.Condition):
				tc.Outcome = "holds"
			default:
				tc.Outcome, t.Outcome = "fails", "unsatisfied"
			}
		}
		t.Clauses = append(t.Clauses, tc)
	}
	t.Lifted = t.Outcome == "satisfied" && r.liftedBy(f)
	return t
}

// inScope reports whether the head of the policy matches.
func inScope(p *cedarast.Policy, env eval.Env) bool {
	bare := *p
	bare.Conditions = nil
	_, keep := eval.PartialPolicy(env, &bare)
	return keep
}

// reads returns the paths that an expression reads from the request, each once, with their values.
func reads(n cedarast.IsNode, env eval.Env) []TracedRead {
	var out []TracedRead
	seen := make(map[string]bool)
	cedarast.Inspect(cedarast.NewNode(n), func(n cedarast.IsNode) bool {
		if h, ok := n.(cedarast.NodeTypeHas); ok {
			if path, ok := pathOf(h.Arg); ok {
				n = cedarast.NodeTypeAccess{StrOpNode: cedarast.StrOpNode{Arg: h.Arg, Value: h.Value}}
				path = append(path, string(h.Value))
				out = addRead(out, seen, path, n, env)
				return false
			}
			return true
		}
		path, ok := pathOf(n)
		if !ok {
			return true
		}
		out = addRead(out, seen, path, n, env)
		return false
	})
	return out
}

func addRead(out []TracedRead, seen map[string]bool, path []string, n cedarast.IsNode, env eval.Env) []TracedRead {
	name := strings.Join(path, ".")
	if seen[name] || len(path) == 1 && path[0] == "context" {
		return out
	}
	seen[name] = true
	value := "absent"
	if v, err := eval.Eval(n, env); err == nil {
		value = string(v.MarshalCedar())
	}
	return append(out, TracedRead{name, value})
}

// pathOf returns the names of a chain of attributes that begins at a variable.
func pathOf(n cedarast.IsNode) ([]string, bool) {
	switch n := n.(type) {
	case cedarast.NodeTypeVariable:
		return []string{string(n.Name)}, true
	case cedarast.NodeTypeAccess:
		path, ok := pathOf(n.Arg)
		return append(path, string(n.Value)), ok
	}
	return nil, false
}
