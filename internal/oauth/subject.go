package oauth

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An attribute is a part of a distinguished name.
type attribute struct{ oid, value string }

// canonical returns the form in which distinguished names are compared: relative names in the order
// of the text, and the parts of one sorted, since they are a set. Two names have the same form if and
// only if they have the same types and values, however those are written and encoded.
func canonical(name [][]attribute) string {
	var b strings.Builder
	for i, rdn := range name {
		parts := make([]string, len(rdn))
		for j, a := range rdn {
			parts[j] = a.oid + "=" + strconv.Quote(a.value)
		}
		slices.Sort(parts)
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strings.Join(parts, "+"))
	}
	return b.String()
}

// subjectOf returns the canonical form of a distinguished name in a certificate. There is none if it
// is empty or has a value that is no string.
func subjectOf(der []byte) (string, bool) {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 || len(name) == 0 {
		return "", false
	}
	out := make([][]attribute, len(name))
	for i, rdn := range name {
		for _, a := range rdn {
			value, ok := a.Value.(string)
			if !ok {
				return "", false
			}
			out[len(name)-1-i] = append(out[len(name)-1-i], attribute{a.Type.String(), value}) // RFC 4514, section 2.1: the last comes first
		}
	}
	return canonical(out), true
}

// attributeTypes are the names of types: those of RFC 4514, section 3, and three that tools print.
var attributeTypes = map[string]string{
	"CN": "2.5.4.3", "L": "2.5.4.7", "ST": "2.5.4.8", "O": "2.5.4.10", "OU": "2.5.4.11", "C": "2.5.4.6", "STREET": "2.5.4.9",
	"DC": "0.9.2342.19200300.100.1.25", "UID": "0.9.2342.19200300.100.1.1",
	"SERIALNUMBER": "2.5.4.5", "POSTALCODE": "2.5.4.17", "EMAILADDRESS": "1.2.840.113549.1.9.1",
}

// parseSubject returns the canonical form of a distinguished name that is written as RFC 4514 has it.
func parseSubject(text string) (string, error) {
	name := [][]attribute{nil}
	for {
		kind, rest, ok := strings.Cut(text, "=")
		oid := attributeTypes[strings.ToUpper(kind)]
		if oid == "" && isOID(kind) {
			oid = kind
		}
		if !ok || oid == "" {
			return "", fmt.Errorf("%.40q is not a type such as CN or 2.5.4.3, with no space beside it", kind)
		}
		value, rest, err := parseValue(rest)
		if err != nil {
			return "", fmt.Errorf("%s: %w", kind, err)
		}
		last := len(name) - 1
		name[last] = append(name[last], attribute{oid, value})
		if rest == "" {
			return canonical(name), nil
		}
		if rest[0] == ',' {
			name = append(name, nil)
		}
		text = rest[1:]
	}
}

// isOID reports whether text is an object identifier (RFC 4512, section 1.4: numericoid).
func isOID(text string) bool {
	for number := range strings.SplitSeq(text, ".") {
		if n, err := strconv.ParseUint(number, 10, 31); err != nil || strconv.FormatUint(n, 10) != number {
			return false
		}
	}
	return strings.Contains(text, ".")
}

// parseValue reads the value of an attribute up to the next separator, with which rest begins (RFC
// 4514, section 3: attributeValue).
func parseValue(text string) (value, rest string, err error) {
	if strings.HasPrefix(text, "#") {
		end := strings.IndexAny(text, ",+")
		if end < 0 {
			end = len(text)
		}
		var v any
		if der, err := hex.DecodeString(text[1:end]); err != nil {
			return "", "", errors.New("# must be followed by the value's encoding in hexadecimal digits")
		} else if tail, err := asn1.Unmarshal(der, &v); err != nil || len(tail) > 0 {
			return "", "", errors.New("the digits behind # encode no value")
		}
		value, ok := v.(string)
		if !ok {
			return "", "", errors.New("the digits behind # encode no string")
		}
		return value, text[end:], nil
	}
	var b strings.Builder
	space, i := strings.HasPrefix(text, " "), 0
	for ; i < len(text) && text[i] != ',' && text[i] != '+'; i++ {
		switch c := text[i]; {
		case strings.IndexByte("\";<>\x00", c) >= 0:
			return "", "", fmt.Errorf(`%q must be written with \ before it`, c)
		case c != '\\':
			b.WriteByte(c)
			space = space || c == ' ' && (i+1 == len(text) || text[i+1] == ',' || text[i+1] == '+')
		case i+1 < len(text) && strings.IndexByte(`"+,;<> #=\`, text[i+1]) >= 0:
			i++
			b.WriteByte(text[i])
		default:
			octet, err := hex.DecodeString(text[min(i+1, len(text)):min(i+3, len(text))])
			if err != nil || len(octet) == 0 {
				return "", "", errors.New(`\ must be followed by a special character or two hexadecimal digits`)
			}
			i += 2
			b.Write(octet)
		}
	}
	if space {
		return "", "", errors.New(`a space at the beginning or the end of a value must be written with \ before it`)
	}
	if !utf8.ValidString(b.String()) {
		return "", "", errors.New("the value is not UTF-8")
	}
	return b.String(), text[i:], nil
}
