package approval

import (
	"cmp"
	"slices"
)

// A question is an ask, and the number of the entry that asked.
type question struct {
	seq int64
	id  string
}

func (q question) compare(seq int64) int { return cmp.Compare(q.seq, seq) }

// insert keeps a new record in its place. What another process asked while this one loaded may come after
// what was loaded. The caller holds d.mu.
func (d *Desk) insert(r *record) {
	d.add(r)
	d.index(r.ask)
	n := len(d.order)
	if n < 2 || d.records[d.order[n-2]].ask.Seq < r.ask.Seq {
		return
	}
	slices.SortFunc(d.order, func(a, b string) int { return cmp.Compare(d.records[a].ask.Seq, d.records[b].ask.Seq) })
	c := d.accounts[accountOf(r.ask)]
	slices.SortFunc(c.asks, func(a, b made) int { return cmp.Compare(d.records[a.id].ask.Seq, d.records[b.id].ask.Seq) })
	c.prune(nil)
}

// index keeps d.open and d.heard, after the ask has changed. The caller holds d.mu.
func (d *Desk) index(a *Ask) {
	set := func(in *[]question, want bool) {
		i, there := slices.BinarySearchFunc(*in, a.Seq, question.compare)
		switch {
		case want && !there:
			*in = slices.Insert(*in, i, question{a.Seq, a.ID})
		case !want && there:
			*in = slices.Delete(*in, i, i+1)
		}
	}
	set(&d.open, a.Status == Pending)
	set(&d.heard, a.Status != Pending && (len(a.Answers) > 0 || a.Broken != nil))
}

// tidy drops from d.heard what is forgotten.
func (d *Desk) tidy() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = slices.DeleteFunc(d.heard, func(q question) bool { return d.records[q.id] == nil })
}

// before returns the newest asks that a filter may be about and that an entry before the given one asked,
// newest first: at most so many, and none if there are no more. What nobody said anything to before it ended
// is nothing to anybody any more.
func (d *Desk) before(seq int64, f *Filter, most int) []*record {
	d.mu.RLock()
	defer d.mu.RUnlock()
	some := make([]*record, 0, most)
	if f.Person == nil && !f.Review && f.Status != Pending {
		end, _ := slices.BinarySearchFunc(d.order, seq, func(id string, seq int64) int { return cmp.Compare(d.records[id].ask.Seq, seq) })
		for i := end - 1; i >= 0 && len(some) < most; i-- {
			some = append(some, d.records[d.order[i]])
		}
		return some
	}
	open, _ := slices.BinarySearchFunc(d.open, seq, question.compare)
	heard := 0
	if f.Status != Pending && (!f.Mine || f.Review) {
		heard, _ = slices.BinarySearchFunc(d.heard, seq, question.compare)
	}
	for open+heard > 0 && len(some) < most {
		var q question
		if heard == 0 || open > 0 && d.open[open-1].seq > d.heard[heard-1].seq {
			open--
			q = d.open[open]
		} else {
			heard--
			q = d.heard[heard]
		}
		if r := d.records[q.id]; r != nil {
			some = append(some, r)
		}
	}
	return some
}
