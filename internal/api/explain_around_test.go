package api_test

import (
	"encoding/json"
	"testing"

	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

func (b *inbox) explain(seq int64) api.Explanation {
	b.Helper()
	var x api.Explanation
	if err := json.Unmarshal([]byte(b.as("audit", "GET", "/v1/decisions/"+pdp.DecisionID(seq)+"/explain", "", 200)), &x); err != nil {
		b.Fatal(err)
	}
	return x
}

// An explanation tells of asks that have the decision among their items, not of all that a search comes upon.
func TestExplainTellsItsOwnAsks(t *testing.T) {
	b := openInbox(t)
	a := b.ask("one", inboxArgs)
	b.ask("one", `{"amount":1,"decision":1,"items":[{"decision":1}]}`)
	x := b.explain(a.Items[0].Decision)
	if len(x.Asks) != 1 || x.Asks[0].ID != a.ID || x.Asks[0].How != "asked" || len(x.Asks[0].Steps) == 0 {
		t.Errorf("asks about decision %d: %+v, want %s", x.Seq, x.Asks, a.ID)
	}
}
