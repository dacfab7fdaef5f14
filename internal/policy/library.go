package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Store is the durable side of a Library.
type Store interface {
	// PutDocument keeps a text under its digest. A digest that is taken has the same text.
	PutDocument(ctx context.Context, digest, text string) error

	// Document returns the text of a digest, or authz.ErrNotFound.
	Document(ctx context.Context, digest string) (string, error)

	// PutPolicyVersion keeps v unless its number is taken.
	PutPolicyVersion(ctx context.Context, v Version) error

	// PolicyVersions returns up to limit versions, the newest first, that come before the given number;
	// 0 means the newest of all.
	PolicyVersions(ctx context.Context, before int64, limit int) ([]Version, error)

	// PolicyVersion returns the version of that number, or authz.ErrNotFound.
	PolicyVersion(ctx context.Context, n int64) (Version, error)
}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// LibraryConfig is what a Library needs. Store and Log must be set.
type LibraryConfig struct {
	Store   Store
	Log     Committer
	Catalog catalog.Options

	// Keeps, if set, returns why a catalog cannot take the place of the active one, whatever it declares by itself.
	Keeps func(*catalog.Catalog) error
}

// A Version is one published pair of policies and catalog. It never changes: going back to an older
// pair makes the next version.
type Version struct {
	Number        int64     `json:"version"`
	At            time.Time `json:"at"`
	Author        string    `json:"author"`
	Message       string    `json:"message"`
	SourceDigest  string    `json:"source_digest"`
	CatalogDigest string    `json:"catalog_digest"`
	Restores      int64     `json:"restores,omitempty"` // the older version that was published again
	Seq           int64     `json:"seq"`                // number of the log entry that published it
}

// Texts are a version with what it consists of.
type Texts struct {
	Version
	Source  Source
	Catalog string
}

// A Publication is what somebody wants to be the next version. A part that is nil stays as the
// active version has it; before the first version, a missing part is an empty one.
type Publication struct {
	Source    *Source
	Catalog   []byte
	Author    string
	Message   string
	IfVersion int64 // the active version, as the author knows it; 0 if there is none
}

// A Library keeps the published versions, and says which one is active: the newest, always.
//
// Documents are stored under their digests before anything is recorded, and do nothing. One entry
// of the log names the digests of both parts and is the switch, which every replica follows. A pair
// that does not compile is refused before it is recorded, and again, alike on every replica, by
// whoever applies the entry.
//
// A Library is safe for concurrent use once loaded.
type Library struct {
	cfg    LibraryConfig
	active atomic.Pointer[published]

	compiling sync.Mutex // never held by those who decide, nor by who applies the log
	kept      shelf
}

type published struct {
	version Version
	set     *Set
}

// NewLibrary returns an empty library, to be loaded.
func NewLibrary(cfg LibraryConfig) *Library { return &Library{cfg: cfg} }

// Load reads and compiles the newest version. It must return before the library is used.
func (l *Library) Load(ctx context.Context) error {
	vs, err := l.cfg.Store.PolicyVersions(ctx, 0, 1)
	if err != nil {
		return fmt.Errorf("loading policies: %w", err)
	}
	if len(vs) == 0 {
		l.active.Store(nil)
		return nil
	}
	set, err := l.compiled(ctx, vs[0])
	if err != nil {
		return fmt.Errorf("loading policy version %d: %w", vs[0].Number, err)
	}
	l.active.Store(&published{vs[0], set})
	return nil
}

// Active returns the active version's set, nil if nothing is published.
func (l *Library) Active() *Set {
	if p := l.active.Load(); p != nil {
		return p.set
	}
	return nil
}

// change is the body of a policy.publish entry.
type change struct {
	Version   int64  `json:"version"`
	Source    string `json:"source"`  // digest
	Catalog   string `json:"catalog"` // digest
	Author    string `json:"author"`
	Message   string `json:"message"`
	IfVersion int64  `json:"if_version"`
	Restores  int64  `json:"restores,omitempty"`
}

// Publish makes p the next version. It returns authz.ErrInvalid and a *Problems or a
// *catalog.Problems if the pair does not compile, and authz.ErrConflict if another version than
// p.IfVersion is active.
func (l *Library) Publish(ctx context.Context, p Publication) (Version, error) {
	c := change{Version: p.IfVersion + 1, Author: p.Author, Message: p.Message, IfVersion: p.IfVersion}
	if err := c.check(l.current()); err != nil {
		return Version{}, err
	}
	var t Texts
	if active := l.active.Load(); active != nil {
		var err error
		if t, err = l.texts(ctx, active.version); err != nil {
			return Version{}, err
		}
	} else {
		t.Catalog = emptyCatalog
	}
	if p.Source != nil {
		t.Source = *p.Source
	}
	if p.Catalog != nil {
		t.Catalog = string(p.Catalog)
	}
	if ps := new(Problems); !withinBounds(t.Source, ps) { // before it is encoded
		return Version{}, ps
	}
	if msg := badText(t.Catalog); msg != "" {
		return Version{}, authz.Errorf(authz.ErrInvalid, "catalog: %s", msg)
	}
	source, err := json.Marshal(t.Source)
	if err != nil {
		return Version{}, fmt.Errorf("encoding policies: %w", err)
	}
	c.Source, c.Catalog = digest(string(source)), digest(t.Catalog)
	t.SourceDigest, t.CatalogDigest = c.Source, c.Catalog
	set, err := l.compile(t)
	if err != nil {
		return Version{}, err
	}
	if err := l.keeps(set); err != nil {
		return Version{}, err
	}
	for _, text := range [...]string{string(source), t.Catalog} {
		if err := l.cfg.Store.PutDocument(ctx, digest(text), text); err != nil {
			return Version{}, fmt.Errorf("keeping what is to be published: %w", err)
		}
	}
	return l.commit(ctx, c)
}

// emptyCatalog declares nothing.
const emptyCatalog = "{}\n"

// Rollback makes the pair of version n the next version. It returns authz.ErrNotFound if there is
// no such version, and authz.ErrConflict if another version than ifVersion is active; if that is 0,
// only if somebody publishes at the same time.
func (l *Library) Rollback(ctx context.Context, n, ifVersion int64, author, message string) (Version, error) {
	v, err := l.version(ctx, n)
	if err != nil {
		return Version{}, err
	}
	current := l.current()
	if ifVersion == 0 {
		ifVersion = current
	}
	c := change{
		Version: ifVersion + 1, Source: v.SourceDigest, Catalog: v.CatalogDigest,
		Author: author, Message: message, IfVersion: ifVersion, Restores: n,
	}
	if err := c.check(current); err != nil {
		return Version{}, err
	}
	set, err := l.compiled(ctx, v)
	if err != nil {
		return Version{}, err
	}
	if err := l.keeps(set); err != nil {
		return Version{}, err
	}
	return l.commit(ctx, c)
}

// keeps returns why a set cannot become the active one, if others need what its catalog lacks.
func (l *Library) keeps(set *Set) error {
	if l.cfg.Keeps == nil {
		return nil
	}
	return l.cfg.Keeps(set.Catalog())
}

// commit records c, whose documents are stored.
func (l *Library) commit(ctx context.Context, c change) (Version, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return Version{}, fmt.Errorf("encoding a publication: %w", err)
	}
	if _, err := l.cfg.Log.Commit(ctx, audit.Draft{Kind: audit.PolicyPublish, Actor: c.Author, Body: body}); err != nil {
		return Version{}, fmt.Errorf("publishing policies: %w", err)
	}
	return l.version(ctx, c.Version)
}

// Apply brings a policy.publish entry into effect. See audit.Applier.
func (l *Library) Apply(ctx context.Context, e audit.Entry) error {
	if e.Kind != audit.PolicyPublish {
		return nil
	}
	if p := l.active.Load(); p != nil && p.version.Seq >= e.Seq {
		return nil // seen before
	}
	var c change
	if err := json.Unmarshal(e.Body, &c); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	if err := c.check(l.current()); err != nil {
		return err
	}
	v := Version{
		Number: c.Version, At: e.At, Author: c.Author, Message: c.Message,
		SourceDigest: c.Source, CatalogDigest: c.Catalog, Restores: c.Restores, Seq: e.Seq,
	}
	// Whoever published v has compiled it already. Other replicas do so now: without waiting for
	// those who compile for other ends, since what follows in the log waits for this.
	set := l.kept.set(v)
	if set == nil {
		t, err := l.texts(ctx, v)
		if err != nil {
			return err
		}
		if set, err = l.build(t); err != nil {
			return err
		}
	}
	if err := l.cfg.Store.PutPolicyVersion(ctx, v); err != nil {
		return fmt.Errorf("keeping policy version %d: %w", v.Number, err)
	}
	l.active.Store(&published{v, set})
	return nil
}

// current returns the number of the active version, 0 if there is none.
func (l *Library) current() int64 {
	if p := l.active.Load(); p != nil {
		return p.version.Number
	}
	return 0
}

// check returns what is wrong with c when the given version is active. It depends on nothing else.
func (c *change) check(active int64) error {
	switch {
	case c.IfVersion != active:
		return authz.Errorf(authz.ErrConflict, "policy version %d is active, not %d", active, c.IfVersion)
	case c.Version != active+1 || c.Restores < 0 || c.Restores > active:
		return authz.Errorf(authz.ErrInvalid, "policy version %d cannot follow %d", c.Version, active)
	case c.Author == "" || len(c.Author) > maxAuthor || !plain(c.Author):
		return authz.Errorf(authz.ErrInvalid, "the author must be named, in at most %d bytes", maxAuthor)
	case strings.TrimSpace(c.Message) == "" || len(c.Message) > maxMessage || !plain(c.Message):
		return authz.Errorf(authz.ErrInvalid, "a message must say why, in at most %d bytes", maxMessage)
	}
	return nil
}

const (
	maxAuthor  = 200
	maxMessage = 4000
)

// plain reports whether s is text that every database keeps as it is.
func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// Versions returns up to limit versions, the newest first, that come before the given number; 0
// means the newest of all.
func (l *Library) Versions(ctx context.Context, before int64, limit int) ([]Version, error) {
	vs, err := l.cfg.Store.PolicyVersions(ctx, before, max(0, min(limit, 1000)))
	if err != nil {
		return nil, fmt.Errorf("listing policy versions: %w", err)
	}
	return vs, nil
}

// Version returns the texts of a version, or authz.ErrNotFound.
func (l *Library) Version(ctx context.Context, n int64) (Texts, error) {
	v, err := l.version(ctx, n)
	if err != nil {
		return Texts{}, err
	}
	return l.texts(ctx, v)
}

func (l *Library) version(ctx context.Context, n int64) (Version, error) {
	v, err := l.cfg.Store.PolicyVersion(ctx, n)
	if errors.Is(err, authz.ErrNotFound) {
		return Version{}, authz.Errorf(authz.ErrNotFound, "there is no policy version %d", n)
	} else if err != nil {
		return Version{}, fmt.Errorf("reading policy version %d: %w", n, err)
	}
	return v, nil
}

// Compiled returns the set of a version, or authz.ErrNotFound. An old version may not compile any
// more, if this program has become stricter: authz.ErrInvalid.
func (l *Library) Compiled(ctx context.Context, n int64) (*Set, error) {
	if p := l.active.Load(); p != nil && p.version.Number == n {
		return p.set, nil
	}
	v, err := l.version(ctx, n)
	if err != nil {
		return nil, err
	}
	return l.compiled(ctx, v)
}

// compiled returns v's set.
func (l *Library) compiled(ctx context.Context, v Version) (*Set, error) {
	if set := l.kept.set(v); set != nil {
		return set, nil
	}
	t, err := l.texts(ctx, v)
	if err != nil {
		return nil, err
	}
	return l.compile(t)
}

// compile compiles a pair, unless it is kept.
func (l *Library) compile(t Texts) (*Set, error) {
	l.compiling.Lock() // one at a time, for it takes memory
	defer l.compiling.Unlock()
	if set := l.kept.set(t.Version); set != nil {
		return set, nil
	}
	return l.build(t)
}

// build compiles a pair and keeps it for a while.
func (l *Library) build(t Texts) (*Set, error) {
	cat, err := l.cfg.Catalog.Parse("catalog.yaml", []byte(t.Catalog))
	if err != nil {
		return nil, err
	}
	set, err := Compile(t.Source, cat)
	if err != nil {
		return nil, err
	}
	set.version = t.Number
	l.kept.keep(t.Version, set)
	return set, nil
}

// texts reads the documents of v and makes sure that they are the ones that were published.
func (l *Library) texts(ctx context.Context, v Version) (Texts, error) {
	t := Texts{Version: v}
	source, err := l.document(ctx, v.SourceDigest)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal([]byte(source), &t.Source); err != nil {
		return t, fmt.Errorf("decoding document %s: %w", v.SourceDigest, err)
	}
	t.Catalog, err = l.document(ctx, v.CatalogDigest)
	return t, err
}

// document reads a document. That one is missing has no kind: it was stored before any entry could
// name it, so that whoever applies such an entry must wait rather than go on without it.
func (l *Library) document(ctx context.Context, want string) (string, error) {
	text, err := l.cfg.Store.Document(ctx, want)
	if errors.Is(err, authz.ErrNotFound) {
		return "", fmt.Errorf("document %s is missing", want)
	} else if err != nil {
		return "", fmt.Errorf("reading document %s: %w", want, err)
	}
	if digest(text) != want {
		return "", fmt.Errorf("document %s is not what was published", want)
	}
	return text, nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
