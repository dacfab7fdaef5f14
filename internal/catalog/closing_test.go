package catalog_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const closings = `
zone: Europe/Berlin
schedules:
  office: {windows: [{days: mon-fri, from: "08:00", to: "18:00"}]}
  shifts: {windows: [{from: "06:00", to: "14:00"}, {from: "14:00", to: "22:00"}, {days: sat, from: "22:00", to: "02:30"}]}
  always: {windows: [{}]}
  night: {windows: [{days: sat, from: "22:00", to: "02:30"}]}
`

func TestCloses(t *testing.T) {
	c := parse(t, closings)
	closes := func(name, at, want string) {
		t.Helper()
		from, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // found out, and remembered
			got, ok := c.Closes(name, from)
			if text := got.UTC().Format(time.RFC3339); ok != (want != "") || ok && text != want {
				t.Errorf("Closes(%s, %s) = %v, %v, want %q", name, at, text, ok, want)
			}
		}
	}
	closes("office", "2026-11-27T09:00:00Z", "2026-11-27T17:00:00Z")
	closes("office", "2026-11-27T16:59:59Z", "2026-11-27T17:00:00Z")
	closes("office", "2026-11-27T17:00:00Z", "")
	closes("office", "2026-11-28T09:00:00Z", "")
	closes("shifts", "2026-11-27T09:00:00Z", "2026-11-27T21:00:00Z") // one window after the other
	closes("shifts", "2026-11-28T09:00:00Z", "2026-11-29T01:30:00Z") // over midnight
	closes("always", "2026-11-27T09:00:00Z", "")
	closes("none", "2026-11-27T09:00:00Z", "")
	closes("night", "2026-03-28T22:30:00Z", "2026-03-29T01:00:00Z") // the clocks go past its end
	closes("night", "2026-10-24T22:30:00Z", "2026-10-25T00:30:00Z") // its end comes for the first time
	closes("night", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z") // and for the second
}

// Closes says what looking at every minute would.
func TestClosesLikeTheClock(t *testing.T) {
	c := parse(t, closings)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"office", "shifts", "night"}).Draw(t, "schedule")
		day := rapid.SampledFrom([]string{"2026-03-28", "2026-10-24", "2026-11-27", "2026-11-28"}).Draw(t, "day")
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Duration(rapid.IntRange(0, 48*3600).Draw(t, "second")) * time.Second)
		var want time.Time
		open := func(t time.Time) bool { return slices.Contains(c.Open(t), name) }
		if open(at) {
			for m := at.Truncate(time.Minute).Add(time.Minute); ; m = m.Add(time.Minute) {
				if !open(m) {
					want = m
					break
				}
			}
		}
		if got, ok := c.Closes(name, at); !got.Equal(want) || ok == want.IsZero() {
			t.Fatalf("Closes(%s, %v) = %v, %v, want %v", name, at, got, ok, want)
		}
	})
}
