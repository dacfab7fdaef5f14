package escalation

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// tries are what is remembered of the actions that were refused with numbers among their arguments, of two
// actions at most: who probes three limits in turn is refused enough to be found otherwise.
type tries [2]try

// A try is an action whose numbers are varied until they are allowed, or until they are refused. Which number
// it is that is varied is known at once if the refusal names it, else when only one of the two largest has
// changed.
type try struct {
	action      uint32
	thing       uint32 // of the first refusal
	at          uint32 // of the newest, in seconds
	first, last number
	args        [2]uint16  // hashes of the arguments' names; the second is 0 if it is settled which one
	values      [2]float32 // their values; if it is settled, those refused and allowed that are next to the limit
	top         float32    // the largest that was refused
	refused     uint8      // times, of different values
	allowed     uint8      // likewise
	climbs      uint8      // refusals that were larger than all before
	total       uint8      // tries, whether they told anything or not
	flags       uint8
}

const (
	settled  = 1 << iota // args[0] is what is varied
	within               // values[1] was allowed
	scatters             // on several resources
)

// A figure is an argument that is a number.
type figure struct {
	name  uint16
	value float32
}

// maxFigures and maxArgs bound what is read of the arguments: so many numbers, so many bytes.
const (
	maxFigures = 16
	maxArgs    = 8 << 10
)

// figures reads the numbers among the arguments, and texts that are numbers.
func figures(args []byte) (list [maxFigures]figure, n int) {
	if len(args) == 0 || len(args) > maxArgs {
		return list, 0
	}
	conduct.Members(args, func(name, value []byte) bool {
		if len(value) > 2 && value[0] == '"' {
			value = value[1 : len(value)-1]
		}
		if len(value) == 0 || len(value) > 32 || value[0] != '-' && (value[0] < '0' || value[0] > '9') {
			return true
		}
		x, err := strconv.ParseFloat(string(value), 64)
		if f := float32(x); err == nil && !math.IsInf(float64(f), 0) {
			list[n] = figure{argument(string(name)), f}
			n++
		}
		return n < maxFigures
	})
	return list, n
}

// argument hashes the name of an argument. It is never 0.
func argument(s string) uint16 { return uint16(max(1, fold(conduct.Hash(s))>>16)) }

// probes finds varied tries around a limit: values of one argument that close in on it, some refused and some
// allowed, Probes of them at least; and ever larger values over a limit. A wrong amount that is put right
// is two tries, or three. Here, a refusal that asks for a person counts: it marks a limit, too.
func (s *State) probes(a *act) {
	barred := a.reaching || a.Effect == authz.RequireApproval
	if s.tries == nil && !barred || !barred && !a.Allowed() {
		return
	}
	action := fold(conduct.Hash(a.Action))
	var t *try
	if s.tries != nil {
		for i := range s.tries {
			if q := &s.tries[i]; q.action == action && q.at >= a.since {
				t = q
			}
		}
	}
	if t == nil && !barred {
		return
	}
	list, n := figures(a.Args)
	if n == 0 {
		return
	}
	if t == nil || !t.belongs(list[:n]) {
		if barred {
			s.begin(a, action, t, list[:n])
		}
		return
	}
	climbed, closer := t.take(a, list[:n], barred)
	switch {
	case closer && t.probing(a):
	case climbed:
		t.climbing(a)
	}
	t.at, t.last = a.now, pack(a.Seq)
}

// begin remembers a refusal as the first try of an action, in place of t if it is not nil.
func (s *State) begin(a *act, action uint32, t *try, list []figure) {
	if t == nil {
		if s.tries == nil {
			s.tries = new(tries)
		}
		if t = &s.tries[0]; s.tries[1].at < t.at {
			t = &s.tries[1]
		}
	}
	*t = try{action: action, thing: a.thing, at: a.now, first: pack(a.Seq), last: pack(a.Seq), refused: 1, total: 1}
	for _, limit := range a.Exceeded {
		if _, arg, ok := strings.Cut(limit, "amount."); ok {
			if i := slices.IndexFunc(list, func(f figure) bool { return f.name == argument(arg) }); i >= 0 {
				t.settle(list[i].name, list[i].value)
				return
			}
		}
	}
	for _, f := range list { // the two largest
		switch {
		case t.args[0] == 0 || size(f.value) > size(t.values[0]):
			t.args[1], t.values[1] = t.args[0], t.values[0]
			t.args[0], t.values[0] = f.name, f.value
		case t.args[1] == 0 || size(f.value) > size(t.values[1]):
			t.args[1], t.values[1] = f.name, f.value
		}
	}
	if t.args[1] == 0 {
		t.settle(t.args[0], t.values[0])
	}
}

func size(x float32) float32 { return max(x, -x) }

// settle makes an argument the one that is varied; value was refused.
func (t *try) settle(arg uint16, value float32) {
	t.args, t.values, t.top = [2]uint16{arg}, [2]float32{value}, value
	t.flags |= settled
}

// belongs reports whether numbers are a further try, and settles which of them is varied: the one of the
// two that has changed while the other has not.
func (t *try) belongs(list []figure) bool {
	x, ok := pick(list, t.args[0])
	if t.flags&settled != 0 || !ok {
		return ok
	}
	y, ok := pick(list, t.args[1])
	switch {
	case !ok, x != t.values[0] && y != t.values[1]:
		return false // another task
	case x != t.values[0]:
		t.settle(t.args[0], t.values[0])
	case y != t.values[1]:
		t.settle(t.args[1], t.values[1])
	}
	return true
}

func pick(list []figure, arg uint16) (float32, bool) {
	i := slices.IndexFunc(list, func(f figure) bool { return f.name == arg })
	if i < 0 {
		return 0, false
	}
	return list[i].value, true
}

// take counts a further try. Climbed is whether it was refused and larger than all before, closer whether it
// is nearer to the limit than all before.
func (t *try) take(a *act, list []figure, barred bool) (climbed, closer bool) {
	t.total = uint8(min(int(t.total)+1, 255))
	if t.flags&settled == 0 {
		return false, false // the very same again
	}
	x, _ := pick(list, t.args[0])
	if climbed = barred && x > t.top && len(a.Exceeded) > 0; climbed {
		t.top, t.climbs = x, min(t.climbs+1, 100)
	}
	bar, most := t.values[0], t.values[1]
	closer = x != bar
	if t.flags&within != 0 {
		closer = x > min(bar, most) && x < max(bar, most)
	}
	if !closer {
		return climbed, false
	}
	if barred {
		t.values[0], t.refused = x, min(t.refused+1, 100)
	} else {
		t.values[1], t.allowed = x, min(t.allowed+1, 100)
		t.flags |= within
	}
	if a.thing != t.thing {
		t.flags |= scatters
	}
	return climbed, true
}

// probing says that a limit is probed, if it is. Coming down to what is allowed is low: it may be haggling.
// Going up again from there is medium, and high if it goes on and the class is grave. Values on several
// resources may lie so by chance; they must be twice as many, and are low. Half of all tries must close in.
func (t *try) probing(a *act) bool {
	n, need := int(t.refused)+int(t.allowed), a.rules.Probes
	if t.flags&scatters != 0 {
		need *= 2
	}
	if t.refused < 2 || t.allowed < 1 || n < need || 2*n < int(t.total) {
		return false
	}
	severity := conduct.Low
	if t.allowed >= 2 && t.flags&scatters == 0 {
		if severity = conduct.Medium; grave(a.Class) && n >= need+2 {
			severity = conduct.High
		}
	}
	action, _ := a.quoted()
	a.say(Probing, severity, a.Class, fmt.Sprintf("%s was tried with %d values that close in on a limit: %d refused, %d allowed.", action, n, t.refused, t.allowed), t.first.seq(), t.last.seq())
	return true
}

// climbing says that ever larger amounts over a limit are tried: three are low, four of a grave class medium.
func (t *try) climbing(a *act) {
	if t.climbs < 2 {
		return
	}
	severity := conduct.Low
	if t.climbs >= 3 && grave(a.Class) {
		severity = conduct.Medium
	}
	action, _ := a.quoted()
	a.say(ScopeCreep, severity, a.Class, fmt.Sprintf("%s was refused %d times, each time for a larger amount over the limit.", action, t.climbs+1), t.first.seq(), t.last.seq())
}
