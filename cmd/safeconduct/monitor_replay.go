package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/store"
)

func newMonitorReplay() *cobra.Command {
	c := &cobra.Command{
		Use:   "replay",
		Short: "Take in the log again, by the rules that held or by others",
		Long: `Take in the log of a data directory (--data) or of a configuration's database (--config) again, beside the
service that may use it. Nothing is written.

With --catalog, the section conduct of that catalog holds instead of the rules that held, from the first
entry on; what would have changed is printed: findings by kind, findings that only one of the two gives,
and agents whose trust would end up on another level. Try new rules so before they are published. Only
what the rules make of the log changes; the decisions in it stay as they are, also those that
other trust would have changed.

Without --catalog it is checked that what is kept of findings is what the log gives; the exit status is
1 if it is not. The log is read from its beginning in any case, since nothing else says what was known at
--from; entries up to --to are compared.`,
		Example: `  $ safeconduct monitor replay --data ~/.local/state/safeconduct --catalog draft.yaml --from 1000
  entries 1000 to 1727 taken in twice
  KIND                   AS IT IS  AS IT WOULD BE
  escalation.over_reach  1         1
  performance.loop       4         1

  ONLY    ID       SEVERITY  KIND              CLASS  AGENT     WHAT
  before  f1203.0  medium    performance.loop  write  orders-7  The agent repeats itself: ...
  ...

  AGENT     CLASS  AS IT IS    AS IT WOULD BE
  orders-7  write  low (0.41)  medium (0.55)

  $ safeconduct monitor replay --data ~/.local/state/safeconduct
  1727 entries give 5 findings
  KIND                   FINDINGS
  escalation.over_reach  1
  performance.loop       4
  same: 5 are kept so`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	f := c.Flags()
	data := f.String("data", "", "data `DIRECTORY` to read (default: the service's own)")
	config := f.String("config", "", "configuration `FILE` whose database to read, PostgreSQL for instance")
	other := f.String("catalog", "", "catalog `FILE` whose section conduct holds instead")
	from := f.Int64("from", 1, "compare what entries from `N` on give")
	to := f.Int64("to", 0, "take in entries up to `N` (0: all)")
	_ = c.MarkFlagDirname("data")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	_ = c.MarkFlagFilename("catalog", "yaml", "yml", "json")
	c.MarkFlagsMutuallyExclusive("data", "config")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *other == "" && f.Changed("from") {
			return usageError{errors.New("--from belongs to --catalog: without it all findings are checked")}
		}
		var rules *catalog.Conduct
		if *other != "" {
			text, err := readBounded(*other)
			if err != nil {
				return err
			}
			cat, err := catalog.Parse(relative(*other), text)
			if err != nil {
				return err
			}
			rules = cat.Conduct()
		}
		db, _, err := openLog(c, *config, *data, true)
		if err != nil {
			return err
		}
		defer db.Close()
		past, err := audit.NewPast(c.Context(), db)
		if err != nil {
			return err
		}
		last := past.Head().Entries
		if *to == 0 {
			*to = last
		}
		if *from < 1 || *to < *from || *to > last {
			return usageError{fmt.Errorf("the log has entries 1 to %d, not %d to %d", last, *from, *to)}
		}
		bar := newBar(c.ErrOrStderr())
		defer bar.close()
		log := progressing{past, func(seq int64) { bar.to(seq, *to) }}
		if rules == nil {
			r, err := monitor.CheckFindings(c.Context(), log, publishedCatalogs(db), db, *to)
			bar.close()
			if err != nil {
				return err
			}
			return printChecked(c.OutOrStdout(), r, *asJSON)
		}
		r, err := monitor.Replay(c.Context(), log, publishedCatalogs(db), *from, *to, rules)
		bar.close()
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), r)
		}
		return printComparison(c.OutOrStdout(), r)
	}
	return c
}

// publishedCatalogs returns a function that reads the catalog of a published version out of a database.
func publishedCatalogs(db *store.DB) func(context.Context, int64) (*catalog.Catalog, error) {
	library := policy.NewLibrary(policy.LibraryConfig{Store: db})
	return func(ctx context.Context, version int64) (*catalog.Catalog, error) {
		t, err := library.Version(ctx, version)
		if err != nil {
			return nil, err
		}
		return catalog.Parse("catalog.yaml", []byte(t.Catalog))
	}
}

// A progressing log tells how far it is read.
type progressing struct {
	monitor.Reader
	read func(seq int64)
}

func (p progressing) Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error {
	return p.Reader.Follow(ctx, after, func(ctx context.Context, es []audit.Entry) error {
		err := f(ctx, es)
		p.read(es[len(es)-1].Seq)
		return err
	})
}

// printChecked prints whether what is kept of findings is what the log gives, which is the exit status.
func printChecked(w io.Writer, r *monitor.Check, asJSON bool) error {
	if asJSON {
		if err := writeJSON(w, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(w, "%s give %s\n", plural(int(r.Entries), "entry", "entries"), plural(int(r.Findings), "finding", "findings"))
		kinds := newTable("KIND", "FINDINGS")
		for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
			kinds.add(clip(kind, 40), fmt.Sprint(r.Counts[kind]))
		}
		if len(r.Counts) > 0 {
			if err := kinds.print(w, ""); err != nil {
				return err
			}
		}
		if r.Pending > 0 {
			fmt.Fprintf(w, "%d are too new to be kept yet\n", r.Pending)
		}
		if r.OK() {
			fmt.Fprintf(w, "same: %d are kept so\n", r.Same)
		} else {
			fmt.Fprintf(w, "NOT THE SAME: %d are kept so\n", r.Same)
			if err := printDifferences(w, r.Differences, r.More); err != nil {
				return err
			}
		}
	}
	if !r.OK() {
		return exit(1)
	}
	return nil
}

// printComparison prints what other rules would have changed.
func printComparison(w io.Writer, r *monitor.Comparison) error {
	fmt.Fprintf(w, "entries %d to %d taken in twice\n", r.From, r.To)
	kinds := newTable("KIND", "AS IT IS", "AS IT WOULD BE")
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		n := r.Counts[kind]
		kinds.add(clip(kind, 40), fmt.Sprint(n[0]), fmt.Sprint(n[1]))
	}
	if err := kinds.print(w, "Nothing is found, either way."); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if len(r.Findings) == 0 {
		fmt.Fprintln(w, "The findings would be the same.")
	} else if err := printDifferences(w, r.Findings, 0); err != nil {
		return err
	}
	fmt.Fprintln(w)
	levels := newTable("AGENT", "CLASS", "AS IT IS", "AS IT WOULD BE")
	show := func(t authz.Trust) string { return fmt.Sprintf("%s (%.2f)", t.Level, t.Score) }
	for _, d := range r.Trust {
		levels.add(clip(string(d.Agent), 60), d.Class, show(d.Before), show(d.After))
	}
	if err := levels.print(w, "All agents would end up on the same levels."); err != nil {
		return err
	}
	if r.More > 0 {
		fmt.Fprintf(w, "%d more differences are not shown\n", r.More)
	}
	return nil
}

// printDifferences prints findings that only one side has.
func printDifferences(w io.Writer, all []monitor.Difference, more int64) error {
	t := newTable("ONLY", "ID", "SEVERITY", "KIND", "CLASS", "AGENT", "WHAT")
	for i := range all {
		f := &all[i].Finding
		t.add(all[i].Only, f.ID, f.Severity.String(), clip(string(f.Kind), 40), f.Class, clip(cmp.Or(string(f.Agent), f.Person), 40), clip(what(f), 160))
	}
	if err := t.print(w, ""); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(w, "%d more differences are not shown\n", more)
	}
	return nil
}

// what says what was found, and what became of it.
func what(f *conduct.Finding) string {
	if f.State == conduct.Open {
		return f.Sentence
	}
	return fmt.Sprintf("(%s) %s", f.State, f.Sentence)
}
