package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/oauth"
)

func newAuditChain() *cobra.Command {
	c := &cobra.Command{
		Use:   "chain JTI | chain --token FILE",
		Short: "Prove how a passport came about: who delegated it to whom",
		Long: `Show, first to last, the tokens that a passport was exchanged from and the passport itself, as the log
recorded them: who asked, what was granted, until when, and by which decisions. Tokens are not
stored; the log keeps the digest of each, and of the one that it was exchanged from.

What is checked: each entry is in the signed log; each token's entry names the digest of the one
before; and nothing got wider on the way, neither the scope nor the end of its life. With --token, the
token in the file is compared with the digest of the last entry. If a check fails the exit status is 1.`,
		Example: `  $ safeconduct audit chain --token passport.txt
  ENTRY  AT                    AGENT      ACTS FOR   SCOPE                       UNTIL      DECISIONS
  2041   2026-11-27 09:00:00Z  planner    -          read-files, see-accounts    09:05:00Z  d2039, d2040
  2043   2026-11-27 09:00:02Z  clerk      planner    see-accounts                09:05:00Z  d2042
  2 tokens: each is in the log, follows the one before, and is no wider`,
		Args: cobra.MaximumNArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	file := c.Flags().String("token", "", "`FILE` that holds the passport; - is standard input")
	key := c.Flags().String("key", "", "the log's public key, or a `FILE` that holds it (default: the service's own word)")
	c.RunE = func(c *cobra.Command, args []string) error {
		if (len(args) == 1) == (*file != "") {
			return usageError{errors.New("give the jti of a passport, or --token and a file")}
		}
		var id, digest string
		if *file != "" {
			var err error
			if id, digest, err = readPassportID(c, *file); err != nil {
				return err
			}
		} else {
			id = args[0]
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		v, err := verifier(c, api, *key)
		if err != nil {
			return err
		}
		chain, err := passportChain(c.Context(), api, id)
		if err != nil {
			return err
		}
		if err := checkChain(chain, digest); err != nil {
			return err
		}
		for _, l := range chain {
			if _, _, _, err := proveEntry(c.Context(), api, l.Seq, v); err != nil {
				return fmt.Errorf("entry %d: %w", l.Seq, err)
			}
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), chain)
		}
		t := newTable("ENTRY", "AT", "AGENT", "ACTS FOR", "SCOPE", "UNTIL", "DECISIONS")
		for _, l := range chain {
			t.add(fmt.Sprint(l.Seq), when(l.At), clip(l.agent(), 40), clip(orDash(l.behalf()), 60), clip(strings.Join(l.Token.Scope, ", "), 60),
				time.Unix(l.Token.Expires, 0).UTC().Format("15:04:05Z"), clip(strings.Join(l.decisions(), ", "), 60))
		}
		if err := t.print(c.OutOrStdout(), ""); err != nil {
			return err
		}
		s := "s: each is in the log, follows the one before, and is no wider"
		if len(chain) == 1 {
			s = ": it is in the log, and was exchanged from no other"
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%d token%s\n", len(chain), s)
		return err
	}
	return c
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// A link is one token of a chain, as it was recorded.
type link struct {
	Seq   int64         `json:"seq"`
	At    time.Time     `json:"at"`
	Token *oauth.Issued `json:"token"`
}

// parties returns who acts and everybody it acts for, the nearest first.
func (l *link) parties() []string { return append(slices.Clone(l.Token.Actors), l.Token.Subject) }

func (l *link) agent() string { return l.parties()[0] }

func (l *link) behalf() string { return strings.Join(l.parties()[1:], ", ") }

// decisions returns the ids of the decisions that the token rests on: the entries right before its own.
func (l *link) decisions() []string {
	var ids []string
	for i := l.Token.Decisions; i > 0; i-- {
		ids = append(ids, fmt.Sprintf("d%d", l.Seq-int64(i)))
	}
	return ids
}

// passportChain finds the entries of a token and of all it was exchanged from, the first one first.
func passportChain(ctx context.Context, api *remote, id string) ([]*link, error) {
	last, err := findPassport(ctx, api, id)
	if err != nil {
		return nil, err
	}
	chain := []*link{last}
	for _, ancestor := range last.Token.Ancestors {
		l, err := findPassport(ctx, api, ancestor)
		if err != nil {
			return nil, err
		}
		chain = append(chain, l)
	}
	slices.Reverse(chain)
	return chain, nil
}

// findPassport finds the entry of a token by its id.
func findPassport(ctx context.Context, api *remote, id string) (*link, error) {
	for before := ""; ; {
		var found struct {
			Items []entry `json:"items"`
		}
		if err := api.call(ctx, "GET", query("/v1/audit/entries", "kind", "token.issued", "text", id, "limit", "1000", "before", before), nil, &found); err != nil {
			return nil, err
		}
		for _, e := range found.Items {
			issued, err := oauth.ParseIssued(e.Body)
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w", e.Seq, err)
			}
			if issued.ID == id {
				return &link{e.Seq, e.At, issued}, nil
			}
		}
		if len(found.Items) < 1000 {
			return nil, hinted(fmt.Errorf("no passport with the id %.64q was issued here", id), "the id is the claim jti, which `safeconduct token show` prints")
		}
		before = fmt.Sprint(found.Items[len(found.Items)-1].Seq)
	}
}

// checkChain returns why a chain is not one; digest is that of the last token, "" if it is not known.
func checkChain(chain []*link, digest string) error {
	last := chain[len(chain)-1]
	if digest != "" && digest != last.Token.Digest {
		return fmt.Errorf("the token in the file is not the one that entry %d records: its digest is %s, not %s", last.Seq, digest, last.Token.Digest)
	}
	for i, l := range chain {
		if i == 0 {
			if l.Token.Parent != "" {
				return fmt.Errorf("entry %d was exchanged from a token that its ancestors do not name", l.Seq)
			}
			continue
		}
		from := chain[i-1]
		switch t, f := l.Token, from.Token; {
		case t.Parent != f.Digest:
			return fmt.Errorf("entry %d was not exchanged from the token of entry %d", l.Seq, from.Seq)
		case !slices.Equal(l.parties()[1:], from.parties()):
			return fmt.Errorf("entry %d does not act for those of entry %d", l.Seq, from.Seq)
		case t.Expires > f.Expires:
			return fmt.Errorf("entry %d outlives entry %d", l.Seq, from.Seq)
		case slices.ContainsFunc(t.Scope, func(s string) bool { return !slices.Contains(f.Scope, s) }):
			return fmt.Errorf("entry %d has a wider scope than entry %d", l.Seq, from.Seq)
		}
	}
	return nil
}

// readPassportID returns the jti and the digest of the token in a file. The token is not verified: the
// digest is compared with what was recorded.
func readPassportID(c *cobra.Command, file string) (id, digest string, err error) {
	in := c.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", "", fmt.Errorf("reading the passport: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 16<<10))
	if err != nil {
		return "", "", fmt.Errorf("reading the passport: %w", err)
	}
	text := strings.TrimSpace(string(b))
	parts := strings.Split(text, ".")
	var claims struct {
		ID string `json:"jti"`
	}
	if len(parts) == 3 {
		var payload []byte
		if payload, err = base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			err = json.Unmarshal(payload, &claims)
		}
	}
	if err != nil || claims.ID == "" {
		return "", "", hinted(fmt.Errorf("%s holds no passport", file), "a passport is one line of three parts with dots between them, as `safeconduct token get` prints it")
	}
	sum := sha256.Sum256([]byte(text))
	return claims.ID, base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
