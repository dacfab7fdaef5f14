package pdp

import (
	"math"
	"strconv"

	"github.com/safeconduct/safeconduct/authz"
)

func appendTrust(b []byte, t authz.Trust) []byte {
	b = append(b, `{"level":`...)
	b = appendString(b, t.Level)
	b = append(b, `,"score":`...)
	b = appendFraction(b, t.Score)
	return append(b, '}')
}

// appendConduct appends a member that says how an agent has behaved, if anything is known of it.
func appendConduct(b []byte, member string, c *authz.Conduct) []byte {
	none := c.Judged == 0 && c.Accuracy == 0 && c.ErrorRate == 0 && len(c.Findings) == 0 && c.Gravest == 0
	if none && c.Lowest == (authz.Trust{}) && !c.Quarantined {
		return b
	}
	b = append(append(b, member...), '{')
	n := len(b)
	if c.Lowest != (authz.Trust{}) {
		b = append(b, `"lowest":`...)
		b = append(appendTrust(b, c.Lowest), ',')
	}
	if c.Judged != 0 {
		b = append(b, `"judged":`...)
		b = append(strconv.AppendInt(b, c.Judged, 10), ',')
	}
	if c.Accuracy != 0 {
		b = append(b, `"accuracy":`...)
		b = append(appendFraction(b, c.Accuracy), ',')
	}
	if c.ErrorRate != 0 {
		b = append(b, `"error_rate":`...)
		b = append(appendFraction(b, c.ErrorRate), ',')
	}
	b = appendNames(b, "findings", c.Findings)
	if c.Gravest != 0 {
		b = append(b, `"gravest":`...)
		b = append(strconv.AppendInt(b, c.Gravest, 10), ',')
	}
	if c.Quarantined {
		b = append(b, `"quarantined":true,`...)
	}
	return append(trim(b, n), '}')
}

// appendFraction appends a number. What is none is 0, as policies read it: a record can always be read.
func appendFraction(b []byte, x float64) []byte {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		x = 0
	}
	return strconv.AppendFloat(b, x, 'g', -1, 64)
}
