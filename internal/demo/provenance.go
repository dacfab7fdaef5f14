package demo

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
)

// A Memory is what an enforcement point remembers of one session in order to say where an act's
// arguments came from: the person's words, the organisation's own directory as far as the agent has
// read it, and what tools returned whose output others can write.
//
// It compares text, no more: an argument is the person's if each of its values occurs in the prompt,
// and the operator's if those that do not are names in the directory; it is untrusted if one of its
// values, or an address written in one (a URL, an e-mail address, an account number), occurs in
// neither and does occur in an untrusted result. What it finds nowhere, a model's own words for
// instance, is unknown. A model that is told to rewrite an address, digit by
// digit or in another encoding, gets it past this comparison; the policies then see "unknown".
type Memory struct {
	prompt    string
	directory []string
	untrusted []string
}

// NewMemory begins a session at the person's words.
func NewMemory(prompt string) *Memory { return &Memory{prompt: plain(prompt)} }

// Saw adds the result of a tool whose output others can write.
func (m *Memory) Saw(result string) { m.untrusted = append(m.untrusted, plain(result)) }

// Knows adds the result of a tool that returns names out of the organisation's own directory, which
// only its administrators write.
func (m *Memory) Knows(result string) { m.directory = append(m.directory, plain(result)) }

// Provenance sorts the names of the arguments, a JSON object, by where their values came from.
// Arguments without a value are left out.
func (m *Memory) Provenance(args map[string]any) *authz.Provenance {
	p := &authz.Provenance{}
	for _, name := range sorted(args) {
		switch origin := m.origin(args[name]); origin {
		case fromPrompt:
			p.Prompt = append(p.Prompt, name)
		case fromOperator:
			p.Operator = append(p.Operator, name)
		case fromUntrusted:
			p.Untrusted = append(p.Untrusted, name)
		case fromNowhere:
			p.Unknown = append(p.Unknown, name)
		}
	}
	return p
}

// Origins, from the best to the worst; a value with several parts has the origin of its worst.
const (
	noValue = iota
	fromPrompt
	fromOperator
	fromNowhere
	fromUntrusted
)

func (m *Memory) origin(v any) int {
	worst := noValue
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			worst = max(worst, m.origin(e))
		}
	case map[string]any:
		for _, e := range v {
			worst = max(worst, m.origin(e))
		}
	case json.Number:
		f := strings.TrimSuffix(v.String(), ".0")
		return m.originOf(f)
	case string:
		return m.originOf(v)
	}
	return worst // null and booleans come from nowhere in particular
}

func (m *Memory) originOf(text string) int {
	text = plain(text)
	whole := bare(text)
	if whole == "" {
		return noValue
	}
	if occurs(whole, m.prompt) {
		return fromPrompt
	}
	if within(whole, m.directory) {
		return fromOperator
	}
	for _, part := range append(addresses.FindAllString(text, 64), whole) {
		part = bare(part)
		if part == "" || occurs(part, m.prompt) {
			continue
		}
		if within(part, m.untrusted) {
			return fromUntrusted
		}
	}
	return fromNowhere
}

// within reports whether s occurs in one of the texts.
func within(s string, texts []string) bool {
	return slices.ContainsFunc(texts, func(t string) bool { return occurs(s, t) })
}

// addresses finds what says where something goes: URLs, e-mail addresses and account numbers, in plain text.
var addresses = regexp.MustCompile(`(?:https?://|www\.)[^\s<>"')]+|[\w.+-]+@[\w-]+\.[\w.-]+|\b[a-z]{2}[0-9]{2}[a-z0-9]{10,30}\b`)

// plain lowers the case and joins white space.
func plain(s string) string { return strings.Join(strings.Fields(strings.ToLower(s)), " ") }

// bare takes off what people write around an address.
func bare(s string) string {
	s = strings.Trim(s, " '\"`.,;:!?()[]<>")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "http://"), "https://")
	return strings.TrimSuffix(s, "/")
}

// occurs reports whether s stands in text, not as a part of a longer word or number.
func occurs(s, text string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	for at := 0; ; {
		i := strings.Index(text[at:], s)
		if i < 0 {
			return false
		}
		i += at
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[i+len(s):])
		if !(word(before) && word(first)) && !(word(after) && word(last)) {
			return true
		}
		_, n := utf8.DecodeRuneInString(text[i:])
		at = i + n
	}
}

func word(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }

func sorted(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
