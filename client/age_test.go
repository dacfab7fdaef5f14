package client_test

import (
	"errors"
	"testing"
	"time"
	"unsafe"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// asleep returns a time that is so much later by the wall clock only, as after a machine slept: the other clock stood
// still. It writes the second word of a time.Time, which is that clock where there is one.
func asleep(t time.Time, d time.Duration) time.Time {
	later := t.Add(d)
	(*[2]int64)(unsafe.Pointer(&later))[1] -= int64(d)
	return later
}

// While a machine sleeps the monotonic clock stands still, and while the wall clock is set back the other goes on.
func TestAge(t *testing.T) {
	since := time.Now()
	slept := asleep(since, time.Hour)
	if by := slept.Sub(since); by != 0 {
		t.Fatalf("the monotonic clock went on by %v", by)
	}
	for name, c := range map[string]struct {
		since, now time.Time
		want       time.Duration
	}{
		"both go on":              {since, since.Add(time.Minute), time.Minute},
		"the machine slept":       {since, slept, time.Hour},
		"the clock was set back":  {slept, since.Add(time.Minute), time.Minute},
		"there is no other clock": {since.Round(0), since.Round(0).Add(time.Second), time.Second},
	} {
		if got := client.Age(c.since, c.now); got != c.want {
			t.Errorf("%s: age = %v, want %v", name, got, c.want)
		}
	}
}

// A permit is over after its minute, whatever the machine did in it.
func TestPermitsAgeAsleep(t *testing.T) {
	p, err := before(judges(allows("d1"))).Permit(t.Context(), one, false)
	if err != nil {
		t.Fatal(err)
	}
	client.AnsweredAt(p, asleep(time.Now(), -time.Minute))
	if _, _, err := p.Begin(t.Context()); !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("after a minute asleep: %v", err)
	}
}
