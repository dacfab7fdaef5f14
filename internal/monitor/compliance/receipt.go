package compliance

import (
	"fmt"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A group is the acts of a sixth of the time within which receipts are due, of which some are still to come.
// It counts them; which they are is known to within the group, and exactly where it is one act. So an agent
// may do as much as it likes, and none of it is forgotten. It is kept in 24 bytes.
type group struct {
	first, last number    // of the decisions
	from, due   [2]uint16 // when the first and the last are overdue, in seconds since 1970
	open        uint16    // how many receipts are missing
	class       uint16    // the gravest
}

const (
	slots     = 6
	maxGroups = slots + 2 // those within the time, the one that leaves it, and one to be late with
	maxOpen   = 1<<16 - 1
)

// overdueMedium is how many overdue receipts at once are medium. Fewer are low: most often it is the
// enforcement point that is at fault.
const overdueMedium = 10

// due reports whether the outcome of an act must be reported.
func due(r *catalog.ComplianceRules, class conduct.Class, obliged bool) bool {
	return r.Receipt > 0 && (r.ReceiptObliged && obliged || slices.Contains(r.ReceiptFor, class.String()))
}

// expect notes that a receipt is to come. An agent that is owed more of them than can be counted is told of.
func (s *State) expect(r *catalog.ComplianceRules, ev *conduct.Event, emit func(conduct.Draft)) {
	overdue := seconds(ev.At.Add(r.Receipt)) + 1
	slot := (max(1, uint32(r.Receipt/time.Second)) + slots - 1) / slots
	class := uint16(min(ev.Class, conduct.Admin))
	n := len(s.pending)
	if n > 0 {
		g := &s.pending[n-1]
		if n == maxGroups || overdue < whole(g.from)+slot {
			g.last, g.due = pack(max(ev.Seq, g.last.seq())), halves(max(overdue, whole(g.due)))
			g.class = max(g.class, class)
			if g.open < maxOpen {
				g.open++
				return
			}
			emit(conduct.Draft{
				Kind: Receipt, Severity: conduct.High, Class: conduct.Class(g.class), Evidence: evidence(g.first.seq(), ev.Seq),
				Sentence: fmt.Sprintf("The outcomes of %d acts are outstanding, and of more that cannot be counted.", maxOpen),
			})
			return
		}
	}
	if n == cap(s.pending) { // grow by little: most agents are owed few
		s.pending = append(make([]group, 0, min(maxGroups, n+max(1, n/2))), s.pending...)
	}
	s.pending = append(s.pending, group{
		first: pack(ev.Seq), last: pack(ev.Seq), from: halves(overdue), due: halves(overdue), open: 1, class: class,
	})
}

// receive takes in the receipt of a decision.
func (s *State) receive(decision int64) {
	for i := range s.pending {
		if g := &s.pending[i]; decision >= g.first.seq() && decision <= g.last.seq() {
			if g.open--; g.open == 0 {
				s.pending = slices.Delete(s.pending, i, i+1)
			}
			return
		}
	}
}

// Due returns when Tick has something to say at the earliest; zero if never.
func (s *State) Due() time.Time {
	if len(s.pending) == 0 {
		return time.Time{}
	}
	first := uint32(1<<32 - 1)
	for i := range s.pending {
		first = min(first, whole(s.pending[i].due))
	}
	return time.Unix(int64(first), 0).UTC()
}

// Tick emits what became overdue by a time.
func (s *State) Tick(_ *Fleet, r *catalog.ComplianceRules, at time.Time, emit func(conduct.Draft)) {
	if r.Off || r.Receipt == 0 {
		s.pending = nil
		return
	}
	now := seconds(at)
	left := s.pending[:0]
	for _, g := range s.pending {
		if whole(g.due) > now {
			left = append(left, g)
			continue
		}
		d := conduct.Draft{Kind: Receipt, Severity: conduct.Low, Class: conduct.Class(g.class), Evidence: evidence(g.first.seq(), g.last.seq())}
		if g.open >= overdueMedium {
			d.Severity = conduct.Medium
		}
		if d.Sentence = "The outcome of an act is overdue."; g.open > 1 || len(d.Evidence) > 1 {
			d.Sentence = fmt.Sprintf("Outcomes of %d acts between these decisions are overdue.", g.open)
		}
		emit(d)
	}
	if s.pending = left; len(left) == 0 {
		s.pending = nil
	}
}

// A number is 48 bits, to be kept without holes: the number of an entry of the log.
type number [3]uint16

func pack(n int64) number { return number{uint16(n), uint16(n >> 16), uint16(n >> 32)} }

func (n number) seq() int64 { return int64(n[0]) | int64(n[1])<<16 | int64(n[2])<<32 }

func halves(x uint32) [2]uint16 { return [2]uint16{uint16(x), uint16(x >> 16)} }

func whole(h [2]uint16) uint32 { return uint32(h[0]) | uint32(h[1])<<16 }
