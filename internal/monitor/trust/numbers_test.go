package trust_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// What findings do to agents with so many days of good work, by the default rules: the table of docs/monitoring.md.
func TestWhatFindingsCost(t *testing.T) {
	for _, c := range []struct {
		days  int
		level string
		score float64
		after [4]string // level and score after one finding, low to critical
	}{
		{0, "medium", 0.5492, [4]string{"medium 0.5079", "medium 0.4181", "low 0.1995", "none 0.0822"}},
		{3, "medium", 0.8065, [4]string{"medium 0.7816", "medium 0.7195", "low 0.4908", "none 0.2677"}},
		{5, "high", 0.8569, [4]string{"high 0.8374", "medium 0.7878", "medium 0.5863", "low 0.3529"}},
		{14, "high", 0.9146, [4]string{"high 0.9022", "high 0.8699", "medium 0.7224", "low 0.5052"}},
		{60, "high", 0.9348, [4]string{"high 0.9253", "high 0.8999", "medium 0.7789", "low 0.5821"}},
	} {
		l := begin(defaults())
		l.work(conduct.Write, c.days, 4)
		if l.level(conduct.Write) != c.level || l.score(conduct.Write) != c.score {
			t.Errorf("after %d days: %s %v, want %s %v", c.days, l.level(conduct.Write), l.score(conduct.Write), c.level, c.score)
		}
		for sev, want := range c.after {
			one := l.copyOf()
			one.find(conduct.Write, conduct.Severity(sev), "s")
			if got := fmt.Sprintf("%s %.4f", one.level(conduct.Write), one.score(conduct.Write)); got != want {
				t.Errorf("after %d days and a finding %v: %s, want %s", c.days, conduct.Severity(sev), got, want)
			}
			if got, want := one.s.Quarantined(), strings.HasPrefix(want, "none"); got != want {
				t.Errorf("after %d days and a finding %v: quarantined %v, want %v", c.days, conduct.Severity(sev), got, want)
			}
			if got := one.level(conduct.Read); !one.s.Quarantined() && got != "medium" {
				t.Errorf("a finding about writing took reading to %s, want medium", got)
			}
		}
	}
}

// rest lets the agent work at four sessions a day until it stands at a level, and returns how long that took.
func (l *life) rest(c conduct.Class, level string) time.Duration {
	from := l.now
	for l.now.Sub(from) < 200*day {
		l.seq++
		for i := range 10 {
			l.now = from.Add(l.now.Sub(from).Truncate(6*time.Hour) + time.Duration(i)*3*time.Minute)
			if l.good(c, fmt.Sprint("rest ", l.seq)); l.level(c) == level {
				return l.now.Sub(from)
			}
		}
		l.now = from.Add(l.now.Sub(from).Truncate(6*time.Hour) + 6*time.Hour)
	}
	return -1
}

// How long trust takes to earn and to regain, by the default rules.
func TestHowLongTrustTakes(t *testing.T) {
	l := begin(defaults())
	if got := l.rest(conduct.Write, "high").Truncate(time.Hour); got != 108*time.Hour {
		t.Errorf("from the beginning to high: %v, want 108h", got)
	}
	for _, c := range []struct {
		days int
		sev  conduct.Severity
		want string
	}{
		{0, conduct.High, "low medium 72h"},
		{5, conduct.Medium, "medium high 120h"},
		{14, conduct.High, "medium high 792h"},
		{14, conduct.Critical, "low medium 24h high 2040h"},
	} {
		l := begin(defaults())
		l.work(conduct.Write, c.days, 4)
		was := l.level(conduct.Write)
		l.find(conduct.Write, c.sev, "s")
		got := l.level(conduct.Write)
		from := l.now
		for _, level := range []string{"low", "medium", "high"} {
			if now, _ := trust.ParseLevel(l.level(conduct.Write)); l.level(conduct.Write) == was || level <= now.String() && level != "medium" && level != "high" {
				continue
			} else if up, _ := trust.ParseLevel(level); up > now {
				l.rest(conduct.Write, level)
				got += fmt.Sprintf(" %s %.0fh", level, math.Ceil(l.now.Sub(from).Hours()/24)*24)
			}
		}
		if got != c.want {
			t.Errorf("a finding %v after %d days: %s, want %s", c.sev, c.days, got, c.want)
		}
	}
}

// An agent that does nothing keeps high for four weeks, then is at medium as if nothing were known, and earns
// high again without canary acts.
func TestIdleAgentsFade(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Write, 20, 4)
	idle := l.now
	for l.level(conduct.Write) == "high" {
		next := l.s.Next(l.r, trust.Who{}, l.now)
		if next.IsZero() {
			next = l.now.Add(day)
		}
		l.now = next
	}
	if got := l.now.Sub(idle).Round(time.Hour); got != 689*time.Hour {
		t.Errorf("high fades after %v, want 689h", got)
	}
	st := l.standing(conduct.Write)
	if st.Lowered || !st.Since.Equal(l.now) || l.s.Lowered(l.r, l.now) {
		t.Errorf("after fading: %+v, want it not lowered, since %v", st, l.now)
	}
	l.now = l.now.Add(400 * day)
	if got := l.score(conduct.Write); got != 0.5492 {
		t.Errorf("score after a year is %v, want that of the prior, 0.5492", got)
	}
	if got := l.rest(conduct.Write, "high"); got < 3*day || got > 6*day {
		t.Errorf("high again after %v, want three days at least", got)
	}
}

// How much an agent can afford that otherwise earns all that can be earned: what is bearable for years, and what is not.
func TestSlowDriftIsBounded(t *testing.T) {
	for _, c := range []struct {
		sev   conduct.Severity
		every int // days
		most  int // findings until it is no longer at high; 0 if it stays
	}{
		{conduct.Medium, 11, 0}, {conduct.Medium, 10, 19}, {conduct.Medium, 5, 7}, {conduct.Medium, 3, 6},
		{conduct.Low, 3, 0}, {conduct.Low, 2, 47}, {conduct.Low, 1, 26},
	} {
		l := begin(defaults())
		l.work(conduct.Write, 20, 4)
		n := 0
		for n < 70 && l.level(conduct.Write) == "high" {
			l.find(conduct.Write, c.sev, fmt.Sprint("drift", n))
			n++
			l.work(conduct.Write, c.every, 4)
		}
		if c.most == 0 && n < 70 || c.most > 0 && n > c.most {
			t.Errorf("a finding %v every %d days took level high after %d, want %d (0: never)", c.sev, c.every, n, c.most)
		}
	}
}

// One enforcement point that lies every day: on which day an agent falls to what, whether or not it goes on working.
func TestLiesOfOneReporterTakeTheirTime(t *testing.T) {
	for _, c := range []struct {
		before, sessions int
		want             string
	}{
		{0, 0, "low 1, none 6"}, {0, 4, "low 1"}, {21, 0, "medium 2, low 10, none 31"}, {21, 4, "medium 2, low 19"},
	} {
		l := begin(defaults())
		l.work(conduct.Write, c.before, 4)
		was := l.level(conduct.Write)
		var falls []string
		for d := range 60 {
			for range 10 {
				l.tell(conduct.Write, conduct.ReporterPEP, "pep:liar", conduct.ResultHarmful, "")
			}
			if now := l.level(conduct.Write); now != was {
				falls, was = append(falls, fmt.Sprint(now, " ", d+1)), now
			}
			if c.sessions > 0 {
				l.work(conduct.Write, 1, c.sessions)
			} else {
				l.now = l.now.Add(day)
			}
		}
		if got := strings.Join(falls, ", "); got != c.want {
			t.Errorf("%d good days before, %d sessions a day since: %s, want %s", c.before, c.sessions, got, c.want)
		}
	}
}

// An offence repeated in one session costs twice its weight a day.
func TestOneOffenceAllDayLong(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Write, 60, 4)
	for d, want := range []string{"high", "high", "medium"} {
		for range 24 {
			l.find(conduct.Write, conduct.Medium, "one")
		}
		if got := l.level(conduct.Write); got != want {
			t.Errorf("day %d of a medium offence: %s, want %s", d+1, got, want)
		}
		l.work(conduct.Write, 1, 4)
	}
}
