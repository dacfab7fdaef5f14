package policy

import (
	"cmp"
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A wish is what the clock should say: an atom on time, and whether it should hold.
type wish struct {
	atom atom
	want bool
}

// wishes returns what the clock should say for n to be as wanted, nil unless that depends on the clock
// alone. Of alternatives it takes the first.
func wishes(n cedarast.IsNode, want bool) []wish {
	if a, ok := atomOf(n); ok {
		if !a.on.kind.isTime() || a.with != nil && a.lit == nil {
			return nil
		}
		return []wish{{a, want}}
	}
	both := func(b cedarast.BinaryNode) []wish {
		l, r := wishes(b.Left, want), wishes(b.Right, want)
		if l == nil || r == nil {
			return nil
		}
		return append(l, r...)
	}
	either := func(b cedarast.BinaryNode) []wish {
		if l := wishes(b.Left, want); l != nil {
			return l
		}
		return wishes(b.Right, want)
	}
	switch n := n.(type) {
	case cedarast.NodeTypeNot:
		return wishes(n.Arg, !want)
	case cedarast.NodeTypeAnd:
		if want {
			return both(n.BinaryNode)
		}
		return either(n.BinaryNode)
	case cedarast.NodeTypeOr:
		if want {
			return either(n.BinaryNode)
		}
		return both(n.BinaryNode)
	}
	return nil
}

// soonest returns the first moment, not before from, at which all wishes hold.
func (x *explainer) soonest(list []wish, from time.Time) (time.Time, bool) {
	t := from
	for range 16 {
		moved := false
		for _, w := range list {
			next, ok := x.next(w, t)
			if !ok {
				return time.Time{}, false
			}
			if next.After(t) {
				t, moved = next, true
			}
		}
		if !moved {
			return t, true
		}
	}
	return time.Time{}, false
}

// next returns the first moment, not before t, at which the wish holds.
func (x *explainer) next(w wish, t time.Time) (time.Time, bool) {
	if x.told(w.atom, t) == w.want {
		return t, true
	}
	local := t.In(x.zone)
	switch w.atom.on.kind {
	case schedulesQuantity:
		name, ok := w.atom.lit.(types.String)
		if !ok || w.atom.is != contains {
			return time.Time{}, false
		}
		if w.want {
			return x.set.cat.NextOpen(string(name), t)
		}
		return x.closes(string(name), t)
	case hourQuantity:
		for h := 1; h <= 25; h++ {
			at := time.Date(local.Year(), local.Month(), local.Day(), local.Hour()+h, 0, 0, 0, x.zone)
			if x.told(w.atom, at) == w.want {
				return at, true
			}
		}
	case weekdayQuantity:
		for d := 1; d <= 7; d++ {
			at := time.Date(local.Year(), local.Month(), local.Day()+d, 0, 0, 0, 0, x.zone)
			if x.told(w.atom, at) == w.want {
				return at, true
			}
		}
	case atQuantity:
		if v, ok := w.atom.lit.(types.Datetime); ok {
			for ms := range int64(2) {
				if at := time.UnixMilli(v.Milliseconds() + ms); at.After(t) && x.told(w.atom, at) == w.want {
					return at, true
				}
			}
		}
	case epochQuantity:
		if v, ok := w.atom.lit.(types.Long); ok {
			for s := range int64(2) {
				if at := time.Unix(int64(v)+s, 0); at.After(t) && x.told(w.atom, at) == w.want {
					return at, true
				}
			}
		}
	}
	return time.Time{}, false
}

// closes returns the first minute, within a week, at which an open schedule is closed.
func (x *explainer) closes(name string, t time.Time) (time.Time, bool) {
	open := func(t time.Time) bool { return slices.Contains(x.set.cat.Open(t), name) }
	t = t.Truncate(time.Minute)
	for h := range 7 * 24 {
		if end := t.Add(time.Duration(h+1) * time.Hour); !open(end) {
			for m := range 60 {
				if at := t.Add(time.Duration(h)*time.Hour + time.Duration(m+1)*time.Minute); !open(at) {
					return at, true
				}
			}
		}
	}
	return time.Time{}, false
}

// told reports whether an atom on time holds at a moment.
func (x *explainer) told(a atom, t time.Time) bool {
	local := t.In(x.zone)
	switch a.on.kind {
	case schedulesQuantity:
		open := x.set.cat.Open(t)
		name, ok := a.lit.(types.String)
		return ok && a.is == contains && slices.Contains(open, string(name))
	case hourQuantity:
		return compareOrdered(int64(local.Hour()), a)
	case epochQuantity:
		return compareOrdered(t.Unix(), a)
	case atQuantity:
		v, ok := a.lit.(types.Datetime)
		return ok && holdsOrder(a.is, cmp.Compare(t.UnixMilli(), v.Milliseconds()))
	case weekdayQuantity:
		day := weekdays[local.Weekday()]
		switch v := a.lit.(type) {
		case types.String:
			return (v == day) == (a.is == equal)
		case types.Set:
			return a.is == oneOf && v.Contains(day)
		}
	}
	return false
}

func compareOrdered(n int64, a atom) bool {
	switch v := a.lit.(type) {
	case types.Long:
		return holdsOrder(a.is, cmp.Compare(n, int64(v)))
	case types.Set:
		return a.is == oneOf && v.Contains(types.Long(n))
	}
	return false
}

// holdsOrder reports whether a relation holds of two things that compare as given.
func holdsOrder(is relation, c int) bool {
	switch is {
	case less:
		return c < 0
	case lessOrEqual:
		return c <= 0
	case greater:
		return c > 0
	case greaterOrEqual:
		return c >= 0
	case equal:
		return c == 0
	case unequal:
		return c != 0
	}
	return false
}
