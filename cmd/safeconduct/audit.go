package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/internal/audit"
)

func newAudit() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Read, search and prove the record",
		Long: `Read, search and prove the record.

Everything that happens is one entry of the audit log: each decision, each change and who made it.
Entries are numbered from 1 without gaps. They are stored in batches, each batch is one leaf of a
Merkle tree, and the tree is signed in checkpoints that anybody can keep. A log that was changed
afterwards no longer fits the checkpoints that were kept.`,
		Example: `  $ safeconduct audit verify --data ~/.local/state/safeconduct
  $ safeconduct audit show 42`,
	}
	c.AddCommand(newAuditVerify(), newAuditShow(), newAuditFind(), newAuditProve(), newAuditExport(), newAuditVerifyBundle(), newAuditChain(), newAuditReindex())
	return c
}

// An entry is an entry of the log as the API shows it.
type entry struct {
	Seq   int64           `json:"seq"`
	At    time.Time       `json:"at"`
	Kind  string          `json:"kind"`
	Actor string          `json:"actor"`
	Body  json.RawMessage `json:"body"`
}

func newAuditShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show NUMBER",
		Short: "Show one entry",
		Long: `Show one entry of the log: when it was made, what it records, who did it, and its body.

A decision's entry has the decision's number: d42 is entry 42, and both are understood.`,
		Example: `  $ safeconduct audit show 2
  entry   2
  at      2026-11-23 16:00:00Z
  kind    caller.put
  actor   safeconduct
  {
    "id": "c3n5q0r1t",
    ...`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		seq, err := entryNumber(args[0])
		if err != nil {
			return err
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		var e entry
		if err := api.call(c.Context(), "GET", fmt.Sprintf("/v1/audit/entries/%d", seq), nil, &e); err != nil {
			return err
		}
		w := c.OutOrStdout()
		if *asJSON {
			return writeJSON(w, e)
		}
		if err := printPairs(w, [][2]string{
			{"entry", fmt.Sprint(e.Seq)}, {"at", when(e.At)}, {"kind", e.Kind}, {"actor", e.Actor},
		}); err != nil {
			return err
		}
		return printBody(w, e.Body)
	}
	return c
}

// printBody prints a JSON object with indentation. What a stranger wrote stays escaped.
func printBody(w io.Writer, body json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", "  "); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, clip(strings.TrimSuffix(line, "\n"), 2000)); err != nil {
			return err
		}
	}
	return nil
}

// entryNumber reads the number of an entry, or the id of a decision.
func entryNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimPrefix(s, "d"), 10, 64)
	if err != nil || n < 1 {
		return 0, usageError{hinted(fmt.Errorf("%q is not the number of an entry", s), "entries are numbered from 1; a decision's id is d and the number of its entry")}
	}
	return n, nil
}

func newAuditProve() *cobra.Command {
	c := &cobra.Command{
		Use:   "prove NUMBER | prove --check FILE",
		Short: "Prove that an entry is in the log, or check such a proof",
		Long: `Print the proof that an entry is in the log: the entry, the hashes that lead from it to a signed
checkpoint, and the checkpoint. Whoever has the log's public key can check it, without the service
and without the rest of the log; it tells of other entries only how many there are.

With --check, a proof is read from a file (- is standard input) and checked with the public key in
--key, and the entry it proves is printed. Nothing is asked over the network.`,
		Example: `  $ safeconduct audit prove 42 > proof.json
  proved: entry 42 is in batch 7 of the 12 that the checkpoint signs
  $ safeconduct audit prove --check proof.json --key log.pub`,
		Args: cobra.MaximumNArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	check := c.Flags().String("check", "", "`FILE` with a proof to check; - is standard input")
	key := c.Flags().String("key", "", "the log's public key, or a `FILE` that holds it (default: the service's own word)")
	_ = c.MarkFlagFilename("check", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		if (len(args) == 1) == (*check != "") {
			return usageError{errors.New("give the number of an entry, or --check and a file")}
		}
		if *check != "" {
			return checkProof(c, *check, *key, *asJSON)
		}
		seq, err := entryNumber(args[0])
		if err != nil {
			return err
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		v, err := verifier(c, api, *key)
		if err != nil {
			return err
		}
		text, p, cp, err := proveEntry(c.Context(), api, seq, v)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "proved: entry %d is in batch %d of the %d that the checkpoint signs\n", seq, p.Batch+1, cp.Size)
		var b bytes.Buffer
		if err := json.Indent(&b, text, "", "  "); err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), b.String())
		return err
	}
	return c
}

// proveEntry asks the service for the proof of an entry and checks it.
func proveEntry(ctx context.Context, api *remote, seq int64, v note.Verifier) (text []byte, p *audit.EntryProof, cp *audit.Checkpoint, err error) {
	if err := api.call(ctx, "GET", fmt.Sprintf("/v1/audit/entries/%d/proof", seq), nil, &text); err != nil {
		return nil, nil, nil, err
	}
	if p, err = audit.ParseEntryProof(text); err != nil {
		return nil, nil, nil, err
	}
	e, cp, err := audit.VerifyEntryProof(p, v)
	if err == nil && e.Seq != seq {
		err = fmt.Errorf("it proves entry %d", e.Seq)
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("the service's proof does not hold: %w", err)
	}
	return text, p, cp, nil
}

func checkProof(c *cobra.Command, file, key string, asJSON bool) error {
	if key == "" {
		return usageError{hinted(errors.New("a proof is checked with the log's public key"), "give it with --key; `safeconduct status` shows it, but a key that you got another way proves more")}
	}
	v, err := parseVerifier(key)
	if err != nil {
		return err
	}
	in := c.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("reading the proof: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 4<<20))
	if err != nil {
		return fmt.Errorf("reading the proof: %w", err)
	}
	p, err := audit.ParseEntryProof(text)
	if err != nil {
		return err
	}
	e, cp, err := audit.VerifyEntryProof(p, v)
	if err != nil {
		return fmt.Errorf("the proof does not hold: %w", err)
	}
	w := c.OutOrStdout()
	if asJSON {
		return writeJSON(w, entry{e.Seq, e.At, string(e.Kind), e.Actor, e.Body})
	}
	if _, err := fmt.Fprintf(w, "The proof holds: entry %d is in batch %d of the %d that %s has signed.\n", e.Seq, p.Batch+1, cp.Size, cp.Origin); err != nil {
		return err
	}
	if err := printPairs(w, [][2]string{{"at", when(e.At)}, {"kind", string(e.Kind)}, {"actor", e.Actor}}); err != nil {
		return err
	}
	return printBody(w, e.Body)
}

// verifier returns the verifier of the log's checkpoints: of the given key, or else of the one that
// the service names.
func verifier(c *cobra.Command, api *remote, key string) (note.Verifier, error) {
	if key != "" {
		return parseVerifier(key)
	}
	var k struct {
		Origin string `json:"origin"`
		Key    string `json:"key"`
	}
	if err := api.call(c.Context(), "GET", "/v1/audit/key", nil, &k); err != nil {
		return nil, err
	}
	return parseVerifier(k.Key)
}

// parseVerifier reads a public key as C2SP writes it, or the file that holds one and nothing besides.
func parseVerifier(key string) (note.Verifier, error) {
	if b, err := readBounded(key); err == nil {
		key = strings.TrimSpace(string(b))
	}
	v, err := audit.ParseVerifier(key)
	if err != nil {
		return nil, hinted(fmt.Errorf("%.80q is neither a public key nor a file that holds one", key), "it looks like example.com/log+1a2b3c4d+AbC...; `safeconduct status` shows it")
	}
	return v, nil
}
