package authz_test

import (
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

func TestProofTime(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		shown time.Time
		want  time.Time
		ok    bool
	}{
		{time.Time{}, now, true},
		{now.Add(-time.Minute), now.Add(-time.Minute), true},
		{now.Add(-authz.MaxShown), now.Add(-authz.MaxShown), true},
		{now.Add(-authz.MaxShown - 1), now, false},
		{now.Add(30 * time.Second), now.Add(30 * time.Second), true},
		{now.Add(31 * time.Second), now, false},
	} {
		p := authz.Presented{Shown: test.shown}
		if got, ok := p.ProofTime(now, 30*time.Second); !got.Equal(test.want) || ok != test.ok {
			t.Errorf("ProofTime of a passport shown %v before = %v, %v, want %v, %v", now.Sub(test.shown), got, ok, test.want, test.ok)
		}
	}
}
