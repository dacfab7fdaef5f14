package enforcement_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/enforcement"
)

// Whatever one caller reports, the points of others are remembered, and of its own those that fail open.
func TestPointsOfOne(t *testing.T) {
	db, seq := shelf{}, int64(0)
	ps := enforcement.NewPoints(db)
	tell := func(actor, gateway, kind, detail string) {
		t.Helper()
		seq++
		body := fmt.Sprintf(`{"kind":%q,"gateway":%q,"detail":%s}`, kind, gateway, detail)
		e := audit.Entry{Seq: seq, At: time.Unix(seq, 0), Kind: audit.EnforcementTold, Actor: actor, Body: json.RawMessage(body)}
		if err := ps.Apply(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	tell("pep:honest", "bank", "hello", `{"fail_open":["pay"]}`)
	tell("pep:other", "shop", "hello", `{}`)
	tell("pep:stolen", "open", "allowed_unavailable", `{"route":"all"}`)
	for i := range 4200 {
		tell("pep:stolen", fmt.Sprint("g", i), "hello", `{}`)
	}
	of := map[string]int{}
	for _, p := range ps.All() {
		of[p.Caller]++
		if p.Caller == "pep:stolen" && p.Gateway == "open" {
			of["open"]++
		}
	}
	if fmt.Sprint(of) != "map[open:1 pep:honest:1 pep:other:1 pep:stolen:64]" {
		t.Errorf("points are remembered: %v", of)
	}
	for i := range 70 { // many callers
		for j := range 64 {
			tell(fmt.Sprint("pep:many-", i), fmt.Sprint("g", j), "hello", `{}`)
		}
	}
	if _, _, open := ps.Count(); open != 1 || len(ps.All()) != 4096 || len(db) != 4096 {
		t.Errorf("%d routes fail open of %d points, of which %d are kept; want 1 of 4096", open, len(ps.All()), len(db))
	}
}
