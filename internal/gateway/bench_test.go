package gateway_test

import (
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/token"
)

// What it takes to know who sent a request, when the token was seen before.
func BenchmarkVerify(b *testing.B) {
	f := newForeign(b)
	now := newClock()
	g := open(b, document("limits: {proofs: 16777216}", "authorization: {servers: [{issuer: \""+f.URL+"\"}]}"), gateway.Options{Now: now.Now})
	b.Run("bearer", func(b *testing.B) {
		r := request("POST", resource, "Authorization", "Bearer "+f.sign("ed", f.claims(now.Now(), resource), nil))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.Verifier.Verify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("proof", func(b *testing.B) {
		h := newHolder(b, edKey(b))
		tok := f.sign("ed", f.claims(now.Now(), resource, "cnf", h.cnf(), "exp", now.Now().Add(time.Hour).Unix()), nil)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			b.StopTimer()
			if n++; n%10000 == 0 {
				now.add(2 * time.Minute)
			}
			r := request("POST", resource, "Authorization", "DPoP "+tok, "DPoP", h.proof(tok, token.Proof{Method: "POST", URL: resource, IssuedAt: now.Now()}))
			b.StartTimer()
			if _, err := g.Verifier.Verify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
