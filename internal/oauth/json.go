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
