package deviation

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
)

// printable returns at most 64 bytes of a name, and what is not printable as a question mark.
func printable(s string) string {
	if len(s) > nameMost {
		n := nameMost
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// quote is printable, with something to read for a name that is empty.
func quote(s string) string {
	if s = printable(s); s == "" {
		return "(no name)"
	}
	return s
}

// sequenceSentence says how an act follows the one before.
func (s *State) sequenceSentence(p *purpose, ev *conduct.Event, now *session, x *Features) string {
	what := "called " + quote(ev.Action)
	switch name, ok := p.names[now.prev]; {
	case now.prev == sequence.Start:
		what += " at the beginning of a session"
	case ok:
		what += " right after " + name
	default:
		what += " right after another act"
	}
	m := sequence.Model{Purpose: &p.counts}
	task, of := taskOf(ev), " of "+quote(ev.Task)
	if task == 0 || m.Sessions(task) == 0 {
		task, of = 0, ""
	}
	sessions, times := m.Sessions(task), m.Times(sequence.Place{Task: task, Prev: now.prev}, x.symbol)
	often := "agents of its purpose never did"
	if times > 0 {
		often = fmt.Sprintf("agents of its purpose did in %d", times)
	}
	return fmt.Sprintf("It %s, which %s in %d sessions%s%s.", what, often, sessions, of, from(x))
}

// from says where arguments came from, if that is worth saying.
func from(x *Features) string {
	if x.Untrusted > 0 {
		return ", with arguments out of what others can write"
	}
	return ""
}

// firstSentence says what is new.
func firstSentence(ev *conduct.Event, x *Features) string {
	name := quote(ev.Resource.ID)
	switch x.New {
	case Tool:
		return fmt.Sprintf("It called %s for the first time, which is rare for it to do with a tool%s.", quote(ev.Action), from(x))
	case Destination:
		return fmt.Sprintf("It called %s on %s with a destination that it had never used%s.", quote(ev.Action), name, from(x))
	case Pair:
		return fmt.Sprintf("It called %s on %s, on which it had done other things only%s.", quote(ev.Action), name, from(x))
	}
	return fmt.Sprintf("It called %s on %s, which it had never touched%s.", quote(ev.Action), name, from(x))
}

func driftSentence(x *Features) string {
	return fmt.Sprintf("Over several sessions its acts have become unlike what it used to do; the newest is one that comes once in %.0f.", 1/x.P)
}
