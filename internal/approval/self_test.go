package approval_test

import (
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
)

// The person for whom an agent acts answers only where the route says so, and never what it submitted.
func TestSelf(t *testing.T) {
	w := open(t, strings.Replace(organisation, "    one:\n", "    own: {title: Whoever it is for, approvers: [finance], self: true}\n    one:\n", 1))
	req := payment()
	req.OnBehalf = []authz.Ref{{Type: "user", ID: "anna"}}
	for i, c := range []struct {
		name, route, requester, why string
	}{
		{"the route lets her", "own", "pep:gate", ""},
		{"the route does not", "one", "pep:gate", "nobody answers"},
		{"she submitted it", "own", "person:anna", "nobody answers"},
	} {
		ask := about(req, int64(100+i), c.route)
		ask.Requester = c.requester
		ask.Justification = c.name // not the very same as the one before
		a, _, err := w.Ask(ctx, ask)
		wantKind(t, c.name, err, nil)
		st, err := w.Standing(ctx, a, who("anna"))
		wantKind(t, c.name, err, nil)
		if (len(st.Routes) > 0) != (c.why == "") || !strings.HasPrefix(st.Why, c.why) {
			t.Errorf("%s: %+v, want why %q", c.name, st, c.why)
		}
		if _, err := w.answer(a, who("anna"), yes); (err == nil) != (c.why == "") {
			t.Errorf("%s: the answer: %v", c.name, err)
		}
	}
}
