package monitor

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// maxDifferences bounds each list of a Comparison.
const maxDifferences = 10_000

// A Comparison says what other rules would have concluded from a range of the log.
type Comparison struct {
	From, To int64               `json:"-"`
	Entries  int64               `json:"entries"`
	Findings []Difference        `json:"findings"`       // found by one and not by the other, oldest first; at most 10,000
	Trust    []LevelDifference   `json:"trust"`          // agents whose level ends up otherwise, by id; at most 10,000
	Counts   map[string][2]int64 `json:"counts"`         // findings by kind: as it is, as it would be
	More     int64               `json:"more,omitempty"` // differences that are not listed
}

// A Difference is a finding that only one of two sets of rules gives.
type Difference struct {
	Only    string          `json:"only"` // before, after
	Finding conduct.Finding `json:"finding"`
}

// A LevelDifference is an agent whose trust would be otherwise.
type LevelDifference struct {
	Agent  authz.AgentID `json:"agent"`
	Class  string        `json:"class"`
	Before authz.Trust   `json:"before"`
	After  authz.Trust   `json:"after"`
}

// A Reader reads the log. *audit.Log is one.
type Reader interface {
	Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error
}

// A recorder is a sink that keeps what one entry found.
type recorder struct{ fresh []conduct.Finding }

// errReplayed ends a replay.
var errReplayed = errors.New("replayed")

// Replay takes in the log from its beginning up to the entry to, once by the rules that held and once by other, and
// compares what was concluded from the entry from on. With other nil it only concludes again. It touches no state of
// the service. It reads from the beginning because nothing else says what was known at from, and it
// waits for entries up to to, if log waits; authz.ErrInvalid if there are none and log ends.
func Replay(ctx context.Context, log Reader, catalogs func(context.Context, int64) (*catalog.Catalog, error), from, to int64, other *catalog.Conduct) (*Comparison, error) {
	if from < 1 || to < from {
		return nil, authz.Errorf(authz.ErrInvalid, "no entries are numbered %d to %d", from, to)
	}
	out := &Comparison{From: from, To: to, Findings: []Difference{}, Trust: []LevelDifference{}, Counts: map[string][2]int64{}}
	var as, would recorder
	before, after := newCore(catalogs, &as), newCore(catalogs, &would)
	if other != nil {
		after.insteadOf(other)
	}
	err := log.Follow(ctx, 0, func(ctx context.Context, es []audit.Entry) error {
		for i := range es {
			e := &es[i]
			as.fresh, would.fresh = as.fresh[:0], would.fresh[:0]
			if err := take(ctx, before, e); err != nil {
				return err
			}
			if other != nil {
				if err := take(ctx, after, e); err != nil {
					return err
				}
			}
			if e.Seq >= from {
				out.Entries++
				if other == nil {
					would.fresh = append(would.fresh, as.fresh...)
				}
				out.entry(as.fresh, would.fresh)
			}
			if e.Seq == to {
				return errReplayed
			}
		}
		return nil
	})
	switch {
	case err == nil: // a log that ends, and does not wait
		return nil, authz.Errorf(authz.ErrInvalid, "the log ends with entry %d, before entry %d", before.seq, to)
	case !errors.Is(err, errReplayed):
		return nil, err
	}
	if other != nil {
		out.levels(before, after)
	}
	return out, nil
}

// insteadOf makes r hold instead of what catalogs say, from the beginning.
func (c *core) insteadOf(r *catalog.Conduct) {
	c.other = r
	now := *c.rules.Load()
	now.conduct = *r
	c.rules.Store(&now)
}

// take takes in an entry that may change nothing.
func take(ctx context.Context, c *core, e *audit.Entry) error {
	if err := c.apply(ctx, e); c.seq != e.Seq {
		return err
	}
	return nil
}

// entry compares the findings that were new by one entry.
func (c *Comparison) entry(as, would []conduct.Finding) {
	for i := range as {
		n := c.Counts[string(as[i].Kind)]
		n[0]++
		c.Counts[string(as[i].Kind)] = n
		if !has(would, &as[i]) {
			c.differ("before", as[i])
		}
	}
	for i := range would {
		n := c.Counts[string(would[i].Kind)]
		n[1]++
		c.Counts[string(would[i].Kind)] = n
		if !has(as, &would[i]) {
			c.differ("after", would[i])
		}
	}
}

// has reports whether there is a finding that is like f in all but its number and words.
func has(fs []conduct.Finding, f *conduct.Finding) bool {
	return slices.ContainsFunc(fs, func(g conduct.Finding) bool {
		return g.Agent == f.Agent && g.Person == f.Person && g.Kind == f.Kind && g.Class == f.Class && g.Severity == f.Severity
	})
}

func (c *Comparison) differ(only string, f conduct.Finding) {
	if len(c.Findings) >= maxDifferences {
		c.More++
		return
	}
	c.Findings = append(c.Findings, Difference{Only: only, Finding: f})
}

// levels compares where trust ends up.
func (c *Comparison) levels(before, after *core) {
	var ids []authz.AgentID
	for i := range before.shards {
		for id := range before.shards[i].agents {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b authz.AgentID) int { return cmp.Compare(a, b) })
	level := func(k *core, id authz.AgentID, class conduct.Class) authz.Trust {
		a, r := k.agent(id), &k.rules.Load().conduct
		if a == nil {
			return authz.NeutralTrust
		}
		return a.trust.Level(&r.Trust, trust.Who{Agent: id, Purpose: a.purpose}, class, k.at)
	}
	for _, id := range ids {
		for class := range conduct.Class(conduct.Classes) {
			was, is := level(before, id, class), level(after, id, class)
			switch {
			case was.Level == is.Level:
			case len(c.Trust) >= maxDifferences:
				c.More++
			default:
				c.Trust = append(c.Trust, LevelDifference{Agent: id, Class: class.String(), Before: was, After: is})
			}
		}
	}
}

func (r *recorder) found(f *conduct.Finding) {
	if f.Count == 1 && f.State == conduct.Open {
		r.fresh = append(r.fresh, *f)
	}
}
func (r *recorder) touch(*agent)    {}
func (r *recorder) gone(*agent)     {}
func (r *recorder) signal(Signal)   {}
func (r *recorder) point(KeptPoint) {}
func (r *recorder) changed()        {}
