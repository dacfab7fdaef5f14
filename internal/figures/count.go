package figures

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Outcomes count decisions by their effect.
type Outcomes struct {
	Allow  int64 `json:"allow"`
	Ask    int64 `json:"require_approval"`
	StepUp int64 `json:"step_up"`
	Deny   int64 `json:"deny"`
}

func (o *Outcomes) add(e authz.Effect) {
	switch e {
	case authz.Allow:
		o.Allow++
	case authz.RequireApproval:
		o.Ask++
	case authz.StepUp:
		o.StepUp++
	default:
		o.Deny++
	}
}

func (o *Outcomes) join(p Outcomes) {
	o.Allow, o.Ask, o.StepUp, o.Deny = o.Allow+p.Allow, o.Ask+p.Ask, o.StepUp+p.StepUp, o.Deny+p.Deny
}

// Sum returns how many decisions there were.
func (o *Outcomes) Sum() int64 { return o.Allow + o.Ask + o.StepUp + o.Deny }

// A histogram counts durations by the logarithm of their microseconds: four buckets for each doubling, so that what it says of one is
// off by a tenth at most. It is sparse.
type histogram map[int]int64

func (h *histogram) add(d time.Duration) {
	if *h == nil {
		*h = histogram{}
	}
	us := max(1, float64(d)/float64(time.Microsecond))
	(*h)[min(160, int(math.Floor(4*math.Log2(us))))]++ // 2^40 µs are twelve days
}

func (h *histogram) join(g histogram) {
	if *h == nil && len(g) > 0 {
		*h = histogram{}
	}
	for k, n := range g {
		(*h)[k] += n
	}
}

func (h histogram) count() (n int64) {
	for _, m := range h {
		n += m
	}
	return n
}

// quantile returns about the q-quantile, 0 of nothing.
func (h histogram) quantile(q float64) time.Duration {
	n := h.count()
	if n == 0 {
		return 0
	}
	keys := make([]int, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	rank, seen := int64(math.Ceil(q*float64(n))), int64(0)
	for _, k := range keys {
		if seen += h[k]; seen >= rank {
			return time.Duration(math.Exp2((float64(k)+0.5)/4) * float64(time.Microsecond))
		}
	}
	return 0
}

// Bounds of what is counted by name in a day.
const (
	maxGroups  = 500 // purposes with owners
	maxNames   = 64  // of a group: agents, persons, actions
	maxReasons = 32  // of a group
)

// A tally counts outcomes by name: of the first maxNames names, and of all others together.
type tally struct {
	By     map[string]*Outcomes `json:"by,omitempty"`
	Others *Outcomes            `json:"others,omitempty"`
}

func (t *tally) add(name string, e authz.Effect) { t.of(name, maxNames).add(e) }

func (t *tally) of(name string, most int) *Outcomes {
	o := t.By[name]
	if o != nil {
		return o
	}
	if len(t.By) >= most {
		if t.Others == nil {
			t.Others = &Outcomes{}
		}
		return t.Others
	}
	if t.By == nil {
		t.By = map[string]*Outcomes{}
	}
	o = &Outcomes{}
	t.By[name] = o
	return o
}

// join adds u. Room is for how many more names there is room in all.
func (t *tally) join(u tally, room *int) {
	names := maps.Keys(u.By)
	if n := len(u.By); len(t.By)+n > maxJoined || n > *room { // some are left out: everywhere the same
		names = slices.Values(slices.Sorted(names))
	}
	for name := range names {
		before := len(t.By)
		t.of(name, min(maxJoined, before+*room)).join(*u.By[name])
		*room -= len(t.By) - before
	}
	if u.Others != nil {
		if t.Others == nil {
			t.Others = &Outcomes{}
		}
		t.Others.join(*u.Others)
	}
}

// A reason counts refusals that told it.
type reason struct {
	N    int64  `json:"n"`
	Text string `json:"text"` // as it was told last
}

// Asks count what persons were asked.
type Asks struct {
	Asked     int64 `json:"asked"`
	Approved  int64 `json:"approved" doc:"wholly or in part"`
	Denied    int64 `json:"denied"`
	Expired   int64 `json:"expired" doc:"nobody answered in time"`
	Withdrawn int64 `json:"withdrawn" doc:"cancelled, or could not be answered"`
}

func (a *Asks) join(b Asks) {
	a.Asked, a.Approved, a.Denied, a.Expired, a.Withdrawn = a.Asked+b.Asked, a.Approved+b.Approved, a.Denied+b.Denied, a.Expired+b.Expired, a.Withdrawn+b.Withdrawn
}

// Tasks count tasks that are over: sessions of agents in which nothing more was asked for half an hour.
type Tasks struct {
	Undisturbed int64 `json:"undisturbed" doc:"everything was allowed"`
	WentOn      int64 `json:"went_on" doc:"something was refused or a person was asked, and the last act was allowed"`
	Stopped     int64 `json:"stopped" doc:"the last act that was asked for was refused"`
}

func (t *Tasks) join(u Tasks) {
	t.Undisturbed, t.WentOn, t.Stopped = t.Undisturbed+u.Undisturbed, t.WentOn+u.WentOn, t.Stopped+u.Stopped
}

// Results count what was reported of acts.
type Results struct {
	Done     int64 `json:"done" doc:"reported without a word on whether it was right"`
	Failed   int64 `json:"failed" doc:"the tool failed"`
	Right    int64 `json:"right"`
	Wrong    int64 `json:"wrong"`
	Harmful  int64 `json:"harmful"`
	Reverted int64 `json:"reverted"`
}

func (r *Results) join(s Results) {
	r.Done, r.Failed, r.Right, r.Wrong, r.Harmful, r.Reverted = r.Done+s.Done, r.Failed+s.Failed, r.Right+s.Right, r.Wrong+s.Wrong, r.Harmful+s.Harmful, r.Reverted+s.Reverted
}

// A span holds figures of all together over a while.
type span struct {
	from, until time.Time
	asOf        int64

	Outcomes
	Asks    Asks      `json:"asks,omitzero"`
	Latency histogram `json:"latency,omitempty"`
}

// A group holds figures of a day of the agents of one purpose and one owner.
type group struct {
	asOf int64

	Purpose string `json:"purpose"`
	Owner   string `json:"owner"`
	Others  bool   `json:"others,omitempty"` // all purposes and owners beyond maxGroups
	Outcomes
	Lifted  int64              `json:"lifted,omitempty"` // allowed because persons approved
	Agents  tally              `json:"agents,omitzero"`
	Persons tally              `json:"persons,omitzero"`
	Actions tally              `json:"actions,omitzero"`
	Reasons map[string]*reason `json:"reasons,omitempty"`
	Unnamed int64              `json:"unnamed,omitempty"` // refusals for reasons beyond maxReasons
	Asks    Asks               `json:"asks,omitzero"`
	Waits   histogram          `json:"waits,omitempty"` // from ask to an answer that ended it
	WaitedS int64              `json:"waited,omitempty"`
	Tasks   Tasks              `json:"tasks,omitzero"`
	Results Results            `json:"results,omitzero"`
	Latency histogram          `json:"latency,omitempty"`
}

// join adds h. Room is for how many more names and reasons there is room in all.
func (g *group) join(h *group, room *int) {
	g.Outcomes.join(h.Outcomes)
	g.Lifted, g.Unnamed, g.WaitedS = g.Lifted+h.Lifted, g.Unnamed+h.Unnamed, g.WaitedS+h.WaitedS
	g.Agents.join(h.Agents, room)
	g.Persons.join(h.Persons, room)
	g.Actions.join(h.Actions, room)
	for _, code := range slices.Sorted(maps.Keys(h.Reasons)) {
		before := len(g.Reasons)
		g.refuse(code, h.Reasons[code].Text, h.Reasons[code].N, min(maxJoined, before+*room))
		*room -= len(g.Reasons) - before
	}
	g.Asks.join(h.Asks)
	g.Waits.join(h.Waits)
	g.Tasks.join(h.Tasks)
	g.Results.join(h.Results)
	g.Latency.join(h.Latency)
}

func (g *group) refuse(code, text string, n int64, most int) {
	r := g.Reasons[code]
	switch {
	case r == nil && len(g.Reasons) >= most:
		g.Unnamed += n
		return
	case r == nil:
		if g.Reasons == nil {
			g.Reasons = map[string]*reason{}
		}
		r = &reason{}
		g.Reasons[code] = r
	}
	r.N += n
	if text != "" {
		r.Text = text
	}
}

// groupKey names a group.
func groupKey(purpose, owner string) string {
	b, err := json.Marshal([2]string{purpose, owner})
	if err != nil { // strings always encode
		return othersKey
	}
	return string(b)
}

// othersKey names the group of those beyond maxGroups.
const othersKey = "others"

// A row is a span or a group that is over and not kept yet.
type row struct {
	Row
	made any // *span, *group
}

type rowKey struct {
	length Length
	group  string
	from   int64
}

func (k rowKey) compare(l rowKey) int {
	return cmp.Or(cmp.Compare(k.from, l.from), cmp.Compare(k.length, l.length), cmp.Compare(k.group, l.group))
}
