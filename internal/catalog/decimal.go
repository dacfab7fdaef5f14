package catalog

import "bytes"

// A decimal is an exact number that is not negative: 0.d1d2d3... times ten to the power. It is
// compared and nothing else, so no digit is ever lost.
type decimal struct {
	digits [maxDigits]byte // without zeros at either end
	n      int             // how many; 0 is the number zero
	power  int
}

const (
	maxDigits = 40
	maxPower  = 1000
)

// parseDecimal reads digits, a point, more digits, and an exponent if there is one, as a JSON number
// has them. It refuses a minus sign: an amount that is negative is within no limit.
func parseDecimal[T string | []byte](s T) (d decimal, ok bool) {
	i, point, leading := 0, -1, true
	zeros, whole := 0, 0 // zeros seen since the last digit that counts; digits before the point
	any := false
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && point < 0 && any {
			point = i
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		any = true
		if point < 0 && !(leading && c == '0') {
			whole++
		}
		if c == '0' {
			switch {
			case !leading:
				zeros++
			case point >= 0:
				whole-- // 0.001 is 0.1 times ten to the minus two
			}
			continue
		}
		leading = false
		if d.n+zeros+1 > maxDigits {
			return decimal{}, false
		}
		for ; zeros > 0; zeros-- {
			d.digits[d.n] = '0'
			d.n++
		}
		d.digits[d.n] = c
		d.n++
	}
	if !any || point == i-1 && point >= 0 {
		return decimal{}, false
	}
	exponent := 0
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if exponent, ok = parseExponent(s[i+1:]); !ok {
			return decimal{}, false
		}
		i = len(s)
	}
	if i != len(s) {
		return decimal{}, false
	}
	if d.n == 0 {
		return decimal{}, true
	}
	d.power = whole + exponent
	return d, true
}

func parseExponent[T string | []byte](s T) (int, bool) {
	i, sign, v := 0, 1, 0
	if len(s) > 0 && (s[0] == '+' || s[0] == '-') {
		if s[0] == '-' {
			sign = -1
		}
		i = 1
	}
	if i == len(s) {
		return 0, false
	}
	for ; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || v > maxPower {
			return 0, false
		}
		v = v*10 + int(s[i]-'0')
	}
	return sign * v, v <= maxPower
}

// compare returns -1, 0 or 1 as d is less than, equal to or greater than e.
func (d *decimal) compare(e *decimal) int {
	switch {
	case d.n == 0 && e.n == 0:
		return 0
	case d.n == 0:
		return -1
	case e.n == 0:
		return 1
	case d.power < e.power:
		return -1
	case d.power > e.power:
		return 1
	}
	return bytes.Compare(d.digits[:d.n], e.digits[:e.n])
}
