package client_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// BenchmarkMask is hiding a name in a result of a megabyte.
func BenchmarkMask(b *testing.B) {
	result := json.RawMessage(`[` + strings.TrimSuffix(strings.Repeat(`{"name":"Ann Smith","iban":"DE02120300000000202051","lines":[{"amount":120.5,"text":"rent of March"},{"amount":7,"text":"a \"quoted\" word"}]},`, 7000), ",") + `]`)
	a := allows("e1", maskDuty("iban"))
	e := before(yes{&a})
	p, err := e.Permit(b.Context(), one, false)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(result)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Shape(result); err != nil {
			b.Fatal(err)
		}
	}
}
