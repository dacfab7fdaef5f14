package live

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// A Filter selects events, and what is told of asks. An empty list selects all.
type Filter struct {
	Types   []string
	Agent   string
	Effects []string // of decisions

	// Reads reports whether the reader may read an ask, now. It is called for each event about one; nil: none.
	Reads func(ask string) bool
}

// text returns an event as the reader may read it.
func (f *Filter) text(ev *Event) []byte {
	if a, ok := ev.Data.(*Approval); ok && (f.Reads == nil || !f.Reads(a.Ask)) {
		return Text(ev.Type, a.outline())
	}
	return ev.whole()
}

func (f *Filter) selects(ev *Event) bool {
	return (len(f.Types) == 0 || slices.Contains(f.Types, ev.Type)) &&
		(f.Agent == "" || f.Agent == ev.Agent) &&
		(len(f.Effects) == 0 || ev.Type != TypeDecision || slices.Contains(f.Effects, ev.Effect))
}

// MaxRate is how many decisions a second a reader may ask for.
const MaxRate = 1000

// A Reader goes along what happens. It is for one goroutine.
type Reader struct {
	hub    *Hub
	filter Filter
	rate   int       // decisions a second; 0: all
	at     int64     // how many items of the hub it has passed
	seq    int64     // of the newest entry that it has passed
	tokens float64   // how many decisions may be told at once: those of a fifth of a second at most, so that they come evenly
	filled time.Time // when tokens were
	second time.Time // when the second began of which count speaks
	count  Sample
}

// A Sample says how many decisions were told in a second, of how many.
type Sample struct {
	Seq  int64            `json:"seq"` // of the newest entry that was taken in
	Told int              `json:"told"`
	Of   int              `json:"of"`
	By   map[string]Count `json:"by"` // effect
}

// A Count says how many were told, of how many.
type Count struct {
	Told int `json:"told"`
	Of   int `json:"of"`
}

// A Gap says of which entries nothing was told, or nothing of some types.
type Gap struct {
	From    int64    `json:"from"`    // number of the first
	To      int64    `json:"to"`      // number of the last
	Entries int64    `json:"entries"` // how many that are, of all kinds
	Types   []string `json:"types,omitempty" doc:"of which types nothing was told; all, if left out"`
}

// Read returns a reader of what happens from now on, and of at most rate decisions a second; of all, if rate is 0.
func (h *Hub) Read(f Filter, rate int) *Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &Reader{hub: h, filter: f, rate: min(rate, MaxRate), at: h.first + int64(len(h.kept)), seq: h.seq, tokens: max(1, float64(rate)/5)}
}

// Seq returns the number of the newest entry that the reader has passed, or begins after.
func (r *Reader) Seq() int64 { return r.seq }

// Past finds entries of the log. *audit.Index does.
type Past interface {
	Find(ctx context.Context, q audit.Query) ([]audit.Entry, error)
}

// Bounds of what is told of the past.
const (
	MaxLast    = 200  // decisions that a reader may begin with
	maxMissed  = 1000 // entries that are read from the log
	oneReading = 50   // entries that are read at once, and whose bodies are held meanwhile
)

// Last appends the newest n decisions that the reader selects.
func (r *Reader) Last(ctx context.Context, b []byte, past Past, n int) ([]byte, error) {
	if len(r.filter.Types) > 0 && !slices.Contains(r.filter.Types, TypeDecision) || n <= 0 {
		return b, nil
	}
	n = min(n, MaxLast)
	effects := r.filter.Effects
	if len(effects) == 0 {
		effects = []string{""}
	}
	var found []*Event
	for _, effect := range effects {
		q := audit.Query{Kind: audit.DecisionMade, Agent: r.filter.Agent, Outcome: effect, Before: r.seq + 1, Limit: oneReading}
		for had, read := len(found), 0; len(found)-had < n && read < maxMissed; {
			es, err := past.Find(ctx, q)
			if err != nil {
				return b, err
			}
			for _, e := range es {
				if ev := eventOf(e, nil); ev != nil && r.filter.selects(ev) { // listings are not
					found = append(found, ev)
				}
				q.Before = e.Seq
			}
			if read += len(es); len(es) < q.Limit {
				break
			}
		}
	}
	slices.SortFunc(found, func(a, b *Event) int { return cmp.Compare(b.Seq, a.Seq) })
	found = slices.CompactFunc(found, func(a, b *Event) bool { return a.Seq == b.Seq })
	found = found[:min(n, len(found))]
	for _, ev := range slices.Backward(found) {
		b = r.append(b, ev)
	}
	return b, nil
}

// Resume goes back to an entry and appends what has happened since, as far as it is no longer in the memory of
// the hub: of up to maxMissed entries of the log and maxBytes of their bodies, and of the others a gap. What monitors
// concluded is not in the log. An attempt that changed nothing is told like a change. authz.ErrInvalid: the log is not that long.
func (r *Reader) Resume(ctx context.Context, b []byte, past Past, after int64) ([]byte, error) {
	h := r.hub
	h.mu.Lock()
	if after < 0 || after > h.seq {
		h.mu.Unlock()
		return b, authz.Errorf(authz.ErrInvalid, "Last-Event-ID: the log has no entry %d yet", after)
	}
	since := h.since
	i, _ := slices.BinarySearchFunc(h.kept, after+1, func(it *item, seq int64) int {
		switch {
		case it.entry.Seq < seq:
			return -1
		case it.entry.Seq > seq:
			return 1
		}
		return 0
	})
	r.at, r.seq = h.first+int64(i), after
	h.mu.Unlock()
	if after >= since {
		return b, nil
	}
	missed, from, err := r.missed(ctx, past, after, since)
	if err != nil {
		return b, err
	}
	if from > after+1 {
		b = appendGap(b, Gap{From: after + 1, To: from - 1})
	}
	signals := slices.DeleteFunc([]string{monitor.SignalFinding, monitor.SignalTrust, monitor.SignalQuarantine}, func(t string) bool {
		return len(r.filter.Types) > 0 && !slices.Contains(r.filter.Types, t)
	})
	if len(signals) > 0 && from <= since {
		b = appendGap(b, Gap{From: from, To: since, Types: signals})
	}
	for _, ev := range slices.Backward(missed) {
		b = r.append(b, ev)
	}
	r.seq = since
	return b, nil
}

// missed returns what there is to tell of the entries after one and up to another, newest first, and the number of the
// first entry that was read: those before are too many, or too large. The bodies of few are held at once.
func (r *Reader) missed(ctx context.Context, past Past, after, since int64) (events []*Event, from int64, err error) {
	from = since + 1
	for entries, bytes := 0, 0; from > after+1 && entries < maxMissed; {
		es, err := past.Find(ctx, audit.Query{Before: from, After: after, Limit: min(oneReading, maxMissed-entries)})
		if err != nil {
			return nil, 0, err
		}
		for _, e := range es {
			if bytes += len(e.Body); bytes > maxBytes {
				return events, from, nil
			}
			if ev := eventOf(e, r.hub.cfg.Asks); ev != nil && r.filter.selects(ev) {
				events = append(events, ev)
			}
			from = e.Seq
		}
		if entries += len(es); len(es) == 0 {
			break
		}
	}
	return events, from, nil
}

// append appends an event of the past, after which a reader that comes back goes on.
func (r *Reader) append(b []byte, ev *Event) []byte {
	b = append(append(append(b, "id: "...), itoa(ev.Seq)...), '\n')
	return append(b, r.filter.text(ev)...)
}

// appendGap appends a gap, after which a reader that comes back goes on.
func appendGap(b []byte, g Gap) []byte {
	g.Entries = g.To - g.From + 1
	if len(g.Types) == 0 {
		b = append(append(append(b, "id: "...), itoa(g.To)...), '\n')
	}
	return append(b, Text("gap", g)...)
}

// Grown returns a channel that is closed when there may be more than the reader has passed.
func (r *Reader) Grown() <-chan struct{} {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.at < h.first+int64(len(h.kept)) {
		return closed
	}
	return h.grown
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Take appends what has happened since, and how many decisions were told in the second that is over, if one
// is and the reader is told a part. What the reader was too slow for is a gap.
func (r *Reader) Take(b []byte, now time.Time) []byte {
	h := r.hub
	h.mu.Lock()
	if r.at < h.first { // what the reader has not come to is dropped
		g := Gap{From: r.seq + 1, To: h.since}
		r.at, r.seq = h.first, h.since
		b = appendGap(b, g)
	}
	news := h.kept[r.at-h.first:] // dropping an item does not move the others
	items := make([]*item, len(news))
	copy(items, news)
	r.at, r.seq = h.first+int64(len(h.kept)), h.seq
	h.mu.Unlock()

	b = r.sample(b, now)
	var some []*Event // decisions
	if r.rate > 0 {
		for _, it := range items {
			for _, ev := range it.all() {
				if ev.Type == TypeDecision && r.filter.selects(ev) {
					some = append(some, ev)
				}
			}
		}
		some = r.choose(some, now)
	}
	for _, it := range items {
		rest := it.all()
		last := -1
		for i, ev := range rest {
			if r.tells(ev, some) {
				last = i
			}
		}
		for i, ev := range rest[:last+1] {
			if !r.tells(ev, some) {
				continue
			}
			// Who comes back is told of an entry whole: only the last event of it bears its number.
			if i == last {
				b = append(append(append(b, "id: "...), itoa(it.entry.Seq)...), '\n')
			}
			b = append(b, r.filter.text(ev)...)
		}
		if len(some) > 0 && last >= 0 && slices.Contains(rest, some[0]) {
			some = some[1:]
		}
	}
	return b
}

// tells reports whether an event is told: some are the chosen decisions that were not told yet, in order.
func (r *Reader) tells(ev *Event, some []*Event) bool {
	if r.rate > 0 && ev.Type == TypeDecision {
		return len(some) > 0 && some[0] == ev
	}
	return r.filter.selects(ev)
}

// choose returns the decisions that are told, and counts. If not all can be, three in four are refusals, if
// there are so many; of each the choice is spread evenly.
func (r *Reader) choose(all []*Event, now time.Time) []*Event {
	rate := float64(r.rate)
	if !r.filled.IsZero() {
		r.tokens = min(max(1, rate/5), r.tokens+rate*now.Sub(r.filled).Seconds())
	}
	r.filled = now
	most, refused := min(int(r.tokens), r.rate-r.count.Told), 0
	for _, ev := range all {
		r.seen(ev, 0, 1)
		if ev.Effect != allow {
			refused++
		}
	}
	chosen := all
	if len(all) > most {
		c := r.count
		ours := (3*(c.Told+most)+3)/4 - (c.Told - c.By[allow].Told) // what is left of three quarters
		refusals := min(refused, max(most-(len(all)-refused), min(most, max(0, ours))))
		chosen = slices.Concat(spread(all, refused, refusals, func(ev *Event) bool { return ev.Effect != allow }),
			spread(all, len(all)-refused, most-refusals, func(ev *Event) bool { return ev.Effect == allow }))
		slices.SortFunc(chosen, func(a, b *Event) int { return int(a.Seq - b.Seq) })
	}
	r.tokens -= float64(len(chosen))
	for _, ev := range chosen {
		r.seen(ev, 1, 0)
	}
	return chosen
}

var allow = authz.Allow.String()

// spread returns k of the n events for which f holds.
func spread(all []*Event, n, k int, f func(*Event) bool) (chosen []*Event) {
	i := 0
	for _, ev := range all {
		if !f(ev) {
			continue
		}
		if (i+1)*k/n > i*k/n {
			chosen = append(chosen, ev)
		}
		i++
	}
	return chosen
}

func (r *Reader) seen(ev *Event, told, of int) {
	if r.count.By == nil {
		r.count.By = map[string]Count{}
	}
	c := r.count.By[ev.Effect]
	r.count.By[ev.Effect] = Count{c.Told + told, c.Of + of}
	r.count.Told, r.count.Of = r.count.Told+told, r.count.Of+of
}

// sample appends the count of the second that is over.
func (r *Reader) sample(b []byte, now time.Time) []byte {
	if r.rate == 0 || now.Sub(r.second) < time.Second {
		return b
	}
	if r.count.Of > 0 {
		r.count.Seq = r.seq
		b = append(b, Text("sample", &r.count)...)
	}
	r.second, r.count = now, Sample{}
	return b
}

// Due returns how long to wait for the end of the second whose count is to be told; 0 if there is none.
func (r *Reader) Due(now time.Time) time.Duration {
	if r.rate == 0 || r.count.Of == 0 {
		return 0
	}
	return max(time.Millisecond, r.second.Add(time.Second).Sub(now))
}
