package monitor_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// What is kept of findings is what the log gives, and what is not shows.
func TestCheckFindings(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.live(rand.New(rand.NewPCG(7, 8)), 12, 900)
	early := int64(len(w.log))
	if err := w.m.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	check := func(what string, to int64) *monitor.Check {
		t.Helper()
		c, err := monitor.CheckFindings(ctx, w, w.catalog, w.db, to)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if c.Entries != to {
			t.Errorf("%s: %d entries were taken in, want %d", what, c.Entries, to)
		}
		return c
	}
	found := all(t, w.m, 100)
	n := int64(len(found))
	if n < 10 {
		t.Fatalf("%d findings are too few to tell anything", n)
	}
	if c := check("all", early); !c.OK() || c.Findings != n || c.Same != n || c.Pending != 0 {
		t.Errorf("all: %d findings, %d same, %d pending, differences %v; want %d, all the same", c.Findings, c.Same, c.Pending, c.Differences, n)
	}
	// Somebody goes on writing while it is checked up to an earlier entry.
	if c := check("a part", early/2); !c.OK() || c.Same+c.Pending < c.Findings {
		t.Errorf("a part: %d findings, %d same, %d pending, differences %v; want no differences", c.Findings, c.Same, c.Pending, c.Differences)
	}
	// What is not kept yet is no difference.
	w.live(rand.New(rand.NewPCG(9, 10)), 12, 1800)
	if c := check("more", int64(len(w.log))); !c.OK() || c.Pending == 0 || c.Same+c.Pending != c.Findings {
		t.Errorf("more: %d findings, %d same, %d pending, differences %v; want some pending and no differences", c.Findings, c.Same, c.Pending, c.Differences)
	}

	// One that was altered, and one that nobody found.
	altered, invented := found[3], found[5]
	altered.Sentence, altered.AsOf = "All is well.", altered.AsOf+1
	invented.ID = "f3.77"
	if err := w.db.PutFindings(ctx, monitor.Format, []conduct.Finding{altered, invented}); err != nil {
		t.Fatal(err)
	}
	c := check("altered", early)
	var got []string
	for _, d := range c.Differences {
		got = append(got, d.Only+" "+d.Finding.ID)
	}
	if diff := cmp.Diff([]string{"table f3.77", "log " + altered.ID, "table " + altered.ID}, got); diff != "" || c.OK() || c.Same != n-1 {
		t.Errorf("altered: %d same, want %d (-want +got):\n%s", c.Same, n-1, diff)
	}
}
