package route

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of documents.
const (
	maxDocument = 8 << 20
	maxNesting  = 100
	maxIndent   = 400 // spaces
)

// tame refuses documents that the parser should not see: too large, nested too deep, or with anchors, aliases and
// tags, for which rules have no use.
func tame(text []byte) error {
	if len(text) > maxDocument {
		return authz.Errorf(authz.ErrInvalid, "the document has more than %d bytes", maxDocument)
	}
	if !utf8.Valid(text) {
		return authz.Errorf(authz.ErrInvalid, "the document is no UTF-8")
	}
	if i := strings.IndexFunc(string(text), func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f }); i >= 0 {
		return authz.Errorf(authz.ErrInvalid, "the document has a control character at byte %d", i)
	}
	depth, line, entries := 0, 0, 0
	for _, t := range lexer.Tokenize(string(text)) {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType, token.DirectiveType:
			return authz.Errorf(authz.ErrInvalid, "line %d: anchors, aliases, tags and directives are not read", t.Position.Line)
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingValueType: // - - - a, as deep as it is long
			if t.Position.Line != line {
				line, entries = t.Position.Line, 0
			}
			if depth == 0 {
				entries++
			}
		}
		if depth > maxNesting || entries > maxNesting || t.Position.IndentNum > maxIndent {
			return authz.Errorf(authz.ErrInvalid, "line %d: nested too deep", t.Position.Line)
		}
	}
	return nil
}

// decodeYAML reads a tame document strictly.
func decodeYAML(text []byte, into any) (err error) {
	defer func() { // the parser reads what a stranger wrote
		if p := recover(); p != nil {
			err = authz.Errorf(authz.ErrInvalid, "the document cannot be read as YAML")
		}
	}()
	if err := yaml.UnmarshalWithOptions(text, into, yaml.Strict()); err != nil {
		return authz.Errorf(authz.ErrInvalid, "%s", strings.TrimRight(yaml.FormatError(err, false, true), "\n"))
	}
	return nil
}

// show returns the place of a document, with a caret, that a path leads to; of the nearest that is there.
func show(text []byte, path string) (out string) {
	defer func() {
		if recover() != nil {
			out = ""
		}
	}()
	for path != "" {
		p, err := yaml.PathString("$." + path)
		if err == nil {
			if lines, err := p.AnnotateSource(text, false); err == nil {
				return "\n" + strings.TrimRight(string(lines), "\n")
			}
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return ""
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
