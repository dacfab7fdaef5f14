package approval_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/approval"
)

// inboxes checks that everybody finds what is theirs, page by page, by looking at each ask.
func (w *world) inboxes(people ...approval.Person) {
	w.t.Helper()
	list := func(f approval.Filter) (ids []string) {
		for f.Limit = 3; ; {
			page, err := w.List(ctx, f)
			wantKind(w.t, "List", err, nil)
			for _, a := range page {
				ids = append(ids, a.ID)
			}
			if len(page) < f.Limit {
				return ids
			}
			f.After = page[len(page)-1].ID
		}
	}
	all, err := w.List(ctx, approval.Filter{Limit: approval.MaxPage})
	wantKind(w.t, "List", err, nil)
	for _, p := range people {
		var mine, review, any []string
		for _, a := range all {
			s, err := w.Standing(ctx, a, p)
			wantKind(w.t, "Standing", err, nil)
			took := a.Broken != nil && a.Broken.Reviewer == "person:"+p.ID
			for _, n := range a.Answers {
				took = took || n.By == "person:"+p.ID || n.For == p.ID
			}
			if len(s.Routes) > 0 || s.Refuse {
				mine = append(mine, a.ID)
			}
			if s.Review {
				review = append(review, a.ID)
			}
			if len(s.Routes) > 0 || s.Refuse || s.BreakGlass || s.Review || took {
				any = append(any, a.ID)
			}
		}
		for what, c := range map[string]struct {
			f    approval.Filter
			want []string
		}{
			"what waits for":      {approval.Filter{Mine: true}, mine},
			"what concerns":       {approval.Filter{}, any},
			"what is reviewed by": {approval.Filter{Review: true}, review},
		} {
			c.f.Person = &p
			if diff := cmp.Diff(c.want, list(c.f)); diff != "" {
				w.t.Errorf("%s %s (-want +got):\n%s", what, p.ID, diff)
			}
		}
	}
}

// crowded returns a desk that keeps 100,000 asks, 20,000 of which wait.
func crowded(t testing.TB) *world {
	t.Helper()
	w := many(t, 20_000)
	for i := 20_000; i < 100_000; i += 20_000 {
		w.log.pass(30 * time.Minute)
		wantKind(t, "Sweep", w.Sweep(ctx), nil)
		for n := range 20_000 {
			wantKind(t, "asking", w.asked(i+n, fmt.Sprint("agent", n/200)), nil)
		}
	}
	return w
}

// BenchmarkList is what a look at the inbox costs when 100,000 asks are retained: to who finds a page at once,
// and to who finds nothing, or not enough, however far back.
func BenchmarkList(b *testing.B) {
	w := crowded(b)
	anna, carl, dora := who("anna"), who("carl"), who("dora")
	for _, c := range []struct {
		what string
		f    approval.Filter
		want int
	}{
		{"mine", approval.Filter{Person: &anna, Mine: true, Limit: 100}, 100},
		{"mine of a thousand", approval.Filter{Person: &anna, Mine: true, Limit: 1000}, 1000},
		{"mine, none, not escalated", approval.Filter{Person: &carl, Mine: true, Limit: 100}, 0},
		{"mine, none", approval.Filter{Person: &dora, Mine: true, Limit: 100}, 0},
		{"any, none", approval.Filter{Person: &dora, Limit: 100}, 0},
		{"to review, none", approval.Filter{Person: &dora, Review: true, Limit: 100}, 0},
		{"all", approval.Filter{Limit: 100}, 100},
		{"an agent's", approval.Filter{Agent: "agent0", Limit: 1000}, 1000},
	} {
		b.Run(c.what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				all, err := w.List(ctx, c.f)
				if err != nil || len(all) != c.want {
					b.Fatalf("List = %d, %v, want %d", len(all), err, c.want)
				}
			}
		})
	}
}
