package policy

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// parsePolicies reads the policies of all files. Rules that could be read come back with id, file,
// statement, policy, AST and effect set; every one that could not is a problem of its own and spoils
// no other.
func parsePolicies(files []File, ps *Problems) []*rule {
	var rules []*rule
	for i, f := range files {
		for n, st := range splitStatements(f.Text) {
			if p, ok := tooDeep(st.tokens, maxDepth, maxTokens); !ok {
				ps.add(Problem{File: f.Name, Line: p.line, Column: p.column, Message: "policy is too large or nested too deeply"})
				continue
			}
			p, err := parseOne(f.Text[st.start().offset:st.end()])
			if err != nil {
				ps.add(parseProblem(f.Name, st, err))
				continue
			}
			ast := (*cedarast.Policy)(p.AST())
			ast.Position = cedarast.Position{Filename: f.Name, Offset: st.start().offset, Line: st.start().line, Column: st.start().column}
			r := &rule{
				id:        fmt.Sprintf("%s#%d", strings.TrimSuffix(path.Base(f.Name), ".cedar"), n+1),
				policy:    p,
				ast:       ast,
				forbid:    ast.Effect == cedarast.EffectForbid,
				file:      i,
				statement: st,
			}
			for _, a := range ast.Annotations {
				if a.Key == "id" && a.Value != "" {
					r.id = string(a.Value)
				}
			}
			rules = append(rules, r)
		}
	}
	return rules
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
