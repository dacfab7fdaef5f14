package pdp_test

import (
	"encoding/json"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// What monitors take for an agent's confidence, and judge it by, is what decisions go by: neither can be told one
// thing and the other another.
func TestMonitorsReadTheSameConfidence(t *testing.T) {
	r := conduct.NewEventReader()
	for _, context := range []string{
		`{"confidence":0.8}`, `{"confidence":"0.8"}`, `{"confidence":1.5}`, `{"confidence":"7"}`, `{"confidence":-1}`, `{"confidence":-0}`, `{"confidence":1e-1}`,
		`{"confidence":"1e-1"}`, `{"confidence":".5"}`, `{"confidence":"00.5"}`, `{"confidence":"0.5 "}`, `{"confidence":""}`, `{"confidence":"."}`, `{"confidence":null}`,
		`{"confidence":true}`, `{"confidence":[1]}`, `{"\u0063onfidence":0.25}`, `{"confidence":"\u0030.5"}`, `{"a":{"confidence":1}}`,
		`{"confidence":0.12345678901234567890123456789012345678901234567890}`, `{"confidence":1e400}`, `{}`,
	} {
		rec := pdp.Record{
			Request: authz.Request{Context: authz.Claimed(context)},
			Facts:   authz.Facts{Agent: &authz.Agent{ID: "a", State: authz.AgentActive}},
		}
		body, err := json.Marshal(&rec)
		if err != nil {
			t.Fatal(err)
		}
		var ev conduct.Event
		if ok, err := r.Read(body, &ev); !ok || err != nil {
			t.Fatalf("Read of %s = %v, %v", context, ok, err)
		}
		want := -1.0
		if x, ok := pdp.Reported([]byte(context)); ok {
			want = x
		}
		if ev.Confidence != want {
			t.Errorf("monitors read %v in %s, decisions %v", ev.Confidence, context, want)
		}
	}
}
