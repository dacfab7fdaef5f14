// Package live tells readers what happens while it happens: decisions, what persons are asked and answer,
// alerts, versions of policies, agents that change, and what monitors conclude.
//
// A Hub stands behind everybody who applies the log and keeps the newest entries. Readers go along them at
// their own pace: one who is slow holds up nobody, and is told how much it was not told. An entry is decoded
// when the first reader comes to it, and once, however many readers there are.
//
// The memory of a Hub is bounded whatever happens, and nothing of it is kept: who wants the past reads the
// log, see Past.
package live

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// Bounds of what a hub keeps.
const (
	maxKept  = 4096     // entries
	maxBytes = 16 << 20 // of their bodies
)

// A Config is what a Hub needs. Both may be nil: then there is nothing of that kind to tell.
type Config struct {
	// Asks finds asks. *approval.Desk does.
	Asks interface {
		Get(ctx context.Context, id string) (*approval.Ask, error)
	}
	// Signals tells what monitors conclude, before Watch is called with the entry by which it came.
	// *monitor.Monitor does.
	Signals interface {
		Subscribe(ctx context.Context) <-chan monitor.Signal
	}
}

// A Hub keeps the newest entries for readers. It is safe for concurrent use.
type Hub struct {
	cfg Config

	mu      sync.Mutex
	ctx     context.Context // of Run, while it runs
	signals <-chan monitor.Signal
	kept    []*item // the newest entries that there is something to tell of, in order
	first   int64   // how many there were before kept
	bytes   int     // of the bodies of kept
	since   int64   // kept has all that there is to tell of entries numbered above it
	seq     int64   // of the newest entry
	grown   chan struct{}
}

// NewHub returns a hub that keeps nothing yet. After is the number of the last entry that Watch will not be
// called with.
func NewHub(cfg Config, after int64) *Hub {
	return &Hub{cfg: cfg, since: after, seq: after, grown: make(chan struct{})}
}

// Run has the hub hear what monitors conclude, until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	if h.cfg.Signals == nil {
		return
	}
	h.mu.Lock()
	h.ctx, h.signals = ctx, h.cfg.Signals.Subscribe(ctx)
	h.mu.Unlock()
	<-ctx.Done()
}

// told are the kinds of entries that there may be something to tell of.
var told = map[audit.Kind]bool{
	audit.DecisionMade: true, audit.ApprovalAsked: true, audit.ApprovalAnswer: true, audit.ApprovalMoved: true,
	audit.AlertPut: true, audit.PolicyPublish: true, audit.AgentPut: true,
}

// Watch takes in an entry that has just been applied with a verdict. See audit.FollowerConfig.
func (h *Hub) Watch(e audit.Entry, verdict error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq = e.Seq
	signals := h.drain()
	if verdict != nil || !told[e.Kind] {
		if len(signals) == 0 {
			return
		}
		e = audit.Entry{Seq: e.Seq, At: e.At} // nothing is told of the entry itself
	}
	h.kept = append(h.kept, &item{entry: e, signals: signals, asks: h.cfg.Asks})
	h.bytes += len(e.Body)
	drop := 0
	for len(h.kept)-drop > maxKept || h.bytes > maxBytes && len(h.kept)-drop > 1 {
		h.bytes -= len(h.kept[drop].entry.Body)
		h.since = h.kept[drop].entry.Seq
		h.kept[drop] = nil
		drop++
	}
	h.kept = h.kept[drop:]
	h.first += int64(drop)
	close(h.grown)
	h.grown = make(chan struct{})
}

// drain returns what monitors have concluded since it was called last. Who is cut off, since one entry has made
// more signals than a subscriber may be behind, begins again. The caller holds h.mu.
func (h *Hub) drain() (signals []monitor.Signal) {
	for {
		select {
		case s, ok := <-h.signals:
			if ok {
				signals = append(signals, s)
				continue
			}
			if h.signals = nil; h.ctx.Err() == nil {
				h.signals = h.cfg.Signals.Subscribe(h.ctx)
			}
			return signals
		default:
			return signals
		}
	}
}

// Seq returns the number of the newest entry that was taken in.
func (h *Hub) Seq() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seq
}

// An item is an entry, and what monitors concluded from it.
type item struct {
	entry   audit.Entry
	signals []monitor.Signal
	asks    interface {
		Get(ctx context.Context, id string) (*approval.Ask, error)
	}

	once   sync.Once
	events []*Event
}

// all returns what there is to tell of the item: what follows from the entry comes after it.
func (it *item) all() []*Event {
	it.once.Do(func() {
		if ev := eventOf(it.entry, it.asks); ev != nil {
			it.events = append(it.events, ev)
		}
		for i := range it.signals {
			s := &it.signals[i]
			it.events = append(it.events, &Event{Seq: s.Seq, Type: s.Type, Agent: string(s.Agent), Data: s})
		}
	})
	return it.events
}

// An Event is something to tell. It is immutable once shared.
type Event struct {
	Seq    int64  // number of the entry
	Type   string // one of Types
	Agent  string // whom it is about; "" if that is nobody, or cannot be said
	Effect string // of a decision
	Data   any

	once sync.Once
	text []byte
}

// Types are the types of events.
var Types = []string{TypeDecision, TypeApproval, TypeAlert, TypePolicy, TypeAgent, monitor.SignalFinding, monitor.SignalTrust, monitor.SignalQuarantine}

// Types of events, beside those of signals.
const (
	TypeDecision = "decision"
	TypeApproval = "approval"
	TypeAlert    = "alert"
	TypePolicy   = "policy"
	TypeAgent    = "agent"
)

// whole returns the event as a server-sent event without an id, for who may read all of it. It is made once.
func (ev *Event) whole() []byte {
	ev.once.Do(func() { ev.text = Text(ev.Type, ev.Data) })
	return ev.text
}

// Text returns a server-sent event without an id. JSON has no line breaks of its own, and types are ours.
func Text(typ string, data any) []byte {
	text, err := json.Marshal(data)
	if err != nil { // our own types
		text = []byte("{}")
	}
	b := append([]byte("event: "), typ...)
	b = append(append(b, "\ndata: "...), text...)
	return append(b, "\n\n"...)
}
