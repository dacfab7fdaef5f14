package policy

import (
	"unicode/utf8"
)

// A place is a position in a text: offset in bytes from 0, line and column in characters from 1.
type place struct{ offset, line, column int }

// A token is one word of a Cedar text. Strings keep their quotes.
type token struct {
	place
	text string
}

func (t token) end() int { return t.offset + len(t.text) }

// scanTokens cuts a Cedar text, of policies or of a schema, into tokens without judging it: what
// Cedar would refuse still yields tokens, so that positions can be told in a faulty text. An
// unterminated string ends with its line.
func scanTokens(text string) []token {
	out := make([]token, 0, len(text)/6)
	p := place{0, 1, 1}
	step := func() rune {
		r, n := utf8.DecodeRuneInString(text[p.offset:])
		p.offset += n
		if r == '\n' {
			p.line++
			p.column = 1
		} else {
			p.column++
		}
		return r
	}
	for p.offset < len(text) {
		start := p
		switch c := text[p.offset]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			step()
			continue
		case c == '/' && p.offset+1 < len(text) && text[p.offset+1] == '/':
			for p.offset < len(text) && text[p.offset] != '\n' {
				step()
			}
			continue
		case c == '/' && p.offset+1 < len(text) && text[p.offset+1] == '*':
			step()
			for step(); p.offset < len(text); {
				if step() == '*' && p.offset < len(text) && text[p.offset] == '/' {
					step()
					break
				}
			}
			continue
		case c == '"':
			step()
			for p.offset < len(text) && text[p.offset] != '\n' {
				r := step()
				if r == '"' {
					break
				}
				if r == '\\' && p.offset < len(text) && text[p.offset] != '\n' {
					step()
				}
			}
		case isWord(c):
			for p.offset < len(text) && isWord(text[p.offset]) {
				step()
			}
		default:
			r := step()
			if p.offset < len(text) && isDouble(r, text[p.offset]) {
				step()
			}
		}
		out = append(out, token{start, text[start.offset:p.offset]})
	}
	return out
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isDouble(a rune, b byte) bool {
	switch a {
	case '=', '!', '<', '>':
		return b == '='
	case ':':
		return b == ':'
	case '&', '|':
		return rune(b) == a
	}
	return false
}

// A statement is the text of one policy: its tokens, up to and with the semicolon, and the places
// of its parts.
type statement struct {
	tokens      []token
	annotations []token  // their keys
	scope       []token  // between the parentheses of the head
	clauses     []clause // in order, as in the AST's conditions
}

// A clause is one when {...} or unless {...}, from its word to its brace.
type clause struct{ tokens []token }

func (s statement) start() place { return s.tokens[0].place }
func (s statement) end() int     { return s.tokens[len(s.tokens)-1].end() }

func (c clause) text(src string) string {
	return src[c.tokens[0].offset:c.tokens[len(c.tokens)-1].end()]
}

// splitStatements cuts a policy text at its semicolons, which Cedar has nowhere else, so that a
// faulty policy spoils no other.
func splitStatements(text string) []statement {
	var out []statement
	var from int
	toks := scanTokens(text)
	for i, t := range toks {
		if t.text == ";" {
			out = append(out, dissect(toks[from:i+1]))
			from = i + 1
		}
	}
	if from < len(toks) {
		out = append(out, dissect(toks[from:]))
	}
	return out
}

func dissect(toks []token) statement {
	s := statement{tokens: toks}
	depth, open := 0, 0
	head := false // the effect has been seen
	for i, t := range toks {
		switch t.text {
		case "(", "[", "{":
			if depth == 0 {
				open = i
			}
			depth++
		case ")", "]", "}":
			if depth > 0 {
				depth--
			}
			if depth > 0 {
				break
			}
			switch {
			case t.text == ")" && head && s.scope == nil:
				s.scope = toks[open+1 : i]
			case t.text == "}" && open > 0 && (toks[open-1].text == "when" || toks[open-1].text == "unless"):
				s.clauses = append(s.clauses, clause{toks[open-1 : i+1]})
			}
		case "permit", "forbid":
			if depth == 0 && (i == 0 || toks[i-1].text != "@") {
				head = true
			}
		default:
			if depth == 0 && i > 0 && toks[i-1].text == "@" {
				s.annotations = append(s.annotations, t)
			}
		}
	}
	return s
}
