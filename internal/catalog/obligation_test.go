package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Obligations of the types that are known, as they are handed to enforcement points, and of a type that is
// not.
func TestObligations(t *testing.T) {
	c := parse(t, `
obligations:
  tell: {type: notification, properties: {to: owner@example.com, topic: Payments, body: A payment was made.}}
  step: {type: step-up, properties: {acr_value: "urn:example:loa:3", amr_values: [mfa, hwk]}}
  end: {type: session_termination, properties: {subject: ann}}
  hide: {type: mask, properties: {fields: [iban, /customer/tax~1id, "/"], with: "***"}}
  most: {type: cap, properties: {argument: amount, most: "500.00"}}
  note: {type: log}
  note-more: {type: log, properties: {fields: [/lines/0/amount], level: warn}}
  try: {type: dry-run}
  try-too: {type: dry-run, properties: {}}
  wait: {type: delay, properties: {for: 1m30s}}
  embargo: {type: delay, properties: {until: 2026-12-24T18:00:00+01:00}}
  both: {type: delay, properties: {for: 1d, until: "2026-12-24T18:00:00Z"}}
  own: {type: watermark, properties: {fields: 7, most: [1], for: ever}}
`)
	for id, want := range map[string]string{
		"tell":      `notification {"to":"owner@example.com","topic":"Payments","body":"A payment was made."}`,
		"step":      `step-up {"acr_value":"urn:example:loa:3","amr_values":["mfa","hwk"]}`,
		"end":       `session_termination {"subject":"ann"}`,
		"hide":      `mask {"fields":["iban","/customer/tax~1id","/"],"with":"***"}`,
		"most":      `cap {"argument":"amount","most":"500.00"}`,
		"note":      `log `,
		"note-more": `log {"fields":["/lines/0/amount"],"level":"warn"}`,
		"try":       `dry-run `,
		"try-too":   `dry-run {}`,
		"wait":      `delay {"for":"1m30s"}`,
		"embargo":   `delay {"until":"2026-12-24T18:00:00+01:00"}`,
		"both":      `delay {"for":"1d","until":"2026-12-24T18:00:00Z"}`,
		"own":       `watermark {"fields":7,"most":[1],"for":"ever"}`,
	} {
		o, ok := c.Obligation(id)
		if got := o.Type + " " + string(o.Properties); !ok || got != want {
			t.Errorf("Obligation(%s) = %s, want %s", id, got, want)
		}
	}
}

// What an obligation says is bounded.
func TestObligationsAreBounded(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("f%d", i)
	}
	long := strings.Repeat("x", 257)
	for _, tt := range []struct{ typ, properties, message string }{
		{"mask", `{fields: [` + strings.Join(many, ", ") + `]}`, "more than 64"},
		{"mask", `{fields: [` + long + `]}`, "longer than 256 bytes"},
		{"mask", `{fields: [a], with: ` + long + `}`, "longer than 256 bytes"},
		{"log", `{fields: [/` + long + `]}`, "longer than 256 bytes"},
		{"cap", `{argument: ` + long + `, most: "1"}`, "longer than 256 bytes"},
		{"cap", `{argument: a, most: "` + strings.Repeat("9", 42) + `"}`, "decimal"},
		{"delay", `{for: 24h1s}`, "from 1s to 1d"},
		{"delay", `{for: 10ms}`, "from 1s to 1d"},
		{"notification", `{to: ` + long + `, body: x}`, "longer than 256 bytes"},
		{"notification", `{to: a, body: ` + strings.Repeat("x", 4097) + `}`, "longer than 4096 bytes"},
		{"step-up", `{acr_value: a, amr_values: [` + long + `]}`, "longer than 256 bytes"},
		{"session_termination", `{subject: ` + long + `}`, "longer than 256 bytes"},
	} {
		_, err := catalog.Parse("c", []byte("obligations:\n  o: {type: "+tt.typ+", properties: "+tt.properties+"}\n"))
		var p *catalog.Problems
		if !errors.As(err, &p) || p.List[0].Line != 2 || !strings.Contains(p.List[0].Message, tt.message) {
			t.Errorf("%s %.60s: %.200v, want a problem in line 2 with %q", tt.typ, tt.properties, err, tt.message)
		}
	}
}
