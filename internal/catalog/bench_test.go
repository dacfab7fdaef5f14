package catalog_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// BenchmarkFacts measures what a decision asks of a catalog of some size.
func BenchmarkFacts(b *testing.B) {
	var text strings.Builder
	text.WriteString("zone: Europe/Berlin\nschedules:\n")
	for i := range 10 {
		fmt.Fprintf(&text, "  s%d: {windows: [{days: mon-fri, from: \"08:00\", to: \"18:00\"}]}\n", i)
	}
	text.WriteString("networks:\n")
	for i := range 200 {
		fmt.Fprintf(&text, "  n%d: [10.%d.0.0/16, \"2001:db8:%x::/48\"]\n", i, i, i)
	}
	text.WriteString("types: {document: {class: internal, labels: [business], request_properties: [status]}}\nclassify:\n")
	for i := range 20 {
		fmt.Fprintf(&text, "  - {type: document, id: \"folder-%d/*\", class: confidential}\n", i)
	}
	text.WriteString("  - {type: document, properties: {status: draft}, labels: [unfinished]}\n")
	c := parse(b, text.String())
	at := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	v4, v6 := netip.MustParseAddr("::ffff:10.77.1.2"), netip.MustParseAddr("2001:db8:7::1")
	doc := &authz.Entity{Ref: authz.Ref{Type: "document", ID: "folder-7/plan"}, Properties: authz.Claimed(`{"title": "The plan", "status": "final"}`)}
	other := &authz.Entity{Ref: authz.Ref{Type: "mail", ID: "7"}}
	for name, f := range map[string]func(){
		"open":             func() { c.Open(at) },
		"open-next-minute": func() { at = at.Add(time.Minute); c.Open(at) },
		"zones-v4":         func() { c.Zones(v4) },
		"zones-v6":         func() { c.Zones(v6) },
		"classify-21":      func() { c.Classify(doc) },
		"classify-0":       func() { c.Classify(other) },
		"next-open":        func() { c.NextOpen("s3", at) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
