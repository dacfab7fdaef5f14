package approval

import "slices"

// A past knows how many asks waited just before an entry, while entries are read again of which what was
// loaded knows more than they say.
type past struct {
	all span
	of  map[string]*span // by accountOf
}

// A span is of the numbers of the entries that asked, and of those that ended an ask.
type span struct{ asked, ended tally }

// A tally counts numbers. What is read again comes in order, so that it is put at an end.
type tally struct{ loaded, read []int64 } // sorted

func newPast(records map[string]*record) *past {
	p := &past{of: map[string]*span{}}
	for _, r := range records {
		own := p.own(accountOf(r.ask))
		for _, s := range []*span{&p.all, own} {
			s.asked.loaded = append(s.asked.loaded, r.ask.Seq)
			if r.ask.Ended != 0 {
				s.ended.loaded = append(s.ended.loaded, r.ask.Ended)
			}
		}
	}
	p.all.sort()
	for _, s := range p.of {
		s.sort()
	}
	return p
}

func (s *span) sort() {
	slices.Sort(s.asked.loaded)
	slices.Sort(s.ended.loaded)
}

func (p *past) own(name string) *span {
	s := p.of[name]
	if s == nil {
		s = &span{}
		p.of[name] = s
	}
	return s
}

// note notes the next version of an ask; old is nil if it is the first.
func (p *past) note(old, next *Ask) {
	for _, s := range []*span{&p.all, p.own(accountOf(next))} {
		if old == nil {
			s.asked.put(next.Seq)
		}
		if next.Ended != 0 && (old == nil || old.Ended == 0) {
			s.ended.put(next.Ended)
		}
	}
}

// waiting returns how many asks had been asked, and not been ended, before an entry.
func (s *span) waiting(seq int64) int64 { return s.asked.below(seq) - s.ended.below(seq) }

func (t *tally) put(n int64) {
	i, _ := slices.BinarySearch(t.read, n)
	t.read = slices.Insert(t.read, i, n)
}

func (t *tally) below(n int64) int64 {
	i, _ := slices.BinarySearch(t.loaded, n)
	j, _ := slices.BinarySearch(t.read, n)
	return int64(i + j)
}
