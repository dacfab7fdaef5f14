package policy

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// parsePolicies reads the policies of all files. Rules that could be read come back with id, file,
// statement, policy, AST and effect set, in the order of the text; every one that could not is a
// problem of its own and spoils no other.
func parsePolicies(files []File, ps *Problems) []*rule {
	cut := make([][]statement, len(files))
	inParallel(len(files), func(i int) { cut[i] = splitStatements(files[i].Text) })
	var all []unread
	for i, list := range cut {
		for n, st := range list {
			all = append(all, unread{file: i, number: n + 1, statement: st})
		}
	}
	rules, problems := make([]*rule, len(all)), make([]Problem, len(all))
	inParallel(len(all), func(i int) {
		rules[i], problems[i] = all[i].read(files[all[i].file])
	})
	for i, r := range rules {
		if r == nil {
			ps.add(problems[i])
		}
	}
	return slices.DeleteFunc(rules, func(r *rule) bool { return r == nil })
}

// An unread statement is one that is not parsed yet.
type unread struct {
	file, number int // which file, and which statement of it, from 1
	statement
}

// read returns the rule, or nil and the problem that it has.
func (u unread) read(f File) (*rule, Problem) {
	start := u.start()
	if p, ok := tooDeep(u.tokens, maxDepth, maxTokens); !ok {
		return nil, Problem{File: f.Name, Line: p.line, Column: p.column, Message: "policy is too large or nested too deeply"}
	}
	p, err := parseOne(f.Text[start.offset:u.end()])
	if err != nil {
		return nil, parseProblem(f.Name, u.statement, err)
	}
	ast := (*cedarast.Policy)(p.AST())
	ast.Position = cedarast.Position{Filename: f.Name, Offset: start.offset, Line: start.line, Column: start.column}
	r := &rule{
		id:        fmt.Sprintf("%s#%d", strings.TrimSuffix(path.Base(f.Name), ".cedar"), u.number),
		policy:    p,
		ast:       ast,
		forbid:    ast.Effect == cedarast.EffectForbid,
		file:      u.file,
		statement: u.statement,
	}
	for _, a := range ast.Annotations {
		if a.Key == "id" && a.Value != "" {
			r.id = string(a.Value)
		}
	}
	return r, Problem{}
}

var parsePlace = regexp.MustCompile(`(?:parse error at )?<input>:(\d+):(\d+):? ?`)

// parseProblem turns the parser's words about one statement into a problem of its file.
func parseProblem(file string, st statement, err error) Problem {
	start := st.start()
	p := Problem{File: file, Line: start.line, Column: start.column, Message: err.Error()}
	if m := parsePlace.FindStringSubmatchIndex(p.Message); m != nil {
		var line, column int
		fmt.Sscan(p.Message[m[2]:m[3]], &line)
		fmt.Sscan(p.Message[m[4]:m[5]], &column)
		if line == 1 {
			column += start.column - 1
		}
		p.Line, p.Column = start.line+line-1, column
		p.Message = p.Message[:m[0]] + p.Message[m[1]:]
	}
	if t, ok := refused(st, p); ok {
		p.Line, p.Column = t.line, t.column
		p.Message = ahead.ReplaceAllLiteralString(p.Message, strconv.Quote(t.text)+":")
	}
	p.Message, p.Hint = plainParse(p.Message)
	if last := st.tokens[len(st.tokens)-1]; last.text != ";" && p.Hint == "" && !strings.Contains(p.Message, "terminated") {
		p.Hint = "every policy ends with a semicolon"
	}
	return p
}

// ahead is how the parser quotes the token that it stands before.
var ahead = regexp.MustCompile(`^parser error: "(?:[^"\\]|\\.)*":|^"(?:[^"\\]|\\.)*":`)

// refused returns the token that the parser refused, where that is the one before its place: it
// takes some tokens before it looks at them.
func refused(st statement, p Problem) (token, bool) {
	took := false
	for _, words := range []string{": exact got ", ": unexpected effect: ", ": expected ident"} {
		took = took || strings.Contains(p.Message, words)
	}
	if !took || strings.Contains(p.Message, ": exact got  want ") { // the text ends
		return token{}, false
	}
	for i, t := range st.tokens {
		if i > 0 && t.line == p.Line && t.column == p.Column {
			return st.tokens[i-1], true
		}
	}
	last := st.tokens[len(st.tokens)-1]
	return last, last.line == p.Line && last.column < p.Column
}

var (
	gotWant  = regexp.MustCompile(`^"(.*)": (?:exact )?got (.*) want (.*)$`)
	gotOther = regexp.MustCompile(`^"(.*)": (.*)$`)
)

// plainParse says the parser's message in a sentence, with a hint where one is known.
func plainParse(msg string) (plain, hint string) {
	msg = strings.TrimPrefix(msg, "parser error: ")
	if m := gotWant.FindStringSubmatch(msg); m != nil {
		got := m[2]
		if got == "" {
			return fmt.Sprintf("the policy ends where %q is expected", m[3]), ""
		}
		return fmt.Sprintf("found %q, expected %q", got, m[3]), ""
	}
	if m := gotOther.FindStringSubmatch(msg); m != nil {
		if strings.HasPrefix(m[2], "unexpected effect: ") {
			return fmt.Sprintf("found %q, expected permit or forbid", m[1]), "a policy is annotations, then permit or forbid with (principal, action, resource), then when {...} and unless {...}"
		}
		if m[2] == "invalid primary" || m[2] == "unexpected token" {
			return fmt.Sprintf("did not expect %q here", m[1]), slotHint(m[1])
		}
		return fmt.Sprintf("%s, found %q", m[2], m[1]), slotHint(m[1])
	}
	return msg, ""
}

func slotHint(tok string) string {
	switch tok {
	case "?":
		return "templates are not supported; write the entity"
	case "=":
		return "equality is ==, assignment does not exist"
	case "and":
		return "write &&"
	case "or":
		return "write ||"
	}
	return ""
}
