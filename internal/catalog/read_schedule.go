package catalog

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

func (r *reader) schedules(n ast.Node) {
	r.each(n, "schedules", func(name string, at, v ast.Node) {
		if !r.keyName(name, at, "schedule") {
			return
		}
		s := &schedule{name: name, holidays: map[int]bool{}}
		r.object(v, "schedule "+name, fields{
			"zone": func(n ast.Node) { s.zone = r.location(n) },
			"windows": func(n ast.Node) {
				r.list(n, "windows", func(v ast.Node) { s.windows = append(s.windows, r.window(v)) })
			},
			"holidays": func(n ast.Node) {
				r.list(n, "holidays", func(v ast.Node) {
					day, ok := r.date(v, "a holiday")
					if ok && s.holidays[day] {
						r.at(v, "the holiday is listed twice")
					}
					if ok {
						s.holidays[day] = true
					}
				})
			},
		})
		if len(s.windows) == 0 {
			r.at(at, "schedule %s has no windows, so it would never open", name)
		}
		r.c.schedules.all = append(r.c.schedules.all, s)
	})
	slices.SortFunc(r.c.schedules.all, func(a, b *schedule) int { return cmp.Compare(a.name, b.name) })
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (r *reader) window(n ast.Node) window {
	w := window{days: [7]bool{true, true, true, true, true, true, true}, to: minutesOfDay, first: earliestDay, last: latestDay}
	from, to := false, false
	r.object(n, "a window", fields{
		"days": func(n ast.Node) {
			w.days = [7]bool{}
			if _, ok := r.value(n).(*ast.SequenceNode); !ok {
				r.days(n, &w.days)
				return
			}
			r.list(n, "days", func(v ast.Node) { r.days(v, &w.days) })
			if w.days == [7]bool{} {
				r.at(n, "days is empty, so the window would never open")
			}
		},
		"from":  func(n ast.Node) { w.from, from = r.clock(n, "from", minutesOfDay-1), true },
		"to":    func(n ast.Node) { w.to, to = r.clock(n, "to", minutesOfDay), true },
		"first": func(n ast.Node) { w.first = r.dateOr(n, "first", earliestDay) },
		"last":  func(n ast.Node) { w.last = r.dateOr(n, "last", latestDay) },
	})
	if from != to {
		r.at(n, "a window has both from and to, or neither, which is the whole day")
	} else if w.from == w.to && w.from >= 0 {
		r.at(n, "the window opens and closes at the same minute: for the whole day leave out both")
	}
	if w.first > w.last {
		r.at(n, "the window's last day is before its first")
	}
	return w
}

// days adds a day, or a range such as mon-fri.
func (r *reader) days(n ast.Node, days *[7]bool) {
	s := r.text(n, "days")
	if s == "" {
		return
	}
	a, b, isRange := strings.Cut(s, "-")
	if !isRange {
		b = a
	}
	i, j := slices.Index(dayNames, a), slices.Index(dayNames, b)
	if i < 0 || j < 0 {
		r.at(n, "%q is not a day: one of mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri", s)
		return
	}
	for ; ; i = (i + 1) % 7 {
		days[i] = true
		if i == j {
			return
		}
	}
}

// clock reads HH:MM, up to the given minute of the day. It returns -1 if there is a problem.
func (r *reader) clock(n ast.Node, what string, most int) int {
	s := r.text(n, what)
	if s == "" {
		return -1
	}
	if len(s) == 5 && s[2] == ':' {
		digits, ok := 0, true
		for _, i := range []int{0, 1, 3, 4} {
			ok = ok && s[i] >= '0' && s[i] <= '9'
			digits = digits*10 + int(s[i]-'0')
		}
		if m := digits/100*60 + digits%100; ok && digits%100 < 60 && m <= most {
			return m
		}
	}
	r.at(n, "%s %q is not a time of day: write it as \"09:30\", the end of the day as \"24:00\"", what, s)
	return -1
}

// date reads a day of the calendar.
func (r *reader) date(n ast.Node, what string) (int, bool) {
	s := r.text(n, what)
	if s == "" {
		return 0, false
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		r.at(n, "%s %q is not a date: write it as 2026-12-24", what, s)
		return 0, false
	}
	return dayOf(t.Date()), true
}

func (r *reader) dateOr(n ast.Node, what string, otherwise int) int {
	if day, ok := r.date(n, what); ok {
		return day
	}
	return otherwise
}

// location reads an IANA time zone.
func (r *reader) location(n ast.Node) *time.Location {
	s := r.text(n, "zone")
	if s == "" {
		return time.UTC
	}
	l, err := time.LoadLocation(s)
	if err != nil || s == "Local" {
		r.at(n, "time zone %q is not known: use an IANA name such as Europe/Berlin", s)
		return time.UTC
	}
	return l
}
