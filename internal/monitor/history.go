package monitor

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A Point is where trust in an agent stood after an entry.
type Point struct {
	Nth     int64     `json:"nth,omitzero"` // which of the agent's it is, from 1; 0 if it is the present
	Seq     int64     `json:"seq"`          // number of the entry
	At      time.Time `json:"at"`
	Classes []Band    `json:"classes"`         // by class, mildest first
	Moved   []Moved   `json:"moved,omitempty"` // what moved it; nothing if it only drifted
}

// A Band is trust in one class.
type Band struct {
	Class string  `json:"class"`
	Level string  `json:"level"`
	Score float64 `json:"score"` // lower credible bound, by which levels go
	Mean  float64 `json:"mean"`
	Upper float64 `json:"upper"` // upper credible bound: with the score it says how much is known
}

// A Moved is one thing that moved trust.
type Moved struct {
	What     string `json:"what"`               // registered, renewed, level, quarantine, override, restored, finding, acknowledged, dismissed, confirmed, outcome
	Class    string `json:"class,omitempty"`    // in which; every for all
	Finding  string `json:"finding,omitempty"`  // its id
	Kind     string `json:"kind,omitempty"`     // of the finding
	Severity string `json:"severity,omitempty"` // of the finding
	Decision int64  `json:"decision,omitzero"`  // of an outcome: number of the entry of the decision
	From     string `json:"from,omitempty"`     // level before
	To       string `json:"to,omitempty"`       // level now; of an override the one that was set, of an outcome what it was
}

// A PointStore keeps points for reading. Replicas share it.
type PointStore interface {
	// PutPoints keeps points, each unless one of a newer format is kept under its number, and then forgets of its agent
	// the numbers that it drops.
	PutPoints(ctx context.Context, format int64, ps []KeptPoint) error

	// Points returns the points of an agent within a time, oldest first, without those of formats older than the head's.
	Points(ctx context.Context, id authz.AgentID, from, to time.Time) ([]Point, error)
}

// A KeptPoint is a point of an agent.
type KeptPoint struct {
	Agent authz.AgentID
	Drop  []int64 // numbers of the agent's that make room for it
	Point Point
}

const (
	quiet = 10   // minutes between looks for a drift
	drift = 0.01 // of a score that is worth a point
)

// keptPoints says how points are thinned as they age: of those older than the newest so many only every so manieth stays.
// That is 1,024 of an agent at most.
var keptPoints = [...]struct{ newest, every int64 }{{256, 4}, {1024, 16}, {4096, 64}, {16384, 256}, {65536, math.MaxInt64}}

// drops returns which of an agent's points make room for the one of that number.
func drops(nth int64) (all []int64) {
	for _, k := range keptPoints {
		if n := nth - k.newest; n > 0 && n%k.every != 0 {
			all = append(all, n)
		}
	}
	return all
}

// note remembers what moves the trust of the agent that the present entry changes, until chart.
func (c *core) note(m Moved) { c.moved = append(c.moved, m) }

// chart makes a point of where a's trust stands, if something has moved it, or if it has drifted since the last one. It
// follows from the log alone, like everything here: it is called for every change of a. The caller holds the lock of the shard.
func (c *core) chart(a *agent) {
	moved := c.moved
	c.moved = c.moved[:0]
	m := uint32(max(c.at.Unix(), 0) / 60)
	if len(moved) == 0 && a.points > 0 && m < a.looked+quiet {
		return
	}
	a.looked = m
	k := &c.rules.Load().conduct.Trust
	var scores [conduct.Classes]uint16
	far := len(moved) > 0 || a.points == 0
	for i := range scores {
		scores[i] = uint16(math.Round(a.trust.Score(k, conduct.Class(i), c.at) * 10_000))
		far = far || math.Abs(float64(scores[i])-float64(a.shown[i])) >= drift*10_000
	}
	if !far {
		return
	}
	a.shown = scores
	a.points++
	c.out.point(KeptPoint{Agent: a.id, Drop: drops(a.points), Point: Point{
		Nth: a.points, Seq: c.seq, At: c.at, Classes: c.bands(a, c.at), Moved: append([]Moved(nil), moved...),
	}})
}

// bands returns trust in all classes at a time.
func (c *core) bands(a *agent, at time.Time) []Band {
	k := &c.rules.Load().conduct.Trust
	all := make([]Band, conduct.Classes)
	for i := range all {
		b := a.trust.Band(k, conduct.Class(i), at)
		all[i] = Band{
			Class: conduct.Class(i).String(), Level: a.trust.Stands(k, a.who(), conduct.Class(i), at).String(),
			Score: b.Score, Mean: b.Mean, Upper: b.Upper,
		}
	}
	return all
}

// noteFinding remembers that a finding moved trust.
func (c *core) noteFinding(what string, f *conduct.Finding) {
	c.note(Moved{What: what, Class: f.Class, Finding: f.ID, Kind: string(f.Kind), Severity: f.Severity.String()})
}

// point takes in a point. See sink.
func (m *Monitor) point(p KeptPoint) { m.queue.points = append(m.queue.points, p) }

// flushPoints writes the points that are queued when it is called. The caller does not hold m.mu.
func (m *Monitor) flushPoints(ctx context.Context) error {
	for {
		m.mu.Lock()
		ps := m.queue.points[:min(batch, len(m.queue.points)):min(batch, len(m.queue.points))]
		m.mu.Unlock()
		if len(ps) == 0 {
			return nil
		}
		if err := m.cfg.Store.PutPoints(ctx, Format, ps); err != nil {
			return fmt.Errorf("keeping how trust moved: %w", err)
		}
		m.mu.Lock()
		for i := range ps { // Apply may have written some of them meanwhile
			if q := m.queue.points; len(q) > 0 && q[0].Agent == ps[i].Agent && q[0].Point.Nth == ps[i].Point.Nth {
				m.queue.points = q[min(len(ps)-i, len(q)):]
				break
			}
		}
		m.mu.Unlock()
	}
}

// History returns how trust in an agent moved within a time, oldest first, and where it stands at the end of it or now,
// whichever is sooner; authz.ErrNotFound if nothing is known of the agent, now or then. Points are 1,024 at most:
// old ones are thinned.
func (m *Monitor) History(ctx context.Context, id authz.AgentID, from, to time.Time) ([]Point, error) {
	m.mu.Lock()
	var fresh []Point
	for i := range m.queue.points {
		if p := &m.queue.points[i]; p.Agent == id && !p.Point.At.Before(from) && !p.Point.At.After(to) {
			fresh = append(fresh, p.Point)
		}
	}
	m.mu.Unlock()
	points, err := m.cfg.Store.Points(ctx, id, from, to)
	if err != nil {
		return nil, fmt.Errorf("reading how trust moved: %w", err)
	}
	for _, p := range fresh { // some may have been written meanwhile
		if n := len(points); n == 0 || points[n-1].Nth < p.Nth {
			points = append(points, p)
		}
	}
	now := m.cfg.Now()
	known := m.look(id, func(a *agent, _ *rules) {
		if !to.Before(now) {
			points = append(points, Point{Seq: m.Seq(), At: now.UTC().Truncate(time.Microsecond), Classes: m.core.bands(a, now)})
		}
	})
	if !known && len(points) == 0 {
		return nil, authz.Errorf(authz.ErrNotFound, "nothing is known of the conduct of agent %.128q", id)
	}
	return points, nil
}
