package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/demo"
	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store"
)

func newAuditVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify",
		Short: "Verify the whole log",
		Long: `Verify the whole log. With --data it is read from a data directory, with --config from the database
of a configuration, beside the service that may use it, and every hash is computed anew: entries are
numbered without gaps, times never go back, each batch has the root that its leaf says, and the log
fits every signed checkpoint. Without either it is verified over the network: all batches up to the
signed root, and some entries chosen at random with their proofs; of the others the bodies are not
seen.

A log that was rewritten as a whole, by somebody who has its key, shows only against a checkpoint
that was kept elsewhere: keep them with --save, and give one with --checkpoint. The exit status is 1
if the log does not verify.`,
		Example: `  $ safeconduct audit verify --data ~/.local/state/safeconduct --save today.checkpoint
  1719 entries in 63 batches, 2026-11-23 16:00:00Z to 2026-11-23 16:00:09Z
  63 batches are signed by safeconduct.local/log
  ok`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	f := c.Flags()
	data := f.String("data", "", "data `DIRECTORY` to read; nothing is asked over the network")
	config := f.String("config", "", "configuration `FILE` whose database to read, PostgreSQL for instance")
	key := f.String("key", "", "the log's public key, or a `FILE` that holds it (default: the service's or the directory's own word)")
	checkpoint := f.String("checkpoint", "", "`FILE` with a checkpoint that was kept: the log must continue it")
	save := f.String("save", "", "write the newest checkpoint to this `FILE`, if the log verifies")
	samples := f.Int("samples", 20, "how many entries chosen at random to prove, over the network")
	_ = c.MarkFlagDirname("data")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	c.MarkFlagsMutuallyExclusive("data", "config")
	c.RunE = func(c *cobra.Command, _ []string) error {
		var kept []byte
		if *checkpoint != "" {
			b, err := readBounded(*checkpoint)
			if err != nil {
				return err
			}
			kept = b
		}
		var note []byte
		var err error
		if f.Changed("data") || *config != "" {
			note, err = verifyData(c, *config, *data, *key, kept, *asJSON)
		} else {
			note, err = verifyService(c, conn, *key, kept, *samples, *asJSON)
		}
		if err != nil {
			return err
		}
		if *save != "" {
			return os.WriteFile(*save, note, 0o644)
		}
		return nil
	}
	return c
}

// openLog opens the database of a configuration, or else that in a data directory. It returns the
// file of the log's key, too.
func openLog(c *cobra.Command, config, dir string, readOnly bool) (*store.DB, string, error) {
	if config == "" {
		db, dir, err := openData(c, dir, readOnly)
		return db, filepath.Join(dir, keyFile), err
	}
	cfg, err := server.Load(config)
	if err != nil {
		return nil, "", err
	}
	if cfg.Postgres == "" {
		db, _, err := openData(c, cfg.Data, readOnly)
		return db, cfg.Log.Key, err
	}
	db, err := store.Open(c.Context(), store.Config{Postgres: cfg.Postgres, ReadOnly: readOnly})
	return db, cfg.Log.Key, err
}

// verifyData verifies the log in a database and returns its newest checkpoint.
func verifyData(c *cobra.Command, config, dir, key string, kept []byte, asJSON bool) ([]byte, error) {
	db, file, err := openLog(c, config, dir, true)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var v note.Verifier
	if key != "" {
		if v, err = parseVerifier(key); err != nil {
			return nil, err
		}
	} else {
		k, err := audit.LoadKey(file)
		if err != nil {
			return nil, hinted(err, "give the log's public key with --key")
		}
		v = k.Verifier()
	}
	opts := audit.VerifyOptions{}
	if kept != nil {
		opts.Checkpoints = [][]byte{kept}
	}
	bar := newBar(c.ErrOrStderr())
	defer bar.close()
	opts.Progress = bar.to
	r, err := audit.Verify(c.Context(), db, []note.Verifier{v}, opts)
	bar.close()
	if err != nil {
		return nil, err
	}
	newest, err := db.Checkpoint(c.Context())
	if err != nil && !errors.Is(err, authz.ErrNotFound) {
		return nil, err
	}
	w := c.OutOrStdout()
	if asJSON {
		err = writeJSON(w, r)
	} else {
		err = printReport(w, r)
	}
	if err == nil && r.Err() != nil {
		err = exit(1)
	}
	return newest, err
}

func printReport(w io.Writer, r *audit.Report) error {
	fmt.Fprintf(w, "%d entries in %d batches, %s to %s\n", r.Entries, r.Batches, when(r.First), when(r.Last))
	if r.Signed > 0 {
		fmt.Fprintf(w, "%d batches are signed by %s\n", r.Signed, r.Origin)
	}
	for _, s := range r.Silences {
		announced := "nobody said why"
		if s.Announced {
			announced = "the service had stopped"
		}
		fmt.Fprintf(w, "silence after entry %d, %s to %s: %s\n", s.After, when(s.From), when(s.To), announced)
	}
	for _, g := range r.Gaps {
		fmt.Fprintf(w, "entries %d to %d are missing\n", g.From, g.To)
	}
	for _, fault := range r.Faults {
		fmt.Fprintf(w, "fault: %s\n", clip(fault.Error(), 400))
	}
	verdict := "ok"
	if r.FaultCount > 0 {
		verdict = "NOT OK: " + plural(int(r.FaultCount), "fault", "faults")
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}

// verifyService verifies what a service shows of its log and returns its newest checkpoint.
func verifyService(c *cobra.Command, conn *connection, key string, kept []byte, samples int, asJSON bool) ([]byte, error) {
	api, err := conn.open()
	if err != nil {
		return nil, err
	}
	v, err := verifier(c, api, key)
	if err != nil {
		return nil, err
	}
	bar := newBar(c.ErrOrStderr())
	r, err := verifyLive(c.Context(), api, v, kept, samples, bar.to)
	bar.close()
	if err != nil {
		return nil, err
	}
	w := c.OutOrStdout()
	if asJSON {
		return r.note, writeJSON(w, r)
	}
	fmt.Fprintf(w, "%d entries in %d batches, all signed by %s\n", r.Entries, r.Batches, r.Origin)
	fmt.Fprintf(w, "%d entries chosen at random are proved\n", r.Proved)
	if r.Old > 0 {
		fmt.Fprintf(w, "the log continues the checkpoint of %d batches that was kept\n", r.Old)
	}
	_, err = fmt.Fprintln(w, "ok")
	return r.note, err
}

// A stepBar shows progress whose total is known only when it begins.
type stepBar struct {
	w    io.Writer
	bar  *demo.Bar
	done int64
}

func newBar(w io.Writer) *stepBar { return &stepBar{w: w} }

func (b *stepBar) to(done, total int64) {
	if !isTerminal(b.w) {
		return
	}
	if b.bar == nil {
		b.bar = demo.NewBar(b.w, int(total), "verifying", "steps")
	}
	b.bar.Add(int(done - b.done))
	b.done = done
}

func (b *stepBar) close() {
	if b.bar != nil {
		b.bar.Close()
	}
}

// isTerminal reports whether somebody watches.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}
