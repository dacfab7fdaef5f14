package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

const calendars = `
zone: Europe/Berlin
schedules:
  office: {windows: [{days: mon-fri, from: "08:00", to: "18:00"}], holidays: [2026-12-24, 2026-12-25]}
  shifts: {windows: [{from: "06:00", to: "14:00"}, {from: "14:00", to: "22:00"}, {days: sat, from: "22:00", to: "02:30"}]}
  always: {windows: [{}]}
  night: {windows: [{days: sat, from: "22:00", to: "02:30"}]}
  small-hours: {windows: [{from: "01:30", to: "03:30"}]}
  havana: {zone: America/Havana, windows: [{from: "00:00", to: "06:00"}]}
  cairo: {zone: Africa/Cairo, windows: [{from: "00:00", to: "06:00"}]}
`

// tell writes a day as a person reads it.
func tell(d catalog.Day) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", d.Weekday, d.Date)
	if d.Holiday {
		b.WriteString(" holiday")
	}
	if d.Length != 24*time.Hour {
		fmt.Fprintf(&b, " %s", d.Length)
	}
	for _, o := range d.Open {
		to := o.To.Format("15:04")
		if o.To.Sub(d.Begins) == d.Length {
			to = "24:00"
		}
		fmt.Fprintf(&b, " %s-%s", o.From.Format("15:04"), to)
	}
	return b.String()
}

func TestDays(t *testing.T) {
	c := parse(t, calendars)
	for _, test := range []struct{ name, from, to, want string }{
		{"office", "2026-12-23", "2026-12-27", "wed 2026-12-23 08:00-18:00|thu 2026-12-24 holiday|fri 2026-12-25 holiday|sat 2026-12-26|sun 2026-12-27"},
		{"shifts", "2026-11-28", "2026-11-29", "sat 2026-11-28 06:00-24:00|sun 2026-11-29 00:00-02:30 06:00-22:00"},
		{"always", "2026-11-28", "2026-11-29", "sat 2026-11-28 00:00-24:00|sun 2026-11-29 00:00-24:00"},
		// The clocks go from two to three: of the night an hour is missing.
		{"night", "2026-03-28", "2026-03-29", "sat 2026-03-28 22:00-24:00|sun 2026-03-29 23h0m0s 00:00-03:00"},
		{"small-hours", "2026-03-29", "2026-03-29", "sun 2026-03-29 23h0m0s 01:30-03:30"},
		// They go from three back to two: what is open until half past two is so twice.
		{"night", "2026-10-25", "2026-10-25", "sun 2026-10-25 25h0m0s 00:00-02:30 02:00-02:30"},
		{"small-hours", "2026-10-25", "2026-10-25", "sun 2026-10-25 25h0m0s 01:30-03:30"},
		// There is no midnight in Havana and Cairo when they go forward, and it comes twice in Havana when back.
		{"havana", "2026-03-08", "2026-03-08", "sun 2026-03-08 23h0m0s 01:00-06:00"},
		{"havana", "2026-11-01", "2026-11-01", "sun 2026-11-01 25h0m0s 00:00-06:00"},
		{"cairo", "2026-04-24", "2026-04-24", "fri 2026-04-24 23h0m0s 01:00-06:00"},
	} {
		days, err := c.Days(t.Context(), test.name, test.from, test.to)
		if err != nil {
			t.Errorf("Days(%s, %s, %s): %v", test.name, test.from, test.to, err)
			continue
		}
		var got []string
		for _, d := range days {
			got = append(got, tell(d))
		}
		if got := strings.Join(got, "|"); got != test.want {
			t.Errorf("Days(%s, %s, %s)\ngot  %s\nwant %s", test.name, test.from, test.to, got, test.want)
		}
	}
	for _, bad := range []struct {
		name, from, to string
		kind           error
	}{
		{"none", "2026-01-01", "2026-01-02", authz.ErrNotFound},
		{"office", "yesterday", "2026-01-02", authz.ErrInvalid},
		{"office", "2026-01-01", "2026-02-30", authz.ErrInvalid},
		{"office", "2026-01-02", "2026-01-01", authz.ErrInvalid},
		{"office", "2026-01-01", "2027-02-05", authz.ErrInvalid},
	} {
		if _, err := c.Days(t.Context(), bad.name, bad.from, bad.to); !errors.Is(err, bad.kind) {
			t.Errorf("Days(%s, %s, %s): %v, want %v", bad.name, bad.from, bad.to, err, bad.kind)
		}
	}
}

// A calendar says what looking at every minute would.
func TestDaysLikeTheClock(t *testing.T) {
	c := parse(t, calendars)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(c.Schedules()).Draw(t, "schedule")
		date := rapid.SampledFrom([]string{"2026-03-07", "2026-03-28", "2026-04-23", "2026-10-24", "2026-10-29", "2026-10-31", "2026-12-23"}).Draw(t, "date")
		first, err := time.Parse(time.DateOnly, date)
		if err != nil {
			t.Fatal(err)
		}
		days, err := c.Days(t.Context(), name, date, first.AddDate(0, 0, 2).Format(time.DateOnly))
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range days {
			if i > 0 && !days[i-1].Begins.Add(days[i-1].Length).Equal(d.Begins) {
				t.Fatalf("%s of %s begins at %v, not as the day before ends", d.Date, name, d.Begins)
			}
			if got := d.Begins.Format(time.DateOnly); got != d.Date {
				t.Fatalf("%s of %s begins on %s", d.Date, name, got)
			}
			n := 0
			for at := d.Begins; at.Before(d.Begins.Add(d.Length)); at = at.Add(time.Minute) {
				for n < len(d.Open) && !at.Before(d.Open[n].To) {
					n++
				}
				said := n < len(d.Open) && !at.Before(d.Open[n].From)
				open := false
				for _, s := range c.Open(at) {
					open = open || s == name
				}
				if said != open {
					t.Fatalf("%s at %v: the calendar says %v, the clock %v", name, at, said, open)
				}
			}
		}
	})
}
