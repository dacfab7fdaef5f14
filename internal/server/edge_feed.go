package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/risk"
)

// A teller notes what changes of what decisions are made by, for those who decide elsewhere. It stands last among those who
// follow the log: when it has seen an entry, everything that the entry changes is in effect, and can be told.
//
// For each reader it keeps what is to be told anew, by name: however slow the reader is, that is no more than there are
// agents, alerts and indicators. What is told is looked up when it is told.
type teller struct {
	s *Server

	mu      sync.Mutex
	seq     int64 // of the newest entry that was seen
	readers map[*feedReader]struct{}
	seen    map[authz.AgentID]uint64 // what was last told of agents, see outline; while somebody reads
	turns   map[authz.AgentID]int64  // when it changes by time alone, in microseconds since 1970, see turn; of those of whom that is known
	whole   int64                    // every agent must be looked at because of this entry; 0: no
	after   authz.AgentID            // where looking goes on
	signals <-chan monitor.Signal    // of the monitor, while somebody reads
	deaf    context.CancelFunc       // ends signals
	look    chan struct{}            // tells Run that every agent must be looked at; holds one
}

// A feedReader is one who is told.
type feedReader struct {
	wake chan struct{} // holds one
	news
}

// News are what is to be told anew: the urgent at once, the rest before the next head.
type news struct {
	standing           int64 // number of the entry by which something may count no more; 0: none
	policies, stops    bool
	urgent             map[authz.AgentID]struct{}
	alerts, indicators map[string]struct{}

	agents map[authz.AgentID]struct{} // who acted, or whose scores have moved
}

const (
	pulse     = time.Second // between heads
	silence   = 15          // pulses after which one who is told no head is told that the connection lives
	lookPage  = 1000        // agents that are looked at in a pulse: trust moves with time, too
	riskPage  = 500         // alerts or indicators in an event
	agentPage = 64          // agents that are told before what is urgent is told again
	scoreStep = 100         // a score is told anew when it has moved by one part of that
)

func newTeller(s *Server) *teller {
	return &teller{s: s, readers: map[*feedReader]struct{}{}, look: make(chan struct{}, 1)}
}

// Apply notes what an entry changes. See audit.Applier.
func (t *teller) Apply(_ context.Context, e audit.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq = e.Seq
	if len(t.readers) == 0 {
		return nil
	}
	t.listen()
	urgent := true
	switch e.Kind {
	case audit.AgentPut:
		var body struct {
			Agent struct {
				ID authz.AgentID `json:"id"`
			} `json:"agent"`
		}
		if json.Unmarshal(e.Body, &body) == nil {
			t.agent(body.Agent.ID, true)
		}
		t.stands(e.Seq)
	case audit.CredentialPut, audit.TrustPut, audit.OutcomeReported:
		var body struct {
			Agent authz.AgentID `json:"agent"`
		}
		urgent = e.Kind != audit.OutcomeReported
		if json.Unmarshal(e.Body, &body) == nil {
			t.agent(body.Agent, urgent)
		}
		if e.Kind == audit.CredentialPut {
			t.stands(e.Seq)
		}
	case audit.DecisionMade:
		t.agent(pdp.Acting(e.Body), false)
		urgent = false
	case audit.AlertPut, audit.IndicatorPut:
		var body struct {
			Alert, Indicator struct {
				ID string `json:"id"`
			}
		}
		if json.Unmarshal(e.Body, &body) == nil {
			for r := range t.readers {
				remark(&r.alerts, body.Alert.ID)
				remark(&r.indicators, body.Indicator.ID)
			}
		}
	case audit.StopPut, audit.StopLifted:
		for r := range t.readers {
			r.stops = true
		}
		t.stands(e.Seq)
	case audit.PolicyPublish:
		for r := range t.readers {
			r.policies = true
		}
		t.everybody(e.Seq)
	case audit.TokenRevoked, audit.KeyPut, audit.PersonPut, audit.PasskeyPut:
		t.stands(e.Seq)
	default:
		urgent = false
	}
	if urgent {
		t.wakeAll()
	}
	return nil
}

// listen takes in what the monitor has signalled by now. Those that an entry brings about come before Apply sees the entry.
// The caller holds t.mu.
func (t *teller) listen() {
	for {
		select {
		case sig, ok := <-t.signals:
			if !ok { // too many at once: anything may have changed
				t.tune()
				t.everybody(t.seq)
				return
			}
			urgent := sig.Type != monitor.SignalFinding
			t.agent(sig.Agent, urgent)
			if urgent {
				t.wakeAll()
			}
		default:
			return
		}
	}
}

// tune subscribes to the monitor, anew if need be. The caller holds t.mu.
func (t *teller) tune() {
	if t.deaf != nil {
		t.deaf()
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.signals, t.deaf = t.s.monitor.Subscribe(ctx), cancel
}

// remark adds a name to a set, if there is one.
func remark[K ~string](set *map[K]struct{}, name K) {
	if name == "" {
		return
	}
	if *set == nil {
		*set = map[K]struct{}{}
	}
	(*set)[name] = struct{}{}
}

// agent notes that an agent is to be told anew. The caller holds t.mu.
func (t *teller) agent(id authz.AgentID, urgent bool) {
	for r := range t.readers {
		if urgent {
			remark(&r.urgent, id)
		} else {
			remark(&r.agents, id)
		}
	}
}

func (t *teller) stands(seq int64) {
	for r := range t.readers {
		r.standing = seq
	}
}

// everybody notes that every agent must be looked at because of an entry. The caller holds t.mu.
func (t *teller) everybody(seq int64) {
	if t.whole == 0 {
		t.whole = seq
	}
	t.after = ""
	select {
	case t.look <- struct{}{}:
	default:
	}
}

// wakeAll wakes all readers. The caller holds t.mu.
func (t *teller) wakeAll() {
	for r := range t.readers {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// Run looks at agents, some at each pulse, and all if their rules have changed, until ctx ends.
func (t *teller) Run(ctx context.Context) {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.turn(t.s.now())
			t.glance()
		case <-t.look:
			for ctx.Err() == nil && t.glance() {
			}
		}
	}
}

// glance looks at some agents and notes those that are not as they were told. It reports whether more must be looked at
// soon.
func (t *teller) glance() bool {
	t.mu.Lock()
	after, whole := t.after, t.whole
	reads := len(t.readers) > 0
	t.mu.Unlock()
	if !reads {
		return false
	}
	page := t.s.agents.After(after, lookPage)
	at := t.s.now()
	var changed []authz.AgentID
	for _, a := range page {
		h := outline(t.s.feedAgent(a, at))
		t.mu.Lock()
		if old, ok := t.seen[a.ID]; ok && old != h { // one that nobody was told of yet is about to be told
			changed = append(changed, a.ID)
		}
		_, awaited := t.turns[a.ID]
		t.mu.Unlock()
		if !awaited {
			next := t.s.turn(a.ID, at)
			t.mu.Lock()
			t.awaits(a.ID, next)
			t.mu.Unlock()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range changed {
		t.agent(id, false)
	}
	if t.after != after || t.whole != whole {
		return t.whole != 0 // somebody has begun anew meanwhile
	}
	if len(page) == lookPage {
		t.after = page[len(page)-1].ID
		return t.whole != 0
	}
	t.after, t.whole = "", 0
	return false
}

// turn notes those whose time has come.
func (t *teller) turn(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	some := false
	for id, next := range t.turns {
		if next <= at.UnixMicro() {
			delete(t.turns, id) // until it is told
			t.agent(id, true)
			some = true
		}
	}
	if some {
		t.wakeAll()
	}
}

// awaits notes when an agent must be told anew. The caller holds t.mu.
func (t *teller) awaits(id authz.AgentID, next time.Time) {
	switch {
	case t.turns == nil:
	case next.IsZero():
		delete(t.turns, id)
	default:
		t.turns[id] = next.UnixMicro()
	}
}

// join makes somebody a reader, who must leave again.
func (t *teller) join() *feedReader {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &feedReader{wake: make(chan struct{}, 1)}
	if len(t.readers) == 0 {
		t.seen, t.turns, t.whole, t.after = map[authz.AgentID]uint64{}, map[authz.AgentID]int64{}, 0, ""
		t.tune()
	}
	t.readers[r] = struct{}{}
	return r
}

func (t *teller) leave(r *feedReader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.readers, r)
	if len(t.readers) == 0 {
		t.seen, t.turns, t.signals = nil, nil, nil
		t.deaf()
		t.deaf = nil
	}
}

// take returns what is to be told to r, only the urgent or all, and up to which entry all is told then.
func (t *teller) take(r *feedReader, all bool) (n news, seq int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, r.news = r.news, news{}
	for id := range n.urgent {
		delete(n.agents, id)
	}
	if !all {
		n.agents, r.agents = nil, n.agents
	}
	if t.whole != 0 {
		return n, min(t.seq, t.whole-1)
	}
	return n, t.seq
}

// told notes what r is told of an agent, and when that changes by time alone. If others were told otherwise last, they are told anew, too.
func (t *teller) told(r *feedReader, id authz.AgentID, h uint64, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaits(id, next)
	old, ok := t.seen[id]
	if t.seen != nil {
		t.seen[id] = h
	}
	if ok && old != h {
		for other := range t.readers {
			if other != r {
				remark(&other.agents, id)
			}
		}
	}
}

// now is the service's clock.
func (s *Server) now() time.Time {
	if s.cfg.now != nil {
		return s.cfg.now()
	}
	return time.Now()
}

// feedAgent returns what is told of an agent at a time.
func (s *Server) feedAgent(a *authz.Agent, at time.Time) *feed.Agent {
	m := &feed.Agent{Agent: a, Credential: s.agents.KeyFacts(a.ID, at)}
	lowest, c := s.monitor.Conduct(a.ID, "", at)
	m.Conduct = c
	if lowest != authz.NeutralTrust || c.Lowest.Level != "" {
		m.Trust = map[string]authz.Trust{"": lowest}
		for class := range conduct.Class(conduct.Classes) {
			m.Trust[class.String()], _ = s.monitor.Conduct(a.ID, class.String(), at)
		}
	}
	for i := range 10 {
		from := float64(i) / 10
		worth, ok := s.monitor.Confidence(a.ID, from+0.05)
		if !ok {
			return m
		}
		m.Confidence = append(m.Confidence, feed.Worth{Reported: from, Worth: worth})
	}
	return m
}

// turn returns when what is told of an agent changes next by time alone, but for scores: when one of its keys expires, or what the
// monitor says of it changes. It is zero if that is not within a day, and of no key.
func (s *Server) turn(id authz.AgentID, at time.Time) time.Time {
	next := s.monitor.Turns(id, at)
	for _, c := range s.agents.Credentials(id) {
		if c.Kind == agent.KindKey && !c.ExpiresAt.IsZero() && c.Active(at) && (next.IsZero() || c.ExpiresAt.Before(next)) {
			next = c.ExpiresAt
		}
	}
	return next
}

var outlineSeed = maphash.MakeSeed()

// outline returns a hash of what is told of an agent, whose scores count only as far as scoreStep says: they fade by the minute.
func outline(m *feed.Agent) uint64 {
	var h maphash.Hash
	h.SetSeed(outlineSeed)
	score := func(t authz.Trust) { fmt.Fprintf(&h, "|%s %d", t.Level, int64(math.Round(t.Score*scoreStep))) }
	c := &m.Conduct
	fmt.Fprintf(&h, "%d %d|%d %d %d", m.Agent.AsOf, m.Agent.Revision, m.Credential.Keys, m.Credential.Since.UnixMicro(), m.Credential.ExpiresAt.UnixMicro())
	fmt.Fprintf(&h, "|%d %g %g %d %t %q", c.Judged, c.Accuracy, c.ErrorRate, c.Gravest, c.Quarantined, c.Findings)
	score(c.Lowest)
	for _, class := range slices.Sorted(maps.Keys(m.Trust)) {
		h.WriteString(class)
		score(m.Trust[class])
	}
	for _, w := range m.Confidence {
		fmt.Fprintf(&h, "|%d", int64(math.Round(w.Worth*scoreStep)))
	}
	return h.Sum64()
}

// A feedingTo tells one reader.
type feedingTo struct {
	s    *Server
	r    *feedReader
	send func(name string, seq int64, data any) error
}

// Feed implements api.Edge.
func (e *edgeDoor) Feed(ctx context.Context, start feed.Start, send func(name string, seq int64, data any) error) error {
	s, t := e.s, e.s.teller
	if err := s.fresh(); err != nil {
		return err
	}
	// First joined, then told: what changes meanwhile is told again.
	f := &feedingTo{s: s, r: t.join(), send: send}
	defer t.leave(f.r)
	start.Seq = s.follow.Seq()
	if err := send(feed.EventStart, start.Seq, start); err != nil {
		return err
	}
	if err := f.everything(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	ready, due, quiet := false, true, 0
	for {
		// What comes while this is told waits for the next turn: who is always changed must not keep a head from being told.
		n, seq := t.take(f.r, due)
		if err := f.tell(ctx, &n); err != nil {
			return err
		}
		if due {
			if s.fresh() == nil {
				name := feed.EventHead
				if !ready {
					name, ready = feed.EventReady, true
				}
				if err := send(name, seq, feed.Head{Seq: seq, At: s.now().UTC()}); err != nil {
					return err
				}
				quiet = 0
			} else if quiet++; quiet%silence == 0 {
				if err := send("", 0, nil); err != nil {
					return err
				}
			}
		}
		due = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			due = true
		case <-f.r.wake:
			select {
			case <-tick.C:
				due = true
			default:
			}
		}
	}
}

// everything tells the first picture, one piece after the other.
func (f *feedingTo) everything(ctx context.Context) error {
	if err := f.stops(); err != nil {
		return err
	}
	if err := f.policies(ctx); err != nil {
		return err
	}
	for after := authz.AgentID(""); ; {
		page := f.s.agents.After(after, 256)
		for _, a := range page {
			if err := f.agent(a.ID); err != nil {
				return err
			}
			after = a.ID
		}
		if len(page) == 0 {
			break
		}
	}
	if err := f.risk(f.s.risks.Alerts(), nil); err != nil {
		return err
	}
	for after := ""; ; {
		page := f.s.risks.Indicators("", after, riskPage)
		if err := f.risk(nil, page); err != nil || len(page) < riskPage {
			return err
		}
		after = page[len(page)-1].ID
	}
}

// tell tells what has changed, and what is urgent meanwhile.
func (f *feedingTo) tell(ctx context.Context, n *news) error {
	if err := f.urgent(ctx, n); err != nil {
		return err
	}
	told := 0
	for id := range n.agents {
		if err := f.agent(id); err != nil {
			return err
		}
		if told++; told%agentPage == 0 {
			more, _ := f.s.teller.take(f.r, false)
			if err := f.urgent(ctx, &more); err != nil {
				return err
			}
		}
	}
	return nil
}

// urgent tells what is urgent.
func (f *feedingTo) urgent(ctx context.Context, n *news) error {
	if n.stops {
		if err := f.stops(); err != nil {
			return err
		}
	}
	if n.standing != 0 {
		if err := f.send(feed.EventStanding, n.standing, feed.Standing{Seq: n.standing}); err != nil {
			return err
		}
	}
	if n.policies {
		if err := f.policies(ctx); err != nil {
			return err
		}
	}
	for id := range n.urgent {
		if err := f.agent(id); err != nil {
			return err
		}
	}
	var alerts []risk.Alert
	for id := range n.alerts {
		a, err := f.s.risks.Alert(id)
		if err != nil { // there is none any more
			a = risk.Alert{ID: id, Cleared: true}
		}
		alerts = append(alerts, a)
	}
	var indicators []risk.Indicator
	for id := range n.indicators {
		i, err := f.s.risks.Indicator(id)
		if err != nil {
			i = risk.Indicator{ID: id, Cleared: true}
		}
		indicators = append(indicators, i)
	}
	return f.risk(alerts, indicators)
}

// stops tells everything that is stopped.
func (f *feedingTo) stops() error {
	list, err := json.Marshal(f.s.stops.Standing())
	if err != nil {
		return err
	}
	return f.send(feed.EventStops, f.s.follow.Seq(), feed.Stops{Stops: list})
}

func (f *feedingTo) policies(ctx context.Context) error {
	var a feed.Active
	if set := f.s.library.Active(); set != nil {
		v, err := f.s.library.Version(ctx, set.Version())
		if err != nil {
			return fmt.Errorf("reading version %d: %w", set.Version(), err)
		}
		a = feed.Active{Version: v.Number, Digest: feed.Digest(v.SourceDigest, v.CatalogDigest)}
	}
	return f.send(feed.EventPolicies, a.Version, a)
}

func (f *feedingTo) agent(id authz.AgentID) error {
	a, err := f.s.agents.Agent(id)
	if errors.Is(err, authz.ErrNotFound) {
		return f.send(feed.EventForget, 0, feed.Forget{ID: id})
	} else if err != nil {
		return err
	}
	at := f.s.now()
	m := f.s.feedAgent(a, at)
	f.s.teller.told(f.r, id, outline(m), f.s.turn(id, at))
	return f.send(feed.EventAgent, a.AsOf, m)
}

// risk tells of alerts and indicators, some at a time.
func (f *feedingTo) risk(alerts []risk.Alert, indicators []risk.Indicator) error {
	for len(alerts) > 0 || len(indicators) > 0 {
		a, i := alerts[:min(len(alerts), riskPage)], indicators[:min(len(indicators), riskPage)]
		alerts, indicators = alerts[len(a):], indicators[len(i):]
		var m feed.Risk
		var err error
		if len(a) > 0 {
			if m.Alerts, err = json.Marshal(a); err != nil {
				return err
			}
		}
		if len(i) > 0 {
			if m.Indicators, err = json.Marshal(i); err != nil {
				return err
			}
		}
		if err := f.send(feed.EventRisk, f.s.follow.Seq(), m); err != nil {
			return err
		}
	}
	return nil
}
