package pdp

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// reported returns the confidence that a request's context claims, and whether it claims one. It is read
// as policies read context.claimed.confidence, a number or a number as text, and what is beyond 0 or 1
// counts as those: who exaggerates is not thereby out of reach.
func reported(context authz.Claimed) (float64, bool) {
	value, ok := catalog.Said(context, "confidence")
	switch {
	case !ok:
		return 0, false
	case value[0] != '"':
		return number(string(value))
	case bytes.IndexByte(value, '\\') < 0:
		return number(string(value[1 : len(value)-1]))
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return 0, false
	}
	return number(string(text))
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
