package catalog_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
)

func TestSignals(t *testing.T) {
	c := parse(t, `
signals:
  always: [network.ip]
  actions:
    refund: [session, provenance, confidence]
    export: [data.jurisdiction, network.country]
`)
	required := func(action, want string) {
		t.Helper()
		if diff := cmp.Diff(strings.Fields(want), c.RequiredSignals(action)); diff != "" {
			t.Errorf("RequiredSignals(%q) (-want +got):\n%s", action, diff)
		}
	}
	required("read", "network.ip")
	required("refund", "confidence network.ip provenance session")
	required("export", "data.jurisdiction network.country network.ip")

	address := netip.MustParseAddr("10.0.0.1")
	missing := func(req authz.Request, f authz.Facts, action, want string) {
		t.Helper()
		req.Action.Name = action
		if got := strings.Join(c.Missing(&req, &f), " "); got != want {
			t.Errorf("Missing(%s, %+v) = %q, want %q", action, req, got, want)
		}
	}
	missing(authz.Request{}, authz.Facts{}, "read", "network.ip")
	missing(authz.Request{Observed: authz.Observed{Address: address}}, authz.Facts{}, "read", "")
	missing(authz.Request{}, authz.Facts{}, "refund", "confidence network.ip provenance session")
	missing(authz.Request{
		Context:  authz.Claimed(`{"confidence": 0.93}`),
		Observed: authz.Observed{Address: address, Session: "s1", Provenance: &authz.Provenance{}},
	}, authz.Facts{}, "refund", "")
	missing(authz.Request{
		Context:  authz.Claimed(`{"confidence": "high", "session": "s1", "network.ip": "10.0.0.1"}`),
		Observed: authz.Observed{Address: address},
	}, authz.Facts{}, "refund", "confidence provenance session")
	missing(authz.Request{Observed: authz.Observed{Address: address}}, authz.Facts{}, "export", "data.jurisdiction network.country")
	missing(authz.Request{Observed: authz.Observed{Address: address}}, authz.Facts{Country: "DE", Region: "EU"}, "export", "")

	if got := parse(t, "{}").Signals(); len(got) != 0 {
		t.Errorf("Signals of an empty catalog = %v, want none", got)
	}
}
