package api_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// newest are decisions, the newest first.
type newest []audit.Entry

func (p newest) Find(_ context.Context, q audit.Query) ([]audit.Entry, error) {
	if q.Before > 0 {
		return nil, nil
	}
	return p[:min(q.Limit, len(p))], nil
}

func (p newest) Search(context.Context, audit.Query) (audit.Found, error) { return audit.Found{}, nil }

// What cannot be read does not stand in the way of a preview, and is told.
func TestPreviewUnread(t *testing.T) {
	set, err := policy.Compile(policy.Source{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := openDoor(t, func(c *api.Config) {
		c.Policies, c.Agents = inboxPolicies{set: set.At(1)}, &walked{}
		c.Index = newest{{Seq: 3, Body: []byte(`{"listing":true}`)}, {Seq: 2, Body: []byte(`{"listing":`)}, {Seq: 1, Body: []byte(`{"listing":true}`)}}
	})
	r := d.send("POST", "/v1/stops/preview", `{"scope":{"everything":true}}`, "Authorization", "Bearer admin-token")
	var p api.Preview
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil || r.StatusCode != 200 || p.LookedAt != 3 || p.Unread != 1 {
		t.Errorf("a preview of three decisions, of which one cannot be read: %d, %+v, %v", r.StatusCode, p, err)
	}
}
