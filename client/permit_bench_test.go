package client_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A yes is a Decider that costs nothing.
type yes []*client.Answer

func (y yes) Answer(context.Context, *client.Question) ([]*client.Answer, error) { return y, nil }
func (yes) Outcome(_ context.Context, _ string, _ client.Outcome) error          { return nil }

// BenchmarkPermit is what the SDK adds to a decision that is at hand: from the question to the act, which does nothing,
// and its outcome.
func BenchmarkPermit(b *testing.B) {
	for _, bb := range []struct {
		name        string
		obligations []authz.Obligation
	}{
		{"plain", nil},
		{"mask", []authz.Obligation{maskDuty("iban")}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			a := allows("e1", bb.obligations...)
			e := before(yes{&a})
			result := json.RawMessage(`{"name":"Ann","iban":"DE02120300000000202051"}`)
			do := func(context.Context) (json.RawMessage, error) { return result, nil }
			b.ReportAllocs()
			for b.Loop() {
				p, err := e.Permit(b.Context(), one, false)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := client.Run(b.Context(), p, do); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
