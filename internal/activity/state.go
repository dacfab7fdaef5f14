package activity

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of what is known of an agent.
const (
	Weeks         = 13   // that are told apart; what was before is only known as used at all
	MaxSessions   = 8192 // of an agent; of more, those that were silent longest are forgotten
	MaxPrincipals = 256  // likewise

	maxCapabilities = 256 // of an agent
	maxActions      = 32  // of a capability in a week; all others count as one, under Others
	maxTypes        = 16
	maxExceeded     = 32
	maxAmounts      = 16
	maxCalls        = 1024 // of a session, the newest
	maxName         = 128  // bytes of a name that is counted
	maxPrincipal    = 512  // bytes of the name of a principal
	days            = 7    // that decisions are counted by
)

// Others stands for all names beyond those that are told apart.
const Others = "…"

// An agentState is what is known of an agent as a whole.
type agentState struct {
	First      int64              `json:"first"` // microseconds since 1970, as all times here
	Last       int64              `json:"last"`
	Decisions  int64              `json:"decisions"`
	Refused    int64              `json:"refused"`
	Days       []day              `json:"days,omitempty"` // at most days, the oldest first
	Used       map[string]usedCap `json:"used,omitempty"` // by capability, since the beginning
	Sessions   int64              `json:"sessions"`       // that were begun
	Principals int64              `json:"principals"`     // likewise
}

type day struct {
	Day     int64 `json:"d"` // since 1970
	Made    int64 `json:"n"`
	Refused int64 `json:"r"`
}

type usedCap struct {
	Count int64 `json:"n"`
	Last  int64 `json:"at"`
}

// A useState is what an agent used in a week.
type useState struct {
	Capabilities map[string]*capabilityState `json:"c"` // by id; "" for acts that no capability covers
}

// A capabilityState is how a capability was used in a week.
type capabilityState struct {
	Used     int64             `json:"n"`
	Alone    int64             `json:"alone,omitempty"` // acts that no other capability covers
	Refused  int64             `json:"r,omitempty"`     // acts that it covers, and that were refused nevertheless
	Last     int64             `json:"at,omitempty"`
	Actions  map[string]int64  `json:"a,omitempty"`
	Types    map[string]int64  `json:"t,omitempty"` // of resources
	Classes  map[string]int64  `json:"d,omitempty"` // of data
	Exceeded map[string]int64  `json:"x,omitempty"` // limits that stood in the way
	Amounts  map[string]string `json:"m,omitempty"` // the largest value of arguments that are numbers
}

// A sessionState is a session of an agent.
type sessionState struct {
	First    int64     `json:"first"`
	Last     int64     `json:"last"`
	Begun    int64     `json:"begun"` // number of its first entry
	Task     string    `json:"task,omitempty"`
	PEP      string    `json:"pep,omitempty"`
	Action   string    `json:"action,omitempty"` // of the newest call
	OnBehalf authz.Ref `json:"behalf,omitzero"`  // of the newest call, the nearest
	Calls    int64     `json:"n"`
	Allowed  int64     `json:"ok"`
	Asked    int64     `json:"asked,omitempty"` // refused until persons agree, or somebody authenticates more strongly
	Suspect  int64     `json:"un,omitempty"`    // calls with arguments from untrusted content
	Outcomes int64     `json:"out,omitempty"`
	Bad      int64     `json:"bad,omitempty"` // outcomes that speak against the agent
	Entries  []int64   `json:"e"`             // numbers of decisions and outcomes as differences, the first whole; at most maxCalls
}

// A behalfState is a principal for whom an agent acted.
type behalfState struct {
	First   int64 `json:"first"`
	Last    int64 `json:"last"`
	Calls   int64 `json:"n"`
	Refused int64 `json:"r,omitempty"`
	Depth   int   `json:"depth"` // 1: it acted for it directly; more: through others
}

// fresh returns the state of a row that does not exist yet.
func fresh(kind string) any {
	switch kind {
	case kindAgent:
		return &agentState{}
	case kindUse:
		return &useState{}
	case kindSession:
		return &sessionState{}
	}
	return &behalfState{}
}

// read returns a row to be worked on.
func read(r *Row) (*entry, error) {
	en := &entry{key: key{r.Agent, r.Kind, r.Name}, seq: r.Seq, state: fresh(r.Kind)}
	if err := json.Unmarshal(r.Record, en.state); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "what is kept of what agent %.128q did is damaged: %w", r.Agent, err)
	}
	return en, nil
}

// row returns en as it is kept. The same state is always written with the same bytes.
func (en *entry) row() Row {
	record, err := json.Marshal(en.state)
	if err != nil { // numbers, strings and maps of them always encode
		panic("activity: " + err.Error())
	}
	return Row{Agent: en.key.agent, Kind: en.key.kind, Name: en.key.name, Seq: en.seq, Record: record}
}

// week returns the number of the week that a time lies in. Weeks begin on Monday, 0:00 UTC.
func week(micros int64) int64 { return (dayOf(micros) + 3) / 7 }

func dayOf(micros int64) int64 { return micros / (24 * time.Hour).Microseconds() }

// weekBegins returns when a week begins.
func weekBegins(w int64) time.Time { return time.Unix((w*7-3)*24*60*60, 0).UTC() }

func weekName(w int64) string { return strconv.FormatInt(w, 10) }

// count adds one to a name's count in a bounded map.
func count(m *map[string]int64, name string, most int) {
	if *m == nil {
		*m = map[string]int64{}
	}
	name = clip(name)
	if _, ok := (*m)[name]; !ok && len(*m) >= most {
		name = Others
	}
	(*m)[name]++
}

func clip(s string) string {
	if len(s) <= maxName {
		return s
	}
	n := maxName - len("…")
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// day counts a decision on a day.
func (a *agentState) day(micros int64, refused bool) {
	d := dayOf(micros)
	n := len(a.Days)
	if n == 0 || a.Days[n-1].Day != d {
		a.Days = append(a.Days, day{Day: d})
		n++
	}
	a.Days = a.Days[max(0, n-days):]
	last := &a.Days[len(a.Days)-1]
	last.Made++
	if refused {
		last.Refused++
	}
}

// lately adds up the decisions of the days up to a time.
func (a *agentState) lately(at time.Time) (made, refused int64) {
	today := dayOf(at.UnixMicro())
	for _, d := range a.Days {
		if d.Day > today-days {
			made, refused = made+d.Made, refused+d.Refused
		}
	}
	return made, refused
}

// entries returns the numbers of a session's entries, oldest first.
func (s *sessionState) entries() []int64 {
	all := slices.Clone(s.Entries)
	for i := 1; i < len(all); i++ {
		all[i] += all[i-1]
	}
	return all
}

// add notes an entry.
func (s *sessionState) add(seq int64) {
	if len(s.Entries) == 0 {
		s.Entries = []int64{seq}
		return
	}
	last := int64(0)
	for _, d := range s.Entries {
		last += d
	}
	s.Entries = append(s.Entries, seq-last)
	if len(s.Entries) > maxCalls {
		s.Entries[1] += s.Entries[0]
		s.Entries = slices.Delete(s.Entries, 0, 1)
	}
}

// A Count is how often there was something of a name.
type Count struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// counts returns a map's counts, the highest first.
func counts(m map[string]int64) []Count {
	out := make([]Count, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, Count{name, m[name]})
	}
	slices.SortStableFunc(out, func(a, b Count) int { return cmp.Compare(b.Count, a.Count) })
	return out
}
