package store_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestSQLiteFile(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "new", "dir ?#%20é", "safeconduct.db")
	db := storetest.OpenConfig(t, store.Config{SQLite: path})
	fill(t, db, 3, 1)

	for p, want := range map[string]os.FileMode{
		path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600,
		filepath.Dir(path): 0o700, filepath.Dir(filepath.Dir(path)): 0o700,
	} {
		st, err := os.Stat(p)
		if err != nil {
			t.Error(err)
		} else if got := st.Mode().Perm(); got != want {
			t.Errorf("%s has permissions %o, want %o", p, got, want)
		}
	}

	// A second server is refused, and told by whom; a reader is not.
	_, err := store.Open(ctx, store.Config{SQLite: path})
	wantKind(t, "second Open", err, authz.ErrConflict)
	if !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second Open: error %q does not say what is the matter", err)
	}
	ro := storetest.OpenConfig(t, store.Config{SQLite: path, ReadOnly: true})
	if h, err := ro.Head(ctx); err != nil || h.Entries != 3 {
		t.Errorf("reader: Head() = %+v, %v, want 3 entries", h, err)
	}
	fill(t, db, 4, 1)
	if h, err := ro.Head(ctx); err != nil || h.Entries != 4 {
		t.Errorf("reader, later: Head() = %+v, %v, want 4 entries", h, err)
	}
	s, _ := segment(ctx, ro, mustHead(t, ro), 1, nil)
	wantKind(t, "Append to reader", ro.Append(ctx, mustHead(t, ro), s), authz.ErrForbidden)
	wantKind(t, "ResetIndex of reader", ro.ResetIndex(ctx), authz.ErrForbidden)

	// The lock goes with the server.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if h, err := ro.Head(ctx); err != nil || h.Entries != 4 {
		t.Errorf("reader, after the server: Head() = %+v, %v, want 4 entries", h, err)
	}
	db = storetest.OpenConfig(t, store.Config{SQLite: path})
	fill(t, db, 5, 1)
}

func TestSQLiteReadOnly(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "safeconduct.db")
	_, err := store.Open(ctx, store.Config{SQLite: path, ReadOnly: true})
	wantKind(t, "Open of no file", err, authz.ErrInvalid)
	if _, err := os.Stat(path); err == nil {
		t.Error("reading has created a file")
	}

	db := storetest.OpenConfig(t, store.Config{SQLite: path})
	fill(t, db, 3, 1)

	// What a crash leaves behind: everything is still in the write-ahead log.
	crashed := filepath.Join(t.TempDir(), "crashed.db")
	for _, suffix := range []string{"", "-wal"} {
		copyFile(t, path+suffix, crashed+suffix)
	}
	ro := storetest.OpenConfig(t, store.Config{SQLite: crashed, ReadOnly: true})
	if h := mustHead(t, ro); h.Entries != 3 {
		t.Errorf("after a crash, Head() = %+v, want 3 entries", h)
	}

	// What an orderly end leaves behind.
	db.Close()
	if _, err := os.Stat(path + "-wal"); err == nil {
		t.Error("the write-ahead log is still there after Close")
	}
	ro = storetest.OpenConfig(t, store.Config{SQLite: path, ReadOnly: true})
	if h := mustHead(t, ro); h.Entries != 3 {
		t.Errorf("after Close, Head() = %+v, want 3 entries", h)
	}
}

func TestSQLiteForeignFiles(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	sqlite := func(name, query string) string {
		p := filepath.Join(dir, name)
		raw, err := sql.Open("sqlite", p)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if _, err := raw.Exec(query); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for path, says := range map[string]string{
		write("text", strings.Repeat("# not a database\n", 1000)): "is not a SQLite database",
		write("short", "x"):                           "is not a SQLite database",
		sqlite("other", `create table t (a integer)`): "not one of safeconduct",
		sqlite("marked", `pragma application_id = 7; create table t (a); drop table t`): "not one of safeconduct",
	} {
		before, _ := os.ReadFile(path)
		for _, readOnly := range []bool{false, true} {
			_, err := store.Open(ctx, store.Config{SQLite: path, ReadOnly: readOnly})
			wantKind(t, "Open of "+path, err, authz.ErrInvalid)
			if !strings.Contains(err.Error(), says) {
				t.Errorf("Open(%s): error %q, want one that says %q", path, err, says)
			}
		}
		if after, _ := os.ReadFile(path); strings.HasPrefix(says, "is not a") && string(after) != string(before) {
			t.Errorf("Open has changed %s", path)
		}
	}
	_, err := store.Open(ctx, store.Config{SQLite: dir})
	if err == nil {
		t.Error("Open of a directory succeeded")
	}
}

func TestSQLiteBackup(t *testing.T) {
	ctx := context.Background()
	db := storetest.OpenConfig(t, storetest.SQLite(t))
	fill(t, db, 20, 3)
	path := filepath.Join(t.TempDir(), "copy it's.db")
	if err := db.Backup(ctx, path); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("backup: %v, %v, want permissions 600", st.Mode(), err)
	}
	wantKind(t, "Backup onto a file", db.Backup(ctx, path), authz.ErrConflict)
	wantKind(t, "Backup to nowhere", db.Backup(ctx, filepath.Join(path, "x")), authz.ErrInvalid)
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
		t.Errorf("beside the backup lies something: %v", names)
	}
	fill(t, db, 21, 3)

	ro := storetest.OpenConfig(t, store.Config{SQLite: path, ReadOnly: true})
	if h := mustHead(t, ro); h.Batches != 20 {
		t.Errorf("backup, read: Head() = %+v, want 20 batches", h)
	}
	restored := storetest.OpenConfig(t, store.Config{SQLite: path})
	fill(t, restored, 25, 3)
	checkTree(t, restored, 25)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
