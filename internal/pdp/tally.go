package pdp

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// TallyWindow is how far back a Tally counts: no further than a process that starts reads the log
// again, so that a restart forgets nothing.
const TallyWindow = 5 * time.Minute

// tallyMinutes is one more than the window has, for the minute that has begun.
const tallyMinutes = int(TallyWindow/time.Minute) + 1

// A Tally counts, for each registered agent, the decisions of the last minutes and how many of them
// refused. It follows the log, so that every replica counts the same. The zero Tally counts nothing
// until Known is set. It is safe for concurrent use.
type Tally struct {
	// Known reports whether an agent is registered. Others are not counted: anybody can be named
	// in a request.
	Known func(authz.AgentID) bool

	mu     sync.Mutex
	counts map[authz.AgentID]*count
	swept  int64 // minute in which those without decisions were forgotten
}

// A count is what an agent was answered, by the minute.
type count [tallyMinutes]struct {
	minute        int64
	made, refused int32
}

// Apply counts a decision. See audit.Applier.
func (t *Tally) Apply(_ context.Context, e audit.Entry) error {
	if e.Kind != audit.DecisionMade {
		return nil
	}
	id, effect := glance(e.Body)
	if len(id) == 0 {
		return nil
	}
	minute := e.At.Unix() / 60
	t.mu.Lock()
	defer t.mu.Unlock()
	if minute != t.swept {
		t.sweep(minute)
	}
	c := t.counts[authz.AgentID(id)] // does not allocate
	if c == nil {
		id := authz.AgentID(id)
		if t.Known == nil || !t.Known(id) {
			return nil
		}
		if t.counts == nil {
			t.counts = map[authz.AgentID]*count{}
		}
		c = new(count)
		t.counts[id] = c
	}
	slot := &c[minute%int64(tallyMinutes)]
	if slot.minute != minute {
		*slot = count{}[0]
		slot.minute = minute
	}
	slot.made++
	if string(effect) != authz.Allow.String() {
		slot.refused++
	}
	return nil
}

// sweep forgets those who were not answered within the window. The caller holds t.mu.
func (t *Tally) sweep(minute int64) {
	t.swept = minute
	for id, c := range t.counts {
		if made, _ := c.since(minute); made == 0 {
			delete(t.counts, id)
		}
	}
}

// since adds up what lies within the window that ends with a minute.
func (c *count) since(minute int64) (made, refused int64) {
	for i := range c {
		if age := minute - c[i].minute; age >= 0 && age < int64(tallyMinutes) {
			made += int64(c[i].made)
			refused += int64(c[i].refused)
		}
	}
	return made, refused
}

// Of returns how many decisions an agent was given within the window, and how many of them refused.
func (t *Tally) Of(id authz.AgentID, at time.Time) (made, refused int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.counts[id]; c != nil {
		return c.since(at.Unix() / 60)
	}
	return 0, 0
}

// Acting returns who acts in a recorded decision, "" if no agent does. It does not allocate but for the id, and knows
// records as this package writes them.
func Acting(record []byte) authz.AgentID {
	id, _ := glance(record)
	return authz.AgentID(id)
}

var (
	agentHead  = []byte(`{"request":{"subject":{"type":"agent","id":"`)
	answerHead = []byte(`,"decision":{"at":"`)
	effectHead = []byte(`,"effect":"`)
)

// glance returns the acting agent and the effect of a recorded decision without decoding it; nothing
// if no agent acts, also because none has asked for an act (Listing). It knows how append writes a record: the answer comes last, and no text within
// it holds a quote that is not escaped.
func glance(record []byte) (agent, effect []byte) {
	if !bytes.HasPrefix(record, agentHead) {
		return nil, nil
	}
	agent, _, ok := bytes.Cut(record[len(agentHead):], []byte{'"'})
	if !ok || bytes.IndexByte(agent, '\\') >= 0 { // no registered agent is written so
		return nil, nil
	}
	i := bytes.LastIndex(record, answerHead)
	if i < 0 {
		return nil, nil
	}
	answer := record[i+len(answerHead):]
	if i = bytes.Index(answer, effectHead); i < 0 {
		return nil, nil
	}
	effect, _, ok = bytes.Cut(answer[i+len(effectHead):], []byte{'"'})
	if !ok {
		return nil, nil
	}
	return agent, effect
}
