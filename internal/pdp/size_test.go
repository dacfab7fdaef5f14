package pdp_test

import (
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// The room that a record is given at first is nearly always enough and never much too large.
func TestRecordSize(t *testing.T) {
	p, log := newPDP(t)
	p.Conduct = conductOf{"payer": {conduct: authz.Conduct{
		Lowest: authz.Trust{Level: "low", Score: 0.3141592653589793}, Judged: 1234, Accuracy: 0.8414709848078965, ErrorRate: 0.0158529015192103,
		Findings: []string{"deviation.first_seen", "escalation.probing", "performance.loop"},
	}}}
	for _, req := range []struct{ action, args string }{{"read", ""}, {"pay", `{"amount":5}`}, {"pay", `{"amount":500}`}} {
		d, err := p.Decide(t.Context(), ask("payer", req.action, "main", req.args))
		if err != nil {
			t.Fatal(err)
		}
		body := log.entries[len(log.entries)-1].Body
		rec, err := pdp.ParseRecord(body)
		if err != nil {
			t.Fatal(err)
		}
		if room := pdp.Size(rec); room < len(body) || room > 2*len(body) {
			t.Errorf("a record of %d bytes (%s) is given %d", len(body), d.Code, room)
		}
	}
}
