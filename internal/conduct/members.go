package conduct

// Members calls f with the name and the value of each member of a JSON object, in order, until f returns
// false. The value is JSON text, strings with their quotes; the name is good until f returns. It reports
// whether all was well up to there: it is false for a text that is no object.
func Members(object []byte, f func(name, value []byte) bool) bool {
	s := scan{text: object}
	if s.space() != '{' {
		return false
	}
	s.at++
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return !s.bad
		}
		s.space()
		start := s.at
		kept := s.room // of the name, if it has escapes; the value must not overwrite it
		s.room = nil
		if s.skip(0); s.bad {
			return false
		}
		if !f(name, s.text[start:s.at:s.at]) {
			return true
		}
		s.room = kept
	}
}
