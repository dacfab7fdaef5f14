package pdp

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// reported returns the confidence that a request's context claims, and whether it claims one. It is read
// as policies read context.claimed.confidence, a number or a number as text, and what is beyond 0 or 1
// counts as those: who exaggerates is not thereby out of reach.
func reported(context authz.Claimed) (float64, bool) {
	// A name that is spelt with escapes is the same name.
	if !bytes.Contains(context, []byte(`"confidence"`)) && bytes.IndexByte(context, '\\') < 0 {
		return 0, false
	}
	dec := jsontext.NewDecoder(bytes.NewReader(context))
	if dec.PeekKind() != '{' {
		return 0, false
	}
	if _, err := dec.ReadToken(); err != nil {
		return 0, false
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return 0, false
		}
		if name.String() != "confidence" {
			if err := dec.SkipValue(); err != nil {
				return 0, false
			}
			continue
		}
		switch dec.PeekKind() {
		case '0':
			v, err := dec.ReadValue()
			if err != nil {
				return 0, false
			}
			return number(string(v))
		case '"':
			v, err := dec.ReadToken()
			if err != nil {
				return 0, false
			}
			return number(v.String())
		}
		return 0, false
	}
	return 0, false
}

// number returns a decimal number, no less than 0 and no more than 1.
func number(s string) (float64, bool) {
	if strings.TrimLeft(s, "-.0123456789") != "" {
		return 0, false
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, false
	}
	return max(0, min(x, 1)), true
}
