package oauth

import "github.com/go-json-experiment/json/jsontext"

// appendString appends s as a JSON string. Invalid UTF-8, which no reader of ours lets in, becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, s)
	if err != nil && out == nil {
		return append(b, `""`...)
	}
	return out
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		b = appendString(comma(b, i), s)
	}
	return append(b, ']')
}

// appendText appends a member, if its value is not empty.
func appendText(b []byte, member, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, member...), value)
}

// comma appends the comma before an element that is not the first.
func comma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}
