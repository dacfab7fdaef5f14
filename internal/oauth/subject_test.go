package oauth_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"github.com/safeconduct/safeconduct/internal/oauth"
)

// subject returns a name in DER, the first part first.
func subject(t testing.TB, rdns ...pkix.RelativeDistinguishedNameSET) []byte {
	t.Helper()
	der, err := asn1.Marshal(pkix.RDNSequence(rdns))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// rdn returns a relative name; pairs are a last number of 2.5.4 and a value.
func rdn(pairs ...any) (out pkix.RelativeDistinguishedNameSET) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, pairs[i].(int)}, Value: pairs[i+1]})
	}
	return out
}

// A subject that is written and the one of a certificate have one form if they are the same.
func TestSubject(t *testing.T) {
	user := pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: "jsmith"}}
	dc := func(s string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, Value: s}}
	}
	utf8 := func(s string) asn1.RawValue { return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)} }
	for _, tt := range []struct {
		text string
		der  []byte
		want bool
	}{
		// The examples of RFC 4514, section 4.
		{`UID=jsmith,DC=example,DC=net`, subject(t, dc("net"), dc("example"), user), true},
		{`OU=Sales+CN=J.  Smith,DC=example,DC=net`, subject(t, dc("net"), dc("example"), rdn(11, "Sales", 3, "J.  Smith")), true},
		{`CN=James \"Jim\" Smith\, III,DC=example,DC=net`, subject(t, dc("net"), dc("example"), rdn(3, `James "Jim" Smith, III`)), true},
		{`CN=Before\0dAfter,DC=example,DC=net`, subject(t, dc("net"), dc("example"), rdn(3, "Before\rAfter")), true},
		{`CN=Lu\C4\8Di\C4\87`, subject(t, rdn(3, "Lučić")), true},
		{`CN=Lučić`, subject(t, rdn(3, "Lučić")), true},

		{`cn=ledger,o=Example`, subject(t, rdn(10, "Example"), rdn(3, "ledger")), true},
		{`2.5.4.3=ledger`, subject(t, rdn(3, "ledger")), true},
		{`CN=#0c066c6564676572`, subject(t, rdn(3, "ledger")), true},
		{`CN=ledger`, subject(t, rdn(3, utf8("ledger"))), true}, // whatever the encoding
		{`CN=\ a\ `, subject(t, rdn(3, " a ")), true},
		{`CN=\#a#=b\=\+`, subject(t, rdn(3, "#a#=b=+")), true},
		{`CN=,O=x`, subject(t, rdn(10, "x"), rdn(3, "")), true},
		{`O=x,CN=`, subject(t, rdn(3, ""), rdn(10, "x")), true},
		{`CN=a+CN=b`, subject(t, rdn(3, "b", 3, "a")), true},

		{`CN=ledger,O=Example`, subject(t, rdn(3, "ledger"), rdn(10, "Example")), false}, // the other way round
		{`CN=ledger`, subject(t, rdn(3, "Ledger")), false},
		{`CN=ledger`, subject(t, rdn(3, "ledger ")), false},
		{`CN=ledger`, subject(t, rdn(4, "ledger")), false},
		{`CN=ledger`, subject(t, rdn(10, "Example"), rdn(3, "ledger")), false},
		{`CN=ledger`, subject(t, rdn(3, "ledger", 10, "Example")), false},
		{`CN=ledger`, subject(t, rdn(3, "ledger", 3, "ledger")), false},
		{`CN=a,CN=b`, subject(t, rdn(3, "b", 3, "a")), false},
		{`CN=a`, subject(t, rdn(3, `a"+2.5.4.10="b`)), false},
		{`CN=a+O=b`, subject(t, rdn(3, `a"+2.5.4.10="b`)), false},
		{`CN=a`, subject(t, rdn(3, 7)), false},
		{`CN=a`, subject(t), false},
		{`CN=a`, append(subject(t, rdn(3, "a")), 0), false},
		{`CN=a`, nil, false},
	} {
		want, err := oauth.ParseSubject(tt.text)
		if err != nil {
			t.Errorf("ParseSubject(%q) = %v", tt.text, err)
			continue
		}
		if got, ok := oauth.SubjectOf(tt.der); (ok && got == want) != tt.want {
			t.Errorf("%q and the certificate's subject: %s and %s (%v), want the same: %v", tt.text, want, got, ok, tt.want)
		}
	}
}

func TestSubjectRefused(t *testing.T) {
	for _, text := range []string{
		"", "ledger", "=ledger", "CN", "CN=a,", "CN=a+", ",CN=a", "CN=a,,O=b", "CN=a, O=b", "CN =a", "CN= a", "CN=a ", "CN=a ,O=b", "CN= ",
		"X=a", "2=a", "2.05.4=a", "2.5.4.=a", "2.-5=a", "OID.2.5.4.3=a", "2.5.4.99999999999=a",
		`CN="a"`, "CN=a;O=b", "CN=<a>", "CN=a\x00", `CN=a\`, `CN=a\0`, `CN=a\x1`, `CN=a\,\`, "CN=\xff", `CN=\ff`,
		"CN=#", "CN=#0", "CN=#zz", "CN=#0c0261", "CN=#0c016100", "CN=#020101", "CN=#0c01ff", "CN=#0c0161 ",
	} {
		if got, err := oauth.ParseSubject(text); err == nil {
			t.Errorf("ParseSubject(%q) = %s, want an error", text, got)
		}
	}
}

// What crypto/x509/pkix writes of a certificate's subject is read as that subject.
func FuzzSubject(f *testing.F) {
	f.Add(subject(f, rdn(10, "Example"), rdn(3, "a, b+c", 11, "#x ")))
	f.Add(subject(f, rdn(44, " \\\"<>;=")))
	f.Fuzz(func(t *testing.T, der []byte) {
		want, ok := oauth.SubjectOf(der)
		if !ok {
			return
		}
		var name pkix.RDNSequence
		if _, err := asn1.Unmarshal(der, &name); err != nil {
			t.Fatal(err)
		}
		text := name.String()
		if got, err := oauth.ParseSubject(text); err == nil && got != want {
			t.Errorf("ParseSubject(%q) = %s, want %s", text, got, want)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add(`CN=James \"Jim\" Smith\, III+OU=x,DC=example,2.5.4.99=#0c0161`)
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := oauth.ParseSubject(text); err == nil && got == "" {
			t.Errorf("ParseSubject(%q) is empty", text)
		}
	})
}
