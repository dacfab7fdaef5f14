package catalog

// AtMost reports whether a JSON value, a number or a decimal as text, is an amount that is not over most.
// What cannot be read, and what is negative, is over everything.
func AtMost(value []byte, most string) bool {
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	v, ok := parseDecimal(value)
	if !ok {
		return false
	}
	m, ok := parseDecimal(most)
	return ok && v.compare(&m) <= 0
}
