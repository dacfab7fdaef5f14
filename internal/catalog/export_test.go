package catalog

// What stands between the text of a request and a limit, for tests of its own.

var Member = member

// CompareDecimals compares two decimals, if both can be read.
func CompareDecimals(a, b string) (int, bool) {
	x, ok := parseDecimal(a)
	y, ok2 := parseDecimal([]byte(b))
	return x.compare(&y), ok && ok2
}
