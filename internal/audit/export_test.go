package audit

import "bytes"

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

// Pack packs files as a bundle is packed.
func Pack(names []string, file func(string) string) []byte {
	var b bytes.Buffer
	a := newArchive(&b)
	for _, n := range names {
		a.add(n, []byte(file(n)))
	}
	_ = a.close()
	return b.Bytes()
}

// SetGroup makes groups of the index of so many chunks.
func SetGroup(x *Index, chunks int64) { x.group = chunks * IndexChunk }
