package audit

// SkipJSON passes over the JSON value at the head of text and returns what follows it.
func SkipJSON(text []byte) (rest []byte, ok bool) {
	s := scanner{text: text}
	ok = s.skip()
	return text[s.at:], ok
}

// Terms returns how many terms the search index has for e.
func Terms(e *Entry) int {
	var r termReader
	return len(r.read(e))
}
