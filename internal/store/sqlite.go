package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	driverlite "modernc.org/sqlite"
	lite3 "modernc.org/sqlite/lib"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/lockfile"
)

// applicationID marks a SQLite file as ours: "SFCD".
const applicationID = 0x53464344

// sqlite is what only an open SQLite database has.
type sqlite struct {
	path     string
	lock     *os.File // held as long as the database may be written; nil if it is read-only
	maxPages atomic.Int64
}

func (l *sqlite) close() error {
	if l.lock == nil {
		return nil
	}
	return l.lock.Close() // and with it the lock is gone
}

func (db *DB) openSQLite(ctx context.Context) error {
	path, err := filepath.Abs(db.cfg.SQLite)
	if err != nil {
		return err
	}
	db.lite = &sqlite{path: path}
	db.d = dialect{name: "sqlite", isUnique: liteUnique, isDown: liteDown, isRace: func(error) bool { return false }}
	useFdatasync()

	if db.cfg.ReadOnly {
		if _, err := os.Stat(path); err != nil {
			return authz.Errorf(authz.ErrInvalid, "%w", err)
		}
	} else if err := db.takeFile(path); err != nil {
		return err
	}
	if db.w, err = db.lite.pool(db.mode(), 1); err != nil {
		return err
	}
	err = db.claimFile(ctx)
	if db.cfg.ReadOnly && liteCode(err)&0xff == lite3.SQLITE_CANTOPEN {
		err = db.openFrozen(ctx)
	}
	if err != nil {
		return err
	}
	if db.cfg.ReadOnly {
		db.w.SetMaxOpenConns(db.readers(4))
		db.r = db.w
		return nil
	}
	if err := db.LimitSize(ctx, db.cfg.MaxBytes); err != nil {
		return err
	}
	db.r, err = db.lite.pool(readMode, db.readers(4))
	return err
}

func (db *DB) readers(byDefault int) int {
	if db.cfg.Readers > 0 {
		return db.cfg.Readers
	}
	return byDefault
}

// takeFile creates what is missing, for the owner alone, and takes the lock.
func (db *DB) takeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := lockfile.Take(lock); err != nil {
		b, _ := os.ReadFile(path + ".lock")
		lock.Close()
		if errors.Is(err, lockfile.ErrTaken) {
			by := ""
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				by = fmt.Sprintf(" (process %d)", pid)
			}
			return authz.Errorf(authz.ErrConflict, "%s is in use by another process%s: one data directory, one server", path, by)
		}
		return fmt.Errorf("locking %s.lock: %w", path, err)
	}
	db.lite.lock = lock
	lock.Truncate(0) // the number is a help to people; the lock is what counts
	lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)

	// SQLite would create it readable by all, and gives -wal and -shm the file's own permissions.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// openFrozen opens a database in a directory that we may not write to, where SQLite cannot put the
// files by which readers and a writer agree. Without a write-ahead log there is no writer: one that
// runs has it open, and one that was killed has left it behind.
func (db *DB) openFrozen(ctx context.Context) error {
	if st, err := os.Stat(db.lite.path + "-wal"); err == nil && st.Size() > 0 {
		return authz.Errorf(authz.ErrInvalid, "%s has a write-ahead log and lies where nothing can be written: copy both files, while no server runs, to where they can be read", db.lite.path)
	}
	db.w.Close()
	var err error
	if db.w, err = db.lite.pool(frozenMode, 1); err != nil {
		return err
	}
	return db.claimFile(ctx)
}

// claimFile makes sure that the file is a database, and ours.
func (db *DB) claimFile(ctx context.Context) error {
	if err := checkHeader(db.lite.path); err != nil {
		return err
	}
	var id, tables int64
	err := db.w.QueryRowContext(ctx, `select (select application_id from pragma_application_id), (select count(*) from sqlite_master)`).Scan(&id, &tables)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", db.lite.path, err)
	case id == applicationID:
		return nil
	case id != 0 || tables > 0 || db.cfg.ReadOnly:
		return authz.Errorf(authz.ErrInvalid, "%s is a SQLite database, but not one of safeconduct", db.lite.path)
	}
	_, err = db.w.ExecContext(ctx, `pragma application_id = `+strconv.Itoa(applicationID))
	return err
}

// checkHeader refuses what is no SQLite database. SQLite would take a very short file for an empty
// one, and write over it.
func checkHeader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, 16)
	switch n, err := io.ReadFull(f, header); {
	case err == io.EOF:
		return nil // empty
	case err != nil && err != io.ErrUnexpectedEOF:
		return err
	case string(header[:n]) != "SQLite format 3\x00":
		return authz.Errorf(authz.ErrInvalid, "%s is not a SQLite database", path)
	}
	return nil
}

// What connections of a pool may do.
const (
	writeMode  = "rw"
	readMode   = "ro"
	frozenMode = "frozen" // read a file that nobody writes
)

func (db *DB) mode() string {
	if db.cfg.ReadOnly {
		return readMode
	}
	return writeMode
}

// pool opens connections of one mode to the file, at most n of them.
func (l *sqlite) pool(mode string, n int) (*sql.DB, error) {
	q := url.Values{
		"mode":          {mode},
		"_busy_timeout": {"2000"}, // nobody else writes, unless somebody repairs something by hand
		"_foreign_keys": {"1"},
		"_dqs":          {"0"},
		"_defensive":    {"1"},
		"_error_rc":     {"1"},
	}
	if mode == frozenMode {
		q.Set("mode", readMode)
		q.Set("immutable", "1")
	}
	if mode == writeMode {
		q.Set("_txlock", "immediate") // a transaction that begins by reading must not fail at its first write
		q.Set("_journal_mode", "wal")
		q.Set("_synchronous", "full")
		// Flush the disk's own cache too where fsync does not (macOS); nothing elsewhere.
		q["_pragma"] = []string{
			"fullfsync(1)", "checkpoint_fullfsync(1)",
			"journal_size_limit(67108864)",
			"cache_size(-16000)",
		}
	}
	p := filepath.ToSlash(l.path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // C:/...
	}
	c, err := driverlite.NewConnector((&url.URL{Scheme: "file", Path: p, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(&liteConnector{Connector: c, l: l, writes: mode == writeMode})
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	return pool, nil
}

// A liteConnector sets on every new connection what a connection string cannot change later.
type liteConnector struct {
	driver.Connector
	l      *sqlite
	writes bool
}

func (c *liteConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if n := c.l.maxPages.Load(); c.writes && n != 0 {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, limitPages(n), nil); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// useFdatasync spares every commit the write of a timestamp. It is as durable, and set for the
// process, once.
var useFdatasync = sync.OnceFunc(func() {
	driverlite.Fdatasync(true) // not there on macOS and Windows: then it stays fsync
})

// liteCode returns SQLite's code for err, 0 if it is none of SQLite's.
func liteCode(err error) int {
	var e *driverlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func liteUnique(err error) bool {
	c := liteCode(err)
	return c == lite3.SQLITE_CONSTRAINT_PRIMARYKEY || c == lite3.SQLITE_CONSTRAINT_UNIQUE || c == lite3.SQLITE_CONSTRAINT_ROWID
}

func liteDown(err error) bool {
	switch liteCode(err) & 0xff {
	case lite3.SQLITE_FULL, lite3.SQLITE_IOERR, lite3.SQLITE_CANTOPEN, lite3.SQLITE_READONLY,
		lite3.SQLITE_BUSY, lite3.SQLITE_LOCKED, lite3.SQLITE_PROTOCOL, lite3.SQLITE_NOMEM, lite3.SQLITE_PERM,
		lite3.SQLITE_CORRUPT, lite3.SQLITE_NOTADB, lite3.SQLITE_INTERRUPT:
		return true
	}
	return false
}
