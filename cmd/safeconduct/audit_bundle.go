package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/internal/audit"
)

func newAuditExport() *cobra.Command {
	c := &cobra.Command{
		Use:   "export [NUMBER...]",
		Short: "Export entries with their proofs, as evidence",
		Long: `Export entries of the log as a bundle of evidence: a zip archive with the entries, the proof that each
is in the log, the signed checkpoint, the key, what was asked for, and a text that tells how to verify
it. Whoever gets it needs nothing else, neither the service nor the rest of the log. It tells of other
entries only how many there are.

Entries are named by their numbers, or searched for as with ` + "`safeconduct audit find`" + `; of what is found
the newest are taken, --limit of them. A bundle has at most 5000 entries and 16 MiB of bodies. That
somebody exported what, and why, is recorded.`,
		Example: `  $ safeconduct audit export --agent clerk --outcome deny --from 24h --out evidence.zip --why "case 7"
  wrote evidence.zip: 12 entries; the export is entry 2043
  $ safeconduct audit verify-bundle evidence.zip --key log.pub`,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	search := searchFlags(c)
	f := c.Flags()
	text := f.String("text", "", "only entries in which all these `WORDS` occur")
	limit := f.Int("limit", 1000, "at most `N` entries of what is found, 5000 at most")
	out := f.String("out", "", "`FILE` to write; it must not exist (required)")
	why := whyFlag(c)
	_ = c.MarkFlagRequired("out")
	_ = c.MarkFlagFilename("out", "zip")
	c.RunE = func(c *cobra.Command, args []string) error {
		in := map[string]any{"why": *why}
		if len(args) > 0 {
			var numbers []int64
			for _, a := range args {
				n, err := entryNumber(a)
				if err != nil {
					return err
				}
				numbers = append(numbers, n)
			}
			in["entries"] = numbers
		} else {
			params, err := search()
			if err != nil {
				return err
			}
			q := map[string]any{}
			for i := 0; i < len(params); i += 2 {
				if params[i+1] != "" {
					q[params[i]] = params[i+1]
				}
			}
			if *text != "" {
				q["text"] = *text
			}
			if len(q) == 0 {
				return usageError{hinted(errors.New("say which entries"), "name them by their numbers, or say what they have in common, such as --agent or --from")}
			}
			in["search"], in["limit"] = q, *limit
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		file, err := os.OpenFile(*out, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("writing the bundle: %w", err)
		}
		defer file.Close()
		rep, err := export(c, api, in, file)
		if err != nil {
			_ = os.Remove(*out)
			return err
		}
		w := c.OutOrStdout()
		if *asJSON {
			return writeJSON(w, map[string]any{"file": *out, "entries": len(rep.Manifest.Entries), "export": rep.Export.Seq, "before": rep.Manifest.Before})
		}
		if rep.Manifest.Before > 0 {
			fmt.Fprintf(c.ErrOrStderr(), "there is more: go on with --before %d\n", rep.Manifest.Before)
		}
		_, err = fmt.Fprintf(w, "wrote %s: %s; the export is entry %d\n", *out, plural(len(rep.Manifest.Entries), "entry", "entries"), rep.Export.Seq)
		return err
	}
	return c
}

// export asks for a bundle and writes it to a file, if it verifies.
func export(c *cobra.Command, api *remote, in any, file *os.File) (*audit.BundleReport, error) {
	var zip []byte
	api.HTTP.Timeout = audit.BundlePatience + 2*time.Minute // with the search before it
	if err := api.call(c.Context(), "POST", "/v1/audit/bundle", in, &zip); err != nil {
		return nil, err
	}
	if _, err := file.Write(zip); err != nil {
		return nil, fmt.Errorf("writing the bundle: %w", err)
	}
	v, err := verifier(c, api, "")
	if err != nil {
		return nil, err
	}
	rep, err := audit.VerifyBundle(file, int64(len(zip)), nil, v)
	if err != nil {
		return nil, fmt.Errorf("the service's bundle does not verify: %w", err)
	}
	return rep, nil
}

func newAuditVerifyBundle() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify-bundle FILE",
		Short: "Verify a bundle of evidence, without the service",
		Long: `Verify a bundle that ` + "`safeconduct audit export`" + ` or the console has made: that each entry is in the log
whose checkpoint was signed, that entries and proofs are those that the bundle says it has, and that
there is nothing in it besides. A bundle that another program has packed again verifies if it has the
same files. Nothing is asked over the network. If it does not verify the exit status is 1.

Give the log's public key with --key, as you got it from elsewhere. Without it the key in the bundle
is believed, and then the bundle agrees with itself, which anybody's does. What a bundle cannot prove
is that nothing else would have been found.`,
		Example: `  $ safeconduct audit verify-bundle evidence.zip --key log.pub
  12 entries are in the log safeconduct.local/log, of which 63 batches are signed with the key 5ed2ddbf
  exported by admin:eve at 2026-11-23 16:00:09Z, entry 2043: case 7
  ok`,
		Args: cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(c)
	f := c.Flags()
	key := f.String("key", "", "the log's public key, or a `FILE` that holds it (default: the bundle's own word)")
	checkpoint := f.String("checkpoint", "", "`FILE` with a checkpoint that was kept: the bundle's must not be older")
	show := f.Bool("show", false, "print the entries")
	c.RunE = func(c *cobra.Command, args []string) error {
		var trusted []note.Verifier
		if *key != "" {
			v, err := parseVerifier(*key)
			if err != nil {
				return err
			}
			trusted = append(trusted, v)
		}
		file, err := os.Open(args[0])
		if err != nil {
			return fmt.Errorf("reading the bundle: %w", err)
		}
		defer file.Close()
		fi, err := file.Stat()
		if err != nil {
			return fmt.Errorf("reading the bundle: %w", err)
		}
		entries := []entry{}
		rep, err := audit.VerifyBundle(file, fi.Size(), func(e audit.Entry) error {
			if *show {
				entries = append(entries, entry{e.Seq, e.At, string(e.Kind), e.Actor, e.Body})
			}
			return nil
		}, trusted...)
		if err != nil {
			return fmt.Errorf("the bundle does not verify: %w", err)
		}
		if err := sameHistory(rep, *checkpoint); err != nil {
			return err
		}
		return printBundle(c, rep, entries, *show, *asJSON)
	}
	return c
}

// sameHistory compares the bundle's checkpoint with one that was kept, as far as two checkpoints alone say.
func sameHistory(rep *audit.BundleReport, kept string) error {
	if kept == "" {
		return nil
	}
	text, err := readBounded(kept)
	if err != nil {
		return err
	}
	v, err := audit.ParseVerifier(rep.Key)
	if err != nil {
		return err
	}
	old, err := audit.ParseCheckpoint(text, v)
	switch cp := rep.Checkpoint; {
	case err != nil:
		return fmt.Errorf("the checkpoint that was kept: %w", err)
	case old.Origin != cp.Origin:
		return fmt.Errorf("the checkpoint that was kept is of the log %s, the bundle of %s", old.Origin, cp.Origin)
	case old.Size > cp.Size:
		return fmt.Errorf("the bundle's checkpoint has %d batches, and the one that was kept %d: the bundle is older, or of another history", cp.Size, old.Size)
	case old.Size == cp.Size && old.Root != cp.Root:
		return errors.New("the bundle is of another history than the checkpoint that was kept")
	}
	return nil
}

func printBundle(c *cobra.Command, rep *audit.BundleReport, entries []entry, show, asJSON bool) error {
	w, m := c.OutOrStdout(), &rep.Manifest
	if asJSON {
		out := map[string]any{"log": m.Log, "batches": rep.Checkpoint.Size, "root": rep.Checkpoint.Root.String(), "key": rep.Key, "key_given": rep.Trusted,
			"entries": m.Entries, "by": m.By, "at": m.At, "why": m.Why, "search": m.Search, "before": m.Before, "export": rep.Export.Seq}
		if show {
			out["shown"] = entries
		}
		return writeJSON(w, out)
	}
	for _, e := range entries {
		if err := printPairs(w, [][2]string{{"entry", fmt.Sprint(e.Seq)}, {"at", when(e.At)}, {"kind", e.Kind}, {"actor", e.Actor}}); err != nil {
			return err
		}
		if err := printBody(w, e.Body); err != nil {
			return err
		}
	}
	is := "are"
	if len(m.Entries) == 1 {
		is = "is"
	}
	_, id, _ := strings.Cut(rep.Key, "+")
	id, _, _ = strings.Cut(id, "+") // of the key whose signature is verified; there is no other
	if _, err := fmt.Fprintf(w, "%s %s in the log %s, of which %d batches are signed with the key %s\nexported by %s at %s, entry %d: %s\n",
		plural(len(m.Entries), "entry", "entries"), is, m.Log, rep.Checkpoint.Size, id, clip(m.By, 200), when(m.At), rep.Export.Seq, clip(m.Why, 1000)); err != nil {
		return err
	}
	if m.Before > 0 {
		fmt.Fprintf(w, "not everything that was found is in it: the rest is numbered below %d\n", m.Before)
	}
	if !rep.Trusted {
		fmt.Fprintf(c.ErrOrStderr(), "the bundle's own key is believed: %s\ngive the log's key with --key, as you got it from elsewhere\n", clip(rep.Key, 400))
	}
	_, err := fmt.Fprintln(w, "ok")
	return err
}
