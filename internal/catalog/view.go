package catalog

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// DefaultClass returns the class of resources that nothing classifies.
func (c *Catalog) DefaultClass() authz.DataClass { return c.classes.fallback }

// A Rule is a rule of classify, as it was declared.
type Rule struct {
	Type         string              // "" is every type
	ID           string              // a pattern; "" is every id
	Properties   map[string][]string // property -> values of which it must have one, as JSON
	Class        *authz.DataClass
	Labels       []string
	Jurisdiction string
}

// Rules returns the rules of classify, in the order of the document.
func (c *Catalog) Rules() []Rule {
	out := make([]Rule, len(c.classes.declared))
	for i, q := range c.classes.declared {
		out[i] = Rule{Type: q.typ, ID: q.id, Class: q.class, Labels: q.labels, Jurisdiction: q.jurisdiction}
		for _, p := range q.properties {
			if out[i].Properties == nil {
				out[i].Properties = map[string][]string{}
			}
			for _, v := range p.values {
				out[i].Properties[p.property] = append(out[i].Properties[p.property], string(v.json))
			}
		}
	}
	return out
}

// ApproverGroups returns the ids of the declared groups, sorted.
func (c *Catalog) ApproverGroups() []string { return sortedKeys(c.approvers) }

// Ranges returns the address ranges of a declared zone, in their order.
func (c *Catalog) Ranges(zone string) []netip.Prefix { return slices.Clone(c.networks.ranges[zone]) }

// SignalActions returns the actions of which more is required than of every act, sorted.
func (c *Catalog) SignalActions() []string {
	return slices.Sorted(maps.Keys(c.signals.actions))
}

// A Schedule is one as it was declared.
type Schedule struct {
	Name     string
	Zone     *time.Location
	Windows  []Window
	Holidays []string // dates, 2006-01-02, sorted
}

// A Window is one as it was declared.
type Window struct {
	Days        []string // mon, tue, ...; all seven if nothing was said
	From, To    string   // 15:04, To 24:00 at most; on the next day if it is not later
	First, Last string   // dates between which it may begin; "" for always
}

// Schedule returns the declared schedule of that name.
func (c *Catalog) Schedule(name string) (Schedule, bool) {
	s, ok := c.schedules.find(name)
	if !ok {
		return Schedule{}, false
	}
	out := Schedule{Name: s.name, Zone: s.zone, Holidays: []string{}}
	for _, day := range slices.Sorted(maps.Keys(s.holidays)) {
		out.Holidays = append(out.Holidays, dateText(day))
	}
	for i := range s.windows {
		w := &s.windows[i]
		v := Window{Days: []string{}, From: clockText(w.from), To: clockText(w.to)}
		for d := range 7 { // from Monday
			if day := (d + 1) % 7; w.days[day] {
				v.Days = append(v.Days, dayNames[day])
			}
		}
		if w.first != earliestDay {
			v.First = dateText(w.first)
		}
		if w.last != latestDay {
			v.Last = dateText(w.last)
		}
		out.Windows = append(out.Windows, v)
	}
	return out, true
}

func dateText(day int) string {
	year, month, date := dateOf(day)
	return time.Date(year, month, date, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

func clockText(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }
