package token_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

func TestParseAssertion(t *testing.T) {
	const text = `{"iss":"i","sub":"s","aud":"a","jti":"j","iat":1772452800,"nbf":1772452800.25,"exp":1.7724531e9,"kubernetes.io":{"namespace":"prod"}}`
	got, err := token.ParseAssertion([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &token.Assertion{
		Issuer: "i", Subject: "s", Audience: []string{"a"}, ID: "j", IssuedAt: noon,
		NotBefore: noon.Add(250 * time.Millisecond), Expires: noon.Add(5 * time.Minute), Claims: json.RawMessage(text),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("assertion (-want +got):\n%s", d)
	}
	// A JWT-SVID has no more than this.
	if _, err := token.ParseAssertion([]byte(`{"sub":"spiffe://example.org/a","aud":["a","b"],"exp":1}`)); err != nil {
		t.Errorf("a JWT-SVID: %v", err)
	}
	for _, text := range []string{
		``, `[]`, `{}`, `{"sub":"s","aud":"a"}`, `{"sub":"s","exp":1}`, `{"aud":"a","exp":1}`,
		`{"sub":"s","aud":"a","exp":null}`, `{"sub":"s","aud":"a","exp":"1"}`, `{"sub":"s","aud":"a","exp":-1}`, `{"sub":"s","aud":"a","exp":1e12}`,
		`{"sub":"s","aud":[],"exp":1}`, `{"sub":"s","aud":[["a"]],"exp":1}`, `{"sub":"s","aud":{"a":1},"exp":1}`, `{"sub":"s","aud":"","exp":1}`,
		`{"sub":1,"aud":"a","exp":1}`, `{"sub":"a\u0000b","aud":"a","exp":1}`, `{"sub":"s","aud":"a","exp":1,"iss":null}`, `{"sub":"s","aud":"a","exp":1,"jti":7}`,
		`{"sub":"s","sub":"t","aud":"a","exp":1}`, `{"Sub":"s","aud":"a","exp":1}`, `{"sub":"s","aud":"a","exp":1}x`,
	} {
		if a, err := token.ParseAssertion([]byte(text)); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("ParseAssertion(%s) = %+v, %v, want a refusal", text, a, err)
		}
	}
}
