package policy

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/safeconduct/safeconduct/authz"
)

// memoSlots bounds how many records a memo keeps; a power of two.
const memoSlots = 1024

// A memo keeps records that were built lately, by a key that says everything they hold, as the values that go into other
// records. It has a fixed number of places; a record displaces the one in its place. Building a Cedar record sorts
// and hashes it, which costs more than all policies of an ordinary set.
type memo struct {
	seed  maphash.Seed
	slots [memoSlots]atomic.Pointer[memoEntry]
}

type memoEntry struct {
	key    string
	record types.Value
}

func newMemo() *memo { return &memo{seed: maphash.MakeSeed()} }

// slot returns the place of a key.
func (m *memo) slot(key []byte) *atomic.Pointer[memoEntry] {
	return &m.slots[maphash.Bytes(m.seed, key)&(memoSlots-1)]
}

// record returns the record of the key, nil if it is not kept.
func (m *memo) record(key []byte) types.Value {
	if e := m.slot(key).Load(); e != nil && e.key == string(key) {
		return e.record
	}
	return nil
}

// keep keeps r under the key.
func (m *memo) keep(key []byte, r types.Value) {
	m.slot(key).Store(&memoEntry{key: string(key), record: r})
}

// appendText adds s to a key so that no other sequence of texts gives the same key.
func appendText[T string | []byte](key []byte, s T) []byte {
	return append(binary.AppendUvarint(key, uint64(len(s))), s...)
}

func appendTexts(key []byte, list []string) []byte {
	key = binary.AppendUvarint(key, uint64(len(list)))
	for _, s := range list {
		key = appendText(key, s)
	}
	return key
}

// maxAgents bounds how many agents' entities are kept.
const maxAgents = 8192

// agents keeps the entities of agents, whose values are immutable once shared: the pointer is the
// key. Of each it keeps the entity with the conduct that was seen last, which changes more often than
// the agent. When full it forgets all and begins again.
type agents struct {
	mu  sync.RWMutex
	ent map[*authz.Agent]*atomic.Pointer[agentForm]
}

// An agentForm is an agent's entity, and the conduct that it speaks of.
type agentForm struct {
	conduct conductView
	entity  types.Entity
	marks   []mark // in the set's index
}

func newAgents() *agents { return &agents{ent: make(map[*authz.Agent]*atomic.Pointer[agentForm])} }

// agent returns the entity of an agent that has behaved so.
func (s *Set) agent(a *authz.Agent, conduct *authz.Conduct) *agentForm {
	c, seen := s.agents, viewOf(conduct)
	c.mu.RLock()
	last := c.ent[a]
	c.mu.RUnlock()
	if last != nil {
		if form := last.Load(); form.conduct.equal(&seen) {
			return form
		}
	}
	seen.findings = slices.Clone(seen.findings)
	made := &agentForm{conduct: seen, entity: agentOf(a, &seen)}
	made.marks = s.marks(nil, &made.entity)
	if last != nil {
		last.Store(made)
		return made
	}
	last = new(atomic.Pointer[agentForm])
	last.Store(made)
	c.mu.Lock()
	if len(c.ent) >= maxAgents {
		clear(c.ent)
	}
	c.ent[a] = last
	c.mu.Unlock()
	return made
}
