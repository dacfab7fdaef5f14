package approval

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Bounds of what a desk keeps.
const (
	maxPending      = 20_000    // asks that wait for an answer
	maxAgentPending = 200       // likewise, of one agent
	maxKept         = 100_000   // asks in memory: pending ones, those whose approvals hold, and those retained
	maxBytes        = 512 << 20 // of what agents say in them
	agentShare      = 20        // one agent may take 1/20 of maxKept, and likewise of maxBytes
	requesterShare  = 4         // likewise one requester, which may ask for many agents
	maxAways        = 10_000
)

// A Desk keeps the asks. It is safe for concurrent use once loaded.
type Desk struct {
	cfg      Config
	catalogs shelf

	seen    atomic.Int64 // time of the newest entry that was applied: microseconds since 1970
	kept    atomic.Int64 // how many asks are in memory; 0 lets Asks skip the lock
	horizon int64        // number of the newest entry that what was loaded knows of; constant once loaded
	covered int64        // number of an entry such that all that was loaded knows what became of it and those before; likewise

	mu         sync.RWMutex
	records    map[string]*record
	order      []string            // ids, in the order of the entries that asked
	open       []question          // those that are pending, in that order
	heard      []question          // those that have ended after somebody said something, in that order
	same       map[string][]string // what joined asks have in common -> ids
	keys       map[string]string   // Ask.Key -> id
	decisions  map[int64]string    // number of a decision -> id of the newest ask that names it
	grants     map[string]place
	accounts   map[string]*account // by accountOf
	requesters map[string]share
	booked     map[string]*booking // asks that this process is recording, by record.same
	aways      map[string]Away     // by person
	stood      map[string][]string // deputy -> persons whose newest absence names it, sorted
	pending    int64
	bytes      int64
	unsaved    map[string]bool // ids of asks whose newest version is not in the store yet
	lines      map[string]*line
	sweeping   sync.Mutex
	lastForget time.Time // under sweeping
}

// A place is where an approval was given.
type place struct {
	ask  string
	item int
}

// A record is an ask and what follows from it. Values are immutable once in the desk.
type record struct {
	ask      *Ask
	acts     []string // binding hash of each item
	same     string   // what asks that are joined to it have in common
	volatile []string // members of a context that do not count
	size     int64    // bytes that the asking side said
	unread   bool     // the catalog by which it is judged cannot be read any more: it only waits until it expires
}

// New returns an empty desk, to be loaded.
func New(cfg Config) *Desk {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Desk{cfg: cfg}
	d.catalogs.read = cfg.Catalog
	d.clear()
	return d
}

func (d *Desk) clear() {
	d.records, d.order, d.open, d.heard = map[string]*record{}, nil, nil, nil
	d.same, d.keys, d.decisions = map[string][]string{}, map[string]string{}, map[int64]string{}
	d.grants, d.accounts = map[string]place{}, map[string]*account{}
	d.requesters, d.booked = map[string]share{}, map[string]*booking{}
	d.aways, d.stood = map[string]Away{}, map[string][]string{}
	d.unsaved, d.lines = map[string]bool{}, map[string]*line{}
	d.pending, d.bytes, d.horizon, d.covered = 0, 0, 0, 0
	d.kept.Store(0)
}

// Load reads the stored asks. It must return before the desk is used. Absences are read first: an ask that
// is read later may know answers that were given because of one, never the other way round.
func (d *Desk) Load(ctx context.Context) error {
	newest, err := d.cfg.Store.AsksAsOf(ctx)
	if err != nil {
		return fmt.Errorf("finding the newest ask: %w", err)
	}
	aways, err := d.cfg.Store.Aways(ctx)
	if err != nil {
		return fmt.Errorf("loading absences: %w", err)
	}
	var all []*record
	const limit = 500
	for after := ""; ; {
		page, err := d.cfg.Store.OpenAsks(ctx, d.cfg.Now().Add(-Retention), after, limit)
		if err != nil {
			return fmt.Errorf("loading asks: %w", err)
		}
		for i := range page {
			r, err := d.loaded(ctx, &page[i])
			if err != nil {
				return fmt.Errorf("loading ask %s: %w", page[i].ID, err)
			}
			all = append(all, r)
		}
		if len(page) < limit {
			break
		}
		after = page[len(page)-1].ID
	}
	slices.SortFunc(all, func(a, b *record) int { return cmp.Compare(a.ask.Seq, b.ask.Seq) })

	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
	for _, r := range all {
		d.horizon = max(d.horizon, r.ask.AsOf)
		d.insert(r)
	}
	for _, a := range aways {
		d.horizon = max(d.horizon, a.AsOf)
		d.setAway(a)
	}
	d.covered = max(newest-1, 0)
	return nil
}

// Apply brings an entry into effect. It is an audit.Applier.
func (d *Desk) Apply(ctx context.Context, e audit.Entry) error {
	d.seen.Store(e.At.UnixMicro())
	if e.Seq <= d.covered && e.Kind != audit.ApprovalAsked && e.Kind != audit.ApprovalJoined {
		return nil // it has been judged, by who knew all that it depends on
	}
	var err error
	switch e.Kind {
	case audit.ApprovalAsked:
		err = d.applyAsked(ctx, e)
	case audit.ApprovalJoined:
		err = d.applyJoined(ctx, e)
	case audit.ApprovalViewed:
		err = applyTo(ctx, d, e, func(b *viewedBody) string { return b.Ask }, d.viewed)
	case audit.ApprovalAnswer:
		err = applyTo(ctx, d, e, func(b *answeredBody) string { return b.Ask }, d.answered)
	case audit.ApprovalMoved:
		err = applyTo(ctx, d, e, func(b *movedBody) string { return b.Ask }, d.moved)
	case audit.ApprovalReview:
		err = applyTo(ctx, d, e, func(b *reviewedBody) string { return b.Ask }, d.reviewed)
	case audit.ApprovalUsed:
		err = applyTo(ctx, d, e, func(b *usedBody) string { return b.Ask }, d.used)
	case audit.AwayPut:
		err = d.applyAway(ctx, e)
	case audit.PersonPut:
		err = d.applyPerson(ctx, e)
	}
	if err != nil {
		return verdict(e, err)
	}
	return nil
}

// A step changes a copy of an ask as an entry says, or returns why it changes nothing. It may look at
// nothing but the ask, the entry, the catalog of the ask's version, and absences by earlier entries.
type step[B any] func(ctx context.Context, a *Ask, e audit.Entry, body *B) error

// applyTo brings an entry about one ask into effect: first in the store, then in memory.
func applyTo[B any](ctx context.Context, d *Desk, e audit.Entry, ask func(*B) string, f step[B]) error {
	var body B
	if err := decode(e, &body); err != nil {
		return err
	}
	return d.change(ctx, e, ask(&body), true, func(a *Ask) error { return f(ctx, a, e, &body) })
}

// change makes the next version of an ask. If it is not to be saved at once, sweeping saves it soon, and a
// process that dies before reads the entry again.
func (d *Desk) change(ctx context.Context, e audit.Entry, id string, save bool, f func(*Ask) error) error {
	r := d.record(id)
	if r == nil {
		return authz.Errorf(authz.ErrNotFound, "there is no ask %.64q that can change", id)
	}
	if r.ask.AsOf >= e.Seq {
		return nil // seen before
	}
	a := r.ask.clone()
	if err := f(a); err != nil {
		return err
	}
	a.AsOf = e.Seq
	if a.Status != Pending && a.Ended == 0 {
		a.Ended, a.ClosedAt = e.Seq, e.At
	}
	if save {
		if err := d.cfg.Store.PutAsk(ctx, *a); err != nil {
			return fmt.Errorf("keeping ask %s: %w", a.ID, err)
		}
	}
	next := *r
	next.ask = a
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replace(r, &next)
	d.index(a)
	if d.unsaved[id] = !save; save {
		delete(d.unsaved, id)
	}
	return nil
}

// commit tries a step on a copy, as if its entry were the next one, records it, waits until it is in
// effect, and returns the ask as it stands then.
func commit[B any](ctx context.Context, d *Desk, kind audit.Kind, actor, id string, body *B, f step[B]) (*Ask, int64, error) {
	r := d.record(id)
	if r == nil {
		if _, err := d.Get(ctx, id); err != nil {
			return nil, 0, err
		}
		return nil, 0, authz.Errorf(authz.ErrConflict, "ask %s has ended long ago", id)
	}
	dr, err := draft(kind, actor, body)
	if err != nil {
		return nil, 0, err
	}
	if len(dr.Body) > maxBody {
		return nil, 0, authz.Errorf(authz.ErrInvalid, "this is too much: at most %d bytes", maxBody)
	}
	try := audit.Entry{Seq: math.MaxInt64, At: d.cfg.Now().UTC(), Kind: kind, Actor: actor, Body: dr.Body}
	if err := f(ctx, r.ask.clone(), try, body); err != nil {
		return nil, 0, err
	}
	seq, err := d.cfg.Log.Commit(ctx, dr)
	if err != nil {
		return nil, seq, fmt.Errorf("recording %s: %w", kind, err)
	}
	a, err := d.Get(ctx, id)
	return a, seq, err
}

func (d *Desk) record(id string) *record {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.records[id]
}

// Get returns the ask of that id, also an ended one, or authz.ErrNotFound. One whose time is over has
// expired, whether or not an entry says so yet.
func (d *Desk) Get(ctx context.Context, id string) (*Ask, error) {
	if r := d.record(id); r != nil {
		return r.ask.at(d.cfg.Now()), nil
	}
	if checkName("the id of an ask", id) != nil {
		return nil, authz.Errorf(authz.ErrNotFound, "there is no ask %.64q", id)
	}
	a, err := d.cfg.Store.Ask(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("finding an ask: %w", err)
	}
	return a.at(d.cfg.Now()), nil
}

// A shelf keeps the catalogs of the newest versions that were asked for.
type shelf struct {
	read func(ctx context.Context, version int64) (*catalog.Catalog, error)
	mu   sync.Mutex
	by   map[int64]*catalog.Catalog
}

func (s *shelf) catalog(ctx context.Context, version int64) (*catalog.Catalog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.by[version]; c != nil {
		return c, nil
	}
	if version <= 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "an ask names the version of the catalog by which it is judged")
	}
	c, err := s.read(ctx, version)
	if err != nil {
		return nil, fmt.Errorf("reading the catalog of version %d: %w", version, err)
	}
	const most = 32
	if s.by == nil || len(s.by) >= most {
		s.by = map[int64]*catalog.Catalog{}
	}
	s.by[version] = c
	return c, nil
}
