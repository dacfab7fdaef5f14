package monitor_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// Many identities of one purpose, each of which tries little that it may not, are found together.
func TestSurgeOfRefusals(t *testing.T) {
	w := newWorld(t)
	gs := make([]*registration, 40)
	for i := range gs {
		gs[i] = &registration{id: fmt.Sprint("bot-", i), owner: "team", purpose: "orders", version: "1"}
		w.put(gs[i])
	}
	n := 0
	minute := func(acts int, strange bool) {
		for i := range acts {
			n++
			g := gs[n%len(gs)]
			x := act{session: fmt.Sprint(g.id, " ", n/400), task: "orders", action: "order.read", class: "read", resource: fmt.Sprint("o-", n%30), effect: authz.Allow}
			if strange && i%2 == 0 {
				x.class, x.resource, x.effect = "", fmt.Sprint("x-", n%7), authz.Deny
			}
			w.now = w.now.Add(time.Minute / time.Duration(acts+1))
			w.does(g, x)
		}
		w.now = w.now.Truncate(time.Minute).Add(time.Minute)
	}
	for range 300 {
		minute(12, false)
		w.now = w.now.Add(5 * time.Minute)
	}
	minute(120, true)
	minute(120, true)
	minute(40, false)
	fs, err := w.m.Findings(t.Context(), monitor.Filter{Kind: "deviation.surge"}, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(fs) != 1 || fs[0].Severity.String() != "medium" || !strings.Contains(fs[0].Sentence, "and were refused") {
		t.Errorf("found %+v, want one surge of acts and refusals together", fs)
	}
	for _, f := range fs {
		if w.log[f.Evidence[0]-1].At.Before(w.now.Add(-5 * time.Minute)) {
			t.Errorf("evidence %v, want entries of the surge", f.Evidence)
		}
	}
}
