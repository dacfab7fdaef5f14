package token_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/token"
)

// TestPassportSize: a typical agent's passport fits into every header that HTTP servers take.
func TestPassportSize(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256"} {
		s, _ := newSigner(t, alg)
		text, err := s.Sign(token.PassportType, typical().Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 1200 {
			t.Errorf("%s: the passport of a typical agent has %d bytes, want at most 1200\n%s", alg, len(text), typical().Append(nil))
		}
	}
}

func TestPassportRoundTrip(t *testing.T) {
	want := typical()
	got, err := token.ParsePassport(want.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("read again (-want +got):\n%s", d)
	}
}
