package enforcement

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Run is a stretch of a journal whose records follow one another in the log, too: record First+i is the entry Seq+i.
type Run struct {
	Caller  string // of the entries: edge:NAME
	Journal string
	First   int64 // number of its first record in the journal
	Count   int64
	Seq     int64 // number of the entry of the first record
}

// LedgerStore is the durable side of a Ledger.
type LedgerStore interface {
	// Runs returns all runs, by caller, journal and number.
	Runs(ctx context.Context) ([]Run, error)
	// PutRuns first forgets of each journal that drop names the runs that begin before a number, and then keeps
	// runs, each unless it is kept longer already. All or nothing.
	PutRuns(ctx context.Context, put []Run, drop []Drop) error
}

// A Drop is what is to be forgotten of a journal.
type Drop struct {
	Caller, Journal string
	Before          int64 // first numbers of runs below it
}

// Bounds of a ledger.
const (
	maxRuns     = 65_536      // of a journal: outcomes of older decisions find them no more
	maxHeld     = 4 * maxRuns // of all journals of a caller; of more, those of the journal that was written least lately go
	maxJournals = 1024        // of a caller; of more, the one that was written least lately is forgotten
	maxCallers  = 1024
)

// A Ledger knows how far the journals of decision points elsewhere have come into the log: every record is one entry, and of two
// entries of one number the first counts. That is the whole of "exactly once": whoever recorded the second is told
// authz.ErrConflict by every replica alike, and the entry stands in the log as an attempt that changed nothing.
//
// It is safe for concurrent use once loaded.
type Ledger struct {
	store LedgerStore

	mu      sync.RWMutex
	callers map[string]map[string]*journal
	held    map[string]int          // runs, by caller
	dirty   map[journalKey]*journal // not kept yet
	gone    map[journalKey]bool     // forgotten, and still kept
	seq     int64                   // of the newest entry that was taken in
	void    int64                   // the newest entry that does not count
	writing int64                   // the first entry that is being written; 0: none is
	keeping sync.Mutex              // held by who writes, before mu
}

type journalKey struct{ caller, journal string }

// A journal is what is known of one. It is never empty.
type journal struct {
	runs  []stretch
	fresh int // index of the first run that is not kept as it is
	cut   int64
}

// A stretch is a Run of a journal that is known.
type stretch struct{ first, count, seq int64 }

func (j *journal) last() (number, seq int64) {
	r := &j.runs[len(j.runs)-1]
	return r.first + r.count - 1, r.seq + r.count - 1
}

// NewLedger returns an empty ledger, to be loaded.
func NewLedger(store LedgerStore) *Ledger {
	return &Ledger{store: store, callers: map[string]map[string]*journal{}, held: map[string]int{}, dirty: map[journalKey]*journal{}, gone: map[journalKey]bool{}}
}

// Load reads what is kept. It must return before the ledger is used.
func (l *Ledger) Load(ctx context.Context) error {
	runs, err := l.store.Runs(ctx)
	if err != nil {
		return fmt.Errorf("loading journals of decision points: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.callers)
	clear(l.held)
	for _, r := range runs {
		j := l.journal(r.Caller, r.Journal)
		if j == nil {
			j = &journal{}
			l.add(journalKey{r.Caller, r.Journal}, j)
		}
		j.runs = append(j.runs, stretch{r.First, r.Count, r.Seq})
		j.fresh = len(j.runs)
		l.held[r.Caller]++
	}
	return nil
}

func (l *Ledger) journal(caller, name string) *journal { return l.callers[caller][name] }

// add takes a journal in. The caller holds l.mu.
func (l *Ledger) add(k journalKey, j *journal) {
	if l.callers[k.caller] == nil {
		l.callers[k.caller] = map[string]*journal{}
	}
	l.callers[k.caller][k.journal] = j
}

// Apply takes in what came out of a journal. See audit.Applier.
func (l *Ledger) Apply(_ context.Context, e audit.Entry) error {
	err := l.apply(&e)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq = max(l.seq, e.Seq)
	return err
}

func (l *Ledger) apply(e *audit.Entry) error {
	switch e.Kind {
	case audit.DecisionMade, audit.OutcomeReported, audit.EdgeRefused:
	default:
		return nil
	}
	if !strings.HasPrefix(e.Actor, "edge:") {
		return nil
	}
	var in struct {
		Edge *struct {
			Journal string `json:"journal"`
			Number  int64  `json:"number"`
		} `json:"edge"`
	}
	if err := json.Unmarshal(e.Body, &in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil { // it is in the log as it is
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	if in.Edge == nil || in.Edge.Number < 1 || in.Edge.Journal == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.take(journalKey{e.Actor, in.Edge.Journal}, in.Edge.Number, e.Seq)
}

// take takes in a record. The caller holds l.mu.
func (l *Ledger) take(k journalKey, number, seq int64) error {
	j := l.journal(k.caller, k.journal)
	last, lastSeq := int64(0), int64(0)
	if j != nil {
		last, lastSeq = j.last()
	}
	switch {
	case number <= last && j.seqOf(number) == seq:
		return nil // seen before
	case number != last+1 || seq <= lastSeq:
		l.void = max(l.void, seq)
		return authz.Errorf(authz.ErrConflict, "record %d of journal %.64q is in the log already, or out of turn: the last is %d", number, k.journal, last)
	case j == nil:
		l.room(k.caller)
		j = &journal{}
		l.add(k, j)
	}
	if n := len(j.runs); n > 0 && seq == lastSeq+1 {
		j.runs[n-1].count++
		j.fresh = min(j.fresh, n-1)
	} else {
		j.runs = append(j.runs, stretch{number, 1, seq})
		j.fresh = min(j.fresh, n)
		l.held[k.caller]++
	}
	if over := len(j.runs) - maxRuns; over >= maxRuns/16 { // not one by one
		j.runs = slices.Delete(j.runs, 0, over)
		j.fresh, j.cut = max(0, j.fresh-over), j.runs[0].first
		l.held[k.caller] -= over
	}
	l.dirty[k] = j
	if l.held[k.caller] > maxHeld { // the journal alone has less: there is another
		l.forget(journalKey{k.caller, oldest(l.callers[k.caller])})
	}
	return nil
}

// room makes room for one more journal of a caller, and for one more caller. The caller holds l.mu.
func (l *Ledger) room(caller string) {
	if l.callers[caller] == nil && len(l.callers) >= maxCallers {
		stale, at := "", int64(0)
		for c, js := range l.callers {
			newest := int64(0)
			for _, j := range js {
				_, seq := j.last()
				newest = max(newest, seq)
			}
			if stale == "" || newest < at {
				stale, at = c, newest
			}
		}
		for name := range l.callers[stale] {
			l.forget(journalKey{stale, name})
		}
		delete(l.callers, stale)
	}
	if js := l.callers[caller]; len(js) >= maxJournals {
		l.forget(journalKey{caller, oldest(js)})
	}
}

// oldest returns the journal that was written least lately.
func oldest(js map[string]*journal) (name string) {
	at := int64(0)
	for n, j := range js {
		if _, seq := j.last(); name == "" || seq < at {
			name, at = n, seq
		}
	}
	return name
}

func (l *Ledger) forget(k journalKey) {
	if l.held[k.caller] -= len(l.callers[k.caller][k.journal].runs); l.held[k.caller] == 0 {
		delete(l.held, k.caller)
	}
	delete(l.callers[k.caller], k.journal)
	delete(l.dirty, k)
	l.gone[k] = true
}

// seqOf returns the entry of a record, 0 if it is not known (any more).
func (j *journal) seqOf(number int64) int64 {
	i, found := slices.BinarySearchFunc(j.runs, number, func(r stretch, n int64) int {
		switch {
		case r.first+r.count <= n:
			return -1
		case r.first > n:
			return 1
		}
		return 0
	})
	if !found {
		return 0
	}
	return j.runs[i].seq + number - j.runs[i].first
}

// Last returns the number of the newest record of a journal that is in the log, 0 if there is none.
func (l *Ledger) Last(caller, name string) int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if j := l.journal(caller, name); j != nil {
		last, _ := j.last()
		return last
	}
	return 0
}

// Seq returns the number of the entry of a record, 0 if it is in none or that is not known any more.
func (l *Ledger) Seq(caller, name string, number int64) int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if j := l.journal(caller, name); j != nil {
		return j.seqOf(number)
	}
	return 0
}

// Void reports whether the entry that was taken in last is a record that does not count, because another was before it.
func (l *Ledger) Void(seq int64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.void == seq
}

// Kept returns the number of an entry such that what is kept holds all up to it.
func (l *Ledger) Kept() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.kept()
}

// kept is Kept for who holds l.mu.
func (l *Ledger) kept() int64 {
	kept := l.seq
	if l.writing > 0 {
		kept = min(kept, l.writing-1)
	}
	for _, j := range l.dirty {
		if j.fresh < len(j.runs) {
			r := &j.runs[j.fresh]
			kept = min(kept, r.seq-1)
		}
	}
	return kept
}

// Run keeps what was taken in, every second until ctx ends, and then once more.
func (l *Ledger) Run(ctx context.Context, warn func(error)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := l.Keep(ctx); err != nil && ctx.Err() == nil {
				warn(err)
			}
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := l.Keep(end); err != nil {
				warn(err) // the next start reads it from the log
			}
			return nil
		}
	}
}

// Keep writes what is not kept yet.
func (l *Ledger) Keep(ctx context.Context) error {
	l.keeping.Lock()
	defer l.keeping.Unlock()
	l.mu.Lock()
	var put []Run
	var drop []Drop
	l.writing = l.kept() + 1
	from := make(map[journalKey]int64, len(l.dirty)) // numbers with which what is written begins
	for k, j := range l.dirty {
		for _, r := range j.runs[j.fresh:] {
			put = append(put, Run{k.caller, k.journal, r.first, r.count, r.seq})
		}
		if j.fresh < len(j.runs) {
			from[k] = j.runs[j.fresh].first
		}
		if j.cut > 0 {
			drop = append(drop, Drop{k.caller, k.journal, j.cut})
			j.cut = 0
		}
		j.fresh = len(j.runs)
	}
	for k := range l.gone {
		drop = append(drop, Drop{k.caller, k.journal, 1<<63 - 1})
	}
	dirty, gone := l.dirty, l.gone
	l.dirty, l.gone = map[journalKey]*journal{}, map[journalKey]bool{}
	l.mu.Unlock()
	slices.SortFunc(put, func(a, b Run) int { // one order, so that replicas do not wait for each other in a circle
		if c := strings.Compare(a.Caller+"\x00"+a.Journal, b.Caller+"\x00"+b.Journal); c != 0 {
			return c
		}
		return int(min(1, max(-1, a.First-b.First)))
	})
	slices.SortFunc(drop, func(a, b Drop) int { return strings.Compare(a.Caller+"\x00"+a.Journal, b.Caller+"\x00"+b.Journal) })
	var err error
	if len(put) > 0 || len(drop) > 0 {
		err = l.store.PutRuns(ctx, put, drop)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = 0
	if err == nil {
		return nil
	}
	for k, j := range dirty {
		if l.journal(k.caller, k.journal) == j {
			for j.fresh > 0 && from[k] > 0 && j.runs[j.fresh-1].first >= from[k] { // again
				j.fresh--
			}
			j.cut = j.runs[0].first
			l.dirty[k] = j
		}
	}
	maps.Copy(l.gone, gone)
	return fmt.Errorf("keeping journals of decision points: %w", err)
}

// Journals returns how many journals are known.
func (l *Ledger) Journals() (n int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for js := range maps.Values(l.callers) {
		n += len(js)
	}
	return n
}
