package policy

import "unicode/utf8"

// mark sets where problems end: with the words at which they begin. Cedar's parser and validator tell
// where something begins, and our scanner cuts faulty texts into words as well.
func (ps *Problems) mark(src Source) {
	texts := make(map[string]string, len(src.Files)+1)
	for _, f := range src.Files {
		texts[f.Name] = f.Text
	}
	texts[schemaFile] = src.Schema
	ends := make(map[string]map[[2]int]int)
	for i := range ps.List {
		p := &ps.List[i]
		if p.Line == 0 || p.Column == 0 {
			continue
		}
		text, ok := texts[p.File]
		if !ok || len(text) > maxText {
			continue
		}
		if ends[p.File] == nil {
			ends[p.File] = wordEnds(text)
		}
		p.EndColumn = ends[p.File][[2]int{p.Line, p.Column}]
	}
}

// wordEnds returns the columns just after the words of a text, by the line and column of their beginnings.
func wordEnds(text string) map[[2]int]int {
	out := make(map[[2]int]int)
	for _, t := range scanTokens(text) {
		out[[2]int{t.line, t.column}] = t.column + utf8.RuneCountInString(t.text)
	}
	return out
}
