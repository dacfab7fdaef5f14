package catalog_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// member finds what a full decoder finds, in every object, and nothing in what is no object.
func FuzzMember(f *testing.F) {
	f.Add([]byte(`{"a": 1, "b": {"a": [1, "}"]}, "c": "\"a\""}`), "a")
	f.Add([]byte(` { "\u0061" : null } `), "a")
	f.Add([]byte(`{"a":1,"a":2}`), "a")
	f.Add([]byte(`{"a\\":1}`), `a\`)
	f.Add([]byte(`{}`), "")
	f.Fuzz(func(t *testing.T, object []byte, name string) {
		got, ok := catalog.Member(authz.Claimed(object), name)
		var all map[string]json.RawMessage
		if json.Unmarshal(object, &all) != nil || all == nil {
			return // it must not panic, and who decodes a request has refused this
		}
		if hasTwins(object) {
			if _, there := all[name]; ok && !there {
				t.Fatalf("member(%s, %q) = %s, which is not there", object, name, got)
			}
			return
		}
		want, there := all[name]
		if ok != there || string(got) != strings.TrimSpace(string(want)) {
			t.Fatalf("member(%s, %q) = %s, %v, want %s, %v", object, name, got, ok, want, there)
		}
	})
}

// hasTwins reports whether the object has a name twice, or one that is not plain UTF-8, which
// decoders see differently.
func hasTwins(object []byte) bool {
	d := json.NewDecoder(strings.NewReader(string(object)))
	d.Token()
	seen := map[string]bool{}
	for d.More() {
		k, err := d.Token()
		name, ok := k.(string)
		if err != nil || !ok || seen[name] || strings.ContainsRune(name, '\ufffd') {
			return true
		}
		seen[name] = true
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return true
		}
	}
	return false
}

// Decimals compare as fractions do.
func TestDecimalsCompareExactly(t *testing.T) {
	number := rapid.StringMatching(`(0|[1-9][0-9]{0,12})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		if rapid.Bool().Draw(t, "close") {
			b = a + "0"
			if strings.ContainsAny(a, "eE") || !strings.Contains(a, ".") {
				b = a
			}
		}
		got, ok := catalog.CompareDecimals(a, b)
		if !ok {
			t.Fatalf("%q or %q cannot be read", a, b)
		}
		ra, _ := new(big.Rat).SetString(a)
		rb, _ := new(big.Rat).SetString(b)
		if want := ra.Cmp(rb); got != want {
			t.Fatalf("compare(%s, %s) = %d, want %d", a, b, got, want)
		}
	})
}

func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"0", "1.5", "1e3", "00.10", "-1", "1e-5", ".", "1.", "999999999999999999999999999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if sign, ok := catalog.CompareDecimals(s, "0"); ok {
			r, valid := new(big.Rat).SetString(s)
			if !valid || r.Sign() < 0 || r.Sign() != sign {
				t.Errorf("%q is accepted, compared with zero %d: want a number that is not negative", s, sign)
			}
		}
	})
}
