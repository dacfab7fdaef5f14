// Package figures counts what happened: decisions by their outcome, over time and by the purpose and the owner of
// agents, what persons were asked and how long they took, and how tasks went.
//
// What it knows is a function of the log, as of an entry, and so every replica counts the same and whoever has the log can
// count again. What is kept holds whole figures as of an entry, never what is to be added: whoever writes them twice, or
// reads them from two places, counts nothing twice. A process that starts goes on after the entry as of which they are kept.
//
// Everything is bounded: of names only the first so many of a day are counted by themselves, the others together.
// What is not in the log is not guessed: no figure says what an act was worth.
package figures

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Format is the version of what is kept, and of what is counted of the same entries. What has another is counted anew.
const Format = 2

// A Head says as of which entry figures are kept.
type Head struct {
	Seq    int64
	Format int64
	State  []byte // what is counted over longer than one row
}

// A Length is how long the time is that a row is about.
type Length string

// Lengths of rows. Those by group are of a day.
const (
	Minute Length = "minute"
	Hour   Length = "hour"
	Day    Length = "day"
)

// keeps is how long rows are kept.
var keeps = map[Length]time.Duration{Minute: 25 * time.Hour, Hour: 92 * 24 * time.Hour, Day: 3 * 366 * 24 * time.Hour}

// keepsGroups is how long those of a day by group are kept.
const keepsGroups = 400 * 24 * time.Hour

// A Row holds figures of a while.
type Row struct {
	Length Length
	Group  string // of a purpose and an owner; "" of all together
	From   time.Time
	Until  time.Time
	AsOf   int64 // number of the newest entry that is counted in it
	Record []byte
}

// A Forget says before when rows are forgotten.
type Forget struct {
	Before map[Length]time.Time
	Groups time.Time
}

// Store is the durable side of Figures. *store.DB is one.
type Store interface {
	// FiguresHead returns as of which entry figures are kept, the zero Head if none are.
	FiguresHead(ctx context.Context) (Head, error)
	// PutFigures keeps rows and makes next the head, all or nothing. It returns authz.ErrConflict, and does nothing,
	// if the head is not before next.
	PutFigures(ctx context.Context, next Head, rows []Row, forget Forget) error
	// ResetFigures forgets everything.
	ResetFigures(ctx context.Context) error
	// FigureRows returns the rows of a length that begin in a while, by when they begin: of all together, or by group.
	FigureRows(ctx context.Context, l Length, byGroup bool, from, to time.Time) ([]Row, error)
}

// A Config is what Figures need. Asks may be nil.
type Config struct {
	Store Store
	Log   interface { // *audit.Log
		Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error
		Entry(ctx context.Context, seq int64) (audit.Entry, error)
	}
	// Wait waits until the entry of a number is in effect. *audit.Follower does.
	Wait func(ctx context.Context, seq int64) error
	// Asks finds asks. *approval.Desk does.
	Asks interface {
		Get(ctx context.Context, id string) (*approval.Ask, error)
	}
	// Catalog returns the catalog of a published version. authz.ErrNotFound and authz.ErrInvalid mean for good that
	// there is none.
	Catalog func(ctx context.Context, version int64) (*catalog.Catalog, error)
	Now     func() time.Time // time.Now by default
	Logger  *slog.Logger     // silent by default
}

// Figures count. They are safe for concurrent use.
type Figures struct {
	cfg Config

	mu      sync.Mutex
	loaded  bool
	seq     int64 // of the newest entry that is counted
	kept    int64 // as of which entry all is kept
	changed int   // entries since
	zone    *time.Location
	open    map[Length]*span    // the newest of each length
	day     map[string]*group   // of the newest day
	dirty   map[rowKey]*row     // that are over and not kept yet
	tasks   map[taskKey]*task   // that are not over
	recent  map[int64]string    // groups of recent decisions, by their numbers
	order   []int64             // of recent
	seconds [secondsKept]second // how many decisions there were lately
	swept   int64               // minute in which tasks and journals were looked at
	uploads conduct.Journals    // whose records are in the log

	keeping sync.Mutex // held by who writes, before mu

	reports atomic.Int64 // under way
}

// New returns figures that know nothing yet: see Run.
func New(cfg Config) *Figures {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Figures{cfg: cfg}
	f.clear()
	return f
}

func (f *Figures) clear() {
	f.loaded, f.seq, f.kept, f.changed, f.zone = false, 0, 0, 0, time.UTC
	f.open, f.day, f.dirty, f.tasks = map[Length]*span{}, map[string]*group{}, map[rowKey]*row{}, map[taskKey]*task{}
	f.swept = 0
	f.recent, f.order, f.seconds, f.uploads = map[int64]string{}, nil, [secondsKept]second{}, conduct.Journals{}
}

// Seq returns the number of the newest entry that is counted.
func (f *Figures) Seq() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seq
}
