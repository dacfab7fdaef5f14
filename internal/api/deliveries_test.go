package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/notify"
)

// fixedDeliveries is a DeliveryAdmin that notes what it was asked.
type fixedDeliveries struct{ asked string }

var fixedDelivery = notify.Delivery{ID: "dlv_1", Ask: "arq_1", Kind: notify.ToChannel, Channel: "mail", Event: notify.Asked, State: notify.Dead,
	At: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC), Attempts: 31, Error: "status 500", AsOf: 7}

func (f *fixedDeliveries) Deliveries(_ context.Context, q notify.Query, limit int) ([]notify.Delivery, error) {
	f.asked = fmt.Sprintf("%+v, %d", q, limit)
	if q.Before == "dlv_2" {
		return nil, authz.Errorf(authz.ErrNotFound, "not found")
	}
	return []notify.Delivery{fixedDelivery}, nil
}

func (f *fixedDeliveries) Delivery(_ context.Context, id string) (notify.Delivery, error) {
	f.asked = "reads " + id
	if id != "dlv_1" {
		return notify.Delivery{}, authz.Errorf(authz.ErrNotFound, "there is no delivery %q", id)
	}
	return fixedDelivery, nil
}

func (f *fixedDeliveries) Retry(_ context.Context, actor, why, id string) (notify.Delivery, error) {
	f.asked = fmt.Sprintf("%s retries %s: %s", actor, id, why)
	if id != "dlv_1" {
		return notify.Delivery{}, authz.Errorf(authz.ErrConflict, "delivery %s is told: only what is dead is tried again", id)
	}
	return fixedDelivery, nil
}

func TestDeliveries(t *testing.T) {
	f := &fixedDeliveries{}
	d := openDoor(t, func(c *api.Config) { c.Deliveries = f })
	none := openDoor(t, func(c *api.Config) {})
	const zero = "{Ask: State: Due:0001-01-01 00:00:00 +0000 UTC Before:}"
	for _, tt := range []struct {
		door                    *door
		who, method, path, body string
		status                  int
		asked, has              string
	}{
		{d, "audit-token", "GET", "/v1/deliveries", "", http.StatusOK, zero + ", 100", `"items":[{"id":"dlv_1","ask":"arq_1","kind":"channel"`},
		{d, "admin-token", "GET", "/v1/deliveries?state=dead&ask=arq_1&before=dlv_9&limit=1", "", http.StatusOK, "{Ask:arq_1 State:dead Due:0001-01-01 00:00:00 +0000 UTC Before:dlv_9}, 1", `"next":"dlv_1"`},
		{d, "admin-token", "GET", "/v1/deliveries?state=lost", "", http.StatusBadRequest, "", "waiting, told, dead, moot"},
		{d, "admin-token", "GET", "/v1/deliveries?limit=1001", "", http.StatusBadRequest, "", "limit"},
		{d, "admin-token", "GET", "/v1/deliveries?before=dlv_2", "", http.StatusNotFound, "{Ask: State: Due:0001-01-01 00:00:00 +0000 UTC Before:dlv_2}, 100", ""},
		{d, "pep-token", "GET", "/v1/deliveries", "", http.StatusForbidden, "", ""},
		{d, "audit-token", "GET", "/v1/deliveries/dlv_1", "", http.StatusOK, "reads dlv_1", `"error":"status 500"`},
		{d, "audit-token", "GET", "/v1/deliveries/dlv_2", "", http.StatusNotFound, "reads dlv_2", "there is no delivery"},
		{d, "admin-token", "POST", "/v1/deliveries/dlv_1/retry", `{"why":"it is back"}`, http.StatusOK, "admin:root retries dlv_1: it is back", `"id":"dlv_1"`},
		{d, "admin-token", "POST", "/v1/deliveries/dlv_2/retry", `{"why":"it is back"}`, http.StatusConflict, "admin:root retries dlv_2: it is back", "only what is dead"},
		{d, "admin-token", "POST", "/v1/deliveries/dlv_1/retry", `{}`, http.StatusBadRequest, "", "why"},
		{d, "audit-token", "POST", "/v1/deliveries/dlv_1/retry", `{"why":"it is back"}`, http.StatusForbidden, "", ""},
		{none, "admin-token", "GET", "/v1/deliveries", "", http.StatusNotFound, "", "nobody is told"},
		{none, "admin-token", "GET", "/v1/deliveries/dlv_1", "", http.StatusNotFound, "", "nobody is told"},
		{none, "admin-token", "POST", "/v1/deliveries/dlv_1/retry", `{"why":"x"}`, http.StatusNotFound, "", "nobody is told"},
	} {
		f.asked = ""
		r := tt.door.send(tt.method, tt.path, tt.body, "Authorization", "Bearer "+tt.who)
		got := text(t, r)
		if r.StatusCode != tt.status || f.asked != tt.asked || !strings.Contains(got, tt.has) {
			t.Errorf("%s %s %s by %s = %d, asked %q: %s\nwant %d, %q, %q", tt.method, tt.path, tt.body, tt.who, r.StatusCode, f.asked, got, tt.status, tt.asked, tt.has)
		}
	}
}
