package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store"
)

func newBackup() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the SQLite database while it is served",
		Long: `Copy the SQLite database of a data directory to a new file, as it is now. The service may run
meanwhile. The copy is complete or not there; an existing file is not overwritten. A service on
PostgreSQL is backed up with PostgreSQL's own tools.

The log's signing key is not copied: it is a secret of another kind. Keep a copy of log.key apart
from the backups. To restore, put the file and the key into an empty data directory.`,
		Example: `  $ safeconduct backup --data /var/lib/safeconduct /backup/2026-11-23.db
  wrote /backup/2026-11-23.db (1.4 MB)`,
		Args: cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(c)
	data := c.Flags().String("data", "", "data `DIRECTORY` of the service (default $XDG_STATE_HOME/safeconduct)")
	_ = c.MarkFlagDirname("data")
	c.RunE = func(c *cobra.Command, args []string) error {
		db, _, err := openData(c, *data, true)
		if err != nil {
			return err
		}
		defer db.Close()
		if err := db.Backup(c.Context(), args[0]); err != nil {
			return err
		}
		fi, err := os.Stat(args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), map[string]any{"file": args[0], "bytes": fi.Size()})
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "wrote %s (%.1f MB)\n", args[0], float64(fi.Size())/1e6)
		return err
	}
	return c
}

// openData opens the database in a data directory for reading, beside a service that may run, and
// returns the directory too.
func openData(c *cobra.Command, dir string, readOnly bool) (*store.DB, string, error) {
	if dir == "" {
		if dir = server.Default().Data; dir == "" {
			return nil, "", usageError{errors.New("there is no home directory: name the data directory with --data")}
		}
	}
	name := filepath.Join(dir, server.DatabaseFile)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil, "", hinted(fmt.Errorf("there is no database in %s", dir), "name the data directory of a service with --data")
	}
	db, err := store.Open(c.Context(), store.Config{SQLite: name, ReadOnly: readOnly})
	return db, dir, err
}
