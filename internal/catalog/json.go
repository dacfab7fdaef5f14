package catalog

import (
	"encoding/json"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// Said returns what a caller claims under a name, as JSON. It reports false if that is nothing, two things, or if there is
// something that is not JSON before it. The value is a part of claimed.
func Said(claimed authz.Claimed, name string) (value []byte, ok bool) { return member(claimed, name) }

// member returns the value of the member of that name in a JSON object. It reports false if there
// is none, if there are two, or if the text is not an object. It does not copy.
func member(object authz.Claimed, name string) (value []byte, ok bool) {
	b := []byte(object)
	i := space(b, 0)
	if i >= len(b) || b[i] != '{' {
		return nil, false
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return nil, false
	}
	for {
		start := i
		if i = skipString(b, i); i < 0 {
			return nil, false
		}
		hit := same(b[start:i], name)
		if i = space(b, i); i >= len(b) || b[i] != ':' {
			return nil, false
		}
		start = space(b, i+1)
		if i = skipValue(b, start); i < 0 {
			return nil, false
		}
		if hit {
			if ok {
				return nil, false
			}
			value, ok = b[start:i], true
		}
		if i = space(b, i); i >= len(b) {
			return nil, false
		}
		if b[i] == '}' {
			return value, ok
		}
		if b[i] != ',' {
			return nil, false
		}
		i = space(b, i+1)
	}
}

// elements calls f with each element of a JSON array until f returns true; it reports whether f did.
func elements(array []byte, f func([]byte) bool) bool {
	if len(array) == 0 || array[0] != '[' {
		return false
	}
	i := space(array, 1)
	for i < len(array) && array[i] != ']' {
		start := i
		if i = skipValue(array, i); i < 0 {
			return false
		}
		if f(array[start:i]) {
			return true
		}
		if i = space(array, i); i < len(array) && array[i] == ',' {
			i = space(array, i+1)
		}
	}
	return false
}

// same reports whether a JSON string, quotes included, says s.
func same(quoted []byte, s string) bool {
	inner := quoted[1 : len(quoted)-1]
	if string(inner) == s {
		return !strings.Contains(s, `\`)
	}
	for _, c := range inner {
		if c == '\\' {
			return unquote(quoted) == s
		}
	}
	return false
}

// unquote returns what a JSON string says.
func unquote(quoted []byte) string {
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the end of the string that begins at i, or -1.
func skipString(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skipValue returns the end of the value that begins at i, or -1.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		for open := 0; i < len(b); {
			switch b[i] {
			case '"':
				if i = skipString(b, i); i < 0 {
					return -1
				}
				continue
			case '{', '[':
				open++
			case '}', ']':
				if open--; open == 0 {
					return i + 1
				}
			}
			i++
		}
		return -1
	}
	start := i
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] != ' ' && b[i] != '\t' && b[i] != '\n' && b[i] != '\r' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}
