// Package asking finds what spoils the asking of persons: an agent that asks too much, or for what it should not
// have; a person who says yes without reading; broken glass that nobody has looked at afterwards. Needless
// questions train people to say yes, so that the question is no protection any more.
//
// Asks, views and answers are entries of the log. The package does not judge who may answer or when an ask is
// decided (internal/approval does): it counts what persons said, once a person and ask. Findings about persons
// say what the log shows. They are for a conversation, and cannot tell a quick reader from one who does not read.
package asking

import (
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Kinds of finding. The latter two are about a person.
const (
	Many          conduct.Kind = "asking.many"           // far more asks than usual, or on and on beyond the budget
	Refused       conduct.Kind = "asking.refused"        // persons refuse most of what it asks
	RubberStamp   conduct.Kind = "asking.rubber_stamp"   // yes, faster than anybody reads
	OverdueReview conduct.Kind = "asking.overdue_review" // broken glass that nobody has reviewed in time
)

// Routes are what is declared of the catalog's routes, by id, as far as it matters here.
type Routes map[string]Route

// A Route is a way to an approval.
type Route struct {
	Reading time.Duration // an answer faster than that is suspicious; 0: none is
	Review  time.Duration // within which broken glass is reviewed; 0 if there is none to break
}

// RoutesOf returns the routes of a catalog.
func RoutesOf(c *catalog.Catalog) Routes {
	routes := Routes{}
	for _, r := range c.Routes() {
		routes[r.ID] = Route{Reading: r.Reading, Review: r.Review}
	}
	return routes
}

// goes notes that an ask goes by a route: the longest reading and the shortest review of its routes count.
func (a *Ask) goes(q Route) {
	a.reading = max(a.reading, q.Reading)
	if q.Review > 0 && (a.within == 0 || q.Review < a.within) {
		a.within = q.Review
	}
}

// An Ask is what is remembered of one.
type Ask struct {
	ID      string
	Seq     int64 // number of the entry
	At      time.Time
	Agent   authz.AgentID
	Session string
	Class   conduct.Class // the gravest of its items
	What    string        // the first item, for a sentence

	reading, within time.Duration // of its routes, see Route

	same uint64   // a hash of the act: identical asks have the same
	seen []viewer // who viewed it, at most maxViewers
	said []uint32 // hashes of who answered, at most maxViewers
}

// A viewer is a person who has viewed an ask.
type viewer struct {
	person uint64
	at     int64 // when first, microseconds since 1970
}

// An Answer is what a person said of an ask.
type Answer struct {
	Seq    int64
	At     time.Time
	Ask    *Ask
	Person string
	Yes    bool
}

// A Said is a finding about a person.
type Said struct {
	conduct.Draft
	Person string
}

// Bounds of what is remembered.
const (
	maxAsks    = 20_000 // that wait, as many as the desk has
	maxReviews = 4096   // that are due
	maxPersons = 4096
	maxViewers = 16
	maxID      = 256                 // bytes of any name or id
	longest    = 31 * 24 * time.Hour // that an ask waits
)

// A Fleet is what is remembered of all asks, reviews and persons together. It is bounded for any log, at about
// 20 MB where 20,000 asks wait, and not safe for concurrent use.
type Fleet struct {
	asks    map[string]*Ask
	order   []*Ask   // of asks, by Seq; may have ones that have ended, which are left out when it is cleaned
	reviews []review // by when they are due
	persons map[string]*person
}

// A review is one that is due.
type review struct {
	due    int64 // microseconds since 1970
	seq    int64 // of the entry that broke the glass
	ask    string
	person string
	agent  authz.AgentID
}

// ask remembers an ask.
func (f *Fleet) ask(a *Ask) {
	if f.asks == nil {
		f.asks = map[string]*Ask{}
	}
	if f.asks[a.ID] != nil {
		return // not by this desk
	}
	if len(f.asks) >= maxAsks {
		f.clean()
		delete(f.asks, f.order[0].ID)
	}
	f.asks[a.ID] = a
	if f.order = append(f.order, a); len(f.order) > 2*maxAsks {
		f.clean()
	}
}

// clean takes out of the order what has ended.
func (f *Fleet) clean() {
	f.order = slices.DeleteFunc(f.order, func(a *Ask) bool { return f.asks[a.ID] != a })
}

// end forgets an ask.
func (f *Fleet) end(id string) { delete(f.asks, id) }

// Sweep forgets asks that cannot be waiting any more. It is to be called about once a day.
func (f *Fleet) Sweep(at time.Time) {
	for _, a := range f.order {
		if at.Sub(a.At) > longest && f.asks[a.ID] == a {
			f.end(a.ID)
		}
	}
	f.clean()
}

// Due reports whether Tick has something to say at a time.
func (f *Fleet) Due(at time.Time) bool {
	return len(f.reviews) > 0 && f.reviews[0].due <= at.UnixMicro()
}

// maxTicks is how many findings one entry may bring. What is left comes by the next.
const maxTicks = 64

// Tick emits reviews that are overdue by a time, which the entry of the number seq has.
func (f *Fleet) Tick(r *catalog.AskingRules, seq int64, at time.Time, emit func(Said)) {
	for range maxTicks {
		if !f.Due(at) {
			return
		}
		f.overdue(r, emit)
	}
}

// overdue tells of the first review.
func (f *Fleet) overdue(r *catalog.AskingRules, emit func(Said)) {
	v := f.reviews[0]
	f.reviews = slices.Delete(f.reviews, 0, 1)
	if r.Off {
		return
	}
	emit(Said{Person: v.person, Draft: conduct.Draft{
		Kind: OverdueReview, Severity: conduct.Medium, Class: conduct.Every, Evidence: []int64{v.seq},
		Sentence: conduct.Quote(v.person) + " broke the glass for " + conduct.Quote(string(v.agent)) + " (ask " + conduct.Quote(v.ask) + "), and nobody has reviewed it in time.",
	}})
}

// due notes a review, in the order of when they are due. If there are too many, the first is told of at once.
func (f *Fleet) due(v review, r *catalog.AskingRules, emit func(Said)) {
	i, _ := slices.BinarySearchFunc(f.reviews, v, func(a, b review) int {
		if a.due != b.due {
			return int(min(1, max(-1, a.due-b.due)))
		}
		return int(min(1, max(-1, a.seq-b.seq)))
	})
	f.reviews = slices.Insert(f.reviews, i, v)
	if len(f.reviews) > maxReviews {
		f.overdue(r, emit)
	}
}
