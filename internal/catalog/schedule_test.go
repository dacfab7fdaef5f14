package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestOpen(t *testing.T) {
	c := parse(t, `
zone: Europe/Berlin
schedules:
  business:
    windows:
      - {days: mon-thu, from: "08:00", to: "18:00"}
      - {days: [fri], from: "08:00", to: "15:30"}
    holidays: [2026-12-24, 2026-12-25]
  night:                       # of Saturday, until Sunday
    windows: [{days: [sat], from: "22:00", to: "04:00"}]
    holidays: [2026-12-26]     # a Saturday
  weekend:
    windows: [{days: sat-sun}]
  freeze:
    windows: [{first: 2026-12-20, last: 2027-01-06}]
  once:
    windows: [{first: 2026-11-28, last: 2026-11-28, from: "23:00", to: "01:00"}]
  small-hours:
    windows: [{from: "02:00", to: "03:00"}]
  half-past:
    windows: [{from: "02:30", to: "04:00"}]
  new-york:
    zone: America/New_York
    windows: [{days: mon-fri, from: "09:30", to: "16:00"}]
`)
	berlin := c.Zone()
	is := func(schedule string, open bool, at time.Time) {
		t.Helper()
		if got := slices.Contains(c.Open(at), schedule); got != open {
			t.Errorf("%s is open at %v (%v): %v, want %v", schedule, at.In(berlin), at.UTC(), got, open)
		}
	}
	local := func(s string) time.Time {
		t.Helper()
		at, err := time.ParseInLocation("2006-01-02 15:04", s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	utc := func(s string) time.Time {
		t.Helper()
		at, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	open := func(schedule, at string) { t.Helper(); is(schedule, true, local(at)) }
	shut := func(schedule, at string) { t.Helper(); is(schedule, false, local(at)) }

	// A plain week. 2026-11-23 is a Monday. The end is not part of the window.
	shut("business", "2026-11-23 07:59")
	open("business", "2026-11-23 08:00")
	open("business", "2026-11-23 17:59")
	shut("business", "2026-11-23 18:00")
	open("business", "2026-11-27 15:29")
	shut("business", "2026-11-27 15:30")
	shut("business", "2026-11-28 12:00")
	open("weekend", "2026-11-28 00:00")
	open("weekend", "2026-11-29 23:59")
	shut("weekend", "2026-11-30 00:00")

	// The zone moves with the season: eight o'clock is 07:00 UTC in winter and 06:00 in summer.
	is("business", true, utc("2026-11-23 07:00"))
	is("business", false, utc("2026-11-23 06:59"))
	is("business", true, utc("2026-07-06 06:00"))

	// Holidays, and a window that began the day before one.
	shut("business", "2026-12-24 10:00")
	open("business", "2026-12-28 10:00")
	shut("night", "2026-12-26 23:00")
	shut("night", "2026-12-27 03:00") // it would have begun on the holiday
	open("night", "2026-12-19 23:00")
	open("night", "2026-12-20 03:59")

	// Over midnight: the day that counts is the one on which the window begins.
	shut("night", "2026-11-28 03:00")
	shut("night", "2026-11-28 21:59")
	open("night", "2026-11-28 22:00")
	open("night", "2026-11-29 00:00")
	open("night", "2026-11-29 03:59")
	shut("night", "2026-11-29 04:00")
	shut("night", "2026-11-29 22:00")

	// Between dates, both included.
	shut("freeze", "2026-12-19 23:59")
	open("freeze", "2026-12-20 00:00")
	open("freeze", "2027-01-06 23:59")
	shut("freeze", "2027-01-07 00:00")
	shut("once", "2026-11-28 00:30")
	open("once", "2026-11-29 00:59")
	shut("once", "2026-11-29 23:30")

	// Clocks go forward on 2026-03-29 at 01:00 UTC: the hour from two to three does not come.
	is("small-hours", false, utc("2026-03-29 00:59"))
	is("small-hours", false, utc("2026-03-29 01:00"))
	is("half-past", false, utc("2026-03-29 00:59"))
	is("half-past", true, utc("2026-03-29 01:00")) // three o'clock
	is("half-past", false, utc("2026-03-29 02:00"))

	// Clocks go back on 2026-10-25 at 01:00 UTC: the hour from two to three comes twice.
	is("small-hours", false, utc("2026-10-24 23:59"))
	is("small-hours", true, utc("2026-10-25 00:00"))
	is("small-hours", true, utc("2026-10-25 00:59"))
	is("small-hours", true, utc("2026-10-25 01:00"))
	is("small-hours", true, utc("2026-10-25 01:59"))
	is("small-hours", false, utc("2026-10-25 02:00"))

	// A schedule's own zone, in the two weeks in which New York has changed its clocks and Berlin has not.
	is("new-york", true, utc("2026-03-16 13:30"))
	is("new-york", false, utc("2026-03-16 13:29"))
	is("new-york", true, utc("2026-11-23 14:30"))
	is("new-york", false, utc("2026-11-23 14:29"))
}

func TestNextOpen(t *testing.T) {
	c := parse(t, `
zone: Europe/Berlin
schedules:
  business:
    windows: [{days: mon-fri, from: "08:00", to: "18:00"}]
    holidays: [2026-12-24, 2026-12-25]
  small-hours:
    windows: [{days: [sun], from: "02:00", to: "03:00"}]
  half-past:
    windows: [{days: [sun], from: "02:30", to: "04:00"}]
  past:
    windows: [{last: 2020-01-01}]
  far:
    windows: [{first: 2040-01-01, from: "12:00", to: "13:00"}]
`)
	next := func(schedule, after, want string) {
		t.Helper()
		at, err := time.Parse(time.RFC3339, after)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := c.NextOpen(schedule, at)
		if s := got.UTC().Format(time.RFC3339); ok && s != want || !ok && want != "" {
			t.Errorf("NextOpen(%q, %s) = %s, %v, want %q", schedule, after, s, ok, want)
		}
	}
	next("business", "2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z")    // open already
	next("business", "2026-11-23T17:00:00Z", "2026-11-24T07:00:00Z")    // six in the evening is shut
	next("business", "2026-11-27T17:00:01Z", "2026-11-30T07:00:00Z")    // over the weekend
	next("business", "2026-12-23T18:00:00Z", "2026-12-28T07:00:00Z")    // over Christmas and the weekend
	next("business", "2026-03-27T17:00:01Z", "2026-03-30T06:00:00Z")    // into summer time
	next("small-hours", "2026-03-28T12:00:00Z", "2026-04-05T00:00:00Z") // the hour does not come on the 29th
	next("half-past", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z")   // three o'clock, half past two does not come
	next("half-past", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z")   // half past two, the second time
	next("past", "2026-11-23T10:00:00Z", "")
	next("far", "2026-11-23T10:00:00Z", "2040-01-01T11:00:00Z")
	next("unknown", "2026-11-23T10:00:00Z", "")
}

// Whatever the windows, NextOpen finds the minute that a search minute by minute finds, and no
// sooner. The search begins near a change of clocks.
func TestNextOpenAgainstSearch(t *testing.T) {
	days := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "America/Havana"}
	starts := []string{"2026-03-28T00:00:00Z", "2026-10-24T00:00:00Z", "2026-03-07T12:00:00Z", "2026-10-31T12:00:00Z", "2026-04-04T00:00:00Z", "2026-10-03T00:00:00Z"}
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		fmt.Fprintf(&b, "zone: %s\nschedules:\n  s:\n    windows:\n", rapid.SampledFrom(zones).Draw(t, "zone"))
		for range rapid.IntRange(1, 3).Draw(t, "windows") {
			from := rapid.IntRange(0, 24*60-1).Draw(t, "from")
			to := rapid.IntRange(0, 24*60).Filter(func(n int) bool { return n != from }).Draw(t, "to")
			fmt.Fprintf(&b, "      - {days: [%s], from: \"%02d:%02d\", to: \"%02d:%02d\"}\n",
				rapid.SampledFrom(days).Draw(t, "day"), from/60, from%60, to/60, to%60)
		}
		c := parse(t, b.String())
		start, err := time.Parse(time.RFC3339, rapid.SampledFrom(starts).Draw(t, "start"))
		if err != nil {
			t.Fatal(err)
		}
		after := start.Add(time.Duration(rapid.IntRange(0, 3*24*60).Draw(t, "minutes")) * time.Minute)
		want := after
		for len(c.Open(want)) == 0 {
			want = want.Add(time.Minute)
		}
		got, ok := c.NextOpen("s", after)
		if !ok || !got.Equal(want) {
			t.Fatalf("NextOpen(%v) = %v, %v, want %v, with\n%s", after, got, ok, want, b.String())
		}
	})
}

// The answer is kept for a minute, and nobody notices.
func TestOpenIsKeptPerMinute(t *testing.T) {
	c := parse(t, `schedules: {s: {windows: [{from: "12:00", to: "12:01"}]}}`)
	at := time.Date(2026, 11, 23, 11, 59, 59, 999, time.UTC)
	for _, want := range []bool{false, true, true} {
		if got := len(c.Open(at)) == 1; got != want {
			t.Errorf("Open(%v) = %v, want open: %v", at, c.Open(at), want)
		}
		at = at.Add(30 * time.Second)
	}
	if n := testing.AllocsPerRun(100, func() { c.Open(at) }); n != 0 {
		t.Errorf("Open allocates %v times in the same minute, want 0", n)
	}
}
