package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newAuditReindex() *cobra.Command {
	c := &cobra.Command{
		Use:   "reindex",
		Short: "Have the search index built again",
		Long: `Throw the log's search index away, in a data directory or in the database of a configuration. The
service builds it again from the log when it runs; until it has caught up, searches take longer.

The index holds nothing that the log does not, and no proof rests on it, so this loses nothing. On
SQLite the service must be stopped: one process at a time writes to a data directory.`,
		Example: `  $ safeconduct audit reindex --data ~/.local/state/safeconduct
  the search index is empty; the service builds it again when it runs`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	f := c.Flags()
	data := f.String("data", "", "data `DIRECTORY` (default: the service's own)")
	config := f.String("config", "", "configuration `FILE` whose database it is, PostgreSQL for instance")
	_ = c.MarkFlagDirname("data")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	c.MarkFlagsMutuallyExclusive("data", "config")
	c.RunE = func(c *cobra.Command, _ []string) error {
		db, _, err := openLog(c, *config, *data, false)
		if err != nil {
			return err
		}
		defer db.Close()
		if err := db.ResetIndex(c.Context()); err != nil {
			return err
		}
		w := c.OutOrStdout()
		if *asJSON {
			return writeJSON(w, map[string]bool{"reset": true})
		}
		_, err = fmt.Fprintln(w, "the search index is empty; the service builds it again when it runs")
		return err
	}
	return c
}
